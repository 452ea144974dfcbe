#!/usr/bin/env python3
"""The management API, over FastCGI and as plain CGI. Every answer is held to doc/openapi.yaml."""

import contextlib
import glob
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fastcgi  # noqa: E402
import ntrvsta  # noqa: E402
import openapi  # noqa: E402
import receiver  # noqa: E402
import tap  # noqa: E402
from ntrvsta import event, wait_for  # noqa: E402

HOOK = {"url": "https://receiver.example.org/hooks", "events": ["session.completed"]}
ID = "[0-9a-hjkmnp-tv-z]{26}"
NOBODY = object()
TEST = {"event": "session.completed", "testData": {"session": {"overall_score": 92}}}
OPEN = {"allow_http": "on", "allow_private": "127.0.0.0/8"}

document = None if openapi.MISSING else openapi.Document()


@unittest.skipIf(openapi.MISSING, openapi.MISSING)
class ApiTest(fastcgi.ProgramCase):
    def start(self, settings=None, handlers=None):
        """A site whose API self.call() calls, with a key of organisation acme."""
        super().start(settings, handlers)
        self.key = self.make_key()
        return self.site

    def make_key(self, org="acme", scope="write"):
        return self.site.tool("keys", "create", "--org", org, "--scope", scope, "--json")["key"]

    def call(self, method, path, body=None, query="", key=None, status=None, **how):
        """The answer, checked against the document. BODY may be bytes; KEY may be NOBODY."""
        body = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        query = query if isinstance(query, str) else urllib.parse.urlencode(query)
        headers = {} if key is NOBODY else {"X-Ntrvsta-Api-Key": key or self.key}
        headers.update(how.pop("headers", {}))
        how = {"method": method, "path": path, "query": query, "signature": None, "headers": headers, **how}
        answer = self.program.call(body, **how) if self.program else self.site.cgi(body, **how)
        self.assertIsNotNone(answer, "the connection ended without an answer")
        self.assertIn(answer.exit_code, (0, None), answer)
        document.check(method, path, answer)
        if status is not None:
            self.assertEqual(answer.status, status, answer)
        return answer

    def refused(self, status, code, *args, **how):
        answer = self.call(*args, **how)
        self.assertEqual((answer.status, answer.code), (status, code), answer)
        return answer

    def wrong(self, *args, **how):
        """Names of the fields that are refused."""
        return [e["field"] for e in self.refused(422, "invalid_field", *args, **how).json["errors"]]

    def create(self, **fields):
        return self.call("POST", "/v1/webhooks", {**HOOK, **fields}, status=201).json

    def receive(self, n=1, name="session.completed"):
        for _ in range(n):
            body = event(name, nonce=os.urandom(8).hex())
            answer = self.program.call(body) if self.program else self.site.cgi(body)
            self.assertEqual(answer.status, 200, answer)

    def pages(self, path, limit, **query):
        """All rows of a list, page by page."""
        rows, cursor = [], None
        while True:
            page = self.call("GET", path, query={**query, "limit": limit, **({"cursor": cursor} if cursor else {})}, status=200).json
            self.assertLessEqual(len(page["data"]), limit)
            self.assertIs(page["has_more"], page["next_cursor"] is not None)
            rows += page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return rows
            self.assertEqual(len(page["data"]), limit)

    def change(self, sql, *values):
        """Change the store behind the program's back."""
        with contextlib.closing(sqlite3.connect(self.site.db_file, timeout=20)) as db, db:
            db.execute(sql, values)


class Keys(ApiTest):
    def test_who(self):
        """no key, a wrong one, a revoked one: 401; the log says who, never the key"""
        site = self.start()
        self.call("GET", "/v1/webhooks", status=200)
        self.call("GET", "/v1/webhooks", key=NOBODY, headers={"Authorization": f"bearer  {self.key}"}, status=200)
        last = "0" if self.key[-1] != "0" else "1"
        for key in (NOBODY, "", "x", self.key[:-1], self.key + "0", self.key[:-1] + last, self.key.upper(), "ntr_" + "0" * 8 + "_" + "0" * 40,
                    "x" * 8192):
            with self.subTest("none" if key is NOBODY else key[:20]):
                headers = {} if key is NOBODY else {"X-Ntrvsta-Api-Key": key}
                answer = self.refused(401, "unauthorized", "GET", "/v1/webhooks", key=NOBODY, headers=headers)
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        self.refused(401, "unauthorized", "GET", "/v1/webhooks", key=NOBODY, headers={"Authorization": f"Basic {self.key}"})
        self.refused(401, "unauthorized", "GET", "/v1/nowhere", key=NOBODY)
        site.tool("keys", "revoke", self.key[:12])
        self.refused(401, "unauthorized", "GET", "/v1/webhooks")
        logged = self.program.logged()
        self.assertRegex(logged, rf"security .* refused code=unauthorized status=401 key={self.key[:12]} address=127.0.0.1 method=GET path=/v1/webhooks")
        self.assertNotIn(self.key[13:], logged)

    def test_scope(self):
        """a key that may read changes nothing; one with more may"""
        self.start()
        read = self.make_key(scope="read")
        hook = self.create()["id"]
        self.call("GET", f"/v1/webhooks/{hook}", key=read, status=200)
        for method, path, body in (
                ("POST", "/v1/webhooks", HOOK), ("PATCH", f"/v1/webhooks/{hook}", {"active": False}), ("DELETE", f"/v1/webhooks/{hook}", None),
                ("POST", f"/v1/webhooks/{hook}/rotate-secret", None), ("POST", f"/v1/webhooks/{hook}/test", TEST),
                ("POST", f"/v1/webhooks/{hook}/test-connectivity", None), ("POST", f"/v1/webhooks/{hook}/recover", {"since": "2026-01-01T00:00:00Z"}),
                ("POST", "/v1/deliveries/dlv_0/retry", None), ("POST", "/v1/events", {"event": "a", "data": {}})):
            with self.subTest(f"{method} {path}"):
                self.refused(403, "forbidden", method, path, body, key=read)
        self.assertTrue(self.call("GET", f"/v1/webhooks/{hook}").json["active"])
        self.assertIn("refused code=forbidden", self.program.logged())
        self.call("PATCH", f"/v1/webhooks/{hook}", {"active": False}, key=self.make_key(scope="admin"), status=200)

    def test_organisations(self):
        """an organisation has nothing to do with another one's webhooks, their deliveries and counts"""
        site = self.start(handlers={"all/10-log": "exit 0"})
        mine = self.create()["id"]
        other = self.make_key(org="other")
        theirs = self.call("POST", "/v1/webhooks", {**HOOK, "active": False}, key=other, status=201).json["id"]
        self.receive()
        self.assertEqual(self.call("GET", "/v1/events").json["data"][0]["status"], "new")
        self.change("INSERT INTO target (name) VALUES (?), (?), ('all/10-log')", mine, theirs)
        for n, target in enumerate((mine, theirs, "all/10-log")):
            self.change("INSERT INTO delivery (id, event_seq, target, state, created_ms, updated_ms)"
                        " SELECT ?, 1, id, 'failed', 5, 5 FROM target WHERE name = ?", f"dlv_{n:026}", target)
        self.change("UPDATE meta SET value = 1 WHERE key = 'expanded'")
        for key, own, foreign, n in ((None, mine, theirs, 1), (other, theirs, mine, 0)):
            ids = [row["id"] for row in self.call("GET", "/v1/webhooks", key=key).json["data"]]
            self.assertEqual(ids, ["all/10-log", own])
            for method, path, body in (
                    ("GET", "", None), ("PATCH", "", {"active": True}), ("DELETE", "", None), ("GET", "/logs", None), ("GET", "/stats", None),
                    ("GET", "/failed-deliveries", None), ("POST", "/rotate-secret", None), ("POST", "/test", TEST),
                    ("POST", "/test-connectivity", None), ("POST", "/recover", {"since": "2026-01-01T00:00:00Z"})):
                with self.subTest(f"{method} {path} of another organisation"):
                    self.refused(404, "not_found", method, f"/v1/webhooks/{foreign}{path}", body, key=key)
            self.refused(404, "not_found", "GET", f"/v1/deliveries/dlv_{n:026}", key=key)
            self.refused(404, "not_found", "POST", f"/v1/deliveries/dlv_{n:026}/retry", key=key)
            self.call("GET", f"/v1/deliveries/dlv_{1 - n:026}", key=key, status=200)
            self.call("GET", f"/v1/deliveries/dlv_{2:026}", key=key, status=200)
            row = self.call("GET", "/v1/events", key=key).json["data"][0]
            self.assertEqual((row["status"], row["deliveries"]), ("failed", {"total": 2, "success": 0, "failed": 2, "waiting": 0}))
        self.change("UPDATE event SET org = 'other'")
        self.assertEqual(self.call("GET", "/v1/events").json["data"], [])
        self.assertEqual(len(self.call("GET", "/v1/events", key=other).json["data"]), 1)
        self.assertEqual(self.call("GET", f"/v1/webhooks/{mine}/failed-deliveries").json["data"], [])
        self.assertEqual(len(site.tool("failed", "--json")["data"]), 3)


