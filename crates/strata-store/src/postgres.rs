//! Runs in a PostgreSQL schema: for several coordinators. Never shows the URL it was given: it may hold a password.

mod connect;
mod failure;

use self::connect::{CONNECT_MAX, configured, migrate_tables};
use self::failure::Failure;
use crate::error::{Error, Result};
use crate::lease::{Fence, Lease};
use crate::rules::lease::LeaseRow;
use crate::rules::run::Update;
use crate::rules::{self, input, page};
use crate::run::{Event, LogLine, RunRecord, StepRecord};
use crate::sql::{self, Arg, RunRow};
use crate::store::{Change, Created, ListQuery, NewRun, RunPage, RunStore};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction};
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{IsolationLevel, NoTls, Row};

/// Connections of one store.
const CONNECTIONS_MAX: usize = 16;
/// How long a call may take with a connection.
const CALL_MAX: Duration = Duration::from_secs(60);
/// How often a transaction that PostgreSQL gave up (serialization failure, deadlock) is begun again.
const RETRIES: u32 = 5;
/// Before the first of them; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// Parameters: run id, at, numbers, kinds, bodies.
const INSERT_EVENTS: &str = "INSERT INTO run_event (run_id, at_ms, seq, kind, body) \
     SELECT $1::text, $2::bigint, * FROM unnest($3::bigint[], $4::text[], $5::text[])";
/// Parameters: run id, at, numbers, levels, messages.
const INSERT_LOGS: &str = "INSERT INTO run_log (run_id, at_ms, seq, level, message) \
     SELECT $1::text, $2::bigint, * FROM unnest($3::bigint[], $4::text[], $5::text[])";
/// A leader's writes hold this until they commit, and who takes its lease over waits for them. PostgreSQL queues for it fairly: with row locks
/// (`FOR SHARE`) a busy leader's writes kept everybody, itself included, from the lease's row.
const SHARE_LEASE: &str = "SELECT pg_advisory_xact_lock_shared('lease'::regclass::oid::int, hashtext($1))";
const TAKE_LEASE_OVER: &str = "SELECT pg_advisory_xact_lock('lease'::regclass::oid::int, hashtext($1))";
const ADD_LEASE: &str = "INSERT INTO lease (name, holder, epoch, expires_ms) VALUES ($1, NULL, 0, 0) ON CONFLICT DO NOTHING";
const RELEASE: &str = "UPDATE lease SET holder = NULL, expires_ms = 0 WHERE name = $1";
/// Parameters: before, limit. Rows that somebody is changing are left for the next time.
const PURGE: &str = "DELETE FROM run WHERE run_id IN \
     (SELECT run_id FROM run WHERE ended_ms < $1 ORDER BY ended_ms LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// [`RunStore`] in a PostgreSQL schema: the first one on the search path, which `?options=-csearch_path%3Dname` sets. Connections are not
