"""The tables of the store, and the numbers by which their rows are found."""

from __future__ import annotations

# "infj": whose file this is; and which tables it has.
APPLICATION_ID = 0x696E666A
VERSION = 1

# An input or a result is found by `number of the job * SPAN + number of the item`: those of a job
# lie together, in the order of the items, and without an index of their own.
SPAN = 1 << 24
# What ended is counted in so many seconds together, for the last minute's worth of them.
DRAIN_S = 5

# Space that is freed goes back by and by (incremental), which has to be said before any table.
# Rows of `jobs` are never numbered again, or a new job would inherit what an old one left.
TABLES = f"""
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL, key TEXT NOT NULL,
    model TEXT NOT NULL, version TEXT NOT NULL,
    content_type TEXT NOT NULL, query TEXT NOT NULL, is_bulk INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL, fingerprint BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    items INTEGER NOT NULL, done_items INTEGER NOT NULL DEFAULT 0,
    failed_items INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL,             -- of its inputs that are kept
    attempts INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 1,
    created_s REAL NOT NULL, started_s REAL, ended_s REAL, expires_s REAL,  -- since 1970
    problem BLOB,
    ready_s REAL NOT NULL DEFAULT 0,    -- since the machine booted; 0: at once
    fence INTEGER NOT NULL DEFAULT 0,   -- number of its last claim
    node TEXT, boot TEXT, pid INTEGER, born_ticks INTEGER, lease_ends_s REAL -- since it booted
) STRICT;
CREATE UNIQUE INDEX jobs_by_id ON jobs (id, key);
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (key, idempotency_key)
    WHERE idempotency_key <> '';
CREATE INDEX jobs_by_key ON jobs (key, state, number);
CREATE INDEX jobs_ready ON jobs (number) WHERE state = 'queued' AND ready_s = 0;
CREATE INDEX jobs_paused ON jobs (ready_s) WHERE state = 'queued' AND ready_s > 0;
CREATE INDEX jobs_running ON jobs (number) WHERE state = 'running';
CREATE INDEX jobs_over ON jobs (expires_s) WHERE expires_s IS NOT NULL;

CREATE TABLE inputs (spot INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE results (
    spot INTEGER PRIMARY KEY, status INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;

-- Those that expired, for the answer that they did.
CREATE TABLE tombstones (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL, key TEXT NOT NULL, expired_s REAL NOT NULL
) STRICT;
CREATE INDEX tombstones_by_id ON tombstones (id, key);

-- What a submission would have to count otherwise.
CREATE TABLE counts (
    state TEXT PRIMARY KEY, jobs INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO counts (state)
    VALUES ('queued'), ('running'), ('done'), ('failed'), ('cancelled'), ('expired');
CREATE TABLE drain (slot INTEGER PRIMARY KEY, jobs INTEGER NOT NULL) STRICT;

CREATE TRIGGER job_comes AFTER INSERT ON jobs BEGIN
    UPDATE counts SET jobs = jobs + 1, bytes = bytes + NEW.bytes WHERE state = NEW.state;
END;
CREATE TRIGGER job_changes AFTER UPDATE OF state, bytes ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1, bytes = bytes - OLD.bytes WHERE state = OLD.state;
    UPDATE counts SET jobs = jobs + 1, bytes = bytes + NEW.bytes WHERE state = NEW.state;
END;
CREATE TRIGGER job_ends AFTER UPDATE OF ended_s ON jobs WHEN NEW.ended_s IS NOT NULL BEGIN
    INSERT INTO drain VALUES (CAST(NEW.ended_s / {DRAIN_S} AS INTEGER), 1)
        ON CONFLICT (slot) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_goes AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1, bytes = bytes - OLD.bytes WHERE state = OLD.state;
END;
CREATE TRIGGER job_expires AFTER INSERT ON tombstones BEGIN
    UPDATE counts SET jobs = jobs + 1 WHERE state = 'expired';
END;
CREATE TRIGGER tombstone_goes AFTER DELETE ON tombstones BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE state = 'expired';
END;
"""