class Webhooks(ApiTest):
    def test_life(self):
        """created, shown, changed, its secret rotated, deleted; the secret is said twice and nowhere else"""
        site = self.start()
        made = self.create(description="ATS \u00e4", active=False)
        self.assertRegex(made["id"], rf"\Awh_{ID}\Z")
        self.assertRegex(made["secret"], r"\Awhsec_[A-Za-z0-9+/]{43}=\Z")
        secret = made.pop("secret")
        self.assertEqual((made["kind"], made["url"], made["events"], made["active"], made["description"]),
                         ("webhook", HOOK["url"], HOOK["events"], False, "ATS \u00e4"))
        path = f"/v1/webhooks/{made['id']}"
        self.assertEqual(self.call("GET", path, status=200).json, made)
        changed = self.call("PATCH", path, {"active": True, "events": ["*"], "description": "", "url": "https://b.example.org"}, status=200).json
        self.assertEqual((changed["url"], changed["events"], changed["active"], changed["description"]), ("https://b.example.org/", ["*"], True, None))
        self.assertEqual(self.call("PATCH", path, {}, status=200).json["url"], "https://b.example.org/")
        self.assertEqual(self.call("GET", "/v1/webhooks").json["data"][0]["events"], ["*"])
        turned = self.call("POST", f"{path}/rotate-secret", {"secret": "plain-secret-1", "overlap_seconds": 60}, status=200).json
        self.assertEqual(turned["secret"], "plain-secret-1")
        secrets = self.call("GET", path).json["secrets"]
        self.assertEqual([s["expires_at"] for s in secrets], [None, turned["previous_until"]])
        again = self.call("POST", f"{path}/rotate-secret", status=200).json["secret"]
        for answer in (self.call("GET", path), self.call("GET", "/v1/webhooks"), self.call("PATCH", path, {"active": True})):
            for hidden in (secret, again, "plain-secret-1"):
                self.assertNotIn(hidden.encode(), answer.body)
        self.call("DELETE", path, status=204)
        for method in ("GET", "DELETE", "PATCH"):
            self.refused(404, "not_found", method, path, {} if method == "PATCH" else None)
        with contextlib.closing(sqlite3.connect(site.db_file)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM webhook_secret").fetchone(), (0,))

    def test_create_fields(self):
        """each field: what it takes and what it doesn't; all that is wrong is named at once"""
        self.start()
        for fields, names in (
                ({"url": 1}, ["url"]), ({"url": None}, ["url"]), ({"url": ""}, ["url"]), ({"url": "https://x/" + "a" * 2048}, ["url"]),
                ({"url": "http://a.example.org"}, ["url"]), ({"url": "ftp://a.example.org"}, ["url"]), ({"url": "https://u:p@a.example.org"}, ["url"]),
                ({"url": "https://a.example.org/#x"}, ["url"]), ({"url": "https://127.0.0.1/"}, ["url"]), ({"url": "https://[::1]/"}, ["url"]),
                ({"url": "https://0x7f.1/"}, ["url"]), ({"url": "https://a.example.org:0/"}, ["url"]), ({"url": "https://a.example.org:70000/"}, ["url"]),
                ({"url": "file:///etc/passwd"}, ["url"]), ({"url": "handlers/all/x"}, ["url"]),
                ({"events": []}, ["events"]), ({"events": "*"}, ["events"]), ({"events": ["*", "a"]}, ["events"]), ({"events": ["a", "a"]}, ["events"]),
                ({"events": [1]}, ["events"]), ({"events": [None]}, ["events"]), ({"events": ["../x"]}, ["events"]), ({"events": ["A"]}, ["events"]),
                ({"events": [f"e{n}" for n in range(101)]}, ["events"]), ({"events": {"a": 1}}, ["events"]),
                ({"active": "yes"}, ["active"]), ({"active": 1}, ["active"]), ({"active": None}, ["active"]),
                ({"description": "x" * 501}, ["description"]), ({"description": []}, ["description"]),
                ({"secret": ""}, ["secret"]), ({"secret": "a b"}, ["secret"]), ({"secret": "whsec_%%"}, ["secret"]), ({"secret": "x" * 257}, ["secret"]),
                ({"id": "wh_1"}, ["id"]), ({"org": "other"}, ["org"]), ({"path": "/bin/sh"}, ["path"]), ({"": 1}, [""]), ({"a" * 900: 1}, ["a" * 64]),
                ({"url": 1, "events": 2, "nope": 3, "active": 4}, ["url", "events", "nope", "active"])):
            with self.subTest(str(fields)[:80]):
                self.assertEqual(sorted(self.wrong("POST", "/v1/webhooks", {**HOOK, **fields})), sorted(names))
        self.assertEqual(sorted(self.wrong("POST", "/v1/webhooks", {})), ["events", "url"])
        self.assertEqual(sorted(self.wrong("POST", "/v1/webhooks")), ["events", "url"])
        self.assertEqual(self.wrong("POST", "/v1/webhooks", HOOK, query="a=1"), ["a"])
        self.assertEqual(self.call("GET", "/v1/webhooks").json["data"], [])
        for fields in ({"events": [f"e{n}" for n in range(100)]}, {"events": ["unheard.of"]}, {"description": ""}, {"secret": "s"},
                       {"url": "https://93.184.216.34:8443/x?y=z"}):
            with self.subTest(f"taken: {fields}"[:80]):
                self.create(**fields)

    def test_bodies(self):
        """what is no JSON object, or hides something, is refused before it is looked at"""
        self.start()
        for text in (b"[]", b"1", b"null", b'"x"', b"{", b"{}x", b"{'url':1}", b'{"url":NaN}', b'{"url":1,}', b'{"url":"\xff"}', b'{"url":"a\nb"}',
                     b'{"url":"a","url":"b"}', b'{"events":[{"a":1,"a":2}]}', b'{"url":"a\\u0000b"}', b'{"u\\u0000":1}', b'{"a":' + b"[" * 20 + b"]" * 20 + b"}",
                     b'{"url":01}'):
            with self.subTest(repr(text[:40])):
                self.refused(400, "invalid_json", "POST", "/v1/webhooks", text)
        self.call("POST", "/v1/webhooks", b'{"url":"https://a.example.org/","events":["*"],"description":"\\\\u0000:"}', status=201)
        self.refused(415, "unsupported_media_type", "POST", "/v1/webhooks", HOOK, content_type="text/plain")
        self.refused(415, "unsupported_media_type", "POST", "/v1/webhooks", HOOK, content_type=None)
        self.call("POST", "/v1/webhooks", HOOK, content_type="application/json; charset=utf-8", status=201)
        self.refused(413, "body_too_large", "POST", "/v1/webhooks", b" " * (256 * 1024 + 1))
        self.refused(400, "invalid_json", "POST", "/v1/webhooks", b" " * (256 * 1024))
        self.refused(400, "bad_length", "POST", "/v1/webhooks", b"{}", length="-1")

    def test_update_fields(self):
        """a change is all or nothing, and takes no secret"""
        self.start()
        path = f"/v1/webhooks/{self.create()['id']}"
        before = self.call("GET", path).json
        for fields, names in (({"active": False, "url": "x"}, ["url"]), ({"secret": "abc"}, ["secret"]), ({"id": "x"}, ["id"]), ({"url": None}, ["url"]),
                              ({"events": []}, ["events"])):
            with self.subTest(str(fields)):
                self.assertEqual(self.wrong("PATCH", path, fields), names)
        for fields in ({"overlap_seconds": -1}, {"overlap_seconds": 2592001}, {"overlap_seconds": 1.5}, {"overlap_seconds": "1"},
                       {"overlap_seconds": 10 ** 30}):
            with self.subTest(str(fields)):
                self.assertEqual(self.wrong("POST", f"{path}/rotate-secret", fields), ["overlap_seconds"])
        self.assertEqual(self.call("GET", path).json, before)

    def test_changes_at_once(self):
        """two changes of different fields at once: neither undoes the other"""
        self.start()
        path = f"/v1/webhooks/{self.create()['id']}"
        for n in range(10):
            changes = ({"description": f"d{n}"}, {"events": [f"e{n}"]})
            threads = [threading.Thread(target=self.call, args=("PATCH", path, c)) for c in changes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            now = self.call("GET", path).json
            self.assertEqual((now["description"], now["events"]), (f"d{n}", [f"e{n}"]))

    def test_handlers(self):
        """handlers are listed beside webhooks, by name, and can't be made, changed or located"""
        site = self.start(handlers={"all/10-log": "exit 0", "session.completed/20-x": "exit 0", "session.completed/old": "exit 0"})
        os.chmod(os.path.join(site.handlers, "session.completed/old"), 0o644)
        hook = self.create()["id"]
        rows = self.call("GET", "/v1/webhooks", status=200).json["data"]
        self.assertEqual([(r["id"], r["kind"], r["events"]) for r in rows],
                         [("all/10-log", "handler", ["*"]), ("session.completed/20-x", "handler", ["session.completed"]),
                          (hook, "webhook", ["session.completed"])])
        self.assertEqual(self.call("GET", "/v1/webhooks/all/10-log", status=200).json, rows[0])
        off = self.call("GET", "/v1/webhooks/session.completed/old", status=200).json
        self.assertEqual((off["active"], off["inactive_reason"]), (False, "not executable (chmod +x)"))
        for method, path, body in (("PATCH", "", {"active": False}), ("DELETE", "", None), ("POST", "/rotate-secret", None)):
            self.refused(409, "conflict", method, f"/v1/webhooks/all/10-log{path}", body)
        for name in ("all/11", "..", "../secret", "/etc/passwd", "all/../../secret", "all", ".hidden", "wh_" + "0" * 26):
            with self.subTest(name):
                self.refused(404, "not_found", "GET", f"/v1/webhooks/{name}")
        for answer in (self.call("GET", "/v1/webhooks"), self.call("GET", "/v1/webhooks/session.completed/old")):
            self.assertNotIn(site.root.encode(), answer.body)

    def test_pages(self):
        """every row comes once, also where rows are added and removed between the pages"""
        self.start(handlers={f"all/{n}": "exit 0" for n in "abc"})
        made = [self.create()["id"] for _ in range(7)]
        whole = ["all/a", "all/b", "all/c", *made]
        for limit in (1, 2, 3, 4, 9, 10, 250):
            with self.subTest(f"limit {limit}"):
                self.assertEqual([r["id"] for r in self.pages("/v1/webhooks", limit)], whole)
        first = self.call("GET", "/v1/webhooks", query="limit=5").json
        self.call("DELETE", f"/v1/webhooks/{made[1]}", status=204)  # the last one of that page
        later = self.create()["id"]
        rest = self.call("GET", "/v1/webhooks", query={"cursor": first["next_cursor"]}).json
        self.assertEqual([r["id"] for r in first["data"] + rest["data"]], [*whole, later])
        for query, names in (("limit=0", ["limit"]), ("limit=251", ["limit"]), ("limit=-1", ["limit"]), ("limit=x", ["limit"]), ("limit=", ["limit"]),
                             ("limit=1&limit=1", ["limit"]), ("cursor=", ["cursor"]), ("cursor=%00", ["cursor"]), ("cursor=..%2Fx", ["cursor"]),
                             ("lim%69t=300", ["limit"]), ("limit=%zz", ["limit"]), ("x", ["x"]), ("%ff=1", ["\ufffd"]), ("a+b=1&c=2", ["a b", "c"])):
            with self.subTest(query):
                self.assertEqual(self.wrong("GET", "/v1/webhooks", query=query), names)
        self.call("GET", "/v1/webhooks", query="&limit=1&", status=200)


class Deliveries(ApiTest):
    def test_logs_and_stats(self):
        """what a handler did: logs by status, counts, failed deliveries, one delivery with its output"""
        site = self.start({"handlers": {"retry_schedule": "1h"}}, handlers={
            "session.completed/ok": "echo fine", "session.completed/bad": "printf 'no\\377\\0way'; exit 100", "session.completed/later": "exit 1"})
        self.receive(3)
        site.dispatch_once()
        ok, bad, later = (f"/v1/webhooks/session.completed/{name}" for name in ("ok", "bad", "later"))
        rows = self.call("GET", f"{ok}/logs", status=200).json["data"]
        self.assertEqual([(r["status"], r["attempt"], r["exit_code"], r["output"]) for r in rows], [("success", 1, 0, "fine\n")] * 3)
        self.assertEqual(rows, sorted(rows, key=lambda r: r["started_at"], reverse=True))
        self.assertEqual([r["status"] for r in self.call("GET", f"{later}/logs").json["data"]], ["pending"] * 3 + ["failed"] * 3)
        waiting = self.call("GET", f"{later}/logs", query="status=pending").json["data"]
        self.assertEqual([(r["attempt"], r["started_at"], r["next_attempt_at"] is not None) for r in waiting], [(2, None, True)] * 3)
        self.assertEqual(len(self.call("GET", f"{later}/logs", query="status=failed").json["data"]), 3)
        for query, n in (("status=success", 0), ("event=session.completed", 6), ("event=other", 0), ("since=2100-01-01T00:00:00Z", 0),
                         ("until=2100-01-01T00:00:00Z", 6), ("until=2000-01-01T00:00:00%2B02:00", 0)):
            with self.subTest(query):
                self.assertEqual(len(self.call("GET", f"{later}/logs", query=query, status=200).json["data"]), n)
        self.assertEqual(self.wrong("GET", f"{ok}/logs", query="status=done&event=A&since=yesterday&until=2026&cursor=x1&limit=9&a=1"),
                         ["status", "event", "since", "until", "a"])
        self.assertEqual(self.wrong("GET", f"{ok}/logs", query="cursor=x1"), ["cursor"])
        for limit in (1, 2, 4, 6):
            with self.subTest(f"pages of {limit}"):
                self.assertEqual(self.pages(f"{later}/logs", limit), self.call("GET", f"{later}/logs").json["data"])
        stats = self.call("GET", f"{bad}/stats", status=200).json
        self.assertEqual([stats[k] for k in ("total_deliveries", "successful_deliveries", "failed_deliveries", "pending_deliveries", "success_rate")],
                         [3, 0, 3, 0, 0])
        self.assertEqual(self.call("GET", f"{ok}/stats", query="timeRange=1h").json["success_rate"], 100)
        self.assertEqual([self.call("GET", f"{later}/stats", query="timeRange=30d").json[k] for k in ("pending_deliveries", "success_rate")], [3, None])
        self.assertEqual(self.wrong("GET", f"{ok}/stats", query="timeRange=2h"), ["timeRange"])
        failed = self.call("GET", f"{bad}/failed-deliveries", status=200).json["data"]
        self.assertEqual([(r["error_code"], r["retry_count"]) for r in failed], [("permanent", 0)] * 3)
        self.assertEqual(self.pages(f"{bad}/failed-deliveries", 2), failed)
        self.assertEqual(self.call("GET", f"{bad}/failed-deliveries", query="since=2100-01-01T00:00:00Z").json["data"], [])
        one = self.call("GET", f"/v1/deliveries/{failed[0]['id']}", status=200).json
        self.assertEqual((one["status"], one["attempt_count"], [a["output"] for a in one["attempts"]]), ("failed", 1, ["no\ufffd\0way"]))
        self.refused(404, "not_found", "GET", "/v1/deliveries/dlv_" + "0" * 26)

    def test_pages_while_rows_come(self):
        """rows that come between two pages of logs and events neither repeat nor push out others"""
        site = self.start(handlers={"all/x": "exit 0"})
        self.receive(6)
        site.dispatch_once()
        for path in ("/v1/webhooks/all/x/logs", "/v1/events"):
            with self.subTest(path):
                before = self.call("GET", path).json["data"]
                first = self.call("GET", path, query="limit=4").json
                self.receive(3)
                site.dispatch_once()
                rest = self.call("GET", path, query={"cursor": first["next_cursor"]}).json
                self.assertEqual([r["event_id" if "event_id" in r else "id"] for r in first["data"] + rest["data"]],
                                 [r["event_id" if "event_id" in r else "id"] for r in before])

    def test_retry(self):
        """a delivery begins anew, unless it is under way, and the dispatcher is told"""
        site = self.start(handlers={"all/x": "exit 100"})
        self.receive()
        site.dispatch_once()
        ident = self.call("GET", "/v1/webhooks/all/x/failed-deliveries").json["data"][0]["id"]
        answer = self.call("POST", f"/v1/deliveries/{ident}/retry", status=202).json
        self.assertEqual((answer["status"], answer["attempt_count"]), ("pending", 0))
        self.call("POST", f"/v1/deliveries/{ident}/retry", {}, status=202)
        self.change("UPDATE delivery SET state = 'running'")
        self.refused(409, "conflict", "POST", f"/v1/deliveries/{ident}/retry")
        self.change("UPDATE delivery SET state = 'failed'")
        self.assertEqual(self.wrong("POST", f"/v1/deliveries/{ident}/retry", {"x": 1}), ["x"])
        self.refused(404, "not_found", "POST", "/v1/deliveries/dlv_" + "0" * 26 + "/retry")
        site.handler("all/x", "exit 0")
        site.start_dispatcher()
        self.call("POST", f"/v1/deliveries/{ident}/retry", status=202)
        wait_for(lambda: self.call("GET", f"/v1/deliveries/{ident}").json["status"] == "success", what="the delivery runs")

    def test_tests(self):
        """a test event is shown as one, is no failure that stays, and can't be delivered again"""
        site = self.start(handlers={"all/x": "exit 100"})
        site.start_dispatcher()
        site.tool("test", "all/x", "session.completed", check=False)
        row = self.call("GET", "/v1/webhooks/all/x/logs").json["data"][0]
        self.assertEqual((row["status"], row["test"]), ("failed", True))
        self.assertTrue(self.call("GET", "/v1/events").json["data"][0]["test"])
        self.assertTrue(self.call("GET", f"/v1/deliveries/{row['delivery_id']}", status=200).json["test"])
        self.assertEqual(self.call("GET", "/v1/webhooks/all/x/failed-deliveries").json["data"], [])
        self.refused(409, "conflict", "POST", f"/v1/deliveries/{row['delivery_id']}/retry")
        self.assertEqual(self.call("GET", "/v1/webhooks/all/x/stats").json["total_deliveries"], 0)

    def test_recover(self):
        """all that a handler has not done is delivered again; a preview only counts"""
        site = self.start(handlers={"session.completed/bad": "exit 100"})
        self.receive(3)
        self.receive(2, name="other.event")
        site.dispatch_once()
        path = "/v1/webhooks/session.completed/bad/recover"
        since = {"since": "2026-01-01T00:00:00Z"}
        answer = self.call("POST", path, {**since, "preview": True}, status=202).json
        self.assertEqual((answer["recoverable"], answer["recovered"], answer["remaining"]), (3, 0, 3))
        self.assertEqual(self.call("GET", "/v1/webhooks/session.completed/bad/stats").json["pending_deliveries"], 0)
        answer = self.call("POST", path, {**since, "until": "2100-01-01T00:00:00Z"}, status=202).json
        self.assertEqual((answer["recoverable"], answer["recovered"], answer["remaining"]), (3, 3, 0))
        self.assertEqual(self.call("GET", "/v1/webhooks/session.completed/bad/stats").json["pending_deliveries"], 3)
        self.assertEqual(self.call("POST", path, since, status=202).json["recovered"], 0)
        hook = self.create(events=["session.completed", "other.event"], active=False)["id"]
        answer = self.call("POST", f"/v1/webhooks/{hook}/recover", since, status=202).json
        self.assertEqual((answer["webhook_id"], answer["recovered"]), (hook, 5))
        for body, names in (({}, ["since"]), ({"since": "2h"}, ["since"]), ({**since, "until": "2025-01-01T00:00:00Z"}, ["until"]),
                            ({**since, "preview": 1}, ["preview"]), ({**since, "event": "a"}, ["event"])):
            with self.subTest(str(body)):
                self.assertEqual(self.wrong("POST", path, body), names)
        os.unlink(os.path.join(site.handlers, "session.completed/bad"))
        self.refused(409, "conflict", "POST", path, since)
        self.assertEqual(self.call("GET", "/v1/webhooks/session.completed/bad").json["inactive_reason"], "removed")

    def test_delete_cancels(self):
        """what waits for a webhook that is deleted is canceled"""
        site = self.start()
        hook = self.create(active=False)["id"]
        self.receive(2)
        site.dispatch_once()
        self.assertEqual(self.call("POST", f"/v1/webhooks/{hook}/recover", {"since": "2026-01-01T00:00:00Z"}).json["recovered"], 2)
        self.call("DELETE", f"/v1/webhooks/{hook}", status=204)
        with contextlib.closing(sqlite3.connect(site.db_file)) as db:
            self.assertEqual(db.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall(), [("canceled", 2)])


class Events(ApiTest):
    def test_events(self):
        """events, newest first, narrowed by name and time; one with its body, byte for byte"""
        site = self.start()
        odd = b' {"event" : "session.completed",\n\t"data":{"name":"Zo\xc3\xab \\u5c71","x":1.50e+3, "x":2}}\r\n'
        self.receive(2, name="other.event")
        ident = self.program.call(odd, headers={"X-Ntrvsta-Idempotency-Key": "k1"}).json["id"]
        rows = self.call("GET", "/v1/events", status=200).json["data"]
        self.assertEqual([r["event"] for r in rows], ["session.completed", "other.event", "other.event"])
        self.assertEqual((rows[0]["id"], rows[0]["status"], rows[0]["idempotency_key"], rows[0]["source"]), (ident, "new", "k1", "ntrvsta"))
        site.dispatch_once()
        self.assertEqual(self.call("GET", "/v1/events").json["data"][0]["status"], "unhandled")
        one = self.call("GET", f"/v1/events/{ident}", status=200).json
        self.assertEqual(one["body"].encode(), odd)
        for query, n in (("event=other.event", 2), ("event=none", 0), ("since=2100-01-01T00:00:00Z", 0), ("until=2100-01-01T00:00:00Z", 3)):
            with self.subTest(query):
                self.assertEqual(len(self.call("GET", "/v1/events", query=query, status=200).json["data"]), n)
        self.assertEqual(self.pages("/v1/events", 2), self.call("GET", "/v1/events").json["data"])
        self.assertEqual(self.wrong("GET", "/v1/events", query="status=failed&cursor=a1"), ["status"])
        self.assertEqual(self.wrong("GET", "/v1/events", query="cursor=a1"), ["cursor"])
        self.refused(404, "not_found", "GET", "/v1/events/evt_" + "0" * 26)


class Tests(ApiTest):
    def running(self, answer=200, settings=None, dispatch=True, **how):
        """A site with a dispatcher, and a receiver; the paths of a webhook there."""
        self.site = self.start({"webhooks": OPEN, **(settings or {})}, **how)
        if dispatch:
            self.dispatcher = self.site.start_dispatcher()
        self.receiver = receiver.Receiver(answer=answer)
        self.addCleanup(self.receiver.close)
        self.hook = self.create(url=self.receiver.url("/hook"))["id"]
        self.path = f"/v1/webhooks/{self.hook}"

    def test_event(self):
        """a whole sample event with what is given in it, called once; marked, and not counted"""
        self.running()
        made = self.call("POST", f"{self.path}/test", TEST, status=200).json
        self.assertEqual((made["status"], made["status_code"], made["test"], made["attempt"], made["error_code"], made["event"], made["webhook_id"]),
                         ("success", 200, True, 1, None, "session.completed", self.hook))
        [call] = self.receiver.requests
        body = json.loads(call.body)
        self.assertEqual((call.headers["x-ntrvsta-event"], body["event"], body["data"]["session"]["overall_score"]),
                         ("session.completed", "session.completed", 92))
        self.assertGreater(len(body["data"]["session"]), 1)
        self.assertEqual(call.headers["webhook-id"], made["event_id"])
        self.assertIn("v1,", call.headers["webhook-signature"])
        [logged] = self.call("GET", f"{self.path}/logs").json["data"]
        self.assertEqual(logged, made)
        stats = self.call("GET", f"{self.path}/stats").json
        self.assertEqual((stats["total_deliveries"], stats["p50_ms"]), (0, None))

    def test_other_events(self):
        """without data; an event that is not documented, or that the webhook is not registered for"""
        self.running()
        for name, data in (("session.completed", {"session"}), ("candidate.invited", None), ("unheard.of", set())):
            with self.subTest(name):
                made = self.call("POST", f"{self.path}/test", {"event": name}, status=200).json
                self.assertEqual(made["status"], "success")
                body = json.loads(self.receiver.requests[-1].body)
                self.assertEqual(body["event"], name)
                self.assertLessEqual(data or set(), set(body["data"]))
                self.assertEqual(bool(body["data"]), data != set())
        self.assertEqual(len(self.receiver.requests), 3)

    def test_failing(self):
        """a receiver that fails: the answer says how, and nothing is tried again"""
        self.running(answer=receiver.response(500, b"out of order"), settings={"webhooks": {**OPEN, "retry_schedule": "1ms"}})
        made = self.call("POST", f"{self.path}/test", TEST, status=200).json
        self.assertEqual((made["status"], made["status_code"], made["next_attempt_at"], made["output"]), ("failed", 500, None, "out of order"))
        delivery = self.call("GET", f"/v1/deliveries/{made['delivery_id']}").json
        self.assertEqual((delivery["status"], delivery["attempt_count"], delivery["test"]), ("failed", 1, True))
        self.assertEqual(self.call("GET", f"{self.path}/failed-deliveries").json["data"], [])
        self.refused(409, "conflict", "POST", f"/v1/deliveries/{made['delivery_id']}/retry")
        probe = self.call("POST", f"{self.path}/test-connectivity", status=200).json
        self.assertEqual((probe["success"], probe["error"], probe["status_code"]), (True, None, 500))
        self.receiver.close()
        made = self.call("POST", f"{self.path}/test", TEST, status=200).json
        self.assertEqual((made["status"], made["status_code"]), ("failed", None))
        self.assertTrue(made["error_code"] and made["error_message"])
        probe = self.call("POST", f"{self.path}/test-connectivity", status=200).json
        self.assertEqual((probe["success"], probe["status_code"]), (False, None))
        self.assertTrue(probe["error"])

    def test_connectivity(self):
        """a HEAD request without an event; it leaves nothing behind"""
        self.running()
        probe = self.call("POST", f"{self.path}/test-connectivity", {}, status=200).json
        self.assertEqual((probe["success"], probe["error"], probe["status_code"], probe["tls_ms"]), (True, None, 200, 0))
        [call] = self.receiver.requests
        self.assertEqual((call.method, call.path, call.body), ("HEAD", "/hook", b""))
        self.assertNotIn("webhook-signature", call.headers)
        self.assertEqual(self.call("GET", f"{self.path}/logs").json["data"], [])
        self.assertEqual(self.call("GET", "/v1/events").json["data"], [])

    def test_guard(self):
        """an address that is not public is not connected to"""
        self.site = self.start({"webhooks": {"allow_http": "on"}})
        self.site.start_dispatcher()
        called = receiver.Receiver()
        self.addCleanup(called.close)
        hook = self.create()["id"]
        self.change("UPDATE webhook SET url = ?", called.url("/hook", host="localhost"))
        made = self.call("POST", f"/v1/webhooks/{hook}/test", TEST, status=200).json
        self.assertEqual((made["status"], made["status_code"]), ("failed", None))
        probe = self.call("POST", f"/v1/webhooks/{hook}/test-connectivity", status=200).json
        self.assertFalse(probe["success"])
        for said in (made["error_message"], probe["error"]):
            self.assertIn("allow_private", said)
        self.assertEqual(called.accepted, 0)

    def test_fields(self):
        """what is wrong is refused before anything is made"""
        self.running()
        for body, names in (({}, ["event"]), ({"event": 1}, ["event"]), ({"event": None}, ["event"]), ({"event": "A"}, ["event"]),
                            ({"event": "../x"}, ["event"]), ({"event": "*"}, ["event"]), ({**TEST, "testData": []}, ["testData"]),
                            ({**TEST, "testData": None}, ["testData"]), ({**TEST, "testData": "{}"}, ["testData"]),
                            ({**TEST, "testData": 1}, ["testData"]), ({**TEST, "data": {}}, ["data"]), ({"testData": 1}, ["event", "testData"])):
            with self.subTest(str(body)):
                self.assertEqual(sorted(self.wrong("POST", f"{self.path}/test", body)), names)
        self.assertEqual(self.wrong("POST", f"{self.path}/test-connectivity", {"event": "a"}), ["event"])
        for path in ("test", "test-connectivity"):
            self.refused(404, "not_found", "POST", f"/v1/webhooks/wh_{0:026}/{path}", TEST if path == "test" else None)
            self.refused(405, "method_not_allowed", "GET", f"{self.path}/{path}")
        self.assertEqual(self.receiver.accepted, 0)
        self.assertEqual(self.call("GET", "/v1/events").json["data"], [])

    def test_inactive(self):
        """a webhook that is not active can be tested, and stays so"""
        self.running()
        self.call("PATCH", self.path, {"active": False}, status=200)
        self.assertEqual(self.call("POST", f"{self.path}/test", TEST, status=200).json["status"], "success")
        self.assertTrue(self.call("POST", f"{self.path}/test-connectivity", status=200).json["success"])
        self.assertFalse(self.call("GET", self.path).json["active"])

    def test_handlers(self):
        """a handler can be tested if it would run; it has no URL"""
        self.running(handlers={"all/x": "echo test=$NTRVSTA_TEST; exit 100"})
        made = self.call("POST", "/v1/webhooks/all/x/test", TEST, status=200).json
        self.assertEqual((made["status"], made["exit_code"], made["output"]), ("failed", 100, "test=1\n"))
        self.refused(409, "conflict", "POST", "/v1/webhooks/all/x/test-connectivity")
        os.chmod(os.path.join(self.site.handlers, "all", "x"), 0o600)
        self.refused(409, "conflict", "POST", "/v1/webhooks/all/x/test", TEST)

    def test_organisation(self):
        """what is sent to a webhook as a test is seen by its organisation alone"""
        self.running()
        made = self.call("POST", f"{self.path}/test", TEST, status=200).json
        other = self.make_key(org="other", scope="admin")
        self.assertEqual([row["id"] for row in self.call("GET", "/v1/events").json["data"]], [made["event_id"]])
        self.assertEqual(self.call("GET", "/v1/events", key=other).json["data"], [])
        self.refused(404, "not_found", "GET", f"/v1/events/{made['event_id']}", key=other)
        self.refused(404, "not_found", "GET", f"/v1/deliveries/{made['delivery_id']}", key=other)

    def test_no_dispatcher(self):
        """none runs and none may be started: nothing is made that would surprise somebody later"""
        self.running(dispatch=False)
        for path, body in (("test", TEST), ("test-connectivity", None)):
            answer = self.refused(503, "dispatcher_not_running", "POST", f"{self.path}/{path}", body)
            self.assertIn("retry-after", answer.headers)
        self.assertEqual(self.site.query("SELECT count(*) FROM event"), [(0,)])
        self.assertEqual(self.site.query("SELECT count(*) FROM probe"), [(0,)])

    def test_started(self):
        """a dispatcher is started where that is allowed"""
        self.running(settings={"dispatch": {"start": "auto"}}, dispatch=False)
        self.assertEqual(self.call("POST", f"{self.path}/test", TEST, status=200).json["status"], "success")
        os.kill(self.site.dispatcher_pid(), 15)
        wait_for(lambda: not self.site.dispatcher_pid(), what="the dispatcher ends")
        self.assertTrue(self.call("POST", f"{self.path}/test-connectivity", status=200).json["success"])

    def waiting(self, n=1):
        """N tests that wait, each in a thread; their receiver does not answer before self.go is set."""
        self.go = threading.Event()
        self.addCleanup(self.go.set)

        def answer(_connection, _request):
            self.go.wait(60)
            return 200
        self.running(answer=answer, settings={"web": {"threads": "4"}, "webhooks": {**OPEN, "concurrency": "4"}})
        self.answers = []
        threads = [threading.Thread(target=lambda: self.answers.append(self.call("POST", f"{self.path}/test", TEST))) for _ in range(n)]
        for thread in threads:
            thread.start()
        wait_for(lambda: self.site.query("SELECT count(*) FROM delivery") == [(n,)], what="tests that wait")
        self.receiver.wait(1)
        return threads

    def test_ending(self):
        """the program ends although a test waits, which is answered"""
        [thread] = self.waiting()
        self.assertEqual(self.program.stop(timeout=4), 0, self.program.logged())
        thread.join()
        self.assertEqual([(a.status, a.code) for a in self.answers], [(503, "stopping")])

    def test_room(self):
        """tests that wait leave threads for other requests"""
        threads = self.waiting(2)
        answer = self.refused(429, "too_many_tests", "POST", f"{self.path}/test", TEST)
        self.assertIn("retry-after", answer.headers)
        self.refused(429, "too_many_tests", "POST", f"{self.path}/test-connectivity")
        self.call("GET", self.path, status=200)
        self.go.set()
        for thread in threads:
            thread.join()
        self.assertEqual([a.status for a in self.answers], [200, 200])
        self.call("POST", f"{self.path}/test-connectivity", status=200)

    def test_late(self):
        """a dispatcher that does not come to it in time; the test is canceled"""
        self.running(settings={"webhooks": {**OPEN, "timeout": "1s"}})
        self.call("POST", f"{self.path}/test", TEST, status=200)
        dispatcher = self.dispatcher.pid
        self.addCleanup(os.kill, dispatcher, signal.SIGCONT)
        self.stop_outside_of_the_store(dispatcher)
        answers = []
        threads = [threading.Thread(target=lambda p=path, b=body: answers.append(self.call("POST", f"{self.path}/{p}", b)))
                   for path, body in (("test", TEST), ("test-connectivity", None))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([(a.status, a.code) for a in answers], [(504, "dispatcher_timeout")] * 2)
        self.assertEqual(self.site.query("SELECT state FROM delivery ORDER BY seq"), [("success",), ("canceled",)])

    def stop_outside_of_the_store(self, pid):
        """Stop a dispatcher while it holds no lock."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            with contextlib.closing(sqlite3.connect(self.site.db_file, timeout=0.05)) as db:
                try:
                    db.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError:
                    os.kill(pid, signal.SIGCONT)

    def test_killed(self):
        """a dispatcher that is gone while a test waits"""
        [thread] = self.waiting()
        self.dispatcher.kill()
        self.dispatcher.wait()
        thread.join()
        self.assertEqual([(a.status, a.code) for a in self.answers], [(503, "dispatcher_not_running")])


class Http(ApiTest):
    def test_methods(self):
        """other methods get 405 with those that are allowed; a HEAD has the length and no body"""
        self.start(handlers={"all/x": "exit 0"})
        hook = self.create()["id"]
        for path, allow in ((f"/v1/webhooks/{hook}", "GET, HEAD, PATCH, DELETE"), ("/v1/webhooks", "GET, HEAD, POST"),
                            (f"/v1/webhooks/{hook}/rotate-secret", "POST"), ("/healthz", "GET, HEAD")):
            for method in ("PUT", "OPTIONS", "", "get"):
                with self.subTest(f"{method} {path}"):
                    self.assertEqual(self.refused(405, "method_not_allowed", method, path).headers["allow"], allow)
        for path in (f"/v1/webhooks/{hook}", "/v1/webhooks", "/v1/events", "/healthz"):
            with self.subTest(f"HEAD {path}"):
                answer = self.call("HEAD", path, status=200)
                self.assertEqual(answer.body, b"")
                self.assertEqual(answer.headers["content-length"], str(len(self.call("GET", path).body)))

    def test_paths(self):
        """the path decides, whatever the web server calls its parts"""
        self.start({"web": {"base": "/hooks"}})
        for script, path, status in (("", "/hooks/v1/webhooks", 200), ("/hooks", "/v1/webhooks", 200), ("/hooks/v1/webhooks", None, 200),
                                     ("/cgi-bin/x", "/hooks/v1/webhooks/", 200), ("", "/hooks/webhooks/v1/webhooks", 200),
                                     ("/hooks", "/hooks/webhooks/v1/webhooks", 200), ("", "/webhooks/v1/webhooks", 404), ("", "/v1/webhooks", 404),
                                     ("", "/hooks/webhooks/ntrvsta/v1/webhooks", 404), ("", "/hooks/webhooksv1/webhooks", 404), ("", "/hooks/v1", 404), ("", "/hooks/v2/webhooks", 404),
                                     ("", "/hooks/v1//webhooks", 404), ("", "/hooks/v1/webhooks//", 404), ("", "/hooks/v1/webhooks/x/y/z/nope", 404)):
            with self.subTest(f"{script} {path}"):
                answer = self.program.call(b"", method="GET", script=script, path=path, signature=None, headers={"X-Ntrvsta-Api-Key": self.key})
                self.assertEqual((answer.status, answer.json.get("code")), (status, None if status == 200 else "not_found"), answer)

    def test_off(self):
        """api = off: nobody is served, also with a key; /healthz is"""
        site = self.start({"web": {"api": "off"}})
        answer = self.program.call(b"", method="GET", path="/v1/webhooks", signature=None, headers={"X-Ntrvsta-Api-Key": self.key})
        self.assertEqual((answer.status, answer.code), (404, "not_found"))
        self.call("GET", "/healthz", key=NOBODY, status=200)
        site.configure({"web": {"api": "on"}})
        wait_for(lambda: self.program.call(b"", method="GET", path="/v1/webhooks", signature=None,
                                           headers={"X-Ntrvsta-Api-Key": self.key}).status == 200, what="a changed setting")

    def test_rate_limit(self):
        """too many requests from one address: 429, before a key is looked at"""
        self.start({"web": {"rate_limit": "1/s"}})
        answers = [self.call("GET", "/v1/webhooks", key=NOBODY) for _ in range(6)]
        self.assertEqual({a.status for a in answers}, {401, 429})
        self.assertRegex(answers[-1].headers["retry-after"], r"\A[1-9]\d*\Z")

    def test_refused_limit(self):
        """wrong keys have a limit of their own; a right one passes"""
        self.start({"web": {"refused_limit": "1/h"}})
        wrong = [self.call("GET", "/v1/webhooks", key=key).status for key in (NOBODY, "ntr_00000000_" + "0" * 40, "x", NOBODY)]
        self.assertEqual(wrong, [401, 401, 429, 429])
        self.call("GET", "/v1/webhooks", status=200)

    def test_health(self):
        """/healthz says whether events can be stored, to everybody"""
        site = self.start()
        self.assertEqual(self.call("GET", "/healthz", key=NOBODY, status=200).json, {"status": "ok"})
        good = site.settings["source ntrvsta"]["secret_file"]
        site.configure({"source ntrvsta": {"secret_file": "missing"}})
        os.rename(site.secret_file, site.secret_file + ".away")
        wait_for(lambda: self.call("GET", "/healthz", key=NOBODY).status == 503, what="503 without a secret")
        self.refused(503, "not_configured", "GET", "/healthz", key=NOBODY)
        os.rename(site.secret_file + ".away", site.secret_file)
        site.configure({"source ntrvsta": {"secret_file": good}})
        wait_for(lambda: self.call("GET", "/healthz", key=NOBODY).status == 200, what="200 again")

    def test_store_gone(self):
        """a database that can't be used: 503 with Retry-After, and all is well once it can"""
        site = self.start()
        self.call("GET", "/v1/webhooks", status=200)
        site.configure({"store": {"url": "sqlite:elsewhere/x.db"}})
        wait_for(lambda: self.call("GET", "/v1/webhooks").status == 503, what="503 without a store")
        self.refused(503, "store_unavailable", "GET", "/healthz", key=NOBODY)
        site.configure({"store": {"url": "sqlite:state/ntrvsta.db"}})
        wait_for(lambda: self.call("GET", "/v1/webhooks").status == 200, what="the store again")

    def test_slow_body(self):
        """a body that comes slowly, and one that never comes, keep nobody else waiting"""
        self.start()
        body = json.dumps(HOOK).encode()
        whole = fastcgi.encode(self.site.request(body, method="POST", path="/v1/webhooks", signature=None,
                                                 headers={"X-Ntrvsta-Api-Key": self.key}), body)
        with self.program.connect() as slow, self.program.connect() as dead:
            dead.send(whole[:-40])
            slow.send(whole[:-60])
            self.call("GET", "/v1/webhooks", status=200)
            slow.send(whole[-60:])
            answer = slow.answer()
            self.assertEqual(answer.status, 201, answer)

    def test_kept_connection(self):
        """requests one after the other on a kept connection, events and the API in turns"""
        self.start()
        with self.program.connect() as c:
            for n in range(5):
                params = self.site.request(b"", method="GET", path="/v1/webhooks", signature=None, headers={"X-Ntrvsta-Api-Key": self.key})
                self.assertEqual(c.call(params, keep=True).status, 200)
                body = event(n=n)
                self.assertEqual(c.call(self.site.request(body), body, keep=True).status, 200)

    def test_many_at_once(self):
        """more clients than workers: each is answered, events meanwhile too"""
        self.start({"web": {"threads": "2"}})
        answers = []

        def work(n):
            answers.append(self.call("POST", "/v1/webhooks", {**HOOK, "description": str(n)}).status)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
        for thread in threads:
            thread.start()
        self.receive(5)
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [201] * 24)
        self.assertEqual(len(self.pages("/v1/webhooks", 7)), 24)


class Cgi(ApiTest):
    cgi = True

    def test_cgi(self):
        """as plain CGI: the same answers; a retry starts a dispatcher"""
        site = self.start({"dispatch": {"start": "auto"}}, handlers={"all/x": '[ -e "$OUT/go" ] || exit 100'})
        self.refused(401, "unauthorized", "GET", "/v1/webhooks", key=NOBODY)
        self.refused(413, "body_too_large", "POST", "/v1/webhooks", b" " * (256 * 1024 + 1))
        self.refused(400, "short_body", "POST", "/v1/webhooks", b"{}", length="9")
        self.assertEqual(self.wrong("POST", "/v1/webhooks", {"nope": 1}), ["url", "events", "nope"])
        hook = self.create(active=False)["id"]
        self.assertEqual(self.call("HEAD", f"/v1/webhooks/{hook}", status=200).body, b"")
        self.call("DELETE", f"/v1/webhooks/{hook}", status=204)
        self.call("GET", "/healthz", key=NOBODY, status=200)
        self.receive()
        failed = "/v1/webhooks/all/x/failed-deliveries"
        ident = wait_for(lambda: self.call("GET", failed).json["data"], what="a failed delivery")[0]["id"]
        os.kill(site.dispatcher_pid(), 15)
        wait_for(lambda: not site.dispatcher_pid(), what="the dispatcher ends")
        open(os.path.join(site.out, "go"), "w").close()
        self.call("POST", f"/v1/deliveries/{ident}/retry", headers={"Authorization": f"Bearer {self.key}"}, status=202)
        pid = wait_for(site.dispatcher_pid, what="a dispatcher")
        self.assertNotIn(self.key.encode(), ntrvsta.read_file(f"/proc/{pid}/environ"))
        wait_for(lambda: self.call("GET", f"/v1/deliveries/{ident}").json["status"] == "success", what="the delivery")

    def test_tests(self):
        """as plain CGI: a test starts a dispatcher, which gets to see no key"""
        site = self.start({"dispatch": {"start": "auto"}, "webhooks": OPEN})
        called = receiver.Receiver()
        self.addCleanup(called.close)
        path = "/v1/webhooks/" + self.create(url=called.url("/hook"))["id"]
        self.assertEqual(self.call("POST", f"{path}/test", TEST, status=200).json["status"], "success")
        self.assertEqual(json.loads(called.requests[0].body)["data"]["session"]["overall_score"], 92)
        self.assertTrue(self.call("POST", f"{path}/test-connectivity", status=200).json["success"])
        environment = ntrvsta.read_file(f"/proc/{site.dispatcher_pid()}/environ")
        self.assertNotIn(self.key.encode(), environment)
        self.assertIn(b"NTRVSTA_CONF=", environment)

    def test_ending(self):
        """as plain CGI: the program ends when it is told to, although a test waits"""
        site = self.start({"dispatch": {"start": "auto"}, "webhooks": OPEN})
        go = threading.Event()
        self.addCleanup(go.set)
        called = receiver.Receiver(answer=lambda _connection, _request: go.wait(60) and 200)
        self.addCleanup(called.close)
        path = "/v1/webhooks/" + self.create(url=called.url("/hook"))["id"] + "/test-connectivity"
        request = site.request(b"", method="POST", path=path, query="", signature=None, headers={"X-Ntrvsta-Api-Key": self.key})
        child = site.spawn([site.fcgi], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           env=site.environment(request))
        called.wait(1)
        child.terminate()
        answer = ntrvsta.parse_response(child.communicate(timeout=4)[0])
        self.assertEqual((answer.status, answer.code, child.returncode), (503, "stopping", 0))

    def test_links(self):
        """ntrvsta-fcgi links no libcurl"""
        with open(ntrvsta.FCGI, "rb") as f:
            self.assertNotIn(b"libcurl.so", re.sub(rb"libcurl\.so\.4( is missing|\0)", b"", f.read()))


PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in text_string_to_metric_families(sys.stdin.read())]))
"""


class Metrics(ApiTest):
    def metrics(self, **how):
        """{name and labels: value}, as Prometheus' own client library reads them; it is a package of Debian's Python."""
        answer = self.call("GET", "/metrics", status=200, **how)
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        done = subprocess.run(["/usr/bin/python3", "-c", PARSE], input=answer.body, capture_output=True)
        if b"No module named" in done.stderr:
            self.skipTest("python3-prometheus-client is not installed")
        self.assertEqual(done.returncode, 0, done.stderr)
        families = json.loads(done.stdout)
        names = [name for name, *_ in families]
        self.assertEqual(len(names), len(set(names)), "each family is in one place")
        for name, kind, text, _ in families:
            self.assertIn(kind, ("gauge", "counter", "histogram"), name)
            self.assertTrue(text, name)
        lines = answer.body.decode().splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("# TYPE")]), len(families))
        return {(name, *sorted(labels.items())): value for *_, samples in families for name, labels, value in samples}

    def test_metrics(self):
        """events by source and result, attempts by target and outcome, depths and times, in Prometheus' format"""
        site = self.start(handlers={"session.completed/good": "exit 0", "session.completed/bad": "exit 100",
                                    "session.completed/later": "exit 1"})
        empty = self.metrics()
        self.assertEqual(empty["ntrvsta_dispatcher_up",], 0)
        self.assertEqual(empty["ntrvsta_deliveries", ("state", "pending")], 0)
        self.assertFalse([key for key, value in empty.items() if "total" in key[0] and value])
        self.receive(3)
        same = event("session.completed", nonce="same")
        for _ in range(2):
            (self.program.call(same) if self.program else site.cgi(same))
        now = self.metrics()
        received = ("ntrvsta_events_received_total", ("result", "accepted"), ("source", "ntrvsta"))
        self.assertEqual((now[received], now["ntrvsta_events_new",]), (4, 4))
        self.assertEqual(now[received[0], ("result", "duplicate"), received[2]], 1)
        self.assertGreaterEqual(now["ntrvsta_store_commit_seconds_count",], 1)
        self.assertEqual(now["ntrvsta_store_commit_seconds_count",], now["ntrvsta_store_commit_seconds_bucket", ("le", "+Inf")])
        site.dispatch_once()
        now = self.metrics()
        for name, outcome in (("good", "success"), ("bad", "permanent"), ("later", "retry")):
            self.assertEqual(now["ntrvsta_attempts_total", ("outcome", outcome), ("target", f"session.completed/{name}")], 4)
        self.assertEqual([now["ntrvsta_deliveries", ("state", s)] for s in ("pending", "running", "failed")], [4, 0, 4])
        self.assertEqual((now["ntrvsta_events_new",], now[received]), (0, 4))
        times = [(float(dict(key[1:])["le"]), value) for key, value in now.items() if key[0] == "ntrvsta_attempt_duration_seconds_bucket"]
        self.assertEqual(times, sorted(times))
        self.assertEqual((times[-1][1], now["ntrvsta_attempt_duration_seconds_count", ("kind", "handler")]), (12, 12))
        self.assertGreater(now["ntrvsta_attempt_duration_seconds_sum", ("kind", "handler")], 0)

    def test_refused(self):
        """what was refused, by reason"""
        site = self.start()
        call = self.program.call if self.program else site.cgi
        for _ in range(3):
            self.assertEqual(call(event(), signature="0" * 64).status, 401)
        self.call("GET", "/v1/webhooks", key=NOBODY, status=401)
        now = self.metrics()
        for code, n in (("invalid_signature", 3), ("unauthorized", 1), ("missing_signature", 0)):
            self.assertEqual(now["ntrvsta_requests_refused_total", ("code", code)], n, code)

    def test_due(self):
        """for how long what is due has been due; a dispatcher that runs"""
        site = self.start(handlers={"session.completed": "exit 1"})
        self.receive()
        site.dispatch_once()
        self.assertEqual(self.metrics()["ntrvsta_oldest_due_seconds",], 0)
        self.change("UPDATE delivery SET due_ms = due_ms - 3600000")
        self.assertAlmostEqual(self.metrics()["ntrvsta_oldest_due_seconds",], 3600, delta=60)
        site.start_dispatcher()
        wait_for(lambda: self.metrics()["ntrvsta_dispatcher_up",] == 1, what="the dispatcher")
        wait_for(lambda: self.metrics()["ntrvsta_attempts_total", ("outcome", "retry"), ("target", "session.completed")] == 2,
                 what="the second attempt")

    def test_spawn_failure(self):
        """a handler that can't be started is counted apart, and took no time"""
        self.start(handlers={"session.completed": "#!/no/such/interpreter"})
        self.receive()
        self.site.dispatch_once()
        now = self.metrics()
        self.assertEqual(now["ntrvsta_spawn_failures_total", ("target", "session.completed")], 1)
        self.assertFalse([key for key in now if "duration" in key[0]])

    def test_watched(self):
        """the alerts and the Grafana dashboard that come with the program name what is there"""
        def names(*path):
            return set(re.findall(r"\bntrvsta_\w+", ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, *path)).decode()))
        known = names("lib", "api", "metrics.c")
        for file in ("prometheus-alerts.yml", "grafana-dashboard.json"):
            used = {re.sub("_bucket$", "", name) for name in names("conf", file)}
            self.assertGreater(len(used), 3)
            self.assertEqual(used - known, set(), file)

    def test_who(self):
        """a key is needed, of any scope; webhooks of others are not named"""
        self.start()
        self.refused(401, "unauthorized", "GET", "/metrics", key=NOBODY)
        self.refused(405, "method_not_allowed", "POST", "/metrics")
        hook = self.create()["id"]
        self.receive()
        self.site.dispatch_once()
        self.assertTrue([key for key in self.metrics() if ("target", hook) in key])
        self.assertFalse([key for key in self.metrics(key=self.make_key("other", "read")) if ("target", hook) in key])
        self.call("HEAD", "/metrics", status=200)


