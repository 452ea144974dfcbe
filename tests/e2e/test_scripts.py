#!/usr/bin/env python3
"""The handlers that ship: each run by itself, as the dispatcher would, against a fake receiver."""

import csv
import email
import email.policy
import fcntl
import http.server
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import tap

HANDLERS = pathlib.Path(__file__).resolve().parents[2] / "handlers"
SCRIPTS = ["ats-update", "csv-append", "invitation-mail", "skeleton", "slack-message"]
EXIT_RETRY, EXIT_PERMANENT = 75, 100

# What candidates may call themselves, and whoever else fills in a field.
HOSTILE = [
    "; touch pwned", "$(touch pwned)", "`touch pwned`", "' touch pwned '", '" touch pwned "', "a\nb\r\nc",
    "--output=pwned", "-rf", "../../pwned", "%s%n", "\\", "a,b;c\td", "\u0000", "\u001b[31m", "<!channel> & co",
    "=cmd|'/c calc'!A1", "\u202egnp.exe", "x" * 20000, "Zoë 山田",
]


def session(**fields):
    data = {
        "id": "sess_1", "interview_id": "int_1", "completed_at": "2026-02-10T09:41:00Z", "duration_minutes": 41,
        "overall_score": 85, "status": "completed",
        "candidate": {"id": "cand_1", "email": "mira@example.org", "name": "Mira Lindqvist"},
    }
    candidate = {**data["candidate"], **fields.pop("candidate", {})}
    return {"event": "session.completed", "data": {"session": {**data, **fields, "candidate": candidate}}}


def invitation(**candidate):
    person = {"id": "cand_1", "email": "mira@example.org", "name": "Mira Lindqvist", **candidate}
    return {"event": "candidate.invited",
            "data": {"candidate": person, "invitation": {"invite_url": "https://interviews.example.org/i/1"}}}


