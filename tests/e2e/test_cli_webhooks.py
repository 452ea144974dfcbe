"""ntrvsta webhooks, and webhooks where handlers can stand: what each command does, each refusal, what is read of it."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import ntrvsta
import tap
from ntrvsta import event, read_file, sign, wait_for
from test_cli import UNSAFE, Case, sql, tool

OFF = {"dispatch": {"start": "off"}}
OPEN = {"allow_http": "on", "allow_private": "127.0.0.1"}
LOCAL = {**OFF, "webhooks": {**OPEN, "retry_schedule": "1h"}}
ONCE = {**OFF, "webhooks": {**OPEN, "retry_schedule": ""}}
URL = "https://example.com/hooks"
ID = "wh_01kb2x3y4z5a6b7c8d9e0f1g2h"  # nobody's
FIELDS = {"id", "kind", "url", "events", "active", "inactive_reason", "debug", "logLevel", "description", "secrets",
          "created_at", "updated_at"}
NASTY = "a\x1b[2Jb\x07\u202ec\nd\x7f"
WHEN = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Receiver:
    """Answers each POST on a path such as /500/x with that status, and keeps what came."""

    def __init__(self):
        outer = self
        self.calls = []  # (path, headers, body)
        self.answer = b"fine\n"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.calls.append((self.path, self.headers, body))
                self.send_response(int(self.path.split("/")[1]))
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, status=200, name="x"):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{status}/{name}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def standard_signature(secret, ident, timestamp, body):
    """https://www.standardwebhooks.com, done another way than in the program."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, f"{ident}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class HookCase(Case):
    def receiver(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        return receiver

    def create(self, site, url=URL, *args):
        return site.tool("webhooks", "create", url, "--json", *args)

    def rows(self, site):
        return site.tool("webhooks", "list", "--json")["data"]

    def row(self, site, ident):
        return site.tool("webhooks", "show", ident, "--json")

    def secret(self, site, ident):
        return [s for s, in site.query("SELECT secret FROM webhook_secret WHERE webhook = ? ORDER BY seq DESC", ident)]


class Usage(HookCase):
    def test_usage(self):
        """wrong usage: exit 2, a word of what is wrong, whatever the configuration"""
        for args, pattern in (
            (["shwo", ID], "unknown subcommand 'shwo'; did you mean show"),
            (["frob"], "there are list, create, show, update, delete and rotate-secret"),
            (["list", "x"], "list takes no operand, such as 'x'"),
            (["create"], "create wants the URL to call"),
            (["create", URL, URL], "create wants the URL to call"),
            (["create", URL, "--activate"], "--activate is not for create"),
            (["create", URL, "--url", URL], "--url is not for create"),
            (["create", URL, "--event"], "--event wants a value"),
            (["create", URL, "--event", ""], "--event names no event"),
            (["create", URL, "--events", ", ,"], "--events names no event"),
            (["create", URL, "--event", "Session.Completed"], "'Session.Completed' can't be an event's name"),
            (["create", URL, "--events", "a.b,../x"], "'../x' can't be an event's name"),
            (["create", URL, "--event", "a" * 65], "can't be an event's name"),
            (["create", URL, "--event", "*", "--event", "a.b"], "[*] is all events: it does not go with others"),
            (["create", URL, "--description", "x" * 1001], "--description wants 1000 bytes at most"),
            (["create", URL, *["--event", "a.b"] * 65], "too many --event"),
            (["create", URL, "--evnet", "a.b"], "unknown option --evnet; did you mean --event"),
            (["show"], "show wants the id of one webhook"),
            (["show", ID, "--event", "a.b"], "--event is not for show"),
            (["update"], "update wants the id of one webhook"),
            (["update", ID], "update wants to know what to change"),
            (["update", ID, "--activate", "--deactivate"], "do not go together"),
            (["update", ID, "--secret", "x"], "--secret is not for update"),
            (["delete"], "delete wants the id of one webhook"),
            (["delete", ID, "--inactive"], "--inactive is not for delete"),
            (["rotate-secret"], "rotate-secret wants the id of one webhook"),
            (["rotate-secret", ID, "--overlap", "soon"], "--overlap wants a duration"),
            (["rotate-secret", ID, "--yes"], "--yes is not for rotate-secret"),
        ):
            with self.subTest(" ".join(args)[:60]):
                self.fails(tool("webhooks", *args), pattern, 2)

    def test_unknown(self):
        """an id that nobody has: exit 1, and where to look"""
        site = self.site(OFF)
        for args in (["show"], ["update", "--activate"], ["delete"], ["rotate-secret"]):
            for ident in (ID, "wh_x", "all/10-log", ""):
                with self.subTest(f"{args[0]} {ident}"):
                    done = site.tool("webhooks", args[0], ident, *args[1:], check=False)
                    self.fails(done, rf"no webhook {ident}: 'ntrvsta webhooks list'")


class Create(HookCase):
    def test_text(self):
        """prints id and secret, how to verify, and where earlier events are"""
        site = self.site(OFF)
        text = site.tool("webhooks", "create", URL, "--event", "session.completed").stdout
        ident = self.rows(site)[0]["id"]
        secret, = self.secret(site, ident)
        self.assertTrue(text.startswith(f"{ident} is active: {URL} gets session.completed.\n"), text)
        self.assertIn(f"\n  {secret}\n", text)
        for word in ("webhook-signature", "X-NTRVSTA-Signature", f"ntrvsta recover {ident} --since"):
            self.assertIn(word, text)
        self.assertEqual(len(base64.b64decode(secret.removeprefix("whsec_"))), 32)

    def test_json(self):
        """--json: the API's fields, the secret among them here only"""
        site = self.site(OFF)
        made = self.create(site, URL, "--description", "for the ATS")
        self.assertEqual(set(made), FIELDS | {"secret"})
        self.assertRegex(made["id"], r"\Awh_[0-9a-z]{26}\Z")
        self.assertRegex(made["created_at"], rf"\A{WHEN}\Z")
        self.assertEqual([made["secret"]], self.secret(site, made["id"]))
        want = {"kind": "webhook", "url": URL, "events": ["*"], "active": True, "inactive_reason": None,
                "description": "for the ATS", "updated_at": made["created_at"]}
        self.assertEqual({k: made[k] for k in want}, want)
        self.assertNotEqual(made["secret"], self.create(site, URL + "2")["secret"])

    def test_events(self):
        """--event several times, --events with commas, both: each event once, in order"""
        site = self.site(OFF)
        for args, want in (
            ([], ["*"]), (["--event", "*"], ["*"]), (["--events", "*,*"], ["*"]),
            (["--event", "a.b", "--event", "c"], ["a.b", "c"]), (["--events=c, a.b,c"], ["c", "a.b"]),
            (["--events", "a.b,a", "--event", "a.b.c", "--event", "a"], ["a.b", "a", "a.b.c"]),
            (["--event", "session.completed,session.started"], ["session.completed", "session.started"]),
            ([*[x for i in range(64) for x in ("--event", f"e{i}")]], [f"e{i}" for i in range(64)]),
        ):
            with self.subTest(" ".join(args)[:60]):
                self.assertEqual(self.create(site, URL, *args)["events"], want)

    def test_unknown_events(self):
        """events that nobody documents are taken, with a word of what may be meant"""
        site = self.site(OFF)
        done = site.tool("webhooks", "create", URL, "--events", "session.complted,x.y,result.completed")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.splitlines(), [
            "ntrvsta webhooks: session.complted is not documented; did you mean session.completed?",
            "ntrvsta webhooks: x.y is not documented"])
        self.assertEqual(self.rows(site)[0]["events"], ["session.complted", "x.y", "result.completed"])

    def test_url(self):
        """what is no URL to call is refused with the reason, and the setting that would allow it; nothing is stored"""
        site = self.site(OFF)
        for url, pattern in (
            ("http://example.com/", r"\[webhooks\] allow_http = on would allow"), ("ftp://example.com/", "wants https"),
            ("example.com/x y", "without blanks"), ("", "wants 1 to 2048 bytes"), ("https://e.com/" + "x" * 2048, "2048"),
            ("https://u:p@example.com/", "no user name"), ("https://example.com/#x", "no fragment"),
            ("https://example.com:0/", "port from 1 to 65535"), ("https://example.com:65536/", "port from 1 to 65535"),
            ("https://127.0.0.1/", "127.0.0.1 is not called.*allow_private"), ("https://0x7f.1/", "127.0.0.1 is not called"),
            ("https://[::1]/", "allow_private"), ("https://169.254.169.254/latest", "allow_private"),
            (f"https://example.com/{NASTY}", "ASCII"),
        ):
            with self.subTest(url[:40].replace("\x1b", "").replace("\n", "")):
                done = site.tool("webhooks", "create", url, check=False)
                self.fails(done, pattern)
                self.assertNotRegex(done.stderr, UNSAFE)
        self.assertEqual(self.rows(site), [])

    def test_allowed(self):
        """settings allow http:// and private addresses"""
        site = self.site({**OFF, "webhooks": OPEN})
        self.assertEqual(self.create(site, "http://127.0.0.1:9/x")["url"], "http://127.0.0.1:9/x")
        self.fails(site.tool("webhooks", "create", "http://127.0.0.2/", check=False), "127.0.0.2 is not called")

    def test_secret(self):
        """a secret of one's own, from the command line or standard input, is used and not repeated"""
        site = self.site(OFF)
        for args, stdin, want in (
            (["--secret", "s3cr3t-of-ours"], b"", "s3cr3t-of-ours"), (["--secret", "-"], b"from-stdin", "from-stdin"),
            (["--secret=-"], b"line\r\n", "line"), (["--secret", "-"], b"line-2\n", "line-2"),
            (["--secret", "whsec_" + "A" * 44], b"", "whsec_" + "A" * 44), (["--secret", "x" * 256], b"", "x" * 256),
        ):
            with self.subTest(want[:20]):
                done = site.tool("webhooks", "create", URL, *args, stdin=stdin)
                ident = done.stdout.split()[0]
                self.assertEqual(self.secret(site, ident), [want])
                self.assertNotIn(want, done.stdout + done.stderr)

    def test_bad_secret(self):
        """a secret that can't be used is refused without being repeated; nothing is stored"""
        site = self.site(OFF)
        for args, stdin, pattern in (
            (["--secret", ""], b"", "the secret: wants 1 to 256"), (["--secret", "x" * 257], b"", "wants 1 to 256"),
            (["--secret", "two words"], b"", "without blanks"), (["--secret", "whsec_***"], b"", "base64 behind 'whsec_'"),
            (["--secret", "-"], b"", "wants 1 to 256"), (["--secret", "-"], b"one\ntwo\n", "wants 1 to 256"),
            (["--secret", "-"], b"half\0ahalf", "wants 1 to 256"), (["--secret", "-"], b"x" * 100000, "wants 1 to 256"),
        ):
            with self.subTest(f"{args[1][:12]} {stdin[:12]!r}"):
                done = site.tool("webhooks", "create", URL, *args, stdin=stdin, check=False)
                self.fails(done, pattern)
                self.assertNotRegex(done.stderr, r"two|\*\*\*|half|xxxx")
        self.assertEqual(self.rows(site), [])

    def test_same_url(self):
        """a URL that is registered already: a word about it"""
        site = self.site(OFF)
        first = self.create(site)["id"]
        self.assertEqual(site.tool("webhooks", "create", URL + "/other").stderr, "")
        done = site.tool("webhooks", "create", URL)
        self.assertIn(f"{first} calls the same URL", done.stderr)

    def test_description(self):
        """a hostile description is kept as typed, and is safe wherever people see it"""
        site = self.site(OFF)
        made = self.create(site, URL, "--description", NASTY)
        self.assertEqual(made["description"], NASTY)
        for args in (["list"], ["show", made["id"]], ["update", made["id"], "--event", "a.b"]):
            done = site.tool("webhooks", *args)
            self.assertNotRegex(done.stdout + done.stderr, UNSAFE)
        self.assertIn(r"a\x1b[2Jb\x07", site.tool("webhooks", "show", made["id"]).stdout)
        self.assertEqual(len(re.findall(r"(?m)^Description", site.tool("webhooks", "show", made["id"]).stdout)), 1)

    def test_description_bytes(self):
        """bytes that are no UTF-8 become characters that JSON can hold"""
        site = self.site(OFF)
        argv = [site.tool_path, "webhooks", "create", URL, "--json", "--description", b"x\xff"]
        done = subprocess.run(argv, capture_output=True, env=site.environment(), check=True)
        self.assertEqual(json.loads(done.stdout)["description"], "x\ufffd")


