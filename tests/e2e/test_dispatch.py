"""The dispatcher's life: when it starts, wakes, waits and leaves."""

import os
import random
import signal
import statistics
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fastcgi
import tap
from ntrvsta import Site, alive, event, sanitized, wait_for

OFF = {"dispatch": {"start": "off"}}
LOG = 'echo "$NTRVSTA_EVENT_ID" >>$OUT/ran'


class DispatchTest(unittest.TestCase):
    def make(self, settings=None, handlers=None):
        site = Site(settings, handlers if handlers is not None else {"all/log": LOG})
        self.addCleanup(site.close)
        return site

    def serve(self, site):
        program = fastcgi.Program(site)
        self.addCleanup(program.close)
        return program

    def lines(self, site, name="ran"):
        try:
            with open(os.path.join(site.out, name)) as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def wait_lines(self, site, n, name="ran", timeout=10):
        wait_for(lambda: len(self.lines(site, name)) >= n, timeout, f"{n} lines in {name}\n{site.logs()}")
        return self.lines(site, name)


class Starting(DispatchTest):
    def test_cgi_starts_one(self):
        """a CGI call starts a dispatcher in a session of its own, with nothing of the web server's open"""
        site = self.make()
        ident = site.cgi(event()).json["id"]
        self.assertEqual(self.wait_lines(site, 1), [ident])
        # Until its child is reaped it has that one's pipe.
        wait_for(lambda: site.query("SELECT state FROM delivery") == [("success",)], 5, "the attempt is recorded")
        pid = site.dispatcher_pid()
        self.assertEqual(os.getsid(pid), pid)
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        self.assertEqual([links[0], links[1], links[2]], ["/dev/null", "/dev/null", f"{site.state}/dispatch.log"])
        self.assertEqual([l for fd, l in links.items() if fd > 2 and l.startswith(("pipe:", "socket:", "/tmp/tmp"))], [])

    def test_second_call_uses_it(self):
        """further calls use the dispatcher that runs"""
        site = self.make()
        site.cgi(event(n=1))
        self.wait_lines(site, 1)
        pid = site.dispatcher_pid()
        for n in range(5):
            site.cgi(event(n=n + 2))
        self.wait_lines(site, 6)
        self.assertEqual(site.dispatcher_pid(), pid)

    def test_off(self):
        """start = off: nobody starts one; `dispatch --once` runs what is there"""
        site = self.make(OFF)
        program = self.serve(site)
        self.assertEqual(program.call(event(n=1)).status, 200)
        self.assertEqual(site.cgi(event(n=2)).status, 200)
        time.sleep(1.2)  # longer than ntrvsta-fcgi's look for a dispatcher
        self.assertIsNone(site.dispatcher_pid())
        site.dispatch_once()
        self.assertEqual(len(self.lines(site)), 2)

    def test_many_at_once(self):
        """twenty CGI calls at once, no dispatcher: one is left, and all events run"""
        site = self.make()
        calls = [site.start_cgi(event(n=n)) for n in range(20)]
        for n, call in enumerate(calls):
            call.stdin.write(event(n=n))
            call.stdin.close()
        for call in calls:
            self.assertIn(b"Status: 200", call.stdout.read())
            call.wait()
            call.stdout.close()
            call.stderr.close()
        self.wait_lines(site, 20)
        wait_for(lambda: len([p for p in site.leftovers() if alive(p)]) == 1, 5, "one dispatcher is left")

    def test_missing_tool(self):
        """where `ntrvsta` is missing, events are stored all the same, and the log says so"""
        site = self.make()
        site.install()
        os.unlink(site.tool_path)
        answer = site.cgi(event())
        self.assertEqual(answer.status, 200)
        self.assertIn(b"ntrvsta", answer.stderr)
        self.assertEqual(len(site.stored()), 1)


class Leaving(DispatchTest):
    def test_idle(self):
        """--idle: it leaves when nothing waits; not before a retry is done"""
        site = self.make({**OFF, "handlers": {"retry_schedule": "700ms"}},
                         {"all/second": '[ "$NTRVSTA_ATTEMPT" = 2 ] && ' + LOG})
        site.cgi(event())
        child = site.spawn([site.tool_path, "dispatch", "--idle", "100ms"], env=site.environment(), stderr=-3)
        self.assertEqual(child.wait(10), 0)
        self.assertEqual(len(self.lines(site)), 1)

    def test_attached(self):
        """--idle: it stays as long as a FastCGI process is attached"""
        site = self.make()
        site.configure(OFF)
        program = self.serve(site)
        self.assertEqual(program.call(event(n=0)).status, 200)
        child = site.spawn([site.tool_path, "dispatch", "--idle", "200ms"], env=site.environment(), stderr=-3)
        self.wait_lines(site, 1)
        self.assertEqual(program.call(event(n=1)).status, 200)
        self.wait_lines(site, 2)
        time.sleep(0.6)
        self.assertIsNone(child.poll())
        program.stop()
        self.assertEqual(child.wait(10), 0)

    def test_no_event_falls_between(self):
        """events that come while an idle dispatcher leaves are run all the same"""
        site = self.make()
        chance = random.Random(7)
        for n in range(25):
            child = site.spawn([site.tool_path, "dispatch", "--idle", "20ms"], env=site.environment(), stderr=-3)
            wait_for(lambda: site.dispatcher_pid() == child.pid or child.poll() is not None, 5, "it holds the lock")
            time.sleep(chance.uniform(0.0, 0.05))
            self.assertEqual(site.cgi(event(n=n)).status, 200)
            self.wait_lines(site, n + 1, timeout=5)
            for pid in site.leftovers():
                os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not site.leftovers(), 5, "the dispatchers have left")
            child.wait()

    def test_once_ends(self):
        """--once: it runs what is due and leaves what is not"""
        site = self.make({**OFF, "handlers": {"retry_schedule": "1h"}}, {"all/fails": "exit 1"})
        site.cgi(event())
        site.dispatch_once()
        self.assertEqual(site.query("SELECT state, attempt FROM delivery"), [("pending", 1)])


