#!/usr/bin/env python3
"""Receivers that answer in unusual ways, good and bad: what is made of it, that nothing they say changes the next call,
and that none of them is another one's trouble."""

import contextlib
import os
import re
import socket
import ssl
import sys
import threading
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import tap  # noqa: E402
from http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PUSH_PROMISE, RST_STREAM  # noqa: E402
from http2 import ERROR, INTERNAL_ERROR, OK, Http2Receiver, field  # noqa: E402
from ntrvsta import event, wait_for  # noqa: E402
from receiver import Authority, register, response  # noqa: E402
from test_webhooks import PATIENCE, WebhookCase, silent  # noqa: E402

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Forms(WebhookCase):
    ROWS = (  # what, answer, after which the connection is closed; outcome, error, status
        ("chunks", CHUNKED + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "success", "", 200),
        ("chunks and a trailer", CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "success", "", 200),
        ("chunks that break off", CHUNKED + b"3\r\nabc\r\n8\r\nd", "retry", "connection", 200),
        ("chunks of no number", CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n", "retry", "connection", 200),
        ("a chunk of more than there can be", CHUNKED + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", "retry", "connection", 200),
        ("until the connection ends", b"HTTP/1.1 200 OK\r\n\r\nabc", "success", "", 200),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nabc", "success", "", 200),
        ("lines without carriage returns", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "success", "", 200),
        ("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "success", "", 200),
        ("a header over two lines", b"HTTP/1.1 200 OK\r\nX-A: b\r\n  c\r\nContent-Length: 0\r\n\r\n", "success", "", 200),
        ("what is said to be gzip", response(200, b"abc", Content_Encoding="gzip"), "success", "", 200),
        ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "retry", "protocol", 200),
        ("status 600", b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n", "retry", "http_status", 600),
        ("a switch of protocols", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "retry", "connection", 101),
        ("informational answers only", b"HTTP/1.1 103 Early Hints\r\n\r\n", "retry", "connection", 103),
    )

    def test_forms(self):
        """an answer counts in each form that HTTP has for it, whole, and in no other"""
        for what, answer, outcome, error, status in self.ROWS:
            with self.subTest(what):
                r = self.receive(answer=lambda c, q, a=answer: c.sendall(a))
                _, _, made = self.call_once(r.url())
                self.assertEqual((made.outcome, made.error, made.status), (outcome, error, status), made)

    def test_compressed(self):
        """a compressed body is kept as it came, however much it would become"""
        bomb = b"\x1f\x8b" + b"\0" * 5000
        _, _, made = self.call_once(self.receive(answer=response(500, bomb, Content_Encoding="gzip")).url())
        self.assertEqual((made.status, made.output), (500, bomb))

    def test_retry_after_forms(self):
        """Retry-After as a date in each form that HTTP has for one; what is neither date nor number says nothing"""
        at = time.gmtime(time.time() + 7200)
        forms = (("RFC 850", time.strftime("%A, %d-%b-%y %H:%M:%S GMT", at), True),
                 ("asctime", time.strftime("%a %b %e %H:%M:%S %Y", at), True),
                 ("a fraction", "1.5e9", False), ("hex", "0x10000", False), ("two numbers", "7200, 1", None))
        for what, value, counts in forms:
            with self.subTest(what):
                r = self.receive(answer=response(503, Retry_After=value))
                begun = time.time()
                site, _, made = self.call_once(r.url(), retry_schedule="10m")
                (due_ms,), = site.query("SELECT due_ms FROM delivery")
                delay = due_ms / 1000 - begun
                self.assertEqual(made.status, 503)
                self.assertTrue(595 <= delay <= (7210 if counts or counts is None else 730), delay)
                if counts:
                    self.assertGreater(delay, 7150)


class NextCall(WebhookCase):
    def calls(self, answer, count=3):
        """COUNT events to one webhook whose receiver gives ANSWER to each; (receiver, attempts)."""
        site = self.make()
        r = self.receive(answer=answer)
        hook = register(site, r.url("/hooks"))
        for n in range(count):
            self.post(site, event(n=n))
        site.dispatch_once()
        return r, self.attempts(site, hook)

    def test_nothing_sticks(self):
        """cookies, other places, other protocols, other ways to sign in: nothing of it changes what is sent next"""
        for name, value in (("Set-Cookie", "id=1"), ("Alt-Svc", 'h2="127.0.0.1:1"; ma=99999'),
                            ("Strict-Transport-Security", "max-age=99999"), ("Location", "/elsewhere"),
                            ("Refresh", "0; /elsewhere"), ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")):
            with self.subTest(name):
                r, made = self.calls(response(200, **{name: value}))
                self.assertEqual([a.outcome for a in made], ["success"] * 3)
                heads = [sorted(q.headers) for q in r.requests]
                self.assertEqual([q.path for q in r.requests], ["/hooks"] * 3)
                self.assertEqual(heads, [heads[0]] * 3)
                self.assertNotIn("cookie", heads[0])

    def test_no_signing_in(self):
        """a challenge is not answered: the call has failed, and was made once"""
        for scheme in ("Basic realm=x", "Digest realm=x, nonce=y", "Negotiate", "NTLM"):
            with self.subTest(scheme):
                r = self.receive(answer=response(401, WWW_Authenticate=scheme))
                _, _, made = self.call_once(r.url())
                self.assertEqual((made.error, made.status, len(r.requests)), ("http_status", 401, 1))
                self.assertNotIn("authorization", r.requests[0].headers)

    def test_answers_in_advance(self):
        """an answer too many is not taken for that to the next call: each event is really sent"""
        r, made = self.calls(response(200) + response(200), count=4)
        self.assertEqual([a.outcome for a in made], ["success"] * 4)
        self.assertEqual(len({q.body for q in r.requests}), 4, "each was received")

    def test_answers_in_between(self):
        """nor is one that comes while the connection is idle"""
        sent = []

        def twice(connection, request):
            connection.sendall(response(200))
            self.wait_attempts(site, hook, len(sent) + 1)
            connection.sendall(response(200))
            sent.append(request.body)
            return b""
        for what in ("http", "https"):
            with self.subTest(what):
                sent.clear()
                site = self.make()
                authority = Authority(site.dir)
                site.configure({"webhooks": {"ca_file": authority.ca_file}})
                r = self.receive(authority.server("localhost") if what == "https" else None, answer=twice)
                hook = register(site, r.url())
                site.start_dispatcher()
                for n in range(4):
                    self.post(site, event(n=n))
                    wait_for(lambda: len(sent) > n, 10, f"event {n} was really sent")
                self.assertEqual([a.outcome for a in self.wait_attempts(site, hook, 4)], ["success"] * 4)
                self.assertEqual((len(set(sent)), r.accepted), (4, 4), "no such connection is used again")

    def test_body_beyond_its_length(self):
        """nor is what comes behind a body that is longer than it said"""
        r, made = self.calls(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nHTTP/1.1 500 No\r\n\r\n", count=4)
        self.assertEqual([(a.outcome, a.status) for a in made], [("success", 200)] * 4)
        self.assertEqual(len({q.body for q in r.requests}), 4)


class Redirects(WebhookCase):
    def test_private(self):
        """301 to what may not be called, in whatever form: not followed, and nothing of it is looked at"""
        watch = self.receive(host="127.0.0.2")
        for place in (watch.url(), f"//127.0.0.2:{watch.port}/", f"https://127.0.0.2:{watch.port}/",
                      "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "gopher://127.0.0.2/",
                      f"http://localhost:{watch.port}/", ""):
            with self.subTest(place):
                r = self.receive(answer=response(301, b"moved", Location=place))
                _, _, made = self.call_once(r.url(), allow_private="127.0.0.1")
                self.assertEqual((made.outcome, made.error, made.status), ("retry", "http_status", 301), made)
                self.assertEqual(made.output, b"moved")
                self.assertEqual((len(r.requests), watch.accepted), (1, 0))


class Addresses(WebhookCase):
    def test_forms(self):
        """more forms of addresses of this machine, as if the store held them: none is connected to"""
        r, six = self.receive(), self.receive(host="::1")
        hosts = ("0x7f.1", "017700000001", "127.000.000.001", "127.0.1", "0x7f.0.0.0x1", "2130706433.", "public@127.0.0.1",
                 "127.0.0.1@127.0.0.1", "[::1%25lo]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:0:0]", "[fe80::1%25lo]",
                 "ip6-localhost", "%31%32%37.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1")
        site = self.make(allow_private="off")
        hooks = register(site, *(f"http://{host}:{(six if '[' in host else r).port}/" for host in hosts))
        self.post(site)
        site.dispatch_once()
        for host, hook in zip(hosts, hooks):
            with self.subTest(host=host):
                made, = self.attempts(site, hook)
                self.assertEqual((made.outcome, made.status), ("retry", 0), made)
                self.assertIn(made.error, ("address_refused", "dns", "connect", "protocol"), made)
        self.assertEqual((r.accepted, six.accepted), (0, 0))


class Tls(WebhookCase):
    def raw(self, say):
        """An https:// URL at which SAY(connection) speaks instead of a TLS server."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(OSError):
                        say(connection)
        threading.Thread(target=serve, daemon=True).start()
        return f"https://localhost:{listening.getsockname()[1]}/"

    def test_handshakes(self):
        """a handshake that hangs or drips ends with the time-out for connecting; one that is none fails at once"""
        def drip(connection):
            for byte in b"\x16\x03\x03\x40\x00" + b"x" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.3)
        rows = (("silent", lambda c: time.sleep(5), "timeout", 1000), ("a byte at a time", drip, "timeout", 1000),
                ("half a record", lambda c: (c.sendall(b"\x16\x03\x03\x40\x00abc"), time.sleep(5)), "timeout", 1000),
                ("closed at once", lambda c: None, "tls", 0), ("closed within", lambda c: c.recv(100), "tls", 0),
                ("no TLS", lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "tls", 0),
                ("an alert", lambda c: c.sendall(b"\x15\x03\x03\x00\x02\x02\x28"), "tls", 0))
        for what, say, error, least in rows:
            with self.subTest(what):
                _, _, made = self.call_once(self.raw(say), connect_timeout="1s", timeout="10s")
                self.assertEqual((made.outcome, made.error, made.status), ("retry", error, 0), made)
                self.assertTrue(least - 10 <= made.ms <= 1600 * PATIENCE, made)

    def test_versions(self):
        """TLS 1.2 and 1.3 are spoken, what is older is not"""
        site = self.make()
        authority = Authority(site.dir)
        for version, good in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
            with self.subTest(version.name):
                tls = authority.server("localhost", label=version.name)
                tls.set_ciphers("ALL:@SECLEVEL=0")
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    tls.minimum_version = tls.maximum_version = version
                r = self.receive(tls)
                _, _, made = self.call_once(r.url(), ca_file=authority.ca_file)
                self.assertEqual((made.error, len(r.requests)), ("" if good else "tls", int(good)), made)

    def test_self_signed(self):
        """a certificate that nobody signed but itself: nothing is sent"""
        site = self.make()
        own, other = Authority(site.dir), Authority(site.dir, "self")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(other.ca_file, other.key)
        r = self.receive(tls)
        _, _, made = self.call_once(r.url(), ca_file=own.ca_file)
        self.assertEqual((made.error, r.requests), ("tls", []), made)
        self.assertRegex(made.message, "(?i)certificate")

    def test_ends(self):
        """a body up to the end of the connection: the status counts, whether TLS was told of the end or not"""
        def whole(connection, _request):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
            connection.unwrap()

        def cut(connection, _request):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
        site = self.make()
        authority = Authority(site.dir)
        for what, answer in (("told", whole), ("not told", cut)):
            with self.subTest(what):
                r = self.receive(authority.server("localhost", label=what.replace(" ", "")), answer=answer)
                _, _, made = self.call_once(r.url(), ca_file=authority.ca_file)
                self.assertEqual((made.outcome, made.status), ("success", 200), made)


# --- HTTP/2 ---

def endless(peer, stream):
    peer.head(stream, ERROR)
    while True:
        peer.send(DATA, 0, stream, b"y" * 4000)


def flood(peer, stream):
    """A head that never ends."""
    peer.send(HEADERS, END_STREAM, stream, OK)
    while True:
        peer.send(CONTINUATION, 0, stream, field(b"x-a", b"v" * 1000))


def dripping(peer, stream):
    peer.head(stream, OK)
    while True:
        peer.send(DATA, 0, stream, b"x")
        time.sleep(0.3)


def with_trailer(peer, stream):
    peer.head(stream, OK)
    peer.send(DATA, 0, stream, b"abc")
    peer.head(stream, field(b"x-sum", b"1"), END_STREAM)


def hinted(peer, stream):
    peer.head(stream, field(b":status", b"103"))
    peer.head(stream, OK, END_STREAM)


def pushed(peer, stream):
    peer.send(PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\2" + b"\x82\x84\x87")
    peer.head(stream, OK, END_STREAM)


BROKEN = "protocol|connection"
HTTP2_ROWS = (  # what, answer, outcome, error (a pattern), status (None: whatever)
    ("good", lambda p, s: p.head(s, OK, END_STREAM), "success", "", 200),
    ("a trailer", with_trailer, "success", "", 200),
    ("an informational answer first", hinted, "success", "", 200),
    ("never", lambda p, s: time.sleep(5), "retry", "timeout", 0),
    ("a byte now and then", dripping, "retry", "timeout", 200),
    ("reset", lambda p, s: p.send(RST_STREAM, 0, s, INTERNAL_ERROR), "retry", BROKEN, 0),
    ("reset behind the head", lambda p, s: (p.head(s, OK), p.send(RST_STREAM, 0, s, INTERNAL_ERROR)), "retry", BROKEN, 200),
    ("good bye", lambda p, s: (p.send(GOAWAY, 0, 0, b"\0" * 4 + INTERNAL_ERROR), False)[1], "retry", BROKEN, 0),
    ("closed", lambda p, s: False, "retry", BROKEN, 0),
    ("closed within the body", lambda p, s: (p.head(s, OK), p.send(DATA, 0, s, b"abc"), False)[2], "retry", BROKEN, 200),
    ("no frames", lambda p, s: p.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 10), "retry", BROKEN, 0),
    ("a head that can't be unpacked", lambda p, s: p.head(s, b"\xff\xff\xff\xff\xff\xff\xff\xff", END_STREAM), "retry", BROKEN, 0),
    ("no status", lambda p, s: p.head(s, field(b"x-a", b"b"), END_STREAM), "retry", BROKEN, 0),
    ("a status of no number", lambda p, s: p.head(s, field(b":status", b"abc"), END_STREAM), "retry", BROKEN, 0),
    ("70 KB of headers", lambda p, s: p.head(s, OK + b"".join(field(b"x-%d" % n, b"v" * 1000) for n in range(70)), END_STREAM),
     "retry", BROKEN, None),
    ("headers without an end", flood, "retry", "protocol|connection|timeout", None),
    ("a body without an end", endless, "retry", "http_status", 500),
    ("something pushed", pushed, "retry", BROKEN, None),
)


class Http2(WebhookCase):
    def test_answers(self):
        """over HTTP/2: good answers are taken, and bad ones are failures that end in time; all beside each other"""
        site = self.make({"dispatch": {"concurrency": "32"}}, timeout="2s")
        authority = Authority(site.dir)
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        tls = authority.certificate("localhost")
        receivers = []
        for _, answer, *_ in HTTP2_ROWS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            receivers.append(Http2Receiver(context, answer))
            self.addCleanup(receivers[-1].close)
        hooks = register(site, *(r.url() for r in receivers))
        self.post(site)
        begun = time.monotonic()
        site.dispatch_once()
        self.assertLess(time.monotonic() - begun, 5 * PATIENCE)
        for (what, _, outcome, error, status), hook, r in zip(HTTP2_ROWS, hooks, receivers):
            with self.subTest(what):
                made, = self.attempts(site, hook)
                self.assertEqual(made.outcome, outcome, made)
                self.assertTrue(re.fullmatch(error, made.error), made)
                if status is not None:
                    self.assertEqual(made.status, status, made)
                self.assertTrue(1 <= r.calls <= 2, r.calls)


class Beside(WebhookCase):
    def test_beside(self):
        """whatever others do, a good receiver beside them gets its events without delay, in the same dispatcher"""
        site = self.make({"dispatch": {"concurrency": "32"}}, timeout="3s", connect_timeout="2s", retry_schedule="1s 1s 1s")
        chunks = self.receive(answer=lambda c, q: c.sendall(CHUNKED + b"3\r\nabc\r\n8\r\nd"))
        bad = [self.receive(answer=a) for a in (silent, lambda c, q: None, b"\0" * 5000, response(500, b"x" * 60_000))] + [chunks]
        good = self.receive()
        register(site, *(r.url() for r in bad))
        hook = register(site, good.url(), events="candidate.invited")
        site.start_dispatcher()
        for n in range(5):
            self.post(site, event(n=n))
        delays = []
        for n in range(20):
            sent = time.time()
            self.post(site, event("candidate.invited", n=n))
            delays.append(good.wait(n + 1)[n].received - sent)
            time.sleep(0.05)
        self.assertLess(sorted(delays)[10], 0.1 * PATIENCE, delays)
        wait_for(lambda: self.states(site, hook) == {"success": 20}, 10, "all recorded")


if __name__ == "__main__":
    tap.main()
