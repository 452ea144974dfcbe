"""Calls of registered URLs, to receivers on real sockets: what they get, what is made of their answers, whom they
can't make us call, and what becomes of calls when webhooks, settings and dispatchers change meanwhile."""

import base64
import email.utils
import hashlib
import hmac
import os
import shutil
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import receiver
import seed
import tap
from ntrvsta import Site, event, free_port, sanitized, sign, wait_for
from receiver import Authority, Nginx, ReceiverCase, register, response

PATIENCE = 5 if sanitized() else 1
ATTEMPTS = ("SELECT a.attempt, a.outcome, a.error_code, a.error_message, a.status_code, a.output, a.output_cut, a.duration_ms"
            " FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq JOIN target t ON t.id = d.target"
            " WHERE t.name = ? ORDER BY a.seq")


class Attempt:
    def __init__(self, row):
        (self.attempt, self.outcome, self.error, self.message, self.status, self.output, self.cut, self.ms) = row
        self.output = self.output if isinstance(self.output, bytes) else self.output.encode()

    def __repr__(self):
        return str(self.__dict__)


class WebhookCase(ReceiverCase):
    def make(self, settings=None, **webhooks):
        site = Site({"dispatch": {"start": "off", "concurrency": "16"}, "log": {"level": "debug"},
                     "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8 ::1", "retry_schedule": "1h", **webhooks}})
        site.configure(settings or {})
        self.addCleanup(site.close)
        return site

    def post(self, site, body=None):
        answer = site.cgi(body or event())
        self.assertEqual(answer.status, 200, answer)
        return answer.json["id"]

    def attempts(self, site, hook):
        return [Attempt(row) for row in site.query(ATTEMPTS, hook)]

    def wait_attempts(self, site, hook, count, timeout=20):
        return wait_for(lambda: len(self.attempts(site, hook)) >= count and self.attempts(site, hook), timeout * PATIENCE,
                        f"{count} attempts: {self.attempts(site, hook)}\n{site.logs()}")

    def states(self, site, hook):
        return dict(site.query("SELECT d.state, count(*) FROM delivery d JOIN target t ON t.id = d.target WHERE t.name = ?"
                               " GROUP BY d.state", hook))

    def held(self, site, hook):
        return site.query("SELECT held FROM target WHERE name = ?", hook)[0][0]

    def call_once(self, url, settings=None, **webhooks):
        """One event for one webhook, one attempt; (site, hook, attempt)."""
        site = self.make(settings, **webhooks)
        hook = register(site, url)
        self.post(site)
        site.dispatch_once()
        made = self.attempts(site, hook)
        self.assertEqual(len(made), 1, site.logs())
        return site, hook, made[0]


