#!/usr/bin/env python3
"""What the management API tells of the whole: lists of deliveries, counts, searches, refusals."""

import datetime
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ntrvsta  # noqa: E402
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
        self.assertEqual({r["webhook_id"]: r["status"] for r in rows if r["event"] == "session.completed"}, states)
        self.assertEqual([r["id"] for r in rows], sorted((r["id"] for r in rows), reverse=True))
        later, = [r for r in rows if r["webhook_id"] == "all/later"]
        first = self.call("GET", "/v1/events", query="event=session.completed").json["data"][0]["id"]
        self.assertEqual((later["next_attempt_at"], later["held"], later["attempt_count"], later["kind"], later["event_id"], later["test"]),
                         ("2027-01-15T08:00:00.000Z", "not executable", 1, "handler", first, False))
        hook, = [r for r in rows if r["webhook_id"] == self.hook]
        self.assertEqual((hook["kind"], hook["held"]), ("webhook", None))
        failed, = self.rows("status=failed")
        self.assertEqual((failed["webhook_id"], failed["error_code"], failed["next_attempt_at"]), ("all/no", "permanent", None))
        for query, names in (
                ("status=waiting", ["all/busy", "all/later", self.hook]), ("status=pending", ["all/later", self.hook]), ("status=running", ["all/busy"]),
                ("status=success", ["all/ok", "all/ok"]), ("status=canceled", ["all/off"]), ("event=other.event", ["all/ok"]), ("event=no.event", []),
                (f"webhook={self.hook}", [self.hook]), ("webhook=all/ok", ["all/ok", "all/ok"]), ("webhook=all/x", []),
                ("webhook=all/ok&event=session.completed&status=success", ["all/ok"]), (f"event_id={first}", list(states)), ("event_id=evt_0", []),
                (f"event_id={first}&status=waiting", ["all/busy", "all/later", self.hook]), ("since=2100-01-01T00:00:00Z", []),
                ("until=2000-01-01T00:00:00Z", []), ("since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&status=failed", ["all/no"])):
            with self.subTest(query):
                self.assertEqual(sorted(r["webhook_id"] for r in self.rows(query)), sorted(names))

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
        self.assertEqual({r["webhook_id"] for r in self.rows(key=other)}, set(states) - {self.hook})
        self.assertEqual(self.rows(f"webhook={self.hook}", key=other), [])
        self.assertEqual([r["webhook_id"] for r in self.rows("status=pending", key=other)], ["all/later"])

    def test_cancel(self):
        """what waits is given up, and comes back with a retry; nothing else can be canceled"""
        self.mixed()
        ids = {r["webhook_id"]: r["id"] for r in self.rows() if r["event"] == "session.completed"}
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
        self.assertEqual([r["webhook_id"] for r in self.rows("status=waiting")], ["all/busy"])
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


RANGES = {"1h": (60, 60), "24h": (3600, 24), "7d": (3 * 3600, 56), "30d": (12 * 3600, 60)}


def when(text):
    return datetime.datetime.fromisoformat(text).timestamp()


class CountingTest(test_api.ApiTest):
    def check_buckets(self, shown, name):
        """Buckets that cover the range without a gap; the sums of their members."""
        seconds, count = RANGES[name]
        starts = [when(b["start"]) for b in shown["buckets"]]
        self.assertEqual((shown["bucket_seconds"], len(starts)), (seconds, count))
        self.assertEqual(starts, [starts[0] + i * seconds for i in range(count)])
        self.assertLess(0, starts[-1] + seconds + 1 - time.time())
        return {key: sum(b[key] for b in shown["buckets"]) for key in shown["buckets"][0] if key != "start"}


