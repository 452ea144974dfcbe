#!/usr/bin/env python3
"""Events that are published over the management API, and keys that make a POST count once."""

import json
import os
import subprocess
import sys
import threading

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

    def test_wakes_again(self):
        """an answer that is given again wakes as well: who gave it first may have died before that"""
        site = self.start({"dispatch": {"start": "off"}}, handlers={"all/x": "exit 0"})
        how = {"headers": {"Idempotency-Key": "k1"}, "status": 202}
        ident = self.call("POST", "/v1/events", EVENT, **how).json["id"]
        self.assertIsNone(site.dispatcher_pid())
        site.configure({"dispatch": {"start": "auto"}})

        def asked():
            self.call("POST", "/v1/events", EVENT, **how)
            return site.dispatcher_pid()
        wait_for(asked, what="a dispatcher")
        wait_for(lambda: self.call("GET", f"/v1/events/{ident}").json["status"] == "success", what="it is delivered")

    def test_source(self):
        """no sender can be called api"""
        site = self.start()
        site.configure({"source api": {"path": "/webhooks/x", "secret_file": "secret"}})
        done = site.tool("check", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("published over the API", done.stdout + done.stderr)


class OnceTest(test_api.ApiTest):
    def post(self, path, body=None, token="k1", again=False, **how):
        """A POST with an Idempotency-Key: is it answered AGAIN?"""
        answer = self.call("POST", path, body, headers={"Idempotency-Key": token}, **how)
        self.assertEqual(answer.headers.get("idempotent-replayed"), "true" if again else None, answer)
        return answer

    def twice(self, path, body=None, **how):
        """Two equal calls: the second gets the first one's answer."""
        first = self.post(path, body, **how)
        second = self.post(path, body, again=True, **how)
        self.assertEqual((second.status, second.body, second.headers.get("content-type")),
                         (first.status, first.body, first.headers.get("content-type")))
        return first

    def count(self, table):
        return self.site.query(f"SELECT count(*) FROM {table}")[0][0]

    def each(self):
        site = self.start({"webhooks": test_api.OPEN, "invitations": {"base_url": "https://example.org/i"}},
                          handlers={"order.shipped/x": "exit 100"})
        called = receiver.Receiver()
        self.addCleanup(called.close)
        hook = self.twice("/v1/webhooks", {"url": called.url("/hook"), "events": ["a"]}, status=201).json
        self.assertEqual([row["id"] for row in self.call("GET", "/v1/webhooks").json["data"]], ["order.shipped/x", hook["id"]])
        path = f"/v1/webhooks/{hook['id']}"
        secret = self.twice(f"{path}/rotate-secret", token="k2", status=200).json["secret"]
        self.assertEqual(site.query("SELECT secret FROM webhook_secret ORDER BY seq"), [(hook["secret"],), (secret,)])
        event = self.twice("/v1/events", EVENT, token="k3", status=202).json
        self.assertEqual(self.count("event"), 1)
        site.dispatch_once()
        self.assertEqual(self.call("GET", f"/v1/events/{event['id']}").json["status"], "failed")
        delivery = self.call("GET", "/v1/webhooks/order.shipped/x/failed-deliveries").json["data"][0]["id"]
        self.twice(f"/v1/deliveries/{delivery}/retry", token="k4", status=202)
        site.dispatch_once()
        self.assertEqual(self.twice("/v1/webhooks/order.shipped/x/recover", SINCE, token="k5", status=202).json["recovered"], 1)
        site.dispatch_once()
        self.assertEqual(self.count("attempt"), 3)
        self.assertEqual(self.twice(f"/v1/events/{event['id']}/replay", token="k10", status=202).json["deliveries"], 1)
        self.twice(f"/v1/deliveries/{delivery}/cancel", token="k11", status=200)
        self.assertEqual(self.twice("/v1/deliveries/retry", {"status": "canceled"}, token="k12", status=202).json["retried"], 1)
        site.start_dispatcher()
        self.twice(f"{path}/test", test_api.TEST, token="k6", status=200)
        self.twice(f"{path}/test-connectivity", token="k7", status=200)
        self.assertEqual([r.method for r in called.requests], ["POST", "HEAD"])
        template = self.twice("/v1/templates", {"title": "Engineer"}, token="k8", status=201).json["id"]
        self.twice("/v1/interview-invitations", {"templateId": template, "candidate": {"email": "a@example.org"}}, token="k9", status=201)
        self.assertEqual((self.count("template"), self.count("invitation")), (1, 1))
        self.assertEqual(site.query("SELECT count(*) FROM event WHERE event = 'candidate.invited'"), [(1,)])
        posts = {path for method, path in test_api.document.operations() if method == "POST"}
        self.assertEqual(self.count("answer"), len(posts), "each of them is tried here")

    def at_once(self):
        self.start({"web": {"threads": "8"}})
        for body, path, table in ((EVENT, "/v1/events", "event"), (test_api.HOOK, "/v1/webhooks", "webhook")):
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(self.call("POST", path, body, headers={"Idempotency-Key": path}))) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with self.subTest(path):
                self.assertEqual(len({a.body for a in answers}), 1)
                self.assertEqual(sorted(a.headers.get("idempotent-replayed", "") for a in answers), [""] + ["true"] * 19)
                self.assertEqual(self.count(table), 1)


