"""The command line tool, command by command: what each does, each error, what people and programs read."""

import contextlib
import datetime
import errno
import fcntl
import http.server
import json
import os
import pty
import pwd
import re
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import ntrvsta  # noqa: E402
import seed  # noqa: E402
import tap  # noqa: E402
import webservers  # noqa: E402
from ntrvsta import Site, event, read_file, sign, wait_for  # noqa: E402

COMMANDS = ("init", "check", "serve", "dispatch", "send", "sign", "verify", "secret", "keys", "events", "logs", "stats", "failed",
            "retry", "recover", "cancel", "prune", "webhooks", "templates", "invite")
OFF = {"dispatch": {"start": "off"}}
LIGHTTPD = webservers.program("lighttpd")
ROOT = os.geteuid() == 0
# What may not reach a terminal: controls other than the newline, C1 controls, what turns text around.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def tool(*args, env=None, stdin=b"", cwd="/"):
    """`ntrvsta ARGS` without any site."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **ntrvsta.SANITIZER_ENV, **(env or {})}
    done = subprocess.run([ntrvsta.TOOL, *args], input=stdin, capture_output=True, timeout=60, env=env, cwd=cwd)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def on_terminal(site, *args, columns=80, env=None):
    """`ntrvsta ARGS` on a terminal: its exit status, and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = site.environment({"TERM": "xterm", "LANG": "C.UTF-8", **(env or {})})
    child = site.spawn([site.tool_path, *args], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            more = b""
        if not more:
            break
        text += more
    os.close(ours)
    return child.wait(60), text.decode().replace("\r\n", "\n")


def sql(site, *statements):
    """Change the database behind the programs' backs."""
    db = sqlite3.connect(site.db_file, timeout=20, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


class Case(unittest.TestCase):
    longMessage = True

    def site(self, *args, **how):
        site = Site(*args, **how)
        self.addCleanup(site.close)
        return site

    def fails(self, done, pattern, status=1):
        """DONE ended with STATUS, said PATTERN on standard error and nothing on standard output."""
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")


class Usage(Case):
    def test_help(self):
        """--help of the tool and of each command goes to standard output, exit 0"""
        done = tool("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for command in COMMANDS:
            self.assertRegex(done.stdout, rf"(?m)^  {command} ")
            with self.subTest(command):
                for args in ((command, "--help"), ("help", command), (command, "-h"), (command, "x", "--help")):
                    one = tool(*args)
                    self.assertEqual((one.returncode, one.stderr), (0, ""))
                    self.assertTrue(one.stdout.startswith(f"Usage: ntrvsta {command}"), one.stdout)
                    self.assertIn("Examples:", one.stdout)
                    self.assertLessEqual(max(map(len, one.stdout.splitlines())), 110)

    def test_nothing(self):
        """without a command: the help on standard error, exit 2"""
        done = tool()
        self.fails(done, "Usage: ntrvsta COMMAND", 2)

    def test_version(self):
        """--version names program and version"""
        self.assertRegex(tool("--version").stdout, r"\Antrvsta \d+\.\d+\.\d+\n\Z")

    def test_usage_errors(self):
        """wrong usage: exit 2, a word of what is wrong, whatever the configuration"""
        for args, pattern in (
            (["evnts"], "unknown command 'evnts'; did you mean 'events'"),
            (["event"], "did you mean 'events'"),
            (["xyzzy"], "unknown command 'xyzzy'\n"),
            (["help", "lgos"], "did you mean 'logs'"),
            (["--frobnicate"], "unknown option --frobnicate"),
            (["check", "--config"], "--config wants a value"),
            (["events", "--lmit", "3"], "unknown option --lmit; did you mean --limit"),
            (["events", "-n", "3"], "unknown option -n"),
            (["events", "--limit"], "--limit wants a value"),
            (["events", "--limit", "many"], "--limit wants a number"),
            (["events", "--limit", "-1"], "--limit wants a number"),
            (["events", "--limit=5x"], "--limit wants a number"),
            (["events", "--since", "yesterday"], "--since wants a time"),
            (["events", "--until", "25:00"], "--until wants a time"),
            (["events", "shwo", "x"], "unknown subcommand 'shwo'"),
            (["events", "show"], "wants the id of one event"),
            (["events", "show", "a", "b"], "wants the id of one event"),
            (["events", "show", "evt_x", "--limit", "3"], "for the list"),
            (["init"], "wants one directory"),
            (["init", "a", "b"], "wants one directory"),
            (["init", "a", "--config", "b"], "--config does not go with init"),
            (["init", "a\nb"], "line break"),
            (["check", "x"], "takes no operand"),
            (["serve", "x"], "takes no operand"),
            (["serve", "--listen", "localhost:http"], "--listen wants HOST:PORT"),
            (["serve", "--listen", "127.0.0.1:99999"], "--listen wants HOST:PORT"),
            (["serve", "--listen", "::1"], "--listen wants HOST:PORT"),
            (["serve", "--listen", "no.such.host.invalid:80"], "--listen no.such.host.invalid:80: "),
            (["dispatch", "x"], "takes no operand"),
            (["dispatch", "--once=yes"], "--once takes no value"),
            (["dispatch", "--idle", "soon"], "--idle wants a duration"),
            (["send"], "wants the name of one event"),
            (["send", "a", "b"], "wants the name of one event"),
            (["send", "../../etc/passwd"], "can't be an event's name"),
            (["send", "session.completed", "--count", "0"], "--count wants a number"),
            (["send", "session.completed", "--count", "1e3"], "--count wants a number"),
            (["send", "session.completed", "--timestamp", "noon"], "--timestamp wants a time"),
            (["sign"], "wants one file"),
            (["verify", "x"], "wants --signature"),
            (["verify", "--signature", "x"], "wants one file"),
            (["secret"], "wants a subcommand: rotate or list"),
            (["secret", "show"], "unknown subcommand 'show'"),
            (["secret", "list", "--overlap", "1h"], "--overlap is for rotate"),
            (["secret", "rotate", "--overlap", "tomorrow"], "--overlap wants a duration"),
            (["secret", "rotate", "x"], "takes no operand"),
            (["logs", "a", "b"], "wants one handler or webhook at most"),
            (["logs", "../x"], "can't be a handler's name"),
            (["logs", "--status", "bad"], "--status wants failed, success or pending"),
            (["logs", "--follow", "--until", "1h"], "--until does not go with --follow"),
            (["logs", "--follow", "--status", "pending"], "--follow shows attempts"),
            (["stats", "a", "b"], "wants one handler or webhook at most"),
            (["stats", "a..b"], "can't be a handler's name"),
            (["stats", "--range", "2h"], "--range wants 1h, 24h, 7d or 30d, not '2h'"),
            (["failed", "a", "b"], "wants one handler or webhook at most"),
            (["failed", "/etc"], "can't be a handler's name"),
            (["retry"], "wants the id of a delivery"),
            (["recover", "--since", "1h"], "wants the name of one handler"),
            (["recover", "all/a", "all/b", "--since", "1h"], "wants the name of one handler"),
            (["recover", "all/a"], "wants --since"),
            (["recover", "all/../a", "--since", "1h"], "can't be a handler's name"),
            (["recover", "all/a", "--since", "noon"], "--since wants a time"),
            (["recover", "all/a", "--since", "1h", "--until", "noon"], "--until wants a time"),
            (["recover", "all/a", "--since", "1h", "--until", "2h"], "--until is not later than --since"),
            (["recover", "all/a", "--since", "1h", "--dryrun"], "did you mean --dry-run"),
            (["cancel"], "wants the id of a delivery"),
            (["cancel", "dlv_x", "--handler", "all/a"], "not several"),
            (["cancel", "--handler", "../a"], "can't be a handler's name"),
            (["prune", "x"], "takes no operand"),
        ):
            with self.subTest(" ".join(args)):
                done = tool(*args)
                self.fails(done, pattern, 2)
                self.assertRegex(done.stderr, r"(?m)^Try 'ntrvsta .*--help'\.$")

    def test_broken_configuration(self):
        """every command that needs the configuration fails on an error in it, with file:line"""
        site = self.site()
        site.write_config("[source ntrvsta]\npath = /webhooks/ntrvsta\nsecret_fiel = secret\n")
        for args in (["check"], ["serve", "--listen", "127.0.0.1:0"], ["dispatch", "--once"], ["send", "session.completed"],
                     ["sign", "/dev/null"], ["verify", "/dev/null", "--signature", "x"], ["secret", "list"],
                     ["secret", "rotate"], ["events"], ["events", "show", "evt_x"], ["logs"], ["failed"], ["retry", "dlv_x"]):
            with self.subTest(" ".join(args)):
                done = site.tool(*args, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{site.conf}:3:", done.stderr + done.stdout)

    def test_configuration_choice(self):
        """--config, also behind the command or with =, goes before $NTRVSTA_CONF; without any: what to do"""
        one, two = self.site(), self.site()
        for args in (["check", "--config", one.conf], [f"--config={one.conf}", "check"], ["--config", one.conf, "check"]):
            done = tool(*args, env={"NTRVSTA_CONF": two.conf})
            self.assertIn(one.conf, done.stdout)
            self.assertNotIn(two.conf, done.stdout)
        relative = tool("check", "--config", "ntrvsta.conf", cwd=one.root)
        self.assertIn(one.conf, relative.stdout)
        self.fails(tool("events"), "ntrvsta init DIR")
        self.fails(tool("events", "--config", "/no/such.conf"), "/no/such.conf")

    def test_output_that_ends_early(self):
        """a reader that leaves, as `head` does, is no news; a full disk is an error"""
        site = self.site()
        read_end, write_end = os.pipe()
        os.close(read_end)
        with open(write_end, "wb") as closed, open("/dev/full", "wb") as full:
            done = subprocess.run([ntrvsta.TOOL, "--help"], stdout=closed, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (1, b""))
            done = subprocess.run([ntrvsta.TOOL, "events", "--json"], stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  env=site.environment())
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"can't write the output", done.stderr)

    def test_empty(self):
        """with nothing received, tables say so and --json is a document"""
        site = self.site(settings=OFF)
        for command in ("events", "logs", "failed"):
            with self.subTest(command):
                self.assertEqual(site.tool(command, "--json"), {"data": [], "has_more": False})
                self.assertRegex(site.tool(command).stdout, r"\A(No|Nothing) [^\n]*\.\n\Z")
        self.assertEqual(site.tool("stats", "--json")["data"], [])
        self.assertRegex(site.tool("stats").stdout, r"\ntotal +0 +0 +0 +- +0 +- +- +-\n\Z")
        self.assertEqual(site.tool("prune", "--json")["removed"], 0)


class Init(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ntrvsta-test-init-")
        self.addCleanup(shutil.rmtree, self.dir)

    def snapshot(self, root):
        found = {}
        for folder, _, files in os.walk(root):
            for path in [folder, *(os.path.join(folder, f) for f in files)]:
                st = os.lstat(path)
                found[path] = (st.st_mode, st.st_mtime_ns, read_file(path) if os.path.isfile(path) else None)
        return found

    def test_new(self):
        """makes configuration, secret, state and a first handler, with the right modes whatever the umask"""
        for umask in (0o000, 0o022, 0o077):
            root = os.path.join(self.dir, f"a b {umask:o}", "deeper")
            old = os.umask(umask)
            try:
                done = tool("init", root)
            finally:
                os.umask(old)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            modes = {name: os.stat(os.path.join(root, name)).st_mode & 0o777
                     for name in ("secret", "state", "handlers/all/10-log", "ntrvsta.conf")}
            self.assertEqual(modes, {"secret": 0o600, "state": 0o700, "handlers/all/10-log": 0o755, "ntrvsta.conf": 0o644})
            self.assertRegex(read_file(os.path.join(root, "secret")), rb"\A[0-9a-f]{64}\n\Z")
        self.assertNotEqual(*(read_file(os.path.join(self.dir, f"a b {u}", "deeper", "secret")) for u in (0, 22)))

    def test_output(self):
        """prints what it made and the mounts with the real paths; the secret stays in its file"""
        root = os.path.join(self.dir, "site")
        done = tool("init", root)
        for name in ("ntrvsta.conf", "secret", "state", "handlers", "handlers/all/10-log"):
            self.assertIn(f"created {root}/{name}\n", done.stdout)
        for word in ("lighttpd", "Apache", "nginx", "fastcgi.server", "FcgidCmdOptions", "fastcgi_pass", "chown", ntrvsta.FCGI):
            self.assertIn(word, done.stdout)
        self.assertNotIn(read_file(os.path.join(root, "secret")).decode().strip(), done.stdout)

    def test_twice(self):
        """a second run changes nothing and says what was there"""
        root = os.path.join(self.dir, "site")
        tool("init", root)
        before = self.snapshot(root)
        done = tool("init", root)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"kept    {root}/secret\n", done.stdout)
        self.assertNotIn("created", done.stdout)
        self.assertEqual(self.snapshot(root), before)

    def test_completes(self):
        """what is missing is made, what exists is left alone"""
        root = os.path.join(self.dir, "site")
        tool("init", root)
        os.unlink(os.path.join(root, "secret"))
        os.unlink(os.path.join(root, "handlers/all/10-log"))
        with open(os.path.join(root, "ntrvsta.conf"), "w") as f:
            f.write("; mine\n")
        doc = json.loads(tool("init", root, "--json").stdout)
        self.assertEqual(doc["created"], [f"{root}/secret"])
        self.assertEqual(read_file(os.path.join(root, "ntrvsta.conf")), b"; mine\n")
        self.assertEqual(os.listdir(os.path.join(root, "handlers/all")), [], "a handler that was removed does not come back")

    def test_dangling_secret(self):
        """a link to nowhere in the secret's place is not followed"""
        root = os.path.join(self.dir, "site")
        os.mkdir(root)
        os.symlink(os.path.join(self.dir, "elsewhere"), os.path.join(root, "secret"))
        tool("init", root)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "elsewhere")))

    def test_errors(self):
        """a file in the way, and a place where nothing can be made"""
        path = os.path.join(self.dir, "file")
        with open(path, "w"):
            pass
        self.fails(tool("init", path), "file/state: can't be made: Not a directory")
        self.fails(tool("init", "/proc/x"), "/proc/x: can't be made")

    def test_works(self):
        """what it made passes the check, receives and runs its handler"""
        root = os.path.join(self.dir, "with blank")
        doc = json.loads(tool("init", root, "--json").stdout)
        env = {"NTRVSTA_CONF": doc["config"]}
        ntrvsta.name_root(doc["config"])
        done = tool("check", env=env)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("\n0 problems, 0 warnings.\n", done.stdout)
        site = self.site(settings=OFF)
        site.conf, site.secret = doc["config"], read_file(os.path.join(root, "secret")).decode().strip()
        self.addCleanup(self.end_dispatcher, root)  # the call starts one
        self.assertEqual(site.cgi(event()).status, 200)
        rows = wait_for(lambda: site.tool("logs", "--status", "success", "--json")["data"], 20, "the handler has run")
        self.assertEqual(rows[0]["target"], "all/10-log")
        self.assertIn("session.completed", rows[0]["output"])

    def end_dispatcher(self, root):
        for pid in ntrvsta.processes_of(root):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not ntrvsta.processes_of(root), 10, "the dispatcher's end")

    def check_mount(self, kind, name, run):
        if kind.missing():
            self.skipTest(f"{kind.missing()} is not installed")
        site = self.site(settings=OFF)
        os.rename(site.root, site.root + " of mine")
        site.root += " of mine"
        site.conf, site.state = os.path.join(site.root, "ntrvsta.conf"), os.path.join(site.root, "state")
        site.db_file = os.path.join(site.state, "ntrvsta.db")
        site.install()
        text = site.tool("init", site.root, "--json")["mounts"][name]

        class Mounted(kind):
            pass

        setattr(Mounted, run, lambda server: text.replace("/run/ntrvsta-fcgi.sock", server.socket))
        with Mounted(site) as server:
            self.assertEqual(server.post(event()).status, 200, server.logs())
            self.assertEqual(len(site.tool("events", "--json")["data"]), 1)

    def test_lighttpd_mount(self):
        """the mount that it prints for lighttpd works"""
        class Lighttpd(webservers.LighttpdFastCGI):
            def run(server):
                user = server.user and f'server.username = "{server.user.pw_name}"\nserver.groupname = "{server.user.pw_name}"'
                text = server.FRAME.format(dir=server.dir, port=server.port, user=user or "", snippet=server.text())
                server.spawn([LIGHTTPD, "-D", "-f", server.write("lighttpd.conf", text)],
                             env={"PATH": "/usr/bin:/bin", **ntrvsta.SANITIZER_ENV})
        self.check_mount(Lighttpd, "lighttpd", "text")

    def test_apache_mount(self):
        """the mount that it prints for Apache works"""
        class Apache(webservers.ApacheFcgid):
            def body(server):
                return f"FcgidIPCDir {server.dir}/tmp\nFcgidProcessTableFile {server.dir}/tmp/shm\n" + server.text()
        self.check_mount(Apache, "Apache", "text")

    def test_nginx_mount(self):
        """the mount that it prints for nginx works"""
        class Nginx(webservers.Nginx):
            def run(server):
                server.spawn_fcgi()
                text = server.FRAME.format(dir=server.dir, port=server.port, upstream="",
                                           user=server.user and f"user {server.user.pw_name};" or "",
                                           snippet=server.text().replace("include ", "include /etc/nginx/"))
                server.spawn([webservers.program("nginx"), "-c", server.write("nginx.conf", text), "-p", server.dir,
                              "-e", os.path.join(server.dir, "error.log")])
        self.check_mount(Nginx, "nginx", "text")


