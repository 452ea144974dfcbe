#!/usr/bin/env python3
"""The program over FastCGI: many clients, slow ones, rude ones, and what happens when it is told to leave."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fastcgi
import ntrvsta
import tap
from ntrvsta import Site, event, sign, wait_for


class FastCgiTest(unittest.TestCase):
    def serve(self, settings=None, site=None, env=None, before=None, **how):
        """A running program; self.site is its site."""
        self.site = site or Site(fastcgi.QUIET, **how)
        self.addCleanup(self.site.close)
        if not site:
            self.site.configure(settings or {})
        if before:
            before(self.site)
        program = fastcgi.Program(self.site, env=env)
        self.addCleanup(program.close)
        return program

    def connect(self, program, timeout=30):
        connection = program.connect(timeout)
        self.addCleanup(connection.close)
        return connection

    def assertAccepted(self, answer, duplicate=False):
        self.assertIsNotNone(answer, "the connection ended without an answer")
        self.assertEqual(answer.status, 200, answer)
        self.assertIs(answer.json["duplicate"], duplicate)
        return answer.json["id"]

    def assertRefused(self, answer, status, code):
        self.assertIsNotNone(answer, "the connection ended without an answer")
        self.assertEqual((answer.status, answer.code), (status, code), answer)
        if status == 503:
            self.assertRegex(answer.headers["retry-after"], r"^[1-9][0-9]*$")

    def whole(self, body, keep=False, **how):
        return fastcgi.encode(self.site.request(body, **how), body, keep)

    def bodies(self):
        return [row[3] for row in self.site.stored()]


class Smoke(FastCgiTest):
    def test_accepted(self):
        """a signed event is accepted and on disk, byte for byte"""
        program = self.serve()
        body = b'{ "event":"session.completed",\r\n"x":"Zo\xc3\xab"}\n'
        ident = self.assertAccepted(program.call(body))
        self.assertEqual(self.site.stored(), [(ident, "ntrvsta", "session.completed", body)])
        self.assertEqual(self.assertAccepted(program.call(body), duplicate=True), ident)

    def test_tcp(self):
        """a TCP socket serves as well"""
        self.serve()
        program = fastcgi.Program(self.site, tcp=True)
        self.addCleanup(program.close)
        self.assertAccepted(program.call(event()))

    def test_refusals(self):
        """the same answers as under plain CGI"""
        program = self.serve({"source ntrvsta": {"max_body": "64K"}})
        body = event()
        for status, code, how in [
            (404, "not_found", {"path": "/nope"}), (405, "method_not_allowed", {"method": "GET"}),
            (411, "length_required", {"length": None}), (400, "bad_length", {"length": "1e3"}),
            (413, "body_too_large", {"length": "65537"}), (415, "unsupported_media_type", {"content_type": "text/plain"}),
            (400, "short_body", {"length": str(len(body) + 1)}), (401, "missing_signature", {"signature": None}),
            (401, "invalid_signature", {"signature": "0" * 64}),
        ]:
            with self.subTest(code):
                self.assertRefused(program.call(body, **how), status, code)
        with self.subTest("invalid_json"):
            self.assertRefused(program.call(b"[]"), 400, "invalid_json")
        with self.subTest("invalid_event"):
            self.assertRefused(program.call(b"{}"), 400, "invalid_event")
        self.assertEqual(self.site.stored(), [])

    def test_large_body(self):
        """1 MiB, in records of every kind of size, arrives byte for byte"""
        program = self.serve()
        for chunk in (65535, 8192, 1000):
            with self.subTest(f"records of {chunk}"):
                frame = b'{"event":"size.test","n":%d,"x":""}' % chunk
                body = frame.replace(b'""', b'"' + b"y" * ((1 << 20) - len(frame)) + b'"')
                with program.connect() as connection:
                    self.assertAccepted(connection.call(self.site.request(body), body, chunk=chunk))
                self.assertEqual(self.bodies()[-1], body)

    def test_many_parameters(self):
        """parameters larger than a socket buffer are read like others"""
        program = self.serve()
        headers = {f"X-Filler-{n}": "f" * 1000 for n in range(400)}
        self.assertAccepted(program.call(event(), headers=headers))

    def test_spawn_fcgi(self):
        """spawn-fcgi starts it on a Unix socket"""
        if not os.access("/usr/bin/spawn-fcgi", os.X_OK):
            self.skipTest("spawn-fcgi is not installed")
        self.serve()
        path = os.path.join(self.site.dir, "spawned.sock")
        self.site.spawn(["/usr/bin/spawn-fcgi", "-n", "-s", path, "--", self.site.fcgi],
                        env=self.site.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        def connect():
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # not there, not listening yet
                return fastcgi.Connection(path)
        with wait_for(connect, 10, "spawn-fcgi's socket") as connection:
            self.assertAccepted(connection.call(self.site.request(event()), event()))

    def test_cgi_fcgi(self):
        """cgi-fcgi, a FastCGI client of others, gets the answer too"""
        if not os.access("/usr/bin/cgi-fcgi", os.X_OK):
            self.skipTest("cgi-fcgi is not installed")
        program = self.serve()
        body = event(n="cgi-fcgi")
        done = subprocess.run(["/usr/bin/cgi-fcgi", "-bind", "-connect", program.address], input=body,
                              capture_output=True, env=self.site.environment(self.site.request(body)), timeout=30)
        self.assertAccepted(ntrvsta.parse_response(done.stdout))


class Slow(FastCgiTest):
    def test_one_byte_at_a_time(self):
        """50 clients that send a byte at a time do not keep a fast one waiting"""
        program = self.serve({"web": {"threads": "2"}})
        slow = [(self.connect(program), self.whole(event(n=n))) for n in range(50)]
        done = threading.Event()

        def trickle():
            at = 0
            while not done.is_set():
                for connection, data in slow:
                    if at < len(data):
                        connection.send(data[at:at + 1])
                at += 1
                done.wait(0.02)

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            slowest = 0
            for n in range(50):
                started = time.monotonic()
                self.assertAccepted(program.call(event(fast=n)))
                slowest = max(slowest, time.monotonic() - started)
        finally:
            done.set()
            thread.join()
        self.assertLess(slowest, 1)

    def test_slow_is_served(self):
        """a slow client is served in the end, wherever its pauses are"""
        program = self.serve()
        body = event(n="slow")
        data = self.whole(body)
        connection = self.connect(program)
        for at in range(0, len(data), 3):
            connection.send(data[at:at + 3])
        self.assertAccepted(connection.answer())
        for cut in (1, 7, 8, 9, 16, 20, 100, len(data) - len(body) - 20, len(data) - 9, len(data) - 1):
            with self.subTest(f"pause after {cut} bytes"):
                connection = self.connect(program)
                connection.send(data[:cut])
                self.assertAccepted(program.call(event(between=cut)))  # another one is served meanwhile
                connection.send(data[cut:])
                self.assertAccepted(connection.answer(), duplicate=True)

    def test_slow_bodies_of_some_size(self):
        """slow bodies, more of them than workers, do not keep a fast one waiting"""
        program = self.serve({"web": {"threads": "2"}})
        frame = b'{"event":"size.test","n":"","x":"' + b"y" * 300000 + b'"}'
        slow = []
        for n in range(8):
            body = frame.replace(b'""', b'"%d"' % n)
            data = self.whole(body)
            connection = self.connect(program)
            connection.send(data[:2000])  # parameters, and the start of a body larger than a socket buffer
            slow.append((connection, data))
        for n in range(20):
            started = time.monotonic()
            self.assertAccepted(program.call(event(fast=n)))
            self.assertLess(time.monotonic() - started, 1)
        for connection, data in slow:
            connection.send(data[2000:])
            self.assertAccepted(connection.answer())

    def test_end_record_missing(self):
        """large events whose closing record never comes are answered, and keep nobody waiting"""
        program = self.serve({"web": {"threads": "2"}})
        waiting = []
        for n in range(4):
            body = b'{"event":"size.test","n":"%d","x":"' % n + b"y" * 300000 + b'"}'
            connection = self.connect(program, timeout=10)
            connection.send(self.whole(body)[:-8])
            waiting.append(connection)
        for n in range(10):
            started = time.monotonic()
            self.assertAccepted(program.call(event(n=n)))
            self.assertLess(time.monotonic() - started, 1)
        for connection in waiting:
            self.assertAccepted(connection.answer())

    def test_cut_off(self):
        """a body that is cut off is answered short_body or not at all, and never stored"""
        program = self.serve()
        body = event(n="cut", filler="f" * 200)
        data = self.whole(body)
        # The padding and the empty record at the end are no part of the body: without them it is whole.
        end = data.index(body) + len(body)
        for cut in (0, 1, 8, 16, 40, end - len(body) - 8, end - len(body), end - 100, end - 1):
            with self.subTest(f"{cut} of {len(data)} bytes"):
                connection = self.connect(program)
                connection.send(data[:cut])
                connection.socket.shutdown(socket.SHUT_WR)
                answer = connection.answer()
                if answer is not None and cut >= end - len(body):
                    self.assertRefused(answer, 400, "short_body")
                elif answer is not None:
                    self.assertGreaterEqual(answer.status, 400)
                connection.close()
        large = self.whole(b'{"event":"size.test","x":"' + b"y" * 500000 + b'"}')
        for cut in (5000, 400000, len(large) - 100):
            with self.subTest(f"{cut} of {len(large)} bytes"):
                connection = self.connect(program)
                connection.send(large[:cut])
                connection.socket.shutdown(socket.SHUT_WR)
                answer = connection.answer()
                if answer is not None:
                    self.assertRefused(answer, 400, "short_body")
        self.assertEqual(self.site.stored(), [])
        self.assertAccepted(program.call(body))

    def test_short_stream(self):
        """a FastCGI body that ends before its announced length is short_body"""
        program = self.serve()
        body = event(n="short")
        self.assertRefused(program.call(body, length=str(len(body) + 5)), 400, "short_body")
        self.assertRefused(program.call(b"", length="700000", signature=sign(b"")), 400, "short_body")
        self.assertEqual(self.site.stored(), [])

    def test_longer_stream(self):
        """what comes behind the announced length is no part of the event, however much it is"""
        program = self.serve()
        body = event(n="longer")
        for extra in (b"x", b"x" * 100000):
            with self.subTest(f"{len(extra)} bytes"):
                with program.connect() as connection:
                    params = self.site.request(body)
                    connection.send(fastcgi.encode(params, body + extra))
                    self.assertEqual(connection.answer().status, 200)
        self.assertEqual(self.bodies(), [body])

    def test_padded_ends(self):
        """padding that reads like the begin of a long record keeps nobody waiting"""
        program = self.serve()
        body = event(n="padded")
        params = fastcgi.pairs(self.site.request(body))
        for name, kind, after in (("begin", fastcgi.BEGIN_REQUEST, fastcgi.PARAMS), ("parameters", fastcgi.PARAMS, fastcgi.STDIN)):
            with self.subTest(name):
                padding = fastcgi.record(after, bytes(65535))[:8]

                def end(k, content=b"", padding=padding, kind=kind):
                    return fastcgi.record(k, content, padding=0)[:6] + (b"\x08\0" + content + padding if k == kind else b"\0\0" + content)

                connection = self.connect(program)
                connection.send(end(fastcgi.BEGIN_REQUEST, fastcgi.begin()[8:]) + fastcgi.record(fastcgi.PARAMS, params) + end(fastcgi.PARAMS)
                                + fastcgi.stream(fastcgi.STDIN, body))
                self.assertIsNone(connection.answer())
                self.assertAccepted(program.call(event(n=name)))

    def test_gone_before_the_answer(self):
        """clients that do not wait for their answer do no harm"""
        program = self.serve()
        for n in range(100):
            connection = program.connect()
            connection.send(self.whole(event(n=n)))
            connection.close()
        self.assertAccepted(program.call(event(n="last")))
        wait_for(lambda: len(self.bodies()) == 101, 10, "what was sent whole is stored")


class Kept(FastCgiTest):
    def test_reuse(self):
        """a kept connection serves one request after another"""
        program = self.serve()
        connection = self.connect(program)
        ids = {self.assertAccepted(connection.call(self.site.request(event(n=n)), event(n=n), keep=True)) for n in range(50)}
        self.assertEqual(len(ids), 50)

    def test_reuse_after_large(self):
        """so it does after events that are too large for the reader"""
        program = self.serve()
        connection = self.connect(program)
        for n in range(6):
            body = event(n=n, x="y" * (100000 if n % 2 == 0 else 1))
            self.assertAccepted(connection.call(self.site.request(body), body, keep=True))

    def test_not_kept(self):
        """a connection that is not to be kept ends with its answer"""
        program = self.serve()
        for body, how in ((event(), {}), (event(), {"signature": None}), (b"", {"method": "GET"})):
            connection = self.connect(program)
            self.assertIsNotNone(connection.call(self.site.request(body, **how), body))
            self.assertTrue(connection.ended())

    def test_more_than_threads(self):
        """more idle kept connections than threads: others are served, and the kept ones too"""
        program = self.serve({"web": {"threads": "2"}})
        kept = [self.connect(program) for _ in range(40)]
        for round_number in range(3):
            for n, connection in enumerate(kept):
                body = event(n=n, round=round_number)
                self.assertAccepted(connection.call(self.site.request(body), body, keep=True))
            started = time.monotonic()
            self.assertAccepted(program.call(event(other=round_number)))
            self.assertLess(time.monotonic() - started, 1)

    def test_kept_after_refusal(self):
        """a refused request leaves a kept connection usable, or closes it"""
        program = self.serve({"source ntrvsta": {"max_body": "64K"}})
        big = b"x" * 100000
        for what, body, how in [("404", event(), {"path": "/nope"}), ("405", event(), {"method": "PUT"}),
                                ("413", big, {"signature": "0" * 64}), ("401", event(), {"signature": None})]:
            with self.subTest(what):
                connection = self.connect(program)
                answer = connection.call(self.site.request(body, **how), body, keep=True)
                self.assertEqual(answer.status, int(what))
                try:
                    again = connection.call(self.site.request(event(n=what)), event(n=what), keep=True)
                except (BrokenPipeError, ConnectionResetError):
                    again = None
                if again is not None:
                    self.assertAccepted(again)


class Rude(FastCgiTest):
    def test_unread_body(self):
        """a body that is too large is answered 413, not reset, though it was not read"""
        program = self.serve({"source ntrvsta": {"max_body": "64K"}})
        for size in (65537, 300000, 2 << 20):
            body = b"x" * size
            with self.subTest(f"{size} bytes, all sent at once"):
                connection = self.connect(program)
                sender = threading.Thread(target=self.send_quietly, args=(connection, self.whole(body)))
                sender.start()
                answer = connection.answer()
                sender.join()
                self.assertRefused(answer, 413, "body_too_large")
            with self.subTest(f"{size} bytes, and a GET that has them"):
                connection = self.connect(program)
                sender = threading.Thread(target=self.send_quietly, args=(connection, self.whole(body, method="GET")))
                sender.start()
                answer = connection.answer()
                sender.join()
                self.assertRefused(answer, 405, "method_not_allowed")

    @staticmethod
    def send_quietly(connection, data):
        try:
            connection.send(data)
        except OSError:
            pass  # it may have been closed meanwhile: the answer tells

    def test_large_garbage(self):
        """what is too large for a first look and no FastCGI either leaves nothing behind in a worker"""
        program = self.serve()
        for n in range(3):
            connection = self.connect(program)
            self.send_quietly(connection, fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, b"\xff" * 65528) * 3)
            self.assertTrue(connection.ended())
            # The once-a-second look at what workers read comes before, or with, that at the file.
            for level in ("debug", "info"):
                loaded = program.logged().count("configuration loaded")
                self.site.configure({"log": {"level": level}})
                wait_for(lambda: program.logged().count("configuration loaded") > loaded, 10, "a tick")
        self.assertAccepted(program.call(event()))

    def test_garbage(self):
        """what is no FastCGI harms nobody"""
        program = self.serve()
        garbage = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\xff" * 100, b"\1", b"\1\1\0\1\0\x08\0\0",
            fastcgi.record(fastcgi.STDIN, b"x" * 100), fastcgi.record(fastcgi.PARAMS, b"\xff" * 40),
            fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, b"\x7f\x7fshort") + fastcgi.record(fastcgi.PARAMS),
            fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xff") + fastcgi.record(fastcgi.PARAMS),
            fastcgi.begin(role=2) + fastcgi.stream(fastcgi.PARAMS, b"") + fastcgi.stream(fastcgi.STDIN, b""),
            fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, b"") + fastcgi.stream(fastcgi.STDIN, b""),
            fastcgi.begin() * 20, fastcgi.record(fastcgi.ABORT_REQUEST),
            fastcgi.begin() + fastcgi.record(fastcgi.ABORT_REQUEST), fastcgi.record(9, fastcgi.pairs({"FCGI_MAX_CONNS": ""}), 0),
            os.urandom(5000),
        ]
        for data in garbage:
            with self.subTest(repr(data[:40])):
                connection = self.connect(program)
                self.send_quietly(connection, data)
                connection.socket.shutdown(socket.SHUT_WR)
                self.assertAccepted(program.call(event(n=os.urandom(4).hex())))
                connection.close()
        self.assertIsNone(program.child.poll())

    def test_no_descriptor_left(self):
        """whatever clients do, no descriptor is left behind"""
        program = self.serve()
        data = self.whole(event(n="fd"))
        self.assertAccepted(program.call(event(n="first")))
        before = program.descriptors()
        for round_number in range(20):
            for cut in (0, 3, 30, len(data) - 20, len(data)):
                connection = program.connect()
                connection.send(data[:cut])
                connection.close()
            program.call(event(n=round_number), signature=None)
            program.call(b"x" * 100, method="PUT")
        self.assertAccepted(program.call(event(n="last")))
        wait_for(lambda: program.descriptors() <= before, 10, f"no more than {before} descriptors")

    def test_same_body_at_once(self):
        """20 connections send the same body at once: one event"""
        program = self.serve()
        connections = [self.connect(program) for _ in range(20)]
        data = self.whole(event(n="same"))
        for connection in connections:
            connection.send(data[:-4])
        for connection in connections:
            connection.send(data[-4:])
        answers = [connection.answer() for connection in connections]
        self.assertEqual([a.status for a in answers], [200] * 20)
        self.assertEqual(len({a.json["id"] for a in answers}), 1)
        self.assertEqual(sorted(a.json["duplicate"] for a in answers), [False] + [True] * 19)
        self.assertEqual(len(self.site.stored()), 1)

    def test_same_body_two_processes(self):
        """two processes on one database, as mod_fcgid has them: still one event"""
        program = self.serve()
        other = fastcgi.Program(self.site, tcp=True)
        self.addCleanup(other.close)
        for round_number in range(10):
            data = self.whole(event(round=round_number))
            connections = [p.connect() for p in (program, other) * 5]
            for connection in connections:
                connection.send(data)
            answers = [connection.answer() for connection in connections]
            for connection in connections:
                connection.close()
            self.assertEqual([a.status for a in answers], [200] * 10)
            self.assertEqual(len({a.json["id"] for a in answers}), 1)
            self.assertEqual(sorted(a.json["duplicate"] for a in answers), [False] + [True] * 9)
        self.assertEqual(len(self.site.stored()), 10)

    def test_rate_limit_across_processes(self):
        """the rate of a client counts across processes, and across a restart"""
        program = self.serve({"web": {"rate_limit": "1/h"}})
        for n in range(2):
            self.assertAccepted(program.call(event(n=n)))
        self.assertRefused(program.call(event(n=2)), 429, "rate_limited")
        other = fastcgi.Program(self.site, tcp=True)
        self.addCleanup(other.close)
        self.assertRefused(other.call(event(n=2)), 429, "rate_limited")
        program.stop()
        program.start()
        self.assertRefused(program.call(event(n=2)), 429, "rate_limited")


class Leaving(FastCgiTest):
    def test_signals(self):
        """SIGTERM, SIGINT and SIGUSR1: what is in flight is answered, then exit 0"""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            with self.subTest(number.name):
                program = self.serve()
                self.assertAccepted(program.call(event(n="up")))
                bodies = [event(n=n) for n in range(30)]
                connections = [self.connect(program) for _ in bodies]
                for connection, body in zip(connections, bodies):
                    connection.send(self.whole(body))
                program.child.send_signal(number)
                self.assertEqual(program.child.wait(20), 0)
                program.listener.close()  # ends the connections that it had not accepted yet
                answers = [connection.answer() for connection in connections]
                self.assertGreater(len([a for a in answers if a]), 0)
                left = [b for a, b in zip(answers, bodies) if a is None]
                for answer in answers:
                    if answer is not None:
                        self.assertAccepted(answer)
                self.assertEqual(sorted(self.bodies()), sorted([event(n="up"), *(b for b in bodies if b not in left)]))

    def test_half_sent(self):
        """a request that has begun to arrive is still taken after SIGTERM"""
        program = self.serve()
        body = event(n="half")
        data = self.whole(body)
        connection = self.connect(program)
        connection.send(data[:len(data) - 10])
        self.assertAccepted(program.call(event(n="other")))  # so the first one was accepted by now
        program.child.send_signal(signal.SIGTERM)
        connection.send(data[len(data) - 10:])
        self.assertAccepted(connection.answer())
        self.assertEqual(program.child.wait(20), 0)

    def test_connected(self):
        """for a connection that was just made, a request is waited for after SIGTERM; not for long"""
        program = self.serve({"log": {"level": "info"}})
        self.assertAccepted(program.call(event(n="first")))
        connection, _silent = self.connect(program), self.connect(program)
        program.child.send_signal(signal.SIGTERM)
        wait_for(lambda: "ending: " in program.logged(), what="it ends")
        connection.send(self.whole(event(n="late")))
        self.assertAccepted(connection.answer())
        started = time.monotonic()
        self.assertEqual(program.child.wait(20), 0)
        self.assertLess(time.monotonic() - started, 4)

    def test_idle_kept_connections(self):
        """idle kept connections do not hold it back"""
        program = self.serve()
        connections = [self.connect(program) for _ in range(10)]
        for n, connection in enumerate(connections):
            self.assertAccepted(connection.call(self.site.request(event(n=n)), event(n=n), keep=True))
        started = time.monotonic()
        self.assertEqual(program.stop(), 0)
        self.assertLess(time.monotonic() - started, 5)

    def test_silent_client(self):
        """a client that never ends its request does not hold it back for long"""
        program = self.serve()
        connection = self.connect(program)
        connection.send(self.whole(event())[:-20])
        self.assertAccepted(program.call(event(n="other")))
        self.assertEqual(program.stop(timeout=60), 0)

    def test_no_answer_without_store(self):
        """under a stream of requests and SIGTERM: each 200 is on disk"""
        program = self.serve()
        accepted, stop = [], threading.Event()

        def client(k):
            n = 0
            while not stop.is_set():
                body = event(k=k, n=n)
                try:
                    answer = program.call(body, timeout=10)
                except OSError:
                    break
                if answer is None:
                    break
                if answer.status == 200:
                    accepted.append(body)
                n += 1

        threads = [threading.Thread(target=client, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(accepted) > 100, 20, "100 answers")
        program.child.send_signal(signal.SIGTERM)
        self.assertEqual(program.child.wait(20), 0)
        stop.set()
        program.listener.close()  # nobody accepts any more: the clients notice
        for thread in threads:
            thread.join()
        self.assertEqual(set(accepted) - set(self.bodies()), set())

    def test_killed(self):
        """kill -9 under a stream of requests: each 200 is on disk, and the next process goes on"""
        program = self.serve()
        for round_number in range(5):
            accepted = []

            def client(k, round_number=round_number, accepted=accepted):
                for n in range(100000):
                    body = event(round=round_number, k=k, n=n)
                    try:
                        answer = program.call(body, timeout=3)
                    except OSError:
                        return
                    if answer is None:
                        return
                    if answer.status == 200:
                        accepted.append(body)

            threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
            for thread in threads:
                thread.start()
            wait_for(lambda accepted=accepted: len(accepted) > 50, 20, "50 answers")
            program.child.kill()
            program.child.wait()
            for thread in threads:
                thread.join()
            self.assertEqual(set(accepted) - set(self.bodies()), set())
            program.start()
            self.assertAccepted(program.call(event(after=round_number)))


class Changing(FastCgiTest):
    def test_broken_then_repaired(self):
        """a configuration that is broken at start: 503 for all; repaired: 200 without a restart"""
        program = self.serve(before=lambda site: site.write_config("[nonsense]\n"))
        for how in ({}, {"method": "GET"}, {"path": "/nope"}):
            self.assertRefused(program.call(event(), **how), 503, "not_configured")
        self.assertIn(self.site.conf + ":1:", program.logged())
        self.site.configure({})
        wait_for(lambda: program.call(event()).status == 200, 10, "200 after the repair")

    def test_missing_secret_then_written(self):
        """a secret that is missing at start and written later is found"""
        program = self.serve(before=lambda site: os.unlink(site.secret_file))
        self.assertRefused(program.call(event()), 503, "not_configured")
        self.assertRefused(program.call(event(), signature=sign(event(), "")), 503, "not_configured")
        self.site.write_secret(ntrvsta.SECRET)
        wait_for(lambda: program.call(event()).status == 200, 10, "200 after the repair")

    def test_rotation(self):
        """a rotated secret counts without a restart"""
        program = self.serve()
        self.assertAccepted(program.call(event(n=1)))
        self.site.write_secret("next\n" + ntrvsta.SECRET + " until=2999-01-01T00:00:00Z")
        body = event(n=2)
        wait_for(lambda: program.call(body, signature=sign(body, "next")).status == 200, 10, "the new secret counts")
        self.assertAccepted(program.call(event(n=3)))
        self.site.write_secret("next")
        wait_for(lambda: program.call(event(n=4)).status == 401, 10, "the old secret counts no more")

    def test_broken_while_it_runs(self):
        """a changed configuration with a mistake leaves the old one in force, and the log says so"""
        program = self.serve()
        self.assertAccepted(program.call(event(n=1)))
        self.site.write_config("[nonsense]\n")
        wait_for(lambda: "stays in force" in program.logged(), 10, "the log says so")
        self.assertIn(self.site.conf + ":1:", program.logged())
        self.assertAccepted(program.call(event(n=2)))
        os.unlink(self.site.secret_file)
        self.site.write_config("[other nonsense]\n")
        wait_for(lambda: program.call(event(n=3)).status == 503, 10, "a secret that is gone shuts the door all the same")

    def test_secret_removed(self):
        """a secret file that goes away or is emptied shuts the door"""
        program = self.serve()
        self.assertAccepted(program.call(event(n=1)))
        os.unlink(self.site.secret_file)
        wait_for(lambda: program.call(event(n=2)).status == 503, 10, "503 without a secret")
        self.assertRefused(program.call(event(n=2), signature=sign(event(n=2), "")), 503, "not_configured")
        self.site.write_secret(ntrvsta.SECRET)
        wait_for(lambda: program.call(event(n=3)).status == 200, 10, "200 with the secret again")

    def test_new_source(self):
        """a source that is added is served without a restart"""
        program = self.serve()
        self.assertRefused(program.call(event(), path="/second"), 404, "not_found")
        self.site.configure({"source second": {"path": "/second", "secret_file": "secret"}})
        wait_for(lambda: program.call(event(), path="/second").status == 200, 10, "the new source is served")


class StoreTrouble(FastCgiTest):
    def test_locked(self):
        """the database locked by another process: 503 with Retry-After, then it works again"""
        program = self.serve()
        self.assertAccepted(program.call(event(n=1)))
        db = sqlite3.connect(self.site.db_file, isolation_level=None)
        self.addCleanup(db.close)
        db.execute("BEGIN EXCLUSIVE")
        self.assertRefused(program.call(event(n=2)), 503, "store_unavailable")
        # Those who wait do not keep others from their answer.
        connections = [self.connect(program) for _ in range(10)]
        for n, connection in enumerate(connections):
            connection.send(self.whole(event(wait=n)))
        started = time.monotonic()
        self.assertRefused(program.call(event(), signature=None), 401, "missing_signature")
        self.assertLess(time.monotonic() - started, 1)
        for connection in connections:
            self.assertRefused(connection.answer(), 503, "store_unavailable")
        db.execute("ROLLBACK")
        self.assertAccepted(program.call(event(n=2)))
        self.assertEqual(self.bodies(), [event(n=1), event(n=2)])

    def test_unusable_then_repaired(self):
        """a state directory that can't be used at start: 503; once it can: 200 without a restart"""
        def block(site):
            os.rmdir(site.state)
            with open(site.state, "w"):
                pass

        program = self.serve(before=block)
        self.assertRefused(program.call(event()), 503, "store_unavailable")
        os.unlink(self.site.state)
        os.mkdir(self.site.state, 0o700)
        wait_for(lambda: program.call(event()).status == 200, 10, "200 after the repair")

    def test_read_only(self):
        """a state directory that became read-only: 503, nothing half-stored, then it works again"""
        if os.geteuid() == 0:
            self.mounted("ro")
        else:
            program = self.serve()
            program.stop()
            os.chmod(self.site.state, 0o500)
            program.start()
            self.assertRefused(program.call(event(n=1)), 503, "store_unavailable")
            os.chmod(self.site.state, 0o700)
            wait_for(lambda: program.call(event(n=1)).status == 200, 10, "200 after the repair")

    def mounted(self, change):
        """The state directory is a file system of its own, 1 MiB, which CHANGE makes unusable."""
        self.tmpfs()
        program = fastcgi.Program(self.site)
        self.addCleanup(program.close)
        self.assertAccepted(program.call(event(n=0)))
        program.stop()
        subprocess.run(["mount", "-o", "remount," + change, self.site.state], check=True)
        program.start()
        self.assertRefused(program.call(event(n=1)), 503, "store_unavailable")
        self.assertRefused(program.call(event(n=1)), 503, "store_unavailable")
        subprocess.run(["mount", "-o", "remount,rw", self.site.state], check=True)
        wait_for(lambda: program.call(event(n=1)).status == 200, 10, "200 after the repair")
        self.assertEqual(self.bodies(), [event(n=0), event(n=1)])

    def tmpfs(self, size="8m"):
        self.site = Site(fastcgi.QUIET)
        self.addCleanup(self.site.close)
        if os.geteuid() != 0:
            self.skipTest("only root can mount a file system of its own")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", self.site.state],
                              capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"can't mount a tmpfs here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.site.state])

    def test_full(self):
        """no space left: 503 store_full, every 200 stays on disk, and with space it works again"""
        self.tmpfs()
        program = fastcgi.Program(self.site)
        self.addCleanup(program.close)
        self.assertAccepted(program.call(event(n="first")))
        ballast = os.path.join(self.site.state, "ballast")
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * 65536)
            except OSError:
                pass
        accepted, answer = [event(n="first")], None
        for n in range(400):
            body = event(n=n, filler="f" * 30000)
            answer = program.call(body)
            if answer.status != 200:
                break
            accepted.append(body)
        self.assertRefused(answer, 503, "store_full")
        self.assertRefused(program.call(event(n="again", filler="f" * 30000)), 503, "store_full")
        os.unlink(ballast)
        wait_for(lambda: program.call(event(n="after")).status == 200, 10, "200 with space")
        self.assertEqual(self.bodies(), [*accepted, event(n="after")])


