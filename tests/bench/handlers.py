#!/usr/bin/env python3
"""How fast the dispatcher is; by hand, on a machine that does nothing else:

    builddir=BUILD python3 tests/bench/handlers.py [handlers] [batch]

handlers: runs a second of `cat >/dev/null` from a backlog, at concurrency 2 and 4, against a bare
          posix_spawn() loop (spawn.c) with the same script at the same width, in turns.
batch:    events a second through a batch handler that runs `jq -c .event`, from events that are
          stored and nothing else: with the making of deliveries.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import seed
from ntrvsta import Site

NAME = "session.completed"
# As handlers have it: with a locale, `cat` itself takes longer.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
BODY = len(seed.BODY)
ROUNDS = 9


def drain(site):
    """Seconds that `dispatch --once` takes."""
    begun = time.monotonic()
    site.dispatch_once(timeout=600)
    return time.monotonic() - begun


def all_done(site, count):
    states = dict(site.query("SELECT state, count(*) FROM delivery GROUP BY state"))
    if states != {"success": count}:
        raise SystemExit(f"not all done: {states}")


def bench_handlers(width, count=2000):
    bare, ours = [], []
    settings = {"dispatch": {"start": "off", "concurrency": str(width)}, "handlers": {"concurrency": str(width)}}
    for _ in range(ROUNDS):
        with Site(settings, {f"{NAME}/h": "#!/bin/sh\ncat >/dev/null\n"}) as site:
            program = os.path.join(site.dir, "spawn")
            subprocess.run(["cc", "-O2", "-o", program, HERE / "spawn.c"], check=True)
            script = os.path.join(site.handlers, NAME, "h")
            bare.append(float(subprocess.run([program, script, str(count), str(width), str(BODY)], check=True,
                                             capture_output=True, env=ENVIRONMENT).stdout))
            seed.backlog(site, count, f"{NAME}/h")
            ours.append(count / drain(site))
            all_done(site, count)
    ratio = statistics.median(o / b for o, b in zip(ours, bare))
    print(f"handlers, concurrency {width}: {statistics.median(ours):.0f}/s, bare loop {statistics.median(bare):.0f}/s,"
          f" ratio {ratio:.2f}; rounds " + " ".join(f"{o:.0f}/{b:.0f}" for o, b in zip(ours, bare)))


def bench_batch(count=200_000):
    for batch in (500, 1000, 2000, 5000):
        rates = []
        for _ in range(3):
            settings = {"dispatch": {"start": "off"}, "handlers": {"batch": str(batch)}}
            with Site(settings, {f"{NAME}/h": f'#!/bin/sh\njq -c .event >>"$HOME/out"\n'}) as site:
                seed.backlog(site, count)
                begun = time.monotonic()
                site.tool("dispatch", "--once", timeout=600, env={"HOME": site.out})
                rates.append(count / (time.monotonic() - begun))
                all_done(site, count)
                with open(os.path.join(site.out, "out")) as f:
                    assert sum(1 for _ in f) == count
        print(f"batch = {batch}: {statistics.median(rates):.0f} events/s; rounds " + " ".join(f"{r:.0f}" for r in rates))


def main():
    chosen = sys.argv[1:] or ["handlers", "batch"]
    if "handlers" in chosen:
        bench_handlers(2)
        bench_handlers(4)
    if "batch" in chosen:
        bench_batch()


if __name__ == "__main__":
    main()