class Stats(CountingTest):
    def test_webhooks(self):
        """the list with stats: those of each webhook and handler, in steps of the range; without unless asked for"""
        site = self.start({"handlers": {"retry_schedule": "1h"}},
                          handlers={"all/ok": "exit 0", "all/no": "exit 100", "all/later": "exit 1", "other.event/idle": "exit 0"})
        hook = self.create(active=False)["id"]
        before = time.time()
        self.receive(3)
        site.dispatch_once()
        for name in (None, *RANGES):
            with self.subTest(name or "default"):
                rows = self.call("GET", "/v1/webhooks", query={"include": "stats", **({"timeRange": name} if name else {})}, status=200).json["data"]
                stats = {r["id"]: r["stats"] for r in rows}
                self.assertEqual(set(stats), {"all/ok", "all/no", "all/later", "other.event/idle", hook})
                self.assertEqual({k: (s["success_rate"], s["pending_deliveries"], s["failed_deliveries"]) for k, s in stats.items()},
                                 {"all/ok": (100, 0, 0), "all/no": (0, 0, 3), "all/later": (None, 3, 0), "other.event/idle": (None, 0, 0), hook: (None, 0, 0)})
                sums = {k: self.check_buckets(s, name or "24h") for k, s in stats.items()}
                self.assertEqual({k: (s["attempts"], s["failed_attempts"]) for k, s in sums.items()},
                                 {"all/ok": (3, 0), "all/no": (3, 3), "all/later": (3, 3), "other.event/idle": (0, 0), hook: (0, 0)})
                for ident, shown in stats.items():
                    if sums[ident]["attempts"]:
                        self.assertTrue(before - 0.01 <= when(shown["last_attempt_at"]) <= time.time() and shown["p95_ms"] >= 0)
                    else:
                        self.assertEqual((shown["last_attempt_at"], shown["p95_ms"]), (None, None))
        self.assertNotIn("stats", self.call("GET", "/v1/webhooks").json["data"][0])
        self.assertEqual([r["id"] for r in self.pages("/v1/webhooks", 2, include="stats", timeRange="7d")], [r["id"] for r in rows])
        for query, names in (("include=buckets", ["include"]), ("include=stats&timeRange=2h", ["timeRange"]), ("timeRange=24h", ["timeRange"])):
            with self.subTest(query):
                self.assertEqual(self.wrong("GET", "/v1/webhooks", query=query), names)

    def test_last_attempt(self):
        """the last attempt of long ago is known when its minute is not any more; a test is none"""
        site = self.start(handlers={"all/x": "exit 0"})
        self.receive()
        site.dispatch_once()
        for days in (0, 35, 300):
            for table in ("tally", "duration"):
                self.change(f"UPDATE {table} SET bucket_ms = bucket_ms - ?" + (", last_ms = last_ms - ?" if table == "tally" else ""),
                            *[days * seed.DAY_MS] * (2 if table == "tally" else 1))
            self.change("UPDATE target SET hours_until = max(0, hours_until - ?), days_until = max(0, days_until - ?)", *[days * seed.DAY_MS] * 2)
            last, = self.site.query("SELECT max(last_ms) FROM tally")[0]
            site.tool("prune")
            with self.subTest(f"{days} days ago"):
                shown = self.call("GET", "/v1/webhooks", query="include=stats").json["data"][0]["stats"]
                self.assertEqual(round(when(shown["last_attempt_at"]) * 1000), last)
        self.assertEqual(self.site.query("SELECT DISTINCT span FROM tally"), [(2,)])

    def test_buckets(self):
        """one webhook's stats with buckets, which are there only where they are asked for"""
        site = self.start(handlers={"all/x": "exit 0"})
        self.receive(2)
        site.dispatch_once()
        path = "/v1/webhooks/all/x/stats"
        for name in RANGES:
            with self.subTest(name):
                shown = self.call("GET", path, query={"timeRange": name, "include": "buckets"}, status=200).json
                self.assertEqual(self.check_buckets(shown, name), {"attempts": 2, "failed_attempts": 0})
                self.assertEqual(shown["buckets"][0]["start"], shown["from"])
        self.assertFalse({"buckets", "bucket_seconds"} & set(self.call("GET", path).json))
        self.assertEqual(self.wrong("GET", path, query="include=stats"), ["include"])