class Delivery(WebhookCase):
    def check(self, site, request, hook, body):
        secrets = receiver.secrets_of(site, hook)
        (event_id, delivery_id), = site.query(
            "SELECT e.id, d.id FROM event e JOIN delivery d ON d.event_seq = e.seq JOIN target t ON t.id = d.target"
            " WHERE e.body = ? AND t.name = ?", body, hook)
        h = request.headers
        self.assertEqual((request.method, request.body), ("POST", body))
        self.assertEqual(h["content-type"], "application/json")
        self.assertRegex(h["user-agent"], r"\Antrvsta-fcgi/[0-9][^ ]*\Z")
        self.assertEqual(h["x-ntrvsta-event"], "session.completed")
        self.assertEqual(h["x-ntrvsta-delivery"], delivery_id)
        self.assertEqual((h["x-ntrvsta-idempotency-key"], h["webhook-id"]), (event_id, event_id))
        self.assertLess(abs(int(h["webhook-timestamp"]) - request.received), 2 * PATIENCE)
        self.assertEqual(h["x-ntrvsta-signature"], sign(body, secrets[0]))
        names = [name.lower() for name, _ in request.header_list]
        self.assertEqual(len(names), len(set(names)), "no header twice")
        self.assertFalse({"expect", "authorization", "cookie", "transfer-encoding"} & set(names))

    def signed_by(self, request, secrets):
        content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
        items = []
        for secret in secrets:
            key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
            items.append("v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode())
        return " ".join(items)

    def test_request(self):
        """a call over HTTP and over HTTPS: each header of the contract, and the body byte for byte"""
        site = self.make()
        authority = Authority(site.dir)
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        for what, tls in (("http", None), ("https", authority.server("localhost", "127.0.0.1"))):
            for secret in (receiver.make_secret(), "a-plain-secret"):
                with self.subTest(what, secret=secret[:6]):
                    r = self.receive(tls)
                    hook = register(site, r.url("/hooks?a=b%20c"), secret=secret)
                    body = event(text="ü \\u0000 <&>", n=f"{what}{secret}") + b" \n"
                    self.post(site, body)
                    site.dispatch_once()
                    request, = r.wait(1)
                    self.assertEqual(request.path, "/hooks?a=b%20c")
                    self.check(site, request, hook, body)
                    self.assertEqual(request.headers["webhook-signature"], self.signed_by(request, [secret]))
                    self.assertEqual(self.states(site, hook), {"success": 1})
                    made, = self.attempts(site, hook)
                    self.assertEqual((made.outcome, made.status, made.error, made.output), ("success", 200, "", b""))
                    receiver.delete(site, hook)

    def test_large_body(self):
        """a body of a megabyte arrives whole, without a pause for 100 Continue"""
        site = self.make()
        r = self.receive()
        hook = register(site, r.url())
        body = event(text="x" * 1_000_000)
        self.post(site, body)
        site.dispatch_once()
        self.check(site, r.wait(1)[0], hook, body)
        self.assertLess(self.attempts(site, hook)[0].ms, 900)

    def test_rotation(self):
        """before, during and after a rotation: the newest secret signs in hex, each that lives has its item"""
        site = self.make()
        r = self.receive()
        old, new = receiver.make_secret(), receiver.make_secret()
        hook = register(site, r.url(), secret=old)
        steps = (("before", lambda: None, [old]), ("during", lambda: receiver.rotate(site, hook, new), [new, old]),
                 ("after", lambda: receiver.end_overlap(site, hook), [new]))
        for n, (when, change, live) in enumerate(steps):
            with self.subTest(when):
                change()
                self.post(site, event(n=n))
                site.dispatch_once()
                request = r.wait(n + 1)[n]
                self.assertEqual(request.headers["x-ntrvsta-signature"], sign(request.body, live[0]))
                self.assertEqual(request.headers["webhook-signature"], self.signed_by(request, live))

    def test_events_of_a_webhook(self):
        """an event goes to the webhooks that want it, or all, and to no other"""
        site = self.make()
        r = self.receive()
        for path, wanted in (("/all", "*"), ("/both", "candidate.invited session.completed"), ("/one", "session.completed"),
                             ("/other", "session.complete"), ("/another", "session.completed_late")):
            register(site, r.url(path), events=wanted)
        register(site, r.url("/off"), active=False)
        self.post(site)
        site.dispatch_once()
        self.assertEqual(sorted(q.path for q in r.requests), ["/all", "/both", "/one"])

    def test_connections_reused(self):
        """calls one after the other use one connection"""
        site = self.make()
        authority = Authority(site.dir)
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        r = self.receive(authority.server("localhost"))
        register(site, r.url())
        for n in range(20):
            self.post(site, event(n=n))
        site.dispatch_once()
        self.assertEqual((len(r.wait(20)), r.accepted), (20, 1))

    def test_closed_connections(self):
        """a connection that the receiver closed after its answer is no failure of the next call"""
        site = self.make()
        r = self.receive(answer=lambda c, q: c.sendall(response(200)))
        hook = register(site, r.url())
        seed.backlog(site, 200, hook)
        site.dispatch_once()
        self.assertEqual([a for a in self.attempts(site, hook) if a.error], [])
        self.assertEqual(self.states(site, hook), {"success": 200})

    def test_order(self):
        """first attempts to one webhook come in order of arrival"""
        site = self.make()
        r = self.receive()
        register(site, r.url())
        ids = [self.post(site, event(n=n)) for n in range(20)]
        site.dispatch_once()
        self.assertEqual([q.headers["webhook-id"] for q in r.wait(20)], ids)

    @unittest.skipUnless(shutil.which("nginx"), "nginx is not installed")
    def test_http2(self):
        """HTTP/2 where it is offered; an answer that comes before the body was read is one all the same"""
        site = self.make({"dispatch": {"concurrency": "32"}}, concurrency="32")
        authority = Authority(site.dir)
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        server = Nginx(site.dir, authority, http2=True)
        self.addCleanup(server.close)
        hook = register(site, f"https://localhost:{server.port}/")
        seed.backlog(site, 5000, hook)
        site.dispatch_once()
        self.assertEqual([a for a in self.attempts(site, hook) if a.error], [])
        self.assertEqual(self.states(site, hook), {"success": 5000})
        self.assertEqual(set(server.protocols()), {"HTTP/2.0"})

    def test_no_proxy(self):
        """proxies in the environment are not used"""
        site = self.make()
        r, proxy = self.receive(), self.receive()
        hook = register(site, r.url())
        self.post(site)
        env = {name: proxy.url() for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        site.tool("dispatch", "--once", env=env)
        self.assertEqual((len(r.requests), proxy.accepted, self.states(site, hook)), (1, 0, {"success": 1}))


class Answers(WebhookCase):
    ROWS = (  # answer, outcome, error code, status, state
        (200, "success", "", 200, "success"),
        (201, "success", "", 201, "success"),
        (202, "success", "", 202, "success"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "success", "", 204, "success"),
        (299, "success", "", 299, "success"),
        (304, "retry", "http_status", 304, "pending"),
        (400, "retry", "http_status", 400, "pending"),
        (401, "retry", "http_status", 401, "pending"),
        (404, "retry", "http_status", 404, "pending"),
        (410, "permanent", "gone", 410, "failed"),
        (500, "retry", "http_status", 500, "pending"),
        (503, "retry", "http_status", 503, "pending"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(200), "success", "", 200, "success"),
    )

    def test_statuses(self):
        """2xx is success, 410 is the end, all else is tried again"""
        site = self.make()
        rows = [(self.receive(answer=row[0]), *row) for row in self.ROWS]
        hooks = register(site, *(row[0].url() for row in rows))
        self.post(site)
        site.dispatch_once()
        for hook, (r, _, outcome, error, status, state) in zip(hooks, rows):
            with self.subTest(status=status):
                made, = self.attempts(site, hook)
                self.assertEqual((made.outcome, made.error, made.status), (outcome, error, status), made)
                self.assertEqual(self.states(site, hook), {state: 1})
                self.assertEqual(len(r.requests), 1)
                if outcome != "success":
                    self.assertIn(f"HTTP status {status}", made.message)

    def test_redirect(self):
        """a redirect is a failure and is not followed, wherever it leads"""
        elsewhere = self.receive()
        for status in (301, 302, 303, 307, 308):
            r = self.receive(answer=response(status, Location=elsewhere.url()))
            _, _, made = self.call_once(r.url())
            self.assertEqual((made.outcome, made.error, made.status), ("retry", "http_status", status))
            self.assertEqual((len(r.requests), elsewhere.accepted), (1, 0))

    def test_gone(self):
        """410 switches the webhook off: what waits is held, nothing more is called, nothing new goes there"""
        site = self.make()
        r = self.receive(answer=410)
        hook = register(site, r.url())
        for n in range(5):
            self.post(site, event(n=n))
        site.start_dispatcher()
        wait_for(lambda: site.query("SELECT active, inactive_reason FROM webhook") == [(0, "gone")], 10, "switched off")
        wait_for(lambda: self.held(site, hook), 10, "held, with a reason")
        self.post(site, event(n=99))
        wait_for(lambda: site.query("SELECT value FROM meta WHERE key = 'expanded'")[0][0] == 6, 10, "expanded")
        self.assertEqual((len(r.requests), self.states(site, hook)), (1, {"failed": 1, "pending": 4}))
        self.assertIn("not active", self.held(site, hook))
        r.answer = 200
        receiver.set_active(site, hook, True)
        wait_for(lambda: self.states(site, hook) == {"failed": 1, "success": 4}, 10, "it goes on")
        self.assertEqual(self.held(site, hook), "")

    def test_gone_once(self):
        """`dispatch --once` ends where a webhook was switched off meanwhile"""
        site = self.make()
        r = self.receive(answer=410)
        hook = register(site, r.url())
        seed.backlog(site, 5, hook)
        site.dispatch_once(timeout=20)
        self.assertEqual((len(r.requests), self.states(site, hook)), (1, {"failed": 1, "pending": 4}))
        site.dispatch_once(timeout=20)
        self.assertEqual(len(r.requests), 1)

    def test_then_success(self):
        """500, then 200: success with the second attempt, the same delivery id, a timestamp of its own"""
        site = self.make(retry_schedule="1s 1s")
        r = self.receive(answer=[500, 200])
        hook = register(site, r.url())
        self.post(site)
        site.start_dispatcher()
        first, second = r.wait(2)
        made = self.wait_attempts(site, hook, 2)
        self.assertEqual([(a.attempt, a.status, a.outcome) for a in made], [(1, 500, "retry"), (2, 200, "success")])
        for name in ("x-ntrvsta-delivery", "webhook-id", "x-ntrvsta-signature"):
            self.assertEqual(first.headers[name], second.headers[name])
        self.assertGreater(int(second.headers["webhook-timestamp"]), int(first.headers["webhook-timestamp"]))
        self.assertGreaterEqual(second.received - first.received, 1)
        self.assertEqual(self.states(site, hook), {"success": 1})

    def delay_s(self, status, retry_after, schedule="10m"):
        r = self.receive(answer=response(status, Retry_After=retry_after))
        begun = time.time()
        site, _, made = self.call_once(r.url(), retry_schedule=schedule)
        self.assertEqual(made.status, status)
        (due_ms,), = site.query("SELECT due_ms FROM delivery")
        return due_ms / 1000 - begun

    def test_retry_after(self):
        """Retry-After of a 429 or 503, in seconds or as a date: never earlier than the schedule, 24 h at most"""
        day, ten_minutes = 86400, (600, 720 + 5)
        rows = (
            (429, "3600", "10m", (3595, 3610)),
            (503, "3600", "10m", (3595, 3610)),
            (503, email.utils.formatdate(time.time() + 7200, usegmt=True), "10m", (7150, 7210)),
            (429, "1", "10m", ten_minutes),
            (429, "-5", "10m", ten_minutes),
            (429, "soon", "10m", ten_minutes),
            (429, "", "10m", ten_minutes),
            (503, email.utils.formatdate(time.time() - 7200, usegmt=True), "10m", ten_minutes),
            (429, "1000000", "10m", (day - 5, day + 10)),
            (503, "9223372036854775807", "10m", (day - 5, day + 10)),
            (503, "Fri, 31 Dec 9999 23:59:59 GMT", "10m", (day - 5, day + 10)),
            (429, "1000000", "3d", (3 * day, 3.6 * day + 5)),
            (500, "3600", "10m", ten_minutes),
            (404, "3600", "10m", ten_minutes),
        )
        for status, value, schedule, (least, most) in rows:
            with self.subTest(status=status, value=value, schedule=schedule):
                delay = self.delay_s(status, value, schedule)
                self.assertTrue(least <= delay <= most, f"{delay} s")

    def test_kept_of_an_answer(self):
        """of a failure's body 8 KiB are kept, with a mark where it was longer; of a success nothing"""
        for size in (0, 1, 8191, 8192, 8193, 65536, 65537, 1_000_000):
            with self.subTest(size=size):
                body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
                r = self.receive(answer=response(500, body))
                _, _, made = self.call_once(r.url())
                self.assertEqual((made.error, made.status), ("http_status", 500), made)
                self.assertEqual(made.output, body[:8192])
                self.assertEqual(made.cut, size > 8192)
        _, _, made = self.call_once(self.receive(answer=response(200, b"thanks" * 100_000)).url())
        self.assertEqual((made.outcome, made.output), ("success", b""))


def silent(_connection, _request):
    time.sleep(30)


def drip(connection, _request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.3)


def drip_head(connection, _request):
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.3)


def close_at_once(_connection, _request):
    return None


class Endless:
    """A body without an end; counts what could be sent of it."""

    def __init__(self, status=200):
        self.status, self.sent = status, 0

    def __call__(self, connection, _request):
        connection.sendall(f"HTTP/1.1 {self.status} OK\r\n\r\n".encode())
        while True:
            self.sent += connection.send(b"y" * 4096)


class Misbehaving(WebhookCase):
    def expect(self, answer, error, message, most_s=5, outcome="retry", **webhooks):
        r = self.receive(answer=answer)
        begun = time.monotonic()
        _, _, made = self.call_once(r.url(), **webhooks)
        self.assertLess(time.monotonic() - begun, most_s * PATIENCE)
        self.assertEqual((made.outcome, made.error), (outcome, error), made)
        self.assertRegex(made.message, message or r"\A\Z")
        return r, made

    def test_never_answers(self):
        """who never answers is given up after the time-out"""
        r, made = self.expect(silent, "timeout", "(?i)tim(ed|e)", timeout="1s")
        self.assertTrue(990 <= made.ms <= 1500 * PATIENCE, made)
        self.assertEqual((made.status, len(r.requests)), (0, 1))

    def test_never_accepts(self):
        """who does not accept is given up after the time-out for connecting"""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            for s in waiting:
                s.setblocking(False)
                s.connect_ex(full.getsockname())
            _, _, made = self.call_once("http://127.0.0.1:%d/" % full.getsockname()[1], connect_timeout="1s", timeout="10s")
            for s in waiting:
                s.close()
        self.assertEqual((made.outcome, made.error), ("retry", "timeout"), made)
        self.assertTrue(990 <= made.ms <= 1800 * PATIENCE, made)

    def test_drips(self):
        """a byte now and then does not prolong the time-out, in the body or in the headers"""
        for answer in (drip, drip_head):
            with self.subTest(answer.__name__):
                _, made = self.expect(answer, "timeout", "(?i)tim(ed|e)", timeout="1s")
                self.assertTrue(990 <= made.ms <= 1500 * PATIENCE, made)

    def test_closes_at_once(self):
        """a connection that is closed without an answer, or within one, is a failure"""
        for what, answer in (("before", close_at_once), ("within the head", lambda c, r: c.sendall(b"HTTP/1.1 200 OK\r\nX")),
                             ("within the body", lambda c, r: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))):
            with self.subTest(what):
                self.expect(answer, "connection", ".")

    def test_endless_body(self):
        """of a body without an end 64 KiB are read; the status says what it was"""
        for status, outcome, error in ((200, "success", ""), (500, "retry", "http_status")):
            with self.subTest(status=status):
                endless = Endless(status)
                _, made = self.expect(endless, error, "" if error == "" else "HTTP status 500", outcome=outcome)
                self.assertLess(endless.sent, 16 << 20, "no more than fits into the sockets")
                if status == 500:
                    self.assertEqual((made.output, made.cut), (b"y" * 8192, 1))

    def test_endless_headers(self):
        """headers of more than 64 KiB, many or one large, or informational answers without an end, are a failure"""
        many = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 1000) for n in range(70))
        rows = (("many", many + b"Content-Length: 0\r\n\r\n"),
                ("one", b"HTTP/1.1 200 OK\r\nX: " + b"v" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"),
                ("huge", b"HTTP/1.1 200 OK\r\nX: " + b"v" * 2_000_000 + b"\r\nContent-Length: 0\r\n\r\n"),
                ("informational", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000 + response(200)))
        for what, answer in rows:
            with self.subTest(what):
                self.expect(answer, "protocol", "(?i)headers?")
        _, made = self.expect(many.replace(b"v" * 1000, b"v" * 800) + b"Content-Length: 0\r\n\r\n", "", "", outcome="success")
        self.assertEqual(made.status, 200)

    def test_garbage(self):
        """what is no HTTP is a failure"""
        for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\3" * 100, b"HTTP/0.9 200 OK\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n",
                       b"<html>" * 1000):
            with self.subTest(answer=answer[:20]):
                r = self.receive(answer=lambda c, _, a=answer: c.sendall(a))
                _, _, made = self.call_once(r.url(), timeout="3s")
                self.assertEqual(made.outcome, "retry", made)
                self.assertIn(made.error, ("protocol", "connection"), made)

    def test_nobody_there(self):
        """connection refused, and a name that does not exist"""
        _, _, made = self.call_once(f"http://127.0.0.1:{free_port()}/")
        self.assertEqual((made.outcome, made.error, made.status), ("retry", "connect", 0), made)
        _, _, made = self.call_once("http://nowhere.invalid/")
        self.assertEqual((made.outcome, made.error, made.status), ("retry", "dns", 0), made)
        self.assertIn("nowhere.invalid", made.message)

    def test_answer_of_a_terminal(self):
        """escape characters in an answer do not reach the log"""
        r = self.receive(answer=b"HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 4\r\n\r\n\x1b[0m")
        site, _, _ = self.call_once(r.url())
        self.assertNotIn("\x1b", site.logs())