class Working(DispatchTest):
    def test_wakes_at_once(self):
        """a handler starts within milliseconds of the 200"""
        site = self.make({"web": {"rate_limit": "0"}}, {"all/t": 'date +%s%N >>$OUT/t'})
        program = self.serve(site)
        delays = []
        for n in range(30):
            self.assertEqual(program.call(event(n=n)).status, 200)
            answered = time.time_ns()
            started = int(self.wait_lines(site, n + 1, "t")[n])
            delays.append((started - answered) / 1e6)
        self.assertLess(statistics.median(delays[1:]), 500 if sanitized() else 50, f"in ms: {delays}")

    def test_handlers_missing(self):
        """without a readable handlers' folder events wait; once it is back they run"""
        site = self.make(OFF)
        os.rename(site.handlers, site.handlers + ".away")
        site.cgi(event())
        child = site.start_dispatcher()
        wait_for(lambda: "handlers" in site.logs(), 5, "the log says so")
        self.assertEqual(site.query("SELECT count(*) FROM delivery"), [(0,)])
        os.rename(site.handlers + ".away", site.handlers)
        self.wait_lines(site, 1)
        self.assertIsNone(child.poll())

    def test_hangup_reloads(self):
        """SIGHUP: new settings count from then on, a broken file leaves the old ones in force"""
        site = self.make({**OFF, "handlers": {"timeout": "30s"}}, {"all/slow": "sleep 20"})
        child = site.start_dispatcher()
        site.write_config("[nonsense]\n")
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: "nonsense" in site.logs(), 5, "the mistake is logged")
        site.configure({"handlers": {"timeout": "100ms", "retry_schedule": ""}})
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration loaded" in site.logs(), 5, "the file is loaded")
        site.cgi(event())
        wait_for(lambda: site.query("SELECT state, error_code FROM delivery") == [("failed", "timeout")], 10, "timed out")

    def test_changed_configuration(self):
        """a changed file counts without a signal; a broken one leaves the old one in force, and is reported once"""
        site = self.make({**OFF, "handlers": {"timeout": "30s", "retry_schedule": ""}}, {"all/slow": "sleep 20"})
        site.start_dispatcher()
        site.write_config("[nonsense]\n")
        wait_for(lambda: "nonsense" in site.logs(), 5, "the mistake is logged")
        time.sleep(2.2)  # two more looks at it
        self.assertEqual(site.logs().count("nonsense"), 1)
        site.configure({"handlers": {"timeout": "100ms"}})
        wait_for(lambda: "configuration loaded" in site.logs(), 5, "the file is loaded")
        site.cgi(event())
        wait_for(lambda: site.query("SELECT state, error_code FROM delivery") == [("failed", "timeout")], 10, "timed out")

    def test_retries_and_new_events_take_turns(self):
        """due retries are not starved by new events, nor new events by retries"""
        site = self.make({**OFF, "handlers": {"retry_schedule": "1ms"}},
                         {"all/x": 'echo "$NTRVSTA_ATTEMPT" >>$OUT/order; [ "$NTRVSTA_ATTEMPT" = 2 ]'})
        for n in range(20):
            site.cgi(event(n=n))
        site.dispatch_once()
        order = "".join(self.lines(site, "order"))
        self.assertEqual(order.count("1"), 20)
        self.assertIn("1212", order, "retries wait until all new events are done")
        self.assertNotIn("2222", order[:20], "retries come before new events")

    def test_locked_store(self):
        """another process locks the database for a while: the dispatcher goes on afterwards"""
        import sqlite3
        site = self.make(OFF)
        site.cgi(event(n=1))
        db = sqlite3.connect(site.db_file, isolation_level=None)
        self.addCleanup(db.close)
        db.execute("BEGIN IMMEDIATE")
        child = site.start_dispatcher()
        time.sleep(0.5)
        self.assertIsNone(child.poll())
        db.execute("ROLLBACK")
        self.wait_lines(site, 1)

    def test_new_handler_needs_no_restart(self):
        """a handler that is added, changed or removed counts from the next event on"""
        site = self.make(OFF)
        site.start_dispatcher()
        site.cgi(event(n=1))
        self.wait_lines(site, 1)
        site.handler("session.completed/new", "echo new >>$OUT/new")
        site.handler("all/log", "echo changed >>$OUT/changed")
        site.cgi(event(n=2))
        self.wait_lines(site, 1, "new")
        self.wait_lines(site, 1, "changed")
        os.unlink(os.path.join(site.handlers, "all/log"))
        site.cgi(event(n=3))
        self.wait_lines(site, 2, "new")
        wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state <> 'success'") == [(0,)], 5, "all done")
        self.assertEqual(site.query("SELECT count(*) FROM delivery"), [(4,)])


if __name__ == "__main__":
    tap.main()