class Looking(HookCase):
    def test_empty(self):
        """none yet: a word of how to register one"""
        site = self.site(OFF)
        self.assertRegex(site.tool("webhooks").stdout, r"No webhook.*webhooks create URL")
        self.assertEqual(site.tool("webhooks", "--json"), {"data": [], "has_more": False})

    def test_list(self):
        """list has ids, states, events, what waits, success rates and URLs"""
        receiver, site = self.receiver(), self.site(ONCE)
        good = self.create(site, receiver.url(200))["id"]
        bad = self.create(site, receiver.url(500), "--events", "a.a,bbbbbbbbbbbbbbbb.c,ddddddddddddddd.e,f")["id"]
        gone = self.create(site, receiver.url(410), "--event", "a.a")["id"]
        off = self.create(site, URL, "--inactive")["id"]
        site.cgi(event("a.a"))
        site.dispatch_once()
        text = site.tool("webhooks", "list").stdout
        self.assertRegex(text, r"\AID +STATE +EVENTS +WAITING +RATE +URL\n")
        self.assertRegex(text, rf"(?m)^{good}  active +all +0 +100.00% +{receiver.url(200)}$")
        self.assertRegex(text, rf"(?m)^{bad}  active +a.a, bbbbbbbbbbbbbbbb.c and 2 more +0 +0.00% +{receiver.url(500)}$")
        self.assertRegex(text, rf"(?m)^{gone}  gone +a.a +0 +0.00% +{receiver.url(410)}$")
        self.assertRegex(text, rf"(?m)^{off}  off +all +0 +- +{URL}$")
        rows = {r["id"]: r for r in self.rows(site)}
        self.assertEqual(list(rows), [good, bad, gone, off])
        for row in rows.values():
            self.assertEqual(set(row), FIELDS | {"pending_deliveries", "success_rate"})
        self.assertEqual([r["success_rate"] for r in rows.values()], [100, 0, 0, None])
        self.assertEqual([r["inactive_reason"] for r in rows.values()], [None, None, "gone", None])

    def test_show(self):
        """show has all but the secrets: how old they are, the last attempts, numbers, why it is not active"""
        receiver, site = self.receiver(), self.site(LOCAL)
        receiver.answer = b"first line\n\x1b[31mno room\n"
        made = self.create(site, receiver.url(503), "--description", "the ATS")
        for n in range(7):
            site.cgi(event("a.b", n=n))
        site.dispatch_once()
        text = site.tool("webhooks", "show", made["id"]).stdout
        for line in (f"Webhook +{made['id']}", f"URL +{receiver.url(503)}", "Description +the ATS", "Events +all",
                     "State +active", "Secret +made 20.*", "Waiting +7 deliveries", "Last 24 hours +7 attempts, of which 7 failed"):
            self.assertRegex(text, rf"(?m)^{line}$")
        self.assertEqual(len(re.findall(r"(?m)  failed  a.b .*HTTP status 503: \\x1b\[31mno room$", text)), 5)
        self.assertNotRegex(text, UNSAFE)
        self.assertNotIn(made["secret"], text)
        shown = self.row(site, made["id"])
        self.assertEqual(set(shown), FIELDS | {"stats", "attempts"})
        self.assertEqual([set(s) for s in shown["secrets"]], [{"created_at", "expires_at"}])
        self.assertEqual([(a["status_code"], a["error_code"], a["target"]) for a in shown["attempts"]],
                         [(503, "http_status", made["id"])] * 5)
        self.assertEqual((shown["stats"]["pending_deliveries"], shown["stats"]["failed_attempts"]), (7, 7))

    def test_why_inactive(self):
        """show tells why a webhook is not active, and what to do"""
        site = self.site(OFF)
        for reason, words in (("", "somebody switched it off"), ("gone", "its receiver answered 410 Gone"),
                              ("failing", "nothing but failures for five days")):
            ident = self.create(site, URL)["id"]
            sql(site, f"UPDATE webhook SET active = 0, inactive_reason = '{reason}' WHERE id = '{ident}'")
            text = site.tool("webhooks", "show", ident).stdout
            self.assertRegex(text, rf"(?m)^State +not active: {words}$")
            self.assertIn(f"webhooks update {ident} --activate", text)

    def test_secrets_stay(self):
        """no command but create and rotate-secret shows a secret"""
        receiver, site = self.receiver(), self.site(ONCE)
        made = self.create(site, receiver.url(500))
        turned = site.tool("webhooks", "rotate-secret", made["id"], "--json")
        ident = site.cgi(event("a.b")).json["id"]
        site.dispatch_once()
        said = ""
        for args in (["webhooks"], ["webhooks", "show", made["id"]], ["webhooks", "update", made["id"], "--event", "a.b"],
                     ["check"], ["logs"], ["failed"], ["stats"], ["events", "show", ident], ["webhooks", "delete", made["id"]]):
            for more in ([], ["--json"]):
                done = site.tool(*args, *more, check=False)
                said += done.stdout + done.stderr
        said += site.logs()
        self.assertIn(made["id"], said)
        for secret in (made["secret"], turned["secret"]):
            self.assertNotIn(secret, said)


