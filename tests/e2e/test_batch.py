"""Batch handlers: one run for many events, and what becomes of each of them."""

import hashlib
import json
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import seed
import tap
from ntrvsta import Site, event, peak_kib_of, read_file, sanitized, wait_for

NAME = "session.completed"
HANDLER = f"{NAME}/h"
MIB = 1 << 20
# Keeps its input as $OUT/runs/DELIVERY.ATTEMPT, and says in $OUT/order what ran, as "DELIVERY.ATTEMPT BATCH".
KEEP = ('run=$NTRVSTA_DELIVERY_ID.$NTRVSTA_ATTEMPT; mkdir -p "$OUT/runs"; cat >"$OUT/runs/$run"\n'
        'echo "$run ${NTRVSTA_BATCH-none}" >>"$OUT/order"\n')
POISON = KEEP + '! grep -q poison "$OUT/runs/$run"'


class Run:
    """One run of KEEP."""

    def __init__(self, site, line):
        name, batch = line.split()
        self.delivery, _, attempt = name.partition(".")
        self.attempt = int(attempt)
        self.batch = None if batch == "none" else int(batch)
        self.input = read_file(os.path.join(site.out, "runs", name))

    @property
    def numbers(self):
        """The numbers n of the events in it."""
        return [json.loads(line)["data"]["n"] for line in self.input.decode().splitlines()]


class BatchCase(unittest.TestCase):
    def site(self, script=KEEP, batch=10, handler=HANDLER, **handlers):
        settings = {"batch": batch, "retry_schedule": "20ms 20ms", **handlers}
        site = Site({"dispatch": {"start": "off"}, "web": {"rate_limit": "0"}, "handlers": settings}, {handler: script})
        self.addCleanup(site.close)
        return site

    def put(self, site, body, **how):
        answer = site.cgi(body, **how)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["id"]

    def put_many(self, site, count, mark=()):
        return [self.put(site, event(NAME, n=n, mark="poison" if n in mark else "")) for n in range(count)]

    def runs(self, site):
        path = os.path.join(site.out, "order")
        return [Run(site, line) for line in read_file(path).decode().splitlines()] if os.path.exists(path) else []

    def states(self, site):
        """State and attempt of each delivery in order of arrival."""
        return site.query("SELECT state, attempt FROM delivery ORDER BY event_seq")

    def dispatch_to_the_end(self, site):
        def done():
            site.dispatch_once()
            return site.query("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')") == [(0,)]
        wait_for(done, 60, "nothing waits")

    def attempts(self, site, event_id):
        row, = site.tool("events", "show", event_id, "--json")["deliveries"]
        return row["attempts"]


