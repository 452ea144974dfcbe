#!/usr/bin/env python3
"""What the management API tells of the whole: lists of deliveries, counts, searches, refusals."""

import datetime
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import seed  # noqa: E402
import tap  # noqa: E402
import test_api  # noqa: E402


class EventTypes(test_api.ApiTest):
    def test_types(self):
        """each documented event with a sample that the program itself takes"""
        self.start()
        types = self.call("GET", "/v1/event-types", key=self.make_key(scope="read"), status=200).json["data"]
        self.assertEqual([t["name"] for t in types],
                         ["interview.created", "interview.updated", "interview.deleted", "session.started", "session.completed",
                          "session.abandoned", "candidate.invited", "candidate.reminded", "candidate.updated", "result.completed"])
        for kind in types:
            self.assertEqual(kind["sample"]["event"], kind["name"])
            self.assertTrue(kind["sample"]["data"] and kind["description"].endswith("."))
            self.assertEqual(self.program.call(json.dumps(kind["sample"]).encode()).status, 200)


class Deliveries(test_api.ApiTest):
    def rows(self, query="", **how):
        page = self.call("GET", "/v1/deliveries", query=query, status=200, **how).json
        self.assertFalse(page["has_more"])
        self.assertIsNone(page["searched_until"])
        return page["data"]

    def mixed(self):
        """A delivery in each state, and one to a webhook."""
        site = self.start(handlers={name: "exit 0" for name in ("all/ok", "all/no", "all/later", "all/off", "all/busy")})
        self.hook = self.create(active=False)["id"]
        self.receive()
        self.receive(name="other.event")
        site.dispatch_once()
        self.call("POST", f"/v1/webhooks/{self.hook}/recover", {"since": "2026-01-01T00:00:00Z"}, status=202)
        states = {"all/ok": "success", "all/no": "failed", "all/later": "pending", "all/off": "canceled", "all/busy": "running", self.hook: "pending"}
        for name, state in states.items():
            self.change("UPDATE delivery SET state = ?, error_code = iif(? = 'failed', 'permanent', '')"
                        " WHERE event_seq = 1 AND target = (SELECT id FROM target WHERE name = ?)", state, state, name)
        self.change("UPDATE delivery SET due_ms = 1800000000000 WHERE state = 'pending' AND target = (SELECT id FROM target WHERE name = 'all/later')")
        self.change("DELETE FROM delivery WHERE event_seq = 2 AND target <> (SELECT id FROM target WHERE name = 'all/ok')")
        self.change("UPDATE target SET held = 'not executable' WHERE name IN ('all/later', 'all/ok')")
        return states

    def test_list(self):
        """all of them, newest first, with what is known of each; narrowed by each filter"""
        states = self.mixed()
        rows = self.rows()
        self.assertEqual({r["webhook"]: r["status"] for r in rows if r["event"] == "session.completed"}, states)
        self.assertEqual([r["id"] for r in rows], sorted((r["id"] for r in rows), reverse=True))
        later, = [r for r in rows if r["webhook"] == "all/later"]
        first = self.call("GET", "/v1/events", query="event=session.completed").json["data"][0]["id"]
        self.assertEqual((later["next_attempt_at"], later["held"], later["attempts"], later["kind"], later["event_id"], later["test"]),
                         ("2027-01-15T08:00:00.000Z", "not executable", 1, "handler", first, False))
        hook, = [r for r in rows if r["webhook"] == self.hook]
        self.assertEqual((hook["kind"], hook["held"]), ("webhook", None))
        failed, = self.rows("status=failed")
        self.assertEqual((failed["webhook"], failed["error_code"], failed["next_attempt_at"]), ("all/no", "permanent", None))
        for query, names in (
                ("status=waiting", ["all/busy", "all/later", self.hook]), ("status=pending", ["all/later", self.hook]), ("status=running", ["all/busy"]),
                ("status=success", ["all/ok", "all/ok"]), ("status=canceled", ["all/off"]), ("event=other.event", ["all/ok"]), ("event=no.event", []),
                (f"webhook={self.hook}", [self.hook]), ("webhook=all/ok", ["all/ok", "all/ok"]), ("webhook=all/x", []),
                ("webhook=all/ok&event=session.completed&status=success", ["all/ok"]), (f"event_id={first}", list(states)), ("event_id=evt_0", []),
                (f"event_id={first}&status=waiting", ["all/busy", "all/later", self.hook]), ("since=2100-01-01T00:00:00Z", []),
                ("until=2000-01-01T00:00:00Z", []), ("since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&status=failed", ["all/no"])):
            with self.subTest(query):
                self.assertEqual(sorted(r["webhook"] for r in self.rows(query)), sorted(names))

    def test_pages(self):
        """every row comes once, newest first, also where rows are added and change between the pages"""
        self.mixed()
        whole = [r["id"] for r in self.rows()]
        for limit in (1, 2, 6, 7, 8):
            with self.subTest(f"limit {limit}"):
                self.assertEqual([r["id"] for r in self.pages("/v1/deliveries", limit)], whole)
        event_id = self.rows()[-1]["event_id"]
        of_event = [r["id"] for r in self.rows() if r["event_id"] == event_id]
        self.assertEqual(len(of_event), 6)
        self.assertEqual([r["id"] for r in self.pages("/v1/deliveries", 2, event_id=event_id)], of_event)
        first = self.call("GET", "/v1/deliveries", query="limit=3").json
        self.assertEqual(first["searched_until"], first["data"][-1]["created_at"])
        self.receive(3)
        self.site.dispatch_once()
        rest = self.call("GET", "/v1/deliveries", query={"cursor": first["next_cursor"]}).json
        self.assertEqual([r["id"] for r in first["data"] + rest["data"]], whole)
        for query, names in (("status=done", ["status"]), ("cursor=e1", ["cursor"]), ("cursor=d0", ["cursor"]), ("cursor=d", ["cursor"]), ("webhook=", ["webhook"]),
                             ("event=A", ["event"]), ("event_id=" + "x" * 32, ["event_id"]), ("since=1h", ["since"]), ("limit=251&x=1", ["limit", "x"])):
            with self.subTest(query):
                self.assertEqual(self.wrong("GET", "/v1/deliveries", query=query), names)

    def test_organisations(self):
        """handlers' deliveries are for all to see, a webhook's for its organisation"""
        states = self.mixed()
        other = self.make_key(org="other", scope="read")
        self.assertEqual({r["webhook"] for r in self.rows(key=other)}, set(states) - {self.hook})
        self.assertEqual(self.rows(f"webhook={self.hook}", key=other), [])
        self.assertEqual([r["webhook"] for r in self.rows("status=pending", key=other)], ["all/later"])

    def test_cancel(self):
        """what waits is given up, and comes back with a retry; nothing else can be canceled"""
        self.mixed()
        ids = {r["webhook"]: r["id"] for r in self.rows() if r["event"] == "session.completed"}
        answer = self.call("POST", f"/v1/deliveries/{ids['all/later']}/cancel", status=200).json
        self.assertEqual((answer["id"], answer["status"], answer["next_attempt_at"]), (ids["all/later"], "canceled", None))
        for name in ("all/later", "all/ok", "all/no", "all/off", "all/busy"):
            with self.subTest(name):
                self.refused(409, "conflict", "POST", f"/v1/deliveries/{ids[name]}/cancel")
        other, read = self.make_key(org="other"), self.make_key(scope="read")
        path = f"/v1/deliveries/{ids[self.hook]}/cancel"
        self.refused(404, "not_found", "POST", path, key=other)
        self.refused(403, "forbidden", "POST", path, key=read)
        self.refused(404, "not_found", "POST", "/v1/deliveries/dlv_0/cancel")
        self.assertEqual(self.wrong("POST", path, {"x": 1}), ["x"])
        self.call("POST", path, {}, status=200)
        self.assertEqual([r["webhook"] for r in self.rows("status=waiting")], ["all/busy"])
        self.assertEqual(self.call("POST", path.replace("cancel", "retry"), status=202).json["status"], "pending")

    def test_many(self):
        """what is rare among many is found, in steps where it takes long; a time of long ago at once"""
        self.start()
        old = seed.now_ms() - 20 * seed.DAY_MS
        seed.backlog(self.site, 40_000, "all/x", state="success", attempt=1, received_ms=old)
        self.change("UPDATE delivery SET state = 'failed' WHERE seq = 7")
        self.change("UPDATE delivery SET state = 'pending' WHERE seq = 8")
        self.change("UPDATE event SET event = 'rare.event' WHERE seq = 9")
        for n, query in ((7, {"status": "failed"}), (8, {"status": "waiting"}), (8, {"status": "pending"}), (9, {"event": "rare.event"})):
            with self.subTest(str(query)):
                row, = self.found(query)
                self.assertEqual(row["event_id"], f"evt_{n:026}")
        seed.backlog(self.site, 20_000, "all/x", state="success", attempt=1)
        since = datetime.datetime.fromtimestamp(old / 1000 + 1, datetime.timezone.utc).isoformat()
        page = self.call("GET", "/v1/deliveries", query={"until": since, "limit": 1}, status=200).json
        self.assertEqual(page["data"][0]["event_id"], f"evt_{40_000:026}")
        self.assertEqual(len(self.found({"since": since, "limit": 250})), 20_000)

    def found(self, query):
        """All rows, page by page; a page may be short."""
        rows, more = [], {}
        while True:
            page = self.call("GET", "/v1/deliveries", query={**query, **more}, status=200).json
            rows += page["data"]
            self.assertEqual(page["has_more"], page["searched_until"] is not None)
            if not page["has_more"]:
                return rows
            more = {"cursor": page["next_cursor"]}


if __name__ == "__main__":
    tap.main()
