"""ntrvsta templates and ntrvsta invite: what each does, each refusal, and that it is the same as over the API."""

import json
import os
import re
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import ntrvsta
import tap
from test_cli import UNSAFE, Case, sql, tool

BASE = "https://interviews.example.org/i"
OFF = {"dispatch": {"start": "off"}, "invitations": {"base_url": BASE}}
TEMPLATE = "tpl_01kb2x3y4z5a6b7c8d9e0f1g2h"  # nobody's
ID = "[0-9a-hjkmnp-tv-z]{26}"
DAY_MS = 24 * 3600 * 1000
MIRA = "mira@example.org"


class InviteCase(Case):
    def template(self, site, *args, title="Database Engineer"):
        return site.tool("templates", "create", "--title", title, "--json", *args)

    def invite(self, site, template, *args, email=MIRA):
        return site.tool("invite", "--template", template, "--email", email, "--json", *args)

    def published(self, site):
        return [(org, json.loads(body)) for org, body in site.query("SELECT org, body FROM event ORDER BY seq")]


class Usage(InviteCase):
    def test_templates(self):
        """templates, wrong usage: exit 2, a word of what is wrong, whatever the configuration"""
        for args, pattern in (
            (["frob"], "wants 'list' or 'create'"),
            (["list", "x"], "wants 'list' or 'create'"),
            (["create", "x", "--title", "t"], "wants 'list' or 'create'"),
            (["create"], "create wants --title"),
            (["list", "--title", "t"], "only --org is for list"),
            (["--expires", "3d"], "only --org is for list"),
            (["list", "--org", "a b"], "--org wants 1 to 64 of"),
            (["create", "--title", "t", "--org", ""], "--org wants 1 to 64 of"),
            (["create", "--title", "t", "--org", "x" * 65], "--org wants 1 to 64 of"),
            (["create", "--title", ""], "--title wants one line of 1 to 200 bytes"),
            (["create", "--title", "x" * 201], "--title wants one line"),
            (["create", "--title", "a\nb"], "--title wants one line"),
            (["create", "--title", b"a\xff"], "--title wants one line"),
            (["create", "--title", "t", "--external-posting-id", ""], "--external-posting-id wants one line of 1 to 200"),
            (["create", "--title", "t", "--description", "x" * 2001], "--description wants 2000 bytes at most"),
            *((["create", "--title", "t", "--expires", wrong], "--expires wants whole days, from 1d to 365d")
              for wrong in ("0", "soon", "12h", "36h", "366d", "-1d", "")),
            (["create", "--titel", "t"], "unknown option --titel; did you mean --title"),
        ):
            with self.subTest(str(args)[:60]):
                self.fails(tool("templates", *args), pattern, 2)

    def test_invite(self):
        """invite, wrong usage: exit 2, a word of what is wrong, whatever the configuration"""
        good = ["--template", TEMPLATE, "--email", MIRA]
        for args, pattern in (
            ([], "wants --template and --email"),
            (good[:2], "wants --template and --email"),
            (good[2:], "wants --template and --email"),
            ([*good, "x"], "takes no operand, such as 'x'"),
            *(([*good[:2], "--email", wrong], "--email wants an address such as name@example.com")
              for wrong in ("", "mira", "a@b@c", "a b@c.org", "<a@b.org>", "a@b.org\nBcc: c@d.org", "j\u00f6rg@example.org")),
            ([*good, "--name", "a\nb"], "--name wants one line"),
            ([*good, "--first-name", "x" * 201], "--first-name wants one line of 0 to 200 bytes"),
            ([*good, "--last-name", b"\xff"], "--last-name wants one line"),
            ([*good, "--external-id", ""], "--external-id wants one line of 1 to 200 bytes"),
            ([*good, "--nmae", "x"], "unknown option --nmae; did you mean --name"),
        ):
            with self.subTest(str(args)[:60]):
                done = tool("invite", *args)
                self.fails(done, pattern, 2)
                self.assertNotRegex(done.stderr, UNSAFE)

    def test_unknown(self):
        """a template that nobody has: exit 1, and where to look"""
        site = self.site(OFF)
        for template in (TEMPLATE, "x", ""):
            with self.subTest(template):
                done = site.tool("invite", "--template", template, "--email", MIRA, check=False)
                self.fails(done, f"no template {template}: see 'ntrvsta templates list'")

    def test_no_page(self):
        """without [invitations] base_url nobody is invited, and the message names it and the file"""
        site = self.site({"dispatch": {"start": "off"}})
        template = self.template(site)["id"]
        done = site.tool("invite", "--template", template, "--email", MIRA, check=False)
        self.fails(done, re.escape(f"{site.conf}: [invitations] base_url is not set"))
        self.assertEqual(site.query("SELECT count(*) FROM invitation"), [(0,)])


