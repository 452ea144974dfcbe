#!/usr/bin/env python3
"""Everything at once, for what only goes wrong when two threads meet. Under ThreadSanitizer it says where."""

import itertools
import json
import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fastcgi
import tap
from ntrvsta import Site, event, wait_for

BATCH = 10           # requests on one connection
LARGE = 100 * 1024   # more than the reader takes: a worker's
RELOADS = 4          # while everything else goes on
HANDLERS = {"all/sink": "cat >/dev/null", "session.completed/quick": "exit 0"}


class Everything:
    """Clients of all kinds, until they are told to end. What they found wrong is in `wrong`."""

    def __init__(self, site, program, key):
        self.site, self.program, self.key = site, program, key
        self.ending = threading.Event()
        self.told_to_end = threading.Event()  # the program: it may close connections from now on
        self.numbers = itertools.count()
        self.lock = threading.Lock()
        self.accepted, self.wrong, self.answers = {}, [], 0
        kinds = [self.small, self.small, self.large, self.cut_off, self.refused, self.read, self.publish, self.probe]
        self.threads = [threading.Thread(target=self.repeat, args=(kind,)) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)

    def repeat(self, kind):
        while not self.ending.is_set():
            try:
                with self.program.connect() as connection:
                    kind(connection)
            except OSError as error:
                if not self.told_to_end.is_set():
                    self.note(f"{kind.__name__}: {error!r}")
            except Exception as error:
                self.note(f"{kind.__name__}: {error!r}")

    def note(self, what):
        with self.lock:
            self.wrong.append(what)

    def call(self, connection, params, body=b"", wanted=(200,), keep=False):
        """The answer; None where the connection was closed, as it may be once the program ends."""
        answer = connection.call(params, body, keep=keep)
        if answer is None:
            if not self.told_to_end.is_set():
                self.note(f"no answer to {params['REQUEST_METHOD']} {params['PATH_INFO']}")
            return None
        with self.lock:
            self.answers += 1
        if answer.status not in (*wanted, *([503] if self.told_to_end.is_set() else [])):
            self.note(f"{params['REQUEST_METHOD']} {params['PATH_INFO']}: {answer}")
        return answer

    def api(self, connection, method, path, body=None, wanted=(200,)):
        body = b"" if body is None else json.dumps(body).encode()
        params = self.site.request(body, method=method, path=path, signature=None,
                                   headers={"X-Ntrvsta-Api-Key": self.key})
        return self.call(connection, params, body, wanted)

    def deliver(self, connection, keep=False, pad=0):
        body = event(n=next(self.numbers), pad="x" * pad)
        answer = self.call(connection, self.site.request(body), body, keep=keep)
        if answer and answer.status == 200:
            with self.lock:
                self.accepted[answer.json["id"]] = body
        return answer

    # --- the kinds ---

    def small(self, connection):
        for n in range(BATCH):
            if not self.deliver(connection, keep=n < BATCH - 1):
                return

    def large(self, connection):
        self.deliver(connection, pad=LARGE)

    def cut_off(self, connection):
        body = event(n=next(self.numbers))
        whole = fastcgi.encode(self.site.request(body), body)
        connection.send(whole[:next(self.numbers) % len(whole)])
        connection.socket.shutdown(socket.SHUT_WR)
        connection.ended()

    def refused(self, connection):
        body = event(n=next(self.numbers))
        address = f"10.0.{next(self.numbers) % 200}.1"
        params = self.site.request(body, signature="0" * 64, env={"REMOTE_ADDR": address})
        self.call(connection, params, body, wanted=(401, 429))

    def read(self, connection):
        paths = ("/metrics", "/v1/security", "/v1/overview", "/v1/events", "/v1/deliveries", "/v1/webhooks",
                 "/v1/webhooks/all/sink/logs")
        self.api(connection, "GET", paths[next(self.numbers) % len(paths)])

    def publish(self, connection):
        data = {"n": next(self.numbers)}
        answer = self.api(connection, "POST", "/v1/events", {"event": "session.completed", "data": data}, wanted=(202,))
        if not answer or answer.status != 202:
            return
        with self.program.connect() as other:
            shown = self.api(other, "GET", f"/v1/events/{answer.json['id']}")
        if shown and shown.status == 200 and json.loads(shown.json["body"])["data"] != data:
            self.note(f"{answer.json['id']} has the data of another: {shown}")

    def probe(self, connection):
        self.api(connection, "POST", "/v1/webhooks/all/sink/test", {"event": "session.completed"}, wanted=(200, 409, 503))


class Races(unittest.TestCase):
    def test_all_at_once(self):
        """all kinds of requests while the configuration changes: nothing is mixed up, or lost at the end"""
        with Site({"web": {"rate_limit": "0"}}, handlers=HANDLERS) as site:
            program = fastcgi.Program(site)
            self.addCleanup(program.close)
            key = site.tool("keys", "create", "--org", "acme", "--scope", "write", "--json")["key"]
            all_of_them = Everything(site, program, key)
            self.addCleanup(all_of_them.end)
            for n in range(RELOADS):
                site.configure({"log": {"level": ("debug", "info")[n % 2]}})
                wait_for(lambda n=n: program.logged().count("configuration loaded") > n, 30, "the configuration is loaded")
            all_of_them.told_to_end.set()
            status = program.stop()
            all_of_them.end()
            self.assertEqual(all_of_them.wrong, [])
            self.assertEqual(status, 0, program.logged())
            self.assertGreater(all_of_them.answers, 50)
            stored = {ident: body for ident, _, _, body in site.stored()}
            self.assertEqual({i: stored.get(i) for i in all_of_them.accepted}, all_of_them.accepted)


if __name__ == "__main__":
    tap.main()