/// encrypted (this build has no TLS connector for PostgreSQL): reach the server over loopback, a private network or a local TLS proxy;
/// `sslmode=require` is refused rather than ignored. A call that is dropped midway, or whose connection breaks while it commits, may still have
/// been carried out.
pub struct PostgresStore {
    pool: Pool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects and brings the tables up to date, one coordinator at a time.
    /// Errors: `Invalid` for a URL that cannot be used; `Unavailable` if the server does not answer; `Damaged` for tables of a newer version.
    pub async fn connect(url: &str) -> Result<Self> {
        let mut config = configured(url)?;
        let migrated = timeout(CALL_MAX, migrate_tables(&config)).await;
        if !migrated.map_err(|_| {
            Error::Unavailable("making its tables took too long\n  help: see who holds locks in the database".into())
        })?? {
            let options = format!("{} -c synchronous_commit=on", config.get_options().unwrap_or_default());
            config.options(options);
        }
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Verified });
        let pool = Pool::builder(manager).max_size(CONNECTIONS_MAX).runtime(Runtime::Tokio1);
        let pool =
            pool.wait_timeout(Some(CONNECT_MAX)).create_timeout(Some(CONNECT_MAX)).recycle_timeout(Some(CONNECT_MAX)).build();
        Ok(Self { pool: pool.map_err(|e| Error::Unavailable(e.to_string()))? })
    }

    async fn client(&self) -> Result<Object, Failure> {
        Ok(self.pool.get().await?)
    }

    async fn create_once(&self, new: &NewRun) -> Result<Created, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let update = rules::run::create(new, now(&tx).await?.1);
        let row = RunRow::of(&update.run)?;
        if tx.execute(&tx.prepare_cached(sql::INSERT_RUN).await?, &run_params(&row)).await? == 1 {
            insert_events(&tx, &update).await?;
            tx.commit().await?;
            return Ok(Created::New(update.run));
        }
        // The insert waited for whoever was making a run of this key or id: by now it is there.
        if let Some(request_id) = &new.request_id
            && let Some(existing) = find(&tx, sql::RUN_OF_KEY, &[&new.pipeline, request_id]).await?
        {
            return Ok(rules::run::same(existing, new)?);
        }
        match find(&tx, sql::RUN, &[&new.run_id]).await? {
            Some(_) => Err(rules::run::id_taken().into()),
            None => Err(Failure::Again(Error::Unavailable("the run was being forgotten".into()))),
        }
    }

    async fn append_once(&self, fence: &Fence, run_id: &str, change: &Change) -> Result<u64, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        // INVARIANT: until this commits nobody can take the lease over, and nobody else can change the run.
        tx.execute(&tx.prepare_cached(SHARE_LEASE).await?, &[&sought(&fence.name)]).await?;
        let lease = lease_row(&tx, &fence.name, "").await?;
        let run = find(&tx, &locked(sql::RUN), &[&sought(run_id)]).await?;
        let (now_ms, now) = now(&tx).await?;
        rules::lease::hold(lease.as_ref(), fence, now_ms)?;
        let update = rules::run::append(&run.ok_or_else(|| Error::NotFound(run_id.to_owned()))?, change, now)?;
        put(&tx, &update).await?;
        tx.commit().await?;
        Ok(update.run.event_seq)
    }

    /// Changes a run by a rule that needs no lease.
    async fn change_once(&self, run_id: &str, rule: &Rule<'_>) -> Result<RunRecord, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let run = existing(&tx, run_id).await?;
        let Some(update) = rule(&run, now(&tx).await?.1)? else { return Ok(run) };
        put(&tx, &update).await?;
        tx.commit().await?;
        Ok(update.run)
    }

    async fn log_once(&self, run_id: &str, lines: &[(String, String)]) -> Result<(), Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        existing(&tx, run_id).await?;
        let now_ms = now(&tx).await?.0;
        let last: i64 = column(&tx.query_one(&tx.prepare_cached(sql::LAST_LOG).await?, &[&run_id]).await?, 0)?;
        let numbers: Vec<i64> = (last + 1..).take(lines.len()).collect();
        let levels: Vec<&str> = lines.iter().map(|(level, _)| level.as_str()).collect();
        let messages: Vec<String> = lines.iter().map(|(_, message)| input::clean(message)).collect();
        tx.execute(&tx.prepare_cached(INSERT_LOGS).await?, &[&run_id, &now_ms, &numbers, &levels, &messages]).await?;
        Ok(tx.commit().await?)
    }

    async fn acquire_once(&self, name: &str, holder: &str, ttl_ms: i64) -> Result<Option<Lease>, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let seen = lease_row(&tx, name, "").await?;
        let is_own = seen.as_ref().is_some_and(|row| row.holder.as_deref() == Some(holder));
        if rules::lease::grant(seen, holder, now(&tx).await?.0, ttl_ms).is_none() {
            return Ok(None);
        }
        // Who has it already need not wait for its own writes.
        if !is_own {
            tx.execute(&tx.prepare_cached(TAKE_LEASE_OVER).await?, &[&name]).await?;
            tx.execute(&tx.prepare_cached(ADD_LEASE).await?, &[&name]).await?;
        }
        let row = lease_row(&tx, name, "FOR UPDATE").await?;
        if is_own && row.as_ref().is_none_or(|row| row.holder.as_deref() != Some(holder)) {
            return Err(Failure::Again(Error::Unavailable("the lease changed hands meanwhile".into())));
        }
        let Some(row) = rules::lease::grant(row, holder, now(&tx).await?.0, ttl_ms) else { return Ok(None) };
        put_lease(&tx, name, &row).await?;
        tx.commit().await?;
        Ok(Some(row.lease(name)?))
    }

    async fn renew_once(&self, lease: &Lease, ttl_ms: i64) -> Result<Lease, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let row = lease_row(&tx, &lease.name, "FOR UPDATE").await?;
        let row = rules::lease::prolong(row, lease, now(&tx).await?.0, ttl_ms)?;
        put_lease(&tx, &lease.name, &row).await?;
        tx.commit().await?;
        Ok(row.lease(&lease.name)?)
    }

    async fn release_once(&self, lease: &Lease) -> Result<(), Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        if lease_row(&tx, &lease.name, "FOR UPDATE").await?.is_some_and(|row| rules::lease::is_of(&row, lease)) {
            tx.execute(&tx.prepare_cached(RELEASE).await?, &[&lease.name]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn check_once(&self, fence: &Fence) -> Result<(), Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let row = lease_row(&tx, &fence.name, "").await?;
        Ok(rules::lease::hold(row.as_ref(), fence, now(&tx).await?.0)?)
    }

    async fn purge_once(&self, keep_ms: i64) -> Result<u64, Failure> {
        let mut client = self.client().await?;
        let tx = begin(&mut client).await?;
        let before = now(&tx).await?.0.saturating_sub(keep_ms);
        let some = tx.execute(&tx.prepare_cached(PURGE).await?, &[&before, &i64::from(sql::PURGED_AT_ONCE)]).await?;
        tx.commit().await?;
        Ok(some)
    }

    async fn find_once(&self, sql: &str, params: Params<'_>) -> Result<Option<RunRecord>, Failure> {
        let rows = self.rows_once(sql, params).await?;
        Ok(rows.first().map(run_row).transpose()?.map(RunRow::record).transpose()?)
    }

    async fn rows_once(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let client = self.client().await?;
        Ok(client.query(&client.prepare_cached(sql).await?, params).await?)
    }
}

