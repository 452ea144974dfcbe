#!/usr/bin/env python3
"""Handlers as the dispatcher runs them, on real events: what they find, how they may end, what is
kept of them, when they are run again."""

import calendar
import hashlib
import json
import os
import pwd
import pathlib
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import ntrvsta
import tap
from ntrvsta import Site, event, read_file, wait_for

NAME = "session.completed"
MIB = 1 << 20
PROMPT = 10  # seconds that nothing here needs, unless it waits for what it should not wait for
NEVER = "1h"  # a step of the retry schedule that a test does not live to see

# What a stranger may write into any field.
HOSTILE = [
    "; touch $OUT/pwned", "$(touch $OUT/pwned)", "`touch $OUT/pwned`", "| touch $OUT/pwned", "&& touch $OUT/pwned &",
    "' ; touch $OUT/pwned ; '", '" ; touch $OUT/pwned ; "', "line\nbreak\r\nNTRVSTA_EVENT=forged", "a\0b", "\\", "%s%n",
    "-rf", "--help", "../../../etc/passwd", "* ? [a-z]", "${IFS}", "~root", "() { :;}; touch $OUT/pwned",
    "\x1b[2J\x1b]0;title\x07", "\u202e\u2028", "x" * 100000, "ä山🎉",
]


class HandlerCase(unittest.TestCase):
    def site(self, handlers=None, settings=None):
        """A site whose dispatcher runs when the test says so. NAMES without a slash are handlers of NAME."""
        site = Site(settings={"dispatch": {"start": "off"}})
        self.addCleanup(site.close)
        for name, script in (handlers or {}).items():
            site.handler(name if "/" in name else f"{NAME}/{name}", script)
        site.configure(settings or {})
        return site

    def put(self, site, body=None, **how):
        """One event through the program as plain CGI. Its id."""
        answer = site.cgi(event(NAME) if body is None else body, **how)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["id"]

    def put_many(self, site, count):
        return [self.put(site, event(NAME, n=n)) for n in range(count)]

    def show(self, site, event_id):
        """The event's deliveries by handler, without the folder's name."""
        rows = site.tool("events", "show", event_id, "--json")["deliveries"]
        return {row["target"].removeprefix(NAME + "/"): row for row in rows}

    def run_one(self, script, settings=None, body=None):
        """One event through one handler. The site and the attempt."""
        site = self.site({"h": script}, {"handlers": {"retry_schedule": NEVER}, **(settings or {})})
        event_id = self.put(site, body)
        site.dispatch_once()
        attempts = self.show(site, event_id)["h"]["attempts"]
        self.assertEqual(len(attempts), 1)
        return site, attempts[0]

    def dispatch_until(self, site, event_id, states, timeout=60):
        """Run what is due, again and again, until each delivery is in one of STATES."""
        def done():
            site.dispatch_once()
            found = self.show(site, event_id)
            return found if all(row["status"] in states for row in found.values()) else None
        return wait_for(done, timeout, f"deliveries {states}")


class Selection(HandlerCase):
    def order(self, site, name=NAME):
        self.put(site, event(name, nonce=os.urandom(4).hex()))
        site.dispatch_once()
        path = os.path.join(site.out, "order")
        ran = read_file(path).decode().split() if os.path.exists(path) else []
        if ran:
            os.unlink(path)
        return ran

    def test_order(self):
        """by name: the event's folder, the file of its name, all/; nothing else"""
        note = 'echo "$NTRVSTA_HANDLER" >>"$OUT/order"'
        files = [f"{NAME}/20-b", f"{NAME}/10-a", f"{NAME}/Z", "all/30", "all/05", "session.started/x", f"{NAME}.x/y"]
        site = self.site({name: note for name in files}, {"dispatch": {"concurrency": "1"}})
        for skipped in (".hidden", "x~", "x.bak", "x.dpkg-old"):
            site.handler(f"{NAME}/{skipped}", note)
        site.handler(f"{NAME}/plain", note, mode=0o644)
        site.handler(f"{NAME}/folder/x", note)
        self.assertEqual(self.order(site), [f"{NAME}/10-a", f"{NAME}/20-b", f"{NAME}/Z", "all/05", "all/30"])
        self.assertEqual(self.order(site, "candidate.invited"), ["all/05", "all/30"])
        site.handler("result.completed", note)
        self.assertEqual(self.order(site, "result.completed"), ["result.completed", "all/05", "all/30"])

    def test_changes(self):
        """a handler that is added, changed or removed counts at once, in a dispatcher that runs"""
        site = self.site({"a": 'echo a1 >>"$OUT/log"'})
        site.start_dispatcher()
        log = os.path.join(site.out, "log")

        def logged(lines):
            self.put(site, event(NAME, nonce=os.urandom(4).hex()))
            wait_for(lambda: os.path.exists(log) and read_file(log).decode().split() == lines, 10, f"{lines} in log")
        logged(["a1"])
        site.handler(f"{NAME}/b", 'while ! grep -q a2 "$OUT/log"; do sleep 0.01; done; echo b >>"$OUT/log"')
        site.handler(f"{NAME}/a", 'echo a2 >>"$OUT/log"')
        logged(["a1", "a2", "b"])
        os.unlink(os.path.join(site.handlers, NAME, "a"))
        site.handler(f"{NAME}/b", 'echo b2 >>"$OUT/log"')
        logged(["a1", "a2", "b", "b2"])

    def test_no_handlers_folder(self):
        """no handlers' folder: the event waits until there is one"""
        site = self.site({"h": 'cat >"$OUT/body"'})
        os.rename(site.handlers, site.handlers + ".away")
        body = event(NAME)
        self.put(site, body)
        site.dispatch_once()
        self.assertEqual(os.listdir(site.out), [])
        os.rename(site.handlers + ".away", site.handlers)
        site.dispatch_once()
        self.assertEqual(site.output("body"), body)


