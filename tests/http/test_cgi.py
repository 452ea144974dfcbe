#!/usr/bin/env python3
"""The program as plain CGI: nothing but environment variables and a body."""

import base64
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ntrvsta
import tap
from ntrvsta import PATH, SECRET, Site, event, sign, wait_for

EVENT_ID = re.compile(r"evt_[0-9a-hjkmnp-tv-z]{26}")
STATUS = {
    "not_found": 404, "method_not_allowed": 405, "rate_limited": 429, "length_required": 411,
    "bad_length": 400, "body_too_large": 413, "unsupported_media_type": 415, "short_body": 400,
    "missing_signature": 401, "invalid_signature": 401, "invalid_json": 400, "invalid_event": 400,
    "too_old": 400, "not_configured": 503, "store_unavailable": 503, "store_full": 503,
}
QUIET = {"dispatch": {"start": "off"}}  # these tests look at intake only
VECTORS = os.path.join(ntrvsta.SRCDIR, "tests", "data", "ntrvsta-signatures.json")


class CgiTest(unittest.TestCase):
    def site(self, settings=None, **how):
        site = Site({**QUIET, **(settings or {})}, **how)
        self.addCleanup(site.close)
        return site

    def assertRefused(self, answer, code):
        """ANSWER is the contract's answer for CODE, in full."""
        self.assertEqual((answer.status, answer.code), (STATUS[code], code), answer)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        problem = answer.json
        self.assertEqual(problem["status"], STATUS[code])
        for member in ("type", "title", "detail"):
            self.assertIsInstance(problem[member], str)
            self.assertTrue(problem[member], member)
        self.assertEqual(answer.exit_code, 0, answer)
        if code == "method_not_allowed":
            self.assertEqual(answer.headers["allow"], "POST")
        if STATUS[code] in (429, 503):
            self.assertRegex(answer.headers["retry-after"], r"^[1-9][0-9]*$")

    def assertAccepted(self, answer, duplicate=False):
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(set(answer.json), {"id", "status", "duplicate"})
        self.assertRegex(answer.json["id"], f"^{EVENT_ID.pattern}$")
        self.assertEqual(answer.json["status"], "accepted")
        self.assertIs(answer.json["duplicate"], duplicate)
        self.assertEqual(answer.exit_code, 0, answer)
        return answer.json["id"]


