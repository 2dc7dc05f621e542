//! Runs in one SQLite file: for one machine. Never holds a lock between two calls, so several processes may have the file open.

use crate::error::{Error, Result};
use crate::lease::{Fence, Lease};
use crate::migrate;
use crate::rules::lease::LeaseRow;
use crate::rules::run::Update;
use crate::rules::{self, input, page};
use crate::run::{Event, LogLine, RunRecord, StepRecord};
use crate::sql::{self, Arg, RunRow};
use crate::store::{Change, Created, ListQuery, NewRun, RunPage, RunStore};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params, params_from_iter,
};
use serde_json::Value;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Calls that may wait for the thread; more wait for a place.
const WAITING_MAX: usize = 256;
/// How long another process may keep the file locked.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// How often to begin again when another process makes the tables at the same time.
const MIGRATE_TRIES: u32 = 20;
const MIGRATE_PAUSE: Duration = Duration::from_millis(50);

/// The machine's clock as the database reads it.
const NOW: &str = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
const RELEASE: &str = "UPDATE lease SET holder = NULL, expires_ms = 0 WHERE name = $1";
/// Parameters: before, limit.
const PURGE: &str = "DELETE FROM run WHERE run_id IN (SELECT run_id FROM run WHERE ended_ms < $1 ORDER BY ended_ms LIMIT $2)";

/// [`RunStore`] in an SQLite file or in memory. One thread writes, each write durable before it is acknowledged (WAL, synchronous=FULL); with a
/// file another thread reads meanwhile. A call that is dropped midway may still be carried out. The file must be on a local disk: SQLite's locks
/// do not hold on network file systems.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Worker,
    /// Absent in memory: there the writer reads too.
    reader: Option<Worker>,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its tables up to date. Blocks meanwhile.
    /// Errors: `Unavailable` if it cannot be opened; `Damaged` if it is no run store or one of a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writing = configured(Connection::open_with_flags(path, flags)?)?;
        migrate_tables(&mut writing)?;
        let reading = configured(Connection::open_with_flags(path, flags)?)?;
        Ok(Self {
            writer: Worker::start("strata-store-write", writing)?,
            reader: Some(Worker::start("strata-store-read", reading)?),
        })
    }

    /// A store of this process that is gone with it: for tests and dry runs.
    pub fn in_memory() -> Result<Self> {
        let mut connection = configured(Connection::open_in_memory()?)?;
        migrate_tables(&mut connection)?;
        Ok(Self { writer: Worker::start("strata-store", connection)?, reader: None })
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.reader.as_ref().unwrap_or(&self.writer).run(|connection| work(connection)).await
    }

    /// Runs `work` in one transaction, which nothing of another connection can come between.
    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.writer
            .run(|connection| {
                let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let done = work(&tx)?;
                tx.commit()?;
                Ok(done)
            })
            .await
    }
}

#[async_trait]
impl RunStore for SqliteStore {
    async fn create(&self, run: NewRun) -> Result<Created> {
        input::check_new_run(&run)?;
        self.write(move |tx| {
            if let Some(request_id) = &run.request_id
                && let Some(existing) = find(tx, sql::RUN_OF_KEY, params![run.pipeline, request_id])?
            {
                return rules::run::same(existing, &run);
            }
            let update = rules::run::create(&run, now(tx)?.1);
            let row = RunRow::of(&update.run)?;
            if tx.prepare_cached(sql::INSERT_RUN)?.execute(run_params(&row))? == 0 {
                return Err(rules::run::id_taken());
            }
            insert_events(tx, &update)?;
            Ok(Created::New(update.run))
        })
        .await
    }

    async fn get(&self, run_id: &str) -> Result<Option<RunRecord>> {
        let run_id = run_id.to_owned();
        self.read(move |db| find(db, sql::RUN, params![run_id])).await
    }

    async fn lookup(&self, pipeline: &str, request_id: &str) -> Result<Option<RunRecord>> {
        let key = [pipeline.to_owned(), request_id.to_owned()];
        self.read(move |db| find(db, sql::RUN_OF_KEY, params_from_iter(key))).await
    }

