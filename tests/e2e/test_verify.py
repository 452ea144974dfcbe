"""Our signatures, checked by those who receive them: npm's standardwebhooks and svix, and the check that the platform's
documentation shows, in Node."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import node
import receiver
import tap
from ntrvsta import Site, event
from receiver import register

CHECKS = {"standardwebhooks", "svix", "documented"}


def setUpModule():
    """Skipped with a word where the packages can't be had."""
    node.modules()


class Verify(unittest.TestCase):
    def make(self, secrets):
        site = Site({"dispatch": {"start": "off"}, "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8"}})
        self.addCleanup(site.close)
        env = node.environment({f"SECRET_{name.upper()}": value for name, value in secrets.items()})
        self.node = site.spawn(["node", os.path.join(node.FOLDER, "verify.js")], env=env, stdout=subprocess.PIPE, text=True)
        self.url = "http://127.0.0.1:%d" % int(self.node.stdout.readline())
        return site

    def deliver(self, site, receivers, body):
        """What each receiver made of it: {path: {check: result}}."""
        self.assertEqual(site.cgi(body).status, 200)
        site.dispatch_once()
        lines = [json.loads(self.node.stdout.readline()) for _ in range(receivers)]
        return {line.pop("path"): line for line in lines}

    def test_rotation(self):
        """before, during and after a rotation, receivers with the old and the new secret accept what they should"""
        old, new = receiver.make_secret(), receiver.make_secret()
        site = self.make({"old": old, "new": new})
        hooks = register(site, self.url + "/old", self.url + "/new", secret=old)
        standard = {"standardwebhooks", "svix"}
        steps = (  # who accepts: (with the old secret, with the new one)
            ("before", lambda hook: None, (CHECKS, set())),
            ("during", lambda hook: receiver.rotate(site, hook, new), (standard, CHECKS)),  # in hex the newest signs
            ("after", lambda hook: receiver.end_overlap(site, hook), (set(), CHECKS)))
        for n, (when, change, accepting) in enumerate(steps):
            for hook in hooks:
                change(hook)
            seen = self.deliver(site, 2, event(n=n, text="ü € \\u00fc 😀"))
            for path, wanted in zip(("/old", "/new"), accepting):
                with self.subTest(when, receiver=path):
                    self.assertEqual({name for name, result in seen[path].items() if result is True}, wanted, seen)

    def test_bodies(self):
        """bodies of any kind are accepted: blanks around, large, of other languages"""
        secret = receiver.make_secret()
        site = self.make({"it": secret})
        register(site, self.url + "/it", secret=secret)
        bodies = (event(), b" \r\n" + event(n=1) + b"\n\n", event(n=2, text="x" * 300_000),
                  '{"event":"session.completed","data":{"text":"日本語 ü \u2028"}}'.encode())
        for body in bodies:
            self.assertEqual(self.deliver(site, 1, body), {"/it": dict.fromkeys(CHECKS, True)})


if __name__ == "__main__":
    tap.main()
