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
    CREATE TEMP TABLE IF NOT EXISTS span AS SELECT 0 AS span, 60000 AS ms, 3 * 3600000 AS keep UNION ALL
      SELECT 1, 3600000, 40 * 86400000 UNION ALL SELECT 2, 86400000, 400 * 86400000;
    INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts)
      SELECT target, span, (started_ms + duration_ms) / ms * ms, count(*), sum(outcome <> 'success')
      FROM span, attempt a JOIN delivery d ON d.seq = a.delivery_seq WHERE started_ms > {now} - keep GROUP BY 1, 2, 3;
    INSERT INTO duration
      SELECT target, span, (started_ms + duration_ms) / ms * ms, duration_ms, count(*)
      FROM span, attempt a JOIN delivery d ON d.seq = a.delivery_seq WHERE started_ms > {now} - keep GROUP BY 1, 2, 3, 4;
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
            rows = site.query("SELECT count(*) FROM duration")[0][0]
            print(f"{attempts} attempts, durations {name}: {rows} counts of durations,"
                  f" {os.path.getsize(site.db_file) >> 20} MiB")
            for span in ("1h", "24h", "7d", "30d"):
                print(f"  {span}: one handler {measure(site, targets[0], '--range', span)},"
                      f" all {measure(site, '--range', span)}")


if __name__ == "__main__":
    main()
