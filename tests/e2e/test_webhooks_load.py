"""Many webhooks, and many calls that wait: each is made, nobody is held up by others, and the dispatcher stays small."""

import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import seed
import tap
from ntrvsta import Site, event, peak_kib_of, sanitized, wait_for
from receiver import ReceiverCase, register, response

PATIENCE = 5 if sanitized() else 1


class LoadCase(ReceiverCase):
    def make(self, in_all=4, **webhooks):
        site = Site({"dispatch": {"start": "off", "concurrency": str(in_all)}, "web": {"rate_limit": "0"},
                     "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8", "retry_schedule": "1h", **webhooks}})
        self.addCleanup(site.close)
        return site

    def states(self, site):
        return dict(site.query("SELECT state, count(*) FROM delivery GROUP BY state"))


class Many(LoadCase):
    def test_thousand_webhooks(self):
        """1 000 webhooks for one event: each is called once"""
        for concurrency in (4, 64):
            with self.subTest(concurrency=concurrency):
                site = self.make(concurrency)
                r = self.receive()
                register(site, *(r.url(f"/{n}") for n in range(1000)))
                self.assertEqual(site.cgi(event()).status, 200)
                begun = time.monotonic()
                site.dispatch_once(timeout=200)
                print(f"# {1000 / (time.monotonic() - begun):.0f} calls/s")
                self.assertEqual(self.states(site), {"success": 1000})
                self.assertEqual(sorted(q.path for q in r.requests), sorted(f"/{n}" for n in range(1000)))
                site.close()
                r.close()

    def test_intake_beside_expansion(self):
        """while 500 events become deliveries to 1 000 webhooks, new ones are stored without a long wait"""
        site = self.make(2)
        r = self.receive()
        register(site, *(r.url(f"/{n}") for n in range(1000)))
        seed.backlog(site, 500)
        site.start_dispatcher()
        waits = []
        while int(site.query("SELECT value FROM meta WHERE key = 'expanded'")[0][0]) < 500:
            begun = time.monotonic()
            self.assertEqual(site.cgi(event(n=len(waits))).status, 200)
            waits.append((time.monotonic() - begun) * 1000)
        print(f"# {len(waits)} events meanwhile: {statistics.median(waits):.0f} ms in the median, {max(waits):.0f} at most")
        self.assertLess(max(waits), 300 * PATIENCE)

    def test_memory(self):
        """the dispatcher's memory does not grow with the calls that wait, nor with large answers"""
        if sanitized():
            self.skipTest("a sanitizer's memory says nothing")
        peaks = []
        for count in (200, 20_000):
            site = self.make(8, concurrency="8")
            r = self.receive(answer=response(500, b"x" * 300_000))
            hook = register(site, r.url())
            seed.backlog(site, count, hook, body='{"event":"x","data":{"n":%d,"text":"' + "y" * 2000 + '"}}')
            dispatcher = site.start_dispatcher()
            wait_for(lambda: site.query("SELECT count(*) FROM attempt")[0][0] >= 200, 60, "200 attempts")
            peaks.append(peak_kib_of(dispatcher.pid))
            site.close()
        print(f"# {peaks[0]} KiB with 200 waiting, {peaks[1]} KiB with 20 000")
        self.assertLess(peaks[1], peaks[0] + 2048)

    def test_long_run(self):
        """nor does it grow with the calls that were made, all on the same few connections"""
        if sanitized():
            self.skipTest("a sanitizer's memory says nothing")
        site = self.make(16, concurrency="16")
        r = self.receive()
        hook = register(site, r.url())
        seed.backlog(site, 50_000, hook)
        dispatcher = site.start_dispatcher()
        done = "SELECT count(*) FROM attempt"
        wait_for(lambda: site.query(done)[0][0] >= 25_000, 100, "25 000 calls")  # SQLite's cache is full then
        early = peak_kib_of(dispatcher.pid)
        wait_for(lambda: site.query(done)[0][0] == 50_000, 100, "all calls")
        late = peak_kib_of(dispatcher.pid)
        print(f"# {early} KiB after 25 000 calls, {late} KiB after 50 000")
        self.assertLess(late, early + 512)
        self.assertEqual(self.states(site), {"success": 50_000})
        self.assertLessEqual(r.accepted, 16, "connections")


class Fairness(LoadCase):
    def dead(self, kind):
        """The URL of somebody who does not answer."""
        if kind == "never answers":
            return self.receive(answer=lambda c, q: time.sleep(60)).url()
        s = socket.socket()
        self.addCleanup(s.close)
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        self.others = [socket.socket() for _ in range(4)]
        for other in self.others:
            self.addCleanup(other.close)
            other.setblocking(False)
            other.connect_ex(s.getsockname())
        return "http://127.0.0.1:%d/" % s.getsockname()[1]

    def test_dead_beside_live(self):
        """10 000 calls wait for one dead endpoint: another is called within 100 ms"""
        for kind in ("never answers", "never accepts"):
            for concurrency in (1, 8):
                with self.subTest(kind, concurrency=concurrency):
                    site = self.make(4, timeout="2s", connect_timeout="1s", retry_schedule="1s 1s 1s 1s 1s 1s",
                                     concurrency=str(concurrency))
                    r = self.receive()
                    dead = register(site, self.dead(kind))
                    register(site, r.url(), events="candidate.invited")
                    seed.backlog(site, 10_000, dead)
                    site.start_dispatcher()
                    wait_for(lambda: self.states(site).get("running", 0) >= min(concurrency, 3), 10, "calls of the dead one")
                    delays = []
                    for n in range(40):
                        sent = time.time()  # the CGI program's own time counts too
                        self.assertEqual(site.cgi(event("candidate.invited", n=n)).status, 200)
                        delays.append((r.wait(n + 1)[n].received - sent) * 1000)
                        time.sleep(0.05)
                    print(f"# {kind}, concurrency {concurrency}: {statistics.median(delays):.1f} ms in the median,"
                          f" {max(delays):.1f} at most")
                    self.assertLess(statistics.median(delays), 100 * PATIENCE, f"ms: {delays}")
                    self.assertGreater(site.query("SELECT count(*) FROM attempt WHERE error_code = 'timeout'")[0][0], 0)
                    site.close()
                    r.close()


if __name__ == "__main__":
    tap.main()