class Surroundings(HandlerCase):
    ENVIRONMENT = {"PATH", "HOME", "LANG", "NTRVSTA_EVENT", "NTRVSTA_EVENT_ID", "NTRVSTA_TIMESTAMP",
                   "NTRVSTA_DELIVERY_ID", "NTRVSTA_ATTEMPT", "NTRVSTA_SOURCE", "NTRVSTA_HANDLER"}
    SAVE = 'cat /proc/$$/environ >"$OUT/environ"'  # as it was at its start; the shell adds to its own

    def environment(self, site, **how):
        event_id = self.put(site, **how)
        site.dispatch_once()
        pairs = read_file(os.path.join(site.out, "environ")).decode().rstrip("\0").split("\0")
        return event_id, dict(p.split("=", 1) for p in pairs)

    def test_environment(self):
        """the environment is what the contract says, and nothing else"""
        site = self.site({"h": self.SAVE})
        event_id, env = self.environment(site)
        delivery = self.show(site, event_id)["h"]["id"]
        self.assertEqual(set(env), self.ENVIRONMENT)
        home = env.pop("HOME")
        self.assertEqual(home, pwd.getpwuid(os.geteuid()).pw_dir)  # $HOME was unset
        self.assertEqual(env, {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "NTRVSTA_EVENT": NAME,
            "NTRVSTA_EVENT_ID": event_id, "NTRVSTA_TIMESTAMP": "2026-03-15T15:00:00Z",
            "NTRVSTA_DELIVERY_ID": delivery, "NTRVSTA_ATTEMPT": "1", "NTRVSTA_SOURCE": "ntrvsta",
            "NTRVSTA_HANDLER": f"{NAME}/h",
        })

    def test_timestamp(self):
        """an event without a time of its own has the time when it was received"""
        site = self.site({"h": self.SAVE})
        for body in (b'{"event":"session.completed"}', b'{"event":"session.completed","timestamp":"yesterday"}',
                     b'{"event":"session.completed","timestamp":17}'):
            with self.subTest(body=body):
                before = time.time()
                event_id, env = self.environment(site, body=body)
                received = site.tool("events", "show", event_id, "--json")["received_at"]
                self.assertEqual(env["NTRVSTA_TIMESTAMP"], received)
                self.assertRegex(received, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
                self.assertGreaterEqual(received, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before - 1)))

    def test_nothing_of_the_request(self):
        """no header, query or other variable of the request gets into the environment"""
        site = self.site({"h": self.SAVE})
        _, env = self.environment(
            site, query="?-h&LD_PRELOAD=/evil.so", headers={"Proxy": "http://evil", "X-Ld-Preload": "/evil.so",
                                                            "NTRVSTA-Event": "forged", "X-Ntrvsta-Event": "forged"},
            env={"HTTP_PROXY": "http://evil", "http_proxy": "http://evil", "NTRVSTA_HANDLER": "forged"})
        self.assertEqual(set(env), self.ENVIRONMENT)
        self.assertEqual((env["NTRVSTA_HANDLER"], env["NTRVSTA_EVENT"]), (f"{NAME}/h", NAME))

    def test_pass_env(self):
        """pass_env names what else is passed on from the dispatcher's own environment"""
        site = self.site({"h": self.SAVE}, {"handlers": {"pass_env": "SLACK_URL ABSENT"}})
        self.put(site)
        site.tool("dispatch", "--once", env={"SLACK_URL": "https://a b; $(id)", "OTHER": "1", "LD_PRELOAD": ""})
        pairs = read_file(os.path.join(site.out, "environ")).decode().rstrip("\0").split("\0")
        env = dict(p.split("=", 1) for p in pairs)
        self.assertEqual(set(env), self.ENVIRONMENT | {"SLACK_URL"})
        self.assertEqual(env["SLACK_URL"], "https://a b; $(id)")

    def test_path_with_spaces(self):
        """a handlers' folder with spaces and worse in its name"""
        folder = "my handlers $(id) 'x'"
        site = self.site(settings={"handlers": {"dir": folder}})
        path = os.path.join(site.root, folder, NAME, "h")
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as f:
            f.write(f'#!/bin/sh\nprintf "%s\\n" "$0" "$#" "$(pwd)" >"{site.out}/argv"\n')
        os.chmod(path, 0o755)
        self.put(site)
        site.dispatch_once()
        self.assertEqual(site.output("argv").decode().split("\n"), [path, "0", os.path.dirname(path), ""])

    def test_process(self):
        """own session and group, default signals, empty mask, no core dumps, descriptors 0, 1 and 2"""
        site, attempt = self.run_one(
            'read -r pid comm state parent group session tty rest </proc/$$/stat\n'
            'echo "leads $((pid == group)) $((pid == session)) tty $tty"\n'
            # By the shell itself: while it starts another program, it blocks all signals.
            'while read -r key value; do case $key in SigBlk: | SigIgn:) echo "$key $value" ;; esac; done </proc/$$/status\n'
            'echo "core $(ulimit -Sc) $(ulimit -Hc)"\n'
            'ls /proc/$$/fd >"$OUT/fds"\n'
            '[ -f /dev/stdin ] && echo stdin is a file\n')
        self.assertEqual(attempt["output"].split("\n"), [
            "leads 1 1 tty 0", "SigBlk: 0000000000000000", "SigIgn: 0000000000000000", "core 0 0",
            "stdin is a file", ""])
        # The shell holds its script open on a high number; ls's redirection is in a process of its own.
        fds = [fd for fd in site.output("fds").decode().split() if int(fd) < 10]
        self.assertEqual(fds, ["0", "1", "2"])