/// Begins a transaction again that PostgreSQL gave up, a bounded number of times.
macro_rules! retrying {
    ($attempt:expr) => {{
        let mut retries = 0;
        loop {
            match bounded($attempt).await {
                Err(Failure::Again(why)) if retries < RETRIES => {
                    tracing::debug!(retries, %why, "a transaction of the run store begins again");
                    sleep(RETRY_PAUSE * 2_u32.pow(retries)).await;
                    retries += 1;
                }
                Err(Failure::Again(e) | Failure::Final(e)) => break Err(e),
                Ok(done) => break Ok(done),
            }
        }
    }};
}

#[async_trait]
impl RunStore for PostgresStore {
    async fn create(&self, run: NewRun) -> Result<Created> {
        input::check_new_run(&run)?;
        retrying!(self.create_once(&run))
    }

    async fn get(&self, run_id: &str) -> Result<Option<RunRecord>> {
        retrying!(self.find_once(sql::RUN, &[&sought(run_id)]))
    }

    async fn lookup(&self, pipeline: &str, request_id: &str) -> Result<Option<RunRecord>> {
        retrying!(self.find_once(sql::RUN_OF_KEY, &[&sought(pipeline), &sought(request_id)]))
    }

    async fn list(&self, query: &ListQuery) -> Result<RunPage> {
        let (sql, args) = sql::list(query, page::cursor(query)?);
        let params: Vec<&(dyn ToSql + Sync)> = args.iter().map(Arg::param).collect();
        let rows: Vec<Row> = retrying!(self.rows_once(&sql, &params))?;
        Ok(page::cut(query, rows.iter().map(|row| run_row(row)?.record()).collect::<Result<_>>()?))
    }

    async fn append(&self, fence: &Fence, run_id: &str, change: Change) -> Result<u64> {
        retrying!(self.append_once(fence, run_id, &change))
    }

