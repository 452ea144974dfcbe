#!/usr/bin/env python3
"""kill -9 of the dispatcher again and again, with calls in flight to several webhooks under load: each event reaches each
of them at least once, always as the same delivery, and nothing is stuck."""

import collections
import itertools
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import fastcgi  # noqa: E402
import tap  # noqa: E402
from ntrvsta import Site, sign, wait_for  # noqa: E402
from receiver import ReceiverCase, register, secrets_of  # noqa: E402
from test_crash import SEED, Load  # noqa: E402

ROUNDS = 24
SETTINGS = {
    "web": {"rate_limit": "0"},
    "dispatch": {"start": "off", "concurrency": "8"},
    "webhooks": {"allow_http": "on", "allow_private": "127.0.0.1", "concurrency": "4", "timeout": "2s",
                 "retry_schedule": " ".join(["50ms"] * 20 + ["1s"] * 20)},
}


class Crash(ReceiverCase):
    def setUp(self):
        self.site = Site(SETTINGS)
        self.addCleanup(self.site.close)

    def unfinished(self):
        new = self.site.query("SELECT count(*) FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')")
        return new[0][0] + self.site.query("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')")[0][0]

    def kill_under_load(self, chance):
        """Events come all the time, dispatchers come and go; the ids and bodies of what was answered 200."""
        program = fastcgi.Program(self.site)
        self.addCleanup(program.close)
        load = Load(program, threads=2)
        try:
            for _ in range(ROUNDS):
                child = self.site.start_dispatcher()
                time.sleep(chance.uniform(0.02, 0.3))
                child.kill()
                child.wait()
        finally:
            load.stop()
        return load.accepted

    def test_kill_under_load(self):
        """24 rounds of kill -9 with calls in flight: at least once, the same delivery id, signed each time, attempts counted"""
        chance = random.Random(SEED)
        statuses = itertools.cycle((200, 200, 500))
        receivers = {"quick": self.receive(), "slow": self.receive(answer=lambda c, q: time.sleep(0.03) or 200),
                     "failing now and then": self.receive(answer=lambda c, q: next(statuses))}
        hooks = dict(zip(receivers, register(self.site, *(r.url() for r in receivers.values()))))
        accepted = self.kill_under_load(chance)
        self.assertGreater(len(accepted), ROUNDS * 2, "too few events to tell anything")
        self.site.start_dispatcher()
        wait_for(lambda: self.unfinished() == 0, 120, "nothing waits any more")
        self.assertEqual(self.site.query("SELECT count(*) FROM delivery WHERE state <> 'success'"), [(0,)])
        again = 0
        for name, r in receivers.items():
            with self.subTest(name):
                seen = collections.defaultdict(list)
                for q in r.requests:
                    seen[q.headers["webhook-id"]].append(q)
                self.assertEqual(set(accepted) - set(seen), set(), "answered with 200 and never delivered")
                made = dict(self.site.query("SELECT d.id, count(*) FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq"
                                            " JOIN target t ON t.id = d.target WHERE t.name = ? GROUP BY d.id", hooks[name]))
                secret, = secrets_of(self.site, hooks[name])
                for ident, requests in seen.items():
                    delivery, = {q.headers["x-ntrvsta-delivery"] for q in requests}
                    self.assertLessEqual(len(requests), made[delivery], "each call is an attempt that was counted")
                    self.assertEqual({q.body for q in requests} - {accepted.get(ident, requests[0].body)}, set())
                    self.assertEqual({q.headers["x-ntrvsta-signature"] for q in requests}, {sign(requests[0].body, secret)})
                    again += len(requests) - 1
        print(f"# {len(accepted)} events, {again} calls made again")
        self.assertGreater(self.site.query("SELECT count(*) FROM attempt WHERE error_code = 'interrupted'")[0][0], 0,
                           "no call was in flight at any time")


if __name__ == "__main__":
    tap.main()
