#!/usr/bin/env python3
"""One table of what the program does beside its yardsticks, from one run on one machine.

    make bench                        about five minutes
    make bench BENCHFLAGS=--quick     half a minute, for a look
    make bench BENCHFLAGS=--full      with a store of ten million events

Ours and its yardstick take turns, round by round, so that what else the machine does hits both; the
ratio is taken within a round. Each event that is sent is another one, rightly signed. After each run
the store is asked how many it has: that is what counts, not what was answered. doc/performance.md
explains the figures. Everything happens in temporary folders and on loopback.
"""

import argparse
import hmac
import http.client
import json
import os
import platform
import re
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import ntrvsta  # noqa: E402
import webservers  # noqa: E402
from ntrvsta import BUILDDIR, PATH, SECRET, Site, wait_for  # noqa: E402

NULL_ENV = {"LIBFCGI_OS_CLOSE_POLL_TIMEOUT": "0"}
INTAKE = {"web": {"rate_limit": "0"}, "dispatch": {"start": "off"}}
DELIVER = {"web": {"rate_limit": "0"}}
BODY = ('{"event":"session.completed","timestamp":"2026-03-15T15:00:00Z","data":{"session":{"id":"sess_%010d",'
        '"interview_id":"int_1234567890","candidate":{"id":"cand_555666777","email":"candidate@example.com",'
        '"name":"A Candidate"},"completed_at":"2026-03-15T15:00:00Z","duration_minutes":58,"overall_score":85,'
        '"status":"completed"}}}')


class Missing(Exception):
    """Something that a measurement needs is not installed."""


def need(name):
    path = webservers.program(name)
    if not path:
        raise Missing(f"{name} is not installed")
    return path


def helper(name):
    return os.path.join(BUILDDIR, "tests", "bench", name)


# --- the table -------------------------------------------------------------------------------


class Table:
    COLUMNS = ("what", "median", "from", "to", "of null", "p99 ms", "remark")

    def __init__(self):
        self.rows = []
        self.problems = []

    def add(self, section, what, samples, unit="/s", ratios=(), p99=(), remark=""):
        row = {"section": section, "what": what, "unit": unit, "samples": [round(x, 4) for x in samples],
               "ratios": [round(x, 4) for x in ratios], "p99_ms": [round(x, 3) for x in p99], "remark": remark}
        self.rows.append(row)
        print(f"    {what}: {self.number(statistics.median(samples))} {unit} {remark}", file=sys.stderr, flush=True)

    def problem(self, text):
        self.problems.append(text)
        print(f"    ! {text}", file=sys.stderr, flush=True)

    @staticmethod
    def number(x):
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.2f}"

    def cells(self, row):
        samples, ratios, p99 = row["samples"], row["ratios"], row["p99_ms"]
        number = self.number
        return (row["what"], f"{number(statistics.median(samples))} {row['unit']}", number(min(samples)), number(max(samples)),
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "",
                number(statistics.median(p99)) if p99 else "", row["remark"])

    def print(self):
        cells = [self.COLUMNS] + [self.cells(row) for row in self.rows]
        widths = [max(len(c[i]) for c in cells) for i in range(len(self.COLUMNS))]
        section = None
        for row, cell in zip([None] + self.rows, cells):
            if row and row["section"] != section:
                section = row["section"]
                print(f"\n{section}")
            parts = [c.ljust(w) if i in (0, len(cell) - 1) else c.rjust(w) for i, (c, w) in enumerate(zip(cell, widths))]
            print("  ".join(parts).rstrip())
        for text in self.problems:
            print(f"\n! {text}", end="")
        print()


# --- load ------------------------------------------------------------------------------------


