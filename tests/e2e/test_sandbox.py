#!/usr/bin/env python3
"""What a handler may do, seen from inside a script; and what becomes of the others where one of them goes wild."""

import os
import pathlib
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import ntrvsta
import tap
from ntrvsta import Site, event, wait_for

NAME = "session.completed"
ROOT = os.geteuid() == 0
OFF = {"dispatch": {"start": "off"}}
NEVER = "1h"
MIB = 1 << 20


def landlock():
    """Can `writable` be had here?"""
    with Site(OFF, {NAME: "true"}) as site:
        site.configure({"handlers": {"writable": "none"}})
        return "Landlock" not in site.tool("check", check=False).stdout


class SandboxCase(unittest.TestCase):
    def site(self, handlers=None, settings=None, **how):
        site = Site({"dispatch": {"start": "off", "concurrency": "4"}}, handlers, **how)
        site.configure({"handlers": {"retry_schedule": NEVER}})
        site.configure(settings or {})
        self.addCleanup(site.close)
        return site

    def put(self, site, body=None):
        answer = site.cgi(body or event())
        self.assertEqual(answer.status, 200)
        return answer.json["id"]

    def attempts(self, site, event_id):
        """{handler: its attempts}, once all have one."""
        def done():
            rows = site.tool("events", "show", event_id, "--json")["deliveries"]
            return rows and all(r["attempts"] for r in rows) and {r["target"]: r["attempts"] for r in rows}
        return wait_for(done, 60, f"an attempt of each handler\n{site.logs()}")

    def run_once(self, script, settings=None, **how):
        """The one attempt of SCRIPT, and its output."""
        site = self.site({NAME: script}, settings, **how)
        event_id = self.put(site)
        site.dispatch_once()
        attempt, = self.attempts(site, event_id)[NAME]
        return site, attempt


class Bounds(SandboxCase):
    def limits(self, settings):
        """What `ulimit -a` says, by its letter, and in its units."""
        _, attempt = self.run_once("#!/bin/bash\nulimit -a\n", {"handlers": settings})
        return {line.split("-")[1][0]: line.split()[-1] for line in attempt["output"].splitlines()}

    def test_ulimit(self):
        """ulimit -a shows each limit"""
        seen = self.limits({"cpu_time": "7s", "memory": "100M", "address_space": "300M", "file_size": "5M",
                            "open_files": "40"})
        want = {"t": "7", "d": str(100 * 1024), "v": str(300 * 1024), "f": str(5 * 1024), "n": "40", "c": "0"}
        for letter, value in want.items():
            with self.subTest(f"ulimit -{letter}"):
                self.assertEqual(seen[letter], value)

    def test_defaults(self):
        """and the defaults"""
        seen = self.limits({})
        want = {"t": "3600", "d": str(1 << 20), "v": "unlimited", "f": str(1 << 20), "n": "1024", "c": "0"}
        self.assertEqual({k: seen[k] for k in want}, want)
        self.assertGreater(int(seen["u"]), 256)

    def test_off(self):
        """0 leaves all as the dispatcher has it"""
        own = dict(line.split(" ", 1) for line in subprocess.run(
            ["bash", "-c", "for i in t d v f u n; do echo $i $(ulimit -S$i); done"], capture_output=True, text=True,
            check=True).stdout.splitlines())
        seen = self.limits({k: "0" for k in ("cpu_time", "memory", "address_space", "file_size", "processes", "open_files")})
        self.assertEqual({k: seen[k] for k in own}, own)

    def test_rights(self):
        """no new privileges, a private umask, and who is ended first where memory runs out"""
        site, attempt = self.run_once('grep NoNewPrivs /proc/self/status; umask; cat /proc/self/oom_score_adj; : >"$OUT/f"')
        self.assertEqual(attempt["output"].split(), ["NoNewPrivs:", "1", "0077", "500"])
        self.assertEqual(os.stat(os.path.join(site.out, "f")).st_mode & 0o777, 0o600)

    def test_one_handler(self):
        """a section of one handler is for that handler"""
        site = self.site({f"{NAME}/{n}": "umask; grep NoNewPrivs /proc/self/status" for n in "ab"},
                         {f"handler {NAME}/b": {"umask": "022", "no_new_privs": "off"}})
        event_id = self.put(site)
        site.dispatch_once()
        seen = {t: a[0]["output"].split() for t, a in self.attempts(site, event_id).items()}
        self.assertEqual(seen, {f"{NAME}/a": ["0077", "NoNewPrivs:", "1"], f"{NAME}/b": ["0022", "NoNewPrivs:", "0"]})

    def test_changed(self):
        """a change counts from the next run on"""
        site = self.site({NAME: 'umask >"$OUT/.$NTRVSTA_EVENT_ID"; mv "$OUT/.$NTRVSTA_EVENT_ID" "$OUT/$NTRVSTA_EVENT_ID"'})
        dispatcher = site.start_dispatcher()
        self.assertEqual(site.output(self.put(site)), b"0077\n")
        site.configure({"handlers": {"umask": "027"}})
        wait_for(lambda: site.logs().count("configuration loaded"), 20, "the new settings")
        self.assertEqual(site.output(self.put(site, event(n=2))), b"0027\n")
        self.assertIsNone(dispatcher.poll())

    def test_cpu_time(self):
        """who uses up its processor time is told so"""
        _, attempt = self.run_once("#!/bin/sh\nwhile :; do :; done\n", {"handlers": {"cpu_time": "1s"}})
        self.assertEqual((attempt["error_code"], attempt["error_message"]),
                         ("signal", "killed by SIGXCPU (used more than cpu_time)"))


