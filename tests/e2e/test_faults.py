"""Each program killed at each point where it could lose something, and clocks that jump. Needs a build
with --enable-test-hooks: see lib/base/hooks.h."""

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
from ntrvsta import Site, event, read_file, wait_for
from receiver import Receiver, register

NAME = "session.completed"
HANDLER = f"{NAME}/h"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
# One write with O_APPEND for each run; a batch says all its events.
RAN = 'ids=$(sed -n \'s/.*"n":\\([0-9]*\\).*/\\1/p\' | tr "\\n" ,); echo "$NTRVSTA_ATTEMPT $NTRVSTA_DELIVERY_ID $ids" >>$OUT/ran'


def has_hooks():
    return b"NTRVSTA_FAULT" in read_file(ntrvsta.TOOL) and b"NTRVSTA_FAULT" in read_file(ntrvsta.FCGI)


@unittest.skipUnless(has_hooks(), "built without --enable-test-hooks")
class FaultCase(unittest.TestCase):
    def make(self, script=RAN, start="off", **handlers):
        site = Site({"dispatch": {"start": start, "concurrency": "4"}, "web": {"rate_limit": "0"},
                     "handlers": {"retry_schedule": "10ms 10ms 10ms", **handlers}}, {HANDLER: script})
        self.addCleanup(site.close)
        return site

    def ran(self, site):
        """(attempt, delivery, [numbers]) of each run."""
        try:
            with open(os.path.join(site.out, "ran")) as f:
                lines = [line.split() for line in f]
        except FileNotFoundError:
            return []
        return [(int(attempt), delivery, [int(n) for n in ids.rstrip(",").split(",")]) for attempt, delivery, ids in lines]

    def attempts(self, site):
        """Of each delivery in order of arrival: [(attempt, error code)]."""
        found = {}
        for number, attempt, code in site.query(
                "SELECT d.event_seq, a.attempt, a.error_code FROM delivery d LEFT JOIN attempt a ON a.delivery_seq = d.seq"
                " ORDER BY d.event_seq, a.seq"):
            found.setdefault(number, []).append((attempt, code))
        return list(found.values())

    def finish(self, site):
        """Dispatch without a fault until nothing waits, and wait for handlers whose dispatcher died."""
        def done():
            site.dispatch_once()
            return site.query("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')") == [(0,)]
        wait_for(done, 30, "nothing waits")
        wait_for(lambda: not site.leftovers(), 10, "no handler is left")


INTERRUPTED = [(1, "interrupted"), (2, "")]
ONCE = [(1, "")]

# Where the dispatcher dies, the attempts that are on record in the end, which of them the handler saw.
POINTS = [
    ("expanding", ONCE, [1]),
    ("expanded", ONCE, [1]),
    ("settling:1", ONCE, [1]),          # claimed, not committed
    ("claimed", INTERRUPTED, [2]),
    ("running", INTERRUPTED, [1, 2]),
    ("ended", INTERRUPTED, [1, 2]),
    ("settling:2", INTERRUPTED, [1, 2]),  # recorded, not committed
    ("recorded", ONCE, [1]),
]


class Dispatcher(FaultCase):
    def test_single(self):
        """killed at each point with one event: it is run, attempts are counted right, the delivery id stays"""
        for point, attempts, seen in POINTS:
            with self.subTest(point):
                site = self.make()
                site.cgi(event(n=0))
                died = site.tool("dispatch", "--once", check=False, env={"NTRVSTA_FAULT": point})
                self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
                self.finish(site)
                self.assertEqual(self.attempts(site), [attempts])
                ran = self.ran(site)
                self.assertEqual(sorted(attempt for attempt, _, _ in ran), seen)
                ids = site.query("SELECT id, state, attempt FROM delivery")
                self.assertEqual([row[1:] for row in ids], [("success", attempts[-1][0])])
                self.assertEqual({delivery for _, delivery, _ in ran}, {ids[0][0]})

    def test_batch(self):
        """killed at each point with a batch: the same events run together again, each counted"""
        for point, attempts, seen in POINTS:
            with self.subTest(point):
                site = self.make(batch="3")
                for n in range(5):
                    site.cgi(event(n=n))
                died = site.tool("dispatch", "--once", check=False, env={"NTRVSTA_FAULT": point})
                self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
                self.finish(site)
                self.assertEqual(self.attempts(site)[:3], [attempts] * 3)
                ran = self.ran(site)
                self.assertEqual(sorted(attempt for attempt, _, ids in ran if 0 in ids), seen)
                self.assertEqual({tuple(ids) for _, _, ids in ran}, {(0, 1, 2), (3, 4)})
                self.assertEqual(site.query("SELECT DISTINCT state FROM delivery"), [("success",)])

    def test_many(self):
        """killed at each point again and again among many: all of them run, none is stuck"""
        for point in ("expanding", "expanded", "settling", "claimed", "running", "ended", "recorded"):
            with self.subTest(point):
                site = self.make(concurrency="2", retry_schedule=" ".join(["5ms"] * 20))
                for n in range(8):
                    site.cgi(event(n=n))
                for nth in (1, 2, 3, 2, 1):
                    site.tool("dispatch", "--once", check=False, env={"NTRVSTA_FAULT": f"{point}:{nth}"})
                    time.sleep(0.01)
                self.finish(site)
                rows = site.query("SELECT d.id, d.state, d.attempt, count(a.seq), max(a.attempt) FROM delivery d"
                                  " LEFT JOIN attempt a ON a.delivery_seq = d.seq GROUP BY d.seq")
                self.assertEqual([row[1] for row in rows], ["success"] * 8)
                for ident, _, attempt, recorded, last in rows:
                    self.assertEqual((recorded, last), (attempt, attempt))
                    seen = [a for a, delivery, _ in self.ran(site) if delivery == ident]
                    self.assertEqual(len(seen), len(set(seen)), "no attempt is made twice")
                    self.assertIn(attempt, seen, "the one that succeeded was made")