class Input(HandlerCase):
    def test_body_identical(self):
        """the body arrives byte for byte"""
        site = self.site({"h": 'sha256sum >"$OUT/sum"'}, {"source ntrvsta": {"max_body": "2M"}})
        bodies = {
            "odd white space": b' {\r\n "event" :\t"session.completed", "n": 1.0e+2 , "event":"session.completed"}\n\n',
            "escapes": b'{"event":"session.\\u0063ompleted","s":"\\ud83d\\ude00 \\u0000 \\/"}',
            "UTF-8": '{"event":"session.completed","s":"ä山🎉\u2028"}'.encode(),
            "200 KB": event(NAME, pad="x" * 200_000),
            "max_body": event(NAME, pad="").replace(b'"pad":""', b'"pad":"%s"' % (b"y" * (2 * MIB - len(event(NAME, pad=""))))),
        }
        self.assertEqual(len(bodies["max_body"]), 2 * MIB)
        for what, body in bodies.items():
            with self.subTest(what):
                self.put(site, body)
                site.dispatch_once()
                self.assertEqual(site.output("sum").split()[0].decode(), hashlib.sha256(body).hexdigest())
                os.unlink(os.path.join(site.out, "sum"))

    def test_not_read(self):
        """a large body that is not read, or whose descriptor is closed, does no harm"""
        site = self.site({"ignores": "echo fine", "closes": "exec <&-; echo fine", "reads-some": "head -c 1; echo"})
        event_id = self.put(site, event(NAME, pad="x" * (MIB - 1000)))
        site.dispatch_once()
        for name, row in self.show(site, event_id).items():
            with self.subTest(name):
                self.assertEqual(row["status"], "success")

    def test_not_shared(self):
        """what a handler does to its input, another handler or attempt does not see"""
        spoil = '(echo spoilt >&0; echo spoilt 1<>/dev/stdin) 2>/dev/null; cat'
        site = self.site({"10-first": spoil, "20-second": "cat"}, {"dispatch": {"concurrency": "1"}})
        body = event(NAME)
        found = self.show(site, self.put_and_run(site, body))
        self.assertEqual([row["attempts"][0]["output"] for row in found.values()], [body.decode()] * 2)

    def put_and_run(self, site, body):
        event_id = self.put(site, body)
        site.dispatch_once()
        return event_id


class Injection(HandlerCase):
    SCRIPT = ('cat >"$OUT/body"\n'
              'env >"$OUT/environ"\n'
              'echo "$NTRVSTA_EVENT $NTRVSTA_TIMESTAMP $NTRVSTA_SOURCE"')

    def test_fields(self):
        """no text in any field is ever a command, a path, a variable or an option"""
        site = self.site({"h": self.SCRIPT})
        for text in HOSTILE:
            with self.subTest(repr(text[:40])):
                body = json.dumps({"event": NAME, "timestamp": text, "id": text, text: text, "data": {
                    text: text, "session": {"id": text, "candidate": {"name": text, "email": text}}}}).encode()
                event_id = self.put(site, body, headers={"X-Ntrvsta-Event": NAME})
                site.dispatch_once()
                self.assertEqual(site.output("body"), body)
                self.assertEqual(self.show(site, event_id)["h"]["status"], "success")
                self.assertEqual(sorted(os.listdir(site.out)), ["body", "environ"])
                environ = read_file(os.path.join(site.out, "environ")).decode()
                self.assertNotIn("pwned", environ)
                self.assertNotIn("forged", environ)
                self.assertNotIn("\x1b", environ)
        self.assertEqual(sorted(os.listdir(site.root)), ["handlers", "ntrvsta.conf", "secret", "state"])

    def test_event_names(self):
        """a hostile event name is refused and touches no file"""
        site = self.site({"h": self.SCRIPT})
        for text in [*HOSTILE, "", "../../etc/passwd", "a/b", "a..b", "session.completed/h", "all/", ".", "..",
                     "Session.Completed", "session.completed ", "session.completed\n"]:
            with self.subTest(repr(text[:40])):
                answer = site.cgi(json.dumps({"event": text, "data": {}}).encode())
                self.assertEqual((answer.status, answer.code), (400, "invalid_event"))
        site.dispatch_once()
        self.assertEqual((site.stored(), os.listdir(site.out)), ([], []))

    def test_headers(self):
        """a hostile header that names the event or the call is refused, or only ever data"""
        site = self.site({"h": self.SCRIPT})
        for text in [t for t in HOSTILE if "\0" not in t and len(t) < 1000]:
            with self.subTest(repr(text[:40])):
                answer = site.cgi(b'{"data":{}}', headers={"X-Ntrvsta-Event": text})
                self.assertEqual((answer.status, answer.code), (400, "invalid_event"))
                body = event(NAME, nonce=os.urandom(4).hex())
                self.put(site, body, headers={"X-Ntrvsta-Idempotency-Key": text, "User-Agent": text})
                site.dispatch_once()
                self.assertEqual(site.output("body"), body)
                self.assertEqual(sorted(os.listdir(site.out)), ["body", "environ"])
                self.assertEqual(read_file(os.path.join(site.out, "environ")).count(b"\n"), 11)  # with PWD

    def test_output_on_the_terminal(self):
        """what a handler prints can't forge a line or a control sequence in the tool's tables"""
        site, _ = self.run_one(r"printf 'x\033[2J\033]0;t\007\r\nFAKE  success\n\377\302\233'; exit 1")
        event_id = site.stored()[0][0]
        for args in (["logs"], ["failed"], ["events"], ["events", "show", event_id]):
            with self.subTest(" ".join(args[:2])):
                text = site.tool(*args).stdout.encode(errors="surrogateescape")
                self.assertIsNone(re.search(rb"[\0-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", text), text)
                self.assertFalse(any(line.startswith(b"FAKE") for line in text.splitlines()))
                text.decode()  # valid UTF-8