    async fn list(&self, query: &ListQuery) -> Result<RunPage> {
        let (sql, args) = sql::list(query, page::cursor(query)?);
        let runs = self.read(move |db| collect(db, &sql, params_from_iter(args), run_row)).await?;
        Ok(page::cut(query, runs.into_iter().map(RunRow::record).collect::<Result<_>>()?))
    }

    async fn append(&self, fence: &Fence, run_id: &str, change: Change) -> Result<u64> {
        let (fence, run_id) = (fence.clone(), run_id.to_owned());
        self.write(move |tx| {
            let (now_ms, now) = now(tx)?;
            rules::lease::hold(lease_row(tx, &fence.name)?.as_ref(), &fence, now_ms)?;
            let update = rules::run::append(&existing(tx, &run_id)?, &change, now)?;
            put(tx, &update)?;
            Ok(update.run.event_seq)
        })
        .await
    }

    async fn request_cancel(&self, run_id: &str, reason: &str) -> Result<RunRecord> {
        let (run_id, reason) = (run_id.to_owned(), input::reason(reason));
        self.write(move |tx| {
            let run = existing(tx, &run_id)?;
            let update = rules::run::cancel(&run, &reason, now(tx)?.1)?;
            put_if_any(tx, run, update)
        })
        .await
    }

    async fn request_resume(&self, run_id: &str) -> Result<RunRecord> {
        let run_id = run_id.to_owned();
        self.write(move |tx| {
            let run = existing(tx, &run_id)?;
            let update = rules::run::resume(&run, now(tx)?.1)?;
            put_if_any(tx, run, update)
        })
        .await
    }