class Files(SandboxCase):
    SCRIPT = ('for f in "$OUT/in/a" "$OUT/a" /tmp/ntrvsta-test-$$ "$0" /dev/null; do\n'
              '  (echo x >>"$f") 2>/dev/null && echo "$f"\ndone; cat "$OUT/read"; rm -f /tmp/ntrvsta-test-$$')

    def run_with(self, writable):
        site = self.site({NAME: self.SCRIPT})
        os.mkdir(os.path.join(site.out, "in"))
        with open(os.path.join(site.out, "read"), "w") as f:
            f.write("read\n")
        site.configure({"handlers": {"writable": writable.replace("OUT", site.out)}})
        event_id = self.put(site)
        site.dispatch_once()
        return site, self.attempts(site, event_id)[NAME][0]

    def test_paths(self):
        """a read-only file system, but for what is listed"""
        if not landlock():
            self.skipTest("no Landlock")
        site, attempt = self.run_with("OUT/in")
        self.assertEqual(attempt["output"].split(), [f"{site.out}/in/a", "/dev/null", "read"])
        _, attempt = self.run_with("none")
        self.assertEqual(attempt["output"].split(), ["/dev/null", "read"])

    def test_missing(self):
        """a listed path that is not there keeps the handler from being started"""
        if not landlock():
            self.skipTest("no Landlock")
        site, attempt = self.run_with("OUT/in OUT/missing")
        self.assertEqual(attempt["error_code"], "spawn_failed")
        self.assertEqual(attempt["error_message"], f"cannot start {site.handlers}/{NAME}: writable: {site.out}/missing: "
                         "No such file or directory")


class Network(SandboxCase):
    def call(self, network):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            _, attempt = self.run_once(f"#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port} && echo called\n",
                                       {"handlers": {"network": network}})
        return attempt

    def test_on(self):
        """a handler can call others"""
        self.assertEqual(self.call("on")["output"], "called\n")

    def test_off(self):
        """network = off: not even this machine"""
        attempt = self.call("off")
        if attempt["error_code"] == "spawn_failed":
            self.assertIn("network = off: no network namespace", attempt["error_message"])
            self.skipTest("no namespaces")
        self.assertNotIn("called", attempt["output"])
        self.assertIn("unreachable", attempt["output"])

    def test_unprivileged(self):
        """the same where the dispatcher is not root's, and the handler's user stays who it is"""
        if not ROOT:
            self.skipTest("is what the others have tested")
        site = self.site({NAME: "id -un; grep -c : /proc/self/net/dev"}, {"handlers": {"network": "off"}})
        site.install()
        event_id = self.put(site)
        site.dispatch_once()
        attempt, = self.attempts(site, event_id)[NAME]
        if attempt["error_code"] == "spawn_failed":
            self.assertIn("network = off: no network namespace", attempt["error_message"])
            self.skipTest("no user namespaces")
        self.assertEqual(attempt["output"].split(), [site.user.pw_name, "1"])