class Input(BatchCase):
    BODIES = [
        b'{"event":"session.completed","n":0}',
        b'{\n  "event": "session.completed",\r\n\t"n": 1\r}\n\n',
        b'\r\n{"event":"session.completed","text":"line\\nbreak\\r\\u000a \\\\n","n":2}\r\n',
        b'{"event":"session.completed",\n"a":[1,\n2,\r\n{"b":\n"c"}],"n":3}',
        '{"event":"session.completed","text":"ä山🎉\u2028\u2029\x7f","n":4}'.encode(),
    ]

    def test_lines(self):
        """at most N waiting events as JSON Lines, in order of arrival; no line break but between them"""
        site = self.site(batch=2)
        for body in self.BODIES:
            self.put(site, body)
        site.dispatch_once()
        runs = self.runs(site)
        self.assertEqual([run.batch for run in runs], [2, 2, 1])
        lines = b"".join(run.input for run in runs).split(b"\n")
        self.assertEqual(lines.pop(), b"", "each line is ended")
        self.assertEqual([json.loads(line) for line in lines], [json.loads(body) for body in self.BODIES])
        self.assertNotIn(b"\r", b"".join(lines))
        for number in (0, 4):
            self.assertEqual(lines[number], self.BODIES[number], "without a line break: byte for byte")
        self.assertEqual(self.states(site), [("success", 1)] * 5)

    def test_one_event(self):
        """one event is a batch of one: a line, and NTRVSTA_BATCH=1"""
        site = self.site(batch=500)
        body = event(NAME, n=1)
        self.put(site, body)
        site.dispatch_once()
        run, = self.runs(site)
        self.assertEqual((run.batch, run.input), (1, body + b"\n"))

    def test_without(self):
        """a handler that has no `batch` gets the body as it came, and no NTRVSTA_BATCH"""
        site = self.site(batch=1)
        for body in self.BODIES:
            self.put(site, body)
        site.dispatch_once()
        self.assertEqual([(run.batch, run.input) for run in self.runs(site)], [(None, body) for body in self.BODIES])

    def test_environment(self):
        """name, id, time and delivery id of a batch are those of its first event"""
        site = self.site('env | grep ^NTRVSTA_ | sort >"$OUT/env"; cat >"$OUT/in"', handler="all/h")
        first = self.put(site, b'{"event":"candidate.invited","timestamp":"2026-01-02T03:04:05Z"}')
        self.put(site, b'{"event":"session.completed","timestamp":"2026-06-07T08:09:10Z"}')
        site.dispatch_once()
        env = dict(line.split("=", 1) for line in site.output("env").decode().splitlines())
        delivery = site.query("SELECT id FROM delivery ORDER BY seq LIMIT 1")[0][0]
        self.assertEqual(env, {
            "NTRVSTA_EVENT": "candidate.invited", "NTRVSTA_EVENT_ID": first, "NTRVSTA_TIMESTAMP": "2026-01-02T03:04:05Z",
            "NTRVSTA_DELIVERY_ID": delivery, "NTRVSTA_ATTEMPT": "1", "NTRVSTA_SOURCE": "ntrvsta",
            "NTRVSTA_HANDLER": "all/h", "NTRVSTA_BATCH": "2"})
        self.assertEqual(site.output("in").count(b"\n"), 2)

    def test_order(self):
        """a large backlog goes through in order of arrival, each event once"""
        site = self.site("cat >>$OUT/all; echo $NTRVSTA_BATCH >>$OUT/batches", batch=300)
        seed.backlog(site, 5000)
        site.dispatch_once()
        seen = [json.loads(line)["data"]["n"] for line in site.output("all").splitlines()]
        self.assertEqual(seen, list(range(1, 5001)))
        batches = [int(n) for n in site.output("batches").split()]
        self.assertLessEqual(max(batches), 300)
        self.assertLess(len(batches), 40, "far from full")

    def test_large_bodies(self):
        """20 bodies of a MiB, and 100: each arrives, and the dispatcher does not hold them all"""
        peaks = []
        for count in (20, 100):
            site = self.site("while read -r line; do printf '%s' \"$line\" | sha256sum; done >>$OUT/sums; echo $NTRVSTA_BATCH"
                             " >>$OUT/batches" if count == 20 else "wc -l >>$OUT/batches", batch=500, timeout="5m")
            body = '{"event":"session.completed","n":%%d,"pad":"%s"}' % ("x" * (MIB - 60))
            seed.backlog(site, count, body=body)
            dispatcher = site.start_dispatcher()
            wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state = 'success'") == [(count,)], 60, "all done")
            peak_kib = peak_kib_of(dispatcher.pid)
            self.assertEqual(self.states(site), [("success", 1)] * count)
            batches = [int(n) for n in site.output("batches").split()]
            self.assertEqual(sum(batches), count)
            self.assertLessEqual(max(batches), 17)
            if count == 20:
                self.assertEqual([line.split()[0].decode() for line in site.output("sums").splitlines()],
                                 [hashlib.sha256((body % n).encode()).hexdigest() for n in range(1, count + 1)])
            peaks.append(peak_kib)
            site.close()
        if not sanitized():
            self.assertLess(max(peaks), 80 * 1024, f"KiB: {peaks}")  # 16 MiB as they are stored, and as lines


