-- The run store on SQLite. `run_event` is the truth and only grows; `run`, `run_step` and `run_report` are what it comes to so far, changed in
-- the same transaction. Times are milliseconds since 1970 on the database's clock; JSON is text.
CREATE TABLE run (
    run_id        TEXT    NOT NULL PRIMARY KEY,
    pipeline      TEXT    NOT NULL,
    request_id    TEXT,
    body          TEXT    NOT NULL,
    body_digest   TEXT    NOT NULL,
    state         TEXT    NOT NULL
        CHECK (state IN ('QUEUED', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')),
    outcome       TEXT,
    cancel_reason TEXT,
    attempt       INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    started_ms    INTEGER,
    ended_ms      INTEGER,
    event_seq     INTEGER NOT NULL,
    UNIQUE (pipeline, request_id),
    CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')) = (outcome IS NOT NULL)),
    CHECK ((outcome IS NULL) = (ended_ms IS NULL))
) STRICT;
CREATE INDEX run_by_age ON run (created_ms, run_id);
CREATE INDEX run_by_pipeline ON run (pipeline, created_ms, run_id);
CREATE INDEX run_by_state ON run (state, created_ms, run_id);
CREATE INDEX run_by_end ON run (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE run_event (
    run_id TEXT    NOT NULL REFERENCES run ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER run_event_never_changes BEFORE UPDATE ON run_event
BEGIN
    SELECT RAISE(ABORT, 'events never change');
END;

CREATE TABLE run_step (
    run_id   TEXT    NOT NULL REFERENCES run ON DELETE CASCADE,
    step     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    artifact TEXT    NOT NULL,
    PRIMARY KEY (run_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_report (
    run_id TEXT NOT NULL PRIMARY KEY REFERENCES run ON DELETE CASCADE,
    report TEXT NOT NULL
) STRICT;

CREATE TABLE run_log (
    run_id  TEXT    NOT NULL REFERENCES run ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    level   TEXT    NOT NULL,
    message TEXT    NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

-- A row stays when its lease is given up: epochs only grow.
CREATE TABLE lease (
    name       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT,
    epoch      INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
