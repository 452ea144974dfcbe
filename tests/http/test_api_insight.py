#!/usr/bin/env python3
"""What the management API tells of the whole: lists of deliveries, counts, searches, refusals."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

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


if __name__ == "__main__":
    tap.main()