class Check(Case):
    def findings(self, site, level, **how):
        """The messages of LEVEL; the exit status must fit the document."""
        done = site.tool("check", "--json", check=False, **how)
        doc = json.loads(done.stdout)
        problems = [f for f in doc["findings"] if f["level"] == "problem"]
        self.assertEqual((done.returncode, doc["ok"], doc["problems"]), (1, False, len(problems)) if problems else (0, True, 0))
        text = site.tool("check", check=False, **how)
        self.assertEqual(text.returncode, done.returncode)
        for finding in doc["findings"]:
            self.assertIn(finding["message"].split("\n")[0], text.stdout)
        return "\n".join(f["message"] for f in doc["findings"] if f["level"] == level)

    def test_good(self):
        """a site without a fault: nothing to report, what would run for each documented event"""
        site = self.site(settings=OFF, handlers={"all/90-log": "exit 0", "session.completed/10-a": "exit 0",
                                                 "session.completed/20-b": "exit 0", "result.completed": "exit 0"},
                         secret="0123456789abcdef")
        self.assertEqual(self.findings(site, "problem") + self.findings(site, "warning"), "")
        plan = {row["event"]: row["handlers"] for row in site.tool("check", "--json")["events"]}
        self.assertEqual(sorted(plan), sorted(
            ["interview.created", "interview.updated", "interview.deleted", "session.started", "session.completed",
             "session.abandoned", "candidate.invited", "candidate.reminded", "candidate.updated", "result.completed"]))
        self.assertEqual(plan["session.completed"], ["session.completed/10-a", "session.completed/20-b", "all/90-log"])
        self.assertEqual(plan["result.completed"], ["result.completed", "all/90-log"])
        self.assertEqual(plan["candidate.invited"], ["all/90-log"])
        text = site.tool("check").stdout
        self.assertRegex(text, r"session.completed +session.completed/10-a\n +session.completed/20-b\n +all/90-log\n")
        self.assertIn("0 problems, 0 warnings.", text)

    def test_scripts(self):
        """a script that can't be started is a problem, with the reason and what to do"""
        crlf = "#!/bin/sh\r\nexit 0\r\n"
        for script, mode, pattern in (
            ("exit 0", 0o644, r"all/x is skipped: .*chmod \+x"),
            ("#!/no/such/interpreter\n", 0o755, "all/x can't be started: its interpreter /no/such/interpreter: No such file"),
            ("#!/etc/passwd\n", 0o755, "its interpreter /etc/passwd is not executable"),
            ("#!/usr/bin/env no-such-language\n", 0o755, "'no-such-language' is not in /usr/local/bin, /usr/bin or /bin"),
            ("#!/usr/bin/env sh -eu\n", 0o755, "write /usr/bin/env -S sh -eu"),
            ("#!/usr/bin/env\n", 0o755, "is given no program"),
            ("#! sh\n", 0o755, "names no absolute path, but 'sh'"),
            ("#!\n", 0o755, "names no absolute path"),
            (crlf, 0o755, "CR LF"),
            (crlf.replace("/bin/sh", "/usr/bin/env sh"), 0o755, "CR LF"),
        ):
            with self.subTest(repr(script)):
                site = self.site(settings=OFF)
                path = site.handler("all/x", script, mode)
                with open(path, newline="") as f:
                    self.assertTrue(script.startswith("exit") or f.read() == script)
                self.assertRegex(self.findings(site, "problem"), pattern)
        for content, pattern in ((b"", "is empty"), (b"echo hello\n", "has no #! line"),
                                 (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark")):
            with self.subTest(repr(content)):
                site = self.site(settings=OFF)
                with open(site.handler("all/x", "#!"), "wb") as f:
                    f.write(content)
                self.assertRegex(self.findings(site, "problem"), pattern)

    def test_scripts_that_start(self):
        """scripts and programs that the kernel starts are no problem"""
        site = self.site(settings=OFF, handlers={
            "all/plain": "#!/bin/sh\n", "all/blank": "#! /bin/sh -e \nexit 0\n", "all/env": "#!/usr/bin/env sh\n",
            "all/split": "#!/usr/bin/env -S sh -eu\n", "all/long": "#!/bin/sh\n# " + "x" * 5000})
        shutil.copy("/bin/true", os.path.join(site.handlers, "all", "program"))
        self.assertEqual(self.findings(site, "problem"), "")
        self.assertRegex(self.findings(site, "ok"), "6 of 6 can be started")

    def test_skipped(self):
        """what is no handler is named with its reason, and is no problem"""
        site = self.site(settings=OFF, handlers={"all/good": "exit 0", "all/.hidden": "exit 0", "all/x.bak": "exit 0",
                                                 "all/y~": "exit 0", "all/sub/z": "exit 0"})
        with open(os.path.join(site.handlers, "all", "README"), "w") as f:
            f.write("what these are\n")
        self.assertEqual(self.findings(site, "problem"), "")
        notes = self.findings(site, "note")
        for name in ("all/.hidden", "all/x.bak", "all/y~", "all/sub"):
            self.assertRegex(notes, rf"(?m)^{re.escape(name)} is skipped: \w")
        self.assertRegex(self.findings(site, "warning"), "all/README is skipped")

    def test_misspelt_names(self):
        """a misspelt event, an override for no handler: a warning, exit 0"""
        site = self.site(settings={**OFF, "handler all/10-lgo": {"timeout": "1m"}},
                         handlers={"session.complete/10-x": "exit 0", "all/10-log": "exit 0"})
        warnings = self.findings(site, "warning")
        self.assertRegex(warnings, r"session.complete/10-x waits for session.complete, .* did you mean session.completed\?")
        self.assertIn("[handler all/10-lgo]", warnings)
        self.assertEqual(self.findings(site, "problem"), "")

    def test_writable_handlers(self):
        """handlers that everybody can change are warned of"""
        site = self.site(settings=OFF, handlers={"all/x": "exit 0", "all/y": "exit 0"})
        os.chmod(os.path.join(site.handlers, "all", "x"), 0o777)
        self.assertRegex(self.findings(site, "warning"), r"\A[^\n]*/all/x: everybody on this machine can change it")
        os.chmod(os.path.join(site.handlers, "all", "x"), 0o755)
        os.chmod(os.path.join(site.handlers, "all"), 0o777)
        self.assertRegex(self.findings(site, "warning"), r"\A[^\n]*/all: everybody on this machine can change it[^\n]*\Z")

    def test_log(self):
        """a log that can't be opened, because of which no dispatcher starts"""
        site = self.site(settings={**OFF, "log": {"security": "logs/security.log"}})
        path = os.path.join(site.root, "logs", "security.log")
        self.assertRegex(self.findings(site, "problem"), f"{path}: can't be written: No such file")
        os.mkdir(os.path.dirname(path))
        self.assertEqual(self.findings(site, "problem"), "")

    def test_handlers_folder(self):
        """no handler at all is a warning, no folder for them a problem"""
        site = self.site(settings=OFF)
        self.assertRegex(self.findings(site, "warning"), "holds none")
        os.rmdir(site.handlers)
        self.assertRegex(self.findings(site, "problem"), f"{site.handlers}: No such file or directory")

    def test_secret_modes(self):
        """a secret that others may read is a problem; root may let a group read"""
        site = self.site(settings=OFF)
        for mode, pattern in ((0o600, ""), (0o400, ""), (0o604, "everybody"), (0o644, "everybody"), (0o602, "everybody"),
                              (0o620, "its group")):
            with self.subTest(f"{mode:o}"):
                os.chmod(site.secret_file, mode)
                self.assertRegex(self.findings(site, "problem"), pattern or r"\A\Z")
        os.chmod(site.secret_file, 0o640)
        if ROOT:
            self.assertEqual(self.findings(site, "problem"), "")
            os.chown(site.secret_file, 12345, 12345)
        self.assertRegex(self.findings(site, "problem"), "its group")

    def test_secrets(self):
        """expired, missing, empty and short secrets"""
        site = self.site(settings=OFF)
        site.write_secret("0123456789abcdef until=2020-01-01T00:00:00Z")
        self.assertRegex(self.findings(site, "problem"), "every secret in .* has expired")
        site.write_secret("short")
        self.assertRegex(self.findings(site, "warning"), "5 bytes can be guessed")
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        site.write_secret(f"0123456789abcdef until={soon}")
        self.assertRegex(self.findings(site, "warning"), "its last secret ends at")
        site.write_secret("# nothing but a comment")
        self.assertIn(site.secret_file, self.findings(site, "problem"))
        os.unlink(site.secret_file)
        self.assertIn(site.secret_file, self.findings(site, "problem"))
        done = site.tool("check", env={"NTRVSTA_WEBHOOK_SECRET": "0123456789abcdef"})
        self.assertIn("$NTRVSTA_WEBHOOK_SECRET", done.stdout)

    def test_replay(self):
        """max_age off is noted, one that leaves a gap behind retention is warned of, one within it is right"""
        for max_age, retain, level in (("0", "30d", "note"), ("31d", "30d", "warning"), ("30d", "30d", None)):
            with self.subTest(max_age=max_age):
                site = self.site({**OFF, "source ntrvsta": {"max_age": max_age}, "store": {"retain_events": retain}})
                for at in ("note", "warning"):
                    (self.assertIn if at == level else self.assertNotIn)("could be repeated", self.findings(site, at))

    def test_trusted_proxies(self):
        """trusting everybody's X-Forwarded-For is warned of, naming one's proxies is not"""
        for blocks, warned in (("10.0.0.0/8 ::1", False), ("10.0.0.0/8 0.0.0.0/0", True), ("::/0", True)):
            site = self.site({**OFF, "web": {"trusted_proxies": blocks}})
            (self.assertIn if warned else self.assertNotIn)("every address", self.findings(site, "warning"))

    def test_config_typo(self):
        """each error of the configuration with its file:line"""
        site = self.site()
        site.write_config("[source ntrvsta]\nsecret_file = secret\n[handlers]\ntimeot = 5s\nconcurrency = many\n")
        problems = self.findings(site, "problem")
        self.assertIn(f"{site.conf}:4:", problems)
        self.assertIn(f"{site.conf}:5:", problems)

    def test_state_dir(self):
        """a state directory that is missing, open to others, not writable"""
        site = self.site(settings=OFF)
        os.chmod(site.state, 0o755)
        self.assertRegex(self.findings(site, "problem"), "others than its owner may use it .mode 0755.*chmod 700")
        os.rename(site.state, site.state + ".away")
        self.assertRegex(self.findings(site, "problem"), r"No such file.*mkdir -m 700")
        with open(site.state, "w"):
            pass
        self.assertNotEqual(self.findings(site, "problem"), "")

    def test_unwritable_state(self):
        """a state directory or database that the user can't write"""
        site = self.site(settings=OFF)
        if ROOT:
            site.install()
            os.chown(site.state, 0, 0)
            os.chmod(site.state, 0o755)
            user = ntrvsta.web_user()
            run = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        else:
            os.chmod(site.state, 0o500)
            self.addCleanup(os.chmod, site.state, 0o700)
            run = {}

        def check():
            done = subprocess.run([site.tool_path, "check"], capture_output=True, env=site.environment(), timeout=60, **run)
            self.assertEqual(done.returncode, 1, done.stderr)
            return done.stdout.decode()

        self.assertRegex(check(), f"problem +state: {site.state}: can't be written: Permission denied")
        os.chmod(site.state, 0o777 if ROOT else 0o700)
        with sqlite3.connect(site.db_file):
            pass
        os.chmod(site.db_file, 0o444)
        self.assertRegex(check(), f"problem +store: {site.db_file}: can't be written: Permission denied")

    def test_store(self):
        """a database that is none, or of a newer version; a good one with its counts"""
        site = self.site(settings=OFF, handlers={"all/x": "exit 100"})
        self.assertRegex(self.findings(site, "ok"), "will be made with the first event")
        self.assertFalse(os.path.exists(site.db_file), "a check makes no database")
        site.cgi(event())
        site.dispatch_once()
        self.assertRegex(self.findings(site, "ok"), "0 new events, 0 deliveries waiting, 0 running, 1 failed")
        self.assertRegex(self.findings(site, "note"), "ntrvsta failed")
        with sqlite3.connect(site.db_file) as db:
            db.execute("PRAGMA user_version = 9999")
        db.close()
        self.assertRegex(self.findings(site, "problem"), re.escape(site.db_file))
        for name in os.listdir(site.state):
            os.unlink(os.path.join(site.state, name))
        with open(site.db_file, "w") as f:
            f.write("this is no database, and longer than a hundred bytes " * 10)
        self.assertRegex(self.findings(site, "problem"), re.escape(site.db_file))

    def test_dispatcher(self):
        """says whether a dispatcher runs"""
        site = self.site(settings=OFF)
        self.assertRegex(self.findings(site, "note"), "does not run, and .* start = off")
        child = site.start_dispatcher()
        wait_for(lambda: "runs" in self.findings(site, "ok").split("\n"), 10, "the dispatcher is seen")
        ntrvsta.stop(child)
        site.configure({"dispatch": {"start": "auto"}})
        self.assertRegex(self.findings(site, "ok"), "does not run; ntrvsta-fcgi starts it")


    def test_unserved(self):
        """work that is due and that nobody does, whoever has to start the dispatcher"""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}}, handlers={"a.b": "exit 75"})
        site.cgi(event("a.b"))
        self.assertNotRegex(self.findings(site, "warning"), "does not run", "just came")
        sql(site, "UPDATE event SET received_ms = received_ms - 600000")
        for start, pattern in (("off", "work has been due for 10m.*systemd or cron has to run"),
                               ("auto", "work has been due for 10m.*ntrvsta-fcgi would start it")):
            site.configure({"dispatch": {"start": start}})
            self.assertRegex(self.findings(site, "warning"), pattern)
        site.configure(OFF)
        site.dispatch_once()
        self.assertNotRegex(self.findings(site, "warning"), "does not run", "the retry is not due")
        sql(site, f"UPDATE delivery SET due_ms = {seed.now_ms() - 900000}")
        self.assertRegex(self.findings(site, "warning"), "does not run, and work has been due for 15m")

    def test_overdue(self):
        """a handler that can't keep up is named, with how long its next delivery has been due"""
        site = self.site(settings=OFF, handlers={"a.b": "touch $OUT/started; while [ ! -e $OUT/go ]; do sleep 0.01; done",
                                                 "a.c": "exit 0"})
        site.cgi(event("a.b", n=1))
        site.start_dispatcher()
        site.output("started")
        site.cgi(event("a.b", n=2))
        site.cgi(event("a.c"))
        wait_for(lambda: len(site.tool("logs", "--status", "pending", "--json")["data"]) == 2, 10, "the second waits")
        self.assertEqual(self.findings(site, "warning"), "")
        sql(site, "UPDATE delivery SET updated_ms = updated_ms - 420000 WHERE state = 'pending'")
        self.assertRegex(self.findings(site, "warning"), r"\Aa.b has 2 deliveries waiting, the next one has been due for 7m")
        self.assertNotIn("a.c", self.findings(site, "warning"))
        with open(os.path.join(site.out, "go"), "w"):
            pass
        wait_for(lambda: site.tool("check", "--json")["warnings"] == 0, 10, "nothing waits any more")

    def test_always_failing(self):
        """a handler that failed each time in the last 24 hours is named, one that succeeded once is not"""
        site = self.site(settings=OFF, handlers={"a.bad": "exit 100", "a.mixed": "[ -e $OUT/x ] && exit 100; touch $OUT/x"})
        for name in ("a.bad", "a.bad", "a.mixed", "a.mixed"):
            site.cgi(event(name, n=len(site.stored())))
        site.dispatch_once()
        warnings = self.findings(site, "warning")
        self.assertRegex(warnings, "a.bad has failed each time in the last 24 hours, 2 times: see 'ntrvsta logs a.bad")
        self.assertNotIn("a.mixed", warnings)

    def test_held(self):
        """a handler that was removed while deliveries wait is named, with what to do"""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}}, handlers={"a.b": "exit 75"})
        site.cgi(event("a.b"))
        site.dispatch_once()
        os.unlink(os.path.join(site.handlers, "a.b"))
        self.assertRegex(self.findings(site, "warning"),
                         "a.b was removed while 1 of its deliveries wait: .*ntrvsta cancel --handler a.b")
        site.tool("cancel", "--handler", "a.b")
        self.assertNotIn("was removed", self.findings(site, "warning"))

    def test_unused_batch(self):
        """a batch size for a handler that does not exist"""
        site = self.site(settings={**OFF, "handler all/10-bulk": {"batch": "500"}}, handlers={"all/10-log": "exit 0"})
        self.assertRegex(self.findings(site, "warning"), r"\[handler all/10-bulk\].* no such handler, so its batch = 500")

    @unittest.skipUnless(ROOT, "only root can mount")
    def test_space(self):
        """a disk that will be full before retention removes anything; one that is full soon"""
        site = self.site(settings={**OFF, "source ntrvsta": {"max_body": "8M"}, "store": {"retain_events": "30d"}})
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m,mode=0700", "none", site.state], capture_output=True)
        if done.returncode != 0:
            self.skipTest(f"can't mount a tmpfs here: {done.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", site.state])
        site.cgi(event("a.b", filling="x" * 7_000_000))
        sql(site, "UPDATE event SET received_ms = received_ms - 86400000", "PRAGMA wal_checkpoint(TRUNCATE)")
        self.assertRegex(self.findings(site, "warning"), r"grows by about \d+ MiB a day, and \d+ MiB are free: full in \d+ days, "
                                                         "while events are kept for 30d")
        site.configure({"store": {"retain_events": "2d"}})
        self.assertNotRegex(self.findings(site, "warning"), "grows by", "retention comes first")
        with open(os.path.join(site.state, "filling"), "wb") as f:
            f.write(b"x" * 100_000_000)
        self.assertRegex(self.findings(site, "warning"), r"\d+ MiB are free on its file system")


