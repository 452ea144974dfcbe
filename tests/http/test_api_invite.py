#!/usr/bin/env python3
"""Templates and invitations over the management API. Every answer is held to doc/openapi.yaml."""

import json
import os
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ntrvsta  # noqa: E402
import tap  # noqa: E402
import test_api  # noqa: E402
from ntrvsta import wait_for  # noqa: E402

BASE = "https://interviews.example.org/i"
PAGE = {"invitations": {"base_url": BASE}}
TEMPLATES, INVITATIONS = "/v1/templates", "/v1/interview-invitations"
TEMPLATE = {"title": "Database Engineer"}
MIRA = {"email": "mira@example.org", "firstName": "Mira", "lastName": "Lindqvist", "externalId": "A-7"}
DAY_MS = 24 * 3600 * 1000
NONE_OF = {TEMPLATES: f"tpl_{0:026}", INVITATIONS: f"inv_{0:026}"}


class InviteTest(test_api.ApiTest):
    def start(self, settings=None, **how):
        return super().start({**PAGE, **(settings or {})}, **how)

    def template(self, status=201, key=None, **fields):
        return self.call("POST", TEMPLATES, {**TEMPLATE, **fields}, key=key, status=status).json

    def invite(self, template, status=201, key=None, **candidate):
        body = {"templateId": template, "candidate": {"email": "mira@example.org", **candidate}}
        return self.call("POST", INVITATIONS, body, key=key, status=status).json

    def published(self):
        """Of each event that was published: whose it is, and its body."""
        return [(org, json.loads(body)) for org, body in
                self.site.query("SELECT org, body FROM event WHERE event = 'candidate.invited' AND source = 'api' ORDER BY seq")]


class Templates(InviteTest):
    def test_life(self):
        """made, shown, listed; what is not said is null, and 30 days"""
        self.start()
        plain = self.template()
        self.assertRegex(plain["id"], r"\Atpl_" + test_api.ID + r"\Z")
        self.assertEqual([plain[k] for k in ("title", "description", "externalPostingId", "inviteUrlExpiresInDays")],
                         ["Database Engineer", None, None, 30])
        whole = self.template(description="two\nlines \u00e4", externalPostingId="job/7", inviteUrlExpiresInDays=1)
        self.assertEqual([whole[k] for k in ("description", "externalPostingId", "inviteUrlExpiresInDays")], ["two\nlines \u00e4", "job/7", 1])
        for made in (plain, whole):
            self.assertEqual(self.call("GET", f"{TEMPLATES}/{made['id']}", status=200).json, made)
        self.assertEqual(self.call("GET", TEMPLATES, status=200).json["data"], [whole, plain])

    def test_reuse(self):
        """the same posting is the same template, as it was; without one each is new"""
        self.start()
        first = self.template(externalPostingId="job-7")
        self.assertEqual(self.template(200, externalPostingId="job-7", title="Another", description="x", inviteUrlExpiresInDays=3), first)
        self.assertNotEqual(self.template(externalPostingId="job-8")["id"], first["id"])
        self.assertNotEqual(self.template()["id"], self.template()["id"])
        theirs = self.template(key=self.make_key(org="other"), externalPostingId="job-7")
        self.assertNotEqual(theirs["id"], first["id"])
        self.assertEqual(len(self.call("GET", TEMPLATES).json["data"]), 4)

    def test_fields(self):
        """each field: what it takes and what it doesn't; all that is wrong is named at once"""
        self.start()
        for fields, names in (
                ({"title": None}, ["title"]), ({"title": 1}, ["title"]), ({"title": ""}, ["title"]), ({"title": "x" * 201}, ["title"]),
                ({"title": "a\nb"}, ["title"]), ({"title": "a\u202eb"}, ["title"]), ({"description": 1}, ["description"]),
                ({"description": "x" * 2001}, ["description"]), ({"externalPostingId": ""}, ["externalPostingId"]),
                ({"externalPostingId": 7}, ["externalPostingId"]), ({"externalPostingId": "x" * 201}, ["externalPostingId"]),
                ({"externalPostingId": "\t"}, ["externalPostingId"]),
                *(({"inviteUrlExpiresInDays": days}, ["inviteUrlExpiresInDays"]) for days in (0, -1, 366, 1.5, "30", None, True)),
                ({"id": "tpl_1"}, ["id"]), ({"org": "other"}, ["org"]),
                ({"title": 1, "description": 2, "x": 3, "inviteUrlExpiresInDays": 0}, ["title", "description", "x", "inviteUrlExpiresInDays"])):
            with self.subTest(str(fields)[:80]):
                self.assertEqual(sorted(self.wrong("POST", TEMPLATES, {**TEMPLATE, **fields})), sorted(names))
        self.assertEqual(self.wrong("POST", TEMPLATES, {}), ["title"])
        self.assertEqual(self.wrong("POST", TEMPLATES), ["title"])
        self.assertEqual(self.wrong("POST", TEMPLATES, TEMPLATE, query="a=1"), ["a"])
        self.refused(400, "invalid_json", "POST", TEMPLATES, b"[]")
        self.refused(415, "unsupported_media_type", "POST", TEMPLATES, TEMPLATE, content_type="text/plain")
        self.assertEqual(self.call("GET", TEMPLATES).json["data"], [])
        for fields in ({"title": "x" * 200}, {"description": ""}, {"inviteUrlExpiresInDays": 365}, {"externalPostingId": "\u5c71" * 66}):
            with self.subTest(f"taken: {fields}"[:80]):
                self.template(**fields)


