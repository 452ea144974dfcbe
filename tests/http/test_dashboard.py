#!/usr/bin/env python3
"""The dashboard's files and sessions, over FastCGI and as plain CGI. What its pages do is test_dashboard.py's below
tests/e2e."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fastcgi  # noqa: E402
import ntrvsta  # noqa: E402
import openapi  # noqa: E402
import tap  # noqa: E402
from ntrvsta import built_in, event  # noqa: E402

HOOK = {"url": "https://receiver.example.org/hooks", "events": ["session.completed"]}
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
       " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
SESSION = "/dashboard/session"

document = None if openapi.MISSING else openapi.Document()


def embedded():
    """What Makefile.am embeds: {name: the file}. The libraries of others may be in the folder of the build."""
    with open(os.path.join(ntrvsta.SRCDIR, "Makefile.am"), encoding="utf-8") as f:
        lists = re.findall(r"^DASHBOARD_(?:FILES|VENDOR) = ((?:.*\\\n)*.*\n)", f.read(), re.M)
    files = {}
    for name in " ".join(lists).replace("\\", " ").split():
        places = [os.path.join(folder, name) for folder in (ntrvsta.BUILDDIR, ntrvsta.SRCDIR)]
        files[name.removeprefix("dashboard/")] = next(filter(os.path.exists, places), places[0])
    return files


class DashboardTest(fastcgi.ProgramCase):
    def send(self, method, path, body=b"", headers=None, status=None, code=None, documented=True, **how):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        how = {"method": method, "path": path, "signature": None, "headers": headers or {}, **how}
        answer = self.program.call(body, **how) if self.program else self.site.cgi(body, **how)
        self.assertIsNotNone(answer, "the connection ended without an answer")
        if document and documented and path == SESSION:
            document.check(method, path, answer)
        if status is not None:
            self.assertEqual(answer.status, status, answer)
        if code is not None:
            self.assertEqual(answer.code, code, answer)
        return answer

    def make_key(self, org="acme", scope="write"):
        return self.site.tool("keys", "create", "--org", org, "--scope", scope, "--json")["key"]

    def sign_in(self, key, **how):
        """The answer's JSON, and the headers that a browser sends from then on."""
        answer = self.send("POST", SESSION, {"key": key}, status=200, **how)
        cookie = answer.headers["set-cookie"].split(";")[0]
        return answer.json, {"Cookie": cookie}

    def change(self, sql, *values):
        """Change the store behind the program's back."""
        with contextlib.closing(sqlite3.connect(self.site.db_file, timeout=20)) as db, db:
            db.execute(sql, values)