@unittest.skipUnless(LIGHTTPD, "lighttpd is not installed")
class Serve(Case):
    @contextlib.contextmanager
    def serving(self, site, *args, tool_path=None, env=None):
        """`ntrvsta serve` of SITE: the process, and the document that it printed."""
        with open(os.path.join(site.dir, "serve.log"), "ab") as log:
            child = site.spawn([tool_path or site.tool_path, "serve", "--listen", "127.0.0.1:0", "--json", *args],
                               stdout=subprocess.PIPE, stderr=log, env=site.environment(env), cwd="/")
        text = b""
        while not text.endswith(b"}\n"):
            line = child.stdout.readline()
            if not line:
                self.fail(f"serve ended: {read_file(log.name)}")
            text += line
        try:
            yield child, json.loads(text)
        finally:
            ntrvsta.stop(child, signal.SIGINT, 30)

    def describe(self, site):
        """What the processes of SITE are, and where they wait."""
        return [(pid, *(read_file(f"/proc/{pid}/{name}") for name in ("cmdline", "wchan", "syscall")))
                for pid in site.leftovers()]

    def test_round_trip(self):
        """serve, send, and the handler has run; Ctrl-C stops all and leaves nothing"""
        site = self.site(handlers={"all/x": "cat > $OUT/.body && mv $OUT/.body $OUT/body"})
        with self.serving(site) as (child, doc):
            self.assertEqual(doc["endpoints"], [doc["url"] + ntrvsta.PATH])
            self.assertEqual(doc["dashboard"], doc["url"] + "/dashboard/" if ntrvsta.built_in() else None)
            sent = site.tool("send", "session.completed", "--json")
            self.assertEqual((sent["status"], sent["accepted"], sent["url"]), (200, 1, doc["endpoints"][0]))
            self.assertEqual(json.loads(site.output("body"))["event"], "session.completed")
            child.send_signal(signal.SIGINT)
            try:
                self.assertEqual(child.wait(30), 0)
            except subprocess.TimeoutExpired:
                self.fail(f"serve does not stop: {self.describe(site)}\n{site.logs()}")
        wait_for(lambda: not site.leftovers(), 10, f"all processes end: {site.leftovers()}")
        self.fails(site.tool("send", "session.completed", check=False, env={"no_proxy": ""}), r"nothing listens|\b4\d\d from ")

    def test_second(self):
        """a second serve says where the first is; a taken port is named"""
        site = self.site()
        with self.serving(site) as (_, doc):
            self.fails(site.tool("serve", "--listen", "127.0.0.1:0", check=False), f"runs already, at {doc['url']}")
            port = doc["url"].rpartition(":")[2]
            other = self.site()
            self.fails(other.tool("serve", "--listen", f"127.0.0.1:{port}", check=False), f"port {port} .* is taken")

    def test_odd_paths(self):
        """blanks in every path, and a state directory too deep for a socket"""
        site = self.site(settings=OFF, handlers={"all/x": "exit 0"})
        folder = os.path.join(site.dir, "a \"b\" " + "c" * 100)
        os.makedirs(os.path.join(folder, "bin dir"))
        for name in ("ntrvsta", "ntrvsta-fcgi"):
            shutil.copy(os.path.join(ntrvsta.BUILDDIR, name), os.path.join(folder, "bin dir", name))
        os.rename(site.root, os.path.join(folder, "site"))
        site.conf = os.path.join(folder, "site", "ntrvsta.conf")
        site.state = os.path.join(folder, "site", "state")
        temporary = os.path.join(site.dir, "tmp")
        os.mkdir(temporary)
        os.chmod(temporary, 0o777)
        with self.serving(site, tool_path=os.path.join(folder, "bin dir", "ntrvsta"), env={"TMPDIR": temporary}):
            self.assertEqual(site.tool("send", "session.completed", "--json")["accepted"], 1)
            wait_for(lambda: site.tool("logs", "--json")["data"], 10, "serve runs a dispatcher, also with start = off")
        self.assertEqual(os.listdir(temporary), [])

    def test_killed(self):
        """kill -9 of serve takes lighttpd and the dispatcher with it, and its address no longer counts"""
        site = self.site()
        with self.serving(site) as (child, doc):
            child.kill()
            child.wait()
            wait_for(lambda: not site.leftovers(), 20, f"all processes end: {site.leftovers()}")
            done = site.tool("send", "session.completed", check=False)
            self.assertNotIn(doc["url"], done.stderr + done.stdout)

    def test_running_dispatcher(self):
        """a dispatcher that runs already does the work and goes on afterwards"""
        site = self.site(settings=OFF, handlers={"all/x": "exit 0"})
        dispatcher = site.start_dispatcher()
        with self.serving(site):
            site.tool("send", "session.completed")
            wait_for(lambda: any(r["status"] == "success" for r in site.tool("logs", "--json")["data"]), 10, "it has run")
        self.assertIsNone(dispatcher.poll())

    def test_addresses(self):
        """a bare port, a host name, IPv6"""
        for listen_on, pattern in (("0", r"http://127\.0\.0\.1:\d+"), (":0", r"http://127\.0\.0\.1:\d+"),
                                   ("localhost:0", r"http://(127\.0\.0\.1|\[::1\]):\d+"), ("[::1]:0", r"http://\[::1\]:\d+"),
                                   ("0.0.0.0:0", r"http://127\.0\.0\.1:\d+")):
            with self.subTest(listen_on):
                if "::1" in listen_on and not os.path.exists("/proc/net/if_inet6"):
                    self.skipTest("no IPv6 here")
                site = self.site(settings=OFF)
                with self.serving(site, "--listen", listen_on) as (_, doc):
                    self.assertRegex(doc["url"], rf"\A{pattern}\Z")
                    self.assertEqual(site.tool("send", "session.completed", "--json")["accepted"], 1)

    def test_no_lighttpd(self):
        """where lighttpd is missing, how to install it"""
        site = self.site(settings=OFF)
        hide = f"mount --bind /dev/null '{LIGHTTPD}' && exec \"$0\" serve --listen 127.0.0.1:0"
        done = subprocess.run(["unshare", "-m", "sh", "-c", hide, site.tool_path], capture_output=True, text=True,
                              env={**site.environment(), "PATH": "/usr/bin:/bin"}, timeout=60)
        if "unshare" in done.stderr or "mount" in done.stderr:
            self.skipTest("lighttpd can't be hidden here")
        self.fails(done, "lighttpd is missing: apt-get install lighttpd")

    def test_nohup(self):
        """under nohup the end of the terminal does not end it"""
        site = self.site(settings=OFF)
        old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, old)
        with self.serving(site) as (child, _):
            child.send_signal(signal.SIGHUP)
            self.assertEqual(site.tool("send", "session.completed", "--json")["accepted"], 1)
            self.assertIsNone(child.poll())

    def test_lighttpd_fails(self):
        """lighttpd that ends by itself ends serve with status 1"""
        site = self.site(settings=OFF)
        with self.serving(site) as (child, _):
            for pid in site.leftovers():
                if b"lighttpd" in read_file(f"/proc/{pid}/cmdline"):
                    os.kill(pid, signal.SIGKILL)
            self.assertEqual(child.wait(30), 1)
            wait_for(lambda: not site.leftovers(), 10, f"all processes end: {site.leftovers()}")


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted; answers with the next of ANSWERS (status, headers, body), at last with 200."""

    def __init__(self, answers=()):
        self.requests, self.connections, self.answers = [], set(), list(answers)
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.connections.add(self.client_address)
        status, headers, answer = self.server.answers.pop(0) if self.server.answers else (
            200, {}, b'{"id":"evt_1","status":"accepted","duplicate":false}')
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Send(Case):
    def receiver(self, *answers):
        receiver = Receiver(answers)
        self.addCleanup(receiver.close)
        return receiver

    def sent(self, site, receiver, *args, **how):
        """Send, and the last request: path, headers, body."""
        site.tool("send", *args, "--url", receiver.url, **how)
        return receiver.requests[-1]

    def test_request(self):
        """the request is the platform's: path, headers, signature over the exact body"""
        site, receiver = self.site(), self.receiver()
        path, headers, body = self.sent(site, receiver, "session.completed")
        self.assertEqual(path, ntrvsta.PATH)
        self.assertEqual(headers["X-NTRVSTA-Signature"], sign(body))
        self.assertEqual(headers["X-NTRVSTA-Event"], "session.completed")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertRegex(headers["User-Agent"], r"\Antrvsta-fcgi/\d")
        self.assertTrue(headers["X-NTRVSTA-Idempotency-Key"])
        doc = json.loads(body)
        self.assertEqual(list(doc), ["event", "timestamp", "data"])
        self.assertEqual(doc["event"], "session.completed")
        self.assertRegex(doc["timestamp"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
        self.assertIn("session", doc["data"], "the documented sample")

    def test_every_documented_event(self):
        """every documented event has data to send, and ntrvsta-fcgi takes it"""
        site, receiver = self.site(settings=OFF), self.receiver()
        for row in site.tool("check", "--json")["events"]:
            with self.subTest(row["event"]):
                _, _, body = self.sent(site, receiver, row["event"])
                self.assertTrue(json.loads(body)["data"])
                self.assertEqual(site.cgi(body).status, 200)

    def test_data(self):
        """--data as it stands, from a file, from standard input"""
        site, receiver = self.site(), self.receiver()
        path = os.path.join(site.dir, "data file.json")
        data = '{"n":1.10,"big":123456789012345678901234567890,"s":"\\u00e9 \u00e9","resultId":"r-1"}'
        with open(path, "w") as f:
            f.write(data + "\n")
        for given, stdin in ((data, b""), ("@" + path, b""), ("@-", data.encode()), ("@" + os.path.basename(path), b"")):
            _, headers, body = self.sent(site, receiver, "result.completed", "--data", given, stdin=stdin)
            self.assertTrue(body.endswith(f',"data":{data}}}'.encode()), body)
            self.assertEqual(headers["X-NTRVSTA-Signature"], sign(body))
        for value in ("null", "[]", "17", '"text"'):
            self.assertEqual(json.loads(self.sent(site, receiver, "x", "--data", value)[2])["data"], json.loads(value))

    def test_bad_data(self):
        """--data that is no JSON, or a file that is not there: nothing is sent"""
        site, receiver = self.site(), self.receiver()
        for data, pattern in (("{", "not JSON"), ("", "not JSON"), ("{} {}", "not JSON"), ('{},"x":1', "not JSON"),
                              ("data.json", "@FILE"), ("@/no/such/file", "/no/such/file: can't be read")):
            with self.subTest(data):
                self.fails(site.tool("send", "a.b", "--data", data, "--url", receiver.url, check=False), pattern)
        self.assertEqual(receiver.requests, [])

    def test_undocumented(self):
        """an undocumented event is sent with empty data and a hint"""
        site, receiver = self.site(), self.receiver()
        done = site.tool("send", "session.complete", "--url", receiver.url)
        self.assertRegex(done.stderr, "not documented.*did you mean session.completed")
        self.assertEqual(json.loads(receiver.requests[-1][2])["data"], {})
        self.assertEqual(site.tool("send", "mine.own", "--data", "{}", "--url", receiver.url).stderr, "")

    def test_timestamp(self):
        """--timestamp as it was typed, or so long ago"""
        site, receiver = self.site(), self.receiver()
        for given in ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901+02:00"):
            self.assertEqual(json.loads(self.sent(site, receiver, "a.b", "--data", "{}", "--timestamp", given)[2])["timestamp"],
                             given)
        stamp = json.loads(self.sent(site, receiver, "a.b", "--data", "{}", "--timestamp", "2h")[2])["timestamp"]
        age = time.time() - time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone
        self.assertAlmostEqual(age, 7200, delta=60)

    def test_count(self):
        """--count: no two bodies are equal, one connection carries them all"""
        for args in ((), ("--timestamp", "2026-01-02T03:04:05Z"), ("--data", '{"resultId":"r"}'), ("--data", '{"resultId":7}')):
            with self.subTest(" ".join(args)):
                site, receiver = self.site(), self.receiver()
                doc = site.tool("send", "result.completed", "--count", "50", "--url", receiver.url, "--json", *args)
                self.assertEqual((doc["sent"], doc["accepted"], doc["failed"]), (50, 50, 0))
                bodies = [json.loads(body) for _, _, body in receiver.requests]
                self.assertEqual(len({str(b["data"].get("resultId")) for b in bodies}), 50)
                self.assertEqual(len({b["timestamp"] for b in bodies}), 50)
                self.assertEqual(len(receiver.connections), 1)

    def test_count_is_stored(self):
        """events of --count, sent twice, are all accepted as different ones by ntrvsta-fcgi"""
        site, receiver = self.site(settings={**OFF, "web": {"rate_limit": "0"}}), self.receiver()
        for _ in range(2):
            self.sent(site, receiver, "result.completed", "--count", "20")
        self.assertEqual([site.cgi(body).json["duplicate"] for _, _, body in receiver.requests], [False] * 40)

    def test_summary(self):
        """for people: one line for one event, a summary for many"""
        site, receiver = self.site(), self.receiver()
        self.assertRegex(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url).stdout,
                         r"\A200 accepted evt_1 \(http://[^ ]+, \d+ms\)\n\Z")
        self.assertRegex(site.tool("send", "a.b", "--data", "{}", "--count", "3", "--url", receiver.url).stdout,
                         r"\A3 sent in [\d.]+ s \(\d+/s\): 3 accepted, 0 duplicates, 0 failed\n\Z")

    def test_duplicate(self):
        """a duplicate is told from an accepted one"""
        site = self.site()
        receiver = self.receiver((200, {}, b'{"id":"evt_0","status":"accepted","duplicate":true}'))
        self.assertRegex(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url).stdout, "duplicate of evt_0")

    def test_refused(self):
        """a refusal is an error with the receiver's code and detail, made safe"""
        site = self.site()
        problem = json.dumps({"code": "too_old", "detail": "too \u009b31m late"}, ensure_ascii=False).encode()
        receiver = self.receiver((400, {}, problem), (500, {}, b"<html>"), (302, {"Location": "/x"}, b""))
        self.fails(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url, check=False),
                   r"400 from http://.*: too_old: too \\xc2\\x9b31m late")
        self.fails(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url, check=False), "500 from")
        self.fails(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url, check=False), "302 from")
        self.assertEqual(len(receiver.requests), 3, "a redirect is not followed")

    def test_retry_after(self):
        """of many events, one that came too fast is sent again when the receiver says so; a single one is not"""
        site = self.site()
        busy = (429, {"Retry-After": "1"}, b'{"code":"rate_limited"}')
        receiver = self.receiver((200, {}, b"{}"), busy, (503, {"Retry-After": "1"}, b"{}"))
        doc = site.tool("send", "a.b", "--data", "{}", "--count", "3", "--url", receiver.url, "--json")
        self.assertEqual((doc["sent"], doc["accepted"], doc["failed"]), (3, 3, 0))
        self.assertGreaterEqual(doc["seconds"], 2)
        self.assertEqual(len(receiver.requests), 5)
        receiver = self.receiver(busy)
        self.fails(site.tool("send", "a.b", "--data", "{}", "--url", receiver.url, check=False), "429 .*rate_limited")

    def test_url(self):
        """a URL without a path gets the source's, one with a path is taken as it is"""
        site, receiver = self.site(settings={"web": {"base": "/hooks"}}), self.receiver()
        for url, path in (("", "/hooks" + ntrvsta.PATH), ("/", "/"), ("/x/y?z=1", "/x/y?z=1")):
            site.tool("send", "a.b", "--data", "{}", "--url", receiver.url + url)
            self.assertEqual(receiver.requests[-1][0], path)
        self.fails(site.tool("send", "a.b", "--url", "ftp://127.0.0.1/", check=False), "wants http://", 2)
        self.fails(site.tool("send", "a.b", "--url", "127.0.0.1:80", check=False), "wants http://", 2)

    def test_no_proxy(self):
        """a proxy from the environment is not asked for this machine"""
        site, receiver = self.site(), self.receiver()
        port = ntrvsta.free_port()
        for host in ("127.0.0.1", "localhost"):
            site.tool("send", "a.b", "--data", "{}", "--url", receiver.url.replace("127.0.0.1", host),
                      env={"http_proxy": f"http://127.0.0.1:{port}", "all_proxy": f"http://127.0.0.1:{port}"})

    def test_unreachable(self):
        """nobody listens: says what to start, and does not try a thousand times"""
        site = self.site()
        done = site.tool("send", "a.b", "--data", "{}", "--url", f"http://127.0.0.1:{ntrvsta.free_port()}", check=False)
        self.fails(done, "nothing listens at http://127.0.0.1.*ntrvsta serve")
        done = site.tool("send", "a.b", "--data", "{}", "--count", "1000", "--json",
                         "--url", f"http://127.0.0.1:{ntrvsta.free_port()}", check=False)
        self.assertEqual((done.returncode, done.stderr.count("nothing listens")), (1, 1))
        self.assertEqual((json.loads(done.stdout)["sent"], json.loads(done.stdout)["failed"]), (0, 1))

    def test_source(self):
        """--source signs with that source's newest live secret and posts to its path"""
        site, receiver = self.site(settings={"source other": {"path": "/other", "secret_file": "secret2"}}, ), self.receiver()
        with open(os.path.join(site.root, "secret2"), "w") as f:
            f.write("gone until=2020-01-01T00:00:00Z\nother-live-secret\nolder\n")
        path, headers, body = self.sent(site, receiver, "a.b", "--data", "{}", "--source", "other")
        self.assertEqual((path, headers["X-NTRVSTA-Signature"]), ("/other", sign(body, "other-live-secret")))
        self.fails(site.tool("send", "a.b", "--source", "nobody", check=False), "no source 'nobody'; it has: ntrvsta, other")

    def test_expired(self):
        """without a live secret nothing is signed"""
        site = self.site(secret="0123456789abcdef until=2020-01-01T00:00:00Z")
        self.fails(site.tool("send", "a.b", check=False), "has expired")
        self.fails(site.tool("sign", "/dev/null", check=False), "has expired")


