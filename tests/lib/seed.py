"""A large store in a short time: rows that intake and the dispatcher would have written, put there by SQL.

    with Site(...) as site:
        seed.backlog(site, 100_000, "all/slow")
"""

import contextlib
import sqlite3
import time

BODY = '{"event":"session.completed","timestamp":"2026-03-15T15:00:00Z","data":{"n":%d}}'
DAY_MS = 86_400_000

NUMBERS = "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < :count) "
EVENTS = NUMBERS + (
    "INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body)"
    " SELECT :after + n, printf('evt_%026d', :after + n), 'ntrvsta', :event, '', '', :received_ms, randomblob(32),"
    " CAST(printf(:body, :after + n) AS BLOB) FROM number")
DELIVERIES = NUMBERS + (
    "INSERT INTO delivery (id, event_seq, target, state, attempt, due_ms, created_ms, updated_ms)"
    " SELECT printf('dlv_%s%025d', :target, :after + n), :after + n, :target, :state, :attempt,"
    " CASE :due_ms WHEN 0 THEN 0 ELSE :due_ms + n END, :received_ms, :received_ms FROM number")
ATTEMPTS = (
    "INSERT INTO attempt (delivery_seq, attempt, started_ms, duration_ms, outcome, error_code, error_message, exit_code,"
    " signal, output, output_cut) SELECT seq, 1, created_ms, 7, 'success', '', '', 0, 0, :output, 0 FROM delivery"
    " WHERE event_seq > :after AND target = :target")


def now_ms():
    return int(time.time() * 1000)


@contextlib.contextmanager
def database(site):
    """The site's database, made where it is missing, for large changes: fast, and not safe against power cuts."""
    site.tool("events")
    db = sqlite3.connect(site.db_file, timeout=20, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -262144")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


@contextlib.contextmanager
def without_indexes(db, count):
    """Many rows: indexes are made anew at the end, which is faster than keeping them up to date."""
    if count < 50_000:
        yield
        return
    indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    yield
    for _, sql in indexes:
        db.execute(sql)


def backlog(site, count, *targets, event="session.completed", received_ms=None, state="pending", attempt=0, due_ms=0,
            body=BODY, output=None):
    """COUNT events, each with a delivery to each of TARGETS in STATE (new events where there is none). BODY has a
    %d for the number. DUE_MS: when the first is due, the others a millisecond later each. OUTPUT: each delivery
    has had an attempt that wrote this."""
    with database(site) as db:
        after, = db.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        values = {"count": count, "after": after, "event": event, "received_ms": received_ms or now_ms(), "state": state,
                  "attempt": attempt, "due_ms": due_ms, "body": body, "output": output}
        with without_indexes(db, count):
            db.execute(EVENTS, values)
            for name in targets:
                db.execute("INSERT OR IGNORE INTO target (name) VALUES (?)", (name,))
                values["target"], = db.execute("SELECT id FROM target WHERE name = ?", (name,)).fetchone()
                db.execute(DELIVERIES, values)
                if output is not None:
                    db.execute(ATTEMPTS, values)
        if targets:
            db.execute("UPDATE meta SET value = ? WHERE key = 'expanded'", (after + count,))


# What happened in the minutes of attempts, and of the ends of deliveries: as the dispatcher counts it.
COUNTS = (
    "DELETE FROM tally",
    "DELETE FROM duration",
    "INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts, last_ms)"
    " SELECT target, 0, (started_ms + duration_ms) / 60000 * 60000, count(*), sum(outcome <> 'success'), max(started_ms + duration_ms)"
    " FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq WHERE NOT d.test GROUP BY 1, 3",
    "INSERT INTO tally (target, span, bucket_ms, successful, failed)"
    " SELECT target, 0, updated_ms / 60000 * 60000, sum(state = 'success'), sum(state = 'failed')"
    " FROM delivery WHERE state IN ('success', 'failed') AND NOT test GROUP BY 1, 3"
    " ON CONFLICT (target, span, bucket_ms) DO UPDATE SET successful = excluded.successful, failed = excluded.failed",
    "INSERT INTO duration SELECT target, (started_ms + duration_ms) / 60000 * 60000, duration_ms, count(*)"
    " FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq WHERE NOT d.test GROUP BY 1, 2, 3",
    "UPDATE target SET hours_until = 0, days_until = 0",
    "DELETE FROM arrival",
    "INSERT INTO arrival SELECT org, 0, received_ms / 60000 * 60000, count(*) FROM event WHERE NOT test GROUP BY 1, 3",
    "INSERT INTO arrival SELECT org, 1, received_ms / 3600000 * 3600000, count(*) FROM event WHERE NOT test GROUP BY 1, 3")


def spread(site, hours):
    """All that happened so far, as if it had happened evenly over the last HOURS. Counts follow; what is due stays so."""
    with database(site) as db:
        db.create_function("earlier", 1, lambda share: int(share * hours * 3_600_000))
        db.execute("CREATE TEMP TABLE shift AS SELECT seq, earlier(1 - seq * 1.0 / (SELECT max(seq) FROM event)) AS ms FROM event")
        db.execute("CREATE INDEX temp.shift_seq ON shift (seq)")
        for table, columns, event in (("attempt", ("started_ms",), "(SELECT event_seq FROM delivery d WHERE d.seq = delivery_seq)"),
                                      ("delivery", ("created_ms", "updated_ms"), "event_seq"), ("event", ("received_ms",), "event.seq")):
            for column in columns:
                db.execute(f"UPDATE {table} SET {column} = {column} - (SELECT ms FROM shift WHERE shift.seq = {event})")
        for statement in COUNTS:
            db.execute(statement)
    site.tool("prune")