class Receiver(http.server.ThreadingHTTPServer):
    """Notes what comes, and answers with the status that was set."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Call)
        self.calls = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Call(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append(self)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, *_args):
        pass


class HandlerCase(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ntrvsta-test."))
        self.addCleanup(shutil.rmtree, self.dir)

    def need(self, *tools):
        for tool in tools:
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not installed")

    def run_handler(self, name, event, delivery="dlv_1", before=(), **settings):
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.dir), "LANG": "C.UTF-8",
            "NTRVSTA_EVENT": "session.completed", "NTRVSTA_EVENT_ID": "evt_1", "NTRVSTA_ATTEMPT": "1",
            "NTRVSTA_DELIVERY_ID": delivery, "NTRVSTA_SOURCE": "ntrvsta", "NTRVSTA_HANDLER": name,
            "NTRVSTA_TIMESTAMP": "2026-02-10T09:41:00Z", **settings,
        }
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.last = subprocess.run([*before, HANDLERS / name], input=body, env=environment, cwd=self.dir, timeout=60,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertFalse(list(self.dir.rglob("*pwned*")), "a field was run as a command")
        return self.last.returncode

    def assert_exit(self, want, *args, **kwargs):
        got = self.run_handler(*args, **kwargs)
        self.assertEqual(got, want, self.last.stdout.decode(errors="replace"))

    def tools_without(self, missing):
        """A PATH that has everything but one tool."""
        folder = self.dir / "bin"
        folder.mkdir()
        for place in ("/usr/bin", "/bin"):
            for tool in pathlib.Path(place).iterdir():
                link = folder / tool.name
                if tool.name != missing and not link.is_symlink():
                    link.symlink_to(tool)
        return str(folder)


class Scripts(HandlerCase):
    def test_shellcheck(self):
        """shellcheck has nothing to say"""
        self.need("shellcheck")
        for name in SCRIPTS:
            with self.subTest(name):
                run = subprocess.run(["shellcheck", "--shell=sh", HANDLERS / name], capture_output=True, text=True,
                                     check=False)
                self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_form(self):
        """executable, POSIX sh, strict, under 40 lines"""
        for name in SCRIPTS:
            with self.subTest(name):
                path = HANDLERS / name
                lines = path.read_text().splitlines()
                self.assertTrue(path.stat().st_mode & stat.S_IXUSR)
                self.assertEqual(lines[0], "#!/bin/sh")
                self.assertIn("set -eu", lines)
                self.assertLess(len(lines), 40)

    def test_all_are_here(self):
        """no handler ships untested"""
        self.assertEqual(sorted(p.name for p in HANDLERS.iterdir()), SCRIPTS)

    def test_missing_tool(self):
        """a missing tool is named, and the event tried again later"""
        self.need("jq", "curl", "flock")
        for name, tool, settings in (
                ("csv-append", "flock", {}), ("csv-append", "jq", {}),
                ("slack-message", "curl", {"SLACK_WEBHOOK_URL": "http://127.0.0.1:9"}),
                ("ats-update", "curl", {"ATS_URL": "http://127.0.0.1:9"}),
                ("invitation-mail", "jq", {"MAIL_FROM": "hr@example.org", "SENDMAIL": "/bin/true"}),
                ("invitation-mail", "/nowhere/sendmail",
                 {"MAIL_FROM": "hr@example.org", "SENDMAIL": "/nowhere/sendmail"})):
            with self.subTest(f"{name} without {tool}"):
                self.assert_exit(EXIT_RETRY, name, session(), PATH=self.tools_without(tool), **settings)
                self.assertIn(f"{tool} is not installed", self.last.stdout.decode())
            shutil.rmtree(self.dir / "bin")

    def test_missing_setting(self):
        """a missing setting is named, and the event tried again later"""
        for name, setting in (("slack-message", "SLACK_WEBHOOK_URL"), ("ats-update", "ATS_URL"),
                              ("invitation-mail", "MAIL_FROM")):
            with self.subTest(name):
                self.assertNotIn(self.run_handler(name, session()), (0, EXIT_PERMANENT))
                self.assertIn(f"{setting}: set it", self.last.stdout.decode())


class CsvAppend(HandlerCase):
    def setUp(self):
        super().setUp()
        self.need("jq", "flock")
        self.file = self.dir / "interviews.csv"

    def rows(self):
        with self.file.open(newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))

    def test_appends(self):
        """csv-append: one line for each event, a heading before the first"""
        self.assert_exit(0, "csv-append", session())
        self.assert_exit(0, "csv-append", session(overall_score=61.5, candidate={"name": 'A "B", C'}), "dlv_2")
        first, second = self.rows()
        self.assertEqual(first, {
            "completed_at": "2026-02-10T09:41:00Z", "session": "sess_1", "interview": "int_1", "candidate": "cand_1",
            "email": "mira@example.org", "name": "Mira Lindqvist", "score": "85", "minutes": "41",
            "delivery": "dlv_1"})
        self.assertEqual((second["name"], second["score"]), ('A "B", C', "61.5"))
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)

    def test_repeat(self):
        """csv-append: a repeated delivery adds nothing"""
        for _ in range(2):
            self.assert_exit(0, "csv-append", session())
        self.assertEqual(len(self.rows()), 1)

    def test_hostile(self):
        """csv-append: hostile fields stay in their cells"""
        for number, text in enumerate(HOSTILE):
            self.assert_exit(0, "csv-append", session(id=text, candidate={"name": text}), f"dlv_{number}")
        rows = self.rows()
        self.assertEqual(len(rows), len(HOSTILE))
        for row, text in zip(rows, HOSTILE):
            with self.subTest(ascii(text[:30])):
                want = "'" + text if text[0] in "=+-@\t\r" else text.replace("\0", "\\0")
                self.assertEqual((row["session"], row["name"], row["score"]), (want, want, "85"))

    def test_forged_repeat(self):
        """csv-append: a field can't pose as another delivery"""
        self.assert_exit(0, "csv-append", session(candidate={"name": 'x,"dlv_2"\n"x","dlv_2"\n,dlv_2'}))
        self.assert_exit(0, "csv-append", session(), "dlv_2")
        self.assertEqual([r["delivery"] for r in self.rows()], ["dlv_1", "dlv_2"])

    def test_other_shapes(self):
        """csv-append: fields of other types are written down, no session is refused for good"""
        self.assert_exit(0, "csv-append", session(overall_score=None, duration_minutes={"a": [1]}))
        self.assertEqual((self.rows()[0]["score"], self.rows()[0]["minutes"]), ("", '{"a":[1]}'))
        for body in ({"event": "x"}, {"data": 7}, {"data": {"session": []}}):
            self.assert_exit(EXIT_PERMANENT, "csv-append", body)

    def test_at_once(self):
        """csv-append: ten at once, ten whole lines"""
        threads = [threading.Thread(target=self.run_handler, args=("csv-append", session(), f"dlv_{i}"))
                   for i in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(r["delivery"] for r in self.rows()), [f"dlv_{i}" for i in range(10)])

    def test_waits_for_lock(self):
        """csv-append: waits while another program holds the lock"""
        with self.file.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            thread = threading.Thread(target=self.run_handler, args=("csv-append", session()))
            thread.start()
            thread.join(0.3)
            self.assertEqual((thread.is_alive(), self.file.read_text()), (True, ""))
            fcntl.flock(held, fcntl.LOCK_UN)
            thread.join()
        self.assertEqual((self.last.returncode, len(self.rows())), (0, 1))

    def test_torn_line(self):
        """csv-append: a line that was cut off spoils only itself"""
        self.assert_exit(0, "csv-append", session())
        with self.file.open("a") as f:
            f.write('"2026-02-10T09:41:00Z","torn')
        self.assert_exit(0, "csv-append", session(), "dlv_2")
        self.assertTrue(self.file.read_text().splitlines()[-1].endswith(',"dlv_2"'))

    def test_unwritable(self):
        """csv-append: a file that can't be written is tried again later"""
        self.assert_exit(EXIT_RETRY, "csv-append", session(), CSV_FILE=str(self.dir / "missing" / "x.csv"))
        no_space = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\""]
        self.assert_exit(EXIT_RETRY, "csv-append", session(), before=no_space)
        self.assertEqual(self.file.read_text(), "")