    async fn request_cancel(&self, run_id: &str, reason: &str) -> Result<RunRecord> {
        let reason = input::reason(reason);
        retrying!(self.change_once(run_id, &|run, now| rules::run::cancel(run, &reason, now)))
    }

    async fn request_resume(&self, run_id: &str) -> Result<RunRecord> {
        retrying!(self.change_once(run_id, &rules::run::resume))
    }

    async fn events(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<Event>> {
        let rows: Vec<Row> =
            retrying!(self.rows_once(sql::EVENTS, &[&sought(run_id), &sql::number(after_seq), &i64::from(limit)]))?;
        rows.iter().map(|r| sql::event(column(r, 0)?, column(r, 1)?, column(r, 2)?, column(r, 3)?)).collect()
    }

    async fn steps(&self, run_id: &str) -> Result<Vec<StepRecord>> {
        let rows: Vec<Row> = retrying!(self.rows_once(sql::STEPS, &[&sought(run_id)]))?;
        rows.iter().map(|r| sql::step(column(r, 0)?, column(r, 1)?, column(r, 2)?)).collect()
    }

    async fn report(&self, run_id: &str) -> Result<Option<Value>> {
        let rows: Vec<Row> = retrying!(self.rows_once(sql::REPORT, &[&sought(run_id)]))?;
        rows.first().map(|r| sql::json(column(r, 0)?)).transpose()
    }

    async fn log(&self, run_id: &str, lines: &[(String, String)]) -> Result<()> {
        input::check_log(lines)?;
        retrying!(self.log_once(run_id, lines))
    }

    async fn logs(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<LogLine>> {
        let rows: Vec<Row> =
            retrying!(self.rows_once(sql::LOGS, &[&sought(run_id), &sql::number(after_seq), &i64::from(limit)]))?;
        rows.iter().map(|r| sql::log_line(column(r, 0)?, column(r, 1)?, column(r, 2)?, column(r, 3)?)).collect()
    }

    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        input::check_lease(name, holder)?;
        let ttl_ms = input::ttl_ms(ttl)?;
        retrying!(self.acquire_once(name, holder, ttl_ms))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let ttl_ms = input::ttl_ms(ttl)?;
        retrying!(self.renew_once(lease, ttl_ms))
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        retrying!(self.release_once(lease))
    }

    async fn check(&self, fence: &Fence) -> Result<()> {
        retrying!(self.check_once(fence))
    }

    async fn purge(&self, keep: Duration) -> Result<u64> {
        let mut forgotten = 0;
        loop {
            let some: u64 = retrying!(self.purge_once(input::span_ms(keep)))?;
            forgotten += some;
            if some < u64::from(sql::PURGED_AT_ONCE) {
                return Ok(forgotten);
            }
        }
    }
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];
type Rule<'a> = dyn Fn(&RunRecord, DateTime<Utc>) -> Result<Option<Update>> + Sync + 'a;

async fn bounded<T>(attempt: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(CALL_MAX, attempt).await {
        Ok(done) => done,
        Err(_) => Err(Error::Unavailable(format!("nothing came back within {} s", CALL_MAX.as_secs())).into()),
    }
}

async fn begin(client: &mut Object) -> Result<Transaction<'_>, Failure> {
    // Rows are locked before they are read, so this is enough whatever the server's default is.
    Ok(client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false).start().await?)
}

/// The database's clock at this moment, not when the transaction began: it may have waited for a lock since.
async fn now(tx: &Transaction<'_>) -> Result<(i64, DateTime<Utc>), Failure> {
    let ms = column(&tx.query_one(&tx.prepare_cached(NOW).await?, &[]).await?, 0)?;
    Ok((ms, sql::time(ms)?))
}

/// A name to look for. Nothing is stored under one with NUL, which PostgreSQL refuses even in a question, nor under the empty one.
fn sought(name: &str) -> &str {
    if name.contains('\0') { "" } else { name }
}

fn locked(sql: &str) -> String {
    format!("{sql} FOR UPDATE")
}