class Receiving(CgiTest):
    @classmethod
    def setUpClass(cls):
        cls.shared = Site(QUIET)
        cls.addClassCleanup(cls.shared.close)

    def call(self, body=None, **how):
        return self.shared.cgi(event(nonce=os.urandom(8).hex()) if body is None else body, **how)

    def test_accepted(self):
        """a signed event is accepted and on disk, byte for byte"""
        body = b' {"event" : "session.completed",\n\t"data":{"name":"Zo\xc3\xab \\u5c71","x":1.50e+3, "x":2}}\r\n'
        answer = self.call(body)
        ident = self.assertAccepted(answer)
        self.assertIn((ident, "ntrvsta", "session.completed", body), self.shared.stored())
        self.assertEqual(answer.stderr, b"")

    def test_ids_sort(self):
        """ids sort by the time of arrival"""
        ids = [self.assertAccepted(self.call()) for _ in range(5)]
        self.assertEqual(ids, sorted(ids))

    def test_paths(self):
        """the path decides, whatever the web server calls its parts"""
        for script, path, query, found in [
            ("", PATH, "", True),
            ("", PATH + "/", "", True),
            ("", PATH, "a=b&c", True),
            ("", PATH, "-h", True),
            ("", PATH, "--help", True),
            ("", PATH, "--config=/dev/null", True),
            ("/webhooks", "/ntrvsta", "", True),
            ("/webhooks", "/ntrvsta/", "", True),
            (PATH, "", "", True),
            (PATH, None, "", True),
            ("/hooks", PATH, "", True),
            ("/~me/ntrvsta.cgi", PATH, "", True),
            ("", "/", "", False),
            ("", "", "", False),
            ("", None, "", False),
            ("", "/webhooks", "", False),
            ("", "/webhooks/", "", False),
            ("", "/webhooks//ntrvsta", "", False),
            ("", "//webhooks/ntrvsta", "", False),
            ("", PATH + "//", "", False),
            ("", PATH + "/x", "", False),
            ("", PATH + "x", "", False),
            ("", "/webhooks/ntrvst", "", False),
            ("", "/WEBHOOKS/NTRVSTA", "", False),
            ("", "/webhooks/./ntrvsta", "", False),
            ("", "/webhooks/%6etrvsta", "", False),
            ("/hooks", "", "", False),
            ("", "/nope", "x=" + PATH, False),
            ("/nope", "/x" + PATH, "", False),
        ]:
            with self.subTest(f"SCRIPT_NAME {script!r} PATH_INFO {path!r} query {query!r}"):
                uri = f"{script}{path or ''}?{query}"
                answer = self.call(script=script, path=path, query=query, env={"REQUEST_URI": uri})
                if found:
                    self.assertAccepted(answer)
                else:
                    self.assertRefused(answer, "not_found")

    def test_arguments(self):
        """what a web server makes of ?-h, command line arguments, is not looked at"""
        for args in (["-h"], ["--help"], ["--config=/dev/null"], ["--config", "/dev/null"], ["--version"]):
            with self.subTest(" ".join(args)):
                body = event(nonce=os.urandom(8).hex())
                child = subprocess.run([ntrvsta.FCGI, *args], input=body, capture_output=True, timeout=60,
                                       env=self.shared.environment(self.shared.request(body)))
                self.assertAccepted(ntrvsta.parse_response(child.stdout, exit_code=child.returncode))

    def test_methods(self):
        """any method but POST is refused, with Allow"""
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "POSTS", ""):
            with self.subTest(method or "empty"):
                answer = self.call(method=method)
                if method == "HEAD":
                    self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
                else:
                    self.assertRefused(answer, "method_not_allowed")

    def test_get_without_anything(self):
        """a browser's GET is told that it wants POST"""
        answer = self.call(b"", method="GET", length=None, content_type=None, signature=None)
        self.assertRefused(answer, "method_not_allowed")

    def test_lengths(self):
        """CONTENT_LENGTH is a plain number of bytes"""
        body = event(nonce="lengths")
        for length, code in [
            (None, "length_required"), ("", "length_required"),
            ("-1", "bad_length"), ("1e3", "bad_length"), ("99999999999999999999", "bad_length"),
            ("18446744073709551616", "bad_length"), ("+5", "bad_length"), ("0x10", "bad_length"),
            (f"{len(body)} ", "bad_length"), (f" {len(body)}", "bad_length"), (f"{len(body)}abc", "bad_length"),
            (f"{len(body)},{len(body)}", "bad_length"), ("5.0", "bad_length"), ("nan", "bad_length"),
            ("\u0663", "bad_length"),
            ("9223372036854775807", "body_too_large"), (str(len(body) + 1), "short_body"),
            (str(len(body) + 1000), "short_body"),
            (str(len(body) - 1), "invalid_signature"),  # the signature covers what was not announced
        ]:
            with self.subTest(repr(length)):
                self.assertRefused(self.call(body, length=length), code)
        self.assertNotIn(body, [row[3] for row in self.shared.stored()])

    def test_length_zero(self):
        """an empty body is judged as one: signature first, then JSON"""
        self.assertRefused(self.call(b"", signature=None), "missing_signature")
        self.assertRefused(self.call(b"", signature="0" * 64), "invalid_signature")
        self.assertRefused(self.call(b""), "invalid_json")
        self.assertRefused(self.call(event(), length="0"), "invalid_signature")

    def test_leading_zeros(self):
        """leading zeros in CONTENT_LENGTH change nothing"""
        body = event(nonce="zeros")
        self.assertAccepted(self.call(body, length=f"000{len(body)}"))

    def test_more_than_announced(self):
        """what arrives behind the announced length is no part of the event"""
        body = event(nonce="more")
        self.assertAccepted(self.call(body, send=body + b"GET / HTTP/1.1\r\n\r\n", length=str(len(body))))
        self.assertIn(body, [row[3] for row in self.shared.stored()])

    def test_short_body_not_stored(self):
        """nothing is stored of a body that was cut off, even where the part is signed"""
        whole = event(nonce="short-of-it")
        part = event(nonce="short")
        before = self.shared.stored()
        answer = self.call(part, length=str(len(part) + len(whole)))
        self.assertRefused(answer, "short_body")
        self.assertEqual(self.shared.stored(), before)

    def test_media_types(self):
        """application/json, with any parameters, and nothing else"""
        for value, good in [
            ("application/json", True), ("application/json; charset=utf-8", True),
            ("application/json;charset=UTF-8", True), ("Application/JSON", True),
            ("application/json ; x=y", True), ("application/json;", True),
            (None, False), ("", False), ("text/plain", False), ("application/x-www-form-urlencoded", False),
            ("multipart/form-data; boundary=x", False), ("application/jsonp", False), ("application/jso", False),
            ("application/json-patch+json", False), ("application/problem+json", False), ("text/json", False),
            ("application/json, text/plain", False), ("text/plain; application/json", False),
            ("application/json charset=utf-8", False), ("*/*", False),
        ]:
            with self.subTest(repr(value)):
                answer = self.call(content_type=value)
                if good:
                    self.assertAccepted(answer)
                else:
                    self.assertRefused(answer, "unsupported_media_type")

    def test_json(self):
        """the body is one JSON object in valid UTF-8"""
        named = b'"event":"session.completed"'
        deep = 10000
        for what, body, code in [
            ("array", b'[{"event":"session.completed"}]', "invalid_json"),
            ("number", b"12", "invalid_json"), ("string", b'"session.completed"', "invalid_json"),
            ("null", b"null", "invalid_json"), ("true", b"true", "invalid_json"),
            ("blank", b"  \n", "invalid_json"), ("truncated", b'{"event":"session.completed"', "invalid_json"),
            ("two objects", b"{" + named + b"}{}", "invalid_json"),
            ("trailing comma", b"{" + named + b",}", "invalid_json"),
            ("trailing text", b"{" + named + b"} x", "invalid_json"),
            ("comment", b"{" + named + b"/**/}", "invalid_json"),
            ("single quotes", b"{'event':'session.completed'}", "invalid_json"),
            ("NaN", b"{" + named + b',"x":NaN}', "invalid_json"),
            ("leading zero", b"{" + named + b',"x":01}', "invalid_json"),
            ("BOM", b"\xef\xbb\xbf{" + named + b"}", "invalid_json"),
            ("NUL behind it", b"{" + named + b"}\0", "invalid_json"),
            ("NUL in a string", b"{" + named + b',"x":"\0"}', "invalid_json"),
            ("newline in a string", b"{" + named + b',"x":"\n"}', "invalid_json"),
            ("invalid UTF-8", b"{" + named + b',"x":"\xff"}', "invalid_json"),
            ("overlong UTF-8", b"{" + named + b',"x":"\xc0\xaf"}', "invalid_json"),
            ("UTF-8 surrogate", b"{" + named + b',"x":"\xed\xa0\x80"}', "invalid_json"),
            ("UTF-16", '{"event":"session.completed"}'.encode("utf-16"), "invalid_json"),
            ("deep and not closed", b"{" + named + b',"x":' + b"[" * deep, "invalid_json"),
            ("10 000 levels", b"{" + named + b',"x":' + b"[" * deep + b"]" * deep + b"}", None),
            ("10 000 objects", b"{" + named + b',"x":' + b'{"a":' * deep + b"1" + b"}" * deep + b"}", None),
            ("escaped NUL", b"{" + named + b',"x":"\\u0000"}', None),
            ("lone surrogate", b"{" + named + b',"x":"\\ud800"}', None),
            ("number of 400 digits", b"{" + named + b',"x":' + b"9" * 400 + b"}", None),
            ("huge exponent", b"{" + named + b',"x":1e99999}', None),
            ("duplicate keys", b"{" + named + b',"x":1,"x":2}', None),
            ("white space", b"\r\n\t {" + named + b"} \n", None),
            ("no data", b"{" + named + b"}", None), ("data is null", b"{" + named + b',"data":null}', None),
            ("unknown event", b'{"event":"moon.landed_2"}', None),
            ("unknown fields", b"{" + named + b',"surprise":[{}]}', None),
        ]:
            with self.subTest(what):
                answer = self.call(body)
                if code:
                    self.assertRefused(answer, code)
                else:
                    self.assertAccepted(answer)

    def test_event_names(self):
        """an event's name is dotted lower-case words, at most 64 bytes"""
        self.assertAccepted(self.call(event()))
        self.assertRefused(self.call(b"[]"), "invalid_json")  # the first one makes the file where they are counted
        before = sorted(os.listdir(self.shared.root)), sorted(os.listdir(self.shared.state))
        for name, good in [
            ("a", True), ("a_1.b_2.c", True), ("0", True), ("x" * 64, True), ("a." * 31 + "ab", True),
            ("", False), ("x" * 65, False), ("../../etc/passwd", False), ("a/b", False), ("a..b", False),
            (".a", False), ("a.", False), ("-rf", False), ("a\nb", False), ("a\n", False), ("a b", False),
            ("Session.Completed", False), ("sess\u00efon", False), ("a\0b", False), ("$(id)", False), ("a;b", False),
            ("all", True),  # a folder's name, but only a folder of handlers for every event
        ]:
            with self.subTest(ascii(name)):
                answer = self.call(json.dumps({"event": name, "n": "names"}).encode())
                if good:
                    self.assertAccepted(answer)
                else:
                    self.assertRefused(answer, "invalid_event")
        self.assertEqual((sorted(os.listdir(self.shared.root)), sorted(os.listdir(self.shared.state))), before)

    def test_where_the_name_is(self):
        """the name is the body's event, else its type, else X-Ntrvsta-Event"""
        for body, header, name in [
            ({"event": "a.event", "type": "a.type"}, "a.header", "a.event"),
            ({"type": "a.type"}, "a.header", "a.type"),
            ({"type": "a.type"}, None, "a.type"),
            ({}, "a.header", "a.header"),
            ({"data": {"event": "inner.event"}}, "a.header", "a.header"),
            ({}, None, None), ({}, "", None), ({}, "A B", None), ({}, "../x", None),
            ({"event": ""}, "a.header", None), ({"event": 5}, "a.header", None),
            ({"event": None, "type": "a.type"}, None, None),
            ({"event": ["a.event"]}, None, None),
        ]:
            with self.subTest(f"{body} {header}"):
                body = {**body, "n": os.urandom(4).hex()}
                headers = {"X-Ntrvsta-Event": header} if header is not None else {}
                answer = self.call(json.dumps(body).encode(), headers=headers)
                if name:
                    ident = self.assertAccepted(answer)
                    self.assertEqual([row[2] for row in self.shared.stored() if row[0] == ident], [name])
                else:
                    self.assertRefused(answer, "invalid_event")

    def test_stdin(self):
        """the body may come from a pipe, a file or a socket of the web server"""
        for what in ("pipe", "file", "socket"):
            with self.subTest(what):
                body = event(nonce=what)
                if what == "file":
                    answer = self.call(body)
                    self.assertAccepted(answer)
                    continue
                if what == "pipe":
                    theirs, ours = os.pipe()
                else:
                    a, b = socket.socketpair()
                    theirs, ours = a.detach(), b.detach()
                try:
                    child = self.shared.start_cgi(body, stdin=theirs)
                    for at in range(0, len(body), 7):
                        os.write(ours, body[at:at + 7])
                    out, _ = child.communicate(timeout=60)
                finally:
                    os.close(theirs)
                    os.close(ours)
                self.assertAccepted(ntrvsta.parse_response(out, exit_code=child.returncode))

    def test_refused_body_is_taken(self):
        """a web server can write a body that is refused unread: Apache drops the answer where it can't"""
        site = self.site({"source ntrvsta": {"max_body": "10K"}})
        body = b"x" * 500000
        for code, how in [("not_found", {"path": "/nope"}), ("method_not_allowed", {"method": "PUT"}),
                          ("body_too_large", {}), ("unsupported_media_type", {"content_type": "text/plain", "length": "9999"}),
                          ("length_required", {"length": None, "env": {"HTTP_TRANSFER_ENCODING": "chunked"}})]:
            with self.subTest(code):
                sent = body[:9999] if how.get("length") else body
                child = site.start_cgi(body, **how)
                child.stdin.write(sent)  # would raise BrokenPipeError
                child.stdin.close()
                child.stdin = None
                out, _ = child.communicate(timeout=60)
                self.assertRefused(ntrvsta.parse_response(out, exit_code=child.returncode), code)

    def test_closed_descriptors(self):
        """standard error closed, as some web servers start programs, does no harm"""
        body = event(nonce="closed")
        child = subprocess.run(["/bin/sh", "-c", f"exec '{ntrvsta.FCGI}' 2>&-"], input=body, stdout=subprocess.PIPE,
                               env=self.shared.environment(self.shared.request(body)), timeout=60)
        self.assertAccepted(ntrvsta.parse_response(child.stdout, exit_code=child.returncode))

    def test_least_environment(self):
        """no REMOTE_ADDR, no SERVER_*, no HTTP_*, no HOME, no PATH: still an answer"""
        body = event(nonce="least")
        env = {"NTRVSTA_CONF": self.shared.conf, "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST",
               "PATH_INFO": PATH, "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json",
               "HTTP_X_NTRVSTA_SIGNATURE": sign(body), **ntrvsta.SANITIZER_ENV}
        child = subprocess.run([ntrvsta.FCGI], input=body, capture_output=True, env=env, timeout=60)
        self.assertAccepted(ntrvsta.parse_response(child.stdout, exit_code=child.returncode))