@unittest.skipUnless(built_in(), "built without the dashboard")
class Files(DashboardTest):
    def assertSafe(self, answer):
        self.assertEqual(answer.headers["content-security-policy"], CSP)
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(answer.headers["cross-origin-opener-policy"], "same-origin")

    def test_each(self):
        """each file comes as it is, or compressed, with its type and what it may not do"""
        self.start()
        types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "txt": "text/plain", "svg": "image/svg+xml"}
        for name, path in embedded().items():
            with self.subTest(name):
                content = ntrvsta.read_file(path)
                plain = self.send("GET", "/dashboard/" + name, status=200)
                self.assertEqual(plain.body, content)
                self.assertEqual(plain.headers["content-type"].split(";")[0], types[name.rpartition(".")[2]])
                self.assertEqual(plain.headers["cache-control"], "no-cache")
                self.assertEqual(plain.headers["vary"], "Accept-Encoding")
                self.assertNotIn("content-encoding", plain.headers)
                self.assertEqual(plain.headers["etag"], f'"{hashlib.sha256(content).hexdigest()}"')
                self.assertSafe(plain)
                packed = self.send("GET", "/dashboard/" + name, headers={"Accept-Encoding": "gzip, deflate, br"}, status=200)
                self.assertEqual(gzip.decompress(packed.body), content)
                self.assertEqual(packed.headers["content-encoding"], "gzip")
                self.assertEqual(int(packed.headers["content-length"]), len(packed.body))
                self.assertNotEqual(packed.headers["etag"], plain.headers["etag"])
                self.assertSafe(packed)

    def test_page(self):
        """/dashboard/ is the page, /dashboard leads there; what the page names is there; nothing is written into it"""
        self.start()
        page = self.send("GET", "/dashboard/", status=200)
        self.assertEqual(page.body, ntrvsta.read_file(embedded()["index.html"]))
        away = self.send("GET", "/dashboard", status=308)
        self.assertEqual((away.headers["location"], away.body), ("dashboard/", b""))
        self.assertSafe(away)
        named = re.findall(rb'(?:src|href)="([^"#]+)"', page.body)
        self.assertGreater(len(named), 2)
        for name in named:
            with self.subTest(name.decode()):
                self.send("GET", "/dashboard/" + name.decode(), status=200)
        self.assertNotRegex(page.body, rb"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=")

    def test_imports(self):
        """what a script imports is embedded, and so is every file of the folder"""
        files = embedded()
        folder = os.path.join(ntrvsta.SRCDIR, "dashboard")
        there = {os.path.relpath(os.path.join(base, name), folder) for base, _, names in os.walk(folder) for name in names}
        ours = {name for name in there if name.endswith((".html", ".css", ".js", ".svg")) and not name.startswith("vendor/")}
        self.assertEqual(ours, {name for name in files if not name.startswith("vendor/")})
        for name, path in files.items():
            if name.startswith("vendor/") or not name.endswith(".js"):
                continue
            for target in re.findall(r'''(?:from|import)\s*\(?\s*["'](\.[^"']+)["']''', ntrvsta.read_file(path).decode()):
                with self.subTest(f"{name}: {target}"):
                    self.assertIn(os.path.normpath(os.path.join(os.path.dirname(name), target)), files)

    def test_head(self):
        """HEAD is GET without the body; nothing else may be asked"""
        self.start()
        get, head = (self.send(method, "/dashboard/", headers={"Accept-Encoding": "gzip"}, status=200) for method in ("GET", "HEAD"))
        self.assertEqual(head.headers, get.headers)
        self.assertEqual((head.body, len(get.body)), (b"", int(get.headers["content-length"])))
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = self.send(method, "/dashboard/", status=405, code="method_not_allowed")
            self.assertEqual(answer.headers["allow"], "GET, HEAD")
            self.assertSafe(answer)
        self.assertEqual(self.send("HEAD", "/dashboard/nope", status=404).body, b"")

    def test_etag(self):
        """what the browser has already is not sent again: 304, for each of the two forms"""
        self.start()
        for encoding in ({}, {"Accept-Encoding": "gzip"}):
            tag = self.send("GET", "/dashboard/", headers=encoding).headers["etag"]
            other = self.send("GET", "/dashboard/", headers={} if encoding else {"Accept-Encoding": "gzip"}).headers["etag"]
            for given, status in ((tag, 304), ("W/" + tag, 304), (f'"x", {tag}', 304), (f'"x",{tag} ,"y"', 304), ("*", 304), (other, 200),
                                  (tag.strip('"'), 200), (tag[:-2] + '"', 200), ('"x"', 200), ("", 200), ("W/", 200), (",,", 200)):
                with self.subTest(f"{given[:12]}... {encoding}"):
                    answer = self.send("GET", "/dashboard/", headers={**encoding, "If-None-Match": given}, status=status)
                    self.assertEqual(answer.headers["etag"], tag)
                    if status == 304:
                        self.assertEqual(answer.body, b"")
                        self.assertNotIn("content-type", answer.headers)
                    self.assertSafe(answer)

    def test_encoding(self):
        """compressed only for who takes that"""
        self.start()
        for accepted, packed in (("gzip", True), ("GZIP", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True), ("*", True), ("deflate,gzip", True),
                                 ("gzip;q=0.001", True), ("gzip ; q=0.5", True), ("*;q=0, gzip", True), ("", False), ("br", False), ("identity", False),
                                 ("gzip;q=0", False), ("gzip;q=0.000, *", False), ("gzip; q=0.0", False), ("gzip; q=0 , br", False), ("gzip;q=0\t", False), ("gzip;q=", True), ("*;q=0", False), ("xgzip", False),
                                 ("gzipx", False), (",;,", False)):
            with self.subTest(accepted):
                answer = self.send("GET", "/dashboard/", headers={"Accept-Encoding": accepted}, status=200)
                self.assertEqual("content-encoding" in answer.headers, packed)

    def test_paths(self):
        """nothing but the files by their very names"""
        self.start()
        for path in ("/dashboard/nope", "/dashboard/../ntrvsta.conf", "/dashboard/./index.html", "/dashboard//index.html", "/dashboard//",
                     "/dashboard/index.html/", "/dashboard/INDEX.HTML", "/dashboard/js", "/dashboard/js/", "/dashboard/vendor/", "/dashboard/index.htm",
                     "/dashboard/package.json", "/dashboard/embed", "/dashboard/session/", "/dashboard/%69ndex.html", "/dashboard/index.html\n",
                     "/dashboard/" + "a" * 5000, "/dashboard/vendor/../index.html", "/dashboard/\\..\\index.html"):
            with self.subTest(path[:40]):
                answer = self.send("GET", path, status=404, code="not_found")
                self.assertSafe(answer)
        for path in ("/dashboardx", "/Dashboard/", "/xdashboard/", "//dashboard/", "/x/dashboard/"):
            with self.subTest(path):
                self.assertEqual(self.send("GET", path, status=404).headers.get("content-security-policy"), None)

    def test_where(self):
        """beside a source, below the base, and wherever the web server says that the program is mounted"""
        self.start()
        for script, path in (("", "/webhooks/dashboard/"), ("/webhooks", "/dashboard/"), ("/webhooks/dashboard/", ""), ("/any/where.cgi", "/webhooks/dashboard/"),
                             ("/any/where.cgi", "/dashboard/")):
            with self.subTest(f"{script} {path}"):
                self.send("GET", path, script=script, status=200)
        self.site.configure({"web": {"base": "/hooks"}})
        if self.program:
            self.program.stop()
            self.program.start()
        self.send("GET", "/hooks/dashboard/", status=200)
        self.send("GET", "/hooks/webhooks/dashboard/", status=200)

    def test_check(self):
        """`ntrvsta check` says where it is, or why there is none"""
        site = self.start()

        def said():
            found = json.loads(site.tool("check", "--json", check=False).stdout)["findings"]
            return [(f["level"], f["message"]) for f in found if f["subject"] == "dashboard"]
        self.assertEqual(said(), [("ok", "is at /webhooks/dashboard/")])
        site.configure({"web": {"base": "/hooks"}})
        self.assertEqual(said(), [("ok", "is at /hooks/webhooks/dashboard/")])
        site.configure({"web": {"api": "off"}})
        self.assertEqual(said(), [("note", "there is none: it works over the API, and [web] api is off")])
        site.configure({"web": {"dashboard": "off"}})
        self.assertEqual(said(), [])

    def test_off(self):
        """switched off, or without the API: there is none, and no session counts"""
        site = self.start()
        key = self.make_key()
        _, cookie = self.sign_in(key)
        self.send("GET", "/v1/webhooks", headers=cookie, status=200)
        for settings in ({"dashboard": "off"}, {"dashboard": "on", "api": "off"}):
            site.configure({"web": settings})
            if self.program:
                self.program.stop()
                self.program.start()
            for path in ("/dashboard", "/dashboard/", "/dashboard/index.html"):
                self.send("GET", path, status=404, code="not_found")
            self.send("GET", SESSION, status=404, documented=False)
            self.send("GET", "/v1/webhooks", headers=cookie, status=404 if "api" in settings else 401)

    def test_not_configured(self):
        """without a usable configuration nothing is served"""
        site = self.start()
        site.write_config("[source ntrvsta]\npath = nope\n")
        if self.program:
            self.program.stop()
            self.program.start()
        self.send("GET", "/dashboard/", status=503, code="not_configured")

    def test_rate(self):
        """files and sign-in count for the rate limit of an address"""
        self.start({"web": {"rate_limit": "1/s"}})
        statuses = [self.send("GET", "/dashboard/").status for _ in range(5)]
        self.assertEqual((statuses[0], statuses[-1]), (200, 429))
        statuses = [self.send("POST", SESSION, {"key": "x"}, env={"REMOTE_ADDR": "192.0.2.1"}).status for _ in range(5)]
        self.assertEqual((statuses[0], statuses[-1]), (401, 429))

    def test_asking_is_no_refusal(self):
        """a page that asks who is signed in, when nobody is, is not counted among what was refused; a wrong key is"""
        self.start()
        key = self.make_key()
        for _ in range(3):
            self.send("GET", SESSION, status=401)
        self.send("POST", SESSION, {"key": "x"}, status=401)
        _, cookie = self.sign_in(key)
        refusals = self.send("GET", "/v1/security", headers=cookie, status=200).json["refusals"]
        self.assertEqual([(row["code"], row["count"]) for row in refusals["buckets"]], [("unauthorized", 1)])

    def test_wrong_keys(self):
        """wrong keys count for the limit of refused calls, which keeps no right one out"""
        self.start({"web": {"refused_limit": "1/s"}})
        key = self.make_key()
        statuses = [self.send("POST", SESSION, {"key": "x"}).status for _ in range(5)]
        self.assertEqual((statuses[0], statuses[-1]), (401, 429))
        made, cookie = self.sign_in(key)
        self.send("GET", SESSION, headers=cookie, status=200)
        self.assertEqual([self.send("GET", SESSION).status for _ in range(5)], [401] * 5)
        self.change("UPDATE session SET expires_ms = 1")
        for path in (SESSION, "/v1/webhooks"):
            self.assertEqual([self.send("GET", path, headers=cookie).status for _ in range(5)], [401] * 5)
        self.assertIn(429, [self.send("GET", "/v1/webhooks", headers={**cookie, "X-Ntrvsta-Api-Key": "x"}).status for _ in range(5)])


