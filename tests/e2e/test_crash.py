"""kill -9 of either program at random moments under load: every event that was answered with 200
is run, and none is stuck."""

import os
import random
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fastcgi
import tap
from ntrvsta import Site, event, wait_for

ROUNDS = 36
SEED = 20260315

SETTINGS = {
    "web": {"rate_limit": "0"},
    "dispatch": {"concurrency": "4"},
    "handlers": {"concurrency": "4", "retry_schedule": "50ms 50ms 100ms 100ms 200ms 200ms 500ms 1s"},
}


class Load:
    """Clients that post distinct events until they are stopped, and note which were answered 200."""

    def __init__(self, program, threads=4):
        self.program = program
        self.stopping = threading.Event()
        self.accepted = {}  # id: body
        self.count = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, thread):
        n = 0
        while not self.stopping.is_set():
            n += 1
            body = event("session.completed", client=thread, n=n)
            try:
                answer = self.program.call(body, timeout=5)
            except (OSError, AssertionError):
                continue  # the program died meanwhile: this one was never answered
            if answer is not None and answer.status == 200:
                with self.lock:
                    self.accepted[answer.json["id"]] = body
            time.sleep(0.01)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Crash(unittest.TestCase):
    def setUp(self):
        # The line is one write with O_APPEND: it is there whole or not at all.
        self.site = Site(SETTINGS, {"all/log": 'echo "$NTRVSTA_EVENT_ID $NTRVSTA_DELIVERY_ID $NTRVSTA_ATTEMPT" >>$OUT/ran'})
        self.addCleanup(self.site.close)

    def ran(self):
        try:
            with open(os.path.join(self.site.out, "ran")) as f:
                return [line.split() for line in f]
        except FileNotFoundError:
            return []

    def waiting(self):
        new = self.site.query("SELECT count(*) FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')")
        open_ = self.site.query("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')")
        return new[0][0] + open_[0][0]

    def kill_dispatcher(self):
        pid = self.site.dispatcher_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)

    def kill_program(self, program):
        program.child.kill()
        program.child.wait()
        program.start()

    def test_kill_under_load(self):
        """36 rounds of kill -9 under load: what was answered with 200 has run, nothing is stuck"""
        chance = random.Random(SEED)
        program = fastcgi.Program(self.site)
        self.addCleanup(program.close)
        load = Load(program)
        try:
            for number in range(ROUNDS):
                time.sleep(chance.uniform(0.05, 0.4))
                victims = ("program", "dispatcher", "both")[number % 3]
                if victims != "program":
                    self.kill_dispatcher()
                if victims != "dispatcher":
                    self.kill_program(program)
        finally:
            load.stop()
        wait_for(lambda: self.waiting() == 0, 60, "nothing waits any more")
        ran = self.ran()
        ids = {line[0] for line in ran}
        self.assertGreater(len(load.accepted), ROUNDS * 5, "too few events to tell anything")
        self.assertEqual(set(load.accepted) - ids, set(), "answered with 200 and never run")
        stored = {i: body for i, _, _, body in self.site.stored()}
        self.assertEqual({i: stored.get(i) for i in load.accepted}, load.accepted, "stored byte for byte")
        self.assertEqual(self.site.query("SELECT count(*) FROM delivery WHERE state <> 'success'"), [(0,)])
        deliveries = {}
        for ident, delivery, _ in ran:
            deliveries.setdefault(ident, set()).add(delivery)
        self.assertEqual([i for i, d in deliveries.items() if len(d) > 1], [], "another delivery id on another attempt")

    def test_kill_between_store_and_delivery(self):
        """the dispatcher is killed again and again while it has a backlog: all of it runs"""
        self.site.configure({"dispatch": {"start": "off"}})
        ids = {self.site.cgi(event(n=n)).json["id"] for n in range(200)}
        chance = random.Random(SEED)
        for _ in range(15):
            child = self.site.start_dispatcher()
            time.sleep(chance.uniform(0.0, 0.08))
            child.kill()
            child.wait()
        self.site.dispatch_once()
        wait_for(lambda: self.site.dispatch_once() and self.waiting() == 0, 30, "interrupted ones are due again")
        self.assertEqual(ids - {line[0] for line in self.ran()}, set())
        self.assertEqual(self.site.query("SELECT count(*) FROM delivery WHERE state <> 'success'"), [(0,)])

    def test_poison(self):
        """a handler that kills the dispatcher each time ends as failed, and the others still run"""
        # The other one may be interrupted each time, too: it has more attempts.
        self.site.configure({"dispatch": {"start": "off"}, "handlers": {"retry_schedule": "10ms 10ms"},
                             "handler all/log": {"retry_schedule": " ".join(["10ms"] * 9)}})
        self.site.handler("all/poison", 'kill -9 $PPID')
        self.site.cgi(event(n=1))
        killed = 0
        for _ in range(20):  # every other run finds what the last one left and plans its retry
            killed += self.site.tool("dispatch", "--once", check=False).returncode == -signal.SIGKILL
            time.sleep(0.02)
        self.assertEqual(killed, 3, "attempts")
        rows = self.site.query("SELECT t.name, state, attempt, error_code FROM delivery d JOIN target t ON t.id = d.target"
                               " ORDER BY 1")
        self.assertEqual(rows[0][:2], ("all/log", "success"))
        self.assertEqual(rows[1], ("all/poison", "failed", 3, "interrupted"))


if __name__ == "__main__":
    tap.main()
