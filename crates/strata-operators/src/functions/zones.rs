//! Local dates, hours and weekdays of UTC instants. Never reads the machine's zone.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::columnar::{each_array, expect_arity, literal_text, primitive, text_type};
use super::scalar::Scalar;

const DAY: i64 = 86_400;
/// Days whose offset is remembered, 5.6 years of them: 32 KiB.
const CACHED_DAYS: usize = 2_048;

const LOCAL_DATE: &str = "local_date(ts, 'Europe/Berlin')";
const LOCAL_HOUR: &str = "local_hour(ts, 'Europe/Berlin')";
const LOCAL_ISODOW: &str = "local_isodow(ts, 'Europe/Berlin')";

pub(super) fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("local_date", DataType::Date32, |types| coerce(LOCAL_DATE, types, true), local_date),
        Scalar::new("local_hour", DataType::Int32, |types| coerce(LOCAL_HOUR, types, false), local_hour),
        Scalar::new("local_isodow", DataType::Int32, |types| coerce(LOCAL_ISODOW, types, true), local_isodow),
    ]
}

fn coerce(usage: &str, types: &[DataType], dates: bool) -> Result<Vec<DataType>> {
    expect_arity(usage, types.len(), 2)?;
    let instant = match &types[0] {
        DataType::Timestamp(..) => types[0].clone(),
        DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Date32 | DataType::Date64 if dates => DataType::Date32,
        DataType::Date32 | DataType::Date64 => return plan_err!("`{usage}` takes a timestamp: a date has no hour"),
        found => return plan_err!("`{usage}` takes a timestamp, not {found}: write `cast(x as timestamp)`"),
    };
    Ok(vec![instant, text_type(usage, &types[1])?])
}

/// The date on the wall calendar of zone `tz` at instant `ts` (a timestamp without a zone is UTC); a date stays itself. `Date32`, null for null.
/// Errors: `Plan` for an unknown zone or one that is no literal.
fn local_date(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let zone = zone(LOCAL_DATE, &args.args[1])?;
    if args.args[0].data_type() == DataType::Date32 {
        return Ok(args.args[0].clone());
    }
    local::<Date32Type>(&args.args[0], zone, |seconds| match i32::try_from(seconds.div_euclid(DAY)) {
        Ok(day) => Ok(day),
        Err(_) => exec_err!("a timestamp is outside the calendar: leave such rows out with `where`"),
    })
}

/// The hour, 0 to 23, on the wall clock of zone `tz` at instant `ts`. `Int32`, null for null. Errors: as `local_date`.
fn local_hour(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let zone = zone(LOCAL_HOUR, &args.args[1])?;
    local::<Int32Type>(&args.args[0], zone, |seconds| Ok((seconds.rem_euclid(DAY) / 3_600) as i32))
}

/// The weekday, Monday 1 to Sunday 7, in zone `tz` at instant `ts`, or of a date. `Int32`, null for null. Errors: as `local_date`.
fn local_isodow(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let zone = zone(LOCAL_ISODOW, &args.args[1])?;
    if args.args[0].data_type() == DataType::Date32 {
        return super::columnar::unary::<Date32Type, Int32Type>(&args.args[0], |day| isodow(i64::from(day)));
    }
    local::<Int32Type>(&args.args[0], zone, |seconds| Ok(isodow(seconds.div_euclid(DAY))))
}

/// 1970-01-01 was a Thursday.
fn isodow(day: i64) -> i32 {
    (day.rem_euclid(7) + 3) as i32 % 7 + 1
}

fn zone(usage: &str, argument: &ColumnarValue) -> Result<Tz> {
    let name = literal_text(usage, "the zone", argument)?;
    match Tz::from_str(name) {
        Ok(zone) => Ok(zone),
        Err(_) => plan_err!("no zone is called `{name}`: write an IANA name such as `Europe/Berlin` or `UTC`"),
    }
}

/// Applies `field` to the local seconds since 1970-01-01 00:00 on the wall of `zone`.
fn local<O: ArrowPrimitiveType>(
    argument: &ColumnarValue,
    zone: Tz,
    field: impl Fn(i64) -> Result<O::Native>,
) -> Result<ColumnarValue> {
    each_array(argument, |array| {
        let out: ArrayRef = Arc::new(match array.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => fields::<TimestampSecondType, O>(array, 1, zone, &field),
            DataType::Timestamp(TimeUnit::Millisecond, _) => fields::<TimestampMillisecondType, O>(array, 1_000, zone, &field),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                fields::<TimestampMicrosecondType, O>(array, 1_000_000, zone, &field)
            }
            _ => fields::<TimestampNanosecondType, O>(array, 1_000_000_000, zone, &field),
        }?);
        Ok(out)
    })
}

fn fields<A, O>(
    array: &ArrayRef,
    per_second: i64,
    zone: Tz,
    field: &impl Fn(i64) -> Result<O::Native>,
) -> Result<PrimitiveArray<O>>
where
    A: ArrowPrimitiveType<Native = i64>,
    O: ArrowPrimitiveType,
{
    let instants = primitive::<A>(array)?;
    if matches!(zone, Tz::UTC | Tz::Etc__UTC | Tz::GMT) {
        return instants.try_unary(|instant| field(instant.div_euclid(per_second)));
    }
    let offsets = std::cell::RefCell::new(Offsets::new(zone));
    instants.try_unary(|instant| {
        let seconds = instant.div_euclid(per_second);
        field(seconds.saturating_add(offsets.borrow_mut().at(seconds)?))
    })
}

/// Offsets of one zone, remembered by UTC day.
struct Offsets {
    zone: Tz,
    days: Vec<(i64, i64)>,
}

impl Offsets {
    fn new(zone: Tz) -> Self {
        Self { zone, days: vec![(i64::MIN, 0); CACHED_DAYS] }
    }

    /// Seconds to add to UTC at this instant. A day that starts and ends with the same offset has no other: no zone of
    /// the database leaves an offset and returns to it within one UTC day (tried every half hour from 1840 to 2100).
    fn at(&mut self, seconds: i64) -> Result<i64> {
        let day = seconds.div_euclid(DAY);
        let slot = day.rem_euclid(CACHED_DAYS as i64) as usize;
        let (cached, offset) = self.days[slot];
        if cached == day {
            return Ok(offset);
        }
        let start = self.look_up(day.saturating_mul(DAY))?;
        if start != self.look_up(day.saturating_mul(DAY).saturating_add(DAY - 1))? {
            return self.look_up(seconds);
        }
        self.days[slot] = (day, start);
        Ok(start)
    }

    fn look_up(&self, seconds: i64) -> Result<i64> {
        match DateTime::from_timestamp(seconds, 0) {
            Some(instant) => {
                let offset = self.zone.offset_from_utc_datetime(&instant.naive_utc());
                Ok(i64::from(offset.fix().local_minus_utc()))
            }
            None => exec_err!("a timestamp is outside the calendar: leave such rows out with `where`"),
        }
    }
}