class Load:
    """Runs wrk, with signed events none of which was sent before."""

    def __init__(self, folder):
        self.wrk = need("wrk")
        self.file = os.path.join(folder, "requests")
        self.number = 0
        self.fastest = 20000  # a second, so far: how many events to prepare

    def prepare(self, path, count):
        """Write COUNT requests. All have the same length."""
        key = SECRET.encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(BODY % 0)}\r\nX-NTRVSTA-Signature: ").encode()
        with open(self.file, "wb") as f:
            for self.number in range(self.number + 1, self.number + count + 1):
                body = (BODY % self.number).encode()
                request = head + hmac.digest(key, body, "sha256").hex().encode() + b"\r\n\r\n" + body
                f.write(request)
        return len(request)

    def run(self, server, connections, seconds, port=None, path=None):
        """One run against SERVER. What wrk saw, with "accepted" and "rate", of accepted a second."""
        path = path or server.path
        count = int(self.fastest * 1.6 * seconds) + 4000
        length = self.prepare(path, count)
        out = subprocess.run(
            [self.wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", os.path.join(HERE, "load.lua"),
             f"http://127.0.0.1:{port or server.port}{path}", "--", self.file, str(length)],
            capture_output=True, text=True, timeout=seconds + 60)
        found = re.search(r"^RESULT (.*)$", out.stdout, re.M)
        if not found:
            raise AssertionError(f"wrk says: {out.stdout} {out.stderr}")
        result = json.loads(found.group(1))
        result["accepted"] = result["requests"] - result["refused"]
        result["rate"] = result["accepted"] / result["seconds"]
        result["repeated"] = max(0, result["sent"] - count)
        self.fastest = max(self.fastest, result["rate"])
        return result