class Certificates(WebhookCase):
    def expect_refusal(self, tls, ca_file, message, host="localhost"):
        r = self.receive(tls)
        _, _, made = self.call_once(r.url(host=host), ca_file=ca_file)
        self.assertEqual((made.outcome, made.error, made.status), ("retry", "tls", 0), made)
        self.assertRegex(made.message, message)
        self.assertEqual(r.requests, [], "nothing was sent")

    def test_certificates(self):
        """a wrong name, an expired certificate, one not valid yet, an unknown authority: nothing is sent"""
        site = self.make()
        own, other = Authority(site.dir), Authority(site.dir, "other")
        rows = (("wrong name", own.server("example.com", label="a"), "(?i)name|match"),
                ("expired", own.server("localhost", dates=("20200101000000Z", "20200201000000Z"), label="b"), "(?i)expired"),
                ("not yet", own.server("localhost", dates=("20900101000000Z", "20990201000000Z"), label="c"), "(?i)not yet"),
                ("unknown", other.server("localhost", label="d"), "(?i)certificate"))
        for what, tls, message in rows:
            with self.subTest(what):
                self.expect_refusal(tls, own.ca_file, message)
        with self.subTest("the system's authorities do not know it"):
            self.expect_refusal(own.server("localhost", label="e"), None, "(?i)certificate")
        with self.subTest("an address that the certificate does not name"):
            self.expect_refusal(own.server("localhost", label="f"), own.ca_file, "(?i)name|match", host="127.0.0.1")
        with self.subTest("and one that it names is called"):
            r = self.receive(own.server("127.0.0.1", label="g"))
            _, _, made = self.call_once(r.url(host="127.0.0.1"), ca_file=own.ca_file)
            self.assertEqual(made.outcome, "success", made)

    def test_no_tls(self):
        """https:// to who speaks no TLS is a failure, and is not tried without"""
        r = self.receive()
        _, _, made = self.call_once(f"https://127.0.0.1:{r.port}/")
        self.assertEqual((made.outcome, made.error, r.requests), ("retry", "tls", []), made)

    def test_no_http(self):
        """http:// is not called any more once allow_http is off"""
        r = self.receive()
        _, _, made = self.call_once(r.url(), allow_http="off")
        self.assertEqual((made.outcome, r.accepted), ("retry", 0), made)
        self.assertIn("allow_http", made.message)