class Update(HookCase):
    def test_each(self):
        """each option changes what it says, and nothing else"""
        site = self.site(OFF)
        before = self.create(site, URL, "--event", "a.b", "--description", "one")
        secret = before.pop("secret")
        for args, change in (
            (["--url", URL + "/2"], {"url": URL + "/2"}), (["--event", "c.d"], {"events": ["c.d"]}),
            (["--events", "*"], {"events": ["*"]}), (["--description", ""], {"description": None}),
            (["--deactivate"], {"active": False}), (["--description", "two"], {"description": "two"}),
            (["--activate"], {"active": True}), (["--url", URL, "--event", "x"], {"url": URL, "events": ["x"]}),
        ):
            with self.subTest(" ".join(args)):
                after = site.tool("webhooks", "update", before["id"], "--json", *args)
                self.assertEqual(set(after), FIELDS)
                self.assertGreaterEqual(after["updated_at"], before["updated_at"])
                self.assertEqual(after, {**before, **change, "updated_at": after["updated_at"]})
                shown = self.row(site, before["id"])
                self.assertEqual({k: shown[k] for k in after}, after)
                before = after
        self.assertEqual(self.secret(site, before["id"]), [secret])

    def test_refused(self):
        """a URL that is refused changes nothing"""
        site = self.site(OFF)
        made = self.create(site)
        done = site.tool("webhooks", "update", made["id"], "--url", "http://x/", "--event", "a.b", check=False)
        self.fails(done, "allow_http")
        self.assertEqual(self.rows(site)[0]["events"], ["*"])

    def test_reason(self):
        """switching on clears the reason for which it was off; other changes keep it"""
        site = self.site(OFF)
        ident = self.create(site)["id"]
        sql(site, "UPDATE webhook SET active = 0, inactive_reason = 'gone', failures = 9, failing_since_ms = 5")
        self.assertEqual(site.tool("webhooks", "update", ident, "--event", "a", "--json")["inactive_reason"], "gone")
        self.assertEqual(site.tool("webhooks", "update", ident, "--activate", "--json")["inactive_reason"], None)
        self.assertEqual(site.query("SELECT active, inactive_reason, failures FROM webhook"), [(1, "", 0)])

    def test_activate_wakes(self):
        """what waited for one that was off goes on its way at once when it is activated"""
        receiver, site = self.receiver(), self.site({"webhooks": {**OPEN, "retry_schedule": "1h"}})
        ident = self.create(site, receiver.url())["id"]
        site.tool("webhooks", "update", ident, "--deactivate")
        site.cgi(event("a.b", n=1))  # not for it: it was off
        wait_for(lambda: site.tool("events", "--json")["data"][0]["status"] == "unhandled", 10, "the event was looked at")
        site.tool("webhooks", "update", ident, "--activate")
        site.tool("recover", ident, "--since", "1h")
        wait_for(lambda: len(receiver.calls) == 1, 10, f"the call\n{site.logs()}")
        self.assertEqual(json.loads(receiver.calls[0][2])["data"], {"n": 1})


