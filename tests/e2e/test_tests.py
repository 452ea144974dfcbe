"""Test events and connectivity tests: one target, now, beside all else, and counted nowhere."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from ntrvsta import TOOL, Site, alive, event, free_port, sanitized, sign, wait_for

OFF = {"dispatch": {"start": "off"}}
OPEN = {"allow_http": "on", "allow_private": "127.0.0.0/8"}
SCORE = '{"session":{"overall_score":92}}'
NOBODY = "wh_01kb2x3y4z5a6b7c8d9e0f1g2h"
PATIENCE = 5 if sanitized() else 1
DOCUMENTED = ("interview.created", "interview.updated", "interview.deleted", "session.started", "session.completed",
              "session.abandoned", "candidate.invited", "candidate.reminded", "candidate.updated", "result.completed")


class Receiver:
    """Answers each request on a path such as /500 with that status, and keeps what came."""

    def __init__(self, context=None):
        self.calls = []  # (method, headers, body, the port that it came from)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                outer.calls.append((self.command, self.headers, self.rfile.read(length), self.client_address[1]))
                self.send_response(int(self.path[1:]))
                body = b"" if self.path == "/204" else b"fine, thank you\n"
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_HEAD = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.scheme = "https" if context else "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, status=200):
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}/{status}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TestCase(unittest.TestCase):
    def make(self, handlers=None, settings=None):
        site = Site({"webhooks": OPEN, **(settings or {})}, handlers or {})
        self.addCleanup(site.close)
        return site

    def receiver(self, context=None):
        receiver = Receiver(context)
        self.addCleanup(receiver.close)
        return receiver

    def create(self, site, url):
        return site.tool("webhooks", "create", url, "--event", "session.completed", "--json")["id"]

    def attempts(self, site):
        return site.query("SELECT d.test, a.outcome, a.error_code FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq"
                          " ORDER BY a.seq")

    def lines(self, site, name):
        try:
            with open(os.path.join(site.out, name)) as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def start_stopped(self, site):
        """A dispatcher that runs, but gets no time, and holds no lock of the store."""
        site.cgi(event("warm.up"))
        dispatcher = site.start_dispatcher()
        wait_for(lambda: site.query("SELECT value FROM meta WHERE key = 'expanded'") == [(1,)], 10, "it works")
        while True:
            os.kill(dispatcher.pid, signal.SIGSTOP)
            with contextlib.closing(sqlite3.connect(site.db_file, timeout=0.05)) as db:
                try:
                    db.execute("BEGIN IMMEDIATE")
                    return dispatcher
                except sqlite3.OperationalError:
                    os.kill(dispatcher.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def running(self, site, *args):
        """`ntrvsta ARGS` in the background, killed where it does not end."""
        child = site.spawn([TOOL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=site.environment())
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()

    def end(self, child, timeout=20):
        out, err = child.communicate(timeout=timeout)
        return child.returncode, out.decode(), err.decode()


class Handlers(TestCase):
    def test_success(self):
        """a handler gets a whole event with the given score in it, marked; no other handler does; exit 0"""
        site = self.make({"session.completed/10-a": 'cat >$OUT/body; env >$OUT/env; echo done',
                          "session.completed/20-b": "echo $NTRVSTA_TEST >$OUT/other", "all/c": "touch $OUT/other"})
        done = site.tool("test", "session.completed/10-a", "session.completed", "--data", SCORE)
        self.assertRegex(done.stdout, r"\Asuccess after \S+\nsession\.completed, test event evt_\w+, delivery dlv_\w+\n  \| done\n\Z")
        body = json.loads(site.output("body"))
        self.assertEqual(body["event"], "session.completed")
        session = body["data"]["session"]
        self.assertEqual(session["overall_score"], 92)
        self.assertLessEqual({"id", "interview_id", "candidate", "completed_at", "duration_minutes", "status"}, set(session))
        env = dict(l.split("=", 1) for l in site.output("env").decode().splitlines())
        self.assertEqual((env["NTRVSTA_TEST"], env["NTRVSTA_ATTEMPT"], env["NTRVSTA_SOURCE"]), ("1", "1", "test"))
        self.assertEqual(env["NTRVSTA_TIMESTAMP"], body["timestamp"])
        site.cgi(event())
        self.assertEqual(site.output("other"), b"\n")  # an event that is no test has no such variable
        wait_for(lambda: len(self.attempts(site)) == 4, 10, "a test, and three handlers")
        self.assertEqual([t for t, _, _ in self.attempts(site)].count(1), 1)

    def test_failure(self):
        """what fails says why, exit 1, and is not retried"""
        for script, code, message in (("echo oh; exit 3", "exit", "exit status 3"), ("exit 100", "permanent", "exit status 100"),
                                      ("kill -9 $$", "signal", "SIGKILL"), ("sleep 1000", "timeout", "timed out"),
                                      ("#!/no/such/shell\n", "spawn_failed", "No such file")):
            with self.subTest(script=script):
                site = self.make({"all/a": script}, {"handlers": {"retry_schedule": "1ms 1ms", "timeout": "200ms"}})
                done = site.tool("test", "all/a", "session.completed", "--json", check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                doc = json.loads(done.stdout)
                self.assertEqual((doc["status"], doc["error_code"], doc["test"], doc["attempt"]), ("failed", code, True, 1))
                self.assertIn(message, doc["error_message"])
                site.cgi(event("x.y"))
                wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE test = 0 AND state = 'failed'") == [(1,)], 10,
                         "an event came to its end meanwhile")
                self.assertEqual(site.query("SELECT state, attempt FROM delivery WHERE test = 1"), [("failed", 1)])
                site.close()

    def test_documented(self):
        """each documented event is whole; one that is not documented has the given data, and a word of that"""
        site = self.make({"all/a": "cat"})
        for name in DOCUMENTED:
            with self.subTest(event=name):
                done = site.tool("test", "all/a", name, "--json", "--data", '{"more":{"x":[1]}}')
                body = json.loads(done["output"])
                self.assertEqual(body["event"], name)
                self.assertEqual(body["data"].pop("more"), {"x": [1]})
                self.assertTrue(body["data"])
        done = site.tool("test", "all/a", "session.complete", "--data", "@-", stdin=b' {"a": 1}\n')
        self.assertIn("did you mean session.completed?", done.stderr)
        self.assertIn('"data":{"a":1}', done.stdout)

    def test_batch(self):
        """a handler of batches gets a batch of one"""
        site = self.make({"all/a": 'echo "$NTRVSTA_BATCH $(wc -l)"'}, {"handler all/a": {"batch": "50"}})
        self.assertEqual(site.tool("test", "all/a", "session.completed", "--json")["output"].split(), ["1", "1"])

    def test_marked(self):
        """tests show as such in logs and events, count in no statistics, and nothing brings them back"""
        site = self.make({"all/good": "true", "all/bad": "exit 1"}, {"handlers": {"retry_schedule": "1h"}})
        for name in ("all/good", "all/bad"):
            site.tool("test", name, "session.completed", check=False)
        for row in site.tool("stats", "--json")["data"]:
            counts = [v for k, v in row.items() if k.endswith(("deliveries", "attempts"))]
            self.assertEqual(set(counts), {0}, row)
        rows = site.tool("logs", "--json")["data"]
        self.assertEqual([(r["target"], r["status"], r["test"]) for r in rows],
                         [("all/bad", "failed", True), ("all/good", "success", True)])
        self.assertEqual([line.split()[5] for line in site.tool("logs").stdout.splitlines()[1:3]], ["test", "test"])
        events = site.tool("events", "--json")["data"]
        self.assertEqual([(e["source"], e["test"], e["status"]) for e in events],
                         [("test", True, "failed"), ("test", True, "success")])
        self.assertIn("test: 1 failed", site.tool("events").stdout)
        self.assertIn("test: 1 failed", site.tool("events", "show", events[0]["id"]).stdout)
        self.assertEqual(site.tool("failed", "--json")["data"], [])
        for args in (("retry", rows[0]["delivery_id"]), ("events", "replay", events[0]["id"])):
            done = site.tool(*args, check=False)
            self.assertEqual((done.returncode, "is a test: 'ntrvsta test' makes a new one" in done.stderr), (1, True), done.stderr)
        self.assertIn("othing", site.tool("recover", "all/bad", "--since", "1h").stdout)
        self.assertIn("0 new events, 0 deliveries waiting, 0 running, 0 failed", site.tool("check", check=False).stdout)
        self.assertEqual(len(self.attempts(site)), 2)

    def test_beside_slow(self):
        """slow handlers use all slots: a test begins at once, also of the slow one, and takes none of theirs"""
        slow = 'if [ "$NTRVSTA_TEST" ]; then echo test; else echo $$ >>$OUT/slow; exec sleep 1000; fi'
        site = self.make({"session.completed/slow": slow, "candidate.invited/quick": "echo quick"},
                         {"dispatch": {"concurrency": "3", "start": "off"}, "handler session.completed/slow": {"concurrency": "3"}})
        for n in range(10):
            site.cgi(event(n=n))
        dispatcher = site.start_dispatcher()
        running = wait_for(lambda: (l := len(self.lines(site, "slow"))) >= 2 and l, 10, "the slow one runs")
        for name in ("candidate.invited/quick", "session.completed/slow"):
            begun = time.monotonic()
            done = site.tool("test", name, "session.completed", "--json")
            self.assertLess(time.monotonic() - begun, 2 * PATIENCE)
            self.assertIn(done["output"], ("quick\n", "test\n"))
        self.assertEqual(len(self.lines(site, "slow")), running)
        self.assertEqual(site.query("SELECT count(*) FROM delivery WHERE state = 'pending'"), [(10 - running,)])
        dispatcher.kill()

    def test_turns(self):
        """tests of one handler come one after the other; those of two run side by side, one beyond the slots"""
        turn = 'echo begin >>$OUT/$(basename $NTRVSTA_HANDLER); sleep 0.4; echo end >>$OUT/$(basename $NTRVSTA_HANDLER)'
        meet = 'touch $OUT/met-$(basename $NTRVSTA_HANDLER); while [ $(ls $OUT | grep -c met-) -lt 2 ]; do sleep 0.02; done'
        site = self.make({"all/a": turn, "all/b": meet, "all/c": meet},
                         {"dispatch": {"concurrency": "1", "start": "off"}, "handlers": {"timeout": "20s"}})
        site.start_dispatcher()
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(self.running(site, "test", "all/a", "x.y")) for _ in range(3)]
            for child in children:
                self.assertEqual(self.end(child)[0], 0)
        self.assertEqual(self.lines(site, "a"), ["begin", "end"] * 3)
        with self.running(site, "test", "all/b", "x.y") as b, self.running(site, "test", "all/c", "x.y") as c:
            self.assertEqual((self.end(b)[0], self.end(c)[0]), (0, 0))


class Dispatcher(TestCase):
    def test_none(self):
        """no dispatcher, and none may be started: a clear error, and nothing is left to do"""
        site = self.make({"all/a": "true"}, OFF)
        ident = self.create(site, "http://127.0.0.1:1/")
        for args in (("test", "all/a", "session.completed"), ("connectivity", ident)):
            done = site.tool(*args, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no dispatcher runs, and [dispatch] start = off: start 'ntrvsta dispatch' first", done.stderr)
        self.assertEqual(site.query("SELECT count(*) FROM event") + site.query("SELECT count(*) FROM probe"), [(0,), (0,)])

    def test_killed(self):
        """the dispatcher dies in a test: the next one says so, and does not run it again"""
        site = self.make({"all/a": "echo x >>$OUT/ran; [ -e $OUT/go ] || exec sleep 1000"})
        with self.running(site, "test", "all/a", "session.completed") as test:
            wait_for(lambda: self.lines(site, "ran"), 10, "it runs")
            os.kill(site.dispatcher_pid(), signal.SIGKILL)
            code, out, err = self.end(test)
        self.assertEqual(code, 1, err)
        self.assertRegex(out, r"^failed after .*: the dispatcher")
        self.assertEqual(self.lines(site, "ran"), ["x"])
        self.assertEqual(self.attempts(site), [(1, "retry", "interrupted")])

    def test_killed_off(self):
        """the dispatcher dies, and none may be started: the wait ends, and what has not begun is canceled"""
        site = self.make({"session.completed/a": "exec sleep 1000"}, OFF)
        dispatcher = self.start_stopped(site)
        with self.running(site, "test", "session.completed/a", "session.completed") as test:
            wait_for(lambda: site.query("SELECT count(*) FROM delivery") == [(1,)], 10, "it is stored")
            dispatcher.kill()
            dispatcher.wait()
            code, _, err = self.end(test)
        self.assertEqual((code, "no dispatcher runs" in err), (1, True), err)
        self.assertEqual(site.query("SELECT state FROM delivery"), [("canceled",)])

    def test_late(self):
        """no result in --timeout: exit 1, and what has not begun does not begin later; what has is named"""
        site = self.make({"session.completed/a": "touch $OUT/a", "session.completed/b": "touch $OUT/b; exec sleep 1000"}, OFF)
        dispatcher = self.start_stopped(site)
        done = site.tool("test", "session.completed/a", "session.completed", "--timeout", "300ms", check=False)
        os.kill(dispatcher.pid, signal.SIGCONT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no result after 300ms", done.stderr)
        done = site.tool("test", "session.completed/b", "session.completed", "--timeout", "2s", check=False)
        self.assertEqual((done.returncode, "it has begun: see 'ntrvsta logs session.completed/b'" in done.stderr), (1, True), done.stderr)
        self.assertEqual(sorted(os.listdir(site.out)), ["b"])
        dispatcher.kill()

    def test_interrupt(self):
        """Ctrl-C ends the wait, and the test"""
        site = self.make({"session.completed/a": "true"}, OFF)
        dispatcher = self.start_stopped(site)
        with self.running(site, "test", "session.completed/a", "session.completed") as test:
            wait_for(lambda: site.query("SELECT count(*) FROM delivery") == [(1,)], 10, "it is stored")
            test.send_signal(signal.SIGINT)
            self.assertEqual(self.end(test)[0], 1)
        self.assertEqual(site.query("SELECT state FROM delivery"), [("canceled",)])
        os.kill(dispatcher.pid, signal.SIGCONT)

    def test_once(self):
        """dispatch --once does what tests wait, and connectivity tests"""
        receiver = self.receiver()
        site = self.make({"session.completed/a": "touch $OUT/a"}, OFF)
        ident = self.create(site, receiver.url())
        dispatcher = self.start_stopped(site)
        with self.running(site, "test", "session.completed/a", "session.completed") as test, \
                self.running(site, "connectivity", ident, "--json") as connectivity:
            wait_for(lambda: site.query("SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM probe)") == [(2,)], 10,
                     "both are stored")
            dispatcher.kill()
            dispatcher.wait()
            site.dispatch_once()
            self.assertEqual((self.end(test)[0], json.loads(self.end(connectivity)[1])["success"]), (0, True))

    def test_idle(self):
        """a dispatcher that leaves when idle leaves no test behind"""
        site = self.make({"all/a": "true"}, OFF)
        site.tool("stats")
        stop = threading.Event()

        def dispatch():
            while not stop.is_set():
                site.tool("dispatch", "--idle", "1ms", check=False)

        thread = threading.Thread(target=dispatch)
        thread.start()
        try:
            done = 0
            for _ in range(25):
                test = site.tool("test", "all/a", "session.completed", "--timeout", "5s", check=False)
                done += test.returncode == 0
                self.assertTrue(test.returncode == 0 or "no dispatcher runs" in test.stderr, test.stderr)
        finally:
            stop.set()
            thread.join()
        self.assertGreater(done, 0)


class Usage(TestCase):
    def test_usage(self):
        """wrong usage: exit 2; what is not there, or is not usable: exit 1; nothing is stored"""
        site = self.make({"all/10-log": "true"})
        with open(os.path.join(site.handlers, "all", "off"), "w") as f:
            f.write("#!/bin/sh\n")
        for args, code, message in (
            (["test"], 2, "wants a handler's name or a webhook's id, and the name of an event"),
            (["test", "all/10-log"], 2, "and the name of an event"),
            (["test", "../x", "session.completed"], 2, "can't be a handler's name"),
            (["test", "all/10-log", "a/b"], 2, "can't be an event's name"),
            (["test", "all/10-log", "session.completed", "--timeout", "x"], 2, "--timeout wants a duration"),
            (["test", "all/10-log", "session.completed", "--timeout", "0"], 2, "--timeout wants a duration"),
            (["test", "all/10-log", "session.completed", "--data", "[1]"], 1, "--data wants a JSON object"),
            (["test", "all/10-log", "session.completed", "--data", "null"], 1, "--data wants a JSON object"),
            (["test", "all/10-log", "session.completed", "--data", "{"], 1, "--data wants a JSON object"),
            (["test", "all/10-log", "session.completed", "--data", "@/no/such"], 1, "can't be read"),
            (["test", "all/10-lgo", "session.completed"], 1, "did you mean all/10-log?"),
            (["test", "all/off", "session.completed"], 1, "not executable"),
            (["test", NOBODY, "session.completed"], 1, f"no webhook {NOBODY}"),
            (["connectivity"], 2, "wants the id of one webhook"),
            (["connectivity", "all/10-log"], 2, "is no webhook's id"),
            (["connectivity", NOBODY], 1, f"no webhook {NOBODY}"),
        ):
            with self.subTest(args=args):
                done = site.tool(*args, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(message, done.stderr)
        self.assertEqual(site.query("SELECT count(*) FROM event") + site.query("SELECT count(*) FROM probe"), [(0,), (0,)])


class Webhooks(TestCase):
    def test_success(self):
        """a webhook gets a whole event with the given score, signed; the answer is shown; no other is called"""
        receiver, other = self.receiver(), self.receiver()
        site = self.make()
        ident = self.create(site, receiver.url())
        self.create(site, other.url())
        done = site.tool("test", ident, "session.completed", "--data", SCORE)
        self.assertRegex(done.stdout, r"\Asuccess after \S+: HTTP status 200\n.*\n  \| fine, thank you\n\Z")
        (method, headers, body, _), = receiver.calls
        self.assertEqual((method, headers["X-NTRVSTA-Event"]), ("POST", "session.completed"))
        self.assertEqual(json.loads(body)["data"]["session"]["overall_score"], 92)
        self.assertIn("candidate", json.loads(body)["data"]["session"])
        secret, = site.query("SELECT secret FROM webhook_secret WHERE webhook = ?", ident)
        self.assertEqual(headers["X-NTRVSTA-Signature"], sign(body, secret[0]))
        self.assertEqual(other.calls, [])

    def test_failure(self):
        """a refusal is shown, exit 1; it is not retried, and does not switch the webhook off"""
        receiver = self.receiver()
        site = self.make(settings={"webhooks": {**OPEN, "retry_schedule": "1ms 1ms"}})
        for status in (500, 410, 301):
            with self.subTest(status=status):
                ident = self.create(site, receiver.url(status))
                before = len(receiver.calls)
                done = site.tool("test", ident, "session.completed", "--json", check=False)
                doc = json.loads(done.stdout)
                self.assertEqual((done.returncode, doc["status"], doc["status_code"], doc["output"]),
                                 (1, "failed", status, "fine, thank you\n"))
                done = site.tool("test", ident, "session.completed", check=False)
                self.assertIn(str(status), done.stdout.splitlines()[0])
                self.assertEqual(len(receiver.calls) - before, 2)
                self.assertEqual(site.query("SELECT active, failures FROM webhook WHERE id = ?", ident), [(1, 0)])
        self.assertEqual(site.query("SELECT count(*) FROM delivery WHERE state = 'failed' AND test = 1"), [(6,)])
        self.assertEqual(site.tool("stats", ident, "--json")["total_deliveries"], 0)

    def test_inactive(self):
        """one that is not active is tested all the same, while what waits for it waits on"""
        receiver = self.receiver()
        site = self.make(settings=OFF)
        ident = self.create(site, receiver.url(204))
        site.cgi(event())
        os.kill(site.start_dispatcher().pid, signal.SIGTERM)
        wait_for(lambda: not site.dispatcher_pid(), 10, "it has ended")
        first = len(receiver.calls)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: site.query("SELECT state FROM delivery") == [("success",)], 0.1)
        site.tool("webhooks", "update", ident, "--deactivate")
        site.tool("retry", site.query("SELECT id FROM delivery")[0][0])
        site.start_dispatcher()
        self.assertEqual(site.tool("test", ident, "session.completed", "--json")["status_code"], 204)
        self.assertTrue(site.tool("connectivity", ident, "--json")["success"])
        self.assertEqual([c[0] for c in receiver.calls[first:]], ["POST", "HEAD"])
        self.assertEqual(site.query("SELECT state FROM delivery WHERE test = 0"), [("pending",)])

    def test_refused(self):
        """an address that may not be called is refused, and the error names the setting that allows it"""
        receiver = self.receiver()
        site = self.make()
        ident = self.create(site, receiver.url())
        site.configure({"webhooks": {"allow_private": "off"}})
        for args in (("test", ident, "session.completed"), ("connectivity", ident)):
            done = site.tool(*args, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"(?s)127\.0\.0\.1.*allow_private")
        self.assertEqual(receiver.calls, [])

    def test_unreachable(self):
        """nothing listens: the test says so"""
        site = self.make()
        ident = self.create(site, f"http://127.0.0.1:{free_port()}/")
        doc = json.loads(site.tool("test", ident, "session.completed", "--json", check=False).stdout)
        self.assertEqual((doc["status"], doc["error_code"], doc["status_code"]), ("failed", "connect", None))


class Connectivity(TestCase):
    def test_success(self):
        """a HEAD request on a new connection, without event or signature; any answer is a success"""
        receiver = self.receiver()
        site = self.make()
        for status in (200, 404, 500, 301):
            with self.subTest(status=status):
                ident = self.create(site, receiver.url(status))
                doc = site.tool("connectivity", ident, "--json")
                self.assertEqual(list(doc), ["success", "error", "status_code", "dns_ms", "connect_ms", "tls_ms", "total_ms"])
                self.assertEqual((doc["success"], doc["error"], doc["status_code"], doc["tls_ms"]), (True, None, status, 0))
                self.assertGreaterEqual(doc["total_ms"], doc["dns_ms"] + doc["connect_ms"])
                method, headers, body, _ = receiver.calls[-1]
                self.assertEqual((method, body), ("HEAD", b""))
                self.assertEqual([h for h in headers if "ntrvsta-" in h.lower() or h.lower().startswith("webhook-")], [])
                self.assertRegex(headers["User-Agent"], r"^ntrvsta-fcgi/")
        self.assertEqual(len({port for *_, port in receiver.calls}), 4, "each time anew")
        self.assertEqual(site.query("SELECT count(*) FROM event") + site.query("SELECT count(*) FROM attempt"), [(0,), (0,)])

    def test_table(self):
        """the table for people has the times, and the error below it"""
        site = self.make()
        done = site.tool("connectivity", self.create(site, self.receiver().url()))
        self.assertRegex(done.stdout, r"\ARESULT +HTTP STATUS +DNS +CONNECT +TLS +TOTAL\nsuccess +200( +[\d.]+m?s){4} *\n\Z")
        done = site.tool("connectivity", self.create(site, f"http://127.0.0.1:{free_port()}/"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"\nfailed +- .*\n\n.*[Cc]onnect")

    def test_no_answer(self):
        """what never answers, hangs up, or is not there: an error, in the time of [webhooks]"""
        site = self.make(settings={"webhooks": {**OPEN, "timeout": "500ms"}})
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            port = silent.getsockname()[1]
            begun = time.monotonic()
            done = site.tool("connectivity", self.create(site, f"http://127.0.0.1:{port}/"), "--json", check=False)
            doc = json.loads(done.stdout)
            self.assertEqual((done.returncode, doc["success"], doc["status_code"]), (1, False, None))
            self.assertIn("timed out", doc["error"])
            self.assertGreaterEqual(doc["total_ms"], 500)
            self.assertLess(time.monotonic() - begun, 5 * PATIENCE)

    def test_many(self):
        """more of them than are made at once: each gets its own result"""
        receiver = self.receiver()
        site = self.make(settings=OFF)
        site.start_dispatcher()
        wanted = [200 + n for n in range(12) if 200 + n not in (204, 205)]
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(self.running(site, "connectivity", self.create(site, receiver.url(n)), "--json"))
                        for n in wanted]
            got = [json.loads(self.end(child, 60)[1])["status_code"] for child in children]
        self.assertEqual(got, wanted)

    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_tls(self):
        """over TLS: a certificate that nobody knows is an error; one of ca_file is not"""
        site = self.make()
        cert, key = (os.path.join(site.root, n) for n in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                        "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        ident = self.create(site, self.receiver(context).url())
        doc = json.loads(site.tool("connectivity", ident, "--json", check=False).stdout)
        self.assertEqual((doc["success"], "certificate" in doc["error"]), (False, True), doc)
        os.kill(site.dispatcher_pid(), signal.SIGTERM)
        site.configure({"webhooks": {"ca_file": cert}})
        wait_for(lambda: not site.dispatcher_pid(), 10, "the dispatcher has ended")
        doc = site.tool("connectivity", ident, "--json")
        self.assertEqual((doc["success"], doc["status_code"]), (True, 200))
        self.assertGreaterEqual(doc["total_ms"], doc["dns_ms"] + doc["connect_ms"] + doc["tls_ms"])

    def test_killed(self):
        """the dispatcher dies meanwhile: the next one makes the test anew"""
        site = self.make()
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            ident = self.create(site, f"http://127.0.0.1:{server.getsockname()[1]}/")
            with self.running(site, "connectivity", ident, "--json") as child:
                first, _ = server.accept()
                pid = site.dispatcher_pid()
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: not alive(pid), 10, "it is dead")
                second, _ = server.accept()
                second.recv(4096)
                second.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                code, out, err = self.end(child)
                first.close()
                second.close()
        self.assertEqual((code, json.loads(out)["status_code"]), (0, 204), err)


if __name__ == "__main__":
    tap.main()