class Signatures(Case):
    def file(self, site, content):
        path = os.path.join(site.dir, "body file")
        with open(path, "wb") as f:
            f.write(content)
        return path

    def test_round_trip(self):
        """sign prints the platform's signature alone on standard output; verify takes it"""
        site = self.site()
        for body in (event(), b"", b"\x00\xff\r\n binary", b"x" * 300000):
            path = self.file(site, body)
            done = site.tool("sign", path)
            self.assertEqual(done.stdout, sign(body) + "\n")
            self.assertIn(f"payload {len(body)} bytes, secret {len(site.secret)} bytes", done.stderr)
            for given in (sign(body), sign(body).upper(), "sha256=" + sign(body), f"  {sign(body)}\n"):
                done = site.tool("verify", path, "--signature", given)
                self.assertIn("\nvalid\n", done.stdout)
            self.assertTrue(site.tool("verify", "-", "--signature", sign(body), "--json", stdin=body)["valid"])
        self.assertEqual(site.tool("sign", "-", stdin=b"abc").stdout, sign(b"abc") + "\n")
        self.assertEqual(site.tool("sign", "-", "--json", stdin=b"abc"),
                         {"source": "ntrvsta", "signature": sign(b"abc"), "payload_bytes": 3, "secret_bytes": len(site.secret)})

    def test_report(self):
        """verify shows received, expected for each live secret, and the lengths"""
        site = self.site(secret="first-secret-0001\nsecond-secret-0002\nold until=2020-01-01T00:00:00Z")
        path = self.file(site, b"{}")
        done = site.tool("verify", path, "--signature", sign(b"{}", "second-secret-0002"))
        self.assertIn(f"expected  {sign(b'{}', 'first-secret-0001')}  (secret 1: 17 bytes)\n", done.stdout)
        self.assertIn(f"expected  {sign(b'{}', 'second-secret-0002')}  (secret 2: 18 bytes)  this one\n", done.stdout)
        self.assertNotIn(sign(b"{}", "old"), done.stdout)
        self.assertIn("payload   2 bytes", done.stdout)
        wrong = site.tool("verify", path, "--signature", "0" * 64, "--json", check=False)
        self.assertEqual(wrong.returncode, 1)
        doc = json.loads(wrong.stdout)
        self.assertEqual((doc["valid"], doc["received"], doc["payload_bytes"]), (False, "0" * 64, 2))
        self.assertEqual([(s["number"], s["secret_bytes"], s["match"]) for s in doc["secrets"]], [(1, 17, False), (2, 18, False)])

    def test_hints(self):
        """a mismatch with a typical cause is explained"""
        hexed = "00112233445566778899aabbccddeeff"
        site = self.site(secret=f"{hexed}\nold-secret-00001 until=2020-01-01T00:00:00Z")
        body = b'{"event":"a.b",\r\n "data":{"k": "v, : x"}}'
        dense, spaced = b'{"event":"a.b","data":{"k":"v, : x"}}', b'{"event": "a.b", "data": {"k": "v, : x"}}'
        for content, signature, pattern in (
            (body + b"\n", sign(body, hexed), "without the line end at its end"),
            (body, sign(body + b"\n", hexed), "with a line end behind it"),
            (body, sign(body.replace(b"\r\n", b"\n"), hexed), "LF line ends: the file's were changed to CR LF"),
            (body.replace(b"\r\n", b"\n"), sign(body, hexed), "CR LF line ends: the file's were changed to LF"),
            (b"\xef\xbb\xbf" + body, sign(body, hexed), "byte order mark"),
            (body, sign(dense, hexed), "without blanks between its tokens"),
            (dense, sign(spaced, hexed), "other blanks between its tokens"),
            (body, sign(body, "old-secret-00001"), "a secret that has expired"),
            (body, sign(body, bytes.fromhex(hexed)), "decodes it"),
            (body, sign(body, hexed + "\n"), "the sender's copy of the secret has one"),
            (body, "", "empty"),
            (body, "a" * 40, "SHA-1"),
            (body, "a" * 63, "not 64 hex digits"),
            (body, "z" * 64, "not made of hex digits"),
            (body, "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "Standard Webhooks"),
            (body, "K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "base64"),
            (body, "0" * 64, "another secret, or another payload"),
        ):
            with self.subTest(pattern):
                done = site.tool("verify", self.file(site, content), "--signature", signature, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stdout, rf"(?m)^INVALID\nhint +.*{pattern}")

    def test_no_secret_shown(self):
        """neither command shows the secret"""
        site = self.site()
        for args in (("sign", "-"), ("verify", "-", "--signature", "0" * 64)):
            done = site.tool(*args, check=False)
            self.assertNotIn(site.secret, done.stdout + done.stderr)

    def test_unreadable(self):
        """a file that can't be read"""
        site = self.site()
        self.fails(site.tool("sign", "/no/such", check=False), "/no/such: can't be read: No such file")
        self.fails(site.tool("verify", site.dir, "--signature", "0" * 64, check=False), "can't be read: Is a directory")


class Keys(Case):
    KEY = re.compile(r"ntr_[0-9a-hjkmnp-tv-z]{8}_[0-9a-hjkmnp-tv-z]{40}")

    def test_life(self):
        """a key is shown once, listed by its prefix, revoked once; the store has no part of its secret"""
        site = self.site(settings=OFF)
        shown = site.tool("keys", "create", "--org", "acme", "--scope", "write").stdout
        key = self.KEY.search(shown).group()
        other = site.tool("keys", "create", "--org", "other", "--scope", "read", "--json")
        self.assertRegex(other["key"], rf"\A{self.KEY.pattern}\Z")
        self.assertEqual((other["prefix"], other["org"], other["scope"]), (other["key"][:12], "other", "read"))
        rows = site.tool("keys", "list", "--json")["data"]
        self.assertEqual([(r["prefix"], r["org"], r["scope"], r["revoked_at"]) for r in rows],
                         [(key[:12], "acme", "write", None), (other["prefix"], "other", "read", None)])
        self.assertIn(key[:12], site.tool("keys", "list").stdout)
        self.assertIn("counts no more", site.tool("keys", "revoke", key[:12]).stdout)
        self.assertEqual(site.tool("keys", "revoke", key[:12], check=False).returncode, 1)
        self.assertIsNotNone(site.tool("keys", "list", "--json")["data"][0]["revoked_at"])
        for name in os.listdir(site.state):
            self.assertNotIn(key[13:].encode(), read_file(os.path.join(site.state, name)))

    def test_usage(self):
        """what is missing or malformed is refused, and nothing made"""
        site = self.site(settings=OFF)
        for args in ((), ("make",), ("create",), ("create", "--org", "a"), ("create", "--scope", "read"),
                     ("create", "--org", "a b", "--scope", "read"), ("create", "--org", "a", "--scope", "root"),
                     ("create", "x", "--org", "a", "--scope", "read"), ("list", "x"), ("list", "--org", "a"),
                     ("revoke",), ("revoke", "ntr_x"), ("revoke", "ntr_01234567_x")):
            with self.subTest(args):
                self.assertEqual(site.tool("keys", *args, check=False).returncode, 2)
        self.assertEqual(site.tool("keys", "list", "--json")["data"], [])


class Secrets(Case):
    def test_rotate(self):
        """rotate prints the new secret; both count until the overlap is over, a third does not"""
        site = self.site(settings=OFF)
        os.chmod(site.secret_file, 0o400)
        doc = site.tool("secret", "rotate", "--overlap", "2h", "--json")
        self.assertRegex(doc["secret"], r"\A[0-9a-f]{64}\Z")
        self.assertEqual(read_file(site.secret_file).decode().split("\n")[0], doc["secret"])
        self.assertEqual(os.stat(site.secret_file).st_mode & 0o777, 0o400)
        for n, (secret, status) in enumerate(((site.secret, 200), (doc["secret"], 200), ("third", 401))):
            body = event(n=n)
            self.assertEqual(site.cgi(body, signature=sign(body, secret)).status, status)
        rows = site.tool("secret", "list", "--json")["data"]
        self.assertEqual([(r["number"], r["state"], r["bytes"]) for r in rows], [(1, "live", 64), (2, "live", len(site.secret))])
        self.assertEqual((rows[0]["until"], rows[1]["until"]), (None, doc["previous_until"]))

    def test_rotate_at_once(self):
        """--overlap 0 ends the old ones now"""
        site = self.site(settings=OFF)
        done = site.tool("secret", "rotate", "--overlap", "0")
        new = read_file(site.secret_file).decode().split("\n")[0]
        self.assertIn(f"\n  {new}\n", done.stdout)
        self.assertIn("count no longer", done.stdout)
        old = event(n=1)
        wait_for(lambda: site.cgi(old, signature=sign(old)).status == 401, 5, "the old secret is refused")
        self.assertEqual(site.cgi(event(n=2), signature=sign(event(n=2), new)).status, 200)

    def test_list(self):
        """list says what counts and until when, never the secret"""
        site = self.site(secret="first-secret-0001\nold-secret-00002 until=2020-01-01T00:00:00Z")
        for args in ((), ("--json",)):
            done = site.tool("secret", "list", *args, check=False)
            self.assertEqual(done.returncode, 0)
            self.assertNotIn("first-secret", done.stdout)
            self.assertNotIn("old-secret", done.stdout)
        self.assertRegex(site.tool("secret", "list").stdout, r"ntrvsta +1 +live +- +17 bytes.*\nntrvsta +2 +expired +20\d\d-")

    def test_environment(self):
        """a secret from $NTRVSTA_WEBHOOK_SECRET is listed as such and not rotated"""
        site = self.site()
        env = {"NTRVSTA_WEBHOOK_SECRET": "from-the-environment"}
        before = read_file(site.secret_file)
        self.fails(site.tool("secret", "rotate", check=False, env=env), r"comes from \$NTRVSTA_WEBHOOK_SECRET")
        self.assertEqual(read_file(site.secret_file), before)
        self.assertIn("$NTRVSTA_WEBHOOK_SECRET", site.tool("secret", "list", env=env).stdout)

    def test_sources(self):
        """--source narrows, and an unknown one is named"""
        site = self.site(settings={"source other": {"path": "/other", "secret_file": "secret2"}})
        with open(os.path.join(site.root, "secret2"), "w") as f:
            f.write("other-live-secret\n")
        self.assertEqual([r["source"] for r in site.tool("secret", "list", "--json")["data"]], ["ntrvsta", "other"])
        self.assertEqual([r["source"] for r in site.tool("secret", "list", "--source", "other", "--json")["data"]], ["other"])
        self.assertEqual(site.tool("secret", "rotate", "--source", "other", "--json")["source"], "other")
        self.assertIn("other-live-secret until=", read_file(os.path.join(site.root, "secret2")).decode())
        self.fails(site.tool("secret", "rotate", "--source", "x", check=False), "no source 'x'")


class Watching(Case):
    """events, logs, failed, retry."""

    def filled(self):
        """Three events: one that succeeds, one given up, one that waits for its retry."""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}},
                         handlers={"a.good": "cat; echo; echo fine", "a.bad": "echo broken >&2; exit 100",
                                   "a.slow": "echo wait; exit 75"})
        for name in ("a.good", "a.bad", "a.slow"):
            self.assertEqual(site.cgi(event(name)).status, 200)
        site.dispatch_once()
        return site

    def test_events(self):
        """events lists what came in, newest first, with what became of it"""
        site = self.filled()
        site.cgi(event("a.none"))
        rows = site.tool("events", "--json")["data"]
        self.assertEqual([(r["event"], r["status"]) for r in rows],
                         [("a.none", "new"), ("a.slow", "waiting"), ("a.bad", "failed"), ("a.good", "success")])
        site.dispatch_once()
        self.assertEqual(site.tool("events", "--json", "--event", "a.none")["data"][0]["status"], "unhandled")
        self.assertEqual(rows[3]["counts"], {"total": 1, "success": 1, "failed": 0, "waiting": 0})
        text = site.tool("events").stdout
        self.assertRegex(text, r"\ARECEIVED +ID +EVENT +SOURCE +DELIVERIES\n")
        self.assertRegex(text, rf"{rows[2]['id']} +a.bad +ntrvsta +1 failed\n")
        self.assertEqual(site.tool("events", "list").stdout, text)

    def test_event_filters(self):
        """--event, --since, --until and --limit narrow the list"""
        site = self.filled()
        rows = site.tool("events", "--json")["data"]
        self.assertEqual([r["event"] for r in site.tool("events", "--event", "a.bad", "--json")["data"]], ["a.bad"])
        self.assertEqual(len(site.tool("events", "--since", "1h", "--json")["data"]), 3)
        self.assertEqual(site.tool("events", "--since", "2099-01-01", "--json")["data"], [])
        self.assertEqual(site.tool("events", "--until", "1h", "--json")["data"], [])
        since = site.tool("events", "--since", rows[1]["received_at"], "--json")["data"]
        self.assertEqual([r["event"] for r in since][:2], ["a.slow", "a.bad"])
        two = site.tool("events", "--limit", "2", "--json")
        self.assertEqual(([r["event"] for r in two["data"]], two["has_more"]), (["a.slow", "a.bad"], True))
        self.assertIn("--limit", site.tool("events", "--limit", "2").stdout)
        for limit in ("3", "0"):
            self.assertEqual(site.tool("events", "--limit", limit, "--json"), {"data": rows, "has_more": False})

    def test_show(self):
        """show prints an event, its body indented, each attempt with its output"""
        site = self.filled()
        ids = {r["event"]: r["id"] for r in site.tool("events", "--json")["data"]}
        doc = site.tool("events", "show", ids["a.bad"], "--json")
        self.assertEqual(doc["body"], json.loads(event("a.bad")))
        delivery = doc["deliveries"][0]
        self.assertEqual((delivery["target"], delivery["status"], delivery["error_code"]), ("a.bad", "failed", "permanent"))
        self.assertEqual([(a["attempt"], a["exit_code"], a["output"]) for a in delivery["attempts"]], [(1, 100, "broken\n")])
        text = site.tool("events", "show", ids["a.bad"]).stdout
        self.assertIn('\n{\n  "event": "a.bad",\n  "timestamp": "2026-03-15T15:00:00Z",\n  "data": {}\n}\n', text)
        self.assertRegex(text, rf"\n{delivery['id']}  a.bad  failed\n  attempt 1  .* failed after .*: .*100.*\n    \| broken\n")
        self.assertRegex(site.tool("events", "show", ids["a.slow"]).stdout, "pending")

    def test_show_exactly(self):
        """the body is shown as it came: long numbers, duplicate keys, any depth, an odd escape"""
        site = self.site(settings=OFF)
        body = (b'{"event":"a.b","n":' + b"9" * 60 + b',"k":1,"k":2,"s":"a\\"}{,:\\\\","e":{},"l":[ ],"d":'
                + b"[" * 500 + b"]" * 500 + b"}")
        site.cgi(body)
        text = site.tool("events", "show", site.tool("events", "--json")["data"][0]["id"]).stdout
        shown = text[text.index("{"):]
        self.assertEqual(re.sub(r"\s", "", shown), body.decode().replace(" ", ""))
        self.assertIn('"e": {},\n  "l": [],\n', shown)

    def test_unknown_ids(self):
        """ids that do not exist, or are of another kind"""
        site = self.filled()
        delivery = site.tool("logs", "--json")["data"][0]
        event_id = site.tool("events", "--json")["data"][0]["id"]
        delivery_id = site.tool("failed", "--json")["data"][0]["id"]
        for command in ("show", "replay"):
            self.fails(site.tool("events", command, "evt_" + "0" * 26, check=False), "no event evt_0")
            self.fails(site.tool("events", command, delivery_id, check=False), "is a delivery's id")
            self.fails(site.tool("events", command, "\x1b[31mx", check=False), r"no event \\x1b\[31mx")
        self.fails(site.tool("retry", "dlv_" + "0" * 26, check=False), "no delivery dlv_0")
        self.fails(site.tool("retry", event_id, check=False), "is an event's id")
        self.assertTrue(delivery)

    def test_replay(self):
        """replay delivers once more, to the handlers that there are now"""
        site = self.filled()
        ids = {r["event"]: r["id"] for r in site.tool("events", "--json")["data"]}
        site.handler("a.good", "echo again")
        site.handler("all/new", "echo new")
        self.assertEqual(site.tool("events", "replay", ids["a.good"], "--json"), {"event_id": ids["a.good"], "deliveries": 2})
        self.assertRegex(site.tool("events", "replay", ids["a.good"]).stdout, "Nothing to do")
        site.dispatch_once()
        outputs = {d["target"]: [a["output"] for a in d["attempts"]]
                   for d in site.tool("events", "show", ids["a.good"], "--json")["deliveries"]}
        self.assertEqual(outputs["all/new"], ["new\n"])
        self.assertEqual(outputs["a.good"][-1], "again\n")
        self.assertRegex(site.tool("events", "replay", ids["a.bad"]).stdout, "2 deliveries of .* begin anew")

    def test_replay_nothing(self):
        """an event that is new yet, and one that no handler takes"""
        site = self.site(settings=OFF)
        site.cgi(event("a.none"))
        event_id = site.tool("events", "--json")["data"][0]["id"]
        self.assertRegex(site.tool("events", "replay", event_id).stdout, "Nothing to do")
        site.dispatch_once()
        self.fails(site.tool("events", "replay", event_id, check=False), "no handler .* takes a.none")
        shutil.rmtree(site.handlers)
        self.fails(site.tool("events", "replay", event_id, check=False), re.escape(site.handlers))

    def test_logs(self):
        """logs lists attempts and waiting deliveries with their last words"""
        site = self.filled()
        rows = site.tool("logs", "--json")["data"]
        self.assertEqual(sorted((r["target"], r["status"]) for r in rows),
                         [("a.bad", "failed"), ("a.good", "success"), ("a.slow", "failed"), ("a.slow", "pending")])
        text = site.tool("logs").stdout
        self.assertRegex(text, r"\ATIME +STATUS +TARGET +EVENT +ATTEMPT +TOOK +DELIVERY +RESULT\n")
        self.assertRegex(text, r"success +a.good +a.good +1 .* fine\n")
        self.assertRegex(text, r"failed +a.bad +a.bad +1 .*100.*: broken\n")
        self.assertRegex(text, r"pending +a.slow +a.slow +1 .*due in (59m|1h).*75")

    def test_log_filters(self):
        """a handler, --status, --event, --since and --limit narrow the log"""
        site = self.filled()
        for args, expected in (
            (["a.bad"], [("a.bad", "failed")]),
            (["--status", "success"], [("a.good", "success")]),
            (["--status", "failed"], [("a.bad", "failed"), ("a.slow", "failed")]),
            (["--status", "pending"], [("a.slow", "pending")]),
            (["--event", "a.good"], [("a.good", "success")]),
            (["--since", "2099-01-01"], []),
            (["--until", "1h"], []),
            (["a.slow", "--status", "pending"], [("a.slow", "pending")]),
        ):
            with self.subTest(" ".join(args)):
                rows = site.tool("logs", *args, "--json")["data"]
                self.assertEqual(sorted((r["target"], r["status"]) for r in rows), expected)
        limited = site.tool("logs", "--limit", "1", "--json")
        self.assertEqual((len(limited["data"]), limited["has_more"]), (1, True))
        self.assertEqual(len(site.tool("logs", "--limit", "0", "--json")["data"]), 4)
        self.fails(site.tool("logs", "all/10-lgo", check=False), "no handler all/10-lgo")

    def test_failed_and_retry(self):
        """failed lists what was given up; retry lets it begin anew, also several at once"""
        site = self.filled()
        site.cgi(event("a.bad", n=2))
        site.dispatch_once()
        rows = site.tool("failed", "--json")["data"]
        self.assertEqual([(r["target"], r["error_code"], r["retry_count"]) for r in rows], [("a.bad", "permanent", 0)] * 2)
        self.assertEqual(set(rows[0]), {"id", "event_id", "event", "target", "error_code", "error_message", "retry_count",
                                        "last_attempt_at"})
        self.assertRegex(site.tool("failed").stdout, rf"{rows[0]['id']} +a.bad +a.bad +1 .*100")
        self.assertEqual(site.tool("failed", "a.good", "--json")["data"], [])
        self.assertEqual(site.tool("failed", "--since", "2099-01-01", "--json")["data"], [])
        self.assertTrue(site.tool("failed", "--limit", "1", "--json")["has_more"])
        site.handler("a.bad", "echo mended")
        ids = [r["id"] for r in rows]
        self.assertEqual(site.tool("retry", *ids, "--json"), {"retried": ids})
        site.dispatch_once()
        self.assertEqual(site.tool("failed", "--json")["data"], [])
        self.assertEqual([r["output"] for r in site.tool("logs", "a.bad", "--status", "success", "--json")["data"]],
                         ["mended\n"] * 2)

    def test_retry_of_waiting(self):
        """retry need not wait for the schedule; one bad id does not keep the others"""
        site = self.filled()
        site.handler("a.slow", "echo quick")
        waiting = site.tool("logs", "--status", "pending", "--json")["data"][0]["id"]
        done = site.tool("retry", "dlv_" + "0" * 26, waiting, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, f"{waiting} begins anew.\n")
        self.assertRegex(done.stderr, "no dispatcher runs, and .* start = off")
        site.dispatch_once()
        self.assertEqual(site.tool("logs", "a.slow", "--status", "success", "--json")["data"][0]["output"], "quick\n")

    def test_retry_of_running(self):
        """a delivery that runs now is left alone"""
        site = self.site(settings=OFF, handlers={"a.b": "touch $OUT/started; while [ ! -e $OUT/go ]; do sleep 0.01; done"})
        site.cgi(event("a.b"))
        site.start_dispatcher()
        site.output("started")
        row = site.tool("logs", "--json")["data"][0]
        self.assertEqual(row["status"], "running")
        self.assertEqual(site.tool("logs", "--status", "pending", "--json")["data"][0]["id"], row["id"])
        self.fails(site.tool("retry", row["id"], check=False), "is running now")
        with open(os.path.join(site.out, "go"), "w"):
            pass

    def test_held(self):
        """what waits for a handler that was removed says so, until it is back"""
        site = self.filled()
        os.rename(os.path.join(site.handlers, "a.slow"), os.path.join(site.dir, "a.slow"))
        site.dispatch_once()
        row = site.tool("logs", "--status", "pending", "--json")["data"][0]
        self.assertEqual((row["target"], row["held"]), ("a.slow", "the handler was removed"))
        self.assertRegex(site.tool("logs", "a.slow").stdout, "pending .* held: the handler was removed, last: .*75")
        self.assertRegex(site.tool("events", "show", row["event_id"]).stdout,
                         rf"\n{row['id']}  a.slow  pending, held: the handler was removed\n")
        os.rename(os.path.join(site.dir, "a.slow"), os.path.join(site.handlers, "a.slow"))
        site.dispatch_once()
        row = site.tool("logs", "--status", "pending", "--json")["data"][0]
        self.assertEqual((row["target"], row["held"]), ("a.slow", None))
        self.assertRegex(site.tool("logs", "a.slow").stdout, "pending .* due in")

    def test_dispatcher_is_started(self):
        """with start = auto, retry and replay start the dispatcher, silently"""
        site = self.site(settings=OFF, handlers={"a.b": "exit 100"})
        site.cgi(event("a.b"))
        site.dispatch_once()
        site.configure({"dispatch": {"start": "auto"}})
        site.handler("a.b", "echo > $OUT/.x; mv $OUT/.x $OUT/x")
        done = site.tool("retry", site.tool("failed", "--json")["data"][0]["id"])
        self.assertEqual(done.stderr, "")
        site.output("x")
        os.unlink(os.path.join(site.out, "x"))
        done = site.tool("events", "replay", site.tool("events", "--json")["data"][0]["id"])
        self.assertEqual(done.stderr, "")
        site.output("x")

    def test_hostile_text(self):
        """nothing of an event or of a script's output can control the terminal"""
        site = self.site(settings=OFF, handlers={
            "a.b": r"printf '\033]0;title\007\r\033[2Jgone\377\302\233\342\200\256x\nforged: line\n'; exit 100"})
        body = '{"event":"a.b","data":{"k":"\u202e\u009b31m\u2028\x7f","e":"\\u001b[31m"}}'.encode()
        self.assertEqual(site.cgi(body, headers={"X-Ntrvsta-Idempotency-Key": "k\x1b[31m\u202e"}).status, 200)
        site.dispatch_once()
        event_id = site.tool("events", "--json")["data"][0]["id"]
        for args in (("events",), ("events", "show", event_id), ("logs",), ("failed",), ("stats",), ("check",)):
            with self.subTest(" ".join(args[:2])):
                text = site.tool(*args).stdout
                self.assertIsNone(UNSAFE.search(text), repr(text))
        with following(site) as follower:
            text = follower.line() + "\n"
        self.assertIn("forged: line", text)
        self.assertIsNone(UNSAFE.search(text), repr(text))
        doc = site.tool("events", "show", event_id, "--json")
        output = doc["deliveries"][0]["attempts"][0]["output"]
        self.assertEqual(output, "\x1b]0;title\x07\r\x1b[2Jgone\ufffd\x9b\u202ex\nforged: line\n", "JSON escapes it instead")
        self.assertEqual(doc["body"], json.loads(body))

    @unittest.skipUnless(ROOT and ntrvsta.web_user(), "only root can be somebody else")
    def test_root_is_warned(self):
        """root is sent away from a state directory of somebody else, whose files it would make its own"""
        site = self.site(settings=OFF)
        site.install()
        site.handler("a.b", "exit 0")
        for args in (["events"], ["logs"], ["failed"], ["retry", "dlv_x"], ["events", "replay", "evt_x"], ["dispatch", "--once"],
                     ["stats"], ["recover", "a.b", "--since", "1h"], ["cancel", "dlv_x"], ["prune"],
                     ["serve", "--listen", "127.0.0.1:0"]):
            with self.subTest(" ".join(args)):
                self.fails(tool(*args, env=site.environment()), f"belongs to {ntrvsta.web_user().pw_name}: .*sudo -u")
        self.assertEqual(os.listdir(site.state), [])
        self.assertRegex(tool("check", env=site.environment()).stdout, "warning +state: .* belongs to")
        self.assertEqual(os.listdir(site.state), [])

    def test_no_state_dir(self):
        """a state directory that is missing is named"""
        site = self.site()
        os.rmdir(site.state)
        for args in (["events"], ["logs"], ["retry", "dlv_x"], ["dispatch", "--once"]):
            with self.subTest(" ".join(args)):
                self.fails(site.tool(*args, check=False), re.escape(site.state))