class Outcome(BatchCase):
    def test_poison(self):
        """a batch that fails goes on in halves: one poisonous event alone ends as failed"""
        for at in (0, 7, 12, 19):
            with self.subTest(at=at):
                site = self.site(POISON, batch=20)
                self.put_many(site, 20, [at])
                self.dispatch_to_the_end(site)
                states = self.states(site)
                self.assertEqual([n for n, (state, _) in enumerate(states) if state != "success"], [at])
                self.assertEqual(states[at][0], "failed")
                runs = self.runs(site)
                self.assertEqual(runs[0].batch, 20)
                with_it = [run for run in runs if at in run.numbers]
                # Halves down to one; then, alone, the first attempt and both steps of the schedule.
                alone = [run for run in with_it if run.batch == 1]
                self.assertEqual(len(alone), 3, "its own schedule is whole")
                self.assertEqual([run.attempt for run in with_it], list(range(1, len(with_it) + 1)))
                for before, after in zip(with_it, with_it[1:]):
                    self.assertIn(after.batch, {(before.batch + 1) // 2, before.batch // 2, 1})
                done = [n for run in runs for n in run.numbers if at not in run.numbers]
                self.assertEqual(sorted(done), [n for n in range(20) if n != at], "the others once each")

    def test_two_poisons(self):
        """two of them: both alone in the end, all others go through once"""
        site = self.site(POISON, batch=16)
        self.put_many(site, 40, [3, 9])
        self.dispatch_to_the_end(site)
        self.assertEqual([n for n, (state, _) in enumerate(self.states(site)) if state == "failed"], [3, 9])
        good = [n for run in self.runs(site) for n in run.numbers if not {3, 9} & set(run.numbers)]
        self.assertEqual(sorted(good), [n for n in range(40) if n not in (3, 9)])

    def test_recovers(self):
        """a batch that failed for a reason of its own goes through in halves, once that is over"""
        site = self.site(KEEP + '[ -e "$OUT/good" ]')
        self.put_many(site, 9)
        site.dispatch_once()
        open(os.path.join(site.out, "good"), "w").close()
        self.dispatch_to_the_end(site)
        self.assertEqual(self.states(site), [("success", 2)] * 9)
        self.assertEqual([run.numbers for run in self.runs(site)], [list(range(9)), list(range(5)), list(range(5, 9))])

    def test_no_retries(self):
        """without a retry schedule, too, only the poisonous event fails"""
        site = self.site(POISON, retry_schedule="")
        self.put_many(site, 10, [4])
        self.dispatch_to_the_end(site)
        self.assertEqual([state for state, _ in self.states(site)], ["failed" if n == 4 else "success" for n in range(10)])
        self.assertEqual(len([run for run in self.runs(site) if run.numbers == [4]]), 1)

    def test_permanent(self):
        """exit 100: all of the batch are given up"""
        site = self.site(KEEP + "exit 100")
        self.put_many(site, 5)
        site.dispatch_once()
        self.assertEqual(self.states(site), [("failed", 1)] * 5)
        self.assertEqual(len(self.runs(site)), 1)

    def test_timeout(self):
        """a batch that runs out of time is split as well"""
        site = self.site(KEEP + '! grep -q poison "$OUT/runs/$run" || exec sleep 100', batch=8, timeout="150ms",
                         retry_schedule="10ms")
        self.put_many(site, 8, [5])
        self.dispatch_to_the_end(site)
        self.assertEqual([state for state, _ in self.states(site)], ["failed" if n == 5 else "success" for n in range(8)])
        codes = {code for code, in site.query("SELECT error_code FROM attempt WHERE outcome <> 'success'")}
        self.assertEqual(codes, {"timeout"})

    def test_cannot_start(self):
        """a script that can't be started: each event of the batch says so, and runs once it is repaired"""
        site = self.site("#!/no/such/interpreter\n", retry_schedule="100ms 100ms 100ms 100ms 100ms 100ms 100ms")
        events = self.put_many(site, 4)
        site.dispatch_once()
        for ident in events:
            attempt, = self.attempts(site, ident)
            self.assertEqual(attempt["error_code"], "spawn_failed")
        site.handler(HANDLER, KEEP)
        self.dispatch_to_the_end(site)
        self.assertEqual(sorted(n for run in self.runs(site) for n in run.numbers), list(range(4)))


class Record(BatchCase):
    def test_shown_for_each(self):
        """each event shows the attempt with the output of its batch, which is stored once"""
        for code, outcome in ((0, "success"), (1, "retry")):
            with self.subTest(exit=code):
                site = self.site(f'cat >/dev/null; echo "says $NTRVSTA_BATCH"; exit {code}', retry_schedule="1h")
                events = self.put_many(site, 7)
                site.dispatch_once()
                for ident in events:
                    attempt, = self.attempts(site, ident)
                    self.assertEqual((attempt["attempt"], attempt["output"], attempt["exit_code"]), (1, "says 7\n", code))
                rows = site.query("SELECT count(*), sum(length(output) > 0), min(outcome), max(outcome) FROM attempt")
                self.assertEqual(rows, [(7, 1, outcome, outcome)])
                self.assertEqual(len(site.tool("logs", "--json")), len(site.tool("logs", HANDLER, "--json")))

    def test_counted(self):
        """statistics count each event of a batch"""
        site = self.site(POISON, batch=8)
        self.put_many(site, 8, [2])
        self.dispatch_to_the_end(site)
        stats = site.tool("stats", HANDLER, "--json")
        made, failed = site.query("SELECT count(*), sum(outcome <> 'success') FROM attempt")[0]
        self.assertEqual((stats["successful_deliveries"], stats["failed_deliveries"]), (7, 1))
        self.assertEqual(site.query("SELECT sum(attempts), sum(failed_attempts) FROM tally WHERE span = 0"), [(made, failed)])


class Interrupted(BatchCase):
    # The first run of all hangs; later ones don't.
    HANGS = KEEP + 'mkdir "$OUT/hung" 2>/dev/null && exec sleep 1000; true'

    def interrupt(self, count=10, **handlers):
        """A site whose dispatcher was killed inside a batch of COUNT, and COUNT more events that wait."""
        site = self.site(self.HANGS, batch=10, timeout="5m", **handlers)
        for n in range(count):
            self.put(site, event(NAME, n=n))
        dispatcher = site.start_dispatcher()
        wait_for(lambda: os.path.exists(os.path.join(site.out, "hung")), 10, "it runs")
        dispatcher.kill()
        dispatcher.wait()
        for n in range(count, 2 * count):
            self.put(site, event(NAME, n=n))
        return site

    def test_same_group(self):
        """kill -9 of the dispatcher inside a batch: the same events together again, as their second attempt"""
        site = self.interrupt()
        self.dispatch_to_the_end(site)
        first, *others = self.runs(site)
        again, = [run for run in others if run.attempt == 2]
        self.assertEqual((again.delivery, again.input), (first.delivery, first.input))
        self.assertEqual(self.states(site), [("success", 2)] * 10 + [("success", 1)] * 10)
        codes = site.query("SELECT attempt, error_code, count(*) FROM attempt GROUP BY 1, 2 ORDER BY 1, 2 DESC")
        self.assertEqual(codes, [(1, "interrupted", 10), (1, "", 10), (2, "", 10)])

    def test_smaller_batch(self):
        """a group that is larger than the batch of today goes on in pieces of that size"""
        for batch, sizes in ((4, [4, 4, 2]), (1, [None] * 10)):
            with self.subTest(batch=batch):
                site = self.interrupt()
                site.configure({"handlers": {"batch": batch}})
                self.dispatch_to_the_end(site)
                again = [run for run in self.runs(site) if run.attempt == 2]
                self.assertEqual([run.batch for run in again], sizes)
                self.assertEqual([n for run in again for n in run.numbers], list(range(10)))
                self.assertEqual(self.states(site), [("success", 2)] * 10 + [("success", 1)] * 10)

    def test_fails_afterwards(self):
        """a group that was interrupted, and fails then, goes on in halves"""
        site = self.interrupt(retry_schedule="10ms 10ms 10ms")
        site.handler(HANDLER, KEEP + '! grep -q \'"n":3[,}]\' "$OUT/runs/$run"')
        self.dispatch_to_the_end(site)
        self.assertEqual([n for n, (state, _) in enumerate(self.states(site)) if state != "success"], [3])

    def test_kills_its_dispatcher(self):
        """a batch that kills its dispatcher each time: once more as it was, then in halves; the schedule counts only
        what the event did alone, and the others go through"""
        site = self.site(KEEP + 'grep -q poison "$OUT/runs/$run" && kill -9 $PPID; true', batch=4, retry_schedule="1ms 1ms")
        self.put_many(site, 8, [1])
        killed = 0
        for _ in range(30):
            killed += site.tool("dispatch", "--once", check=False).returncode == -signal.SIGKILL
            if site.query("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')") == [(0,)]:
                break
        sizes = [run.batch for run in self.runs(site) if run.input.count(b"poison")]
        self.assertEqual(sizes, [4, 4, 2, 1, 1, 1])
        self.assertEqual(killed, 6)
        self.assertEqual([state for state, _ in self.states(site)], ["success", "failed"] + ["success"] * 6)
        self.assertEqual(self.states(site)[1], ("failed", 6))

    def test_interruptions_do_not_count(self):
        """a batch that was interrupted has all of its schedule left"""
        site = self.interrupt(retry_schedule="10ms 10ms")
        site.handler(HANDLER, 'exit 1')
        self.dispatch_to_the_end(site)
        self.assertEqual({state for state, _ in self.states(site)}, {"failed"})
        alone = site.query("SELECT min(d.attempt - d.grouped), max(d.attempt - d.grouped) FROM delivery d")
        self.assertEqual(alone, [(3, 3)])


if __name__ == "__main__":
    tap.main()