class HttpCase(HandlerCase):
    def setUp(self):
        super().setUp()
        self.need("jq", "curl")
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)

    def check_statuses(self, name, statuses, **settings):
        for status, want in statuses.items():
            with self.subTest(status):
                self.receiver.status = status
                self.assert_exit(want, name, session(), **settings)

    def check_down(self, name, **settings):
        self.receiver.close()
        self.assert_exit(EXIT_RETRY, name, session(), **settings)


class SlackMessage(HttpCase):
    def setUp(self):
        super().setUp()
        self.settings = {"SLACK_WEBHOOK_URL": self.receiver.url + "/services/T0/B0/secret"}

    def send(self, event):
        self.assert_exit(0, "slack-message", event, **self.settings)
        return json.loads(self.receiver.calls[-1].body)

    def test_message(self):
        """slack-message: who, score, duration"""
        message = self.send(session())
        call = self.receiver.calls[-1]
        self.assertEqual((call.command, call.path), ("POST", "/services/T0/B0/secret"))
        self.assertEqual(call.headers["Content-Type"], "application/json")
        self.assertEqual(message, {
            "text": "Mira Lindqvist has finished an interview",
            "attachments": [{"color": "good", "fields": [
                {"title": "Score", "value": "85/100", "short": True},
                {"title": "Duration", "value": "41 minutes", "short": True}]}]})

    def test_colour(self):
        """slack-message: green from 80 on, and only for a number"""
        for score, want in ((80, "good"), (100, "good"), (79.9, "warning"), (0, "warning"), (None, "warning"),
                            ("99", "warning"), ([99], "warning")):
            with self.subTest(score):
                self.assertEqual(self.send(session(overall_score=score))["attachments"][0]["color"], want)

    def test_hostile(self):
        """slack-message: hostile names are text"""
        for text in HOSTILE:
            with self.subTest(ascii(text[:30])):
                want = text[:200].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                message = self.send(session(candidate={"name": text}))
                self.assertEqual(message["text"], want + " has finished an interview")
        self.assertEqual(len(self.receiver.calls), len(HOSTILE))

    def test_url_is_secret(self):
        """slack-message: the URL is not shown in its output"""
        self.send(session())
        self.assertNotIn(b"secret", self.last.stdout)

    def test_statuses(self):
        """slack-message: what Slack's answer means"""
        self.check_statuses("slack-message", {
            200: 0, 400: EXIT_PERMANENT, 404: EXIT_PERMANENT, 410: EXIT_PERMANENT, 302: EXIT_PERMANENT,
            429: EXIT_RETRY, 500: EXIT_RETRY, 503: EXIT_RETRY}, **self.settings)

    def test_down(self):
        """slack-message: nobody answers, tried again later"""
        self.check_down("slack-message", **self.settings)

    def test_no_session(self):
        """slack-message: an event without a session is refused for good"""
        self.assert_exit(EXIT_PERMANENT, "slack-message", {"event": "x", "data": {}}, **self.settings)
        self.assertEqual(self.receiver.calls, [])