class Ours:
    """A site of ours behind a web server, with an eye on what it stores and on its memory."""

    def __init__(self, bench, kind, settings, handlers=None, files=None, fcgi=None, env=None):
        self.bench = bench
        self.null = fcgi is not None
        self.site = Site(settings, handlers)
        for name, source in (files or {}).items():
            path = os.path.join(self.site.handlers, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(source, path)
        self.site.install()
        if fcgi:
            self.site.fcgi = shutil.copy(fcgi, os.path.join(self.site.dir, "null"))
        self.server = kind(self.site, env=env)
        self.asked = 0

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.site.close()

    def pids(self, program):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe") == program:
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def stored(self):
        try:
            return self.site.query("SELECT coalesce(max(seq), 0) FROM event")[0][0]
        except (IndexError, sqlite3.OperationalError):  # it makes its database just now
            return 0

    def processor_seconds(self):
        """What its processes have used so far; those that have ended count no more."""
        ticks = 0
        for pid in self.pids(self.site.fcgi):
            try:
                fields = ntrvsta.read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def run(self, connections, seconds):
        used = self.processor_seconds()
        result = self.bench.load.run(self.server, connections, seconds)
        result["cpu_us"] = max(0, self.processor_seconds() - used) * 1e6 / max(1, result["accepted"])
        return result

    def load(self, connections, seconds):
        if self.null:
            return self.run(connections, seconds)
        before = self.stored()
        result = self.run(connections, seconds)
        self.check(result, connections, before)
        self.bench.see_memory(self)
        return result

    def check(self, result, connections, before):
        """Everything accepted is on disk. What wrk did not wait for may be there, too."""
        more = self.stored() - before
        if not result["accepted"] - result["repeated"] <= more <= result["accepted"] + 2 * connections:
            self.bench.table.problem(f"{self.server.name}, {connections} connections: {result['accepted']} accepted, {more} stored")
        for what in ("refused", "broken", "timeouts"):
            if result[what]:
                self.bench.table.problem(f"{self.server.name}, {connections} connections: {result[what]} {what}")


def remark_of(results):
    """What went wrong, in all rounds together."""
    words = [f"{sum(r[what] for r in results)} {what}" for what in ("refused", "broken", "timeouts")
             if any(r[what] for r in results)]
    return ", ".join(words)


# --- what is measured ------------------------------------------------------------------------


class Bench:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.table = Table()
        self.load = Load(folder)
        self.memory = {}
        self.phase = ""
        self.rounds = 2 if args.quick else 5 if args.full else 3
        self.seconds = 1 if args.quick else 3

    def see_memory(self, ours):
        for program in (ours.site.fcgi, ours.site.tool_path):
            for pid in ours.pids(program):
                try:
                    text = ntrvsta.read_file(f"/proc/{pid}/status").decode()
                except OSError:
                    continue
                now = [int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1)) for key in ("VmRSS", "RssAnon")]
                key = (os.path.basename(program), self.phase)
                self.memory[key] = max(self.memory.get(key, [0, 0]), now)

    def measure(self, name, work):
        print(f"  {name}", file=sys.stderr, flush=True)
        self.phase = name
        try:
            work()
        except Missing as e:
            self.table.problem(f"left out: {name}: {e}")
        except (AssertionError, OSError, sqlite3.Error, subprocess.SubprocessError) as e:
            self.table.problem(f"failed: {name}: {e}")

    def alternate(self, section, label, programs, connections, rounds=None):
        """PROGRAMS {name: Ours} in turns; the first is what the others are compared with."""
        results = {name: [] for name in programs}
        for _ in range(rounds or self.rounds):
            for name, ours in programs.items():
                results[name].append(ours.load(connections, self.seconds))
        first = next(iter(programs))
        for name, seen in results.items():
            ratios = [r["rate"] / n["rate"] for r, n in zip(seen, results[first])] if name != first else []
            self.table.add(section, f"{label}, {name}", [r["rate"] for r in seen], ratios=ratios,
                           p99=[r["p99_ms"] for r in seen], remark=self.with_processor(seen))
        return results

    @staticmethod
    def with_processor(results):
        """The processor time that the program itself took: less noisy than what came out of it."""
        cpu = [r["cpu_us"] for r in results if r["cpu_us"] > 0]
        words = [f"{statistics.median(cpu):.1f} us of processor a request"] if cpu else []
        return ", ".join(words + [w for w in [remark_of(results)] if w])

    # 1. beside null

    def fdatasync_alone(self):
        """What the disk gives: append a page and wait for it."""
        rates = []
        for _ in range(self.rounds):
            with tempfile.TemporaryFile(dir=self.folder) as f:
                n, began = 0, time.perf_counter()
                while time.perf_counter() - began < 0.5:
                    os.write(f.fileno(), bytes(4096))
                    os.fdatasync(f.fileno())
                    n += 1
                rates.append(n / (time.perf_counter() - began))
        self.table.add("1. Intake beside null", "append 4 KiB and fdatasync, one at a time", rates)

    def count_syncs(self, ours, connections):
        """Requests for each fdatasync. strace slows the program down, so this is a run of its own."""
        strace = need("strace")
        out = os.path.join(self.folder, "strace")
        pids = [a for pid in ours.pids(ours.site.fcgi) for a in ("-p", str(pid))]
        tracer = subprocess.Popen([strace, "-f", "-c", "-e", "trace=fdatasync,fsync", "-o", out, *pids],
                                  stderr=subprocess.PIPE, text=True)
        tracer.stderr.readline()  # attached
        result = ours.load(connections, 2)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)
        syncs = sum(int(m) for m in re.findall(r"^\s*\S+\s+\S+\s+\S+\s+(\d+)\s+(?:\d+\s+)?f(?:data)?sync$",
                                               ntrvsta.read_file(out).decode(), re.M))
        if syncs:
            self.table.add("1. Intake beside null", f"lighttpd, {connections} connections, requests for each fsync",
                           [result["accepted"] / syncs], unit="",
                           remark=f"{syncs} fsyncs, {result['accepted']} requests under strace")

    def beside_null(self):
        kind = webservers.LighttpdFastCGI
        self.fdatasync_alone()
        with Ours(self, kind, INTAKE, fcgi=helper("null"), env=NULL_ENV) as null, Ours(self, kind, INTAKE) as ours:
            for connections in (1, 8, 64, 256, 512):
                self.alternate("1. Intake beside null", f"lighttpd, {connections} connections",
                               {"null": null, "ours": ours}, connections)
            for connections in (1, 8):
                self.measure(f"fsyncs at {connections}", lambda: self.count_syncs(ours, connections))

    def beside_null_elsewhere(self, kind, label, both=True):
        if kind.missing():
            raise Missing(f"{kind.missing()} is not installed")
        base = {"web": {**INTAKE["web"]}, "dispatch": INTAKE["dispatch"]}
        with Ours(self, kind if both else webservers.Nginx, base, fcgi=helper("null"), env=NULL_ENV) as null, \
                Ours(self, kind, base) as ours:
            for one in (null, ours):  # Apache starts processes with the first requests
                self.load.run(one.server, 64, 1)
            self.alternate("1. Intake beside null", f"{label}, 64 connections", {"null": null, "ours": ours}, 64)

    # 2. others, and what became of what they accepted

    def patience(self):
        return 5 if self.args.quick else 60

    def watch(self, count, accepted, busy=None):
        """How many of ACCEPTED ran within a minute, and how long it took to get there."""
        began = time.monotonic()
        ran, changed = count(), began
        while ran < accepted and time.monotonic() - began < self.patience():
            time.sleep(0.1)
            now = count()
            if now != ran:
                ran, changed = now, time.monotonic()
            elif time.monotonic() - changed > 5 and not (busy and busy()):
                break  # nothing is under way any more
        return ran, changed - began

    def loads(self, run):
        """RUN in rounds, with a first one that warms up and counts for what is to run only."""
        results = [run() for _ in range(self.rounds + 1)]
        return results, sum(r["accepted"] for r in results)

    def add_delivery(self, what, results, accepted, ran, seconds, remark):
        section = "2. Accepted, and what ran of it (64 connections)"
        results = results[1:]
        self.table.add(section, f"{what}, accepted", [r["rate"] for r in results], p99=[r["p99_ms"] for r in results],
                       remark=remark_of(results))
        share = min(1.0, ran / accepted) if accepted else 0
        # At the end of a run some calls are under way: they run, and nobody has seen the answer.
        self.table.add(section, f"{what}, ran within a minute", [100 * share], unit="%",
                       remark=f"{min(ran, accepted)} of {accepted}, the last {seconds:.1f} s after the load; {remark}")

    @staticmethod
    def lines(path):
        try:
            return ntrvsta.read_file(path).count(b"\n")
        except OSError:
            return 0

    def spawn_server(self, argv, port, env, folder):
        log = open(os.path.join(folder, "log"), "wb")
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=folder,
                                 start_new_session=True)
        log.close()

        def up():
            try:
                http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                return True
            except OSError:
                return child.poll() is not None
        wait_for(up, 20, f"{argv[0]} listens")
        if child.poll() is not None:
            raise AssertionError(f"{argv[0]} does not start: {ntrvsta.read_file(os.path.join(folder, 'log'))[-500:]!r}")
        return child

    @staticmethod
    def end_group(child):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()

    def adnanh_webhook(self):
        program = need("webhook")
        folder = tempfile.mkdtemp(dir=self.folder)
        out, script, hooks = (os.path.join(folder, n) for n in ("out", "append", "hooks.json"))
        with open(script, "w") as f:
            f.write(f"#!/bin/sh\necho ran >> '{out}'\n")
        os.chmod(script, 0o755)
        with open(hooks, "w") as f:
            json.dump([{"id": "ntrvsta", "execute-command": script, "trigger-rule": {"match": {
                "type": "payload-hmac-sha256", "secret": SECRET,
                "parameter": {"source": "header", "name": "X-NTRVSTA-Signature"}}}}], f)
        port = ntrvsta.free_port()
        child = self.spawn_server([program, "-hooks", hooks, "-ip", "127.0.0.1", "-port", str(port), "-urlprefix",
                                   "webhooks"], port, dict(os.environ), folder)
        try:
            results, accepted = self.loads(lambda: self.load.run(None, 64, self.seconds, port=port, path=PATH))
            ran, took = self.watch(lambda: self.lines(out), accepted)
            alive = child.poll() is None
        finally:
            self.end_group(child)
        self.add_delivery("adnanh/webhook, script", results, accepted, ran, took, "stores nothing" + ("" if alive else "; it died"))

    def express(self):
        node = need("node")
        folder = tempfile.mkdtemp(dir=self.folder)
        given = self.args.express
        if given:
            os.symlink(os.path.join(os.path.abspath(given), "node_modules"), os.path.join(folder, "node_modules"))
        else:
            done = subprocess.run([need("npm"), "install", "--no-audit", "--no-fund", "--prefix", folder, "express"],
                                  capture_output=True, text=True, timeout=120, cwd=folder)
            if done.returncode:
                raise Missing(f"npm can't install express: {done.stderr.strip()[-200:]}")
        shutil.copy(os.path.join(HERE, "express.js"), folder)
        port = ntrvsta.free_port()
        env = {**os.environ, "PORT": str(port), "NTRVSTA_WEBHOOK_SECRET": SECRET, "NODE_ENV": "production"}
        child = self.spawn_server([node, "express.js"], port, env, folder)

        def count():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/ran")
            n = int(connection.getresponse().read())
            connection.close()
            return n
        try:
            results, accepted = self.loads(lambda: self.load.run(None, 64, self.seconds, port=port, path=PATH))
            ran, took = self.watch(count, accepted)
        finally:
            self.end_group(child)
        self.add_delivery("Express, in its process", results, accepted, ran, took, "stores nothing, retries nothing")

    def our_handlers(self, what, settings, script):
        with Ours(self, webservers.LighttpdFastCGI, {**DELIVER, **settings}, {"all/append": script}) as ours:
            out = os.path.join(ours.site.out, "ran")
            results, accepted = self.loads(lambda: ours.load(64, self.seconds))
            before = self.lines(out)
            ran, took = self.watch(lambda: self.lines(out), accepted, busy=lambda: True)
            self.see_memory(ours)
            rate = (ran - before) / max(took, 0.001)
            left = accepted - ran
            remark = f"{rate:.0f}/s then" + (f"; {left} wait on disk" if left > 0 else "")
        self.add_delivery(what, results, accepted, ran, took, remark)

    # 3. from the answer to the handler

    def latency(self):
        """One event at a time, the next when the handler is through."""
        with Ours(self, webservers.LighttpdFastCGI, DELIVER, files={"all/stamp": helper("stamp")}) as ours:
            stamps = os.path.join(ours.site.handlers, "all", "stamps")
            connection = http.client.HTTPConnection("127.0.0.1", ours.server.port, timeout=20)
            answered = {}
            for i in range(60 if self.args.quick else 300):
                body = ntrvsta.event(n=i)
                connection.request("POST", PATH, body, {"Content-Type": "application/json",
                                                        "X-NTRVSTA-Signature": ntrvsta.sign(body)})
                text = connection.getresponse().read()
                answered[json.loads(text)["id"]] = time.time_ns()
                wait_for(lambda: self.lines(stamps) > i, 20, "the handler ran")
            connection.close()
            started = dict(line.split() for line in ntrvsta.read_file(stamps).decode().splitlines())
            self.see_memory(ours)
        ms = sorted((int(started[i]) - at) / 1e6 for i, at in answered.items())[1:]  # the first starts the dispatcher
        self.table.add("3. From the 200 to the handler", "200 received -> handler's first instruction", ms, unit="ms",
                       p99=[ms[int(len(ms) * 0.99)]], remark=f"{len(ms)} events, one at a time")

    # 4. plain CGI

    def cgi_call(self, site, program, number):
        body = (BODY % number).encode()
        env = site.environment(site.request(body))
        began = time.perf_counter()
        child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 env=env, cwd="/")
        try:
            child.stdin.write(body)
            child.stdin.close()
        except BrokenPipeError:
            pass
        answer = child.stdout.read()  # to the end: what a web server waits for
        took = time.perf_counter() - began
        child.stdout.close()
        child.wait()
        if b"Status: 200" not in answer:
            raise AssertionError(f"a CGI call answers {answer!r}")
        return took * 1000

    def cgi(self):
        programs = {"only answers": helper("hello"), "only answers, links what ours links": helper("hello-linked")}
        with Site(INTAKE) as site:
            programs["ours"] = site.fcgi
            seen = {name: [] for name in programs}
            for _ in range(100 if self.args.quick else 400):
                for name, program in programs.items():
                    self.load.number += 1
                    seen[name].append(self.cgi_call(site, program, self.load.number))
        first = statistics.median(seen["only answers"])
        for name, ms in seen.items():
            times = "" if name == "only answers" else f"{statistics.median(ms) / first:.2f} times the first"
            self.table.add("4. A plain CGI call", name, ms, unit="ms", p99=[sorted(ms)[int(len(ms) * 0.99)]], remark=times)

    # 5. a full store

    def fill(self, ours, count, age_days, *target):
        """With a target, "-" for none, the events are expanded; else they are new."""
        subprocess.run([helper("fill"), ours.site.db_file, str(count), str(age_days), *target], check=True,
                       capture_output=True, **ours.site.as_user())

    def full_store(self, count):
        """An empty store and a full one in turns."""
        kind = webservers.LighttpdFastCGI
        with Ours(self, kind, INTAKE) as empty, Ours(self, kind, INTAKE) as full:
            self.fill(full, count, 0)
            os.sync()  # else its gigabytes go to disk during the first rounds, and every fsync waits for them
            for ours in (empty, full):
                ours.load(64, self.seconds)
            results = {"empty": [], "full": []}
            for _ in range(self.rounds):
                for name, ours in (("empty", empty), ("full", full)):
                    results[name].append(ours.load(64, self.seconds))
        ratios = [f["rate"] / e["rate"] for f, e in zip(results["full"], results["empty"])]
        self.add_store("0 stored", results["empty"])
        self.add_store(f"{count:,} stored".replace(",", " "), results["full"], ratios, "an empty store in the same rounds")

    def add_store(self, what, results, ratios=(), beside=""):
        remark = remark_of(results)
        if ratios:
            remark = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) of {beside} {remark}"
        self.table.add("5. Intake and the store, ours at 64 connections", what, [r["rate"] for r in results],
                       p99=[r["p99_ms"] for r in results], remark=remark.strip())

    def beside_idle(self, what, ours, begin, still_on):
        """BEGIN starts what is to go on meanwhile; an idle site takes turns."""
        with Ours(self, webservers.LighttpdFastCGI, INTAKE) as idle:
            results = {"idle": [], "busy": []}
            begin()
            for _ in range(self.rounds):
                results["idle"].append(idle.load(64, self.seconds))
                results["busy"].append(ours.load(64, self.seconds))
            note = "" if still_on() else " (it was over before the end)"
        ratios = [b["rate"] / i["rate"] for b, i in zip(results["busy"], results["idle"])]
        self.add_store(what, results["busy"], ratios, "an idle site, which takes its share of the processor" + note)

    def during_backlog(self):
        """The dispatcher works off deliveries, one process each."""
        count = 20000 if self.args.quick else 100000
        with Ours(self, webservers.LighttpdFastCGI, INTAKE, {"all/true": "exit 0"}) as ours:
            self.fill(ours, count, 0, "all/true")
            dispatcher = []
            self.beside_idle(f"while a backlog of {count} deliveries is worked off", ours,
                             lambda: dispatcher.append(ours.site.start_dispatcher()),
                             lambda: dispatcher[0].poll() is None and ours.site.query(
                                 "SELECT 1 FROM delivery WHERE state = 'pending' LIMIT 1"))

    def during_pruning(self):
        count = 50000 if self.args.quick else 400000
        with Ours(self, webservers.LighttpdFastCGI, INTAKE) as ours:
            self.fill(ours, count, 60, "-")
            pruning = []
            self.beside_idle(f"while {count} old events are removed", ours,
                             lambda: pruning.append(ours.site.spawn(
                                 [ours.site.tool_path, "prune"], env=ours.site.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **ours.site.as_user())),
                             lambda: pruning[0].poll() is None)

    # 6. memory

    def add_memory(self):
        for (program, phase), (resident, anonymous) in self.memory.items():
            self.table.add("6. Resident memory, the largest seen", f"{program}: {phase}", [resident / 1024], unit="MiB",
                           remark=f"{anonymous / 1024:.1f} MiB of it its own (RssAnon)")

    # --- all of it ---

    def run(self):
        quick, full = self.args.quick, self.args.full
        server = webservers
        steps = [
            ("null", "intake under lighttpd", self.beside_null),
            ("null", "intake under nginx", lambda: self.beside_null_elsewhere(server.Nginx, "nginx")),
            ("null", "intake under nginx, kept connections (null's closed)",
             lambda: self.beside_null_elsewhere(server.NginxKeep, "nginx, kept", both=False)),
            ("null", "intake under Apache mod_fcgid", lambda: self.beside_null_elsewhere(server.ApacheFcgid, "Apache mod_fcgid")),
            ("others", "adnanh/webhook", self.adnanh_webhook),
            ("others", "Express", self.express),
            ("others", "handlers in batches", lambda: self.our_handlers(
                "ours, handler with batch = 500", {"handler all/append": {"batch": "500"}}, 'cat >> "$OUT/ran"')),
            ("others", "a handler for each event", lambda: self.our_handlers(
                "ours, a process for each", {"handler all/append": {"concurrency": "4"}}, 'echo ran >> "$OUT/ran"')),
            ("latency", "from the answer to the handler", self.latency),
            ("cgi", "plain CGI", self.cgi),
            ("store", "a store of events", lambda: self.full_store(100000 if quick else 1000000)),
            ("store", "a store of ten million events", (lambda: self.full_store(10000000)) if full else None),
            ("store", "a backlog", self.during_backlog),
            ("store", "pruning", self.during_pruning),
        ]
        for group, name, work in steps:
            if work and (not self.args.only or group in self.args.only):
                self.measure(name, work)
        self.add_memory()