class Order(CgiTest):
    def test_first_failing_check_answers(self):
        """of several faults the first in the contract's order answers"""
        limited = {"web": {"rate_limit": "1/h"}, "source ntrvsta": {"max_age": "1h", "max_body": "1K"}}
        old = json.dumps({"event": "Bad Name", "timestamp": "2001-01-01T00:00:00Z"}).encode()
        faults = [
            ("not_found", {"path": "/nope"}),
            ("method_not_allowed", {"method": "PUT"}),
            ("rate_limited", {"env": {"REMOTE_ADDR": "192.0.2.1"}}),
            ("length_required", {"length": None}),
            ("bad_length", {"length": "-1"}),
            ("body_too_large", {"length": "1025"}),
            ("unsupported_media_type", {"content_type": "text/plain"}),
            ("short_body", {"send": b""}),
            ("missing_signature", {"signature": None}),
            ("invalid_signature", {"signature": "0" * 64}),
            ("invalid_json", {"body": b"[]" + old}),
            ("invalid_event", {"body": old}),
            ("too_old", {"body": old.replace(b"Bad Name", b"good.name")}),
        ]
        site = self.site(limited)
        for n in range(2):  # all that 192.0.2.1 may call in this hour
            self.assertAccepted(site.cgi(b'{"event":"first.%d"}' % n, env={"REMOTE_ADDR": "192.0.2.1"}))
        for at, (code, _) in enumerate(faults):
            with self.subTest(code):
                # Each client has an address of its own, where the limit is not the fault.
                how = {"body": event(), "env": {"REMOTE_ADDR": f"198.51.100.{at}"}}
                for _, fault in reversed(faults[at:]):
                    how.update(fault)
                self.assertRefused(site.cgi(how.pop("body"), **how), code)
        self.assertEqual(len(site.stored()), 2)