async fn find(tx: &Transaction<'_>, sql: &str, params: Params<'_>) -> Result<Option<RunRecord>, Failure> {
    let row = tx.query_opt(&tx.prepare_cached(sql).await?, params).await?;
    Ok(row.as_ref().map(run_row).transpose()?.map(RunRow::record).transpose()?)
}

async fn existing(tx: &Transaction<'_>, run_id: &str) -> Result<RunRecord, Failure> {
    Ok(find(tx, &locked(sql::RUN), &[&sought(run_id)]).await?.ok_or_else(|| Error::NotFound(run_id.to_owned()))?)
}

async fn put(tx: &Transaction<'_>, update: &Update) -> Result<(), Failure> {
    let row = RunRow::of(&update.run)?;
    let changed: Params<'_> = &[
        &row.state,
        &row.outcome,
        &row.cancel_reason,
        &row.attempt,
        &row.started_ms,
        &row.ended_ms,
        &row.event_seq,
        &row.run_id,
    ];
    tx.execute(&tx.prepare_cached(sql::UPDATE_RUN).await?, changed).await?;
    insert_events(tx, update).await?;
    if let Some(step) = &update.step {
        let params: Params<'_> = &[&row.run_id, &step.step, &step.digest, &step.artifact.to_string()];
        tx.execute(&tx.prepare_cached(sql::PUT_STEP).await?, params).await?;
    }
    if let Some(report) = &update.report {
        tx.execute(&tx.prepare_cached(sql::PUT_REPORT).await?, &[&row.run_id, &report.to_string()]).await?;
    }
    Ok(())
}

async fn insert_events(tx: &Transaction<'_>, update: &Update) -> Result<(), Failure> {
    let Some(first) = update.events.first() else { return Ok(()) };
    let at_ms = first.at.timestamp_millis();
    let numbers: Vec<i64> = update.events.iter().map(|e| sql::number(e.seq)).collect();
    let kinds: Vec<&str> = update.events.iter().map(|e| e.kind.as_str()).collect();
    let bodies: Vec<String> = update.events.iter().map(|e| e.body.to_string()).collect();
    tx.execute(&tx.prepare_cached(INSERT_EVENTS).await?, &[&update.run.run_id, &at_ms, &numbers, &kinds, &bodies]).await?;
    Ok(())
}

async fn lease_row(tx: &Transaction<'_>, name: &str, lock: &str) -> Result<Option<LeaseRow>, Failure> {
    let row = tx.query_opt(&tx.prepare_cached(&format!("{} {lock}", sql::LEASE)).await?, &[&sought(name)]).await?;
    let columns = |row: &Row| Ok(LeaseRow { holder: column(row, 0)?, epoch: column(row, 1)?, expires_ms: column(row, 2)? });
    row.as_ref().map(columns).transpose()
}

async fn put_lease(tx: &Transaction<'_>, name: &str, row: &LeaseRow) -> Result<(), Failure> {
    tx.execute(&tx.prepare_cached(sql::PUT_LEASE).await?, &[&name, &row.holder, &row.epoch, &row.expires_ms]).await?;
    Ok(())
}

fn run_params(row: &RunRow) -> [&(dyn ToSql + Sync); 13] {
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

fn run_row(row: &Row) -> Result<RunRow> {
    Ok(RunRow {
        run_id: column(row, 0)?,
        pipeline: column(row, 1)?,
        request_id: column(row, 2)?,
        body: column(row, 3)?,
        body_digest: column(row, 4)?,
        state: column(row, 5)?,
        outcome: column(row, 6)?,
        cancel_reason: column(row, 7)?,
        attempt: column(row, 8)?,
        created_ms: column(row, 9)?,
        started_ms: column(row, 10)?,
        ended_ms: column(row, 11)?,
        event_seq: column(row, 12)?,
    })
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, i: usize) -> Result<T> {
    row.try_get(i).map_err(|e| Error::Damaged(e.to_string()))
}

impl Arg {
    fn param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Text(text) if text.contains('\0') => &"",
            Self::Text(text) => text,
            Self::Int(number) => number,
        }
    }
}