class User(SandboxCase):
    """Of root's dispatcher."""

    def setUp(self):
        if not ROOT:
            self.skipTest("not root")

    def test_none(self):
        """without a user root runs nothing, says so, and tries again"""
        site, attempt = self.run_once('echo ran >"$OUT/ran"', {"handlers": {"user": None}})
        self.assertEqual(attempt["error_code"], "spawn_failed")
        self.assertIn("the dispatcher runs as root, and root runs no handler by itself: set user in [handlers]",
                      attempt["error_message"])
        self.assertEqual(site.query("SELECT state FROM delivery"), [("pending",)])
        self.assertFalse(os.path.exists(os.path.join(site.out, "ran")))
        done = site.tool("check", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "problem +sandbox: handlers can't be started: the dispatcher runs as root")

    def test_another(self):
        """a user: its ids, groups and home, and no way back"""
        user = ntrvsta.web_user()
        site, attempt = self.run_once('id -un; id -gn; id -G; echo "$HOME"; grep CapEff /proc/self/status;'
                                      ' cat /dev/stdin >/dev/null && echo again >/dev/stderr; : >"$OUT/f"',
                                      {"handlers": {"user": user.pw_name}})
        groups = " ".join(map(str, os.getgrouplist(user.pw_name, user.pw_gid)))
        lines = attempt["output"].splitlines()
        self.assertEqual(lines[:4], [user.pw_name, user.pw_name, groups, user.pw_dir])
        self.assertEqual(lines[4:], ["CapEff:\t0000000000000000", "again"])
        self.assertEqual(os.stat(os.path.join(site.out, "f")).st_uid, user.pw_uid)
        self.assertNotIn("run as root", site.tool("check").stdout)

    def test_missing(self):
        """a user that is not there"""
        site, attempt = self.run_once("true", {"handlers": {"user": "no-such-user"}})
        self.assertIn("user = no-such-user: there is no such user", attempt["error_message"])
        self.assertRegex(site.tool("check", check=False).stdout, "problem +sandbox: .* there is no such user")

    def test_not_root(self):
        """another user where the dispatcher is not root's"""
        site = self.site({NAME: "true"})
        site.install()
        site.configure({"handlers": {"user": "nobody" if site.user.pw_name != "nobody" else "root"}})
        event_id = self.put(site)
        site.dispatch_once()
        self.assertIn("only root can run handlers as another user",
                      self.attempts(site, event_id)[NAME][0]["error_message"])
        site.configure({"handlers": {"user": site.user.pw_name}})
        event_id = self.put(site, event(n=2))
        site.dispatch_once()
        self.assertEqual(self.attempts(site, event_id)[NAME][0]["error_code"], None)


class Check(SandboxCase):
    def test_shown(self):
        """check shows what holds for all, and for each handler where that differs"""
        site = self.site({f"{NAME}/{n}": "true" for n in "abc"},
                         {f"handler {NAME}/b": {"cpu_time": "90s", "umask": "027", "no_new_privs": "off", "memory": "0"},
                          f"handler {NAME}/c": {"timeout": "1s"}})
        found = [f["message"] for f in site.tool("check", "--json")["findings"]
                 if f["subject"] == "sandbox" and f["level"] == "ok"]
        user = "root" if ROOT else "(the dispatcher's)"
        rest = "processes 256, open_files 1024, writable all, network on"
        self.assertEqual(found, [
            f"handlers: user {user}, umask 077, no_new_privs on, cpu_time 1h00m, memory 1G, address_space unlimited,"
            f" file_size 1G, {rest}",
            f"{NAME}/b: user {user}, umask 027, no_new_privs off, cpu_time 1m30s, memory unlimited,"
            f" address_space unlimited, file_size 1G, {rest}"])

    def test_paths(self):
        """a path that is not there is a problem before an event finds it"""
        if not landlock():
            self.skipTest("no Landlock")
        site = self.site({NAME: "true"}, {"handlers": {"writable": "/tmp missing"}})
        done = site.tool("check", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"writable /tmp {site.root}/missing", done.stdout)
        self.assertRegex(done.stdout, f"problem +sandbox: handlers can't be started: writable: {site.root}/missing: No such")