class Limits(CgiTest):
    def test_max_body(self):
        """a body of exactly max_body passes, one byte more does not"""
        site = self.site({"source ntrvsta": {"max_body": "4K"}})
        frame = b'{"event":"size.test","x":""}'
        exact = frame.replace(b'""', b'"' + b"y" * (4096 - len(frame)) + b'"')
        self.assertEqual(len(exact), 4096)
        self.assertAccepted(site.cgi(exact))
        self.assertRefused(site.cgi(exact + b" "), "body_too_large")
        self.assertEqual([row[3] for row in site.stored()], [exact])

    def test_default_max_body(self):
        """the default of max_body is 1 MiB, and a string may fill it"""
        site = self.site()
        frame = b'{"event":"size.test","x":""}'
        exact = frame.replace(b'""', b'"' + b"y" * ((1 << 20) - len(frame)) + b'"')
        self.assertAccepted(site.cgi(exact))
        self.assertRefused(site.cgi(exact + b" "), "body_too_large")
        self.assertEqual([row[3] for row in site.stored()], [exact])

    def test_announced_gibibyte(self):
        """1 GiB announced: refused without reading, memory flat"""
        site = self.site()
        usual = site.cgi(event())
        self.assertAccepted(usual)
        reader, writer = os.pipe()  # nothing ever comes, and it never ends
        try:
            child = site.start_cgi(b"", length=str(1 << 30), stdin=reader)
            status, peak = ntrvsta.reap(child, 20)
            answer = ntrvsta.parse_response(child.stdout.read(), exit_code=status)
        finally:
            os.close(reader)
            os.close(writer)
            ntrvsta.stop(child)
        self.assertRefused(answer, "body_too_large")
        self.assertLess(peak, usual.peak_kib + 4096)

    def test_announced_and_not_sent(self):
        """memory is not spent on what was announced and did not come"""
        site = self.site({"source ntrvsta": {"max_body": "64M"}})
        usual = site.cgi(event())
        answer = site.cgi(event(), length=str(60 << 20))
        self.assertRefused(answer, "short_body")
        self.assertLess(answer.peak_kib, usual.peak_kib + 8192)

    def test_rate_limit(self):
        """a client over its rate and burst, which is twice that: 429 with Retry-After, across CGI processes"""
        site = self.site({"web": {"rate_limit": "1/h"}})
        one, other = {"env": {"REMOTE_ADDR": "192.0.2.1"}}, {"env": {"REMOTE_ADDR": "192.0.2.2"}}
        self.assertAccepted(site.cgi(event(n=1), **one))
        self.assertAccepted(site.cgi(event(n=2), **one))
        answer = site.cgi(event(n=3), **one)
        self.assertRefused(answer, "rate_limited")
        self.assertGreater(int(answer.headers["retry-after"]), 3000)
        self.assertAccepted(site.cgi(event(n=3), **other))
        self.assertEqual(len(site.stored()), 3)

    def test_rate_limit_counts_refused(self):
        """calls that are refused count as well: nobody may try signatures at will"""
        site = self.site({"web": {"rate_limit": "1/h"}})
        for digit in "01":
            self.assertRefused(site.cgi(event(), signature=digit * 64), "invalid_signature")
        self.assertRefused(site.cgi(event(), signature="2" * 64), "rate_limited")

    def test_refused_limit(self):
        """wrong signatures have a limit of their own, beyond which they are refused all the same; a right one passes"""
        site = self.site({"web": {"refused_limit": "1/h"}})
        for digit in "01":
            self.assertRefused(site.cgi(event(), signature=digit * 64), "invalid_signature")
        answer = site.cgi(event(), signature="2" * 64)
        self.assertRefused(answer, "rate_limited")
        self.assertGreater(int(answer.headers["retry-after"]), 3000)
        self.assertRefused(site.cgi(event(), signature=None), "rate_limited")
        self.assertAccepted(site.cgi(event()))
        self.assertRefused(site.cgi(event(), signature="2" * 64, env={"REMOTE_ADDR": "192.0.2.9"}), "invalid_signature")

    def test_refused_limit_off(self):
        """refused_limit = 0 is no limit"""
        site = self.site({"web": {"refused_limit": "0", "rate_limit": "0"}})
        for n in range(25):
            self.assertRefused(site.cgi(event(n=n), signature="0" * 64), "invalid_signature")

    def test_trusted_proxies(self):
        """X-Forwarded-For tells who calls where a trusted proxy sent it, and nothing where anybody else did"""
        site = self.site({"web": {"rate_limit": "1/h", "trusted_proxies": "10.0.0.0/8"}})
        def call(n, remote, forwarded):
            return site.cgi(event(n=n), env={"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded})
        for n in range(6):
            self.assertAccepted(call(n, "10.0.0.1", f"203.0.113.{n}"))
        self.assertAccepted(call(6, "10.0.0.2", "203.0.113.0"))
        answer = call(7, "10.0.0.3", "198.51.100.1, 203.0.113.0")
        self.assertRefused(answer, "rate_limited")
        self.assertIn(b"address=203.0.113.0 ", answer.stderr)
        for n in (8, 9):
            self.assertAccepted(call(n, "192.0.2.1", f"203.0.113.{n}"))
        self.assertRefused(call(10, "192.0.2.1", "203.0.113.10"), "rate_limited")

    def test_rate_limit_passes_again(self):
        """one second later as many pass as the rate has in a second"""
        site = self.site({"web": {"rate_limit": "1/s"}})
        statuses = [site.cgi(event(n=n)).status for n in range(6)]
        self.assertEqual(statuses[:2], [200, 200])
        answer = wait_for(lambda: (a := site.cgi(event(n="again"))).status == 200 and a, 5, "it passes again")
        self.assertAccepted(answer)

    def test_rate_limit_ipv6(self):
        """an IPv6 client has its /64"""
        site = self.site({"web": {"rate_limit": "1/h"}})
        for n, (address, passes) in enumerate([("2001:db8::1", True), ("2001:db8::ffff:2", True), ("2001:db8::3", False),
                                               ("2001:db8:0:1::1", True)]):
            answer = site.cgi(event(n=n), env={"REMOTE_ADDR": address})
            if passes:
                self.assertAccepted(answer)
            else:
                self.assertRefused(answer, "rate_limited")

    def test_rate_limit_off(self):
        """rate_limit = 0 is no limit"""
        site = self.site({"web": {"rate_limit": "0"}})
        for n in range(12):
            self.assertAccepted(site.cgi(event(n=n)))

    def test_max_age(self):
        """max_age refuses what was signed long ago, and says nothing to events without a time"""
        site = self.site({"source ntrvsta": {"max_age": "1h"}})
        now = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True).stdout.strip()
        for stamp, code in [("2001-01-01T00:00:00Z", "too_old"), ("2001-01-01T02:00:00.5+02:00", "too_old"),
                            (now, None), (None, None), ("yesterday", None)]:
            with self.subTest(str(stamp)):
                body = json.dumps({"event": "age.test", **({"timestamp": stamp} if stamp else {})}).encode()
                answer = site.cgi(body)
                if code:
                    self.assertRefused(answer, code)
                else:
                    self.assertAccepted(answer)


class Duplicates(CgiTest):
    def setUp(self):
        self.one = self.site({"source other": {"path": "/other", "secret_file": "secret"}})

    def call(self, body, **how):
        return self.one.cgi(body if isinstance(body, bytes) else json.dumps(body).encode(), **how)

    def test_same_body(self):
        """the same body again: 200, the first one's id, stored once"""
        first = self.assertAccepted(self.call(event()))
        for _ in range(3):
            self.assertEqual(self.assertAccepted(self.call(event()), duplicate=True), first)
        self.assertEqual(len(self.one.stored()), 1)

    def test_another_body(self):
        """another body, be it by one blank, is another event"""
        self.assertAccepted(self.call(b'{"event":"a.b"}'))
        self.assertAccepted(self.call(b'{"event":"a.b" }'))

    def test_identity(self):
        """source, event name and id identify an event where it has an id"""
        for what, first, second, duplicate in [
            ("id", {"event": "a.b", "id": "x1", "n": 1}, {"event": "a.b", "id": "x1", "n": 2}, True),
            ("integer id", {"event": "a.b", "id": 71, "n": 1}, {"event": "a.b", "id": 71, "n": 2}, True),
            ("resultId", {"event": "a.b", "resultId": "r1", "n": 1}, {"event": "a.b", "resultId": "r1"}, True),
            ("resultId in data", {"event": "a.b", "data": {"resultId": "r2", "n": 1}},
             {"event": "a.b", "data": {"resultId": "r2"}}, True),
            ("another id", {"event": "a.b", "id": "x2"}, {"event": "a.b", "id": "x3"}, False),
            ("another event", {"event": "a.b", "id": "x4"}, {"event": "a.c", "id": "x4"}, False),
            ("id in data", {"event": "a.b", "data": {"id": "x5", "n": 1}}, {"event": "a.b", "data": {"id": "x5"}}, False),
            ("empty id", {"event": "a.b", "id": "", "n": 1}, {"event": "a.b", "id": "", "n": 2}, False),
            ("id null", {"event": "a.b", "id": None, "n": 1}, {"event": "a.b", "id": None, "n": 2}, False),
        ]:
            with self.subTest(what):
                ident = self.assertAccepted(self.call(first))
                again = self.assertAccepted(self.call(second), duplicate)
                self.assertEqual(again == ident, duplicate)

    def test_sources(self):
        """the same body from another source is another event"""
        self.assertAccepted(self.call(event()))
        self.assertAccepted(self.call(event(), path="/other"))
        self.assertEqual([row[1] for row in self.one.stored()], ["ntrvsta", "other"])

    def test_refused_is_not_seen(self):
        """a call that was refused does not make the next one a duplicate"""
        self.assertRefused(self.call(event(), signature="0" * 64), "invalid_signature")
        self.assertRefused(self.call(event(), length=str(len(event()) + 1)), "short_body")
        self.assertAccepted(self.call(event()))

    def test_idempotency_key(self):
        """X-Ntrvsta-Idempotency-Key is stored and decides nothing"""
        key = {"headers": {"X-Ntrvsta-Idempotency-Key": "key-1"}}
        self.assertAccepted(self.call(event(n=1), **key))
        self.assertAccepted(self.call(event(n=2), **key))
        self.assertAccepted(self.call(event(n=2), headers={"X-Ntrvsta-Idempotency-Key": "key-2"}), duplicate=True)
        self.assertEqual(self.one.query("SELECT idempotency_key FROM event ORDER BY seq"), [("key-1",), ("key-1",)])

    def test_at_once(self):
        """20 processes get the same body at once: one event"""
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.call(event()))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([a.status for a in answers], [200] * 20)
        self.assertEqual(len({a.json["id"] for a in answers}), 1)
        self.assertEqual(sorted(a.json["duplicate"] for a in answers), [False] + [True] * 19)
        self.assertEqual(len(self.one.stored()), 1)