class Guard(WebhookCase):
    def test_private_addresses(self):
        """private addresses are not connected to, in whatever form, and by whatever name; the error says what allows it"""
        r, six = self.receive(), self.receive(host="::1")
        hosts = ("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
                 "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "0", "[::1]", "[::]", "127.0.0.2",
                 "[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "%6c%6fcalhost")
        site = self.make(allow_private="off")
        hooks = register(site, *(f"http://{host}:{(six if ':' in host else r).port}/" for host in hosts))
        self.post(site)
        site.dispatch_once()
        for host, hook in zip(hosts, hooks):
            with self.subTest(host=host):
                made, = self.attempts(site, hook)
                self.assertEqual((made.outcome, made.status), ("retry", 0), made)
                if host.endswith(".") and made.error == "dns":
                    continue  # not every resolver knows it so
                self.assertEqual(made.error, "address_refused", made)
                self.assertIn("[webhooks] allow_private", made.message)
        self.assertEqual((r.accepted, six.accepted), (0, 0))

    def test_listed(self):
        """what allow_private lists is called, its neighbours are not"""
        r, six = self.receive(host="127.0.0.9"), self.receive(host="::1")
        for allowed, url, good in (("127.0.0.9", r.url(), True), ("127.0.0.8/31", r.url(), True), ("127.0.0.8", r.url(), False),
                                   ("127.0.0.10/31", r.url(), False), ("::1", six.url(), True), ("127.0.0.0/8", six.url(), False),
                                   ("::1", r.url(), False), ("10.0.0.0/8 fc00::/7 127.0.0.9", r.url(), True)):
            with self.subTest(allowed=allowed, url=url):
                _, _, made = self.call_once(url, allow_private=allowed)
                self.assertEqual(made.error, "" if good else "address_refused", made)

    def test_reload(self):
        """SIGHUP with another allow_private counts at once, also for connections that stand"""
        site = self.make(retry_schedule="1s 1s 1s")
        r = self.receive()
        hook = register(site, r.url())
        dispatcher = site.start_dispatcher()
        self.post(site, event(n=1))
        self.wait_attempts(site, hook, 1)
        site.configure({"webhooks": {"allow_private": "off"}})
        dispatcher.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration loaded" in site.logs(), 10, "reloaded")
        self.post(site, event(n=2))
        made = self.wait_attempts(site, hook, 2)
        self.assertEqual([a.error for a in made], ["", "address_refused"])
        self.assertEqual(len(r.requests), 1)
        site.configure({"webhooks": {"allow_private": "127.0.0.0/8"}})
        dispatcher.send_signal(signal.SIGHUP)
        wait_for(lambda: self.states(site, hook) == {"success": 2}, 10, "called again")
        self.assertEqual((len(r.requests), r.accepted), (2, 2))

    def test_reload_under_load(self):
        """connections are reused again soon after a SIGHUP, also where some call is always under way"""
        site = self.make(concurrency="2")
        r = self.receive(answer=lambda c, q: time.sleep(0.05) or 200)
        hook = register(site, r.url())
        seed.backlog(site, 400, hook)
        dispatcher = site.start_dispatcher()
        r.wait(20)
        self.assertLessEqual(r.accepted, 2)
        dispatcher.send_signal(signal.SIGHUP)
        wait_for(lambda: self.states(site, hook) == {"success": 400}, 60, "all called")
        with_new_ones = 2 + 2 * 3 * 20 + 20  # two at once, twenty a second at most, for two or three seconds
        self.assertTrue(4 <= r.accepted <= with_new_ones, f"{r.accepted} connections for 400 calls")


class Changes(WebhookCase):
    def test_inactive(self):
        """switched off: what waits is held with a reason and goes on when it is active again, first attempts and retries"""
        site = self.make(retry_schedule="1s 1s 1s 1s")
        r = self.receive(answer=500)
        hook = register(site, r.url())
        site.start_dispatcher()
        self.post(site, event(n=1))
        self.wait_attempts(site, hook, 1)
        receiver.set_active(site, hook, False)
        wait_for(lambda: self.held(site, hook), 10, "held")
        self.assertIn("not active", self.held(site, hook))
        calls = len(r.requests)
        self.post(site, event(n=2))
        time.sleep(1.5)  # a retry would have come
        self.assertEqual((len(r.requests), self.states(site, hook)), (calls, {"pending": 1}))
        r.answer = 200
        receiver.set_active(site, hook, True)
        wait_for(lambda: self.states(site, hook) == {"success": 1}, 10, "it went on")
        self.assertEqual(self.held(site, hook), "")

    def test_deleted(self):
        """deleted: what waits is canceled and never called"""
        site = self.make(retry_schedule="1s 1s 1s 1s")
        r = self.receive(answer=500)
        hook = register(site, r.url())
        site.start_dispatcher()
        self.post(site)
        self.wait_attempts(site, hook, 1)
        wait_for(lambda: self.states(site, hook) == {"pending": 1}, 5, "between two attempts")
        receiver.delete(site, hook)
        calls = len(self.attempts(site, hook))
        wait_for(lambda: self.states(site, hook) != {"pending": 1}, 5, "canceled")
        time.sleep(1.5)
        self.assertLessEqual(len(r.requests), calls + 1)
        self.assertNotIn("pending", self.states(site, hook))

    def test_deleted_within_a_call(self):
        """deleted while a call is under way, which then fails: it is not tried again"""
        site = self.make(retry_schedule="1s 1s 1s 1s")
        r = self.receive(answer=lambda c, q: time.sleep(1) or 500)
        hook = register(site, r.url())
        site.start_dispatcher()
        self.post(site)
        r.wait(1)
        receiver.delete(site, hook)
        wait_for(lambda: set(self.states(site, hook)) <= {"failed", "canceled"}, 10, "it has ended")
        self.assertEqual(len(r.requests), 1)

    def test_sigterm(self):
        """SIGTERM: a call under way may end, nothing new begins"""
        site = self.make()
        r = self.receive(answer=lambda c, q: time.sleep(1) or 200)
        hook = register(site, r.url())
        dispatcher = site.start_dispatcher()
        for n in range(3):
            self.post(site, event(n=n))
        r.wait(1)
        dispatcher.terminate()
        self.assertEqual(dispatcher.wait(10), 0)
        self.assertEqual(len(r.requests), 1)
        self.assertEqual(self.states(site, hook), {"success": 1, "pending": 2})

    def test_kill(self):
        """kill -9 with calls under way: called again with the same delivery id, counted as a second attempt"""
        site = self.make(retry_schedule="1s 1s 1s 1s", concurrency="8")
        r = self.receive(answer=silent)
        hook = register(site, r.url())
        dispatcher = site.start_dispatcher()
        for n in range(8):
            self.post(site, event(n=n))
        before = {q.headers["x-ntrvsta-delivery"] for q in r.wait(8)}
        dispatcher.kill()
        dispatcher.wait()
        r.answer = 200
        site.start_dispatcher()
        wait_for(lambda: self.states(site, hook) == {"success": 8}, 10, "all called")
        self.assertEqual({q.headers["x-ntrvsta-delivery"] for q in r.requests[8:]}, before)
        made = self.attempts(site, hook)
        self.assertEqual(sorted((a.attempt, a.error) for a in made), [(1, "interrupted")] * 8 + [(2, "")] * 8)

    def test_failing_for_days(self):
        """five days of nothing but failures, and the twentieth of them: switched off"""
        site = self.make(retry_schedule="1s")
        r = self.receive(answer=500)
        hook = register(site, r.url())
        six_days_ago = int(time.time() * 1000) - 6 * 86_400_000
        with receiver.writing(site) as db:
            db.execute("UPDATE webhook SET failures = 18, failing_since_ms = ?", (six_days_ago,))
        site.start_dispatcher()
        self.post(site)
        wait_for(lambda: site.query("SELECT active, inactive_reason, failures FROM webhook") == [(0, "failing", 20)], 10,
                 "switched off")
        self.assertEqual(len(self.attempts(site, hook)), 2)
        self.assertIn("webhook switched off", site.logs())


if __name__ == "__main__":
    tap.main()
