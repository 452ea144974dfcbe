#!/usr/bin/env python3
"""doc/openapi.yaml, judged by a linter from npm."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import node
import ntrvsta
import tap

DOCUMENT = os.path.join(ntrvsta.SRCDIR, "doc", "openapi.yaml")


def setUpModule():
    """Skipped with a word where the packages can't be had."""
    node.modules()


def findings(path):
    done = subprocess.run(["node", os.path.join(node.FOLDER, "lint.js"), path], env=node.environment(),
                          capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


class Lint(unittest.TestCase):
    def test_nothing(self):
        """the linter finds nothing in the document"""
        self.assertEqual(findings(DOCUMENT), [])

    def test_something(self):
        """it would: a reference into nothing, an operation without name, a parameter that is not said"""
        text = ntrvsta.read_file(DOCUMENT).decode()
        for rule, old, new in (
                ("no-unresolved-refs", "schemas/WebhookPage\"", "schemas/NoPage\""),
                ("operation-operationId", "      operationId: getHealth\n", ""),
                ("path-parameters-defined", "  /v1/webhooks/{id}:\n", "  /v1/webhooks/{name}:\n"),
                ("struct", "  title: ntrvsta-fcgi management API\n", "")):
            with self.subTest(rule), tempfile.NamedTemporaryFile("w", suffix=".yaml") as spoiled:
                self.assertIn(old, text)
                spoiled.write(text.replace(old, new, 1))
                spoiled.flush()
                self.assertIn(rule, " ".join(findings(spoiled.name)))


if __name__ == "__main__":
    tap.main()