class Calls(FaultCase):
    def test_points(self):
        """killed at each point with a call: it is made again, attempts are counted right, the delivery id stays"""
        for point, attempts, _ in POINTS:
            with self.subTest(point), Receiver() as r:
                site = Site({"dispatch": {"start": "off"}, "webhooks": {
                    "allow_http": "on", "allow_private": "127.0.0.1", "retry_schedule": "10ms 10ms 10ms"}})
                self.addCleanup(site.close)
                register(site, r.url())
                site.cgi(event(n=0))
                died = site.tool("dispatch", "--once", check=False, env={"NTRVSTA_FAULT": point})
                self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
                self.finish(site)
                self.assertEqual(self.attempts(site), [attempts])
                (delivery,), = site.query("SELECT id FROM delivery WHERE state = 'success'")
                self.assertEqual({q.headers["x-ntrvsta-delivery"] for q in r.requests}, {delivery})
                # Whether a call that was begun left this machine depends on when the dispatcher died.
                least = 2 if point in ("ended", "settling:2") else 1
                self.assertTrue(least <= len(r.requests) <= len(attempts), r.requests)


class Intake(FaultCase):
    def test_cgi(self):
        """CGI killed while it stores, and before it answers: repeated, the event is there once, and runs once"""
        for point, stored in (("storing", 0), ("stored", 1)):
            with self.subTest(point):
                site = self.make()
                body = event(n=1)
                with self.assertRaises(AssertionError):  # no response
                    site.cgi(body, env={"NTRVSTA_FAULT": point})
                self.assertEqual(len(site.stored()), stored)
                answer = site.cgi(body)
                self.assertEqual((answer.status, answer.json["duplicate"]), (200, stored == 1))
                self.assertEqual([row[0] for row in site.stored()], [answer.json["id"]])
                self.finish(site)
                self.assertEqual(len(self.ran(site)), 1)

    def test_fastcgi(self):
        """FastCGI killed there with twelve calls in flight: none was answered 200 and lost, each runs once"""
        for point in ("storing", "storing:2", "stored", "stored:3"):
            with self.subTest(point):
                site = self.make()
                program = fastcgi.Program(site, env={"NTRVSTA_FAULT": point})
                self.addCleanup(program.close)
                bodies = [event(n=n) for n in range(12)]
                answered = {}

                def call(body, timeout=30):
                    try:
                        answer = program.call(body, timeout)
                    except (OSError, AssertionError):
                        return
                    if answer is not None and answer.status == 200:
                        answered[answer.json["id"]] = body
                threads = [threading.Thread(target=call, args=(body,)) for body in bodies]
                for thread in threads:
                    thread.start()
                for n in range(12, 40):  # singly, so that there are as many commits as the point wants
                    if program.child.poll() is not None:
                        break
                    bodies.append(event(n=n))
                    call(bodies[-1], timeout=1)  # longer than it lives
                self.assertEqual(program.child.wait(20), -signal.SIGKILL)
                # Calls that nobody accepted wait in the listening socket for the next one.
                program.env = None
                program.start()
                for thread in threads:
                    thread.join()
                stored = {ident: body for ident, _, _, body in site.stored()}
                self.assertEqual({ident: stored.get(ident) for ident in answered}, answered)
                for body in bodies:
                    self.assertEqual(program.call(body).status, 200)
                self.assertEqual(sorted(body for _, _, _, body in site.stored()), sorted(bodies))
                program.stop()
                self.finish(site)
                self.assertEqual(sorted(n for _, _, ids in self.ran(site) for n in ids), list(range(len(bodies))))


