"""Many deliveries wait: others are not held up by them, the dispatcher starts at once and stays small,
intake stays quick. And handlers that come, change and go meanwhile."""

import os
import re
import statistics
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fastcgi
import seed
import tap
from ntrvsta import Site, event, peak_kib_of, sanitized, wait_for

SLOW, QUICK = "session.completed/slow", "candidate.invited/quick"
NOTE_TIME = 'echo "$(date +%s%N) $NTRVSTA_EVENT_ID" >>$OUT/quick'
PATIENCE = 5 if sanitized() else 1


class FairnessCase(unittest.TestCase):
    def make(self, settings=None, handlers=None):
        site = Site({"dispatch": {"start": "off", "concurrency": "4"}, "web": {"rate_limit": "0"}}, handlers)
        site.configure(settings or {})
        self.addCleanup(site.close)
        return site

    def serve(self, site):
        program = fastcgi.Program(site)
        self.addCleanup(program.close)
        return program

    def lines(self, site, name):
        try:
            with open(os.path.join(site.out, name)) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def delays_ms(self, site, program, count):
        """From the 200 to the start of the quick handler, for COUNT events one after the other."""
        delays = []
        for n in range(count):
            answer = program.call(event("candidate.invited", n=n))
            answered = time.time_ns()
            self.assertEqual(answer.status, 200)
            line = wait_for(lambda: [l for l in self.lines(site, "quick") if answer.json["id"] in l], 30, "it ran")[0]
            delays.append((int(line.split()[0]) - answered) / 1e6)
        return delays


class Fairness(FairnessCase):
    def slow_site(self, slow):
        return self.make({"handlers": {"timeout": "2s", "kill_grace": "100ms", "retry_schedule": "1s 2s 4s 1m"},
                          f"handler {SLOW}": slow},
                         {SLOW: "exec sleep 1000", QUICK: NOTE_TIME})

    def test_slow_backlog(self):
        """100 000 events wait for a handler that always times out: another one's starts within 100 ms"""
        for concurrency in (1, 4):
            with self.subTest(concurrency=concurrency):
                site = self.slow_site({"concurrency": str(concurrency)})
                seed.backlog(site, 1, QUICK, event="candidate.invited", state="success", attempt=1)
                seed.backlog(site, 100_000, SLOW)
                program = self.serve(site)
                site.start_dispatcher()
                wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state = 'running'")[0][0] >= min(concurrency, 3),
                         10, "the slow one runs")
                delays = self.delays_ms(site, program, 25)
                print(f"# slow handler at concurrency {concurrency}: {statistics.median(delays):.1f} ms in the median,"
                      f" {max(delays):.1f} at most")
                self.assertLess(statistics.median(delays), 100 * PATIENCE, f"ms: {delays}")
                self.assertGreater(site.query("SELECT count(*) FROM attempt WHERE error_code = 'timeout'")[0][0]
                                   + site.query("SELECT count(*) FROM delivery WHERE state = 'running'")[0][0], 0)
                site.close()

    def test_several_slow(self):
        """three slow handlers with a backlog, or one that may have all slots, before any other was ever seen"""
        slow = [f"session.completed/slow{n}" for n in range(3)]
        for names, concurrency in ((slow, 2), (slow[:1], 4)):
            with self.subTest(slow=len(names)):
                site = self.make({"handlers": {"timeout": "2s", "kill_grace": "100ms", "concurrency": str(concurrency)}},
                                 {**{name: "exec sleep 1000" for name in names}, QUICK: NOTE_TIME})
                for name in names:
                    seed.backlog(site, 1000, name)
                program = self.serve(site)
                site.start_dispatcher()
                wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state = 'running'") == [(3,)], 10, "they run")
                delays = self.delays_ms(site, program, 25)
                self.assertLess(statistics.median(delays), 100 * PATIENCE, f"ms: {delays}")
                site.close()

    def test_slow_retries(self):
        """the same where the 100 000 are retries that are due"""
        site = self.slow_site({"concurrency": "4"})
        seed.backlog(site, 1, QUICK, event="candidate.invited", state="success", attempt=1)
        seed.backlog(site, 100_000, SLOW, attempt=1, due_ms=seed.now_ms() - 3_600_000)
        program = self.serve(site)
        site.start_dispatcher()
        wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state = 'running'")[0][0] >= 3, 10, "it runs")
        delays = self.delays_ms(site, program, 25)
        self.assertLess(statistics.median(delays), 100 * PATIENCE, f"ms: {delays}")

    def test_taking_turns(self):
        """of one handler: new events and due retries go in turns, however many there are of either"""
        site = self.make({"handlers": {"retry_schedule": "1h"}},
                         {"session.completed/h": "echo $NTRVSTA_ATTEMPT >>$OUT/order"})
        seed.backlog(site, 20_000, "session.completed/h")
        seed.backlog(site, 20_000, "session.completed/h", attempt=1, due_ms=seed.now_ms() - 3_600_000)
        dispatcher = site.start_dispatcher()
        wait_for(lambda: len(self.lines(site, "order")) >= 200, 30, "200 runs")
        dispatcher.terminate()
        order = "".join(self.lines(site, "order")[:200])
        self.assertNotIn("11", order)
        self.assertNotIn("22", order)

    def test_two_hundred_handlers(self):
        """200 handlers for one event: each runs once, in the order of their names"""
        names = [f"session.completed/{n:03}" for n in range(200)]
        # One at a time: of several at once the kernel decides which one writes first.
        site = self.make({"dispatch": {"concurrency": "1"}}, {name: "echo $NTRVSTA_HANDLER >>$OUT/ran" for name in names})
        site.cgi(event())
        site.dispatch_once()
        ran = self.lines(site, "ran")
        self.assertEqual(ran, names)
        self.assertEqual(site.query("SELECT state, count(*), sum(attempt) FROM delivery GROUP BY 1"), [("success", 200, 200)])


