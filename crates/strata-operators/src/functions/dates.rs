//! Ages, days and parts of the day, by arithmetic on the proleptic Gregorian calendar. Never looks at a zone or a clock.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::columnar::{binary, date_type, each_array, expect_arity, primitive};
use super::scalar::Scalar;

const AGE: &str = "age_years(birth, at)";
const DAYS: &str = "days_between(from, to)";
const DAYPART: &str = "daypart(hour)";

pub(super) fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("age_years", DataType::Int32, |types| two_dates(AGE, types), age_years),
        Scalar::new("days_between", DataType::Int64, |types| two_dates(DAYS, types), days_between),
        Scalar::new("daypart", DataType::Utf8, coerce_daypart, daypart),
    ]
}

fn two_dates(usage: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(usage, types.len(), 2)?;
    types.iter().map(|found| date_type(usage, found)).collect()
}

/// Full years from `birth` to `at`: the difference of the years, less one while `at` is before that year's birthday; who is born on 29 February ages on 1 March
/// of a common year. `Int32`, negative before birth, null for null.
fn age_years(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    binary::<Date32Type, Date32Type, Int32Type>(&args.args[0], &args.args[1], |birth, at| {
        let (birth, at) = (civil(birth), civil(at));
        at.year - birth.year - i32::from(at.day_of_year < birth.day_of_year)
    })
}

/// Days from `from` to `to`: `to - from`. `Int64`, null for null.
fn days_between(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    binary::<Date32Type, Date32Type, Int64Type>(&args.args[0], &args.args[1], |from, to| i64::from(to) - i64::from(from))
}

fn coerce_daypart(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(DAYPART, types.len(), 1)?;
    match &types[0] {
        found if found.is_integer() || *found == DataType::Null => Ok(vec![DataType::Int32]),
        DataType::Timestamp(..) => {
            plan_err!("`{DAYPART}` takes an hour, not a timestamp: write `daypart(local_hour(ts, 'Europe/Berlin'))`")
        }
        found => plan_err!("`{DAYPART}` takes an hour from 0 to 23, not {found}"),
    }
}

/// The part of the day of an hour: below 6 `night`, below 12 `morning`, below 18 `afternoon`, else `evening`. `Utf8`, null for null.
fn daypart(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    each_array(&args.args[0], |array| {
        let hours = primitive::<Int32Type>(array)?;
        Ok(Arc::new(dayparts(hours)) as ArrayRef)
    })
}

fn dayparts(hours: &Int32Array) -> StringArray {
    let mut out = StringBuilder::with_capacity(hours.len(), hours.len() * 9);
    for hour in hours {
        out.append_option(hour.map(|hour| match hour {
            ..6 => "night",
            6..12 => "morning",
            12..18 => "afternoon",
            _ => "evening",
        }));
    }
    out.finish()
}

/// A date's year, and its month and day as one ordered number.
struct Civil {
    year: i32,
    day_of_year: u32,
}

/// The Gregorian date of a day number (0 = 1970-01-01). Eras of 400 years of 146,097 days, years counted from March. Source: Hinnant 2014.
fn civil(days: i32) -> Civil {
    let shifted = i64::from(days) + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097) as u32);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let from_march = day - (365 * year + year / 4 - year / 100);
    let month = (5 * from_march + 2) / 153;
    let day_of_month = from_march - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    // |days| < 2^31, so the year is below 5.9 million.
    Civil { year: era as i32 * 400 + year as i32 + next, day_of_year: month * 32 + day_of_month }
}
