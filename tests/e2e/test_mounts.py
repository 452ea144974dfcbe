#!/usr/bin/env python3
"""The program under real web servers, mounted by the files in conf/: a signed event, 200, and a handler that
has written the exact bytes."""

import gzip
import json
import os
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fastcgi
import ntrvsta
import tap
import webservers
from ntrvsta import Site, built_in, event, sign, wait_for

WRITE = 'cat > "$OUT/$NTRVSTA_EVENT_ID.tmp" && mv "$OUT/$NTRVSTA_EVENT_ID.tmp" "$OUT/$NTRVSTA_EVENT_ID"'
HANDLERS = {"session.completed/10-write": WRITE, "all/20-environment":
            'env > "$OUT/env.tmp" && mv "$OUT/env.tmp" "$OUT/env.$NTRVSTA_EVENT_ID"'}


class Mount(unittest.TestCase):
    """The promises of one mount; its subclasses below name the server."""

    server = None

    @classmethod
    def setUpClass(cls):
        missing = cls.server.missing()
        if missing:
            raise unittest.SkipTest(f"{missing} is not installed")

    def mount(self, prefix="", settings=None, server=None, **how):
        server = server or self.server
        site = Site(settings, handlers=HANDLERS, init=True)
        self.addCleanup(site.close)
        if prefix and server.base:
            site.configure({"web": {"base": prefix}})
        site.install()
        mounted = server(site, prefix=prefix, **how)
        mounted.start()
        self.addCleanup(mounted.stop)
        return site, mounted

    def assertDelivered(self, site, mounted, body):
        answer = mounted.post(body)
        self.assertEqual(answer.status, 200, f"{answer}\n{mounted.logs()}")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json["status"], "accepted")
        self.assertEqual(site.output(answer.json["id"], timeout=20), body)
        return answer.json["id"]

    BODY = b' {"event": "session.completed",\r\n\t"data":{"name":"Zo\xc3\xab; $(id) `id` \' \\" \\u0000","n":1e2}}\n'

    def test_root(self):
        """a signed event: 200, and a handler has written the exact bytes"""
        site, mounted = self.mount()
        self.assertDelivered(site, mounted, self.BODY)

    def test_prefix(self):
        """the same below a prefix"""
        site, mounted = self.mount(prefix="/hooks")
        self.assertDelivered(site, mounted, self.BODY)
        answer = mounted.post(event(), path=mounted.path + "/nope")
        self.assertEqual((answer.status, answer.code), (404, "not_found"))

    def test_answers(self):
        """refusals come through the web server as they are, a request's names never reach a handler"""
        site, mounted = self.mount()
        body = event()
        good = {"Content-Type": "application/json", "X-NTRVSTA-Signature": sign(body, site.secret)}
        for status, code, method, path, headers in [
            (404, "not_found", "POST", mounted.path + "/nope", good),
            (405, "method_not_allowed", "GET", mounted.path, {}),
            (405, "method_not_allowed", "PUT", mounted.path, good),
            (415, "unsupported_media_type", "POST", mounted.path, {**good, "Content-Type": "text/plain"}),
            (401, "missing_signature", "POST", mounted.path, {"Content-Type": "application/json"}),
            (401, "invalid_signature", "POST", mounted.path, {**good, "X-NTRVSTA-Signature": "0" * 64}),
            (413, "body_too_large", "POST", mounted.path, good),
        ]:
            with self.subTest(f"{status} {code} {method}"):
                sent = None if method == "GET" else body
                if code == "body_too_large":
                    site.configure({"source ntrvsta": {"max_body": "10K"}})
                    sent = b"x" * 600000
                    wait_for(lambda: mounted.send(method, path, sent, headers).status == 413, 10, "413")
                answer = mounted.send(method, path, sent, headers)
                self.assertEqual((answer.status, answer.code), (status, code), answer)
                self.assertEqual(answer.headers["content-type"], "application/problem+json")
                if status == 405:
                    self.assertEqual(answer.headers["allow"], "POST")
        head = mounted.send("HEAD", mounted.path)
        self.assertEqual((head.status, head.body), (405, b""))
        answer = mounted.post(body, path=mounted.path + "/?-h=1&NTRVSTA_SECRET_NAME=evil",
                              headers={"Proxy": "http://evil", "X-Evil": "evil"})
        self.assertEqual(answer.status, 200, answer)
        self.assertNotIn(b"evil", site.output("env." + answer.json["id"]))

    def test_api(self):
        """the management API is beside the source: each method, ids with slashes, queries, answers without a body"""
        site, mounted = self.mount()
        key = site.tool("keys", "create", "--org", "acme", "--scope", "write", "--json")["key"]
        path = os.path.dirname(mounted.path)
        headers = {"X-Ntrvsta-Api-Key": key, "Content-Type": "application/json"}
        self.assertEqual(mounted.send("GET", path + "/healthz").json, {"status": "ok"})
        answer = mounted.send("GET", path + "/v1/webhooks")
        self.assertEqual((answer.status, answer.code), (401, "unauthorized"), answer)
        answer = mounted.send("POST", path + "/v1/webhooks", b'{"url":"https://a.example.org","events":["*"]}', headers)
        self.assertEqual(answer.status, 201, answer)
        hook = f"{path}/v1/webhooks/{answer.json['id']}"
        self.assertEqual(mounted.send("PATCH", hook, b'{"active":false}', headers).json["active"], False)
        self.assertEqual(mounted.send("GET", f"{path}/v1/webhooks/all/20-environment/stats?timeRange=1h", None, headers).status, 200)
        rows = mounted.send("GET", f"{path}/v1/webhooks?limit=1&cursor=all%2F20-environment", None, headers).json["data"]
        self.assertEqual([r["id"] for r in rows], ["session.completed/10-write"])
        head = mounted.send("HEAD", hook, None, headers)
        self.assertEqual((head.status, head.body), (200, b""))
        gone = mounted.send("DELETE", hook, None, headers)
        self.assertEqual((gone.status, gone.body), (204, b""))
        answer = mounted.send("DELETE", path + "/v1/webhooks", None, headers)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, POST"))

    def test_dashboard(self):
        """the dashboard is beside the source: its files as they are, its session where the browser sees the mount"""
        site, mounted = self.mount()
        key = site.tool("keys", "create", "--org", "acme", "--scope", "write", "--json")["key"]
        path = os.path.dirname(mounted.path)
        page = mounted.send("GET", path + "/dashboard/")
        if page.status == 404 and not built_in():
            self.skipTest("built without the dashboard")
        self.assertEqual(page.status, 200, page)
        self.assertEqual(page.body, ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, "dashboard", "index.html")))
        self.assertIn("frame-ancestors 'none'", page.headers["content-security-policy"])
        away = mounted.send("GET", path + "/dashboard")
        self.assertEqual(away.status, 308, away)
        self.assertIn(away.headers["location"], ("dashboard/", f"http://127.0.0.1:{mounted.port}{path}/dashboard/"))
        style = mounted.send("GET", path + "/dashboard/style.css", None, {"Accept-Encoding": "gzip"})
        self.assertEqual(gzip.decompress(style.body), ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, "dashboard", "style.css")))
        again = mounted.send("GET", path + "/dashboard/style.css", None, {"Accept-Encoding": "gzip", "If-None-Match": style.headers["etag"]})
        self.assertEqual((again.status, again.body), (304, b""), again)
        head = mounted.send("HEAD", path + "/dashboard/")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(mounted.send("GET", path + "/dashboard/..%2f..%2fntrvsta.conf").status // 100, 4)
        session, json_type = path + "/dashboard/session", {"Content-Type": "application/json"}
        answer = mounted.send("POST", session, json.dumps({"key": key}).encode(), json_type)
        self.assertEqual(answer.status, 200, answer)
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        self.assertEqual(attributes, ["HttpOnly", "SameSite=Strict", "Path=" + path, "Max-Age=43200"])
        headers = {**json_type, "Cookie": cookie}
        self.assertEqual(mounted.send("GET", session, None, headers).json, answer.json)
        hook = b'{"url":"https://a.example.org","events":["*"]}'
        refused = mounted.send("POST", path + "/v1/webhooks", hook, headers)
        self.assertEqual((refused.status, refused.code), (403, "csrf"), refused)
        headers["X-CSRF-Token"] = answer.json["csrf"]
        self.assertEqual(mounted.send("POST", path + "/v1/webhooks", hook, headers).status, 201)
        self.assertEqual(mounted.send("DELETE", session, None, headers).status, 204)
        self.assertEqual(mounted.send("GET", session, None, headers).status, 401)

    def test_large_body(self):
        """a body of 900 KB arrives byte for byte"""
        site, mounted = self.mount()
        body = event(filler="y" * 900000)
        self.assertDelivered(site, mounted, body)

    def test_many_at_once(self):
        """64 clients at once are all answered, and every event is run"""
        site, mounted = self.mount(settings={"web": {"rate_limit": "0"}})
        statuses = storm(mounted, clients=64, each=3)
        self.assertEqual(statuses, [200] * 192, mounted.logs())
        wait_for(lambda: sum(n.startswith("evt_") and "." not in n for n in os.listdir(site.out)) == 192, 120,
                 "192 handlers ran")

    def test_stop(self):
        """SIGTERM to the web server leaves no process"""
        site, mounted = self.mount()
        self.assertDelivered(site, mounted, self.BODY)
        mounted.stop()
        # A dispatcher that it started goes on for a while, by itself; see test_dispatch.py.
        dispatcher = site.dispatcher_pid()
        wait_for(lambda: set(site.leftovers()) <= {dispatcher}, 10, "no process is left but the dispatcher")
        if dispatcher:
            os.kill(dispatcher, signal.SIGTERM)
        wait_for(lambda: not site.leftovers(), 10, "no process is left")


def storm(mounted, clients, each):
    """CLIENTS threads post EACH events; the answers' statuses."""
    statuses, start = [], threading.Event()

    def client(k):
        start.wait()
        for n in range(each):
            statuses.append(mounted.post(event(k=k, n=n), timeout=120).status)

    threads = [threading.Thread(target=client, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    return statuses


class LighttpdFastCGI(Mount):
    server = webservers.LighttpdFastCGI


class LighttpdCGI(Mount):
    server = webservers.LighttpdCGI


class ApacheFcgid(Mount):
    server = webservers.ApacheFcgid

    def test_graceful(self):
        """a graceful restart of Apache loses no request"""
        site, mounted = self.mount(settings={"web": {"rate_limit": "0"}})
        self.assertDelivered(site, mounted, self.BODY)
        statuses, done = [], threading.Event()

        def client(k):
            n = 0
            while not done.is_set():
                statuses.append(mounted.post(event(k=k, n=n)).status)
                n += 1

        threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(statuses) > 40, 30, "some answers")
        mounted.children[-1].send_signal(signal.SIGUSR1)
        seen = len(statuses)
        wait_for(lambda: len(statuses) > seen + 200, 60, "answers after the restart")
        done.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(statuses), {200}, mounted.logs())


class ApacheProxyFcgi(Mount):
    server = webservers.ApacheProxyFcgi


class ApacheCGI(Mount):
    server = webservers.ApacheCGI

    def test_tool_is_hidden(self):
        """the command line tool beside it is not served"""
        site, mounted = self.mount()
        self.assertEqual(mounted.send("GET", "/~me/ntrvsta").status, 403)
        self.assertEqual(mounted.send("GET", "/~me/.htaccess").status, 403)


class Nginx(Mount):
    server = webservers.Nginx

    def test_fastcgi_conf(self):
        """the same with nginx's other stock file of parameters"""
        self.server = type("NginxConf", (webservers.Nginx,), {"params": "fastcgi.conf"})
        site, mounted = self.mount(prefix="/hooks")
        self.assertDelivered(site, mounted, self.BODY)

    def test_kept_connections(self):
        """nginx keeps 32 connections, the program has 2 workers: all are served, and others on that socket too"""
        settings = {"web": {"rate_limit": "0", "threads": "2"}}
        site, mounted = self.mount(settings=settings, server=webservers.NginxKeep)
        statuses = storm(mounted, clients=64, each=5)
        self.assertEqual(statuses, [200] * 320, mounted.logs())
        started = time.monotonic()
        with fastcgi.Connection(mounted.socket) as other:
            answer = other.call(site.request(event(n="other")), event(n="other"))
        self.assertEqual(answer.status, 200)
        self.assertLess(time.monotonic() - started, 1)
        apache = webservers.ApacheProxyFcgi
        if apache.missing():
            self.skipTest(f"{apache.missing()} is not installed")
        second = apache(site)
        second.spawn_fcgi = lambda: None  # it uses the socket of the first one
        second.dir, second.socket = os.path.join(site.dir, "second"), mounted.socket
        second.start()
        try:
            for n in range(5):
                started = time.monotonic()
                self.assertEqual(second.post(event(second=n)).status, 200, second.logs())
                self.assertLess(time.monotonic() - started, 1)
        finally:
            second.socket = "/nonexistent"
            second.stop()
        self.assertEqual(storm(mounted, clients=64, each=2), [200] * 128)

    def test_systemd_socket(self):
        """as the socket unit has it: the listening socket is standard input, a restart loses no request"""
        site = Site({"web": {"rate_limit": "0"}}, handlers=HANDLERS, init=True)
        self.addCleanup(site.close)
        site.install()
        program = fastcgi.Program(site)
        self.addCleanup(program.close)
        if ntrvsta.web_user():
            os.chown(program.address, ntrvsta.web_user().pw_uid, -1)
        mounted = self.server(site)
        mounted.spawn_fcgi = lambda: None
        mounted.socket = program.address
        mounted.start()
        try:
            self.assertDelivered(site, mounted, self.BODY)
            self.assertEqual(program.stop(), 0)
            answers = []
            thread = threading.Thread(target=lambda: answers.append(mounted.post(event(n="meanwhile"))))
            thread.start()
            program.start()
            thread.join()
            self.assertEqual(answers[0].status, 200, answers)
        finally:
            mounted.socket = "/nonexistent"
            mounted.stop()


del Mount  # only its subclasses are tests

if __name__ == "__main__":
    tap.main()