class Outcome(HandlerCase):
    def test_ends(self):
        """exit statuses and signals are recorded as such, with the outcome of the contract"""
        retry, permanent = ("retry", "pending"), ("permanent", "failed")
        rows = [  # script, exit code, signal, outcome, then
            ("exit 0", 0, None, "success", "success", None),
            *((f"exit {n}", n, None, *retry, "exit") for n in (1, 2, 64, 75, 99, 101, 126, 127, 128, 143, 255)),
            ("exit 100", 100, None, *permanent, "permanent"),
            *((f"kill -{s} $$", None, getattr(signal, f"SIG{s}").value, *retry, "signal")
              for s in ("TERM", "SEGV", "KILL", "PIPE", "HUP", "INT")),
        ]
        handlers = {f"{n:02}": script for n, (script, *_) in enumerate(rows)}
        site = self.site(handlers, {"handlers": {"retry_schedule": NEVER}})
        event_id = self.put(site)
        site.dispatch_once()
        found = self.show(site, event_id)
        for n, (script, code, number, outcome, state, error) in enumerate(rows):
            with self.subTest(script):
                row = found[f"{n:02}"]
                attempt, = row["attempts"]
                self.assertEqual((attempt["exit_code"], attempt["signal"], attempt["outcome"], attempt["error_code"]),
                                 (code, number, outcome, error))
                self.assertEqual(row["status"], state)
                self.assertEqual(row["next_attempt_at"] is not None, state == "pending")

    def test_permanent(self):
        """exit status 100 is not tried again, and shown as failed"""
        site = self.site({"h": 'echo x >>"$OUT/runs"; exit 100'}, {"handlers": {"retry_schedule": "1ms 1ms 1ms"}})
        event_id = self.put(site)
        self.dispatch_until(site, event_id, ["failed"])
        time.sleep(0.1)  # where it were tried again, it would be due by now
        site.dispatch_once()
        self.assertEqual(site.output("runs"), b"x\n")
        failed, = site.tool("failed", "--json")["data"]
        self.assertEqual((failed["event_id"], failed["error_code"], failed["retry_count"]), (event_id, "permanent", 0))

    def test_exhausted(self):
        """after the last step of the schedule a delivery has failed, stays, and can be begun anew"""
        site = self.site({"h": 'echo "$NTRVSTA_ATTEMPT $NTRVSTA_DELIVERY_ID" >>"$OUT/runs"; echo why >&2; exit 1'},
                         {"handlers": {"retry_schedule": "50ms 100ms"}})
        event_id = self.put(site)
        row = self.dispatch_until(site, event_id, ["failed"])["h"]
        self.assertEqual(site.output("runs").decode(), "".join(f"{n} {row['id']}\n" for n in (1, 2, 3)))
        self.assertEqual([(a["attempt"], a["output"]) for a in row["attempts"]], [(n, "why\n") for n in (1, 2, 3)])
        failed, = site.tool("failed", "--json")["data"]
        self.assertEqual((failed["id"], failed["retry_count"], failed["error_message"]), (row["id"], 2, "exit status 1"))
        self.assertIn(row["id"], site.tool("failed").stdout)
        site.dispatch_once()
        self.assertEqual(site.output("runs").count(b"\n"), 3)
        site.handler(f"{NAME}/h", 'echo "$NTRVSTA_ATTEMPT $NTRVSTA_DELIVERY_ID" >>"$OUT/runs"')
        site.tool("retry", row["id"])
        site.dispatch_once()
        self.assertEqual(self.show(site, event_id)["h"]["status"], "success")
        self.assertEqual(site.output("runs").decode().splitlines()[3], f"1 {row['id']}")
        self.assertEqual(site.tool("failed", "--json")["data"], [])

    def test_schedule(self):
        """retries come at their step, not before, and at most 20% after"""
        site = self.site({"h": "exit 75"}, {"handlers": {"retry_schedule": "1s 10m"}})
        event_id = self.put(site)
        site.start_dispatcher()
        row = wait_for(lambda: (r := self.show(site, event_id).get("h")) and len(r["attempts"]) == 2 and r, 20,
                       "a second attempt")
        started = [parse_time(a["started_at"]) for a in row["attempts"]]
        self.assertGreaterEqual(started[1] - started[0], 1.0)
        self.assertLess(started[1] - started[0], 1.2 + 2)  # two seconds for a busy machine
        wait = parse_time(row["next_attempt_at"]) - started[1]
        self.assertGreaterEqual(wait, 600)
        self.assertLess(wait, 720 + 2)

    def test_own_delivery(self):
        """of two handlers one fails: the other is not run again"""
        site = self.site({"good": 'echo x >>"$OUT/good"',
                          "bad": 'echo x >>"$OUT/bad"; [ "$NTRVSTA_ATTEMPT" = 3 ]'},
                         {"handlers": {"retry_schedule": "20ms 20ms 20ms"}})
        event_id = self.put(site)
        found = self.dispatch_until(site, event_id, ["success"])
        self.assertEqual((site.output("good"), site.output("bad")), (b"x\n", b"x\n" * 3))
        self.assertNotEqual(found["good"]["id"], found["bad"]["id"])
        self.assertEqual([len(found[h]["attempts"]) for h in ("good", "bad")], [1, 3])