class Delete(HookCase):
    def waiting(self, site, receiver):
        ident = self.create(site, receiver.url(500))["id"]
        for n in range(3):
            site.cgi(event("a.b", n=n))
        site.dispatch_once()
        return ident

    def test_delete(self):
        """what waits is canceled and counted, the secrets go, the log stays"""
        receiver, site = self.receiver(), self.site(LOCAL)
        ident = self.waiting(site, receiver)
        other = self.create(site)["id"]
        done = site.tool("webhooks", "delete", ident)
        self.assertEqual(done.stdout, f"{ident} is deleted; 3 deliveries that waited for it are canceled.\n")
        self.assertEqual([r["id"] for r in self.rows(site)], [other])
        self.assertEqual(site.query("SELECT count(*) FROM webhook_secret"), [(1,)])
        self.assertEqual({r["status"] for r in site.tool("logs", ident, "--json")["data"]}, {"failed"})
        self.assertRegex(site.tool("logs", ident).stdout, rf"\n\n{ident}  was deleted\n\Z")
        self.assertEqual([e["status"] for e in site.tool("events", "--json")["data"]], ["canceled"] * 3)
        self.fails(site.tool("webhooks", "delete", ident, check=False), "no webhook")

    def test_json(self):
        """--json: the id, and how many were canceled"""
        receiver, site = self.receiver(), self.site(LOCAL)
        ident = self.waiting(site, receiver)
        self.assertEqual(site.tool("webhooks", "delete", ident, "--json"), {"id": ident, "deleted": True, "canceled": 3})

    def ask(self, site, ident, answer, *args):
        """`webhooks delete` on a terminal where ANSWER is typed: exit status, and what was written."""
        ours, theirs = pty.openpty()
        child = site.spawn([site.tool_path, "webhooks", "delete", ident, *args], stdin=theirs, stdout=theirs, stderr=theirs,
                           env=site.environment())
        os.close(theirs)
        os.write(ours, answer)
        text = b""
        with contextlib.suppress(OSError):  # its end
            while True:
                text += os.read(ours, 4096)
        os.close(ours)
        return child.wait(60), text.decode()

    def test_terminal(self):
        """on a terminal it asks, and says what is lost; only y goes on; --yes asks nothing"""
        receiver, site = self.receiver(), self.site(LOCAL)
        ident = self.waiting(site, receiver)
        for answer in (b"\n", b"n\n", b"\x04", b"no\n"):
            status, text = self.ask(site, ident, answer)
            self.assertEqual(status, 1)
            self.assertRegex(text, rf"Delete {ident}, {receiver.url(500)}\? .*secret.*3 deliveries .*\[y/N\]")
            self.assertIn("nothing was deleted", text)
        self.assertEqual(len(self.rows(site)), 1)
        self.assertEqual(self.ask(site, ident, b"y\n")[0], 0)
        self.assertEqual(self.rows(site), [])
        status, text = self.ask(site, self.create(site)["id"], b"", "--yes")
        self.assertEqual(status, 0)
        self.assertNotIn("[y/N]", text)


