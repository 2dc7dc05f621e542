//! A small retailer's data, generated: the same rows for the same seed, on any machine.
//! Never reads a clock, a random device or a transcendental function; every value is a keyed hash of (seed, table, row).
//!
//! Customers have a hidden type (a family that shops on Saturdays, a bargain hunter, an app native, ...) that is never
//! written; it drives what they buy, where, when, how often and when they stop. What the data promises, and the edge
//! cases it holds on purpose, are listed at [`generate`].

mod catalog;
mod dice;
mod feedback;
mod orders;
mod people;
mod tables;
mod visits;

use arrow::array::RecordBatch;
use chrono::{Days, Months, NaiveDate};
use dice::Dice;
use orders::Line;
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use visits::Event;

/// How much to make, and up to when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Customers on the roster, 100 to 1,000,000.
    pub customers: u32,
    /// Calendar months of history before `as_of`, 1 to 120.
    pub months: u32,
    /// The day the history ends. A few rows lie on it and just after it: tills and phones with a fast clock.
    pub as_of: NaiveDate,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows by table, copies included.
    pub rows: BTreeMap<&'static str, u64>,
    /// Files written.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Why no data was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size outside its bounds.
    #[error("{0}")]
    Size(String),
    /// A file or folder cannot be used.
    #[error("cannot write or read `{}`: {source}; name a folder that can be written", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A Parquet file cannot be written or read.
    #[error("cannot write or read `{}` as Parquet: {source}; make the data again in an empty folder", path.display())]
    Parquet {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// Columns that do not fit together.
    #[error("a generated table does not hold together: {0}; please report it")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The folder was not made by [`generate`].
    #[error("`{}` was not made by this generator; make it first, then append to it", .0.display())]
    NotOurs(PathBuf),
    /// Another seed than the folder's.
    #[error("this data was made with seed {made}, not {asked}; append with seed {made}")]
    Seed {
        /// Of the folder.
        made: u64,
        /// Asked for.
        asked: u64,
    },
    /// A day that the folder already holds.
    #[error("{day} is already in the data; append a day from {first} on, each day once")]
    Day {
        /// Asked for.
        day: NaiveDate,
        /// The first day that may be appended.
        first: NaiveDate,
    },
}

impl Default for Size {
    /// The quickstart: 2,000 customers, 24 months up to 2026-01-01.
    fn default() -> Self {
        Self { customers: 2000, months: 24, as_of: epoch(2026) }
    }
}

/// Writes a data folder: `customers`, `products`, `stores`, `postal_demographics`, `survey_responses` and `panel_contacts`
/// as one `.parquet` file each, `transactions/month=YYYY-MM/*.parquet` and `web_events/month=YYYY-MM/*.parquet`.
/// Files of the same names are replaced; other files in `transactions` and `web_events` are removed.
///
/// What holds:
/// - About 1 % of the transaction lines appear twice, equal in every column, some in another file of the same month.
/// - The month of a line's folder is the month of its `ts`. All lines of one `txn_id` share customer, `ts`, channel and store.
/// - Every `customer_id` that is not null is on the roster; `event_id` and (`customer_id`, `wave`) are unique.
///
/// What occurs on purpose: purchases without a customer (no card shown), lines without an item, null and zero discounts,
/// returns alone and together with purchases, two orders in one day, customers who never buy or buy once, birthdays on
/// 1 January and unknown ones, postal codes with leading zeros or without demographics, anonymous visits, unanswered
/// questions, contacts answered after `as_of`, rows exactly on `as_of`, on `as_of` − 90 d, − 365 d and − 730 d, and rows after `as_of`.
///
/// Errors: [`Error::Size`], or a folder that cannot be written.
pub fn generate(dir: &Path, size: &Size, seed: u64) -> Result<Summary, Error> {
    let world = World::new(size.clone(), seed)?;
    let mut summary = Summary::default();
    for table in ["transactions", "web_events"] {
        let path = dir.join(table);
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
    }
    let note = Some(world.note());
    summary.write(dir, "customers", &[tables::customers(&world)?], note)?;
    summary.write(dir, "products", &[tables::products(&world)?], None)?;
    summary.write(dir, "stores", &[tables::stores(&world)?], None)?;
    summary.write(dir, "postal_demographics", &[tables::postal_demographics(&world)?], None)?;
    summary.write(dir, "survey_responses", &[tables::survey_responses(&feedback::survey_responses(&world))?], None)?;
    summary.write(dir, "panel_contacts", &[tables::panel_contacts(&feedback::panel_contacts(&world))?], None)?;
    write_history(dir, &world, &mut summary)?;
    Ok(summary)
}