class Bombs(SandboxCase):
    """One handler goes wild; beside it another one gets its events, which its first attempt has to manage."""
    # Needs a process, memory, a file and time.
    OTHER = ('n=$(seq 1000 | tail -n 1 | cat) && [ "$n" = 1000 ] && head -c 1000000 /dev/zero | tail -c 1000000 >"$OUT/o" &&'
             ' [ "$(wc -c <"$OUT/o")" = 1000000 ] && mv "$OUT/o" "$OUT/other-$NTRVSTA_EVENT_ID"')

    def explode(self, bomb, settings, began, timeout="5s"):
        """The site, and the end of BOMB, beside which OTHER did its work."""
        site = self.site({f"{NAME}/10-bomb": bomb, "session.started/other": self.OTHER}, settings)
        site.configure({"handlers": {"timeout": "60s"}, f"handler {NAME}/10-bomb": {"timeout": timeout, "kill_grace": "1s"}})
        site.install()  # the kernel bounds no process of root
        dispatcher = site.start_dispatcher()
        bomb_id = self.put(site)
        wait_for(lambda: began(site), 30, f"the bomb\n{site.logs()}")
        for n in range(5):
            other_id = self.put(site, event("session.started", n=n))
            attempts, = self.attempts(site, other_id).values()
            self.assertEqual([(a["error_code"], a["output"]) for a in attempts], [(None, "")])
            self.assertEqual(len(site.output(f"other-{other_id}")), 1000000)
        attempt, = self.attempts(site, bomb_id)[f"{NAME}/10-bomb"]
        self.assertIsNone(dispatcher.poll(), "the dispatcher lives")
        wait_for(lambda: ntrvsta.processes_of(site.dir) == [dispatcher.pid], 20, "nothing is left of the bomb")
        return site, attempt

    def has_begun(self, site):
        return os.path.exists(os.path.join(site.out, "began"))

    def test_fork_bomb(self):
        """a fork bomb"""
        site, attempt = self.explode('bomb() { bomb & bomb & wait; }\necho >"$OUT/began"\nbomb\nsleep 1000',
                                     {"handlers": {"processes": "40"}}, lambda s: len(ntrvsta.processes_of(s.dir)) >= 40)
        self.assertEqual(attempt["error_code"], "timeout")
        self.assertRegex(attempt["output"], "[Ff]ork", "the kernel refused more")

    def test_memory_hog(self):
        """a memory hog"""
        for setting in ("memory", "address_space"):
            with self.subTest(setting):
                _, attempt = self.explode('echo >"$OUT/began"\nsleep 1\nhead -c 2G /dev/zero | tail 2>&1',
                                          {"handlers": {"memory": "0", setting: "64M"}},
                                          self.has_begun, "60s")
                self.assertEqual(attempt["error_code"], "exit")
                self.assertIn("memory exhausted", attempt["output"])

    def test_disk_filler(self):
        """a disk filler"""
        site, attempt = self.explode('echo >"$OUT/began"\nsleep 1\nhead -c 10G /dev/zero >"$OUT/big"',
                                     {"handlers": {"file_size": "8M"}},
                                     self.has_begun, "60s")
        self.assertEqual(os.path.getsize(os.path.join(site.out, "big")), 8 * MIB)
        self.assertEqual(attempt["error_message"], "exit status 153 (from a shell: a command wrote a file beyond file_size)")


if __name__ == "__main__":
    tap.main()