class Signatures(CgiTest):
    @unittest.skipUnless(os.path.exists(VECTORS), "tests/data/ntrvsta-signatures.json is missing")
    def test_vectors(self):
        """the shared signature cases"""
        site = self.site()
        with open(VECTORS, encoding="utf-8") as f:
            vectors = json.load(f)
        self.assertGreater(len(vectors), 20)
        for v in vectors:
            with self.subTest(v["name"]):
                site.write_secret(v["secret"])
                body = base64.b64decode(v["body_base64"])
                answer = site.cgi(body, signature=v["signature"], headers={"X-Ntrvsta-Event": "vector.test"})
                if not v["accept"]:
                    self.assertRefused(answer, "invalid_signature" if v["signature"] else "missing_signature")
                elif not body:
                    self.assertRefused(answer, "invalid_json")
                else:
                    self.assertEqual(answer.status, 200, answer)

    def test_header(self):
        """one signature of 64 hex digits, or the call is refused"""
        site = self.site()
        body = event()
        good = sign(body)
        for value, code in [
            (None, "missing_signature"), ("", "missing_signature"),
            ("sha256=", "invalid_signature"), ("SHA256=" + good[:-1], "invalid_signature"),
            (good + " ", "invalid_signature"), (" " + good, "invalid_signature"), (good + "\t", "invalid_signature"),
            (f"{good}, {good}", "invalid_signature"), (good[::-1], "invalid_signature"), ("0" * 64, "invalid_signature"),
            ("x" * 8192, "invalid_signature"), (good * 128, "invalid_signature"), ("sha256=sha256=" + good, "invalid_signature"),
            ("%s%n%d", "invalid_signature"), ("\u00e9" * 64, "invalid_signature"),
        ]:
            with self.subTest(repr(value)[:60]):
                self.assertRefused(site.cgi(body, signature=value), code)
        self.assertEqual(site.stored(), [])
        self.assertAccepted(site.cgi(body, signature="sha256=" + good.upper()))

    def test_two_live_secrets(self):
        """two live secrets both pass, a third does not; one whose time is over does not"""
        for text, live, dead in [
            ("new\nold until=2999-12-31T00:00:00Z\n", ["new", "old"], ["third", "", "old until=2999-12-31T00:00:00Z"]),
            ("new\nold until=2001-01-01T00:00:00Z\n", ["new"], ["old", "old until=2001-01-01T00:00:00Z"]),
            ("# comment\n\nnew\r\n\n  \n#old\nmiddle\n", ["new", "middle"], ["old", "#old", "new\r", "# comment", "  "]),
            ("with blank inside\n", ["with blank inside"], ["with"]),
            ("no-newline-at-the-end", ["no-newline-at-the-end"], []),
        ]:
            site = self.site(secret=text)
            for n, secret in enumerate(live):
                with self.subTest(f"{secret!r} of {text!r}"):
                    body = event(n=n)
                    self.assertAccepted(site.cgi(body, signature=sign(body, secret)))
            for secret in dead:
                with self.subTest(f"{secret!r} not of {text!r}"):
                    body = event(n="dead")
                    self.assertRefused(site.cgi(body, signature=sign(body, secret)), "invalid_signature")

    def test_all_expired(self):
        """nothing passes once every secret's time is over"""
        site = self.site(secret="old until=2001-01-01T00:00:00Z")
        for secret in ("old", ""):
            answer = site.cgi(event(), signature=sign(event(), secret))
            self.assertIn(answer.status, (401, 503))
        self.assertEqual(site.stored(), [])

    def test_fail_closed(self):
        """without a usable secret every request is answered 503"""
        def remove(path):
            os.unlink(path)

        def write(data):
            def change(path):
                with open(path, "wb") as f:
                    f.write(data)
            return change

        def unreadable(path):
            os.chmod(path, 0)
            if os.geteuid() == 0:  # root reads everything but a folder
                os.unlink(path)
                os.mkdir(path)

        def dangling(path):
            os.unlink(path)
            os.symlink("/nonexistent", path)

        for what, change in [("missing", remove), ("empty", write(b"")), ("blank lines", write(b"\n \n\n")),
                             ("only comments", write(b"# one\n#two\n")), ("unreadable", unreadable),
                             ("a dangling link", dangling), ("NUL bytes", write(b"\0\0\0\n")),
                             ("a bad until", write(b"secret until=tomorrow\n"))]:
            site = self.site()
            change(site.secret_file)
            for how, answer in [
                ("signed", site.cgi(event())),
                ("signed with nothing", site.cgi(event(), signature=sign(event(), ""))),
                ("unsigned", site.cgi(event(), signature=None)),
                ("GET", site.cgi(b"", method="GET")),
                ("another path", site.cgi(event(), path="/nope")),
            ]:
                with self.subTest(f"secret file {what}, {how}"):
                    self.assertRefused(answer, "not_configured")
                    self.assertIn(b"secret", answer.stderr)  # its name, for the operator
            self.assertEqual(site.stored(), [])
            if os.path.isdir(site.secret_file):
                os.rmdir(site.secret_file)
            site.write_secret(SECRET)
            with self.subTest(f"secret file {what}, then repaired"):
                self.assertAccepted(site.cgi(event()))

    def test_environment_secret(self):
        """$NTRVSTA_WEBHOOK_SECRET replaces the file of the source called ntrvsta, and no other"""
        site = self.site({"source other": {"path": "/other", "secret_file": "secret"}})
        env = {"env": {"NTRVSTA_WEBHOOK_SECRET": "from-env"}}
        self.assertAccepted(site.cgi(event(n=1), signature=sign(event(n=1), "from-env"), **env))
        self.assertRefused(site.cgi(event(n=2), **env), "invalid_signature")
        self.assertAccepted(site.cgi(event(n=3), path="/other", **env))
        self.assertRefused(site.cgi(event(n=4), path="/other", signature=sign(event(n=4), "from-env"), **env),
                           "invalid_signature")

    def test_environment_secret_without_file(self):
        """with $NTRVSTA_WEBHOOK_SECRET the file need not exist"""
        site = self.site()
        os.unlink(site.secret_file)
        self.assertAccepted(site.cgi(event(), signature=sign(event(), "from-env"),
                                     env={"NTRVSTA_WEBHOOK_SECRET": "from-env"}))

    def test_several_sources(self):
        """each source has its path and its secret"""
        site = self.site({"source crm": {"path": "/in/crm", "secret_file": "crm.secret"}})
        self.assertRefused(site.cgi(event()), "not_configured")  # crm.secret is missing: fail closed
        with open(os.path.join(site.root, "crm.secret"), "w") as f:
            f.write("crm-secret\n")
        self.assertAccepted(site.cgi(event()))
        self.assertAccepted(site.cgi(event(), path="/in/crm", signature=sign(event(), "crm-secret")))
        self.assertRefused(site.cgi(event(), path="/in/crm"), "invalid_signature")
        self.assertRefused(site.cgi(event(), signature=sign(event(), "crm-secret")), "invalid_signature")
        self.assertEqual([row[1] for row in site.stored()], ["ntrvsta", "crm"])

    def test_nothing_leaks(self):
        """no answer and no log holds the expected signature, a part of it, or the secret"""
        site = self.site({"log": {"level": "debug"}})
        body = event(n="leak")
        expected = sign(body)
        parts = {expected[i:i + 8] for i in range(len(expected) - 7)}
        parts |= {p.upper() for p in parts} | {SECRET}
        near = expected[:-1] + ("0" if expected[-1] != "0" else "1")
        for what, how in [
            ("wrong", {"signature": "0" * 64}), ("absent", {"signature": None}), ("one digit off", {"signature": near}),
            ("accepted", {}), ("bad JSON", {"body": b"{"}), ("too large", {"length": "9999999"}),
            ("short", {"length": str(len(body) + 1)}), ("GET", {"method": "GET"}), ("no path", {"path": "/x"}),
        ]:
            with self.subTest(what):
                answer = site.cgi(how.pop("body", body), **how)
                seen = (repr(answer.headers) + answer.body.decode() + answer.stderr.decode() + site.logs())
                found = [p for p in parts if p in seen]
                self.assertEqual(found, [])

    def test_refusals_are_logged(self):
        """a refused signature leaves one line that names the client and forges none"""
        site = self.site()
        answer = site.cgi(event(), signature="0" * 64, env={"REMOTE_ADDR": "192.0.2.9"},
                          headers={"User-Agent": "x\nERROR forged"})
        self.assertRefused(answer, "invalid_signature")
        lines = answer.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("invalid_signature", lines[0])
        self.assertIn("192.0.2.9", lines[0])
        answer = site.cgi(event(), path="/x\nERROR forged\x1b[2J", signature="\x1b]0;x\n")
        self.assertFalse([line for line in answer.stderr.decode().splitlines() if line.startswith("ERROR")])
        self.assertNotIn(b"\x1b", answer.stderr)


