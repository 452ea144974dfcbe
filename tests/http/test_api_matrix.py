#!/usr/bin/env python3
"""Each operation of doc/openapi.yaml, and each refusal that is said there: whatever is added to the document is tried
here by itself. What an operation does is tested elsewhere; so are 409 and 504, which have reasons of their own."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import openapi  # noqa: E402
import tap  # noqa: E402
import test_api  # noqa: E402
from ntrvsta import wait_for  # noqa: E402

HEALTH = ("GET", "/healthz")
ANY_ID = "wh_" + "0" * 26

# What a value of a schema may be, where the least of its type is not good enough.
SAMPLES = {"EventName": "a.b", "Events": ["a.b"], "Time": "2026-01-01T00:00:00Z", "Url": "https://receiver.example.org/"}

# Of each type one value, and what is none that is meant.
VALUES = (None, True, 7, 1.5, "\u00e4 b", [], [1], {}, {"a": 1})


class Matrix(test_api.ApiTest):
    def setUp(self):
        self.document = test_api.document
        self.operations = sorted(self.document.operations() - {HEALTH})

    def operation(self, method, path):
        return self.document.doc["paths"][path][method.lower()]

    def body_schema(self, method, path):
        """The schema of the body, None where there is none."""
        body = self.operation(method, path).get("requestBody")
        return self.document.expand(body["content"]["application/json"]["schema"]) if body else None

    def sample(self, method, path):
        """A body with what is required, None where nothing is."""
        body = self.operation(method, path).get("requestBody")
        if not body:
            return None
        schema = self.document.resolve(body["content"]["application/json"]["schema"])
        return {name: self.sample_of(schema["properties"][name]) for name in schema.get("required", [])}

    def sample_of(self, schema):
        name = schema.get("$ref", "").rpartition("/")[2]
        if name in SAMPLES:
            return SAMPLES[name]
        whole = self.document.expand(schema)
        if "enum" in whole:
            return whole["enum"][0]
        kind = whole.get("type")
        return {"object": {}, "array": [], "boolean": True, "integer": whole.get("minimum", 1)}.get(kind, "x")

    def query_parameters(self, method, path):
        parameters = map(self.document.resolve, self.operation(method, path).get("parameters", []))
        return {p["name"]: self.document.expand(p["schema"]) for p in parameters if p["in"] == "query"}

    def each(self, status=None):
        """The operations, those that may answer STATUS, as (method, path, path with an id, body)."""
        found = 0
        for method, path in self.operations:
            if status is None or str(status) in self.operation(method, path)["responses"]:
                found += 1
                yield method, path, path.replace("{id}", ANY_ID), self.sample(method, path)
        self.assertGreater(found, 0)

    def each_id(self):
        """The operations on one thing, by its id."""
        return (operation for operation in self.each(404) if "{id}" in operation[1])

    def test_nobody(self):
        """401 without a key, at each"""
        self.start({"web": {"refused_limit": "0"}})
        for method, path, where, body in self.each():
            with self.subTest(f"{method} {path}"):
                self.refused(401, "unauthorized", method, where, body, key=test_api.NOBODY)

    def test_scope(self):
        """403 with a key whose scope is too small, where the document says which one is needed"""
        self.start()
        keys = {"write": self.make_key(scope="read"), "admin": self.key}
        for method, path, where, body in self.each():
            with self.subTest(f"{method} {path}"):
                said = self.operation(method, path)
                needed = next((scope for scope in keys if f"Scope `{scope}`" in said.get("description", "")), None)
                self.assertEqual("403" in said["responses"], needed is not None)
                self.assertTrue(needed or method == "GET", "what changes something says which scope it needs")
                if needed:
                    self.refused(403, "forbidden", method, where, body, key=keys[needed])
                else:
                    self.assertNotEqual(self.call(method, where, body, key=keys["write"]).status, 403)

    def test_unknown(self):
        """404 for what is not there, at each that has an id"""
        self.start()
        for method, path, where, body in self.each_id():
            for ident in (ANY_ID, "dlv_" + "0" * 26, "evt_" + "0" * 26, "x", "%2e%2e", "all/none"):
                with self.subTest(f"{method} {path} of {ident}"):
                    self.refused(404, "not_found", method, path.replace("{id}", ident), body)

    def test_methods(self):
        """405 with those that are allowed, at each path"""
        self.start()
        for path in {path for _, path in self.operations}:
            allowed = {m for m, p in self.operations if p == path}
            for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed):
                with self.subTest(f"{method} {path}"):
                    answer = self.refused(405, "method_not_allowed", method, path.replace("{id}", ANY_ID))
                    self.assertEqual(set(answer.headers["allow"].split(", ")), allowed | ({"HEAD"} if "GET" in allowed else set()))

    def test_bodies(self):
        """400, 413 and 415 for a body that is no JSON, too large, or of another type, at each that has one"""
        self.start()
        for method, path, where, body in self.each(400):
            with self.subTest(f"{method} {path}"):
                self.refused(400, "invalid_json", method, where, b'{"a":')
                self.refused(413, "body_too_large", method, where, b" " * (256 * 1024 + 1))
                self.refused(415, "unsupported_media_type", method, where, json.dumps(body).encode(), content_type="text/plain")

    def test_required(self):
        """422 for each member that is missing"""
        self.start()
        for method, path, where, body in self.each(400):
            for name in body:
                with self.subTest(f"{method} {path} without {name}"):
                    self.assertEqual(self.wrong(method, where, {n: v for n, v in body.items() if n != name}), [name])

    def test_unknown_members(self):
        """422 for each member or parameter that is not known"""
        self.start()
        for method, path, where, body in self.each(422):
            with self.subTest(f"{method} {path}"):
                self.assertEqual(self.wrong(method, where, {**(body or {}), "nope": 1}), ["nope"])
                self.assertEqual(self.wrong(method, where, body, query="nope=1"), ["nope"])

    def test_types(self):
        """422 for each member of a type that the document does not name"""
        self.start()
        for method, path, where, body in self.each(400):
            schema = self.body_schema(method, path)
            for name, said in schema["properties"].items():
                for value in VALUES:
                    if openapi.jsonschema.Draft202012Validator(said).is_valid(value):
                        continue
                    with self.subTest(f"{method} {path} {name}: {json.dumps(value)}"):
                        wrong = self.wrong(method, where, {**body, name: value})
                        self.assertEqual({field.partition(".")[0] for field in wrong}, {name})  # of an object, its members

    def test_parameters(self):
        """422 for each parameter out of what the document names"""
        self.start()
        tried = 0
        for method, path, where, body in self.each():
            for name, said in self.query_parameters(method, path).items():
                bad = ["", "%zz", "%00"]
                if said["type"] == "integer":
                    bad += ["x", "1.5", str(said["minimum"] - 1), str(said["maximum"] + 1), "9" * 30]
                elif "enum" in said or "pattern" in said or said.get("format"):
                    bad += ["No such", "%ff"]
                for value in bad:
                    tried += 1
                    with self.subTest(f"{method} {path} {name}={value}"):
                        self.assertEqual(self.wrong(method, where, body, query=f"{name}={value}"), [name])
        self.assertGreater(tried, 0)

    def test_organisation(self):
        """404 for what is another organisation's, at each that has an id"""
        site = self.start({"handlers": {"retry_schedule": "1h"}, "invitations": {"base_url": "https://i.example.org"}})
        template = self.call("POST", "/v1/templates", {"title": "t"}, status=201).json["id"]
        whom = {"templateId": template, "candidate": {"email": "mira@example.org"}}
        invitation = self.call("POST", "/v1/interview-invitations", whom, status=201).json["id"]
        event = self.call("POST", "/v1/events", {"event": "a.b", "data": {}}, status=202).json["id"]
        made = {"webhooks": self.create(active=False)["id"], "events": event, "deliveries": "dlv_" + "1" * 26,
                "templates": template, "interview-invitations": invitation}
        self.change("INSERT INTO target (name) VALUES (?)", made["webhooks"])
        self.change("INSERT INTO delivery (id, event_seq, target, state, created_ms, updated_ms)"
                    " SELECT ?, (SELECT max(seq) FROM event), id, 'failed', 5, 5 FROM target", made["deliveries"])
        self.change("UPDATE meta SET value = 1 WHERE key = 'expanded'")
        other = self.make_key(org="other", scope="admin")
        before = site.query("SELECT * FROM webhook"), site.query("SELECT * FROM delivery")
        for method, path, _, body in self.each_id():
            kind = path.split("/")[2]
            with self.subTest(f"{method} {path}"):
                self.assertIn(kind, made, "this test makes none of these: let it")
                self.refused(404, "not_found", method, path.replace("{id}", made[kind]), body, key=other)
                if method == "GET":
                    self.call(method, path.replace("{id}", made[kind]), status=200)
        self.assertEqual((site.query("SELECT * FROM webhook"), site.query("SELECT * FROM delivery")), before)

    def test_store_gone(self):
        """503 with Retry-After where the store can't be used, at each"""
        site = self.start()
        site.configure({"store": {"url": "sqlite:elsewhere/x.db"}})
        wait_for(lambda: self.call("GET", "/v1/webhooks").status == 503, what="503 without a store")
        for method, path, where, body in self.each(503):
            with self.subTest(f"{method} {path}"):
                self.assertRegex(self.refused(503, "store_unavailable", method, where, body).headers["retry-after"], r"\A\d+\Z")

    def test_rate(self):
        """429 with Retry-After where there are too many requests, at each"""
        self.start({"web": {"rate_limit": "1/m"}})
        wait_for(lambda: self.call("GET", "/v1/webhooks").status == 429, what="too many requests")
        for method, path, where, body in self.each(429):
            with self.subTest(f"{method} {path}"):
                self.assertRegex(self.refused(429, "rate_limited", method, where, body).headers["retry-after"], r"\A\d+\Z")

    def test_documented(self):
        """the document has those that can happen at each"""
        for method, path, _, body in self.each():
            with self.subTest(f"{method} {path}"):
                said = set(self.operation(method, path)["responses"])
                self.assertLessEqual({"401", "422", "429", "503"}, said)
                self.assertEqual("404" in said, "{id}" in path or "templateId" in (body or {}))
                for status in ("400", "413", "415"):
                    self.assertEqual(status in said, body is not None, status)