class Invitations(InviteTest):
    def test_life(self):
        """made, shown, listed; the event says the same, and is a whole one"""
        site = self.start()
        template = self.template(externalPostingId="job-7", inviteUrlExpiresInDays=7)["id"]
        before = time.time() * 1000
        made = self.invite(template, **{**MIRA, "email": "Mira@Example.ORG"})
        self.assertRegex(made["id"], r"\Ainv_" + test_api.ID + r"\Z")
        self.assertEqual(made["templateId"], template)
        candidate = made["candidate"]
        self.assertRegex(candidate["id"], r"\Acand_" + test_api.ID + r"\Z")
        self.assertEqual({k: v for k, v in candidate.items() if k != "id"}, {**MIRA, "name": "Mira Lindqvist"})
        self.assertRegex(made["inviteUrl"], r"\A" + re.escape(BASE) + r"/[0-9A-Za-z]{22}\Z")
        [(created, expires)] = site.query("SELECT created_ms, expires_ms FROM invitation")
        self.assertTrue(before - 1 <= created <= time.time() * 1000)
        self.assertEqual(expires - created, 7 * DAY_MS)
        self.assertEqual(self.call("GET", f"{INVITATIONS}/{made['id']}", status=200).json, made)
        self.assertEqual(self.call("GET", INVITATIONS, status=200).json["data"], [made])
        [(org, body)] = self.published()
        self.assertEqual((org, body["event"], body["timestamp"]), ("acme", "candidate.invited", made["createdAt"]))
        self.assertEqual(body["data"], {
            "candidate": {"id": candidate["id"], "email": "mira@example.org", "name": "Mira Lindqvist", "external_id": "A-7"},
            "interview": {"title": "Database Engineer"},
            "invitation": {"id": made["id"], "template_id": template, "external_posting_id": "job-7", "invite_url": made["inviteUrl"],
                           "invited_at": made["createdAt"], "expires_at": made["expiresAt"]}})

    def test_sample(self):
        """what is published has the members of the documented sample, and few more"""
        site = self.start()
        self.invite(self.template()["id"], name="Mira")
        out = os.path.join(site.out, "sample")
        site.handler("candidate.invited", f"cat > {out}.new; mv {out}.new {out}")
        site.start_dispatcher()
        live = json.loads(site.output("sample"))
        os.unlink(out)
        site.tool("test", "candidate.invited", "candidate.invited")
        sample = json.loads(site.output("sample"))

        def names(data):
            return {f"{outer}.{inner}" for outer, members in data.items() for inner in members}
        self.assertEqual(names(sample["data"]) - names(live["data"]), {"interview.id"})
        self.assertEqual(names(live["data"]) - names(sample["data"]), set())

    def test_reuse(self):
        """the same template and address is the same invitation, as it was, without another event"""
        self.start()
        template, another = self.template()["id"], self.template()["id"]
        first = self.invite(template, **MIRA)
        for email in ("mira@example.org", "MIRA@EXAMPLE.ORG", "Mira@example.org"):
            self.assertEqual(self.invite(template, 200, email=email, name="Somebody Else", externalId="B-9"), first)
        self.assertEqual(len(self.published()), 1)
        second = self.invite(another)
        self.assertNotEqual((second["id"], second["inviteUrl"]), (first["id"], first["inviteUrl"]))
        self.assertEqual(second["candidate"]["id"], first["candidate"]["id"])
        third = self.invite(template, email="max@example.org")
        self.assertNotEqual(third["candidate"]["id"], first["candidate"]["id"])
        self.assertEqual(len({i["inviteUrl"] for i in (first, second, third)}), 3)
        self.assertEqual(len(self.published()), 3)

    def test_expiry(self):
        """one that has expired is not found again: a new one is made, of the same candidate"""
        self.start()
        template = self.template()["id"]
        first = self.invite(template)
        self.change("UPDATE invitation SET expires_ms = ?", int(time.time() * 1000) + 60000)
        self.assertEqual(self.invite(template, 200)["id"], first["id"])
        self.change("UPDATE invitation SET expires_ms = ?", int(time.time() * 1000))
        second = self.invite(template)
        self.assertNotEqual((second["id"], second["inviteUrl"]), (first["id"], first["inviteUrl"]))
        self.assertEqual(second["candidate"]["id"], first["candidate"]["id"])
        self.assertEqual(self.invite(template, 200)["id"], second["id"])
        self.assertEqual(len(self.published()), 2)
        self.assertEqual(self.call("GET", f"{INVITATIONS}/{first['id']}", status=200).json["inviteUrl"], first["inviteUrl"])

    def test_names(self):
        """a name is what is said, else its parts"""
        self.start()
        template = self.template()["id"]
        for n, (said, name) in enumerate((
                ({}, None), ({"name": "Mira L."}, "Mira L."), ({"firstName": "Mira"}, "Mira"), ({"lastName": "Lindqvist"}, "Lindqvist"),
                ({"firstName": "Mira", "lastName": "Lindqvist"}, "Mira Lindqvist"), ({"name": "", "firstName": "Mira", "lastName": ""}, "Mira"),
                ({"firstName": "Mira", "name": "M. Lindqvist \u00e9\u5c71"}, "M. Lindqvist \u00e9\u5c71"))):
            with self.subTest(str(said)):
                candidate = self.invite(template, email=f"c{n}@example.org", **said)["candidate"]
                self.assertEqual((candidate["name"], candidate["firstName"], candidate["lastName"]),
                                 (name, said.get("firstName") or None, said.get("lastName") or None))
                self.assertEqual(self.published()[-1][1]["data"]["candidate"]["name"], name)

    def test_legacy(self):
        """the older forms come to the same"""
        self.start()
        nested = {"email": "mira@example.org", "name": "M. Lindqvist", "firstName": "Mira", "lastName": "Lindqvist"}
        prefixed = {f"candidate{name[0].upper()}{name[1:]}": value for name, value in nested.items()}
        mixed = {"email": nested["email"], **{name: value for name, value in prefixed.items() if name != "candidateEmail"}}
        for n, said in enumerate((nested, prefixed, {**nested, **prefixed}, mixed)):
            with self.subTest(n):
                template = self.template()["id"]
                made = self.call("POST", INVITATIONS, {"templateId": template, **said}, status=201).json
                self.assertEqual({k: made["candidate"][k] for k in nested}, nested)
                self.assertEqual(self.invite(template, 200), made)
        made = self.call("POST", INVITATIONS, {"templateId": self.template()["id"], "candidateEmail": "A@b.org"}, status=201).json
        self.assertEqual((made["candidate"]["email"], made["candidate"]["name"]), ("a@b.org", None))

    def test_fields(self):
        """each field: what it takes and what it doesn't, whichever way it is said"""
        self.start()
        template = self.template()["id"]

        def wrong(**fields):
            return sorted(self.wrong("POST", INVITATIONS, {"templateId": template, **fields}))
        for email in ("", "a", "@b", "a@", "a@b@c", "a b@c.org", "a@b.org ", "a@b.org\n", "a\r\nBcc: x@y.org",
                      "a@b.org,c@d.org", "<a@b.org>", "a@b..org", "j\u00f6rg@example.org", "a@\u00fc.org", "x" * 65 + "@b.org", "a@" + "b" * 253, None, 7, ["a@b.org"], {}):
            with self.subTest(f"email {email!r}"[:60]):
                self.assertEqual(wrong(candidate={"email": email}), ["candidate.email"])
                self.assertEqual(wrong(candidateEmail=email), ["candidateEmail"])
                self.assertEqual(wrong(email=email), ["email"])
        for name in ("firstName", "lastName", "name"):
            for value in (1, None, "x" * 201, "a\nb", "a\x1b[2J", "a\u202eb"):
                with self.subTest(f"{name} {value!r}"[:60]):
                    self.assertEqual(wrong(candidate={"email": "a@b.org", name: value}), [f"candidate.{name}"])
                    self.assertEqual(wrong(email="a@b.org", **{name: value}), [name])
                    prefixed = f"candidate{name[0].upper()}{name[1:]}"
                    self.assertEqual(wrong(email="a@b.org", **{prefixed: value}), [prefixed])
        for fields, names in (
                ({}, ["candidate"]), ({"name": "Mira"}, ["candidate"]), ({"candidate": {}}, ["candidate.email"]),
                ({"candidate": None}, ["candidate"]), ({"candidate": "a@b.org"}, ["candidate"]), ({"candidate": [{"email": "a@b.org"}]}, ["candidate"]),
                ({"candidate": {"email": "a@b.org", "externalId": ""}}, ["candidate.externalId"]),
                ({"candidate": {"email": "a@b.org", "externalId": 7}}, ["candidate.externalId"]),
                ({"candidate": {"email": "a@b.org", "x": 1, "id": "c"}}, ["candidate.id", "candidate.x"]),
                ({"candidate": {"email": "a@b.org"}, "email": "a@b.org"}, ["email"]),
                ({"candidate": {"email": "a@b.org"}, "candidateName": "A"}, ["candidateName"]),
                ({"email": "a@b.org", "candidateEmail": "c@b.org"}, ["email"]), ({"email": "a@b.org", "name": "A", "candidateName": "B"}, ["name"]),
                ({"email": "a@b.org", "externalId": "x"}, ["externalId"]), ({"email": "a@b.org", "templateId": ""}, ["templateId"]),
                ({"email": "a@b.org", "templateId": 7}, ["templateId"]),
                ({"candidate": {"email": 1}, "templateId": 7, "y": 1}, ["candidate.email", "templateId", "y"])):
            with self.subTest(str(fields)):
                self.assertEqual(wrong(**fields), names)
        self.assertEqual(self.wrong("POST", INVITATIONS), ["templateId"])
        self.assertEqual(self.wrong("POST", INVITATIONS, {"templateId": template, "email": "a@b.org"}, query="a=1"), ["a"])
        self.refused(400, "invalid_json", "POST", INVITATIONS, b"{")
        self.refused(415, "unsupported_media_type", "POST", INVITATIONS, {}, content_type="text/plain")
        self.assertEqual((self.call("GET", INVITATIONS).json["data"], self.published()), ([], []))

    def test_no_template(self):
        """a template that is nobody's or another organisation's is not found"""
        self.start()
        theirs = self.template(key=self.make_key(org="other"))["id"]
        for template in (NONE_OF[TEMPLATES], theirs, "x", "' OR 1=1 --"):
            with self.subTest(template):
                self.refused(404, "not_found", "POST", INVITATIONS, {"templateId": template, "candidate": {"email": "a@b.org"}})
        self.assertEqual(self.published(), [])

    def test_no_page(self):
        """without [invitations] base_url nobody can be invited, and the answer names it"""
        site = self.start()
        template = self.template()["id"]
        made = self.invite(template)
        site.configure({"invitations": {"base_url": ""}})
        wait_for(lambda: not self.call("GET", f"{INVITATIONS}/{made['id']}", status=200).json["inviteUrl"], what="the change is seen")
        self.assertIsNone(self.call("GET", INVITATIONS).json["data"][0]["inviteUrl"])
        for email in ("mira@example.org", "max@example.org"):
            answer = self.refused(409, "conflict", "POST", INVITATIONS, {"templateId": template, "candidate": {"email": email}})
            self.assertIn("[invitations] base_url", answer.json["detail"])
        site.configure({"invitations": {"base_url": "https://elsewhere.example.org/"}})
        wait_for(lambda: self.call("GET", f"{INVITATIONS}/{made['id']}").json["inviteUrl"], what="the change is seen")
        token = made["inviteUrl"].rpartition("/")[2]
        self.assertEqual(self.invite(template, 200)["inviteUrl"], f"https://elsewhere.example.org/{token}")
        self.assertEqual(len(self.published()), 1)

    def test_at_once(self):
        """twenty equal calls at once: one invitation, one event"""
        site = self.start(handlers={"candidate.invited": "exit 0"})
        template = self.template()["id"]
        answers = []

        def invite():
            answers.append(self.call("POST", INVITATIONS, {"templateId": template, "candidate": MIRA}))
        threads = [threading.Thread(target=invite) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(a.status for a in answers), [200] * 19 + [201])
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(len(self.published()), 1)
        site.dispatch_once()
        self.assertEqual(site.query("SELECT state FROM delivery"), [("success",)])

    def test_templates_at_once(self):
        """twenty equal calls at once: one template"""
        self.start()
        answers = []

        def make():
            answers.append(self.call("POST", TEMPLATES, {**TEMPLATE, "externalPostingId": "job-7"}))
        threads = [threading.Thread(target=make) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(a.status for a in answers), [200] * 19 + [201])
        self.assertEqual(len({a.body for a in answers}), 1)

    def test_together(self):
        """an event that can't be stored leaves no invitation behind"""
        self.start()
        template = self.template()["id"]
        self.change("CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no event'); END")
        self.refused(503, "store_unavailable", "POST", INVITATIONS, {"templateId": template, "candidate": MIRA})
        self.assertEqual(self.call("GET", INVITATIONS).json["data"], [])
        self.change("DROP TRIGGER refuse")
        self.invite(template)
        self.assertEqual(len(self.published()), 1)

    def test_idempotency(self):
        """with an Idempotency-Key: the first answer again, and one transaction with what it tells of"""
        self.start()
        template = self.template()["id"]
        whom = {"templateId": template, "candidate": MIRA}
        for n, (path, body) in enumerate(((TEMPLATES, TEMPLATE), (INVITATIONS, whom))):
            first, second = (self.call("POST", path, body, headers={"Idempotency-Key": f"k{n}"}, status=201) for _ in range(2))
            self.assertEqual(first.body, second.body)
            self.assertEqual([a.headers.get("idempotent-replayed") for a in (first, second)], [None, "true"])
        self.assertEqual((len(self.call("GET", TEMPLATES).json["data"]), len(self.published())), (2, 1))
        whom["candidate"] = {"email": "max@example.org"}
        self.change("CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no event'); END")
        self.call("POST", INVITATIONS, whom, headers={"Idempotency-Key": "k2"}, status=503)
        self.change("DROP TRIGGER refuse")
        self.assertEqual(len(self.call("GET", INVITATIONS).json["data"]), 1)
        self.call("POST", INVITATIONS, whom, headers={"Idempotency-Key": "k2"}, status=201)
        self.assertEqual((len(self.call("GET", INVITATIONS).json["data"]), len(self.published())), (2, 2))

    def test_delivered(self):
        """the event goes to handlers and to the organisation's webhooks, at once"""
        site = self.start(handlers={"candidate.invited": "cat > $OUT/new; mv $OUT/new $OUT/event"})
        theirs = self.make_key(org="other")
        mine = self.create(events=["candidate.invited"])["id"]
        self.call("POST", "/v1/webhooks", {**test_api.HOOK, "events": ["*"]}, key=theirs, status=201)
        site.start_dispatcher()
        made = self.invite(self.template()["id"])
        self.assertEqual(json.loads(site.output("event"))["data"]["invitation"]["id"], made["id"])
        self.assertEqual({t for t, in site.query("SELECT name FROM delivery JOIN target ON target.id = target")}, {"candidate.invited", mine})
        [row] = self.call("GET", "/v1/events").json["data"]
        self.assertEqual((row["event"], row["source"]), ("candidate.invited", "api"))
        self.assertEqual(self.call("GET", "/v1/events", key=theirs).json["data"], [])
        self.refused(404, "not_found", "GET", f"/v1/events/{row['id']}", key=theirs)

    def test_mail(self):
        """the example that sends a mail finds address, name and link"""
        if not shutil.which("jq"):
            self.skipTest("jq is not installed")
        site = self.start({"handlers": {"pass_env": "MAIL_FROM SENDMAIL"}})
        sendmail = site.handler("../sendmail", "cat > $OUT/new; mv $OUT/new $OUT/mail")
        source = ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, "handlers", "invitation-mail")).decode()
        site.handler("candidate.invited/10-mail", source)
        site.start_dispatcher({"MAIL_FROM": "hr@example.org", "SENDMAIL": sendmail})
        made = self.invite(self.template()["id"], **MIRA)
        mail = site.output("mail").decode()
        self.assertIn("To: mira@example.org\n", mail)
        self.assertIn("Hello Mira Lindqvist,\n", mail)
        self.assertIn(f"\n{made['inviteUrl']}\n", mail)


