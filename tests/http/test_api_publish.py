#!/usr/bin/env python3
"""Events that are published over the management API, and keys that make a POST count once."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import receiver  # noqa: E402
import tap  # noqa: E402
import test_api  # noqa: E402
from ntrvsta import wait_for  # noqa: E402

EVENT = {"event": "order.shipped", "data": {"order": {"id": 7, "items": ["a", "\u00e4"], "total": 12.50}}}
SINCE = {"since": "2026-01-01T00:00:00Z"}


class Publish(test_api.ApiTest):
    def publish(self, key=None, **fields):
        return self.call("POST", "/v1/events", {**EVENT, **fields}, key=key, status=202).json

    def listen(self, **how):
        called = receiver.Receiver(**how)
        self.addCleanup(called.close)
        return called

    def test_published(self):
        """it is an event like others, with an envelope around its data"""
        self.start()
        made = self.publish()
        self.assertEqual((made["event"], made["source"], made["status"], made["idempotency_key"], made["test"]),
                         ("order.shipped", "api", "new", None, False))
        self.assertEqual(made["timestamp"], made["received_at"])
        self.assertEqual(self.call("GET", "/v1/events").json["data"], [made])
        text = self.call("GET", f"/v1/events/{made['id']}", status=200).json["body"]
        self.assertEqual(json.loads(text), {"event": "order.shipped", "timestamp": made["timestamp"], "data": EVENT["data"]})
        self.assertEqual(list(json.loads(text)), ["event", "timestamp", "data"])
        self.assertNotEqual(self.publish()["id"], made["id"], "the same once more is another event")

    def test_timestamp(self):
        """when it happened, in UTC, whatever the zone it was given in"""
        self.start()
        for given, shown in (("2026-03-15T15:00:00+02:00", "2026-03-15T13:00:00.000Z"), ("2026-03-15T15:00:00.5Z", "2026-03-15T15:00:00.500Z"),
                             ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"), ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z")):
            with self.subTest(given):
                self.assertEqual(self.publish(timestamp=given)["timestamp"], shown)

    def test_data(self):
        """data goes through as it is"""
        self.start()
        for data in ({}, {"": ""}, {"n": 2 ** 63}, {"n": -2 ** 63 + 1}, {"deep": [[[[[{"a": [None, True]}]]]]]}, {"s": "\u2028</script>\"\\/\x7f\n"},
                     {"event": "x", "id": "y", "resultId": "z"}, {"big": "x" * 200000}):
            with self.subTest(str(data)[:40]):
                ident = self.publish(data=data)["id"]
                self.assertEqual(json.loads(self.call("GET", f"/v1/events/{ident}").json["body"])["data"], data)
        ident = self.call("POST", "/v1/events", b'{"data":{"a":1.10,"b":1e400,"c":0.30000000000000000001},"event":"a"}', status=202).json["id"]
        self.assertIn('{"a":1.10,"b":1e400,"c":0.30000000000000000001}', self.call("GET", f"/v1/events/{ident}").json["body"])

    def test_fields(self):
        """what is wrong is refused, and nothing is stored"""
        self.start()
        for fields, names in (({"event": "A"}, ["event"]), ({"event": ""}, ["event"]), ({"event": "a" * 65}, ["event"]), ({"event": None}, ["event"]),
                              ({"event": "*"}, ["event"]), ({"data": []}, ["data"]), ({"data": None}, ["data"]), ({"data": "{}"}, ["data"]),
                              ({"data": {"n": 2 ** 64}}, ["data"]), ({"data": {"n": [-2 ** 63 - 1]}}, ["data"]),
                              ({"timestamp": "now"}, ["timestamp"]), ({"timestamp": 1772000000}, ["timestamp"]), ({"timestamp": None}, ["timestamp"]),
                              ({"timestamp": ""}, ["timestamp"]), ({"source": "x"}, ["source"]), ({"org": "other"}, ["org"]), ({"id": "x"}, ["id"]),
                              ({"event": 1, "data": 1, "timestamp": 1, "x": 1}, ["data", "event", "timestamp", "x"])):
            with self.subTest(str(fields)):
                self.assertEqual(sorted(self.wrong("POST", "/v1/events", {**EVENT, **fields})), names)
        self.assertEqual(sorted(self.wrong("POST", "/v1/events")), ["data", "event"])
        self.assertEqual(self.wrong("POST", "/v1/events", EVENT, query="a=1"), ["a"])
        self.refused(400, "invalid_json", "POST", "/v1/events", b"[]")
        self.assertEqual(self.call("GET", "/v1/events").json["data"], [])

    def test_delivered(self):
        """it goes to handlers and to its organisation's webhooks, signed and as it was stored, and to no other's"""
        site = self.start({"webhooks": test_api.OPEN},
                          handlers={"order.shipped/x": 'cat > "$OUT/body.new"; echo "$NTRVSTA_SOURCE $NTRVSTA_TIMESTAMP" > "$OUT/said"; mv "$OUT/body.new" "$OUT/body"'})
        mine, theirs = self.listen(), self.listen()
        other = self.make_key(org="other")
        self.create(url=mine.url("/hook"), events=["*"])
        self.call("POST", "/v1/webhooks", {"url": theirs.url("/hook"), "events": ["*"]}, key=other, status=201)
        site.start_dispatcher()
        made = self.publish()
        body = self.call("GET", f"/v1/events/{made['id']}").json["body"].encode()
        self.assertEqual(mine.wait(1)[0].body, body)
        self.assertEqual(mine.requests[0].headers["webhook-id"], made["id"])
        self.assertEqual(site.output("body"), body)
        self.assertEqual(site.output("said").decode().split(), ["api", made["timestamp"]])
        wait_for(lambda: self.call("GET", f"/v1/events/{made['id']}").json["status"] == "success", what="both have it")
        self.receive()  # it goes to all, and behind the first one
        theirs.wait(1)
        mine.wait(2)
        self.assertEqual([json.loads(r.body)["event"] for r in theirs.requests], ["session.completed"])

    def test_same_name(self):
        """events of one name that wait together go each to whom it is for"""
        site = self.start({"webhooks": test_api.OPEN})
        mine, theirs = self.listen(), self.listen()
        other = self.make_key(org="other")
        self.create(url=mine.url("/hook"))
        self.call("POST", "/v1/webhooks", {**test_api.HOOK, "url": theirs.url("/hook")}, key=other, status=201)
        name = test_api.HOOK["events"][0]
        for n, key in enumerate((None, other, None, other)):
            self.publish(key=key, event=name, data={"n": n})
        self.receive(name=name)
        site.start_dispatcher()
        for called, wanted in ((mine, [0, 2, None]), (theirs, [1, 3, None])):
            called.wait(3)
            wait_for(lambda: site.query("SELECT count(*) FROM delivery WHERE state <> 'success'") == [(0,)], what="all is delivered")
            self.assertCountEqual([json.loads(r.body)["data"].get("n") for r in called.requests], wanted)

    def test_who_sees_it(self):
        """other organisations see neither the event nor what a handler did with it"""
        site = self.start(handlers={"all/x": "echo hello; exit 100"})
        other = self.make_key(org="other", scope="admin")
        made = self.publish()
        site.dispatch_once()
        row = self.call("GET", "/v1/webhooks/all/x/logs").json["data"][0]
        self.assertEqual(row["event_id"], made["id"])
        path, delivery = f"/v1/events/{made['id']}", f"/v1/deliveries/{row['delivery_id']}"
        for where in (path, delivery):
            self.call("GET", where, status=200)
            self.refused(404, "not_found", "GET", where, key=other)
        self.refused(404, "not_found", "POST", f"{delivery}/retry", key=other)
        for where in ("/v1/events", "/v1/webhooks/all/x/logs", "/v1/webhooks/all/x/failed-deliveries"):
            with self.subTest(where):
                self.assertEqual(len(self.call("GET", where).json["data"]), 1)
                self.assertEqual(self.call("GET", where, key=other).json["data"], [])
        self.assertEqual(self.call("POST", "/v1/webhooks/all/x/recover", SINCE, key=other, status=202).json["recoverable"], 0)
        self.assertEqual(self.call("POST", "/v1/webhooks/all/x/recover", SINCE, status=202).json["recovered"], 1)

    def test_recovered(self):
        """recovery and replay bring it to its organisation's webhooks only, also those that came later"""
        site = self.start()
        other = self.make_key(org="other")
        made = self.publish()
        self.receive()
        site.dispatch_once()
        mine = self.create(active=False, events=["*"])["id"]
        theirs = self.call("POST", "/v1/webhooks", {**test_api.HOOK, "events": ["*"], "active": False}, key=other, status=201).json["id"]
        self.assertEqual(self.call("POST", f"/v1/webhooks/{mine}/recover", SINCE, status=202).json["recovered"], 2)
        self.assertEqual(self.call("POST", f"/v1/webhooks/{theirs}/recover", SINCE, key=other, status=202).json["recovered"], 1)
        site.tool("webhooks", "update", theirs, "--activate")
        self.assertEqual(site.tool("events", "replay", made["id"], check=False).returncode, 1, "nobody is there for it")
        site.tool("webhooks", "update", mine, "--activate")
        site.tool("events", "replay", made["id"])
        self.assertEqual([row["org"] for row in site.tool("events", "--json")["data"]], [None, "acme"])
        self.assertRegex(site.tool("events", "show", made["id"]).stdout, "Organisation +acme")
        self.assertEqual(site.query("SELECT t.name FROM delivery d JOIN target t ON t.id = d.target JOIN event e ON e.seq = d.event_seq WHERE e.id = ?",
                                    made["id"]), [(mine,)])

    def test_wakes(self):
        """a dispatcher is started where none runs"""
        site = self.start({"dispatch": {"start": "auto"}}, handlers={"all/x": "exit 0"})
        ident = self.publish()["id"]
        wait_for(lambda: self.call("GET", f"/v1/events/{ident}").json["status"] == "success", what="it is delivered")
        self.assertTrue(site.dispatcher_pid())

    def test_source(self):
        """no sender can be called api"""
        site = self.start()
        site.configure({"source api": {"path": "/webhooks/x", "secret_file": "secret"}})
        done = site.tool("check", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("published over the API", done.stdout + done.stderr)


if __name__ == "__main__":
    tap.main()