class Document(ApiTest):
    def test_routes(self):
        """the program's routes are those of the document"""
        routes = set()
        for path in glob.glob(os.path.join(ntrvsta.SRCDIR, "lib", "api", "*.c")):
            text = ntrvsta.read_file(path).decode()
            routes |= set(re.findall(r'^\t\{ "([A-Z]+)", "([^"]+)", AUTH_', text, re.M))
        self.assertEqual(routes | {("GET", "/healthz")}, document.operations())

    def test_fields(self):
        """the program's parameters and fields are those of the document"""
        self.start(handlers={"all/x": "exit 0"})
        hook = self.create()["id"]
        known = r"is not known here; known: (.*)"

        def names(answer):
            message = next(e["message"] for e in answer.json["errors"] if e["field"] == "nope")
            found = re.fullmatch(known, message).group(1)
            return set() if found == "none" else set(found.split(", "))
        for method, path in sorted(document.operations() - {("GET", "/healthz")}):
            with self.subTest(f"{method} {path}"):
                where = path.replace("{id}", hook)
                members, required = document.members(method, path)
                self.assertEqual(names(self.call(method, where, {"nope": 1}, query="")), members)
                self.assertEqual(names(self.call(method, where, query="nope=1")), document.parameters(method, path))
                if required:
                    fields = self.wrong(method, where, {})
                    self.assertEqual(set(fields), required)

    def test_seen(self):
        """every documented operation can succeed, as documented"""
        self.start({"invitations": {"base_url": "https://i.example.org"}}, handlers={"all/x": "exit 100"})
        self.receive()
        self.site.dispatch_once()
        ident = self.call("GET", "/v1/webhooks/all/x/failed-deliveries").json["data"][0]["id"]
        self.call("GET", f"/v1/deliveries/{ident}")
        self.call("GET", "/v1/deliveries")
        self.call("POST", f"/v1/deliveries/{ident}/retry")
        self.call("POST", f"/v1/deliveries/{ident}/cancel")
        self.call("POST", "/v1/deliveries/retry", {"status": "canceled"})
        event_id = self.call("GET", "/v1/events").json["data"][0]["id"]
        self.call("GET", f"/v1/events/{event_id}")
        self.call("POST", f"/v1/events/{event_id}/replay")
        hook = self.create()["id"]
        self.call("GET", "/healthz")
        self.call("GET", "/metrics")
        self.call("GET", "/v1/event-types")
        self.call("GET", "/v1/overview")
        self.call("GET", "/v1/security")
        self.call("GET", "/v1/webhooks")
        for path in ("", "/logs", "/stats"):
            self.call("GET", f"/v1/webhooks/{hook}{path}")
        self.call("POST", f"/v1/webhooks/{hook}/recover", {"since": "2026-01-01T00:00:00Z"})
        self.call("POST", f"/v1/webhooks/{hook}/rotate-secret")
        self.call("POST", "/v1/events", {"event": "a.b", "data": {}})
        self.call("PATCH", f"/v1/webhooks/{hook}", {})
        self.site.start_dispatcher()
        self.call("POST", "/v1/webhooks/all/x/test", TEST)
        self.call("POST", f"/v1/webhooks/{hook}/test-connectivity")
        self.call("DELETE", f"/v1/webhooks/{hook}")
        for path, body in (("templates", {"title": "t"}), ("interview-invitations", {"candidate": {"email": "a@example.org"}})):
            body = {**body, **({"templateId": ident} if "candidate" in body else {})}
            ident = self.call("POST", f"/v1/{path}", body, status=201).json["id"]
            self.call("GET", f"/v1/{path}")
            self.call("GET", f"/v1/{path}/{ident}")
        succeeded = {(method, path) for method, path, status in document.seen if status < 300}
        self.assertEqual(document.operations() - succeeded, set())


if __name__ == "__main__":
    tap.main()
