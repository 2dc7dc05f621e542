-- The run store on PostgreSQL. `run_event` is the truth and only grows; `run`, `run_step` and `run_report` are what it comes to so far, changed
-- in the same transaction. Times are milliseconds since 1970 on the database's clock; JSON is text, so that it comes back as it went in.
-- Ids sort by their bytes (COLLATE "C"), as in SQLite.
CREATE TABLE run (
    run_id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    pipeline      TEXT COLLATE "C" NOT NULL,
    request_id    TEXT COLLATE "C",
    body          TEXT   NOT NULL,
    body_digest   TEXT   NOT NULL,
    state         TEXT   NOT NULL
        CHECK (state IN ('QUEUED', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')),
    outcome       TEXT,
    cancel_reason TEXT,
    attempt       BIGINT NOT NULL,
    created_ms    BIGINT NOT NULL,
    started_ms    BIGINT,
    ended_ms      BIGINT,
    event_seq     BIGINT NOT NULL,
    UNIQUE (pipeline, request_id),
    CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')) = (outcome IS NOT NULL)),
    CHECK ((outcome IS NULL) = (ended_ms IS NULL))
);
CREATE INDEX run_by_age ON run (created_ms, run_id);
CREATE INDEX run_by_pipeline ON run (pipeline, created_ms, run_id);
CREATE INDEX run_by_state ON run (state, created_ms, run_id);
CREATE INDEX run_by_end ON run (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE run_event (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES run ON DELETE CASCADE,
    seq    BIGINT NOT NULL,
    at_ms  BIGINT NOT NULL,
    kind   TEXT   NOT NULL,
    body   TEXT   NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE FUNCTION run_event_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events never change';
END
$$;
CREATE TRIGGER run_event_never_changes BEFORE UPDATE ON run_event
    FOR EACH ROW EXECUTE FUNCTION run_event_never_changes();

CREATE TABLE run_step (
    run_id   TEXT COLLATE "C" NOT NULL REFERENCES run ON DELETE CASCADE,
    step     TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    digest   TEXT   NOT NULL,
    artifact TEXT   NOT NULL,
    PRIMARY KEY (run_id, step)
);

CREATE TABLE run_report (
    run_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES run ON DELETE CASCADE,
    report TEXT NOT NULL
);

CREATE TABLE run_log (
    run_id  TEXT COLLATE "C" NOT NULL REFERENCES run ON DELETE CASCADE,
    seq     BIGINT NOT NULL,
    at_ms   BIGINT NOT NULL,
    level   TEXT   NOT NULL,
    message TEXT   NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- A row stays when its lease is given up: epochs only grow.
CREATE TABLE lease (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder     TEXT,
    epoch      BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
