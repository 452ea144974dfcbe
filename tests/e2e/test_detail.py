#!/usr/bin/env python3
"""What is kept of a call where its webhook wants that (debug, logLevel), who sees it, and that nobody sees a secret."""

import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import openapi  # noqa: E402
import tap  # noqa: E402
from ntrvsta import Site, event, sign  # noqa: E402
from receiver import Authority, Nginx, ReceiverCase, register, response, secrets_of, writing  # noqa: E402

SETTINGS = {"dispatch": {"start": "off"},
            "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8", "retry_schedule": "1h"}}
URL = "https://hooks.example.com/x"
NASTY = response(200, b"thanks\x1b[2J", Set_Cookie="id=abcdefghijklmnopqrstuvw; Secure", X_Request_Id="r-1", X_Csrf_Token="t" * 30,
                 Location="https://user:pass@elsewhere.example/")


class DetailCase(ReceiverCase):
    def make(self, **webhooks):
        site = Site({**SETTINGS, "webhooks": {**SETTINGS["webhooks"], **webhooks}})
        self.addCleanup(site.close)
        return site

    def create(self, site, url=URL, *args):
        return site.tool("webhooks", "create", url, "--json", *args)

    def deliver(self, site, **data):
        """One event to all webhooks; its id."""
        ident = site.cgi(event(**data)).json["id"]
        site.dispatch_once()
        return ident

    def attempts(self, site, hook):
        """Those made, newest first, without what waits."""
        return [row for row in site.tool("logs", hook, "--json")["data"] if "outcome" in row]

    def call_once(self, answer, *args):
        """One call of a webhook made with ARGS; (site, receiver, hook, attempt)."""
        site, r = self.make(), self.receive(answer=answer)
        hook = self.create(site, r.url("/hooks?a=b"), *args)
        self.deliver(site)
        attempt, = self.attempts(site, hook["id"])
        return site, r, hook, attempt

    def api(self, site, key, method, path, body=None):
        """An answer that is as documented."""
        answer = site.cgi(b"" if body is None else json.dumps(body).encode(), method=method, path=path, signature=None,
                          headers={"X-Ntrvsta-Api-Key": key})
        openapi.Document().check(method, path, answer)
        return answer


def values(head):
    """{name in lower case: value} of a request or response."""
    return {h["name"].lower(): h["value"] for h in head["headers"]}


