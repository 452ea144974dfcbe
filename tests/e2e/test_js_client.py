#!/usr/bin/env python3
"""Code written against the platform's documentation: its calls, in JavaScript, through lighttpd."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import node
import tap
from ntrvsta import Site
from webservers import LighttpdFastCGI

SETTINGS = {"web": {"rate_limit": "0"},
            "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8", "retry_schedule": "500ms"}}


def setUpModule():
    """Skipped with a word where the packages can't be had."""
    if LighttpdFastCGI.missing():
        raise unittest.SkipTest("lighttpd is not installed")
    node.modules()


class JsClient(unittest.TestCase):
    def test_calls(self):
        """the documentation's calls"""
        site = Site(SETTINGS, handlers={"session.completed/10-keep": "cat > /dev/null"})
        self.addCleanup(site.close)
        site.install()
        keys = {scope: site.tool("keys", "create", "--org", "acme", "--scope", scope, "--json")["key"] for scope in ("read", "write")}
        with LighttpdFastCGI(site) as server:
            root = f"http://127.0.0.1:{server.port}"
            node.run(self, "tests/js/client.test.js", {
                "NTRVSTA_URL": root + server.mount, "NTRVSTA_SOURCE": root + server.path, "NTRVSTA_SECRET": site.secret,
                "NTRVSTA_KEY": keys["write"], "NTRVSTA_READ_KEY": keys["read"]})


if __name__ == "__main__":
    tap.main()
