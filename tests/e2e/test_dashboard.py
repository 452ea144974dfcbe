#!/usr/bin/env python3
"""The dashboard in Debian's Chromium, served by the program under lighttpd. Each file of tests/browser has a site of
its own with a day of events in it. Screenshots are left in screenshots/ of the build."""

import contextlib
import http.server
import json
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import node
import ntrvsta
import receiver
import seed
import tap
from ntrvsta import Site, event, wait_for
from webservers import LighttpdFastCGI, program

SETTINGS = {
    "web": {"rate_limit": "0"},
    "handlers": {"retry_schedule": "1h"},
    "webhooks": {"allow_http": "on", "allow_private": "127.0.0.0/8", "retry_schedule": "1h"}}
HANDLERS = {
    "session.completed/10-warehouse": 'echo "stored as row 4711"',
    "session.completed/20-ats": 'grep -q Turing || exit 0; [ -e "$OUT/ats-works" ] || { echo "ATS: no such candidate" >&2; exit 100; }',
    "session.abandoned/30-mail": '[ -e "$OUT/mail-works" ] || { echo "cannot connect to the mail server" >&2; exit 75; }',
    "hostile.event/10-print": r"cat; printf '\033[31mred\033[0m \033]0;title\007'; exit 100",
    "all/90-log": 'cat > /dev/null'}
PEOPLE = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Katherine Johnson", "Edsger Dijkstra")
EVENTS = ["session.started", "session.completed", "candidate.invited", "session.completed"] * 10 + ["session.abandoned"] * 2
OLDER = 240  # events before those, which one handler has seen
OLDER_BODY = '{"event":"candidate.reminded","data":{"candidate":{"id":"cand_%d","email":"someone@example.org"}}}'
SCREENSHOTS = os.path.join(ntrvsta.BUILDDIR, "screenshots")


def setUpModule():
    """Skipped with a word where something is missing."""
    for need in ("lighttpd", "chromium"):
        if not program(need):
            raise unittest.SkipTest(f"{need} is not installed")
    node.modules()


def session_event(name, n):
    person = PEOPLE[n % len(PEOPLE)]
    candidate = {"id": f"cand_{n}", "name": person, "email": person.lower().replace(" ", ".") + "@example.org"}
    return event(name, session={"id": f"sess_{n:04d}", "interview_id": "int_1", "candidate": candidate, "overall_score": 60 + n % 40})


class World:
    """A site behind lighttpd, with webhooks whose receiver is here, and things that happened."""

    def __init__(self):
        with contextlib.ExitStack() as undo:
            self.site = Site(SETTINGS, handlers=HANDLERS)
            undo.callback(self.site.close)
            self.site.install()
            self.keys = {scope: self.site.tool("keys", "create", "--org", "default", "--scope", scope, "--json")["key"]
                         for scope in ("admin", "write", "read")}
            self.server = undo.enter_context(LighttpdFastCGI(self.site))
            if self.server.send("GET", self.server.mount + "/dashboard/").status == 404:
                raise unittest.SkipTest("the program was built without the dashboard")
            self.receiver = undo.enter_context(receiver.Receiver(answer=self.answer))
            self.control = undo.enter_context(Control(self))
            self.happen()
            self.undo = undo.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.undo.close()

    @staticmethod
    def answer(_connection, request):
        """A receiver's: by the path that it is called at."""
        if request.path.startswith("/broken"):
            return receiver.response(500, b"the database is away", Content_Type="text/plain")
        return receiver.response(200, b"thank you", Content_Type="text/plain")

    def call(self, method, path, body=None):
        headers = {"X-Ntrvsta-Api-Key": self.keys["write"], "Content-Type": "application/json"}
        answer = self.server.send(method, self.server.mount + path, json.dumps(body) if body else None, headers)
        if answer.status >= 300:
            raise AssertionError(answer)
        return answer.json

    def happen(self):
        seed.backlog(self.site, OLDER, "all/90-log", event="candidate.reminded", body=OLDER_BODY, state="success", attempt=1, output=b"")
        for path, events, description in (("/ats", ["session.completed", "session.started"], "Applicant tracking"),
                                          ("/broken", ["session.abandoned"], "CRM")):
            self.call("POST", "/v1/webhooks", {"url": self.receiver.url(path), "events": events, "description": description})
        for n, name in enumerate(EVENTS):
            answer = self.server.post(session_event(name, n))
            if answer.status != 200:
                raise AssertionError(answer)
        for signature in ("0" * 64, "f" * 64):
            self.server.post(b"{}", headers={"X-NTRVSTA-Signature": signature})
        wait_for(self.is_quiet, 60, f"all was tried once\n{self.site.logs()}")
        seed.spread(self.site, 22)

    def is_quiet(self):
        expanded, = self.site.query("SELECT (SELECT max(seq) FROM event) = (SELECT value FROM meta WHERE key = 'expanded')")[0]
        under_way, = self.site.query("SELECT count(*) FROM delivery WHERE state = 'running' OR (state = 'pending' AND attempt = 0)")[0]
        return expanded and not under_way

    # --- what tests of the browser may ask for ---

    def down(self):
        self.server.stop()

    def up(self):
        self.server.run()
        wait_for(self.server.answers, 20, "lighttpd listens again")

    def expire(self):
        """Every session is over."""
        with receiver.writing(self.site) as db:
            db.execute("UPDATE session SET expires_ms = 1")

    def environment(self):
        root = f"http://127.0.0.1:{self.server.port}"
        return {"NTRVSTA_URL": root + self.server.mount, "NTRVSTA_SOURCE": root + self.server.path,
                "NTRVSTA_SECRET": self.site.secret, "NTRVSTA_CONTROL": self.control.url, "NTRVSTA_OUT": self.site.out,
                "NTRVSTA_RECEIVER": self.receiver.url(""), "NTRVSTA_CHROMIUM": program("chromium"),
                "NTRVSTA_SCREENSHOTS": SCREENSHOTS, "NTRVSTA_ADMIN_KEY": self.keys["admin"],
                "NTRVSTA_KEY": self.keys["write"], "NTRVSTA_READ_KEY": self.keys["read"]}


class Control:
    """`POST /down`, `/up`, `/expire`: the methods of a world, for a test in another process."""

    ACTIONS = ("down", "up", "expire")

    def __init__(self, world):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                action = self.path[1:]
                try:
                    if action not in Control.ACTIONS:
                        raise ValueError(action)
                    getattr(world, action)()
                    self.send_response(204)
                    self.end_headers()
                except Exception as error:  # the other side's test fails with it
                    self.send_response(500)
                    self.end_headers()
                    self.wfile.write(repr(error).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Dashboard(unittest.TestCase):
    """One method for each file of tests/browser."""


def add(name):
    def method(self):
        with World() as world:
            node.run(self, f"tests/browser/{name}.test.js", world.environment())

    method.__doc__ = name
    setattr(Dashboard, f"test_{name}", method)


for file in sorted(os.listdir(os.path.join(ntrvsta.SRCDIR, "tests", "browser"))):
    if file.endswith(".test.js"):
        add(file.removesuffix(".test.js"))

if __name__ == "__main__":
    tap.main()