def parse_time(text):
    whole, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


class Repair(HandlerCase):
    # How a script breaks after its first attempt, and the errno that names it. What was removed is not
    # tried again until it is back: no errno.
    WAYS = {
        "missing": (lambda p: os.unlink(p), None),
        "not-executable": (lambda p: os.chmod(p, 0o644), "EACCES"),
        "bad-interpreter": (lambda p: rewrite(p, "#!/no/such/sh\n"), "ENOENT"),
        "no-interpreter": (lambda p: rewrite(p, "echo\n"), "ENOEXEC"),
        "empty": (lambda p: rewrite(p, ""), "ENOEXEC"),
        "directory": (lambda p: (os.unlink(p), os.mkdir(p)), "EACCES"),
        "dangling": (lambda p: (os.unlink(p), os.symlink("/no/such/file", p)), None),
    }

    def test_broken_after_the_event(self):
        """a script broken after the event came: the attempt names the errno, and works once repaired"""
        script = 'echo "$NTRVSTA_DELIVERY_ID"; [ -e "$OUT/repaired" ]'
        site = self.site({name: script for name in self.WAYS}, {"handlers": {"retry_schedule": "1s 1s 1s 1s 1s"}})
        event_id = self.put(site)
        site.dispatch_once()
        for name, (spoil, _) in self.WAYS.items():
            spoil(os.path.join(site.handlers, NAME, name))
        self.wait_for_attempts(site, event_id, {name: 2 if errno else 1 for name, (_, errno) in self.WAYS.items()})
        for name in self.WAYS:
            path = os.path.join(site.handlers, NAME, name)
            if os.path.isdir(path):
                os.rmdir(path)
            elif os.path.lexists(path):
                os.unlink(path)
            site.handler(f"{NAME}/{name}", script)
        rewrite(os.path.join(site.out, "repaired"), "")
        found = self.dispatch_until(site, event_id, ["success"])
        for name, (_, errno) in self.WAYS.items():
            with self.subTest(name):
                attempts = found[name]["attempts"]
                self.assertEqual([a["error_code"] for a in attempts], ["exit", *(["spawn_failed"] if errno else []), None])
                self.assertEqual(attempts[-1]["output"], f"{found[name]['id']}\n")
                if errno:
                    self.assertIn(f"({errno})", attempts[1]["error_message"])
                    self.assertIn(os.path.join(site.handlers, NAME, name), attempts[1]["error_message"])

    def wait_for_attempts(self, site, event_id, counts):
        def done():
            site.dispatch_once()
            return all(len(row["attempts"]) >= counts[name] for name, row in self.show(site, event_id).items())
        wait_for(done, 30, f"attempts of each: {counts}")

    def test_removed_before_the_run(self):
        """a handler that is gone when its first turn comes: the delivery is kept and says so"""
        first = 'rm "$(dirname "$0")/20-second"'
        site = self.site({"10-first": first, "20-second": "echo ran"},
                         {"dispatch": {"concurrency": "1"}, "handlers": {"retry_schedule": "200ms"}})
        event_id = self.put(site)
        site.dispatch_once()
        row = self.show(site, event_id)["20-second"]
        self.assertEqual((row["status"], row["attempts"][0]["error_code"]), ("pending", "spawn_failed"))
        site.handler(f"{NAME}/20-second", "echo ran")
        row = self.dispatch_until(site, event_id, ["success"])["20-second"]
        self.assertEqual(row["attempts"][1]["output"], "ran\n")


def rewrite(path, text):
    with open(path, "w") as f:
        f.write(text)