class Environment(FastCgiTest):
    def test_dispatcher(self):
        """start = auto: a dispatcher runs, is started again when it died, and does not hold the socket"""
        program = self.serve({"dispatch": {"start": "auto"}}, handlers={
            "session.completed": 'cat > "$OUT/$NTRVSTA_EVENT_ID.tmp"; mv "$OUT/$NTRVSTA_EVENT_ID.tmp" "$OUT/$NTRVSTA_EVENT_ID"'})
        ident = self.assertAccepted(program.call(event(n=1)))
        self.assertEqual(self.site.output(ident), event(n=1))
        pid = wait_for(self.site.dispatcher_pid, 10, "a dispatcher")
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                self.assertNotIn("socket:", os.readlink(f"/proc/{pid}/fd/{name}"))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not ntrvsta.alive(pid), 10, "the dispatcher is gone")
        ident = self.assertAccepted(program.call(event(n=2)))
        self.assertEqual(self.site.output(ident), event(n=2))

    def test_memory(self):
        """memory does not grow with requests"""
        if ntrvsta.sanitized():
            self.skipTest("AddressSanitizer keeps freed memory")
        program = self.serve()
        for n in range(300):
            program.call(event(n=n))
        before = program.resident_kib()
        with program.connect() as connection:
            for n in range(5000):
                body = event(more=n)
                connection.call(self.site.request(body), body, keep=True)
        self.assertLess(program.resident_kib(), before + 6144)


if __name__ == "__main__":
    tap.main()