/// Adds one more day of transactions and web events as new files; existing files never change. 5 % of the day's
/// transactions carry a `ts` one to three days earlier, in the older month's folder where it falls there, and 0.5 % of the
/// lines of the week before are delivered again.
/// Errors: [`Error::NotOurs`], [`Error::Seed`], [`Error::Day`] for a day inside the history or already appended.
pub fn append_day(dir: &Path, day: NaiveDate, seed: u64) -> Result<Summary, Error> {
    let world = World::open(dir, seed)?;
    let tag = format!("part-day-{}", day.format("%Y%m%d"));
    let events = dir.join(partition("web_events", day)).join(format!("{tag}.parquet"));
    if day < world.size.as_of || events.exists() {
        return Err(Error::Day { day, first: world.size.as_of });
    }
    let again = tables::delivered_again(dir, day)?;
    let mut months: BTreeMap<NaiveDate, Vec<RecordBatch>> = BTreeMap::new();
    for (month, lines) in by_month(orders::appended_lines(&world, day)) {
        months.entry(month).or_default().push(tables::lines(&lines)?);
    }
    for (month, batch) in again {
        months.entry(month).or_default().push(batch);
    }
    let mut summary = Summary::default();
    for (month, batches) in months {
        summary.write(dir, &format!("{}/{tag}", partition("transactions", month)), &batches, None)?;
    }
    let visits = visits::events_of_day(&world, day, false);
    summary.write(dir, &format!("{}/{tag}", partition("web_events", day)), &[tables::events(&visits)?], None)?;
    Ok(summary)
}

/// Everything that a row's values may depend on.
struct World {
    size: Size,
    seed: u64,
    people: Vec<people::Person>,
    catalog: catalog::Catalog,
}

impl World {
    fn new(size: Size, seed: u64) -> Result<Self, Error> {
        if !(100..=1_000_000).contains(&size.customers) || !(1..=120).contains(&size.months) {
            return Err(Error::Size(format!(
                "`customers: {}` with `months: {}` cannot be made; give 100 to 1,000,000 customers and 1 to 120 months",
                size.customers, size.months
            )));
        }
        if !(epoch(2000)..epoch(2200)).contains(&size.as_of) {
            return Err(Error::Size(format!("the history cannot end on {}; give a day of the years 2000 to 2199", size.as_of)));
        }
        let catalog = catalog::Catalog::new(seed);
        let people = (1..=size.customers).map(|id| people::Person::new(seed, id, &size, &catalog)).collect();
        Ok(Self { size, seed, people, catalog })
    }

    /// What [`World::open`] needs, kept in the customers file.
    fn note(&self) -> String {
        format!("{} {} {} {}", self.size.customers, self.size.months, self.size.as_of, self.seed)
    }

    fn open(dir: &Path, seed: u64) -> Result<Self, Error> {
        let path = dir.join("customers.parquet");
        let not_ours = || Error::NotOurs(dir.to_owned());
        let note = tables::read_note(&path)?.ok_or_else(not_ours)?;
        let mut words = note.split(' ');
        let mut next = || words.next().ok_or_else(not_ours);
        let size = Size {
            customers: next()?.parse().map_err(|_| not_ours())?,
            months: next()?.parse().map_err(|_| not_ours())?,
            as_of: next()?.parse().map_err(|_| not_ours())?,
        };
        let made = next()?.parse().map_err(|_| not_ours())?;
        if made != seed {
            return Err(Error::Seed { made, asked: seed });
        }
        Self::new(size, seed)
    }