class AtsUpdate(HttpCase):
    def setUp(self):
        super().setUp()
        self.settings = {"ATS_URL": self.receiver.url + "/api/candidates/", "ATS_TOKEN": "t0ken"}

    def send(self, event):
        self.assert_exit(0, "ats-update", event, **self.settings)
        return json.loads(self.receiver.calls[-1].body)

    def test_update(self):
        """ats-update: PUT with outcome and next step"""
        update = self.send(session())
        call = self.receiver.calls[-1]
        self.assertEqual((call.command, call.path), ("PUT", "/api/candidates/cand_1"))
        self.assertEqual(call.headers["Authorization"], "Bearer t0ken")
        self.assertEqual(call.headers["Idempotency-Key"], "dlv_1")
        self.assertEqual(call.headers["Content-Type"], "application/json")
        self.assertEqual(update, {
            "interview_status": "completed", "interview_score": 85, "interview_date": "2026-02-10T09:41:00Z",
            "next_step": "technical_round_2"})

    def test_no_token(self):
        """ats-update: without a token no Authorization"""
        del self.settings["ATS_TOKEN"]
        self.send(session())
        self.assertNotIn("Authorization", self.receiver.calls[-1].headers)

    def test_next_step(self):
        """ats-update: the next step by score"""
        for score, want in ((80, "technical_round_2"), (79.99, "rejected"), (0, "rejected")):
            with self.subTest(score):
                self.assertEqual(self.send(session(overall_score=score))["next_step"], want)

    def test_no_score(self):
        """ats-update: nobody is rejected for a score that is missing"""
        for score in (None, "99", [], True):
            with self.subTest(score):
                self.assert_exit(EXIT_PERMANENT, "ats-update", session(overall_score=score), **self.settings)
        self.assertEqual(self.receiver.calls, [])

    def test_hostile_id(self):
        """ats-update: an id that would change the URL is refused for good"""
        places = ["..", ".", "", "a/b", "a?b=c", "a#b", "a%2fb", "cand_1\n", 'a"\nurl = "http://x', None, 7]
        for text in HOSTILE + places:
            if text == "-rf" or text == "x" * 20000:
                continue  # letters and dashes: a candidate of that name, not another place
            with self.subTest(ascii(text)[:30]):
                self.assert_exit(EXIT_PERMANENT, "ats-update", session(candidate={"id": text}), **self.settings)
        self.assertEqual(self.receiver.calls, [])

    def test_statuses(self):
        """ats-update: what the answer means"""
        self.check_statuses("ats-update", {
            200: 0, 204: 0, 400: EXIT_PERMANENT, 404: EXIT_PERMANENT, 401: EXIT_RETRY, 403: EXIT_RETRY,
            429: EXIT_RETRY, 502: EXIT_RETRY}, **self.settings)

    def test_down(self):
        """ats-update: nobody answers, tried again later"""
        self.check_down("ats-update", **self.settings)