class Configuration(CgiTest):
    def test_broken(self):
        """a broken configuration: 503 for every request, and the log says where"""
        for what, text in [
            ("unknown section", b"[source ntrvsta]\npath = /webhooks/ntrvsta\nsecret_file = secret\n[nonsense]\nx = 1\n"),
            ("unknown key", b"[source ntrvsta]\npath = /webhooks/ntrvsta\nsecret_file = secret\nbogus = 1\n"),
            ("wrong value", b"[source ntrvsta]\npath = /webhooks/ntrvsta\nsecret_file = secret\nmax_body = lots\n"),
            ("no key", b"[source ntrvsta]\npath = /webhooks/ntrvsta\nsecret_file = secret\nbogus\n"),
        ]:
            site = self.site()
            site.write_config(text)
            for method, path in (("POST", PATH), ("GET", PATH), ("POST", "/nope")):
                with self.subTest(f"{what}, {method} {path}"):
                    answer = site.cgi(event(), method=method, path=path)
                    self.assertRefused(answer, "not_configured")
                    self.assertRegex(answer.stderr.decode(), re.escape(site.conf) + r":[45]:")
                    self.assertNotIn(site.conf, answer.body.decode())  # strangers need not know

    def test_missing(self):
        """a configuration file that is not there: 503"""
        site = self.site()
        os.unlink(site.conf)
        answer = site.cgi(event())
        self.assertRefused(answer, "not_configured")
        self.assertIn(site.conf, answer.stderr.decode())
        self.assertEqual(site.stored(), [])

    def test_base(self):
        """[web] base stands in front of every path"""
        site = self.site({"web": {"base": "/hooks"}})
        self.assertAccepted(site.cgi(event(n=1), script="/hooks" + PATH, path=None))
        self.assertAccepted(site.cgi(event(n=2), script="", path="/hooks" + PATH))
        self.assertAccepted(site.cgi(event(n=3), script="/hooks/webhooks", path="/ntrvsta"))
        self.assertRefused(site.cgi(event(n=4), script=PATH, path=None), "not_found")
        self.assertRefused(site.cgi(event(n=5), script="/hook" + PATH, path=None), "not_found")