class Once(OnceTest):
    def test_all_routes(self):
        """the document names the key at every POST of the API, and nowhere else"""
        for path, item in test_api.document.doc["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                with self.subTest(f"{method} {path}"):
                    names = {test_api.document.resolve(p)["name"] for p in operation.get("parameters", [])}
                    self.assertEqual("Idempotency-Key" in names, method == "post" and path.startswith("/v1/"))

    def test_other_requests(self):
        """a key stands for one request: another body, path or query is refused, and nothing is done"""
        self.start()
        self.post("/v1/events", EVENT, status=202)
        for path, body, query in (("/v1/events", {**EVENT, "event": "a"}, ""), ("/v1/events", b"", ""), ("/v1/webhooks", EVENT, ""),
                                  ("/v1/events", EVENT, "a=1"), ("/v1/events", json.dumps(EVENT).encode() + b" ", "")):
            with self.subTest(f"{path} {body} {query}"[:60]):
                answer = self.post(path, body, query=query)
                self.assertEqual((answer.status, answer.code), (422, "idempotency_mismatch"), answer)
                self.assertEqual([e["field"] for e in answer.json["errors"]], ["Idempotency-Key"])
        self.assertEqual(self.count("event"), 1)
        self.post("/v1/events", EVENT, again=True, status=202)
        self.post("/v1/events", EVENT, token="K1", status=202)
        self.call("POST", "/v1/events", EVENT, status=202)
        self.assertEqual(self.count("event"), 3)

    def test_whose(self):
        """each organisation has its own keys, whichever of its API keys asks; the scope counts as ever"""
        self.start()
        first = self.post("/v1/events", EVENT, status=202)
        same, other, read = self.make_key(), self.make_key(org="other"), self.make_key(scope="read")
        self.assertEqual(self.post("/v1/events", EVENT, key=same, again=True, status=202).body, first.body)
        self.assertNotEqual(self.post("/v1/events", EVENT, key=other, status=202).json["id"], first.json["id"])
        self.assertEqual(self.post("/v1/events", EVENT, key=read, status=403).code, "forbidden")
        self.assertEqual(self.post("/v1/events", EVENT, key=test_api.NOBODY, status=401).code, "unauthorized")

    def test_keys(self):
        """1 to 255 visible characters of ASCII; other methods do not look at it"""
        self.start()
        for token in ("", " ", "a b", "a\tb", "\u00e4", "x" * 256, "a,\x7f"):
            with self.subTest(token[:10]):
                answer = self.post("/v1/events", EVENT, token=token)
                self.assertEqual((answer.status, answer.code, [e["field"] for e in answer.json["errors"]]),
                                 (422, "invalid_field", ["Idempotency-Key"]), answer)
        self.assertEqual(self.count("event"), 0)
        for token in ("!", "~", "x" * 255, '"a,b;c"', "%00"):
            with self.subTest(f"taken: {token[:10]}"):
                self.twice("/v1/events", EVENT, token=token, status=202)
        self.call("GET", "/v1/events", headers={"Idempotency-Key": "a b"}, status=200)
        hook = f"/v1/webhooks/{self.create()['id']}"
        for _ in range(2):
            answer = self.call("PATCH", hook, {"description": os.urandom(4).hex()}, headers={"Idempotency-Key": "!"}, status=200)
            self.assertNotIn("idempotent-replayed", answer.headers)

    def test_refusals(self):
        """what is refused is refused again, whatever has changed meanwhile"""
        self.start(handlers={"all/x": "exit 0"})
        for n, (path, body, status) in enumerate((("/v1/events", b"{", 400), ("/v1/events", {}, 422), (f"/v1/deliveries/dlv_{0:026}/retry", None, 404),
                                                  ("/v1/webhooks/all/x/rotate-secret", None, 409),
                                                  ("/v1/webhooks/all/x/test-connectivity", None, 409), ("/v1/webhooks/none/test", test_api.TEST, 404),
                                                  ("/v1/webhooks/all/x/recover", {"since": "x"}, 422))):
            with self.subTest(f"{path} {status}"):
                self.twice(path, body, token=f"r{n}", status=status)
        self.assertEqual(self.count("answer"), 7)

    def test_try_again(self):
        """answers that ask to try again are not kept, and nothing of the call is left"""
        site = self.start({"webhooks": test_api.OPEN})
        called = receiver.Receiver()
        self.addCleanup(called.close)
        path = f"/v1/webhooks/{self.create(url=called.url('/hook'))['id']}/test"
        self.assertEqual(self.post(path, test_api.TEST, status=503).code, "dispatcher_not_running")
        self.assertEqual(self.count("answer"), 0)
        site.start_dispatcher()
        self.twice(path, test_api.TEST, status=200)
        self.assertEqual(len(called.requests), 1)

    def test_under_way(self):
        """while a test waits, the same call is a conflict, and another one with its key is refused"""
        go = threading.Event()
        self.addCleanup(go.set)
        site = self.start({"webhooks": test_api.OPEN, "web": {"threads": "2"}})
        called = receiver.Receiver(answer=lambda _connection, _request: go.wait(60) and 200)
        self.addCleanup(called.close)
        path = f"/v1/webhooks/{self.create(url=called.url('/hook'))['id']}/test"
        site.start_dispatcher()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.post(path, test_api.TEST)))
        thread.start()
        called.wait(1)
        self.assertEqual(self.post(path, test_api.TEST, status=409).code, "conflict")
        self.assertEqual(self.post(path, {"event": "a"}, status=422).code, "idempotency_mismatch")
        self.assertEqual(self.post(path, test_api.TEST, token="k2", status=429).code, "too_many_tests")
        go.set()
        thread.join()
        self.assertEqual(self.post(path, test_api.TEST, again=True, status=200).body, answers[0].body)
        self.post(path, test_api.TEST, token="k2", status=200)

    def test_dead(self):
        """what a program that was killed has reserved lapses"""
        go = threading.Event()
        self.addCleanup(go.set)
        site = self.start({"webhooks": test_api.OPEN})
        called = receiver.Receiver(answer=lambda _connection, _request: go.wait(60) and 200)
        self.addCleanup(called.close)
        path = f"/v1/webhooks/{self.create(url=called.url('/hook'))['id']}/test-connectivity"
        site.start_dispatcher()
        request = site.request(b"", method="POST", path=path, signature=None, headers={"X-Ntrvsta-Api-Key": self.key, "Idempotency-Key": "k1"})
        child = site.spawn([site.fcgi], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=site.environment(request))
        called.wait(1)
        child.kill()
        child.wait()
        go.set()
        self.assertEqual(self.post(path, status=409).code, "conflict")
        [(created, until)] = site.query("SELECT created_ms, until_ms FROM answer")
        self.assertLess(until - created, 120000)
        self.change("UPDATE answer SET created_ms = created_ms - ?, until_ms = until_ms - ?", until - created, until - created)
        self.twice(path, status=200)

    def test_a_day(self):
        """after a day it is another call, and what was kept goes with retention"""
        site = self.start()
        first = self.post("/v1/events", EVENT, status=202).json
        self.post("/v1/events", EVENT, token="k2", status=202)
        [(kept,)] = set(site.query("SELECT until_ms - created_ms FROM answer"))
        self.assertEqual(kept, 24 * 60 * 60 * 1000)
        self.change("UPDATE answer SET created_ms = created_ms - ?, until_ms = until_ms - ?", kept, kept)
        self.assertNotEqual(self.post("/v1/events", EVENT, status=202).json["id"], first["id"])
        site.tool("prune")
        self.assertEqual(site.query("SELECT key FROM answer"), [("k1",)])

    def test_store(self):
        """what can't be written is not done, nor remembered as done"""
        site = self.start()
        self.change("CREATE TRIGGER no_answers BEFORE INSERT ON answer BEGIN SELECT raise(ABORT, 'no'); END")
        self.assertEqual(self.post("/v1/events", EVENT, status=503).code, "store_unavailable")
        self.assertEqual(self.count("event"), 0, "the event is in the answer's transaction")
        self.change("DROP TRIGGER no_answers")
        self.change("CREATE TRIGGER no_events BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'no'); END")
        self.assertEqual(self.post("/v1/events", EVENT, status=503).code, "store_unavailable")
        self.assertEqual(self.count("answer"), 0)
        self.change("DROP TRIGGER no_events")
        self.twice("/v1/events", EVENT, status=202)
        self.assertEqual((self.count("event"), len(site.stored())), (1, 1))


class OnceEach(OnceTest):
    def test_each(self):
        """each POST is done once, and answered twice in the same way"""
        self.each()

    def test_at_once(self):
        """twenty equal calls at once are done once, and all hear of that"""
        self.at_once()


class OnceEachCgi(OnceTest):
    cgi = True

    def test_each(self):
        """as plain CGI: each POST is done once"""
        self.each()

    def test_at_once(self):
        """as plain CGI: twenty processes at once, and it is done once"""
        self.at_once()


if __name__ == "__main__":
    tap.main()