def cpu_model():
    found = re.search(r"^model name\s*:\s*(.*)$", ntrvsta.read_file("/proc/cpuinfo").decode(errors="replace"), re.M)
    return found.group(1) if found else platform.machine()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="short rounds, for a look")
    length.add_argument("--full", action="store_true", help="more rounds, and ten million events (7 GB of disk)")
    parser.add_argument("--only", action="append", choices=("null", "others", "latency", "cgi", "store"),
                        help="only this part (may be repeated)")
    parser.add_argument("--express", metavar="FOLDER", help="where node_modules/express is, instead of asking npm")
    parser.add_argument("--json", metavar="FILE", default=os.path.join(BUILDDIR, "bench-results.json"))
    return parser.parse_args()


def main():
    args = parse_arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    folder = tempfile.mkdtemp(prefix="ntrvsta-bench-")
    os.chmod(folder, 0o755)
    began, load = time.time(), os.getloadavg()
    try:
        bench = Bench(args, folder)
        bench.run()
    except Missing as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)), "seconds": round(time.time() - began),
             "cpu": cpu_model(), "cpus": os.cpu_count(), "kernel": platform.release(), "load_before": load[0],
             "rounds": bench.rounds, "seconds_a_round": bench.seconds}
    bench.table.print()
    print(f"\n{about['cpus']} x {about['cpu']}, Linux {about['kernel']}; {bench.rounds} rounds of {bench.seconds} s; "
          f"{about['seconds']} s in all; load average before: {load[0]:.2f}")
    with open(args.json, "w") as f:
        json.dump({"about": about, "rows": bench.table.rows, "problems": bench.table.problems}, f, indent=1)
    print(f"also in {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