@unittest.skipUnless(built_in(), "built without the dashboard")
@unittest.skipIf(openapi.MISSING, openapi.MISSING)
class Sessions(DashboardTest):
    def logged(self, answer):
        return self.program.logged() if self.program else answer.stderr.decode()

    def test_life(self):
        """signed in, used, signed out"""
        site = self.start()
        key = self.make_key(scope="admin")
        answer = self.send("POST", SESSION, {"key": key}, status=200)
        made = answer.json
        self.assertEqual(set(made), {"org", "scope", "csrf", "expires_at"})
        self.assertEqual((made["org"], made["scope"]), ("acme", "admin"))
        self.assertRegex(made["csrf"], r"\A[0-9a-f]{32}\Z")
        self.assertRegex(answer.headers["set-cookie"],
                         r"\Antrvsta_session=[0-9a-f]{64}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200\Z")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        cookie = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
        token = cookie["Cookie"].partition("=")[2]
        rows = site.query("SELECT hash, key_prefix, expires_ms - created_ms FROM session")
        self.assertEqual(rows, [(hashlib.sha256(token.encode()).digest(), key[:12], 12 * 3600 * 1000)])
        self.assertEqual(self.send("GET", SESSION, headers=cookie, status=200).json, made)
        self.assertEqual(self.send("HEAD", SESSION, headers=cookie, status=200).body, b"")
        csrf = {**cookie, "X-CSRF-Token": made["csrf"]}
        hook = self.send("POST", "/v1/webhooks", HOOK, csrf, status=201).json["id"]
        self.assertEqual(self.send("GET", "/v1/webhooks", headers=cookie, status=200).json["data"][0]["id"], hook)
        self.send("PATCH", f"/v1/webhooks/{hook}", {"active": False}, csrf, status=200)
        self.send("DELETE", f"/v1/webhooks/{hook}", headers=csrf, status=204)
        gone = self.send("DELETE", SESSION, headers=csrf, status=204)
        self.assertRegex(gone.headers["set-cookie"], r"\Antrvsta_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0\Z")
        self.assertEqual(site.query("SELECT count(*) FROM session"), [(0,)])
        for path in (SESSION, "/v1/webhooks"):
            self.send("GET", path, headers=cookie, status=401, code="unauthorized")
        self.send("DELETE", SESSION, headers=csrf, status=401, code="unauthorized")

    def test_wrong_key(self):
        """a wrong key, a revoked one: 401, and the log says so without the key"""
        site = self.start()
        key = self.make_key()
        last = "0" if key[-1] != "0" else "1"
        for wrong in ("x", key[:-1], key[:-1] + last, key.upper(), "ntr_" + "0" * 8 + "_" + "0" * 40):
            with self.subTest(wrong[:20]):
                answer = self.send("POST", SESSION, {"key": wrong}, status=401, code="unauthorized")
                self.assertNotIn("set-cookie", answer.headers)
        answer = self.send("POST", SESSION, {"key": key[:-1] + last}, status=401)
        self.assertRegex(self.logged(answer), rf"security .* refused code=unauthorized status=401 key={key[:12]} address=127.0.0.1 method=POST path=/dashboard/session")
        self.assertNotIn(key[13:-1], self.logged(answer))
        site.tool("keys", "revoke", key[:12])
        self.send("POST", SESSION, {"key": key}, status=401, code="unauthorized")
        self.assertEqual(site.query("SELECT count(*) FROM session"), [(0,)])

    def test_bodies(self):
        """what is no sign-in is refused for what it is"""
        self.start()
        for body, status, code, how in (
                (b"", 422, "invalid_field", {}), (b"{}", 422, "invalid_field", {}), ({"key": 1}, 422, "invalid_field", {}),
                ({"key": ""}, 422, "invalid_field", {}), ({"key": "x" * 256}, 422, "invalid_field", {}), ({"key": None}, 422, "invalid_field", {}),
                ({"key": "x", "nope": 1}, 422, "invalid_field", {}), (b"[]", 400, "invalid_json", {}), (b"{", 400, "invalid_json", {}),
                (b'{"key":"x","key":"y"}', 400, "invalid_json", {}), (b'{"key":"a\\u0000b"}', 400, "invalid_json", {}),
                ({"key": "x" * 5000}, 413, "body_too_large", {}), ({"key": "x"}, 415, "unsupported_media_type", {"content_type": "text/plain"}),
                (b"key=x", 415, "unsupported_media_type", {"content_type": "application/x-www-form-urlencoded"}),
                ({"key": "x"}, 400, "bad_length", {"length": "-1"})):
            with self.subTest(f"{body[:20] if isinstance(body, bytes) else str(body)[:24]} {status}"):
                answer = self.send("POST", SESSION, body, status=status, code=code, **how)
                self.assertNotIn("set-cookie", answer.headers)
        answer = self.send("POST", SESSION, {"key": "x", "nope": 1}, query="a=1", status=422)
        self.assertEqual([e["field"] for e in answer.json["errors"]], ["a", "nope"])
        self.assertEqual(document.members("POST", SESSION), ({"key"}, {"key"}))
        answer = self.send("PUT", SESSION, {"key": "x"}, status=405, code="method_not_allowed")
        self.assertEqual(answer.headers["allow"], "GET, HEAD, POST, DELETE")

    def test_csrf(self):
        """what changes something needs the session's own csrf; the log says who tried"""
        self.start()
        key = self.make_key()
        made, cookie = self.sign_in(key)
        other, _ = self.sign_in(key)
        hook = self.send("POST", "/v1/webhooks", HOOK, {"X-Ntrvsta-Api-Key": key}, status=201).json["id"]
        path = f"/v1/webhooks/{hook}"
        calls = (("POST", "/v1/webhooks", HOOK), ("PATCH", path, {"active": False}), ("DELETE", path, b""), ("POST", path + "/rotate-secret", b""),
                 ("POST", "/v1/nowhere", b""), ("DELETE", SESSION, b""))
        for given in (None, "", "x", made["csrf"][:-1], made["csrf"] + "0", made["csrf"].upper() + " ", other["csrf"]):
            for method, where, body in calls:
                with self.subTest(f"{method} {where}: {given}"):
                    headers = cookie if given is None else {**cookie, "X-CSRF-Token": given}
                    answer = self.send(method, where, body, headers, status=403, code="csrf")
        self.assertRegex(self.logged(answer), rf"security .* refused code=csrf status=403 key={key[:12]} address=127.0.0.1 method=DELETE")
        self.assertTrue(self.send("GET", path, headers=cookie, status=200).json["active"])
        self.send("GET", SESSION, headers=cookie, status=200)

    def test_cross_site(self):
        """another site's page changes nothing and signs nobody in, whatever it knows; it may not be told apart by GET"""
        self.start()
        key = self.make_key()
        made, cookie = self.sign_in(key, headers={"Sec-Fetch-Site": "same-origin"})
        csrf = {**cookie, "X-CSRF-Token": made["csrf"]}
        for site in ("cross-site", "same-site", "none", "", "same-origin, cross-site"):
            with self.subTest(site):
                self.send("POST", "/v1/webhooks", HOOK, {**csrf, "Sec-Fetch-Site": site}, status=403, code="csrf")
                self.send("DELETE", SESSION, b"", {**csrf, "Sec-Fetch-Site": site}, status=403, code="csrf")
                answer = self.send("POST", SESSION, {"key": key}, {"Sec-Fetch-Site": site}, status=403, code="csrf")
                self.assertNotIn("set-cookie", answer.headers)
                self.send("POST", "/v1/webhooks", HOOK, {"X-Ntrvsta-Api-Key": key, "Sec-Fetch-Site": site}, status=201)
        answer = self.send("GET", "/v1/webhooks", headers={**cookie, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, status=200)
        self.assertFalse([name for name in answer.headers if name.startswith("access-control-")])
        self.send("POST", "/v1/webhooks", HOOK, {**csrf, "Sec-Fetch-Site": "same-origin"}, status=201)

    def test_key_first(self):
        """where a key is named as well, the key counts"""
        self.start()
        _, cookie = self.sign_in(self.make_key(org="acme", scope="read"))
        key = self.make_key(org="other")
        made = self.send("POST", "/v1/webhooks", HOOK, {**cookie, "X-Ntrvsta-Api-Key": key}, status=201).json["id"]
        self.send("GET", f"/v1/webhooks/{made}", headers=cookie, status=404)
        self.send("GET", "/v1/webhooks", headers={**cookie, "X-Ntrvsta-Api-Key": key[:-1]}, status=401)
        self.send("GET", "/v1/webhooks", headers={**cookie, "Authorization": "Bearer x"}, status=401)

    def test_scope(self):
        """a session may do what its key may, as its organisation"""
        self.start()
        made, cookie = self.sign_in(self.make_key(scope="read"))
        self.assertEqual(made["scope"], "read")
        self.send("GET", "/v1/webhooks", headers=cookie, status=200)
        self.send("POST", "/v1/webhooks", HOOK, {**cookie, "X-CSRF-Token": made["csrf"]}, status=403, code="forbidden")

    def test_end(self):
        """a session ends after 12 h, and with its key; what has ended is removed"""
        site = self.start()
        key, second = self.make_key(), self.make_key()
        made, cookie = self.sign_in(key)
        csrf = {**cookie, "X-CSRF-Token": made["csrf"]}
        self.change("UPDATE session SET expires_ms = expires_ms - 12 * 3600 * 1000 + 60000")
        self.send("GET", SESSION, headers=cookie, status=200)
        self.change("UPDATE session SET expires_ms = expires_ms - 60000")
        for method, path in (("GET", SESSION), ("DELETE", SESSION), ("GET", "/v1/webhooks"), ("POST", "/v1/webhooks")):
            self.send(method, path, headers=csrf, status=401, code="unauthorized")
        _, cookie = self.sign_in(key)
        self.assertEqual(site.query("SELECT count(*) FROM session"), [(1,)])
        _, beside = self.sign_in(second)
        site.tool("keys", "revoke", key[:12])
        for path in (SESSION, "/v1/webhooks"):
            answer = self.send("GET", path, headers=cookie, status=401, code="unauthorized")
            self.send("GET", path, headers=beside, status=200)
        self.assertNotIn("set-cookie", answer.headers)

    def test_many(self):
        """a key has the newest hundred sessions"""
        site = self.start()
        key, other = self.make_key(), self.make_key()
        _, first = self.sign_in(key)
        _, beside = self.sign_in(other)
        self.change("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
                    " INSERT INTO session SELECT randomblob(32), key_prefix, csrf, created_ms + i, expires_ms FROM session, n"
                    " WHERE key_prefix = ?", key[:12])
        self.send("GET", SESSION, headers=first, status=200)
        self.change("UPDATE session SET created_ms = created_ms - 1000")
        _, last = self.sign_in(key)
        self.assertEqual(site.query("SELECT key_prefix = ?, count(*) FROM session GROUP BY 1", key[:12]), [(0, 1), (1, 100)])
        self.send("GET", SESSION, headers=first, status=401)
        self.send("GET", SESSION, headers=last, status=200)
        self.send("GET", SESSION, headers=beside, status=200)

    def test_cookies(self):
        """the cookie is found among others; what is none of ours is no session"""
        self.start()
        _, cookie = self.sign_in(self.make_key())
        ours = cookie["Cookie"]
        for text, status in ((f"a=b; {ours}", 200), (f"{ours}; a=b", 200), (f"a=b;{ours};c", 200), (f"ntrvsta_session=x; {ours}", 200),
                             (f"ntrvsta_session={'0' * 64}; {ours}", 401), (f"x{ours}", 401), (ours[:-1], 401), (ours + "0", 401),
                             (ours.upper(), 401), ("ntrvsta_session=", 401), ("ntrvsta_session", 401), ("; ;=;", 401), ("x" * 9000, 401),
                             (f'"{ours}"', 401), ("", 401)):
            with self.subTest(text[:24]):
                self.send("GET", SESSION, headers={"Cookie": text}, status=status)
        self.send("GET", SESSION, status=401, code="unauthorized")

    def test_cookie_path(self):
        """the cookie goes to the mount as the browser sees it, and over https only where it came so"""
        self.start()
        key = self.make_key()
        for uri, path in (("/webhooks/dashboard/session", "/webhooks"), ("/~me/hooks/dashboard/session?", "/~me/hooks"), ("/dashboard/session", "/"),
                          ("/a%20b/dashboard/session", "/a%20b"), ("/a;Domain=evil/dashboard/session", "/"), ("/a b/dashboard/session", "/"),
                          ("/x/%64ashboard/session", "/"), ("dashboard/session", "/"), ("", "/"), (None, "/"), ("/dashboard/session/x", "/")):
            with self.subTest(f"{uri}"):
                answer = self.send("POST", SESSION, {"key": key}, status=200, env={"REQUEST_URI": uri})
                self.assertIn(f"; Path={path}; Max-Age=", answer.headers["set-cookie"])
        for env, secure in (({"HTTPS": "on"}, True), ({"HTTPS": "1"}, True), ({"REQUEST_SCHEME": "https"}, True), ({"HTTPS": "off"}, False),
                            ({"HTTPS": ""}, False), ({"REQUEST_SCHEME": "http"}, False), ({"HTTP_X_FORWARDED_PROTO": "https"}, False), ({"HTTP_HTTPS": "on"}, False)):
            with self.subTest(f"{env}"):
                answer = self.send("POST", SESSION, {"key": key}, status=200, env=env)
                self.assertEqual(answer.headers["set-cookie"].endswith("; Secure"), secure, answer)

    def test_no_store(self):
        """where the store can't be opened: 503"""
        site = self.start()
        _, cookie = self.sign_in(self.make_key())
        if self.program:
            self.program.stop()
        for name in os.listdir(site.state):
            if name.startswith("ntrvsta.db"):
                os.unlink(os.path.join(site.state, name))
        os.mkdir(site.db_file)
        if self.program:
            self.program.start()
        for method, path, body in (("GET", SESSION, b""), ("POST", SESSION, {"key": "x"}), ("GET", "/v1/webhooks", b"")):
            self.send(method, path, body, cookie, status=503, code="store_unavailable")
        self.send("GET", "/dashboard/", status=200)

    def test_environment(self):
        """no handler gets to see a cookie or a csrf"""
        site = self.start({"dispatch": {"start": "auto"}})
        site.handler("all/env", 'cat "/proc/$PPID/environ" > "$OUT/dispatcher.tmp"; env > "$OUT/env.tmp"; mv "$OUT/dispatcher.tmp" "$OUT/dispatcher"; mv "$OUT/env.tmp" "$OUT/env"')
        made, cookie = self.sign_in(self.make_key())
        body = event()
        headers = {**cookie, "X-CSRF-Token": made["csrf"]}
        answer = self.program.call(body, headers=headers) if self.program else site.cgi(body, headers=headers)
        self.assertEqual(answer.status, 200, answer)
        for name in ("env", "dispatcher"):
            seen = site.output(name, 20)
            self.assertNotIn(made["csrf"].encode(), seen)
            self.assertNotIn(cookie["Cookie"].partition("=")[2].encode(), seen)


class FilesCgi(Files):
    cgi = True


class SessionsCgi(Sessions):
    cgi = True


@unittest.skipIf(built_in(), "built with the dashboard")
class Without(DashboardTest):
    def test_without(self):
        """a program that was built without has none, and takes the setting all the same"""
        self.start({"web": {"dashboard": "on"}})
        key = self.make_key()
        for path in ("/dashboard", "/dashboard/", "/dashboard/index.html"):
            self.send("GET", path, status=404, code="not_found")
        self.send("POST", SESSION, {"key": key}, status=404, documented=False)
        self.send("GET", "/v1/webhooks", headers={"X-Ntrvsta-Api-Key": key}, status=200)
        found = json.loads(self.site.tool("check", "--json", check=False).stdout)["findings"]
        self.assertEqual([(f["level"], f["message"]) for f in found if f["subject"] == "dashboard"],
                         [("note", "there is none: ntrvsta-fcgi was built without it")])


if __name__ == "__main__":
    tap.main()