class Follower:
    """`ntrvsta logs --follow`, line by line."""

    def __init__(self, child):
        self.child = child
        self.pending = b""

    def line(self, timeout=10):
        """The next line, without its end."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no line came within {timeout} s, only {self.pending!r}")
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise AssertionError(f"it ended: {self.child.wait()}")
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def has_open(self, path):
        folder = f"/proc/{self.child.pid}/fd"
        with contextlib.suppress(OSError):  # one that was closed meanwhile
            return path in [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]
        return False

    def interrupt(self):
        """Ctrl-C. Its exit status, and what it still had to say."""
        self.child.send_signal(signal.SIGINT)
        rest = self.pending + self.child.stdout.read()
        return self.child.wait(10), rest


@contextlib.contextmanager
def following(site, *args):
    child = site.spawn([site.tool_path, "logs", "--follow", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=site.environment())
    try:
        yield Follower(child)
    finally:
        ntrvsta.stop(child, signal.SIGINT)


class Following(Case):
    def site_with(self, **handlers):
        return self.site(settings={**OFF, "handlers": {"retry_schedule": ""}},
                         handlers={k.replace("_", "."): v for k, v in handlers.items()})

    def run_one(self, site, name, **data):
        self.assertEqual(site.cgi(event(name, **data)).status, 200)
        site.dispatch_once()

    def test_as_they_happen(self):
        """each attempt is a line, from before the database is made until Ctrl-C, which is no failure"""
        site = self.site_with(a_good="echo fine", a_bad="echo broken; exit 3")
        with following(site) as follower:
            self.assertRegex(follower.child.stderr.readline(), b"waiting for the first event")
            self.assertFalse(os.path.exists(site.db_file), "to look makes no database")
            self.run_one(site, "a.good")
            self.assertRegex(follower.line(), r"\A20\S+ \S+  success  a.good  a.good  1 +\S+  dlv_\w+  fine\Z")
            self.run_one(site, "a.bad")
            self.assertRegex(follower.line(), r"  failed   a.bad   a.bad   1 .* exit status 3: broken\Z")
            self.assertEqual(follower.interrupt(), (0, b""))

    def test_json(self):
        """with --json each attempt is a document on a line of its own, the same as in the list"""
        site = self.site_with(a_b="echo one; echo two")
        with following(site, "--json") as follower:
            self.run_one(site, "a.b")
            one = json.loads(follower.line())
            self.run_one(site, "a.b", n=2)
            two = json.loads(follower.line())
        self.assertEqual([two, one], site.tool("logs", "--json")["data"])
        self.assertEqual(one["output"], "one\ntwo\n")

    def test_begin(self):
        """begins with the last attempts there are: ten, as many as --limit says, or those since a time"""
        site = self.site_with(a_b="printf %s $NTRVSTA_EVENT_ID", a_c="exit 0")
        for n in range(12):
            site.cgi(event("a.b", n=n))
        site.cgi(event("a.c"))
        site.dispatch_once()
        rows = list(reversed(site.tool("logs", "a.b", "--json", "--limit", "0")["data"]))
        late = rows[8]["started_at"]
        for args, begin in (((), lambda: rows[-10:]), (("--limit", "3"), lambda: rows[-3:]), (("--limit", "0"), lambda: rows),
                            (("--since", "1h"), lambda: rows), (("--since", "0"), list),
                            (("--since", late), lambda: [r for r in rows if r["started_at"] >= late]),
                            (("--since", "1h", "--limit", "2"), lambda: rows[-2:])):
            with self.subTest(" ".join(args)), following(site, "a.b", "--json", *args) as follower:
                expected = list(begin())
                self.assertEqual([json.loads(follower.line()) for _ in expected], expected)
                wait_for(lambda: follower.has_open(site.db_file), 10, "it has begun")
                self.run_one(site, "a.c", args=args)
                self.run_one(site, "a.b", args=args)
                rows.append(json.loads(follower.line()))
                self.assertEqual(rows[-1], site.tool("logs", "a.b", "--json")["data"][0], "and nothing in between")

    def test_filters(self):
        """a handler, --event and --status narrow it; none is passed over where many are not wanted"""
        site = self.site_with(a_good="exit 0", a_bad="exit 1", all_x="exit 0")
        with following(site, "--status", "failed") as failed, following(site, "--event", "a.good", "--json") as good, \
                following(site, "a.bad", "--json", "--status", "success") as none:
            for n in range(5):
                self.run_one(site, "a.bad", n=n)
                self.assertIn("a.bad", failed.line())
                self.run_one(site, "a.good", n=n)
                self.assertEqual(json.loads(good.line())["event"], "a.good")
            for follower in (failed, good, none):
                self.assertEqual(follower.interrupt(), (0, b""))

    def test_many(self):
        """hundreds of attempts at once all come, in order"""
        site = self.site(settings={**OFF, "handler a.b": {"batch": "1000"}}, handlers={"a.b": "cat >/dev/null"})
        seed.backlog(site, 950, "a.b", event="a.b")
        with following(site, "--json") as follower:
            site.dispatch_once()
            ids = [json.loads(follower.line())["event_id"] for _ in range(950)]
        self.assertEqual(ids, [row[0] for row in site.stored()])

    def test_reader_leaves(self):
        """ends by itself, silently, once nobody reads what it prints"""
        site = self.site_with(a_b="exit 0")
        self.run_one(site, "a.b")
        with following(site) as follower:
            follower.line()
            follower.child.stdout.close()
            follower.child.wait(10)
            self.assertEqual(follower.child.stderr.read(), b"")

    def test_unknown_handler(self):
        """a handler that is not there yet is awaited, with a word of warning"""
        site = self.site_with(a_b="exit 0")
        with following(site, "a.c") as follower:
            self.assertRegex(follower.child.stderr.readline(), b"no handler a.c at present")
            site.handler("a.c", "echo here")
            self.run_one(site, "a.c")
            self.assertIn("here", follower.line())


class Recover(Case):
    def test_failed(self):
        """what a handler had given up begins anew; what waits or was done is left alone"""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}},
                         handlers={"a.b/10-x": "exit 100", "a.b/20-y": "exit 0", "a.c": "exit 100"})
        for n in range(3):
            site.cgi(event("a.b", n=n))
        site.cgi(event("a.c"))
        site.dispatch_once()
        site.handler("a.b/10-x", "exit 75")
        site.tool("retry", site.tool("failed", "a.b/10-x", "--json")["data"][0]["id"])
        site.dispatch_once()
        doc = site.tool("recover", "a.b/10-x", "--since", "1h", "--dry-run", "--json")
        self.assertEqual((doc["target"], doc["event"], doc["dry_run"], doc["recoverable"], doc["recovered"], doc["until"]),
                         ("a.b/10-x", "a.b", True, 2, 0, None))
        self.assertEqual(len(site.tool("failed", "--json")["data"]), 3, "a dry run changes nothing")
        self.assertRegex(site.tool("recover", "a.b/10-x", "--since", "1h", "--dry-run").stdout,
                         r"\A2 a.b events received from .* have no success for a.b/10-x.\nNothing was changed")
        site.handler("a.b/10-x", "exit 0")
        done = site.tool("recover", "a.b/10-x", "--since", "1h")
        self.assertRegex(done.stdout, r"\n2 deliveries begin anew. See: ntrvsta logs a.b/10-x\n\Z")
        site.dispatch_once()
        self.assertEqual(len(site.tool("logs", "a.b/10-x", "--status", "success", "--json")["data"]), 2)
        self.assertEqual(len(site.tool("logs", "a.b/20-y", "--json")["data"]), 3)
        self.assertRegex(site.tool("recover", "a.b/10-x", "--since", "1h").stdout, "^0 a.b events .*: nothing to do")
        self.assertEqual(site.tool("recover", "a.b/20-y", "--since", "1h", "--json")["recoverable"], 0)

    def test_attempts_begin_anew(self):
        """the schedule starts from the beginning"""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "0s 0s"}},
                         handlers={"a.b": "echo $NTRVSTA_ATTEMPT >> $OUT/attempts; exit 1"})
        site.cgi(event("a.b"))
        for _ in range(2):
            wait_for(lambda: site.dispatch_once() and site.tool("failed", "--json")["data"], 10, "it is given up")
            site.tool("recover", "a.b", "--since", "1h")
        self.assertEqual(read_file(os.path.join(site.out, "attempts")).split(), [b"1", b"2", b"3"] * 2)

    def test_new_handler(self):
        """a handler that came later gets the events from before, each kind those that it is for"""
        site = self.site(settings=OFF)
        for name in ("a.b", "a.b", "a.c", "all"):
            site.cgi(event(name, n=len(site.stored())))
        site.dispatch_once()
        for handler, count in (("a.b/10-x", 2), ("a.c", 1), ("all/z", 4), ("a.d/x", 0)):
            with self.subTest(handler):
                site.handler(handler, "echo >> $OUT/" + handler.replace("/", "-"))
                self.assertEqual(site.tool("recover", handler, "--since", "1h", "--json")["recovered"], count)
        site.dispatch_once()
        lines = {name: len(read_file(os.path.join(site.out, name)).split(b"\n")) - 1 for name in os.listdir(site.out)}
        self.assertEqual(lines, {"a.b-10-x": 2, "a.c": 1, "all-z": 4})

    def test_file_called_all(self):
        """the file handlers/all is no handler for all events, but for one of that name"""
        site = self.site(settings=OFF)
        for name in ("a.b", "all"):
            site.cgi(event(name))
        site.dispatch_once()
        site.handler("all", "exit 0")
        doc = site.tool("recover", "all", "--since", "1h", "--json")
        self.assertEqual((doc["event"], doc["recovered"]), ("all", 1))

    def test_range(self):
        """--since and --until bound when the event was received"""
        site = self.site(settings=OFF, handlers={"a.b": "exit 100"})
        for n in range(4):
            site.cgi(event("a.b", n=n))
        site.dispatch_once()
        sql(site, "UPDATE event SET received_ms = received_ms - (5 - seq) * 3600000")  # 4, 3, 2 and 1 hours ago
        for args, count in ((("--since", "30m"), 0), (("--since", "150m"), 2), (("--since", "150m", "--until", "90m"), 1),
                            (("--since", "2020-01-01", "--until", "5h"), 0), (("--since", "2020-01-01"), 4)):
            with self.subTest(" ".join(args)):
                doc = site.tool("recover", "a.b", *args, "--dry-run", "--json")
                self.assertEqual(doc["recoverable"], count)
        self.assertEqual(site.tool("recover", "a.b", "--since", "150m", "--until", "90m", "--json")["recovered"], 1)
        self.assertEqual(site.query("SELECT event_seq FROM delivery WHERE state = 'pending'"), [(3,)])

    def test_refusals(self):
        """a handler that would not run is refused, with the reason and what to do; nothing is changed"""
        site = self.site(settings=OFF, handlers={"all/10-log": "exit 100"})
        site.cgi(event("a.b"))
        site.dispatch_once()
        site.handler("all/plain", "exit 0", mode=0o644)
        os.mkdir(os.path.join(site.handlers, "all", "folder"))
        for name, pattern in (("all/10-lgo", f"no handler all/10-lgo below {site.handlers}; did you mean all/10-log\\?"),
                              ("x.y/z", "no handler x.y/z .*'ntrvsta check'"), ("all/plain", r"all/plain would not run: .*chmod \+x"),
                              ("all/folder", "would not run: a directory"), ("all", "no handler all")):
            with self.subTest(name):
                self.fails(site.tool("recover", name, "--since", "1h", check=False), pattern)
        shutil.rmtree(site.handlers)
        self.fails(site.tool("recover", "all/10-log", "--since", "1h", check=False), re.escape(site.handlers))
        self.assertEqual(site.query("SELECT state FROM delivery"), [("failed",)])

    def test_dispatcher_is_started(self):
        """with start = auto it starts the dispatcher"""
        site = self.site(settings=OFF)
        site.cgi(event("a.b"))
        site.dispatch_once()
        site.configure({"dispatch": {"start": "auto"}})
        site.handler("a.b", "echo > $OUT/.x; mv $OUT/.x $OUT/x")
        done = site.tool("recover", "a.b", "--since", "1h")
        self.assertEqual(done.stderr, "")
        site.output("x")

    def many(self, count=20000):
        """A site where that many events are to be recovered."""
        site = self.site(settings=OFF, handlers={"all/x": "exit 0"})
        seed.backlog(site, count, "all/other", state="success", attempt=1)
        return site

    def test_progress(self):
        """on a terminal one line is drawn over and over, never wider than that; the account follows"""
        site = self.many()
        status, text = on_terminal(site, "recover", "all/x", "--since", "1h", columns=60)
        self.assertEqual(status, 0)
        drawn = text[text.index("\r"):text.index("\n", text.rindex("\r"))].split("\r")[1:]
        self.assertGreater(len(drawn), 2)
        for line in drawn:
            self.assertTrue(line.endswith("\033[K"), line)
            self.assertLess(len(line) - 3, 60)
            self.assertRegex(line, r"\Arecover  ▕[█▏▎▍▌▋▊▉ ]+▏ +\d+%  \d+/20000 events|\A(recover)? +\d+%")
        self.assertIn("100%  20000/20000 events", drawn[-1])
        self.assertTrue(text.endswith("\n20000 deliveries begin anew. See: ntrvsta logs all/x\n"), text[-100:])

    def test_plain_progress(self):
        """elsewhere plain lines; with --json nothing but the document; ASCII where the locale wants that"""
        for args, columns in (((), None), (("--json",), None), ((), 100)):
            site = self.many(5000)
            if columns:
                status, text = on_terminal(site, "recover", "all/x", "--since", "1h", columns=columns, env={"LANG": "C"})
                self.assertEqual(status, 0)
                self.assertTrue(text.isascii(), text)
                continue
            done = site.tool("recover", "all/x", "--since", "1h", *args, check=False)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"\Antrvsta recover: no dispatcher runs, [^\n]*\n\Z")
            self.assertIsNone(UNSAFE.search(done.stdout))
            if args:
                self.assertEqual(json.loads(done.stdout)["recovered"], 5000)

    def test_interrupted(self):
        """Ctrl-C ends it between two steps; what was done stays, and the same command goes on"""
        site = self.many(60000)
        child = site.spawn([site.tool_path, "recover", "all/x", "--since", "1h", "--json"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=site.environment())
        count = "SELECT count(*) FROM delivery WHERE state = 'pending'"
        wait_for(lambda: site.query(count)[0][0] > 0, 10, "it has begun")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 1)
        done = json.loads(out)["recovered"]
        self.assertRegex(err.decode(), f"interrupted after {done} of 60000: the same command goes on")
        self.assertEqual(site.query(count)[0][0], done)
        self.assertEqual(site.tool("recover", "all/x", "--since", "1h", "--json")["recovered"], 60000 - done)


class Cancel(Case):
    def waiting(self, count=2):
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}}, handlers={"a.b": "exit 75", "a.c": "exit 75"})
        for n in range(count):
            site.cgi(event("a.b", n=n))
        site.cgi(event("a.c"))
        site.dispatch_once()
        return site

    def pending(self, site):
        return {r["id"]: r["target"] for r in site.tool("logs", "--status", "pending", "--json")["data"]}

    def test_one(self):
        """a delivery that waits is canceled by its id, and not tried any more; retry brings it back"""
        site = self.waiting()
        first, second = (i for i, target in self.pending(site).items() if target == "a.b")
        self.assertEqual(site.tool("cancel", first).stdout, f"{first} is canceled.\n")
        self.assertEqual(site.tool("cancel", second, "--json"), {"target": None, "canceled": 1, "ids": [second]})
        self.assertEqual(list(self.pending(site).values()), ["a.c"])
        sql(site, "UPDATE delivery SET due_ms = 1")
        site.handler("a.b", "exit 0")
        site.dispatch_once()
        self.assertEqual(site.tool("logs", "a.b", "--status", "success", "--json")["data"], [])
        site.tool("retry", first)
        site.dispatch_once()
        self.assertEqual(site.tool("logs", "a.b", "--status", "success", "--json")["data"][0]["delivery_id"], first)

    def test_first_attempt(self):
        """also one that nobody has tried yet"""
        site = self.site(settings=OFF, handlers={"a.b": "exit 0"})
        seed.backlog(site, 1, "a.b", event="a.b")
        site.tool("cancel", *self.pending(site))
        site.dispatch_once()
        self.assertEqual(site.tool("logs", "--json")["data"], [])
        self.assertEqual(site.tool("events", "--json")["data"][0]["status"], "canceled")

    def test_handler(self):
        """all that waits for a handler, also one that was removed; recover brings it back"""
        site = self.waiting(3)
        os.unlink(os.path.join(site.handlers, "a.b"))
        site.dispatch_once()
        self.assertEqual(site.tool("cancel", "--handler", "a.b").stdout, "3 deliveries of a.b are canceled.\n")
        self.assertEqual(site.tool("cancel", "--handler", "a.b").stdout, "Nothing waits for a.b.\n")
        self.assertEqual(site.tool("cancel", "--handler", "a.c", "--json"), {"target": "a.c", "canceled": 1, "ids": None})
        self.assertEqual(self.pending(site), {})
        site.handler("a.b", "exit 0")
        self.assertEqual(site.tool("recover", "a.b", "--since", "1h", "--json")["recovered"], 3)

    def test_many(self):
        """a large backlog is canceled whole, in steps between which others get at the store"""
        site = self.site(settings=OFF, handlers={"a.b": "exit 0"})
        seed.backlog(site, 30000, "a.b", "a.c", event="a.b")
        child = site.spawn([site.tool_path, "cancel", "--handler", "a.b", "--json"], stdout=subprocess.PIPE,
                           env=site.environment())
        for n in range(5):
            self.assertEqual(site.cgi(event("a.x", n=n)).status, 200)
        out, _ = child.communicate(timeout=60)
        self.assertEqual(json.loads(out)["canceled"], 30000)
        self.assertEqual(site.query("SELECT t.name, d.state, count(*) FROM delivery d JOIN target t ON t.id = d.target"
                                    " GROUP BY 1, 2 ORDER BY 1"), [("a.b", "canceled", 30000), ("a.c", "pending", 30000)])

    def test_refusals(self):
        """what runs, what has ended, what does not exist; one refusal does not keep the others"""
        site = self.site(settings=OFF, handlers={"a.b": "touch $OUT/started; while [ ! -e $OUT/go ]; do sleep 0.01; done",
                                                 "a.c": "exit 0"})
        site.cgi(event("a.c"))
        site.dispatch_once()
        done_id = site.tool("logs", "--json")["data"][0]["delivery_id"]
        site.cgi(event("a.b"))
        site.start_dispatcher()
        site.output("started")
        running, = self.pending(site)
        event_id = site.tool("events", "--json")["data"][0]["id"]
        for args, pattern in (((running,), "runs now"), ((done_id,), "its status is success"), ((event_id,), "is an event's id"),
                              (("dlv_" + "0" * 26,), "no delivery dlv_0"), (("--handler", "a.bb"), "did you mean a.b")):
            with self.subTest(pattern):
                self.fails(site.tool("cancel", *args, check=False), pattern)
        with open(os.path.join(site.out, "go"), "w"):
            pass
        site = self.waiting(1)
        waits = next(iter(self.pending(site)))
        done = site.tool("cancel", "dlv_" + "0" * 26, waits, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, f"{waits} is canceled.\n"))


class Stats(Case):
    FIELDS = {"total_deliveries", "successful_deliveries", "failed_deliveries", "pending_deliveries", "success_rate", "p50_ms",
              "p95_ms", "from", "to"}

    def filled(self):
        """One handler that succeeded twice and was given up once, one that waits for a retry, one that never ran."""
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "1h"}},
                         handlers={"a.mixed": "grep -q bad && exit 100; exit 0", "a.slow": "exit 75", "all.x/y": "exit 0"})
        for name, n in (("a.mixed", 1), ("a.mixed", 2), ("a.mixed", "bad"), ("a.slow", 1)):
            site.cgi(event(name, n=n))
        site.dispatch_once()
        return site

    def test_numbers(self):
        """the numbers of each handler and of all, under the names of the API"""
        site = self.filled()
        doc = site.tool("stats", "--json")
        rows = {r["target"]: r for r in doc["data"]}
        self.assertEqual(list(rows), ["a.mixed", "a.slow", "all.x/y"])
        for row in (*rows.values(), doc["total"]):
            self.assertLess(self.FIELDS, set(row))
        names = ("total_deliveries", "successful_deliveries", "failed_deliveries", "pending_deliveries", "success_rate",
                 "attempts", "failed_attempts")
        self.assertEqual([rows["a.mixed"][n] for n in names], [3, 2, 1, 0, 66.66, 3, 1])
        self.assertEqual([rows["a.slow"][n] for n in names], [1, 0, 0, 1, None, 1, 1])
        self.assertEqual([rows["all.x/y"][n] for n in names], [0, 0, 0, 0, None, 0, 0])
        self.assertEqual([doc["total"][n] for n in names], [4, 2, 1, 1, 66.66, 4, 2])
        self.assertEqual((rows["all.x/y"]["p50_ms"], rows["all.x/y"]["oldest_waiting_at"]), (None, None))
        self.assertEqual(rows["a.slow"]["oldest_waiting_at"],
                         site.tool("events", "--event", "a.slow", "--json")["data"][0]["received_at"])
        one = site.tool("stats", "a.mixed", "--json")
        self.assertEqual([one[n] for n in names], [rows["a.mixed"][n] for n in names])
        self.assertEqual((one["target"], one["range"]), ("a.mixed", "24h"))

    def test_percentiles(self):
        """p50 and p95 are those of the attempts, by nearest rank"""
        site = self.site(settings=OFF, handlers={"a.b": "exit 0"})
        for n in range(30):
            site.cgi(event("a.b", n=n))
        site.dispatch_once()
        took = sorted(ms for ms, in site.query("SELECT duration_ms FROM attempt"))
        doc = site.tool("stats", "a.b", "--json")
        self.assertEqual((doc["p50_ms"], doc["p95_ms"]), (took[14], took[28]))

    def test_ranges(self):
        """a range is made of whole minutes or hours, the present one counted; from and to say so"""
        site = self.filled()
        for name, seconds, bucket, count in (("1h", 3600, 60, 60), ("24h", 86400, 3600, 24), ("7d", 7 * 86400, 3600, 168),
                                             ("30d", 30 * 86400, 3600, 720)):
            with self.subTest(name):
                before = time.time()
                doc = site.tool("stats", "--range", name, "--json")
                start, end = (self.seconds(doc["total"][n]) for n in ("from", "to"))
                self.assertEqual((start % bucket, doc["range"]), (0, name))
                self.assertTrue(before - 0.01 <= end <= time.time() + 0.01)
                self.assertTrue(seconds - bucket <= end - start <= seconds)
                buckets = doc["total"]["buckets"]
                self.assertEqual(len(buckets), count)
                self.assertEqual([self.seconds(b["from"]) for b in buckets], [start + i * bucket for i in range(count)])
                self.assertEqual((sum(b["attempts"] for b in buckets), sum(b["failed_attempts"] for b in buckets)), (4, 2))
                self.assertEqual(doc["total"]["attempts"], 4)

    @staticmethod
    def seconds(text):
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

    def test_only_the_range(self):
        """what ended before the range does not count in it"""
        site = self.filled()
        sql(site, "UPDATE tally SET bucket_ms = bucket_ms - 3 * 86400000",
            "UPDATE duration SET bucket_ms = bucket_ms - 3 * 86400000")
        self.assertEqual([site.tool("stats", "--range", r, "--json")["total"]["attempts"] for r in ("1h", "24h", "7d", "30d")],
                         [0, 0, 4, 4])

    def test_text(self):
        """a table with a total, and a chart in which failed attempts can be told; plain ASCII"""
        site = self.filled()
        done = site.tool("stats")
        self.assertTrue(done.stdout.isascii())
        self.assertIsNone(UNSAFE.search(done.stdout))
        self.assertRegex(done.stdout, r"\nTARGET +SUCCESS +FAILED +WAITING +RATE +ATTEMPTS +P50 +P95 +OLDEST WAITING\n")
        self.assertRegex(done.stdout, r"\na.mixed +2 +1 +0 +66.66% +3 +\d+ms +\d+ms +-\n")
        self.assertRegex(done.stdout, r"\na.slow +0 +0 +1 +- +1 +\d+ms +\d+ms +\d+\w+\n")
        self.assertRegex(done.stdout, r"\nall.x/y +0 +0 +0 +- +0 +- +- +-\ntotal +2 +1 +1 +66.66% +4 ")
        self.assertRegex(done.stdout, r"\nAttempts in each hour, x failed:\n4 \| +###\n( +\| +###\n){2}( +\| +xxx\n){3}0 \+-{72}\n")
        self.assertRegex(done.stdout, r"\n +20\d\d-\d\d-\d\d \d\d:00 +20\d\d-\d\d-\d\d \d\d:\d\d\n\Z")
        text = site.tool("stats", "a.mixed").stdout
        self.assertRegex(text, r"Deliveries +3 ended: 2 success, 1 failed \(66.66% success\)\n")
        self.assertRegex(text, r"\nAttempts +3, of which 1 failed\n")
        self.assertRegex(site.tool("stats", "a.slow").stdout, r"\nWaiting +1, the oldest for \d+\w+\n")
        self.assertNotIn("|", site.tool("stats", "all.x/y").stdout, "no chart of nothing")

    def test_terminal(self):
        """on a terminal blocks, as wide as that is; ASCII where the locale is; colour unless NO_COLOR"""
        site = self.filled()
        for columns, env, pattern in ((80, {}, "█"), (40, {"NO_COLOR": "1"}, "▒"), (120, {"LANG": "C"}, "#"),
                                      (60, {"LC_ALL": "C"}, "#"), (33, {"LANG": "de_DE.ISO-8859-1"}, "x")):
            for name in ("1h", "24h", "7d", "30d"):
                with self.subTest(f"{columns} columns, {env}, {name}"):
                    status, text = on_terminal(site, "stats", "a.mixed", "--range", name, columns=columns, env=env)
                    self.assertEqual(status, 0)
                    chart = text[text.index("Attempts in each"):]
                    self.assertIn(pattern, chart)
                    self.assertEqual(chart.isascii(), bool({"LANG", "LC_ALL"} & set(env)))
                    self.assertEqual("\033[31m" in chart, "NO_COLOR" not in env)
                    for line in re.sub(r"\033\[\d*m", "", chart).split("\n")[1:]:
                        self.assertLessEqual(len(line), columns)

    def test_handlers(self):
        """a handler that is gone is shown while there is something to tell; an unknown one is named"""
        site = self.filled()
        os.unlink(os.path.join(site.handlers, "a.mixed"))
        self.assertEqual([r["target"] for r in site.tool("stats", "--json")["data"]], ["a.mixed", "a.slow", "all.x/y"])
        sql(site, "DELETE FROM tally WHERE target = (SELECT id FROM target WHERE name = 'a.mixed')")
        self.assertEqual([r["target"] for r in site.tool("stats", "--json")["data"]], ["a.slow", "all.x/y"])
        self.assertEqual(site.tool("stats", "a.mixed", "--json")["attempts"], 0)
        self.fails(site.tool("stats", "a.slwo", check=False), r"no handler a.slwo .* did you mean a.slow\?")

    def test_begins_anew(self):
        """a delivery that begins anew counts no more until it ends again"""
        site = self.filled()
        site.tool("retry", site.tool("failed", "--json")["data"][0]["id"])
        doc = site.tool("stats", "a.mixed", "--json")
        self.assertEqual([doc[n] for n in ("successful_deliveries", "failed_deliveries", "pending_deliveries", "success_rate")],
                         [2, 0, 1, 100.0])


class Prune(Case):
    def test_old_events(self):
        """removes what is too old, and nothing that waits or failed a short while ago; says what it did"""
        site = self.site(settings={**OFF, "store": {"retain_events": "1d", "retain_failed": "3d"},
                                   "handlers": {"retry_schedule": "1h"}},
                         handlers={"a.good": "exit 0", "a.bad": "exit 100", "a.slow": "exit 75"})
        for name in ("a.good", "a.bad", "a.slow", "a.none"):
            site.cgi(event(name))
        site.dispatch_once()
        site.cgi(event("a.new"))
        self.assertRegex(site.tool("prune").stdout, r"\ANo event that may go is older than 24h00m.\n")
        sql(site, "UPDATE event SET received_ms = received_ms - 2 * 86400000")
        doc = site.tool("prune", "--json")
        self.assertEqual((doc["removed"], doc["file"], doc["file_bytes"]), (2, site.db_file, os.path.getsize(site.db_file)))
        self.assertEqual([e[2] for e in site.stored()], ["a.bad", "a.slow", "a.new"])
        sql(site, "UPDATE delivery SET updated_ms = updated_ms - 4 * 86400000")
        self.assertRegex(site.tool("prune").stdout, rf"\A1 event was removed.\n{site.db_file}: \d+\.\d MiB, its journal ")
        self.assertEqual([e[2] for e in site.stored()], ["a.slow", "a.new"])
        self.assertEqual(site.query("SELECT count(*) FROM attempt"), [(1,)])

    def test_many(self):
        """many in small steps, with a bar of what is known; calls are taken meanwhile; the file does not grow again"""
        site = self.site(settings={**OFF, "store": {"retain_events": "1d"}}, handlers={"a.b": "exit 0"})
        old = seed.now_ms() - 2 * seed.DAY_MS
        seed.backlog(site, 20000, "a.b", state="success", attempt=1, received_ms=old, output="x" * 100)
        size = os.path.getsize(site.db_file)
        ours = threading.Thread(target=lambda: [site.cgi(event("a.x", n=n)) for n in range(5)])
        ours.start()
        status, text = on_terminal(site, "prune")
        ours.join()
        self.assertEqual(status, 0)
        self.assertRegex(text, r"\rprune  \d+ events removed.*\033\[K\n20000 events were removed.\n")
        self.assertEqual([e[2] for e in site.stored()], ["a.x"] * 5)
        seed.backlog(site, 15000, "a.b", state="success", attempt=1, received_ms=old, output="x" * 100)
        self.assertLessEqual(os.path.getsize(site.db_file), size * 1.05)


class Dispatch(Case):
    def test_once(self):
        """--once runs what is due and leaves; --json says that it ran"""
        site = self.site(settings=OFF, handlers={"a.b": "echo > $OUT/x"})
        site.cgi(event("a.b"))
        self.assertEqual(site.tool("dispatch", "--once", "--json"), {"ran": True, "holder": None})
        self.assertTrue(os.path.exists(os.path.join(site.out, "x")))

    def test_second(self):
        """a second dispatcher says who has the lock and leaves with 0"""
        site = self.site(settings=OFF)
        child = site.start_dispatcher()
        done = site.tool("dispatch")
        self.assertEqual(done.stdout, f"A dispatcher runs already: process {child.pid} holds {site.state}/dispatch.lock.\n")
        self.assertEqual(site.tool("dispatch", "--once", "--json"), {"ran": False, "holder": child.pid})

    def test_signals(self):
        """SIGTERM and SIGINT end it with status 0"""
        for number in (signal.SIGTERM, signal.SIGINT):
            site = self.site(settings=OFF)
            child = site.start_dispatcher()
            wait_for(lambda: "runs" in [f["message"] for f in site.tool("check", "--json")["findings"]], 10, "it is ready")
            self.assertEqual(ntrvsta.stop(child, number), 0)

    def test_idle(self):
        """--idle leaves when nothing comes for so long"""
        site = self.site(settings=OFF)
        done = site.tool("dispatch", "--idle", "200ms", timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_bad_log(self):
        """a log that can't be opened is named"""
        site = self.site(settings={**OFF, "log": {"target": "/no/such/folder/log"}})
        self.fails(site.tool("dispatch", "--once", check=False), "/no/such/folder/log: can't be opened")