    async fn events(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<Event>> {
        let run_id = run_id.to_owned();
        let rows =
            self.read(move |db| collect(db, sql::EVENTS, params![run_id, sql::number(after_seq), limit], numbered_row)).await?;
        rows.into_iter().map(|(seq, at_ms, kind, body)| sql::event(seq, at_ms, kind, &body)).collect()
    }

    async fn steps(&self, run_id: &str) -> Result<Vec<StepRecord>> {
        let run_id = run_id.to_owned();
        let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let rows: Vec<(String, String, String)> = self.read(move |db| collect(db, sql::STEPS, params![run_id], columns)).await?;
        rows.into_iter().map(|(step, digest, artifact)| sql::step(step, digest, &artifact)).collect()
    }

    async fn report(&self, run_id: &str) -> Result<Option<Value>> {
        let run_id = run_id.to_owned();
        let text: Option<String> = self
            .read(move |db| Ok(db.prepare_cached(sql::REPORT)?.query_row(params![run_id], |row| row.get(0)).optional()?))
            .await?;
        text.as_deref().map(sql::json).transpose()
    }

    async fn log(&self, run_id: &str, lines: &[(String, String)]) -> Result<()> {
        input::check_log(lines)?;
        let (run_id, lines) = (run_id.to_owned(), lines.to_owned());
        self.write(move |tx| {
            existing(tx, &run_id)?;
            let (now_ms, _) = now(tx)?;
            let last: i64 = tx.prepare_cached(sql::LAST_LOG)?.query_row(params![run_id], |row| row.get(0))?;
            let mut insert = tx.prepare_cached(sql::INSERT_LOG)?;
            for (seq, (level, message)) in (last + 1..).zip(&lines) {
                insert.execute(params![run_id, seq, now_ms, level, input::clean(message)])?;
            }
            Ok(())
        })
        .await
    }

    async fn logs(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<LogLine>> {
        let run_id = run_id.to_owned();
        let rows =
            self.read(move |db| collect(db, sql::LOGS, params![run_id, sql::number(after_seq), limit], numbered_row)).await?;
        rows.into_iter().map(|(seq, at_ms, level, message)| sql::log_line(seq, at_ms, level, message)).collect()
    }

    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        input::check_lease(name, holder)?;
        let (name, holder, ttl_ms) = (name.to_owned(), holder.to_owned(), input::ttl_ms(ttl)?);
        self.write(move |tx| {
            let Some(row) = rules::lease::grant(lease_row(tx, &name)?, &holder, now(tx)?.0, ttl_ms) else { return Ok(None) };
            put_lease(tx, &name, &row)?;
            row.lease(&name).map(Some)
        })
        .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let (lease, ttl_ms) = (lease.clone(), input::ttl_ms(ttl)?);
        self.write(move |tx| {
            let row = rules::lease::prolong(lease_row(tx, &lease.name)?, &lease, now(tx)?.0, ttl_ms)?;
            put_lease(tx, &lease.name, &row)?;
            row.lease(&lease.name)
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.write(move |tx| {
            if lease_row(tx, &lease.name)?.is_some_and(|row| rules::lease::is_of(&row, &lease)) {
                tx.prepare_cached(RELEASE)?.execute(params![lease.name])?;
            }
            Ok(())
        })
        .await
    }

    async fn check(&self, fence: &Fence) -> Result<()> {
        let fence = fence.clone();
        self.read(move |db| rules::lease::hold(lease_row(db, &fence.name)?.as_ref(), &fence, now(db)?.0)).await
    }

    async fn purge(&self, keep: Duration) -> Result<u64> {
        let keep_ms = input::span_ms(keep);
        let mut forgotten = 0;
        loop {
            let some = self
                .write(move |tx| {
                    let before = now(tx)?.0.saturating_sub(keep_ms);
                    Ok(tx.prepare_cached(PURGE)?.execute(params![before, sql::PURGED_AT_ONCE])? as u64)
                })
                .await?;
            forgotten += some;
            if some < u64::from(sql::PURGED_AT_ONCE) {
                return Ok(forgotten);
            }
        }
    }
}

/// A connection and the only thread that uses it.
#[derive(Debug)]
struct Worker {
    /// Absent only while it stops.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

type Call = Box<dyn FnOnce(&mut Connection) + Send>;

impl Worker {
    fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let (calls, mut waiting) = mpsc::channel::<Call>(WAITING_MAX);
        let serve = move || {
            while let Some(call) = waiting.blocking_recv() {
                call(&mut connection);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(serve);
        let thread = thread.map_err(|e| Error::Unavailable(format!("no thread for it could be started: {e}")))?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let stopped = || Error::Unavailable("its thread stopped".into());
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |connection| {
            // Nobody waits for the answer of a call that was dropped.
            let _ = reply.send(work(connection));
        });
        self.calls.as_ref().ok_or_else(stopped)?.send(call).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Worker {
    /// Waits for calls under way, so that the file is closed afterwards.
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to do.
            let _ = thread.join();
        }
    }
}

fn configured(connection: Connection) -> Result<Connection> {
    connection.busy_timeout(BUSY_MAX)?;
    // Going over to WAL needs the file alone and does not wait for it by itself; a file that is there already is in WAL mode.
    let mut tries = 1;
    while let Err(e) = connection.pragma_update(None, "journal_mode", "WAL") {
        if !is_busy(&e) || tries == MIGRATE_TRIES {
            return Err(e.into());
        }
        tries += 1;
        thread::sleep(MIGRATE_PAUSE);
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(connection)
}

fn migrate_tables(connection: &mut Connection) -> Result<()> {
    let runner = migrate::sqlite()?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let mut tries = 1;
    // Another process that does the same at once wins or loses as a whole; the loser then finds nothing to do.
    let report = loop {
        let e = match runner.run(connection) {
            Ok(report) => break report,
            Err(e) => e,
        };
        if let Some(refused) = migrate::refused(&e, &runner) {
            return Err(refused);
        }
        if tries == MIGRATE_TRIES {
            return Err(Error::Unavailable(format!("its tables could not be made: {e}")));
        }
        tries += 1;
        thread::sleep(MIGRATE_PAUSE);
    };
    migrate::told(&report);
    connection.set_transaction_behavior(TransactionBehavior::Deferred);
    Ok(())
}

fn now(db: &Connection) -> Result<(i64, DateTime<Utc>)> {
    let ms = db.prepare_cached(NOW)?.query_row([], |row| row.get(0))?;
    Ok((ms, sql::time(ms)?))
}

fn find(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Option<RunRecord>> {
    db.prepare_cached(sql)?.query_row(params, run_row).optional()?.map(RunRow::record).transpose()
}

fn existing(db: &Connection, run_id: &str) -> Result<RunRecord> {
    find(db, sql::RUN, params![run_id])?.ok_or_else(|| Error::NotFound(run_id.to_owned()))
}

fn collect<T>(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    Ok(db.prepare_cached(sql)?.query_map(params, row)?.collect::<rusqlite::Result<_>>()?)
}

fn put_if_any(tx: &Transaction<'_>, run: RunRecord, update: Option<Update>) -> Result<RunRecord> {
    let Some(update) = update else { return Ok(run) };
    put(tx, &update)?;
    Ok(update.run)
}

fn put(tx: &Transaction<'_>, update: &Update) -> Result<()> {
    let row = RunRow::of(&update.run)?;
    tx.prepare_cached(sql::UPDATE_RUN)?.execute(params![
        row.state,
        row.outcome,
        row.cancel_reason,
        row.attempt,
        row.started_ms,
        row.ended_ms,
        row.event_seq,
        row.run_id
    ])?;
    insert_events(tx, update)?;
    if let Some(step) = &update.step {
        tx.prepare_cached(sql::PUT_STEP)?.execute(params![row.run_id, step.step, step.digest, step.artifact.to_string()])?;
    }
    if let Some(report) = &update.report {
        tx.prepare_cached(sql::PUT_REPORT)?.execute(params![row.run_id, report.to_string()])?;
    }
    Ok(())
}

fn insert_events(tx: &Transaction<'_>, update: &Update) -> Result<()> {
    let mut insert = tx.prepare_cached(sql::INSERT_EVENT)?;
    for event in &update.events {
        insert.execute(params![
            update.run.run_id,
            sql::number(event.seq),
            event.at.timestamp_millis(),
            event.kind,
            event.body.to_string()
        ])?;
    }
    Ok(())
}

fn lease_row(db: &Connection, name: &str) -> Result<Option<LeaseRow>> {
    let columns = |row: &Row<'_>| Ok(LeaseRow { holder: row.get(0)?, epoch: row.get(1)?, expires_ms: row.get(2)? });
    Ok(db.prepare_cached(sql::LEASE)?.query_row(params![name], columns).optional()?)
}

fn put_lease(tx: &Transaction<'_>, name: &str, row: &LeaseRow) -> Result<()> {
    tx.prepare_cached(sql::PUT_LEASE)?.execute(params![name, row.holder, row.epoch, row.expires_ms])?;
    Ok(())
}

fn run_params(row: &RunRow) -> [&dyn ToSql; 13] {
    [
        &row.run_id,
        &row.pipeline,
        &row.request_id,
        &row.body,
        &row.body_digest,
        &row.state,
        &row.outcome,
        &row.cancel_reason,
        &row.attempt,
        &row.created_ms,
        &row.started_ms,
        &row.ended_ms,
        &row.event_seq,
    ]
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        run_id: row.get(0)?,
        pipeline: row.get(1)?,
        request_id: row.get(2)?,
        body: row.get(3)?,
        body_digest: row.get(4)?,
        state: row.get(5)?,
        outcome: row.get(6)?,
        cancel_reason: row.get(7)?,
        attempt: row.get(8)?,
        created_ms: row.get(9)?,
        started_ms: row.get(10)?,
        ended_ms: row.get(11)?,
        event_seq: row.get(12)?,
    })
}

/// Number, time and two texts: an event or a line of a log.
fn numbered_row(row: &Row<'_>) -> rusqlite::Result<(i64, i64, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Int(number) => number.to_sql(),
        }
    }
}

fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::Error as Sqlite;
        match (&e, e.sqlite_error_code()) {
            (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
                Self::Unavailable("another process kept the file locked\n  help: end that process or try again".into())
            }
            (_, Some(ErrorCode::TooBig)) => Self::Invalid("a value is too big for the run store\n  help: make it smaller".into()),
            (
                _,
                Some(
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TypeMismatch
                    | ErrorCode::ConstraintViolation,
                ),
            ) => Self::Damaged(e.to_string()),
            (Sqlite::FromSqlConversionFailure(..) | Sqlite::InvalidColumnType(..) | Sqlite::IntegralValueOutOfRange(..), _) => {
                Self::Damaged(e.to_string())
            }
            _ => Self::Unavailable(e.to_string()),
        }
    }
}