class TimeOut(HandlerCase):
    def test_ladder(self):
        """time-out: SIGTERM to the group, SIGKILL after the grace period; partial output is kept"""
        rows = {
            "ends-by-term": ("echo partial; exec sleep 1000", None, 15, "partial\n"),
            "tidies-up": ("trap 'echo tidy; exit 0' TERM; echo up; sleep 1000 & wait", 0, None, "up\ntidy\n"),
            "whole-group": ("trap : TERM; sh -c 'trap \"echo child; exit\" TERM; sleep 1000 & wait'; exit 3", 3, None,
                            "child\n"),
            "ignores-term": ("trap '' TERM; printf partial; while :; do sleep 1000; done", None, 9, "partial"),
            "writes-for-ever": ("exec cat /dev/zero", None, 15, None),
        }
        site = self.site({name: row[0] for name, row in rows.items()}, {
            "dispatch": {"concurrency": "8"},
            "handlers": {"timeout": "1s", "kill_grace": "500ms", "retry_schedule": NEVER}})
        event_id = self.put(site)
        start = time.monotonic()
        site.dispatch_once()
        self.assertLess(time.monotonic() - start, 1.5 + PROMPT)
        found = self.show(site, event_id)
        for name, (_, code, number, output) in rows.items():
            with self.subTest(name):
                attempt, = found[name]["attempts"]
                self.assertEqual((attempt["exit_code"], attempt["signal"], attempt["error_code"], attempt["outcome"]),
                                 (code, number, "timeout", "retry"))
                if output is not None:
                    self.assertEqual(attempt["output"], output)
                self.assertGreaterEqual(attempt["duration_ms"], 1500 if number == 9 else 1000)
        self.assertEqual(site.leftovers(), [])

    def test_own_timeout(self):
        """a handler's own section sets its own time-out"""
        site = self.site({"short": "sleep 1000", "long": "sleep 1.2"}, {
            "handlers": {"timeout": "1m", "retry_schedule": NEVER},
            f"handler {NAME}/short": {"timeout": "300ms"}})
        event_id = self.put(site)
        site.dispatch_once()
        found = self.show(site, event_id)
        self.assertEqual((found["short"]["attempts"][0]["error_code"], found["long"]["status"]), ("timeout", "success"))


class Leftovers(HandlerCase):
    def test_background(self):
        """a child left in the background: done at once, and the rest of the group is dead"""
        start = time.monotonic()
        site, attempt = self.run_one('sleep 1000 & echo $! >"$OUT/pid"')
        self.assertLess(time.monotonic() - start, PROMPT)
        self.assertEqual(attempt["outcome"], "success")
        pid = int(site.output("pid"))
        wait_for(lambda: not ntrvsta.alive(pid), 10, "the background process is dead")

    def test_stray_with_the_pipe(self):
        """a grandchild in a session of its own that holds standard output: done at once"""
        start = time.monotonic()
        _, attempt = self.run_one(
            'setsid sh -c \'echo mine; : >"$1/up"; exec sleep 1000\' sh "$OUT" &\n'
            'while ! [ -e "$OUT/up" ]; do sleep 0.01; done')
        self.assertLess(time.monotonic() - start, PROMPT)
        self.assertEqual((attempt["outcome"], attempt["output"]), ("success", "mine\n"))


class Output(HandlerCase):
    LIMIT = 65536

    def run_kept(self, script):
        _, attempt = self.run_one(script)
        self.assertEqual(attempt["outcome"], "success")
        return attempt["output"], attempt["output_cut"]

    def cut(self, kept, total):
        return f"[... {total - self.LIMIT} bytes cut ...]\n{kept}"

    def test_stderr_first(self):
        """1 MiB to standard error before standard output: no hang, cut, the end kept"""
        output, cut = self.run_kept("head -c 1048576 /dev/zero | tr '\\0' e >&2; echo done")
        self.assertTrue(cut)
        self.assertEqual(output, self.cut("e" * (self.LIMIT - 5) + "done\n", MIB + 5))

    def test_one_line(self):
        """one line of 1 MiB is cut like any output"""
        output, cut = self.run_kept("head -c 1048576 /dev/zero | tr '\\0' x")
        self.assertEqual((output, cut), (self.cut("x" * self.LIMIT, MIB), True))

    def test_limit(self):
        """exactly output_limit is kept whole, without a mark"""
        output, cut = self.run_kept("head -c 65536 /dev/zero | tr '\\0' x")
        self.assertEqual((output, cut), ("x" * self.LIMIT, False))

    def test_forms(self):
        """no newline at the end, and none at all, and both streams in the order of writing"""
        self.assertEqual(self.run_kept("printf abc"), ("abc", False))
        self.assertEqual(self.run_kept(":"), ("", False))
        self.assertEqual(self.run_kept("echo 1; echo 2 >&2; echo 3"), ("1\n2\n3\n", False))

    def test_binary(self):
        """binary output is stored as it is and shown as valid JSON"""
        site, attempt = self.run_one(r"printf 'a\000b\377\033c'")
        stored, = site.query("SELECT output FROM attempt")[0]
        self.assertEqual(stored if isinstance(stored, bytes) else stored.encode(), b"a\0b\xff\x1bc")
        self.assertTrue(attempt["output"].startswith("a") and attempt["output"].endswith("c"))

    def test_100_mb(self):
        """100 MB of output: capped, the end kept, the dispatcher's memory flat"""
        site = self.site({"h": "head -c 104857600 /dev/zero | tr '\\0' x; echo end"})
        dispatcher = site.start_dispatcher()
        self.finish(site, self.put(site, event(NAME, first=True)))
        before = peak_kib(dispatcher.pid)
        for n in range(2):
            row = self.finish(site, self.put(site, event(NAME, n=n)))
            self.assertEqual(row["attempts"][0]["output"], self.cut("x" * (self.LIMIT - 4) + "end\n", 100 * MIB + 4))
        self.assertLess(peak_kib(dispatcher.pid), 64 * 1024 if not ntrvsta.sanitized() else 1 << 30)
        self.assertLess(peak_kib(dispatcher.pid) - before, 4096)

    def finish(self, site, event_id):
        return wait_for(lambda: (r := self.show(site, event_id).get("h")) and r["status"] == "success" and r, 60,
                        "the handler's success")


def peak_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])


