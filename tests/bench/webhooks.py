#!/usr/bin/env python3
"""How fast URLs are called; by hand, on a machine that does nothing else (nginx and curl are needed):

    builddir=BUILD python3 tests/bench/webhooks.py [rate] [latency]

rate:    calls a second to nginx over HTTPS, 64 at once, from a backlog, against `curl --parallel` to the same server,
         in turns.
latency: from the 200 that the sender gets until the call arrives, one event after the other, against a bare call on a
         connection that stands.
"""

import http.client
import os
import pathlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import fastcgi
import seed
from ntrvsta import Site, event
from receiver import Authority, Nginx, Receiver, register

AT_ONCE = 64
ROUNDS = 7
SETTINGS = {"dispatch": {"start": "off", "concurrency": str(AT_ONCE)}, "web": {"rate_limit": "0"},
            "webhooks": {"allow_private": "127.0.0.1", "concurrency": str(AT_ONCE)}}


def curl(server, authority, body, count):
    begun = time.monotonic()
    subprocess.run(["curl", "--parallel", "--parallel-max", str(AT_ONCE), "--parallel-immediate", "--no-progress-meter", "--fail",
                    "--http1.1", "--cacert", authority.ca_file, "-H", "Content-Type: application/json",
                    "--data-binary", "@" + body, "-o", "/dev/null", f"https://localhost:{server.port}/[1-{count}]"],
                   check=True, stdout=subprocess.DEVNULL)
    return count / (time.monotonic() - begun)


def ours(server, authority, count):
    with Site(SETTINGS) as site:
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        seed.backlog(site, count, register(site, f"https://localhost:{server.port}/"))
        begun = time.monotonic()
        site.dispatch_once(timeout=600)
        took = time.monotonic() - begun
        states = dict(site.query("SELECT state, count(*) FROM delivery GROUP BY state"))
        if states != {"success": count}:
            raise SystemExit(f"not all called: {states}")
    return count / took


def bench_rate(folder, authority, count=10_000):
    body = os.path.join(folder, "event.json")
    with open(body, "w") as f:
        f.write(seed.BODY % count)
    server = Nginx(folder, authority, http2=False, log=False)
    try:
        pairs = [(ours(server, authority, count), curl(server, authority, body, count)) for _ in range(ROUNDS)]
    finally:
        server.close()
    ratio = statistics.median(o / c for o, c in pairs)
    print(f"HTTP/1.1 over TLS, {AT_ONCE} at once: {statistics.median(o for o, _ in pairs):.0f}/s,"
          f" curl --parallel {statistics.median(c for _, c in pairs):.0f}/s, ratio {ratio:.2f};"
          " rounds " + " ".join(f"{o:.0f}/{c:.0f}" for o, c in pairs))


def bench_http2(folder, authority, count=10_000):
    """Ours alone: curl 7.88 can't, see call.c."""
    server = Nginx(folder, authority, http2=True, log=False)
    try:
        rates = [ours(server, authority, count) for _ in range(ROUNDS)]
    finally:
        server.close()
    print(f"HTTP/2, {AT_ONCE} at once: {statistics.median(rates):.0f}/s; rounds " + " ".join(f"{r:.0f}" for r in rates))


def bare_calls(r, authority, count):
    """Milliseconds from the start of a call until it has arrived."""
    connection = http.client.HTTPSConnection("localhost", r.port, context=ssl.create_default_context(cafile=authority.ca_file))
    delays = []
    for n in range(count):
        begun = time.time()
        connection.request("POST", "/", event(n=n), {"Content-Type": "application/json"})
        connection.getresponse().read()
        delays.append((r.requests[-1].received - begun) * 1000)
        time.sleep(0.01)
    connection.close()
    return delays


def bench_latency(authority, count=300):
    with Receiver(authority.server("localhost")) as r, Site(SETTINGS) as site:
        site.configure({"webhooks": {"ca_file": authority.ca_file}})
        register(site, r.url())
        program = fastcgi.Program(site)
        try:
            site.start_dispatcher()
            stored, delays = [], []
            for n in range(count):
                begun = time.time()
                program.call(event(n=n))
                answered = time.time()
                arrived = r.wait(n + 1)[n].received
                stored.append((answered - begun) * 1000)
                delays.append((arrived - answered) * 1000)
                time.sleep(0.01)
        finally:
            program.close()
        bare = bare_calls(r, authority, count)
    print(f"one event: 200 after {statistics.median(stored):.2f} ms, the call arrives {statistics.median(delays):.2f} ms later"
          f" (95%: {sorted(delays)[count * 95 // 100]:.2f}); a bare call arrives after {statistics.median(bare):.2f} ms")


def main():
    chosen = sys.argv[1:] or ["rate", "latency"]
    with tempfile.TemporaryDirectory(prefix="ntrvsta-bench-") as folder:
        authority = Authority(folder)
        if "rate" in chosen:
            bench_rate(folder, authority)
            bench_http2(folder, authority)
        if "latency" in chosen:
            bench_latency(authority)


if __name__ == "__main__":
    main()