class InvitationMail(HandlerCase):
    def setUp(self):
        super().setUp()
        self.need("jq")
        sendmail = self.dir / "sendmail"
        sendmail.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$HOME/arguments"\ncat >"$HOME/mail"\n'
                            'exit "$(cat "$HOME/status" 2>/dev/null || echo 0)"\n')
        sendmail.chmod(0o755)
        self.settings = {"SENDMAIL": str(sendmail), "MAIL_FROM": "hr@example.org"}

    def send(self, event):
        self.assert_exit(0, "invitation-mail", event, **self.settings)
        return email.message_from_bytes((self.dir / "mail").read_bytes(), policy=email.policy.default)

    def check_headers(self, mail, to="mira@example.org"):
        self.assertEqual(dict(mail.items()), {
            "From": "hr@example.org", "To": to, "Subject": "Your interview with us",
            "Message-ID": "<dlv_1@example.org>", "MIME-Version": "1.0",
            "Content-Type": 'text/plain; charset="utf-8"', "Content-Transfer-Encoding": "8bit"})

    def test_mail(self):
        """invitation-mail: addressed, greeted, with the link"""
        mail = self.send(invitation())
        self.check_headers(mail)
        text = mail.get_content()
        self.assertIn("Hello Mira Lindqvist,\n", text)
        self.assertIn("\nhttps://interviews.example.org/i/1\n", text)
        self.assertEqual((self.dir / "arguments").read_text(), "-t\n-i\n-f\nhr@example.org\n")

    def test_hostile_name(self):
        """invitation-mail: a hostile name stays in its line of the text"""
        for name in HOSTILE + ["x\nBcc: all@example.org", "x\r\n\r\nBuy", "x\n.\nQUIT"]:
            with self.subTest(ascii(name[:30])):
                mail = self.send(invitation(name=name))
                self.check_headers(mail)
                lines = mail.get_content().split("\n")
                shown = "".join(c if c.isprintable() or ord(c) > 0xff else " " for c in name)[:900]
                self.assertEqual(lines[0], f"Hello {shown},")
                self.assertTrue(lines[2].startswith("we have invited you"))
                self.assertEqual(len(lines), 6)

    def test_hostile_address(self):
        """invitation-mail: an address that is not a plain one is refused for good"""
        for address in HOSTILE + [
                "a@example.org\nBcc: all@example.org", "a@example.org\r\nBcc: all@example.org", "a@example.org\n",
                "a@example.org, b@example.org", "a@example.org b@example.org", "<a@example.org>", "a", "@example.org",
                "-oQ/tmp@example.org", "a@-x", "|cat@example.org", "/tmp/x@example.org", "a@b@c", "", None, 7, ["a@b"]]:
            with self.subTest(ascii(address)[:30]):
                self.assert_exit(EXIT_PERMANENT, "invitation-mail", invitation(email=address), **self.settings)
        self.assertFalse((self.dir / "mail").exists())

    def test_link(self):
        """invitation-mail: only an https link is passed on, in a line of its own"""
        for link, want in (("http://x", 4), ("javascript:alert(1)", 4), (None, 4), (7, 4), ("https://x\n\nmore", 6)):
            with self.subTest(link):
                event = invitation()
                event["data"]["invitation"]["invite_url"] = link
                self.assertEqual(len(self.send(event).get_content().split("\n")), want)

    def test_link_elsewhere(self):
        """invitation-mail: the link may stand beside the candidate"""
        for other in ({}, {"invitation": None}, {"invitation": "x"}, {"invitation": {"id": "inv_1"}}):
            with self.subTest(other):
                event = invitation()
                del event["data"]["invitation"]
                event["data"].update(other, invite_url="https://interviews.example.org/i/2")
                self.assertIn("\nhttps://interviews.example.org/i/2\n", self.send(event).get_content())

    def test_no_name(self):
        """invitation-mail: somebody without a name is greeted all the same"""
        self.assertIn("Hello there,", self.send(invitation(name=None)).get_content())

    def test_sendmail_fails(self):
        """invitation-mail: what sendmail's exit status means"""
        for status, want in ((75, EXIT_RETRY), (69, EXIT_RETRY), (1, EXIT_RETRY), (64, EXIT_RETRY),
                             (67, EXIT_PERMANENT), (68, EXIT_PERMANENT), (65, EXIT_PERMANENT)):
            with self.subTest(status):
                (self.dir / "status").write_text(str(status))
                self.assert_exit(want, "invitation-mail", invitation(), **self.settings)


class Skeleton(HandlerCase):
    def test_says(self):
        """skeleton: says what it was given"""
        self.need("jq")
        for event, want in ((session(), "Mira Lindqvist"), (invitation(), "Mira Lindqvist"),
                            (session(candidate={"name": "a\nb"}), "a b"), ({"event": "x"}, "somebody")):
            with self.subTest(want):
                self.assert_exit(0, "skeleton", event)
                self.assertEqual(self.last.stdout.decode(), f"session.completed, attempt 1, about {want}\n")


if __name__ == "__main__":
    tap.main()