class Templates(InviteCase):
    def test_life(self):
        """made, listed by organisation; the same posting is the same one, as it was"""
        site = self.site(OFF)
        self.assertEqual(site.tool("templates", "--json"), {"data": [], "has_more": False})
        self.assertIn("No template. 'ntrvsta templates create --title T' makes one.", site.tool("templates").stdout)
        plain = self.template(site)
        self.assertRegex(plain["id"], rf"\Atpl_{ID}\Z")
        self.assertEqual({k: v for k, v in plain.items() if k not in ("id", "createdAt")}, {
            "title": "Database Engineer", "description": None, "externalPostingId": None, "inviteUrlExpiresInDays": 30, "org": "default",
            "reused": False})
        whole = self.template(site, "--description", "a\nb", "--external-posting-id", "job-7", "--expires", "336h", "--org", "acme")
        self.assertEqual([whole[k] for k in ("description", "externalPostingId", "inviteUrlExpiresInDays", "org")], ["a\nb", "job-7", 14, "acme"])
        again = self.template(site, "--external-posting-id", "job-7", "--org", "acme", title="Another")
        self.assertEqual(again, {**whole, "reused": True})
        rows = [{k: v for k, v in t.items() if k != "reused"} for t in (whole, plain)]
        self.assertEqual(site.tool("templates", "list", "--json")["data"], rows)
        self.assertEqual(site.tool("templates", "--org", "acme", "--json")["data"], rows[:1])
        self.assertEqual(site.tool("templates", "--org", "nobody", "--json")["data"], [])

    def test_people(self):
        """what people read of them"""
        site = self.site(OFF)
        made = site.tool("templates", "create", "--title", "Engineer \u00e4", "--external-posting-id", "job-7", "--expires", "1d").stdout
        ident = re.match(rf"tpl_{ID}", made).group()
        self.assertEqual(made, f"{ident} is the new template of organisation default: Engineer \u00e4, whose invitations hold 1 day.\n")
        again = site.tool("templates", "create", "--title", "x", "--external-posting-id", "job-7").stdout
        self.assertEqual(again, f"{ident} is there already, a template of organisation default: Engineer \u00e4, whose invitations hold 1 day.\n")
        head, row = site.tool("templates").stdout.splitlines()
        self.assertEqual(head.split(), ["ID", "ORGANISATION", "TITLE", "POSTING", "HOLDS", "CREATED"])
        self.assertRegex(row, rf"\A{ident}  default       Engineer \u00e4  job-7    1d     20\d\d-")

    def test_odd_text(self):
        """a description of any bytes becomes text, and what is printed is safe"""
        site = self.site(OFF)
        self.assertEqual(self.template(site, "--description", b"a\xff\x1b[2J")["description"], "a\ufffd\x1b[2J")
        sql(site, "UPDATE template SET title = 'a' || char(27) || '[2J' || char(8238)")
        self.assertNotRegex(site.tool("templates").stdout, UNSAFE)