class Settings(DetailCase):
    def test_tool(self):
        """--log-level and --debug on create and update, each by itself; other changes leave them"""
        site = self.make()
        hook = self.create(site)
        self.assertEqual((hook["debug"], hook["logLevel"]), (False, "normal"))
        for args, want in ((["--log-level", "detailed"], (False, "detailed")), (["--description", "x"], (False, "detailed")),
                           (["--debug"], (True, "detailed")), (["--log-level", "normal"], (True, "normal")),
                           (["--url", URL + "y"], (True, "normal")), (["--no-debug"], (False, "normal"))):
            with self.subTest(" ".join(args)):
                after = site.tool("webhooks", "update", hook["id"], "--json", *args)
                self.assertEqual((after["debug"], after["logLevel"]), want)
                self.assertEqual({k: site.tool("webhooks", "show", hook["id"], "--json")[k] for k in after}, after)
        made = self.create(site, URL, "--debug", "--log-level", "detailed")
        self.assertEqual((made["debug"], made["logLevel"]), (True, "detailed"))
        self.assertRegex(site.tool("webhooks", "show", made["id"]).stdout, r"(?m)^Log level +detailed, debug$")
        self.assertRegex(site.tool("webhooks", "show", hook["id"]).stdout, r"(?m)^Log level +normal$")

    def test_usage(self):
        """what makes no sense is wrong usage"""
        site = self.make()
        ident = self.create(site)["id"]
        for args in (["update", ident, "--log-level", "loud"], ["update", ident, "--log-level", ""],
                     ["update", ident, "--debug", "--no-debug"], ["create", URL, "--log-level", "Detailed"],
                     ["show", ident, "--debug"], ["list", "--log-level", "normal"]):
            with self.subTest(" ".join(args)):
                done = site.tool("webhooks", *args, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
        row, = site.tool("webhooks", "list", "--json")["data"]
        self.assertEqual((row["debug"], row["logLevel"]), (False, "normal"))

    @unittest.skipIf(openapi.MISSING, openapi.MISSING)
    def test_api(self):
        """debug and logLevel over HTTP: as documented, one at a time, nothing else taken"""
        site = self.make()
        key = site.tool("keys", "create", "--org", "default", "--scope", "write", "--json")["key"]
        new = {"url": URL, "events": ["*"]}
        made = self.api(site, key, "POST", "/v1/webhooks", {**new, "debug": True, "logLevel": "detailed"}).json
        self.assertEqual((made["debug"], made["logLevel"]), (True, "detailed"))
        path = f"/v1/webhooks/{made['id']}"
        for change, want in (({"debug": False}, (False, "detailed")), ({"active": False}, (False, "detailed")),
                             ({"logLevel": "normal"}, (False, "normal")),
                             ({"debug": True, "logLevel": "detailed"}, (True, "detailed"))):
            with self.subTest(str(change)):
                for answer in (self.api(site, key, "PATCH", path, change), self.api(site, key, "GET", path)):
                    self.assertEqual((answer.json["debug"], answer.json["logLevel"]), want)
        for wrong in ({"debug": "true"}, {"debug": 1}, {"debug": None}, {"logLevel": "DETAILED"}, {"logLevel": ""},
                      {"logLevel": True}, {"logLevel": None}):
            with self.subTest(str(wrong)):
                for answer in (self.api(site, key, "PATCH", path, wrong),
                               self.api(site, key, "POST", "/v1/webhooks", {**new, **wrong})):
                    self.assertEqual((answer.status, [e["field"] for e in answer.json["errors"]]), (422, list(wrong)))
        rows = self.api(site, key, "GET", "/v1/webhooks").json["data"]
        self.assertEqual([(w["debug"], w["logLevel"]) for w in rows], [(True, "detailed")])


class Kept(DetailCase):
    def check_request(self, request, received):
        """What is kept of the request is what the receiver got, but for the signatures."""
        self.assertEqual(request["request_line"], "POST /hooks?a=b HTTP/1.1")
        sent = [(name, value) for name, value in received.header_list]
        kept = [(h["name"], h["value"]) for h in request["headers"]]
        self.assertEqual([name for name, _ in kept], [name for name, _ in sent])
        for (name, value), (_, whole) in zip(kept, sent):
            masked = name.lower() in ("x-ntrvsta-signature", "webhook-signature")
            self.assertEqual(value, "***" + whole[-4:] if masked else whole, name)

    def test_success(self):
        """detailed, or debug: of a success the request as it was sent, and the answer with its headers and body"""
        for args in (["--debug"], ["--log-level", "detailed"], ["--debug", "--log-level", "detailed"]):
            with self.subTest(" ".join(args)):
                _, r, _, attempt = self.call_once(NASTY, *args)
                self.assertEqual(attempt["status"], "success")
                self.check_request(attempt["request"], r.requests[0])
                answer = attempt["response"]
                self.assertEqual(answer["status_line"], "HTTP/1.1 200 Whatever")
                self.assertEqual(values(answer), {
                    "content-length": "10", "set-cookie": "***", "x-request-id": "r-1", "x-csrf-token": "***",
                    "location": "https://***@elsewhere.example/"})
                self.assertEqual((answer["body"], answer["body_cut"], answer["headers_cut"]), ("thanks\x1b[2J", False, False))
                self.assertEqual(attempt["output"], answer["body"])

    def test_normal(self):
        """normal: nothing is kept of a success, of a failure the beginning of the answer"""
        for status, output in ((200, ""), (500, "why")):
            with self.subTest(status=status):
                site, _, _, attempt = self.call_once(response(status, b"why", X_Request_Id="r-1"), "--log-level", "normal")
                self.assertEqual((attempt["output"], attempt["request"], attempt["response"]), (output, None, None))
                self.assertEqual(site.query("SELECT count(*) FROM exchange"), [(0,)])

    def test_failures(self):
        """of a failure as well, as far as it went: an answer, half of one, none, no connection"""
        rows = (("500", 500, "HTTP/1.1 500 Whatever", {"content-length": "0"}),
                ("half a head", lambda c, q: c.sendall(b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-"), "HTTP/1.1 200 OK", {"x-a": "b"}),
                ("half a body", lambda c, q: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), "HTTP/1.1 200 OK",
                 {"content-length": "9"}),
                ("none", lambda c, q: None, None, None))
        for what, answer, line, headers in rows:
            with self.subTest(what):
                _, r, _, attempt = self.call_once(answer, "--debug")
                self.assertEqual(attempt["status"], "failed")
                self.check_request(attempt["request"], r.requests[0])
                said = attempt["response"]
                self.assertEqual(said and (said["status_line"], values(said)), line and (line, headers))
        with self.subTest("no connection"):
            site = self.make()
            hook = self.create(site, "http://127.0.0.1:1/", "--debug")
            self.deliver(site)
            attempt, = self.attempts(site, hook["id"])
            self.assertEqual((attempt["error_code"], attempt["request"], attempt["response"]), ("connect", None, None))

    def test_informational(self):
        """of several answers to one request the last one's head; what follows a chunked body is none of it"""
        chunked = (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        _, _, _, attempt = self.call_once(chunked, "--debug")
        self.assertEqual((attempt["status"], attempt["error_message"]), ("success", None))
        answer = attempt["response"]
        self.assertEqual(answer["status_line"], "HTTP/1.1 200 OK")
        self.assertEqual(values(answer), {"transfer-encoding": "chunked", "trailer": "X-Sum"})
        self.assertEqual(answer["body"], "abc")

    def test_limits(self):
        """of headers and of the body 8 KiB are kept, whole lines of headers, with a word where there was more"""
        lines = {f"X-{n:04d}": "v" * 83 for n in range(200)}  # 8 + 83 + CR LF
        _, _, _, attempt = self.call_once(response(200, b"y" * 9000, **lines), "--debug")
        answer = attempt["response"]
        self.assertTrue(answer["headers_cut"])
        names = [h["name"] for h in answer["headers"]]
        self.assertEqual(names, ["Content-Length", *list(lines)[:len(names) - 1]])
        size = sum(len(h["name"]) + len(h["value"]) + 4 for h in answer["headers"])
        self.assertTrue(8192 - 200 < size <= 8192, size)
        self.assertEqual((answer["body"], answer["body_cut"]), ("y" * 8192, True))

    def test_bytes(self):
        """what is no UTF-8, in headers or body, is shown as U+FFFD"""
        _, _, _, attempt = self.call_once(b"HTTP/1.1 200 \xff\r\nX-A: \xfe\xc3\xa4\r\nContent-Length: 2\r\n\r\n\xfd!", "--debug")
        answer = attempt["response"]
        self.assertEqual((answer["status_line"], values(answer), answer["body"]),
                         ("HTTP/1.1 200 \ufffd", {"x-a": "\ufffd\u00e4", "content-length": "2"}, "\ufffd!"))

    def test_resent(self):
        """a request that is sent anew, as its connection was closed instead of an answer, is kept once"""
        used = set()

        def once(connection, _request):
            known = connection in used
            used.add(connection)
            return None if known else 200
        site, r = self.make(), self.receive(answer=once)
        hook = self.create(site, r.url(), "--debug")
        for n in range(6):
            site.cgi(event(n=n))
        site.dispatch_once()
        made = self.attempts(site, hook["id"])
        self.assertEqual([a["status"] for a in made], ["success"] * 6)
        self.assertGreater(len(r.requests), 6, "some were sent anew")
        for attempt in made:
            names = [h["name"].lower() for h in attempt["request"]["headers"]]
            self.assertEqual((attempt["request"]["request_line"], len(names)), ("POST / HTTP/1.1", len(set(names))))

    @unittest.skipUnless(shutil.which("nginx"), "nginx is not installed")
    def test_http2(self):
        """over HTTP/2 in the same form"""
        site = self.make()
        authority = Authority(site.dir)
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        server = Nginx(site.dir, authority, http2=True)
        self.addCleanup(server.close)
        hook = self.create(site, f"https://localhost:{server.port}/x", "--debug")
        self.deliver(site)
        attempt, = self.attempts(site, hook["id"])
        request, answer = attempt["request"], attempt["response"]
        self.assertEqual((request["request_line"], answer["status_line"]), ("POST /x HTTP/2", "HTTP/2 200"))
        self.assertRegex(values(request)["x-ntrvsta-signature"], r"\A\*\*\*[0-9a-f]{4}\Z")
        self.assertRegex(values(answer)["server"], "nginx")

    def test_switched(self):
        """it counts for the attempts that are made from then on"""
        site, r = self.make(), self.receive()
        ident = self.create(site, r.url())["id"]
        for args in ([], ["--debug"], ["--no-debug"], ["--log-level", "detailed"], ["--log-level", "normal"]):
            if args:
                site.tool("webhooks", "update", ident, *args)
            self.deliver(site, n=str(args))
        self.assertEqual([bool(a["request"]) for a in self.attempts(site, ident)], [False, True, False, True, False])

    def test_other_webhooks(self):
        """of other webhooks and of handlers nothing more is kept"""
        site, r = self.make(), self.receive()
        site.handler("all/x", "echo hello")
        hook, other = self.create(site, r.url(), "--debug")["id"], register(site, r.url())
        self.deliver(site)
        kept = {a["target"]: (bool(a["request"]), bool(a["response"])) for a in site.tool("logs", "--json")["data"]}
        self.assertEqual(kept, {hook: (True, True), other: (False, False), "all/x": (False, False)})


class Shown(DetailCase):
    def test_text(self):
        """events show, and test: what was sent behind >, the answer's head behind <, its body behind |; safe on a terminal"""
        site, _, hook, _ = self.call_once(NASTY, "--debug")
        ident = site.tool("events", "--json")["data"][0]["id"]
        site.start_dispatcher()
        for args, indent in ((["events", "show", ident], "    "), (["test", hook["id"], "session.completed"], "  ")):
            with self.subTest(args[0]):
                said = site.tool(*args).stdout
                lines = [line[len(indent):] for line in said.splitlines() if line.startswith(tuple(indent + m for m in "><|"))]
                self.assertEqual(lines[0], "> POST /hooks?a=b HTTP/1.1")
                self.assertEqual([line for line in lines if line[0] != ">"],
                                 ["< HTTP/1.1 200 Whatever", "< Content-Length: 10", "< Set-Cookie: ***", "< X-Request-Id: r-1",
                                  "< X-Csrf-Token: ***", "< Location: https://***@elsewhere.example/", r"| thanks\x1b[2J"])
                self.assertIn("> X-NTRVSTA-Event: session.completed", lines)

    @unittest.skipIf(openapi.MISSING, openapi.MISSING)
    def test_api(self):
        """the delivery, the log and the answer of a test have request and response; another organisation sees nothing"""
        site, r = self.make(), self.receive(answer=NASTY)
        keys = {org: site.tool("keys", "create", "--org", org, "--scope", "write", "--json")["key"] for org in ("default", "other")}
        hook = self.create(site, r.url("/hooks?a=b"), "--debug")["id"]
        self.deliver(site)
        path = f"/v1/webhooks/{hook}"
        logged, = self.api(site, keys["default"], "GET", f"{path}/logs").json["data"]
        delivery = f"/v1/deliveries/{logged['delivery_id']}"
        shown, = self.api(site, keys["default"], "GET", delivery).json["attempts"]
        site.start_dispatcher()
        tested = self.api(site, keys["default"], "POST", f"{path}/test", {"event": "session.completed"}).json
        for what, attempt in (("delivery", shown), ("log", logged), ("test", tested)):
            with self.subTest(what):
                self.assertEqual(attempt["request"]["request_line"], "POST /hooks?a=b HTTP/1.1")
                self.assertEqual(attempt["response"]["status_line"], "HTTP/1.1 200 Whatever")
                self.assertEqual(values(attempt["response"])["set-cookie"], "***")
        self.assertEqual(self.api(site, keys["other"], "GET", delivery).status, 404)

    def test_nowhere_else(self):
        """secret, signatures and what was masked are in no file of the state, in no log, in no output"""
        site, r, hook, _ = self.call_once(NASTY, "--debug")
        request = r.requests[0]
        said = site.logs() + site.tool("events", "show", site.tool("events", "--json")["data"][0]["id"]).stdout
        with writing(site) as db:  # all of it in one file
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            dump = "\n".join(db.iterdump())
        signature = request.headers["x-ntrvsta-signature"]
        self.assertEqual(signature, sign(request.body, secrets_of(site, hook["id"])[0]))
        for hidden in (signature, request.headers["webhook-signature"], "abcdefghijklmnopqrstuvw", "t" * 30, "user:pass"):
            self.assertNotIn(hidden, said)
            self.assertNotIn(hidden, dump)
        self.assertIn("***" + signature[-4:], dump)

    def test_retention(self):
        """what is kept of an attempt goes with it"""
        site, _, _, _ = self.call_once(200, "--debug")
        self.assertEqual(site.query("SELECT count(*) FROM exchange"), [(1,)])
        with writing(site) as db:
            db.execute("UPDATE event SET received_ms = 1")
        site.tool("prune")
        self.assertEqual(site.query("SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM exchange)"), [(0, 0)])


if __name__ == "__main__":
    tap.main()