class Access(InviteTest):
    def test_scope(self):
        """a key that may read makes nothing"""
        self.start()
        read = self.make_key(scope="read")
        template = self.template()["id"]
        invitation = self.invite(template)["id"]
        self.refused(403, "forbidden", "POST", TEMPLATES, TEMPLATE, key=read)
        self.refused(403, "forbidden", "POST", INVITATIONS, {"templateId": template, "candidate": MIRA}, key=read)
        for path in (TEMPLATES, f"{TEMPLATES}/{template}", INVITATIONS, f"{INVITATIONS}/{invitation}"):
            self.call("GET", path, key=read, status=200)
            self.refused(401, "unauthorized", "GET", path, key=test_api.NOBODY)
            self.refused(405, "method_not_allowed", "DELETE", path)
        self.template(key=self.make_key(scope="admin"))

    def test_organisations(self):
        """an organisation sees nothing of another one's templates and invitations"""
        self.start()
        other = self.make_key(org="other")
        mine = self.template()["id"]
        theirs = self.template(key=other)["id"]
        invitation = self.invite(mine)
        self.assertEqual([t["id"] for t in self.call("GET", TEMPLATES, key=other).json["data"]], [theirs])
        self.refused(404, "not_found", "GET", f"{TEMPLATES}/{mine}", key=other)
        self.refused(404, "not_found", "GET", f"{INVITATIONS}/{invitation['id']}", key=other)
        for query in ({}, {"templateId": mine}, {"email": "mira@example.org"}):
            self.assertEqual(self.call("GET", INVITATIONS, key=other, query=query, status=200).json["data"], [])
        made = self.invite(theirs, key=other)
        self.assertNotEqual(made["candidate"]["id"], invitation["candidate"]["id"])
        self.assertEqual([org for org, _ in self.published()], ["acme", "other"])

    def test_unknown(self):
        """what is not there, and what is not asked so"""
        self.start()
        for path in (TEMPLATES, INVITATIONS):
            for ident in (NONE_OF[path], "x", "../webhooks", "%27"):
                with self.subTest(f"{path} {ident}"):
                    self.refused(404, "not_found", "GET", f"{path}/{ident}")
            for query, names in (("limit=0", ["limit"]), ("limit=251", ["limit"]), ("cursor=x", ["cursor"]), (f"cursor=evt_{0:026}", ["cursor"]),
                                 ("cursor=", ["cursor"]), ("x=1", ["x"])):
                with self.subTest(f"{path} {query}"):
                    self.assertEqual(self.wrong("GET", path, query=query), names)
            self.assertEqual(self.wrong("GET", f"{path}/{NONE_OF[path]}", query="x=1"), ["x"])
        self.assertEqual(self.wrong("GET", INVITATIONS, query="templateId=&email=x"), ["templateId", "email"])

    def test_lists(self):
        """page by page, also where rows are added meanwhile; narrowed by template and address"""
        self.start()
        templates = [self.template(title=str(n))["id"] for n in range(5)]
        made = [self.invite(templates[n % 2], email=f"c{n}@example.org") for n in range(7)]
        made.append(self.invite(templates[1], email="c0@example.org"))
        for path, ids in ((TEMPLATES, templates), (INVITATIONS, [i["id"] for i in made])):
            ids = ids[::-1]
            for limit in (1, 2, 3, len(ids), 250):
                with self.subTest(f"{path} limit {limit}"):
                    self.assertEqual([r["id"] for r in self.pages(path, limit)], ids)
            first = self.call("GET", path, query="limit=3").json
            self.template() if path == TEMPLATES else self.invite(templates[4])
            rest = self.call("GET", path, query={"cursor": first["next_cursor"]}).json
            self.assertEqual([r["id"] for r in first["data"] + rest["data"]], ids)
        for query, want in (({"templateId": templates[1]}, [7, 5, 3, 1]), ({"email": "c0@example.org"}, [7, 0]),
                            ({"email": "C0@EXAMPLE.org"}, [7, 0]), ({"email": "c0@example.org", "templateId": templates[0]}, [0]),
                            ({"templateId": templates[2]}, []), ({"email": "x@y.org"}, [])):
            with self.subTest(str(query)):
                self.assertEqual([r["id"] for r in self.pages(INVITATIONS, 3, **query)], [made[n]["id"] for n in want])


class Cgi(InviteTest):
    cgi = True

    def test_cgi(self):
        """as plain CGI: the same answers; an invitation starts a dispatcher"""
        site = self.start({"dispatch": {"start": "auto"}}, handlers={"candidate.invited": "cat > $OUT/new; mv $OUT/new $OUT/event"})
        template = self.template(externalPostingId="job-7")["id"]
        self.template(200, externalPostingId="job-7")
        self.assertEqual(self.wrong("POST", INVITATIONS, {"templateId": template}), ["candidate"])
        made = self.invite(template)
        self.assertEqual(self.invite(template, 200), made)
        self.assertEqual(self.call("GET", INVITATIONS, status=200).json["data"], [made])
        self.assertEqual(json.loads(site.output("event"))["data"]["invitation"]["invite_url"], made["inviteUrl"])


if __name__ == "__main__":
    tap.main()