class Backlog(FairnessCase):
    COUNT = 1_000_000

    def start_ms(self, site):
        """From the start of the dispatcher to the start of its first handler."""
        begun = time.time_ns()
        self.dispatcher = site.start_dispatcher()
        line = wait_for(lambda: self.lines(site, "quick"), 60, "the first run")[0]
        return (int(line.split()[0]) - begun) / 1e6

    def rate(self, program, count):
        begun = time.monotonic()
        with program.connect() as connection:
            for n in range(count):
                self.number += 1
                body = event("candidate.reminded", n=self.number)
                answer = connection.call(program.site.request(body), body, keep=True)
                self.assertEqual(answer.status, 200)
        return count / (time.monotonic() - begun)

    def test_million(self):
        """a million waiting deliveries: the dispatcher works in under a second, stays small; intake is not slowed"""
        count = self.COUNT // 20 if sanitized() else self.COUNT
        handlers = {SLOW: "sleep 0.01", QUICK: NOTE_TIME}
        full, empty = self.make({}, handlers), self.make({}, handlers)
        seed.backlog(full, count, SLOW)
        # A retry for each of 100 000, far in the future.
        seed.backlog(full, count // 10, SLOW, attempt=1, due_ms=seed.now_ms() + 3_600_000)
        peaks = []
        for site in (full, empty):
            site.cgi(event("candidate.invited"))
            ms = self.start_ms(site)
            self.assertLess(ms, 1000 * PATIENCE, "ms to the first run")
            print(f"# {'full' if site is full else 'empty'}: the first handler starts after {ms:.0f} ms")
            time.sleep(1)
            peaks.append(peak_kib_of(self.dispatcher.pid))
        self.assertLess(peaks[0], peaks[1] + 16 * 1024, f"KiB: {peaks}")
        for site in (full, empty):
            os.kill(site.dispatcher_pid(), 15)
            wait_for(lambda: not site.dispatcher_pid(), 10, "it left")
        # The dispatchers sleep now: intake alone.
        programs = [self.serve(full), self.serve(empty)]
        self.number = 0
        ratios = []
        for number in range(12):
            rates = [self.rate(p, 150) for p in (programs if number % 2 else programs[::-1])]
            if not number % 2:
                rates.reverse()
            ratios.append(rates[0] / rates[1])
        print(f"# intake, full against empty: {statistics.median(ratios):.2f} (rounds "
              + " ".join(f"{r:.2f}" for r in ratios) + f"); memory of the dispatcher {peaks} KiB")
        self.assertGreater(statistics.median(ratios), 0.7, f"{ratios}")


class Changes(FairnessCase):
    HANDLER = "session.completed/h"

    def states(self, site):
        return site.query("SELECT state, attempt FROM delivery ORDER BY event_seq")

    def held(self, site):
        """Reasons why deliveries to the handler are not run at present."""
        return [reason for reason, in site.query("SELECT held FROM target WHERE held <> ''")]

    def test_replaced(self):
        """a handler replaced by another while deliveries wait: each runs once, by the one of the moment"""
        site = self.make({}, {self.HANDLER: "echo old $NTRVSTA_EVENT_ID >>$OUT/ran; sleep 0.01"})
        seed.backlog(site, 100, self.HANDLER)
        site.start_dispatcher()
        wait_for(lambda: len(self.lines(site, "ran")) >= 5, 10, "some ran")
        new = site.handler("all/new", "echo new $NTRVSTA_EVENT_ID >>$OUT/ran")
        os.rename(new, os.path.join(site.handlers, self.HANDLER))
        wait_for(lambda: self.states(site) == [("success", 1)] * 100, 20, "all done")
        who, ids = zip(*(line.split() for line in self.lines(site, "ran")))
        self.assertEqual(len(set(ids)), 100)
        self.assertEqual(list(who), sorted(who, reverse=True), "old ones, then new ones")
        self.assertIn("new", who)

    def failing(self, schedule, **more):
        site = self.make({"handlers": {"retry_schedule": schedule, **more}},
                         {self.HANDLER: 'echo $NTRVSTA_ATTEMPT >>$OUT/ran; [ -e "$OUT/good" ]'})
        return site, os.path.join(site.handlers, self.HANDLER)

    def test_removed(self):
        """a handler removed while retries wait: they wait, with a reason, use up nothing, and go on when it is back"""
        site, path = self.failing("300ms")
        site.start_dispatcher()
        site.cgi(event(n=1))
        wait_for(lambda: self.states(site) == [("pending", 1)], 10, "it failed once")
        os.rename(path, path + ".away~")
        reason, = wait_for(lambda: self.held(site), 10, "a reason")
        self.assertIn("removed", reason)
        row, = site.tool("events", "show", site.stored()[0][0], "--json")["deliveries"]
        time.sleep(1.5)
        self.assertEqual(self.states(site), [("pending", 1)])
        self.assertEqual(site.query("SELECT error_code FROM attempt"), [("exit",)])
        open(os.path.join(site.out, "good"), "w").close()
        os.rename(path + ".away~", path)
        wait_for(lambda: self.states(site) == [("success", 2)], 10, "it went on")
        self.assertEqual(self.held(site), [])

    def test_removed_with_backlog(self):
        """removed with a backlog of first attempts: none is lost, all go through once it is back"""
        site, path = self.failing("200ms 200ms")
        open(os.path.join(site.out, "good"), "w").close()
        os.rename(path, path + ".away~")
        seed.backlog(site, 50, self.HANDLER)
        site.start_dispatcher()
        wait_for(lambda: self.held(site), 10, "a reason")
        time.sleep(1.2)
        states = {state for state, _ in self.states(site)}
        self.assertEqual(states, {"pending"})
        os.rename(path + ".away~", path)
        wait_for(lambda: {state for state, _ in self.states(site)} == {"success"}, 20, "all done")

    def test_removed_and_canceled(self):
        """what waits for a handler that was removed can be canceled, and stays so when it is back"""
        site, path = self.failing("300ms")
        site.start_dispatcher()
        for n in range(3):
            site.cgi(event(n=n))
        wait_for(lambda: self.states(site) == [("pending", 1)] * 3, 10, "they failed once")
        os.rename(path, path + ".away~")
        wait_for(lambda: self.held(site), 10, "a reason")
        ids = [ident for ident, in site.query("SELECT id FROM delivery ORDER BY event_seq")]
        site.tool("cancel", ids[0])
        self.assertEqual(self.states(site), [("canceled", 1), ("pending", 1), ("pending", 1)])
        for ident in ids[1:]:
            site.tool("cancel", ident)
        open(os.path.join(site.out, "good"), "w").close()
        os.rename(path + ".away~", path)
        site.cgi(event(n=4))
        wait_for(lambda: self.states(site) == [("canceled", 1)] * 3 + [("success", 1)], 10, "only the new one")

    def test_new_events_while_removed(self):
        """events that come while a handler is away are not for it; other handlers get theirs"""
        site, path = self.failing("1h")
        site.handler("all/other", "echo $NTRVSTA_EVENT_ID >>$OUT/other")
        site.cgi(event(n=1))
        site.dispatch_once()
        os.rename(path, path + ".away~")
        site.cgi(event(n=2))
        site.dispatch_once()
        os.rename(path + ".away~", path)
        site.cgi(event(n=3))
        site.dispatch_once()
        self.assertEqual(len(self.lines(site, "other")), 3)
        rows = site.query("SELECT e.body FROM delivery d JOIN event e ON e.seq = d.event_seq JOIN target t ON t.id = d.target"
                          " WHERE t.name = ? ORDER BY d.seq", self.HANDLER)
        self.assertEqual([re.search(rb'"n":(\d)', bytes(body)).group(1) for body, in rows], [b"1", b"3"])


if __name__ == "__main__":
    tap.main()
