#!/usr/bin/env python3
"""A name that changes its address while one dispatcher runs, which remembers names and keeps connections: whatever it
remembers, each new connection is judged by where it leads."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import tap  # noqa: E402
from ntrvsta import event, wait_for  # noqa: E402
from receiver import register  # noqa: E402
from test_names import NamesCase  # noqa: E402

CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Rebind(NamesCase):
    def test_same_dispatcher(self):
        """good at the first look-up, bad at the second: refused by connectivity, test and delivery, whoever asks first"""
        for first in ("connectivity", "delivery"):
            with self.subTest(first):
                good = self.receive(host="127.0.0.2", answer=CLOSING)
                bad = self.receive(host="127.0.0.3", port=good.port)
                site = self.make({"turns.example": [["127.0.0.2"], ["127.0.0.3"]]}, allow_private="127.0.0.2", retry_schedule="1h")
                hook = register(site, f"http://turns.example:{good.port}/")
                site.start_dispatcher()
                self.post(site, event(n=1))
                wait_for(lambda: self.attempts(site, hook) == [("", "")], 10, "called while it is good")
                if first == "delivery":  # what is remembered of the name is still good
                    self.post(site, event(n=2))
                    wait_for(lambda: len(self.attempts(site, hook)) == 2, 10, "called again")
                said = site.tool("connectivity", hook, "--json", check=False)  # looks the name up anew
                self.assertRegex(said.stdout, r"127\.0\.0\.3.*allow_private")
                tested = site.tool("test", hook, "session.completed", "--json", check=False)
                self.assertIn("address_refused", tested.stdout)
                self.post(site, event(n=3))
                wait_for(lambda: self.attempts(site, hook)[-1][0] == "address_refused", 10, "refused from then on")
                self.assertEqual((len(good.requests), bad.accepted), (1 + (first == "delivery"), 0))
                site.close()
                self.server.close()

    def test_kept_connection(self):
        """a connection that stands leads to the good address still; the next one is judged"""
        good = self.receive(host="127.0.0.2")
        bad = self.receive(host="127.0.0.3", port=good.port)
        site = self.make({"turns.example": [["127.0.0.2"], ["127.0.0.3"]]}, allow_private="127.0.0.2", retry_schedule="1h")
        hook = register(site, f"http://turns.example:{good.port}/")
        site.start_dispatcher()
        for n in range(2):
            self.post(site, event(n=n))
            wait_for(lambda: len(self.attempts(site, hook)) == n + 1, 10, "called")
            site.tool("connectivity", hook, check=False)  # from here on the name is a bad one
        self.assertEqual(self.attempts(site, hook), [("", "")] * 2)
        self.assertEqual(([q.headers["host"] for q in good.requests], good.accepted), ([f"turns.example:{good.port}"] * 2, 1))
        good.close()
        self.post(site, event(n=2))
        wait_for(lambda: len(self.attempts(site, hook)) == 3, 10, "tried")
        self.assertEqual((self.attempts(site, hook)[2][0], bad.accepted), ("address_refused", 0))


if __name__ == "__main__":
    tap.main()