class Pages(test_api.ApiTest):
    LATER = {"handlers": {"retry_schedule": "1h"}}

    def walk(self, path, limit, add, **query):
        """All rows of a list, with ADD called behind each of the first three pages."""
        rows, cursor, n = [], None, 0
        while True:
            page = self.call("GET", path, query={**query, "limit": limit, **({"cursor": cursor} if cursor else {})}, status=200).json
            rows += page["data"]
            cursor, n = page["next_cursor"], n + 1
            if not cursor:
                return rows
            if n <= 3:
                add()

    def hold(self, path, add, **query):
        """Whatever comes meanwhile: each row that was there comes once and in its order, and none comes twice."""
        for limit in (1, 2, 3, 5):
            with self.subTest(f"{path} {query} limit={limit}"):
                before = [json.dumps(row) for row in self.call("GET", path, query={**query, "limit": 250}).json["data"]]
                rows = [json.dumps(row) for row in self.walk(path, limit, add, **query)]
                self.assertGreater(len(before), limit)
                self.assertEqual([row for row in rows if row in before], before)
                self.assertEqual(len(set(rows)), len(rows))

    def more(self):
        self.receive()
        self.site.dispatch_once()

    def test_lists(self):
        """rows that are added between the pages of any list: none is lost, none comes twice"""
        self.start(self.LATER, handlers={"all/failed": "exit 100", "all/later": "exit 1", "all/ok": "exit 0"})
        for _ in range(6):
            self.more()
        self.hold("/v1/webhooks/all/failed/failed-deliveries", self.more)
        self.hold("/v1/webhooks/all/ok/logs", self.more, status="success")
        self.hold("/v1/webhooks/all/later/logs", self.more, status="pending")
        self.hold("/v1/webhooks/all/later/logs", self.more, status="failed")
        self.hold("/v1/webhooks/all/later/logs", self.more)

    def test_events(self):
        """events that are published between the pages"""
        self.start()
        for _ in range(6):
            self.receive()
        self.hold("/v1/events", lambda: self.call("POST", "/v1/events", {"event": "a.b", "data": {}}, status=202))

    def test_webhooks(self):
        """webhooks that are registered, and handlers that are put there, between the pages"""
        site = self.start(handlers={"all/b": "exit 0", "all/d": "exit 0"})
        for _ in range(5):
            self.create()
        names = iter("acefghijklmnopq")

        def add():
            self.create()
            site.handler(f"all/{next(names)}", "exit 0")
        self.hold("/v1/webhooks", add)


if __name__ == "__main__":
    tap.main()