class Clock(FaultCase):
    """The programs' wall clock is the machine's plus the number in a file."""

    def make(self, script=RAN, **handlers):
        site = super().make(script, **handlers)
        self.file = os.path.join(site.dir, "clock")
        self.env = {"NTRVSTA_CLOCK_FILE": self.file}
        self.set(0)
        return site

    def set(self, offset_ms):
        with open(self.file + ".new", "w") as f:
            f.write(str(offset_ms))
        os.rename(self.file + ".new", self.file)

    def put(self, site, number):
        answer = site.cgi(event(n=number), env=self.env)
        self.assertEqual(answer.status, 200)

    def states(self, site):
        return site.query("SELECT state, attempt FROM delivery ORDER BY event_seq")

    def dispatcher(self, site):
        return site.start_dispatcher(env=self.env)

    JUMPS = {"back an hour": -HOUR_MS, "forward a day": DAY_MS, "back a month": -30 * DAY_MS}

    def test_retries(self):
        """set back or forward while retries wait: they come in their time, or sooner, and not an hour later"""
        for restart in (False, True):
            for what, jump in self.JUMPS.items():
                with self.subTest(what, restart=restart):
                    site = self.make('echo x >>$OUT/tries; [ "$NTRVSTA_ATTEMPT" -ge 3 ]', retry_schedule="1s 1s 1s")
                    child = self.dispatcher(site)
                    self.put(site, 1)
                    self.put(site, 2)
                    wait_for(lambda: self.states(site) == [("pending", 1)] * 2, 10, "two retries wait")
                    if restart:
                        ntrvsta.stop(child)
                    self.set(jump)
                    begun = time.monotonic()
                    if restart:
                        self.dispatcher(site)
                    wait_for(lambda: self.states(site) == [("success", 3)] * 2, 15, "both went through")
                    self.assertLess(time.monotonic() - begun, 6)
                    if jump < 0:
                        self.assertGreater(time.monotonic() - begun, 1.2, "retries keep their distance")
                    self.set(0)
                    self.put(site, 3)
                    wait_for(lambda: self.states(site)[-1] == ("success", 3), 15, "and so does a new one, set right again")
                    site.close()

    def test_first_attempts(self):
        """set back or forward while first attempts wait: they go on at once and in order of arrival"""
        for restart in (False, True):
            for what, jump in self.JUMPS.items():
                with self.subTest(what, restart=restart):
                    site = self.make(RAN + "; sleep 0.02")
                    for n in range(20):
                        self.put(site, n)
                    child = self.dispatcher(site)
                    wait_for(lambda: len(self.ran(site)) >= 3, 10, "some ran")
                    if restart:
                        ntrvsta.stop(child)
                    self.set(jump)
                    for n in range(20, 25):
                        self.put(site, n)
                    if restart:
                        self.dispatcher(site)
                    begun = time.monotonic()
                    wait_for(lambda: self.states(site) == [("success", 1)] * 25, 15, "all ran")
                    self.assertLess(time.monotonic() - begun, 6)
                    self.assertEqual([n for _, _, ids in self.ran(site) for n in ids], list(range(25)))
                    site.close()

    def test_timeout(self):
        """neither a time-out nor its absence comes from the clock"""
        site = self.make('[ "$NTRVSTA_ATTEMPT" = 1 ] || exit 0; touch $OUT/began; exec sleep 100', timeout="1s")
        self.dispatcher(site)
        self.put(site, 1)
        begun = time.monotonic()
        site.output("began")
        self.set(DAY_MS)
        time.sleep(0.4)
        self.assertEqual(self.states(site), [("running", 1)])
        self.set(-DAY_MS)
        wait_for(lambda: self.states(site) == [("success", 2)], 10, "timed out, and run again")
        self.assertGreater(time.monotonic() - begun, 1)
        # A clock that went back makes the attempt no shorter than nothing.
        for duration, in site.query("SELECT duration_ms FROM attempt WHERE error_code = 'timeout'"):
            self.assertTrue(900 <= duration < 3000, duration)

    def test_nothing_lost_to_retention(self):
        """set forward by a year while deliveries wait: none of them is taken for old"""
        site = self.make("exit 1", retry_schedule="1h")
        for n in range(3):
            self.put(site, n)
        site.tool("dispatch", "--once", env=self.env)
        self.set(365 * DAY_MS)
        self.put(site, 3)
        self.dispatcher(site)
        wait_for(lambda: self.states(site) == [("failed", 2)] * 3 + [("pending", 1)], 10, "run, and failed just now")
        self.assertEqual(len(site.stored()), 4)


if __name__ == "__main__":
    tap.main()