class Rotate(HookCase):
    def test_overlap(self):
        """both secrets sign during the overlap, the new one alone afterwards; X-NTRVSTA-Signature is the new one's"""
        receiver, site = self.receiver(), self.site(ONCE)
        made = self.create(site, receiver.url())
        before = time.time()
        turned = site.tool("webhooks", "rotate-secret", made["id"], "--overlap", "2h", "--json")
        self.assertEqual(set(turned), FIELDS | {"secret", "previous_until"})
        self.assertNotEqual(turned["secret"], made["secret"])
        until = time.mktime(time.strptime(turned["previous_until"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        self.assertAlmostEqual(until, before + 7200, delta=30)
        self.assertEqual([s["expires_at"] for s in self.row(site, made["id"])["secrets"]], [None, turned["previous_until"]])
        self.assertRegex(site.tool("webhooks", "show", made["id"]).stdout, r"(?m)^Secrets +made .*\n +made .*, signs until ")
        site.cgi(event("a.b", n=1))
        site.dispatch_once()
        site.tool("webhooks", "rotate-secret", made["id"], "--overlap", "0", "--secret", "ours")
        site.cgi(event("a.b", n=2))
        site.dispatch_once()
        for (_, headers, body), secrets in zip(receiver.calls, ([turned["secret"], made["secret"]], ["ours"])):
            want = [standard_signature(s, headers["webhook-id"], headers["webhook-timestamp"], body) for s in secrets]
            self.assertEqual(headers["webhook-signature"].split(), want)
            self.assertEqual(headers["X-NTRVSTA-Signature"], sign(body, secrets[0]))
        self.assertEqual(len(receiver.calls), 2)

    def test_text(self):
        """says the new secret, until when the old one signs, and which header has room for one"""
        site = self.site(OFF)
        ident = self.create(site)["id"]
        text = site.tool("webhooks", "rotate-secret", ident).stdout
        self.assertIn(f"\n  {self.secret(site, ident)[0]}\n", text)
        self.assertRegex(text, r"Until 20.* \(24h00m\) webhook-signature .*old secret")
        text = site.tool("webhooks", "rotate-secret", ident, "--overlap", "0", "--secret", "-", stdin=b"our-own\n").stdout
        self.assertNotIn("our-own", text)
        self.assertIn("The old one signs no more.", text)
        self.assertEqual(self.secret(site, ident)[0], "our-own")

    def test_bad_secret(self):
        """a secret that can't be used changes nothing"""
        site = self.site(OFF)
        made = self.create(site)
        self.fails(site.tool("webhooks", "rotate-secret", made["id"], "--secret", "a b", check=False), "without blanks")
        self.assertEqual(self.secret(site, made["id"]), [made["secret"]])


class Targets(HookCase):
    """The other commands."""

    def made(self, settings=None, handlers=None):
        """A site with a webhook that works and one that fails, and an event for both."""
        receiver, site = self.receiver(), self.site(settings or ONCE, handlers=handlers or {})
        receiver.answer = b"line one\nno \x1b[31mroom\n"
        good, bad = self.create(site, receiver.url())["id"], self.create(site, receiver.url(500))["id"]
        ident = site.cgi(event("session.completed", n=1)).json["id"]
        site.dispatch_once()
        return receiver, site, good, bad, ident

    def test_logs(self):
        """logs ID, logs, and logs --follow: attempts, their answers, and which URL an id stands for"""
        receiver, site, good, bad, _ = self.made()
        text = site.tool("logs").stdout
        self.assertRegex(text, rf"(?m)  failed +{bad}  session.completed +1 .*HTTP status 500: no \\x1b\[31mroom$")
        self.assertRegex(text, rf"(?m)  success +{good}  session.completed +1 ")
        legend = set(text.split("\n\n")[1].splitlines())
        self.assertEqual(legend, {f"{good}  {receiver.url()}", f"{bad}  {receiver.url(500)}"})
        self.assertNotRegex(text, UNSAFE)
        row, = site.tool("logs", bad, "--json")["data"]
        self.assertEqual((row["target"], row["status_code"], row["exit_code"], row["output"]),
                         (bad, 500, None, receiver.answer.decode()))
        follower = site.spawn([site.tool_path, "logs", bad, "--follow", "--json"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=site.environment())
        self.assertEqual(json.loads(follower.stdout.readline())["target"], bad)
        follower.terminate()
        self.assertEqual(follower.wait(10), 0)
        follower.stdout.close()
        self.assertEqual(follower.stderr.read(), b"")
        follower.stderr.close()

    def test_unknown(self):
        """an id that nobody has is an error with a hint, for each command"""
        site = self.site(OFF)
        self.fails(site.tool("logs", ID, "--follow", check=False), f"no webhook {ID}: 'ntrvsta webhooks list'")
        site.tool("events")
        for args in (["logs", ID], ["logs", ID, "--follow"], ["stats", ID], ["failed", ID], ["recover", ID, "--since", "1h"],
                     ["cancel", "--webhook", ID], ["cancel", "--handler", ID], ["logs", "wh_01kb"]):
            with self.subTest(" ".join(args)):
                self.fails(site.tool(*args, check=False), "no webhook wh_01kb.*: 'ntrvsta webhooks list'")
        self.fails(site.tool("cancel", ID, check=False), "is a webhook's id: --webhook")
        self.fails(site.tool("retry", ID, check=False), "is a webhook's id: 'ntrvsta recover'")
        self.fails(site.tool("cancel", "--webhook", ID, "--handler", "a.b", check=False), "not several", 2)
        self.fails(site.tool("logs", ID[:-1] + "U", check=False), "nor a webhook's id", 2)

    def test_handler_of_a_kind(self):
        """a handler of an event that is called wh_... is still a handler"""
        site = self.site(OFF, handlers={"wh_created": "echo ran"})
        site.cgi(event("wh_created"))
        site.dispatch_once()
        self.assertEqual(site.tool("logs", "wh_created", "--json")["data"][0]["output"], "ran\n")

    def test_stats(self):
        """stats ID, and all of them with their URLs"""
        receiver, site, good, bad, _ = self.made()
        idle = self.create(site, URL)["id"]
        text = site.tool("stats").stdout
        self.assertRegex(text, rf"(?m)^{good} +1 +0 +0 +100.00% +1 ")
        self.assertRegex(text, rf"(?m)^{bad} +0 +1 +0 +0.00% +1 ")
        self.assertRegex(text, rf"(?m)^{idle} +0 +0 +0 +- +0 ")
        self.assertIn(f"\n{bad}  {receiver.url(500)}\n", text)
        self.assertRegex(site.tool("stats", good).stdout, rf"\AWebhook +{good}\n")
        self.assertEqual(site.tool("stats", good, "--json")["success_rate"], 100)
        self.assertEqual({r["target"] for r in site.tool("stats", "--json")["data"]}, {good, bad, idle})

    def test_failed_and_retry(self):
        """failed lists what was given up, retry calls again"""
        receiver, site, _, bad, _ = self.made()
        text = site.tool("failed", bad).stdout
        self.assertRegex(text, rf"(?m)  {bad}  session.completed +1 +HTTP status 500$")
        self.assertIn(f"\n{bad}  {receiver.url(500)}\n", text)
        row, = site.tool("failed", "--json")["data"]
        self.assertEqual((row["target"], row["error_code"], row["error_message"]), (bad, "http_status", "HTTP status 500"))
        site.tool("webhooks", "update", bad, "--url", receiver.url(200, "mended"))
        site.tool("retry", row["id"])
        site.dispatch_once()
        self.assertEqual((receiver.calls[-1][0], receiver.calls[-1][1]["X-NTRVSTA-Delivery"]), ("/200/mended", row["id"]))
        self.assertEqual(site.tool("failed", "--json")["data"], [])

    def test_events(self):
        """an event with nothing but webhooks is not unhandled; show names URLs, replay calls again"""
        receiver, site, good, bad, ident = self.made()
        self.assertEqual([e["status"] for e in site.tool("events", "--json")["data"]], ["failed"])
        text = site.tool("events", "show", ident).stdout
        self.assertRegex(text, rf"(?m)^dlv_\w+  {bad} \({receiver.url(500)}\)  failed\n"
                         r"  attempt 1 .*HTTP status 500\n    \| line one\n")
        self.assertNotRegex(text, UNSAFE)
        site.tool("webhooks", "delete", bad)
        self.assertRegex(site.tool("events", "replay", ident).stdout, "1 delivery of")
        site.dispatch_once()
        self.assertEqual(len(receiver.calls), 3)
        self.assertRegex(site.tool("events", "show", ident).stdout, rf"(?m)^dlv_\w+  {bad}  failed$")
        site.tool("webhooks", "update", good, "--deactivate")
        self.fails(site.tool("events", "replay", ident, check=False), "no active webhook takes session.completed")

    def test_success_alone(self):
        """an event that a webhook alone took is a success"""
        receiver, site = self.receiver(), self.site(ONCE)
        self.create(site, receiver.url(), "--event", "a.b")
        for name in ("a.b", "c.d"):
            site.cgi(event(name))
        site.dispatch_once()
        self.assertEqual([(e["event"], e["status"]) for e in site.tool("events", "--json")["data"]],
                         [("c.d", "unhandled"), ("a.b", "success")])

    def test_recover(self):
        """recover brings what came before it was there or while it was off, of its events only"""
        receiver, site = self.receiver(), self.site(ONCE, handlers={"all/log": "cat"})
        for n, name in enumerate(("a.b", "c.d", "a.b.c", "e")):
            site.cgi(event(name, n=n))
        site.dispatch_once()
        ident = self.create(site, receiver.url(), "--events", "c.d,a.b")["id"]
        dry = site.tool("recover", ident, "--since", "1h", "--dry-run", "--json")
        self.assertEqual((dry["recoverable"], dry["recovered"], dry["event"], dry["events"]), (2, 0, None, ["c.d", "a.b"]))
        self.assertIn("2 c.d, a.b events received", site.tool("recover", ident, "--since", "1h").stdout)
        site.dispatch_once()
        self.assertEqual([h["X-NTRVSTA-Event"] for _, h, _ in receiver.calls], ["a.b", "c.d"])
        site.tool("webhooks", "update", ident, "--deactivate", "--event", "*")
        site.cgi(event("e", n=9))
        site.dispatch_once()
        self.fails(site.tool("recover", ident, "--since", "1h", check=False),
                   rf"{ident} is not active, somebody switched it off; first 'ntrvsta webhooks update {ident} --activate'")
        site.tool("webhooks", "update", ident, "--activate")
        self.assertEqual(site.tool("recover", ident, "--since", "1h", "--json")["recovered"], 3)
        site.dispatch_once()
        self.assertEqual([h["X-NTRVSTA-Event"] for _, h, _ in receiver.calls[2:]], ["a.b.c", "e", "e"])

    def test_cancel(self):
        """cancel --webhook ID gives up what waits for it, and nothing else"""
        _, site, _, bad, _ = self.made(LOCAL, {"session.completed": "exit 75"})
        self.assertRegex(site.tool("cancel", "--webhook", bad).stdout, f"1 delivery of {bad} is canceled")
        self.assertEqual(site.tool("cancel", "--handler", bad, "--json"), {"target": bad, "canceled": 0, "ids": None})
        row, = site.tool("logs", "--status", "pending", "--json")["data"]
        self.assertEqual(row["target"], "session.completed")

    def test_held(self):
        """what waits for one that is off is shown as held, also after a look by a dispatcher"""
        _, site, _, bad, _ = self.made(LOCAL)
        site.tool("webhooks", "update", bad, "--deactivate")
        site.dispatch_once()
        row, = site.tool("logs", "--status", "pending", "--json")["data"]
        self.assertEqual((row["target"], row["held"]), (bad, "the webhook is not active"))
        text = site.tool("logs", bad).stdout
        self.assertIn("held: the webhook is not active, last: HTTP status 500", text)
        self.assertRegex(text, rf"(?m)^{bad}  .*  \(not active\)$")


class Check(HookCase):
    def check(self, site):
        done = site.tool("check", "--json", check=False)
        doc = json.loads(done.stdout)
        self.assertEqual(doc["ok"], done.returncode == 0)
        return doc, [(f["level"], f["message"]) for f in doc["findings"] if f["subject"] == "webhooks"]

    def test_none(self):
        """without a webhook check says nothing of them"""
        doc, found = self.check(self.site(OFF))
        self.assertEqual(found, [])
        self.assertEqual({tuple(e["webhooks"]) for e in doc["events"]}, {()})

    def test_plan(self):
        """each event is listed with its handlers and the active webhooks that get it"""
        site = self.site(OFF, handlers={"all/log": "cat"})
        every, one = self.create(site, URL)["id"], self.create(site, URL + "/1", "--event", "session.completed")["id"]
        self.create(site, URL + "/2", "--inactive")
        doc, found = self.check(site)
        plan = {e["event"]: (e["handlers"], e["webhooks"]) for e in doc["events"]}
        self.assertEqual(plan["session.completed"], (["all/log"], [every, one]))
        self.assertEqual(plan["session.started"], (["all/log"], [every]))
        self.assertIn(("ok", "2 of 3 are active"), found)
        text = site.tool("check").stdout
        self.assertRegex(text, rf"\nEVENT +GOES TO\n(.*\n)*session.completed +all/log\n +{every}  {URL}\n +{one}  {URL}/1\n")

    def test_many(self):
        """hundreds of webhooks do not fill the screen; --json has them all"""
        site = self.site(OFF)
        self.create(site, URL, "--event", "session.started")
        sql(site, "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO webhook"
            " (id, url, description, events, active, created_ms, updated_ms)"
            " SELECT printf('wh_%026d', i), 'https://example.com/' || i, '', 'session.completed', 1, 1, 1 FROM n")
        text = site.tool("check").stdout
        self.assertEqual(len(re.findall(r"https://example.com/\d", text)), 19)
        self.assertIn("... and 281 webhooks more\n", text)
        plan = {e["event"]: len(e["webhooks"]) for e in self.check(site)[0]["events"]}
        self.assertEqual((plan["session.completed"], plan["session.started"]), (300, 1))

    def test_inactive(self):
        """one that is not active is a warning with the reason, and how many deliveries wait for it"""
        receiver, site = self.receiver(), self.site(LOCAL)
        idents = [self.create(site, receiver.url(500, i))["id"] for i in range(3)]
        site.cgi(event("a.b"))
        site.dispatch_once()
        for ident, reason in zip(idents, ("", "gone", "failing")):
            sql(site, f"UPDATE webhook SET active = 0, inactive_reason = '{reason}' WHERE id = '{ident}'")
        _, found = self.check(site)
        for i, words in enumerate(("somebody switched it off", "its receiver answered 410 Gone",
                                   "nothing but failures for five days")):
            self.assertIn(("warning", f"{idents[i]} is not active, {words}: {receiver.url(500, i)}; 1 delivery waits for it; "
                           f"'ntrvsta webhooks update {idents[i]} --activate'"), found)
        self.assertFalse([m for _, m in found if "was removed" in m or "failed each time" in m])

    def test_always_fails(self):
        """one that has failed each time is a warning; one that works is none"""
        receiver, site = self.receiver(), self.site(LOCAL)
        self.create(site, receiver.url())
        bad = self.create(site, receiver.url(500))["id"]
        for n in range(2):
            site.cgi(event("a.b", n=n))
        site.dispatch_once()
        _, found = self.check(site)
        self.assertEqual([m for _, m in found if "failed each time" in m],
                         [f"{bad} has failed each time in the last 24 hours, 2 times: see 'ntrvsta logs {bad} --status failed'"])

    def test_open_settings(self):
        """allow_http and allow_private in force are warnings, and name what they open"""
        site = self.site({**OFF, "webhooks": {"allow_http": "on", "allow_private": "10.0.0.0/8 fd00::/8 127.0.0.1"}})
        self.create(site)
        _, found = self.check(site)
        self.assertIn(("note", "[webhooks] allow_http = on, though no webhook needs it"), found)
        self.assertTrue([m for level, m in found if level == "warning" and "10.0.0.0/8 fd00::/8 127.0.0.1/32" in m], found)
        self.create(site, "http://example.com/")
        _, found = self.check(site)
        self.assertTrue([m for level, m in found if level == "warning" and "1 of 2 webhooks are called so" in m], found)

    def test_refused_now(self):
        """a URL that the configuration allows no longer is a problem, exit 1"""
        site = self.site({**OFF, "webhooks": OPEN})
        ident = self.create(site, "http://127.0.0.1:9/")["id"]
        self.assertTrue(self.check(site)[0]["ok"])
        site.configure({"webhooks": {"allow_http": None}})
        doc, found = self.check(site)
        self.assertFalse(doc["ok"])
        self.assertTrue([m for level, m in found if level == "problem" and ident in m and "allow_http" in m], found)

    def test_event_names(self):
        """events that nobody documents are named, with what may be meant"""
        site = self.site(OFF)
        ident = self.create(site, URL, "--events", "session.complted,x.y,session.started")["id"]
        _, found = self.check(site)
        self.assertIn(("warning", f"{ident} waits for session.complted, which is not documented; did you mean session.completed?"), found)
        self.assertIn(("note", f"{ident} waits for x.y, which is not documented"), found)

    def test_file_named_like_one(self):
        """a file below handlers/ that is named like a webhook's id never runs, and check says why"""
        site = self.site(OFF, handlers={ID: "echo ran >$OUT/ran"})
        site.cgi(event(ID))
        site.dispatch_once()
        self.assertEqual(os.listdir(site.out), [])
        self.assertRegex(site.tool("check").stdout, rf"(?m)^warning +handlers: {ID} is skipped: named like a webhook's id$")

    def test_safe(self):
        """nothing hostile reaches a terminal"""
        site = self.site(OFF)
        self.create(site, URL, "--description", NASTY)
        done = site.tool("check")
        self.assertNotRegex(done.stdout, UNSAFE)


class Documents(HookCase):
    """The receivers that the documents show: each takes what is signed with its secret, and nothing else."""

    def receiver_of(self, document, language, argv, variable):
        page = read_file(os.path.join(ntrvsta.SRCDIR, document)).decode()
        code = re.search(rf"(?ms)^```{language}\n(.*?)^```", page).group(1)
        site = self.site(ONCE)
        port = ntrvsta.free_port()
        made = self.create(site, f"http://127.0.0.1:{port}/hook")
        path = os.path.join(site.dir, "receiver")
        with open(path, "w") as f:
            f.write(code)
        site.spawn([*argv, path], env={**site.environment(), "PORT": str(port), variable: made["secret"]},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def listens():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, 20, "the receiver listens")
        return site, made["id"]

    def statuses(self, site, ident):
        return [a["status_code"] for a in site.tool("logs", ident, "--json")["data"]]

    def test_readme(self):
        """README.md: before, during and after a rotation"""
        site, ident = self.receiver_of("README.md", "python", [sys.executable], "SECRET")
        for args, want in ((None, 204), (("--overlap", "1h"), 204), (("--overlap", "0"), 401)):
            if args:
                site.tool("webhooks", "rotate-secret", ident, *args)
            site.cgi(event("a.b", n=str(args)))
            site.dispatch_once()
            self.assertEqual(self.statuses(site, ident)[0], want)

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_integrations(self):
        """doc/integrations.md, in Node"""
        site, ident = self.receiver_of("doc/integrations.md", "js", [shutil.which("node")], "NTRVSTA_WEBHOOK_SECRET")
        site.cgi(event("a.b", n=1))
        site.dispatch_once()
        site.tool("webhooks", "rotate-secret", ident)
        site.cgi(event("a.b", n=2))
        site.dispatch_once()
        self.assertEqual(self.statuses(site, ident), [401, 200])


if __name__ == "__main__":
    tap.main()