class Manual(Case):
    PAGE = os.path.join(ntrvsta.SRCDIR, "man", "ntrvsta.1")

    def test_lint(self):
        """no manual page has anything for mandoc to complain about"""
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        folder = os.path.dirname(self.PAGE)
        for name in sorted(os.listdir(folder)):
            with self.subTest(name):
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(folder, name)], capture_output=True)
                self.assertEqual(done.stdout + done.stderr, b"")

    @unittest.skipUnless(all(map(shutil.which, ("mandoc", "jq", "sqlite3"))), "mandoc, jq or sqlite3 is not installed")
    def test_batch_example(self):
        """the batch handler in the manual works: the good events of a batch go through, the bad one ends up alone"""
        page = os.path.join(ntrvsta.SRCDIR, "man", "ntrvsta-handlers.7")
        text = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=150", page], capture_output=True, check=True).stdout
        example = re.search(r"(?ms)^ +#!/bin/sh\n +# All of a batch.*?^ +END$", re.sub(r".\x08", "", text.decode())).group()
        site = self.site(settings={**OFF, "handlers": {"retry_schedule": "0s"},
                                   "handler session.completed/20-warehouse": {"batch": "500"}},
                         handlers={"session.completed/20-warehouse": textwrap.dedent(example) + "\n"})
        for n in range(7):
            site.cgi(event(**({"session": {"id": f"it's \"{n}\", x", "overall_score": n}} if n != 3 else {"other": {}})))
        wait_for(lambda: site.tool("dispatch", "--once", env={"HOME": site.out})
                 and not site.tool("logs", "--status", "pending", "--json")["data"], 10, "all is done")
        with sqlite3.connect(os.path.join(site.out, "scores.db")) as db:
            rows = db.execute("SELECT session, score FROM score ORDER BY score").fetchall()
        db.close()
        self.assertEqual(rows, [(f"it's \"{n}\", x", str(n)) for n in (0, 1, 2, 4, 5, 6)])
        failed = site.tool("failed", "--json")["data"]
        self.assertEqual([(r["event_id"], r["error_code"]) for r in failed], [(site.stored()[3][0], "permanent")])

    def test_complete(self):
        """the manual page and the help of each command name the same options"""
        page = read_file(self.PAGE).decode()
        for command in COMMANDS:
            with self.subTest(command):
                part = re.search(rf"(?ms)^\.Ss {command}\b.*?(?=^\.S[sh] )", page).group()
                documented = set(re.findall(r"Fl -([a-z-]+)", part))
                helped = set(re.findall(r"--([a-z-]+)", tool(command, "--help").stdout.split("Examples:")[0]))
                self.assertEqual(documented - {"config", "json", "help"}, helped - {"config", "json", "help"})


if __name__ == "__main__":
    tap.main()
