#!/usr/bin/env python3
"""Receivers that answer in unusual ways, good and bad: what is made of it."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import tap  # noqa: E402
from test_webhooks import WebhookCase  # noqa: E402


class Forms(WebhookCase):
    HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ROWS = (  # what, answer, outcome, error
        ("chunks", HEAD + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "success", ""),
        ("chunks and a trailer", HEAD + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "success", ""),
        ("chunks that break off", HEAD + b"3\r\nabc\r\n8\r\nd", "retry", "connection"),
    )

    def test_forms(self):
        """an answer counts in each form that HTTP has for it, whole"""
        for what, answer, outcome, error in self.ROWS:
            with self.subTest(what):
                r = self.receive(answer=lambda c, q, a=answer: c.sendall(a))
                _, _, made = self.call_once(r.url())
                self.assertEqual((made.outcome, made.error, made.status), (outcome, error, 200), made)


if __name__ == "__main__":
    tap.main()
