"""doc/openapi.yaml, to hold answers to it."""

import os
import re

import ntrvsta

try:
    import jsonschema
    import yaml
except ImportError as error:
    MISSING = f"python3-{error.name} is not installed"
else:
    MISSING = None


class Document:
    def __init__(self):
        with open(os.path.join(ntrvsta.SRCDIR, "doc", "openapi.yaml"), encoding="utf-8") as f:
            self.doc = yaml.safe_load(f)
        # The longest text behind {id} first: ids may hold slashes.
        self.paths = sorted(self.doc["paths"], key=lambda path: (path.count("{"), -len(path)))
        self.seen = set()  # (method, path, status) of the answers that were checked

    def resolve(self, node):
        if "$ref" not in node:
            return node
        found = self.doc
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found

    def expand(self, node):
        """A schema in itself, without references and allOf: the validators of some years differ in these."""
        if isinstance(node, list):
            return [self.expand(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self.expand(self.resolve(node))
        node = {name: self.expand(value) for name, value in node.items()}
        for part in node.pop("allOf", []):
            node["properties"] = {**part["properties"], **node.get("properties", {})}
            node["required"] = part["required"] + node.get("required", [])
        if "unevaluatedProperties" in node:
            node["additionalProperties"] = node.pop("unevaluatedProperties")
        return node

    def operations(self):
        """(method, path) of each that is called with a key, or by anybody: not those on sessions, see test_dashboard.py."""
        return {(method.upper(), path) for path, item in self.doc["paths"].items() for method in item
                if method != "parameters" and path != "/dashboard/session"}

    def operation(self, method, path):
        """The documented path that PATH matches, and what is said of METHOD there, None where nothing is."""
        for template in self.paths:
            pattern = re.escape(template).replace(re.escape("{id}"), ".+")
            if re.fullmatch(pattern, path):
                return template, self.doc["paths"][template].get("get" if method == "HEAD" else method.lower())
        return None, None

    def parameters(self, method, path):
        """Names of those in the query."""
        operation = self.doc["paths"][path][method.lower()]
        return {p["name"] for p in map(self.resolve, operation.get("parameters", [])) if p["in"] == "query"}

    def members(self, method, path):
        """Names of the members of the request's body, and those that are required."""
        body = self.doc["paths"][path][method.lower()].get("requestBody")
        if not body:
            return set(), set()
        schema = self.resolve(body["content"]["application/json"]["schema"])
        return set(schema["properties"]), set(schema.get("required", []))

    def check(self, method, path, answer):
        """Raise where ANSWER is not as documented. What is not documented at all may be 404, 405 or 401."""
        template, operation = self.operation(method, path)
        if not operation:
            if answer.status not in (401, 404, 405):
                raise AssertionError(f"{method} {path} is not documented, and answers {answer}")
            return
        self.seen.add((method, template, answer.status))
        said = operation["responses"].get(str(answer.status))
        if said is None:
            raise AssertionError(f"{method} {template} answers {answer.status}, which is not documented: {answer}")
        said = self.resolve(said)
        for name in said.get("headers", {}):
            if name.lower() not in answer.headers:
                raise AssertionError(f"{method} {path} has no {name}: {answer}")
        content = said.get("content")
        if not content:
            if answer.body or "content-type" in answer.headers:
                raise AssertionError(f"{method} {path} has a body: {answer}")
            return
        kind = answer.headers["content-type"]
        if kind not in content:
            raise AssertionError(f"{method} {path} is {kind}: {answer}")
        if method != "HEAD" and "json" in kind:
            jsonschema.Draft202012Validator(self.expand(content[kind]["schema"])).validate(answer.json)