def open_fds(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def children(pid):
    return read_file(f"/proc/{pid}/task/{pid}/children").split()


class Many(HandlerCase):
    COUNT = 1000

    def test_thousand(self):
        """1000 events through one handler: each once, in order, no zombie, no descriptor more"""
        site = self.site({"h": 'n=$(sed "s/.*\\"n\\"://; s/}.*//"); echo "$n" >>"$OUT/order"'})
        dispatcher = site.start_dispatcher()
        order = os.path.join(site.out, "order")
        self.put(site, event(NAME, n=-1))
        wait_for(lambda: os.path.exists(order) and self.counts(site) == [("success", 1)], 20, "the first event's run")
        wait_for(lambda: not children(dispatcher.pid), 10, "no child")
        fds = open_fds(dispatcher.pid)
        self.put_many(site, self.COUNT)
        wait_for(lambda: self.counts(site) == [("success", self.COUNT + 1)], 200, "all runs")
        self.assertEqual(read_file(order).decode().split(), [str(n) for n in range(-1, self.COUNT)])
        wait_for(lambda: not children(dispatcher.pid), 10, "no child, alive or dead")
        wait_for(lambda: open_fds(dispatcher.pid) == fds, 10, f"the descriptors of before: {fds}")
        attempts, = site.query("SELECT count(*), max(attempt), count(DISTINCT delivery_seq) FROM attempt")
        self.assertEqual(attempts, (self.COUNT + 1, 1, self.COUNT + 1))

    def counts(self, site):
        return site.query("SELECT state, count(*) FROM delivery GROUP BY state")

    def test_failures_leave_nothing(self):
        """nor do failures of each kind"""
        site = self.site({"exits": "exit 1", "times-out": "trap '' TERM; sleep 1000",
                          "writes": "head -c 200000 /dev/zero; exit 1", "background": "sleep 1000 & exit 1",
                          "cannot-start": "#!/no/such/interpreter\n"},
                         {"dispatch": {"concurrency": "8"},
                          "handlers": {"timeout": "20ms", "kill_grace": "10ms", "concurrency": "4",
                                       "retry_schedule": " ".join(["1ms"] * 20)}})
        dispatcher = site.start_dispatcher()
        site.handler("candidate.invited/h", 'echo x >"$OUT/up"')
        self.put(site, event("candidate.invited"))
        site.output("up")
        wait_for(lambda: not children(dispatcher.pid), 10, "no child")
        fds = open_fds(dispatcher.pid)
        self.put(site)
        self.put(site, event(NAME, again=True))
        wait_for(lambda: self.counts(site) == [("failed", 10), ("success", 1)], 100, "all given up")
        self.assertEqual(site.query("SELECT count(*) FROM attempt")[0][0], 10 * 21 + 1)
        wait_for(lambda: not children(dispatcher.pid), 10, "no child, alive or dead")
        wait_for(lambda: open_fds(dispatcher.pid) == fds, 10, f"the descriptors of before: {fds}")


class Concurrency(HandlerCase):
    # Counts who runs beside it, and waits (not for ever) until $WANT do.
    MEET = ('me=$OUT/run/$$; mkdir -p "$OUT/run" "$me"\n'
            'for i in $(seq 100); do\n'
            '  n=$(ls "$OUT/run" | wc -l)\n'
            '  [ "$n" -gt "$(cat "$me/max" 2>/dev/null || echo 0)" ] && echo "$n" >"$me/max"\n'
            '  [ "$n" -ge WANT ] && [ "$i" -ge 5 ] && break\n'
            '  sleep 0.02\n'
            'done\n'
            'cat "$me/max" >>"$OUT/seen"; rm -r "$me"')

    def overlap(self, handlers, want, events, settings):
        script = self.MEET.replace("WANT", str(want))
        site = self.site({name: script for name in handlers}, settings)
        self.put_many(site, events)
        site.dispatch_once()
        seen = [int(n) for n in site.output("seen").split()]
        self.assertEqual(len(seen), events * len(handlers))
        return max(seen)

    def test_one_by_default(self):
        """one handler runs once at a time by default"""
        self.assertEqual(self.overlap(["h"], 1, 8, {"dispatch": {"concurrency": "8"}}), 1)

    def test_of_one_handler(self):
        """a handler's concurrency is used and not exceeded"""
        settings = {"dispatch": {"concurrency": "8"}, f"handler {NAME}/h": {"concurrency": "3"}}
        self.assertEqual(self.overlap(["h"], 3, 9, settings), 3)

    def test_in_all(self):
        """the concurrency in all is used and not exceeded"""
        settings = {"dispatch": {"concurrency": "2"}, "handlers": {"concurrency": "8"}}
        self.assertEqual(self.overlap(["a", "b", "c"], 2, 4, settings), 2)

    def test_side_by_side(self):
        """a handler that is slow does not hold up another one"""
        site = self.site({"10-slow": 'while ! [ -e "$OUT/go" ]; do sleep 0.01; done', "20-quick": 'echo x >>"$OUT/quick"'})
        self.put_many(site, 5)
        site.start_dispatcher()
        wait_for(lambda: os.path.exists(os.path.join(site.out, "quick")) and site.output("quick") == b"x\n" * 5, 20,
                 "five runs of the quick one")
        rewrite(os.path.join(site.out, "go"), "")

    def test_retry_behind_others(self):
        """a delivery that waits for its retry does not hold up the events behind it"""
        site = self.site({"h": 'n=$(sed "s/.*\\"n\\"://; s/}.*//"); echo "$n" >>"$OUT/order"; [ "$n" != 0 ]'},
                         {"handlers": {"retry_schedule": NEVER}})
        self.put_many(site, 4)
        site.dispatch_once()
        self.assertEqual(site.output("order").split(), [b"0", b"1", b"2", b"3"])


class Dispatcher(HandlerCase):
    # Runs until $OUT/go is there, on its first attempt.
    SLOW = ('echo "$NTRVSTA_ATTEMPT $NTRVSTA_DELIVERY_ID" >>"$OUT/begun"\n'
            '[ "$NTRVSTA_ATTEMPT" -gt 1 ] || while ! [ -e "$OUT/go" ]; do sleep 0.01; done\n'
            'echo "$NTRVSTA_ATTEMPT" >>"$OUT/done"')

    def begin(self, settings=None):
        """A dispatcher inside a handler, and a second event that waits behind it."""
        site = self.site({"h": self.SLOW}, settings)
        dispatcher = site.start_dispatcher()
        first = self.put(site, event(NAME, n=1))
        site.output("begun")
        second = self.put(site, event(NAME, n=2))
        return site, dispatcher, first, second

    def test_killed(self):
        """kill -9 inside a handler: run again by the next one, counted as a second attempt"""
        site, dispatcher, first, _ = self.begin({"handlers": {"retry_schedule": "100ms"}})
        dispatcher.kill()
        dispatcher.wait()
        rewrite(os.path.join(site.out, "go"), "")  # for the second event, whose first attempt comes now
        site.start_dispatcher()
        row = wait_for(lambda: (r := self.show(site, first)["h"])["status"] == "success" and r, 20, "its second attempt")
        self.assertEqual([(a["attempt"], a["error_code"]) for a in row["attempts"]], [(1, "interrupted"), (2, None)])
        begun = site.output("begun").decode().split("\n")
        self.assertIn(f"2 {row['id']}", begun)
        self.assertEqual(begun[0], f"1 {row['id']}")

    def test_kills_its_dispatcher(self):
        """a handler that kills its dispatcher each time is given up in the end"""
        site = self.site({"h": 'kill -9 $PPID'}, {"handlers": {"retry_schedule": "1ms 1ms"}})
        event_id = self.put(site)
        exits = []

        def given_up():
            exits.append(site.tool("dispatch", "--once", check=False).returncode)
            return (row := self.show(site, event_id)["h"])["status"] == "failed" and row
        row = wait_for(given_up, 30, "the delivery is given up")
        self.assertEqual([a["error_code"] for a in row["attempts"]], ["interrupted"] * 3)
        self.assertEqual(exits.count(-signal.SIGKILL), 3)

    def test_sigterm_waits(self):
        """SIGTERM: the handler that runs may finish and is recorded, nothing more is claimed"""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                site, dispatcher, first, behind = self.begin()
                dispatcher.send_signal(number)
                wait_for(lambda: "ending" in site.logs(), 10, "the dispatcher's word that it ends")
                site.handler("session.started/h", 'echo "$NTRVSTA_ATTEMPT" >>"$OUT/done"')  # with a free slot
                beside = self.put(site, event("session.started"))
                self.assertIsNone(dispatcher.poll())
                rewrite(os.path.join(site.out, "go"), "")
                self.assertEqual(dispatcher.wait(20), 0)
                row = self.show(site, first)["h"]
                self.assertEqual((row["status"], len(row["attempts"])), ("success", 1))
                self.assertEqual(site.output("done"), b"1\n")
                for event_id in (behind, beside):
                    for row in self.show(site, event_id).values():
                        self.assertEqual((row["status"], row["attempts"]), ("pending", []))
                site.dispatch_once()
                self.assertEqual(site.output("done"), b"1\n" * 3)

    def test_sigterm_and_timeout(self):
        """SIGTERM: a handler that hangs is waited for up to its time-out only"""
        site, dispatcher, first, _ = self.begin({"handlers": {"timeout": "1500ms", "retry_schedule": NEVER}})
        dispatcher.terminate()
        self.assertEqual(dispatcher.wait(20), 0)
        attempt, = self.show(site, first)["h"]["attempts"]
        self.assertEqual(attempt["error_code"], "timeout")

    def test_only_one(self):
        """a second dispatcher names who has the lock and leaves with 0, running nothing"""
        site, dispatcher, *_ = self.begin()
        for args in ([], ["--once"]):
            with self.subTest(" ".join(["dispatch", *args])):
                done = site.tool("dispatch", *args, timeout=20)
                self.assertEqual(done.returncode, 0)
                self.assertIn(str(dispatcher.pid), done.stdout + done.stderr)
        self.assertEqual(site.tool("dispatch", "--json", timeout=20), {"ran": False, "holder": dispatcher.pid})
        self.assertEqual(site.output("begun").count(b"\n"), 1)
        self.assertIsNone(dispatcher.poll())

    def test_lock_is_not_inherited(self):
        """a process that a handler leaves behind does not hold the lock"""
        site = self.site({"h": 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & sleep 0.1'})
        self.put(site)
        site.dispatch_once()
        self.assertIsNone(site.dispatcher_pid())
        site.handler(f"{NAME}/h", 'echo ran >"$OUT/ran"')
        self.put(site, event(NAME, n=2))
        site.dispatch_once()
        self.assertEqual(site.output("ran"), b"ran\n")


if __name__ == "__main__":
    tap.main()