class Invitations(InviteCase):
    def test_life(self):
        """made once, with its event; found again whatever else is said"""
        site = self.site(OFF)
        template = self.template(site, "--org", "acme", "--external-posting-id", "job-7", "--expires", "7d")["id"]
        made = self.invite(site, template, "--first-name", "Mira", "--last-name", "Lindqvist", "--external-id", "A-7", email="Mira@Example.org")
        self.assertRegex(made["id"], rf"\Ainv_{ID}\Z")
        self.assertRegex(made["inviteUrl"], r"\A" + re.escape(BASE) + r"/[0-9A-Za-z]{22}\Z")
        self.assertEqual({k: v for k, v in made["candidate"].items() if k != "id"}, {
            "email": MIRA, "name": "Mira Lindqvist", "firstName": "Mira", "lastName": "Lindqvist", "externalId": "A-7"})
        self.assertEqual((made["templateId"], made["org"], made["reused"]), (template, "acme", False))
        self.assertEqual(site.query("SELECT expires_ms - created_ms FROM invitation"), [(7 * DAY_MS,)])
        [(org, body)] = self.published(site)
        self.assertEqual((org, body["event"], body["timestamp"]), ("acme", "candidate.invited", made["createdAt"]))
        self.assertEqual(body["data"]["candidate"], {"id": made["candidate"]["id"], "email": MIRA, "name": "Mira Lindqvist", "external_id": "A-7"})
        self.assertEqual(body["data"]["invitation"]["invite_url"], made["inviteUrl"])
        self.assertEqual(self.invite(site, template, "--name", "Somebody Else"), {**made, "reused": True})
        self.assertEqual(len(self.published(site)), 1)
        sql(site, f"UPDATE invitation SET expires_ms = {int(time.time() * 1000)}")
        again = self.invite(site, template, "--name", "Mira L.")
        self.assertNotEqual(again["id"], made["id"])
        self.assertEqual((again["reused"], again["candidate"]["id"], again["candidate"]["name"]), (False, made["candidate"]["id"], "Mira L."))
        self.assertEqual(len(self.published(site)), 2)

    def test_people(self):
        """what people read: for whom, until when, the link"""
        site = self.site(OFF)
        template = self.template(site)["id"]
        for said in ("is invited", "was invited before"):
            done = site.tool("invite", "--template", template, "--email", MIRA)
            self.assertRegex(done.stdout, rf"\Amira@example.org {said}: Database Engineer, until 20\d\d-\d\d-\d\d [\d:]{{8}} \(inv_{ID}\)\n\n"
                             rf"  {re.escape(BASE)}/[0-9A-Za-z]{{22}}\n\Z")
            self.assertEqual("no dispatcher runs" in done.stderr, said == "is invited")

    def test_delivered(self):
        """the event is delivered by a dispatcher that the command starts"""
        site = self.site({"invitations": {"base_url": BASE}}, handlers={"candidate.invited": "cat > $OUT/new; mv $OUT/new $OUT/event"})
        made = self.invite(site, self.template(site)["id"])
        self.assertEqual(json.loads(site.output("event"))["data"]["invitation"]["id"], made["id"])

    def test_at_once(self):
        """twenty processes at once: one invitation, one event"""
        site = self.site(OFF)
        template = self.template(site)["id"]
        children = [site.spawn([site.tool_path, "invite", "--template", template, "--email", MIRA, "--json"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=site.environment()) for _ in range(20)]
        answers = [json.loads(child.communicate(timeout=60)[0]) for child in children]
        self.assertEqual([child.returncode for child in children], [0] * 20)
        self.assertEqual(sorted(a.pop("reused") for a in answers), [False] + [True] * 19)
        self.assertEqual([a for a in answers if a != answers[0]], [])
        self.assertEqual(len(self.published(site)), 1)

    def test_api(self):
        """what the tool makes and what the API makes is the same"""
        site = self.site(OFF)
        key = site.tool("keys", "create", "--org", "default", "--scope", "write", "--json")["key"]
        template = self.template(site)
        made = self.invite(site, template["id"], "--name", "Mira")

        def call(method, path, body=None):
            body = json.dumps(body).encode() if body else b""
            return site.cgi(body, method=method, path=path, signature=None, headers={"X-Ntrvsta-Api-Key": key})
        for row, path in ((template, "templates"), (made, "interview-invitations")):
            shown = {k: v for k, v in row.items() if k not in ("org", "reused")}
            self.assertEqual(call("GET", f"/v1/{path}/{row['id']}").json, shown)
            self.assertEqual(call("GET", f"/v1/{path}").json["data"], [shown])
        again = call("POST", "/v1/interview-invitations", {"templateId": template["id"], "email": MIRA})
        self.assertEqual((again.status, again.json["id"]), (200, made["id"]))
        other = call("POST", "/v1/interview-invitations", {"templateId": template["id"], "email": "max@example.org"})
        self.assertEqual((other.status, self.invite(site, template["id"], email="max@example.org")["id"]), (201, other.json["id"]))


class Documentation(InviteCase):
    def test_integrations(self):
        """the section of doc/integrations.md, line by line"""
        text = ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, "doc", "integrations.md")).decode()
        text = re.search(r"(?ms)^## Invite$(.*?)^## ", text).group(1)
        base = re.search(r"(?m)^base_url = (.*)$", text).group(1)
        site = self.site({"dispatch": {"start": "off"}, "invitations": {"base_url": base}})
        key = site.tool("keys", "create", "--org", "default", "--scope", "write", "--json")["key"]
        made, ident = [], None
        for line in re.findall(r"(?m)^    ntrvsta (.*)$", text):
            made.append(site.tool(*shlex.split(line.replace("tpl_...", str(ident))), "--json")["id"])
            ident = ident or made[0]
        for body, path in re.findall(r"-d '([^']*)'[\\\s]*https://YOUR-HOST/webhooks(\S+)", text):
            answer = site.cgi(body.replace("tpl_...", ident).encode(), path=path, signature=None, headers={"X-Ntrvsta-Api-Key": key})
            self.assertEqual((answer.status, answer.json["id"]), (200, made.pop(0)), answer)
        self.assertEqual(made, [])


if __name__ == "__main__":
    tap.main()