class Store(CgiTest):
    def test_locked(self):
        """a database locked by another process: 503 with Retry-After, nothing half-stored, then it works"""
        site = self.site()
        self.assertAccepted(site.cgi(event(n=1)))
        db = sqlite3.connect(site.db_file, isolation_level=None)
        self.addCleanup(db.close)
        db.execute("BEGIN EXCLUSIVE")
        self.assertRefused(site.cgi(event(n=2)), "store_unavailable")
        db.execute("ROLLBACK")
        self.assertAccepted(site.cgi(event(n=2)))
        self.assertEqual(len(site.stored()), 2)

    def test_briefly_locked(self):
        """a lock of half a second only delays the answer"""
        site = self.site()
        self.assertAccepted(site.cgi(event(n=1)))
        db = sqlite3.connect(site.db_file, isolation_level=None, check_same_thread=False)
        self.addCleanup(db.close)
        db.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.5, lambda: db.execute("ROLLBACK"))
        timer.start()
        try:
            self.assertAccepted(site.cgi(event(n=2)))
        finally:
            timer.join()

    def test_unusable(self):
        """a state directory or database that can't be used: 503 with Retry-After"""
        def garbage(site):
            with open(site.db_file, "wb") as f:
                f.write(b"this is no database, it only looks long enough to be one " * 100)

        def folder(site):
            os.mkdir(site.db_file)

        def no_state(site):
            os.rmdir(site.state)
            with open(site.state, "w") as f:
                f.write("a file where the folder should be")

        for what, change in [("no database", garbage), ("a folder", folder), ("no state directory", no_state)]:
            with self.subTest(what):
                site = self.site()
                change(site)
                answer = site.cgi(event())
                self.assertRefused(answer, "store_unavailable")
                self.assertTrue(answer.stderr)

    def test_order(self):
        """the store is asked only once everything else is right"""
        site = self.site()
        os.mkdir(site.db_file)
        self.assertRefused(site.cgi(event(), signature="0" * 64), "invalid_signature")

    def test_modes(self):
        """the database is nobody else's to read"""
        site = self.site()
        self.assertAccepted(site.cgi(event()))
        for name in os.listdir(site.state):
            mode = os.stat(os.path.join(site.state, name)).st_mode
            self.assertEqual(mode & 0o077, 0, f"{name} {mode:o}")


class Dispatcher(CgiTest):
    def test_answer_does_not_wait(self):
        """start = auto: the answer does not wait for the handlers, which run all the same"""
        site = Site({"dispatch": {"start": "auto"}}, handlers={
            "session.completed": 'cat > "$OUT/got.tmp"; while [ ! -e "$OUT/go" ]; do sleep 0.05; done; mv "$OUT/got.tmp" "$OUT/got"'})
        self.addCleanup(site.close)
        body = event(n="auto")
        self.assertAccepted(site.cgi(body, timeout=20))  # returns while the handler waits
        self.assertFalse(os.path.exists(os.path.join(site.out, "got")))
        open(os.path.join(site.out, "go"), "w").close()
        self.assertEqual(site.output("got"), body)

    def test_off(self):
        """start = off: no dispatcher is started"""
        site = self.site(handlers={"session.completed": 'touch "$OUT/ran"'})
        self.assertAccepted(site.cgi(event()))
        self.assertEqual(site.leftovers(), [])
        self.assertIsNone(site.dispatcher_pid())


if __name__ == "__main__":
    tap.main()