    fn dice(&self, table: dice::Table, row: u64) -> Dice {
        Dice::new(self.seed, table, row)
    }
}

impl Size {
    /// First day of the history.
    fn first_day(&self) -> NaiveDate {
        self.as_of.checked_sub_months(Months::new(self.months)).unwrap_or(self.as_of)
    }
}

impl Summary {
    fn write(&mut self, dir: &Path, name: &str, batches: &[RecordBatch], note: Option<String>) -> Result<(), Error> {
        let path = dir.join(format!("{name}.parquet"));
        self.bytes += tables::write(&path, batches, note)?;
        self.files += 1;
        let table = TABLES.into_iter().find(|t| name.starts_with(t)).unwrap_or("other");
        *self.rows.entry(table).or_default() += batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        Ok(())
    }
}

const TABLES: [&str; 8] = [
    "customers",
    "products",
    "stores",
    "postal_demographics",
    "survey_responses",
    "panel_contacts",
    "transactions",
    "web_events",
];

/// Days after `as_of` on which a till or phone with a fast clock already left rows.
const FAST_CLOCK_DAYS: u64 = 2;

fn write_history(dir: &Path, world: &World, summary: &mut Summary) -> Result<(), Error> {
    let mut orders = orders::History::new(world, world.size.first_day());
    let (mut lines, mut events): (Vec<Line>, Vec<Event>) = (Vec::new(), Vec::new());
    for day in days(world.size.first_day(), world.size.as_of + Days::new(FAST_CLOCK_DAYS)) {
        let fast_clock = day >= world.size.as_of;
        lines.extend(orders.lines_of(day, fast_clock));
        events.extend(visits::events_of_day(world, day, fast_clock));
        let next = day + Days::new(1);
        if month_of(next) != month_of(day) || next == world.size.as_of + Days::new(FAST_CLOCK_DAYS) {
            write_month(dir, month_of(day), std::mem::take(&mut lines), &std::mem::take(&mut events), summary)?;
        }
    }
    Ok(())
}

/// One month: what arrived in time, and the late deliveries, which hold some copies of lines delivered before.
fn write_month(dir: &Path, month: NaiveDate, lines: Vec<Line>, events: &[Event], summary: &mut Summary) -> Result<(), Error> {
    let mut parts: [Vec<Line>; 2] = Default::default();
    let mut copies: [Vec<Line>; 2] = Default::default();
    for line in lines {
        if let Some(part) = line.copy_in {
            copies[part].push(line.clone());
        }
        parts[usize::from(line.late)].push(line);
    }
    for (n, (mut part, copies)) in parts.into_iter().zip(copies).enumerate() {
        part.sort_by_key(|l| (l.ts, l.txn_id, l.line_no));
        part.extend(copies);
        if !part.is_empty() {
            summary.write(dir, &format!("{}/part-{n}", partition("transactions", month)), &[tables::lines(&part)?], None)?;
        }
    }
    summary.write(dir, &format!("{}/part-0", partition("web_events", month)), &[tables::events(events)?], None)
}

fn by_month(lines: Vec<Line>) -> BTreeMap<NaiveDate, Vec<Line>> {
    let mut months: BTreeMap<NaiveDate, Vec<Line>> = BTreeMap::new();
    for line in lines {
        months.entry(month_of(day_of(line.ts))).or_default().push(line);
    }
    months
}

fn partition(table: &str, day: NaiveDate) -> String {
    format!("{table}/month={}", day.format("%Y-%m"))
}

fn days(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    from.iter_days().take_while(move |d| *d < to)
}

fn month_of(day: NaiveDate) -> NaiveDate {
    chrono::Datelike::with_day(&day, 1).unwrap_or(day)
}

/// 1 January of a year.
fn epoch(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default()
}

/// Days since 1970-01-01.
fn number_of(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days()
}

/// Microseconds of a day's midnight, UTC.
fn midnight(day: NaiveDate) -> i64 {
    number_of(day) * DAY_US
}

/// The day of an instant in microseconds.
fn day_of(ts: i64) -> NaiveDate {
    NaiveDate::default() + chrono::Duration::days(ts.div_euclid(DAY_US))
}

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
