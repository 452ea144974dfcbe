#!/usr/bin/env python3
"""How long `ntrvsta stats` takes with ten million attempts in the store; by hand:

    builddir=BUILD python3 tests/bench/stats.py [ATTEMPTS]

Each tenth of the attempts belongs to one of ten handlers, spread over 30 days. Durations are either
mostly short, as those of handlers are, or anything up to 30 s, which is the worst case.
"""

import os
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import seed
from ntrvsta import Site

DURATIONS = {
    "mostly short": "CASE abs(random()) % 10 WHEN 9 THEN abs(random()) % 30000 WHEN 8 THEN abs(random()) % 2000"
                    " ELSE 3 + abs(random()) % 60 END",
    "up to 30 s": "abs(random()) % 30000",
}
FILL = """
    DELETE FROM attempt; DELETE FROM tally; DELETE FROM duration;
    INSERT INTO attempt (delivery_seq, attempt, started_ms, duration_ms, outcome, error_code, error_message, exit_code,
        signal, output, output_cut)
      SELECT d.seq, n, {now} - abs(random()) % (30 * 86400000), {duration},
             CASE abs(random()) % 20 WHEN 0 THEN 'retry' ELSE 'success' END, '', '', 0, 0, x'', 0
      FROM delivery d, (WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < {each})
                        SELECT n FROM number);
    UPDATE target SET hours_until = 0, days_until = 0;
    INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts)
      SELECT target, 0, (started_ms + duration_ms) / 60000 * 60000, count(*), sum(outcome <> 'success')
      FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq GROUP BY 1, 3;
    INSERT INTO duration
      SELECT target, (started_ms + duration_ms) / 60000 * 60000, duration_ms, count(*)
      FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq GROUP BY 1, 2, 3;
"""


def measure(site, *args):
    times = []
    for _ in range(7):
        begun = time.monotonic()
        site.tool("stats", *args, "--json")
        times.append((time.monotonic() - begun) * 1000)
    return f"{statistics.median(times):.0f} ms"


def main():
    attempts = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    each = 10
    targets = [f"session.completed/{n}" for n in range(10)]
    with Site({"dispatch": {"start": "off"}}, {name: "exit 0" for name in targets}) as site:
        seed.backlog(site, attempts // each // len(targets), *targets, state="success", attempt=1)
        seed.backlog(site, 1000, targets[0])
        for name, duration in DURATIONS.items():
            with seed.database(site) as db:
                for statement in FILL.format(now=seed.now_ms(), duration=duration, each=each).split(";"):
                    db.execute(statement)
            begun = time.monotonic()
            site.tool("prune", timeout=3600)  # adds hours and days up
            rows = site.query("SELECT (SELECT count(*) FROM tally), (SELECT count(*) FROM duration),"
                              " (SELECT sum(length(durations)) FROM tally)")[0]
            print(f"{attempts} attempts, durations {name}: {rows[0]} counts with {rows[2]} bytes of durations,"
                  f" {rows[1]} of minutes; {os.path.getsize(site.db_file) >> 20} MiB;"
                  f" added up in {time.monotonic() - begun:.0f} s")
            for span in ("1h", "24h", "7d", "30d"):
                print(f"  {span}: one handler {measure(site, targets[0], '--range', span)},"
                      f" all {measure(site, '--range', span)}")


if __name__ == "__main__":
    main()