class Overview(CountingTest):
    def overview(self, name="24h", **how):
        shown = self.call("GET", "/v1/overview", query={"timeRange": name}, status=200, **how).json
        self.assertEqual(shown["buckets"][0]["start"], shown["from"])
        sums = self.check_buckets(shown, name)
        self.assertEqual(sums["events"], shown["events_received"])
        return {**shown, **sums}

    def numbers(self, **how):
        shown = self.overview(**how)
        return [shown[f"{key}_deliveries"] for key in ("total", "successful", "failed", "pending")]

    def test_numbers(self):
        """deliveries that ended and that wait, over all handlers, in each range"""
        site = self.start({"handlers": {"retry_schedule": "1h"}}, handlers={"all/ok": "exit 0", "all/no": "exit 100", "session.completed/later": "exit 1"})
        empty = self.overview()
        self.assertEqual((empty["events"], empty["total_deliveries"], empty["success_rate"], empty["p50_ms"], empty["p95_ms"], empty["oldest_waiting_at"]),
                         (0, 0, None, None, None, None))
        before = time.time()
        self.receive(3)
        self.receive(1, name="other.event")
        site.dispatch_once()
        for name in RANGES:
            with self.subTest(name):
                shown = self.overview(name)
                self.assertEqual((shown["events"], shown["attempts"], shown["failed_attempts"]), (4, 11, 7))
                self.assertEqual(self.numbers(), [11, 4, 4, 3])
                self.assertEqual(shown["success_rate"], 50)
                self.assertTrue(0 <= shown["p50_ms"] <= shown["p95_ms"])
                self.assertTrue(before - 0.01 <= when(shown["oldest_waiting_at"]) <= time.time())
        self.assertEqual(self.overview(key=self.make_key(scope="read"))["events"], 4)
        self.assertEqual(self.wrong("GET", "/v1/overview", query="timeRange=2h&include=x"), ["timeRange", "include"])

    def test_dispatcher(self):
        """whether a dispatcher runs; what it has not seen yet counts, and waits"""
        site = self.start(handlers={"all/x": "exit 0"})
        before = time.time()
        self.receive(2)
        shown = self.overview()
        self.assertEqual((shown["dispatcher_running"], shown["events"], shown["pending_deliveries"]), (False, 2, 0))
        self.assertTrue(before - 0.01 <= when(shown["oldest_waiting_at"]) <= time.time())
        site.start_dispatcher()
        ntrvsta.wait_for(lambda: self.numbers() == [2, 2, 0, 0], what="deliveries")
        shown = self.overview("1h")
        self.assertEqual((shown["dispatcher_running"], shown["events"], shown["oldest_waiting_at"]), (True, 2, None))

    def test_events(self):
        """each event counts once, where it came: no repeated call, no test, none that is replayed; also when it is gone"""
        site = self.start(handlers={"all/x": "exit 0"})
        old = seed.now_ms() - 10 * seed.DAY_MS
        seed.backlog(site, 50, received_ms=old)
        body = ntrvsta.event(n=1)
        for duplicate in (False, True):
            self.assertEqual(self.program.call(body).json["duplicate"], duplicate)
        self.assertEqual([self.overview(name)["events"] for name in RANGES], [1, 1, 1, 51])
        site.start_dispatcher()
        site.tool("test", "all/x", "session.completed")
        ntrvsta.wait_for(lambda: self.overview()["successful_deliveries"] == 51, what="deliveries")
        site.tool("events", "replay", site.stored()[50][0])
        self.assertEqual([self.overview(name)["events"] for name in RANGES], [1, 1, 1, 51])
        ntrvsta.wait_for(lambda: self.overview()["pending_deliveries"] == 0, what="the replay")
        bucket, = [b for b in self.overview("30d")["buckets"] if b["events"] == 50]
        self.assertTrue(0 <= old / 1000 - when(bucket["start"]) < 12 * 3600)
        site.configure({"store": {"retain_events": "1d"}})
        site.tool("prune")
        self.assertEqual(len(site.stored()), 2)
        self.assertEqual(self.overview("30d")["events"], 51)
        self.change("UPDATE arrival SET bucket_ms = bucket_ms - ?", 41 * seed.DAY_MS)
        site.tool("prune")
        self.assertEqual(site.query("SELECT count(*) FROM arrival"), [(0,)])

    def test_organisations(self):
        """an organisation's webhooks and events count for itself alone, handlers for all; a deleted webhook for nobody"""
        site = self.start(handlers={"all/x": "exit 0"})
        other = self.make_key(org="other")
        hook = self.create(active=False)["id"]
        self.receive(3)
        self.change("UPDATE event SET org = 'acme' WHERE seq = 2")
        self.change("UPDATE event SET org = 'other' WHERE seq = 3")
        for _ in range(2):
            self.assertEqual((self.overview()["events"], self.overview(key=other)["events"]), (2, 2))
            site.dispatch_once()
        self.change("INSERT INTO target (name) VALUES (?)", hook)
        self.change("INSERT INTO delivery (id, event_seq, target, state, created_ms, updated_ms)"
                    " SELECT 'dlv_1', 2, id, 'pending', 5, 5 FROM target WHERE name = ?", hook)
        self.change("INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts, failed)"
                    " SELECT id, 0, ?, 7, 6, 5 FROM target WHERE name = ?", seed.now_ms() // 60000 * 60000, hook)
        self.assertEqual(self.numbers(), [3 + 5 + 1, 3, 5, 1])
        self.assertEqual(self.overview()["attempts"], 3 + 7)
        self.assertEqual(self.numbers(key=other), [3, 3, 0, 0])
        self.assertEqual(self.overview(key=other)["attempts"], 3)
        self.call("DELETE", f"/v1/webhooks/{hook}", status=204)
        self.assertEqual(self.numbers(), [3, 3, 0, 0])


class Events(test_api.ApiTest):
    def find(self, query, **how):
        page = self.call("GET", "/v1/events", query=query, status=200, **how).json
        self.assertFalse(page["has_more"])
        self.assertIsNone(page["searched_until"])
        return [row["id"] for row in page["data"]]

    def test_search(self):
        """text in the id, the name or the body, whatever the case; nothing in it is a wildcard; other filters narrow it"""
        self.start()
        bodies = [ntrvsta.event("session.completed", session={"id": "sess_1", "note": "100% _done_ \\ x"}, candidate={"email": "Mira@Example.org"}),
                  ntrvsta.event("session.started", session={"id": "sess_1"}, who="Zoë", odd="a*b?c[d]"), b'{"event":"other.event","x":"\xc3\xab"}']
        a, b, c = (self.program.call(body).json["id"] for body in bodies)
        for text, ids in (("mira@example.org", [a]), ("EXAMPLE.ORG", [a]), ("sess_1", [b, a]), ("sess-1", []), ("sess%1", []), ("100%", [a]), ("_done_", [a]),
                          ("\\\\", [a]), ("%", [a]), ("sess__", []), ("*b?", [b]), ("[d]", [b]), ("completed", [a]), ("other.", [c]), (a, [a]),
                          (a[4:20].upper(), [i for i in (c, b, a) if i[4:20] == a[4:20]]), ("evt_" + "0" * 26, []), ("ë", [c]), ("\\u00eb", [b]), ("'", []), ("x" * 200, [])):
            with self.subTest(text[:30]):
                self.assertEqual(self.find({"q": text}), ids)
        self.assertEqual(self.find({"q": "sess_1", "event": "session.started"}), [b])
        self.assertEqual(self.find({"q": "sess_1", "since": "2100-01-01T00:00:00Z"}), [])
        self.assertEqual(self.find({"q": "sess_1", "until": "2100-01-01T00:00:00Z"}), [b, a])
        self.assertEqual([r["id"] for r in self.pages("/v1/events", 1, q="sess_1")], [b, a])
        for query, names in (("q=", ["q"]), ("q=" + "x" * 201, ["q"]), ("q=%00", ["q"]), ("q=a&cursor=d1", ["cursor"])):
            with self.subTest(query[:30]):
                self.assertEqual(self.wrong("GET", "/v1/events", query=query), names)
        other = self.make_key(org="other")
        self.change("UPDATE event SET org = 'acme' WHERE id IN (?, ?)", a, b)
        self.assertEqual((self.find({"q": "sess_1"}, key=other), self.find({"q": a}, key=other), self.find({"q": a})), ([], [], [a]))

    def test_search_many(self):
        """a search says how far it came, and goes on from there, until all was looked at"""
        self.start()
        seed.backlog(self.site, 120_000, received_ms=seed.now_ms() - seed.DAY_MS)
        self.change("UPDATE event SET body = replace(body, 'data', 'needle') WHERE seq = 7")
        self.receive()
        found, query, calls = [], {"q": "NEEDLE"}, 0
        while True:
            page = self.call("GET", "/v1/events", query=query, status=200).json
            found += page["data"]
            calls += 1
            self.assertEqual(page["has_more"], page["searched_until"] is not None)
            if not page["has_more"]:
                break
            self.assertLess(when(page["searched_until"]), time.time() - 80_000)
            query["cursor"] = page["next_cursor"]
        self.assertEqual([row["id"] for row in found], [f"evt_{7:026}"])
        self.assertGreater(calls, 1)

    def test_replay(self):
        """to all that take it now, or to one of them; what waits is left alone"""
        site = self.start(handlers={"all/x": "exit 0", "session.completed/y": "exit 100", "other.event/z": "exit 0"})
        other = self.make_key(org="other")
        self.receive()
        path = "/v1/events/" + self.call("GET", "/v1/events").json["data"][0]["id"]
        self.assertEqual(self.call("POST", f"{path}/replay", status=202).json, {"deliveries": 0})
        site.dispatch_once()
        self.assertEqual(self.call("POST", f"{path}/replay", {"webhook": "session.completed/y"}, status=202).json, {"deliveries": 1})
        self.assertEqual({r["webhook_id"]: r["status"] for r in self.call("GET", "/v1/deliveries").json["data"]},
                         {"all/x": "success", "session.completed/y": "pending"})
        hook = self.create()["id"]
        self.call("POST", "/v1/webhooks", {**test_api.HOOK, "url": "https://b.example.org"}, key=other, status=201)
        self.create(active=False)
        self.create(events=["other.event"])
        self.assertEqual(self.call("POST", f"{path}/replay", {}, status=202).json, {"deliveries": 2})
        self.assertEqual({(r["webhook_id"], r["status"]) for r in self.call("GET", "/v1/deliveries").json["data"]},
                         {("all/x", "pending"), ("session.completed/y", "pending"), (hook, "pending")})
        self.assertEqual(self.call("POST", f"{path}/replay", status=202).json, {"deliveries": 0})
        for name in ("other.event/z", "all/nobody", "wh_" + "0" * 26, "../x"):
            with self.subTest(name):
                self.refused(409, "conflict", "POST", f"{path}/replay", {"webhook": name})
        self.refused(409, "conflict", "POST", f"{path}/replay", {"webhook": hook}, key=other)
        self.refused(403, "forbidden", "POST", f"{path}/replay", key=self.make_key(scope="read"))
        self.refused(404, "not_found", "POST", "/v1/events/evt_0/replay")
        self.assertEqual(sorted(self.wrong("POST", f"{path}/replay", {"webhook": "", "x": 1})), ["webhook", "x"])
        self.change("UPDATE event SET org = 'acme'")
        self.refused(404, "not_found", "POST", f"{path}/replay", key=other)
        self.change("UPDATE event SET test = 1")
        self.refused(409, "conflict", "POST", f"{path}/replay")

    def test_replay_wakes(self):
        """the dispatcher is told; without any target nothing can be done"""
        site = self.start(handlers={"all/x": "echo >>$OUT/done"})
        site.start_dispatcher()
        self.receive()
        event = ntrvsta.wait_for(lambda: [r for r in self.call("GET", "/v1/events").json["data"] if r["status"] == "success"], what="a delivery")[0]
        self.call("POST", f"/v1/events/{event['id']}/replay", status=202)
        ntrvsta.wait_for(lambda: ntrvsta.read_file(os.path.join(site.out, "done")) == b"\n\n", what="a second run")
        os.unlink(os.path.join(site.handlers, "all", "x"))
        self.refused(409, "conflict", "POST", f"/v1/events/{event['id']}/replay")


class BulkRetry(test_api.ApiTest):
    def retry(self, body, **how):
        return self.call("POST", "/v1/deliveries/retry", body, status=200 if body.get("preview") else 202, **how).json

    def steps(self, body, limit):
        """How many each step retried."""
        counts, cursor = [], {}
        while True:
            step = self.retry({**body, "limit": limit, **cursor})
            counts.append(step["retried"])
            self.assertEqual(step["has_more"], step["next_cursor"] is not None)
            if not step["has_more"]:
                return counts
            cursor = {"cursor": step["next_cursor"]}

    def states(self):
        return dict(self.site.query("SELECT state, count(*) FROM delivery GROUP BY state"))

    def test_steps(self):
        """all that a filter leaves begins anew, in steps, once each; a preview only counts"""
        site = self.start(handlers={"all/no": "exit 100", "session.completed/ok": "exit 0"})
        self.receive(7)
        self.receive(2, name="other.event")
        site.dispatch_once()
        failed = {"status": "failed"}
        for body, n in ((failed, 9), ({**failed, "event": "other.event"}, 2), ({**failed, "webhook": "all/no"}, 9), ({**failed, "webhook": "all/x"}, 0),
                        ({**failed, "since": "2100-01-01T00:00:00Z"}, 0), ({**failed, "until": "2100-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z"}, 9),
                        ({"status": "canceled"}, 0)):
            with self.subTest(str(body)):
                self.assertEqual(self.retry({**body, "preview": True}), {"matched": n})
        self.assertEqual(self.states(), {"failed": 9, "success": 7})
        self.assertEqual(self.steps({**failed, "event": "other.event"}, 250), [2])
        self.assertEqual(self.states(), {"failed": 7, "pending": 2, "success": 7})
        counts = self.steps(failed, 3)
        self.assertEqual((sum(counts), max(counts)), (7, 3))
        self.assertEqual(self.states(), {"pending": 9, "success": 7})
        self.assertEqual(self.retry(failed), {"retried": 0, "next_cursor": None, "has_more": False})
        self.assertEqual(self.site.query("SELECT DISTINCT attempt FROM delivery WHERE state = 'pending'"), [(0,)])
        self.assertEqual(self.call("GET", "/v1/overview").json["failed_deliveries"], 0)

    def test_not_twice(self):
        """what fails again between two steps is not begun once more; a test never is"""
        site = self.start(handlers={"all/no": "exit 100"})
        self.receive(6)
        site.dispatch_once()
        self.change("UPDATE delivery SET test = 1 WHERE seq = 2")
        self.assertEqual(self.retry({"status": "failed", "preview": True}), {"matched": 5})
        step = self.retry({"status": "failed", "limit": 3})
        site.dispatch_once()
        rest = self.retry({"status": "failed", "cursor": step["next_cursor"]})
        self.assertEqual((step["retried"], step["has_more"], rest["retried"], rest["has_more"]), (3, True, 2, False))

    def test_canceled(self):
        """what was given up comes back, and the dispatcher is told"""
        site = self.start(handlers={"all/x": "exit 0"})
        self.receive(2)
        site.dispatch_once()
        self.change("UPDATE delivery SET state = 'canceled'")
        site.start_dispatcher()
        self.assertEqual(self.retry({"status": "canceled"})["retried"], 2)
        ntrvsta.wait_for(lambda: self.states() == {"success": 2}, what="deliveries")

    def test_refused(self):
        """wrong fields; a key that may only read; another organisation's webhooks"""
        self.start(handlers={"all/x": "exit 0"})
        for body, names in (({}, ["status"]), ({"status": "success"}, ["status"]), ({"status": "failed", "x": 1}, ["x"]), ({"status": "failed", "event": "A"}, ["event"]),
                            ({"status": "failed", "limit": 0}, ["limit"]), ({"status": "failed", "limit": 251}, ["limit"]), ({"status": "failed", "cursor": "e1"}, ["cursor"]),
                            ({"status": "failed", "since": "1h", "until": 1, "webhook": ""}, ["since", "until", "webhook"]), ({"status": "failed", "preview": 1}, ["preview"]),
                            ({"status": "failed", "preview": True, "limit": 5}, ["limit"]), ({"status": "failed", "preview": True, "cursor": "d5"}, ["cursor"])):
            with self.subTest(str(body)):
                self.assertEqual(sorted(self.wrong("POST", "/v1/deliveries/retry", body)), names)
        self.refused(403, "forbidden", "POST", "/v1/deliveries/retry", {"status": "failed"}, key=self.make_key(scope="read"))
        hook = self.create(active=False)["id"]
        self.receive(2)
        self.site.dispatch_once()
        self.call("POST", f"/v1/webhooks/{hook}/recover", {"since": "2026-01-01T00:00:00Z"}, status=202)
        self.change("UPDATE delivery SET state = 'failed'")
        other = self.make_key(org="other")
        self.assertEqual(self.retry({"status": "failed", "preview": True}, key=other), {"matched": 2})
        self.assertEqual(self.retry({"status": "failed"}, key=other)["retried"], 2)
        self.assertEqual(self.retry({"status": "failed", "webhook": hook}, key=other)["retried"], 0)
        self.assertEqual(self.retry({"status": "failed", "webhook": hook})["retried"], 2)


class Once(test_api.ApiTest):
    def test_once(self):
        """with an Idempotency-Key, what was done is answered again, and not done again"""
        site = self.start(handlers={"all/x": "exit 100"})
        self.receive()
        site.dispatch_once()
        event = self.call("GET", "/v1/events").json["data"][0]["id"]
        delivery = self.call("GET", "/v1/deliveries").json["data"][0]["id"]
        for n, (path, body, wanted) in enumerate((("/v1/deliveries/retry", {"status": "failed"}, {"retried": 1, "next_cursor": None, "has_more": False}),
                                                  (f"/v1/deliveries/{delivery}/cancel", None, None), (f"/v1/events/{event}/replay", {}, {"deliveries": 1}))):
            with self.subTest(path):
                first, again = (self.call("POST", path, body, headers={"Idempotency-Key": f"key-{n}"}) for _ in range(2))
                self.assertEqual((again.status, again.json), (first.status, first.json))
                self.assertEqual((first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")), (None, "true"))
                self.assertLess(first.status, 300)
                if wanted:
                    self.assertEqual(first.json, wanted)
                self.change("UPDATE delivery SET state = iif(state = 'canceled', 'failed', 'pending')")


class Security(test_api.ApiTest):
    def security(self, name="24h", **how):
        shown = self.call("GET", "/v1/security", query={"timeRange": name}, status=200, **how).json
        for bucket in shown["refusals"]["buckets"]:
            self.assertTrue(when(shown["from"]) <= when(bucket["start"]) <= when(shown["to"]))
            self.assertEqual((when(bucket["start"]) - when(shown["from"])) % shown["bucket_seconds"], 0)
        return shown

    def counts(self, name="24h", **how):
        found = {}
        for bucket in self.security(name, **how)["refusals"]["buckets"]:
            found[bucket["code"]] = found.get(bucket["code"], 0) + bucket["count"]
        return found

    def refuse(self, call):
        """Refusals of several kinds, from two addresses."""
        body = ntrvsta.event(n=1)
        for address in ("192.0.2.1", "192.0.2.1", "2001:db8:1:2:3::4"):
            call(body, signature="0" * 64, env={"REMOTE_ADDR": address})
        call(body, signature=None)
        call(b"[]")
        call(b"", method="GET", path="/webhooks/v1/webhooks", signature=None, headers={"X-Ntrvsta-Api-Key": "wrong"})
        call(b"", path="/nowhere", signature=None, env={"REMOTE_ADDR": "unix:"})
        call(body)
        return {"invalid_signature": 3, "missing_signature": 1, "invalid_json": 1, "unauthorized": 1, "not_found": 1}

    def test_refusals(self):
        """each refusal counts, by reason and time, in each range; what is accepted does not"""
        self.start()
        self.assertEqual(self.counts(), {})
        wanted = self.refuse(self.program.call)
        for name in RANGES:
            with self.subTest(name):
                self.assertEqual(self.counts(name), wanted)
                shown = self.call("GET", "/v1/overview", query={"timeRange": name}).json["refusals"]
                self.assertEqual({row["code"]: row["count"] for row in shown}, wanted)
                self.assertEqual(shown[0], {"code": "invalid_signature", "count": 3})
        self.refused(403, "forbidden", "POST", "/v1/webhooks", test_api.HOOK, key=self.make_key(scope="read"))
        self.assertEqual(self.counts(), {**wanted, "forbidden": 1})
        self.assertEqual(self.wrong("GET", "/v1/security", query="timeRange=1d&x=1"), ["timeRange", "x"])
        self.assertEqual(self.site.query("SELECT count(*) FROM event"), [(1,)])

    def test_processes(self):
        """processes count together, also plain CGI, and what was counted stays when they end"""
        self.start()
        wanted = self.refuse(self.program.call)
        self.assertEqual(self.refuse(self.site.cgi), wanted)
        twice = {code: 2 * n for code, n in wanted.items()}
        self.assertEqual(self.counts(), twice)
        self.assertEqual(self.program.stop(), 0)
        self.program.start()
        self.assertEqual(self.counts(), twice)

    def test_addresses(self):
        """who was refused most comes first; for the operator's organisation alone"""
        self.start()
        self.refuse(self.program.call)
        operator = self.make_key(org="default", scope="read")
        rows = self.security(key=operator)["refusals"]["addresses"]
        self.assertEqual((rows[0]["address"], rows[0]["code"], rows[0]["count"]), ("192.0.2.1", "invalid_signature", 2))
        self.assertEqual({(r["address"], r["code"], r["count"]) for r in rows[1:]},
                         {("2001:db8:1:2::/64", "invalid_signature", 1), ("127.0.0.1", "missing_signature", 1), ("127.0.0.1", "invalid_json", 1),
                          ("127.0.0.1", "unauthorized", 1)})
        self.assertTrue(all(0 <= time.time() - when(r["last_at"]) < 60 for r in rows))
        self.assertEqual(self.security()["refusals"]["addresses"], [])

    def test_secrets(self):
        """which secrets count, since when and until when; never the secrets"""
        self.start()
        mtime = os.stat(self.site.secret_file).st_mtime
        secret, = self.security()["secrets"]
        self.assertEqual((secret["source"], secret["until"], secret["live"]), ("ntrvsta", None, True))
        self.assertAlmostEqual(when(secret["created_at"]), mtime, places=2)
        self.site.write_secret("new-secret-1\nold-secret-2 until=2100-01-01T00:00:00Z\nolder-secret-3 until=2020-01-01T00:00:00Z")
        ntrvsta.wait_for(lambda: len(self.security()["secrets"]) == 3, what="the changed secrets")
        answer = self.call("GET", "/v1/security")
        self.assertEqual([(s["created_at"] is not None, s["until"], s["live"]) for s in answer.json["secrets"]],
                         [(True, None, True), (False, "2100-01-01T00:00:00.000Z", True), (False, "2020-01-01T00:00:00.000Z", False)])
        self.assertNotIn(b"-secret-", answer.body)

    def test_no_file(self):
        """a file that can't be used: requests are served all the same, and the log says so once"""
        site = self.start()
        os.mkdir(os.path.join(site.state, "refusals"))
        wanted = [401, 400, 404, 200]
        body = ntrvsta.event(n=1)
        answers = [self.program.call(body, signature=None), self.program.call(b"[]"), self.program.call(b"", path="/nowhere", signature=None), self.program.call(body)]
        self.assertEqual([a.status for a in answers], wanted)
        self.assertEqual(self.program.logged().count("refusals are not counted"), 1)
        self.assertEqual(self.counts(), {})


class SecurityCgi(test_api.ApiTest):
    cgi = True

    def test_cgi(self):
        """as plain CGI: counted and shown"""
        self.start()
        self.site.cgi(ntrvsta.event(n=1), signature=None)
        self.refused(401, "unauthorized", "GET", "/v1/webhooks", key=test_api.NOBODY)
        shown = self.call("GET", "/v1/overview", status=200).json["refusals"]
        self.assertEqual({row["code"]: row["count"] for row in shown}, {"missing_signature": 1, "unauthorized": 1})


if __name__ == "__main__":
    tap.main()
