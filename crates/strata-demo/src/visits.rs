//! Visits to the web shop and the app: what was looked at, put in the cart and bought. Never makes an event outside its session's day.

use crate::dice::{Dice, Table};
use crate::orders::{PER_DAY, purchases};
use crate::people::time_of_day;
use crate::{DAY_US, FAST_CLOCK_DAYS, SECOND_US, World, midnight, number_of};
use chrono::{Days, NaiveDate};

/// One event, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) event_id: i64,
    pub(crate) session_id: i64,
    pub(crate) customer_id: Option<i64>,
    pub(crate) cookie_id: String,
    pub(crate) ts: i64,
    pub(crate) event_type: &'static str,
    pub(crate) item_id: Option<i64>,
    pub(crate) device: &'static str,
    pub(crate) utm_channel: Option<&'static str>,
}

struct Visit {
    person: usize,
    ts: i64,
    dice: Dice,
    device: &'static str,
    steps: Vec<(&'static str, Option<usize>)>,
}

/// Events of a session at most; the rest of the event's number is the session.
const PER_SESSION: i64 = 32;
/// Sessions that a fast clock put on a day begin with this number.
const FAST_CLOCK: i64 = 9_000_000;

/// The events of a day in order of time. On days after the history's end (`fast_clock`) only a few phones have a day ahead.
pub(crate) fn events_of_day(world: &World, day: NaiveDate, fast_clock: bool) -> Vec<Event> {
    let mut visits: Vec<Visit> = (0..world.people.len()).filter_map(|n| browse(world, n, day)).collect();
    visits.extend(purchases(world, day).iter().filter(|o| o.channel != "store" && o.ts > midnight(day)).map(|o| {
        let dice = world.dice(Table::Visit, o.person as u64).part(o.ts as u64);
        let mut steps = vec![("view", None)];
        steps.extend(o.items.iter().take(5).flat_map(|i| [("view", i.product), ("cart", i.product)]));
        steps.push(("checkout", None));
        steps.extend(o.items.iter().take(5).map(|i| ("purchase", i.product)));
        let device = if o.channel == "app" { "mobile" } else { dice.pick(1, &["desktop", "desktop", "mobile", "tablet"]) };
        Visit { person: o.person, ts: o.ts, dice, device, steps }
    }));
    visits.sort_by_key(|v| (v.ts, v.person));
    if (world.size.as_of..world.size.as_of + Days::new(FAST_CLOCK_DAYS)).contains(&day) {
        // The day's first visit and a few others were there before the day; a later delivery brings the rest.
        let first = visits.first().map(|v| (v.ts, v.person));
        visits.retain(|v| (Some((v.ts, v.person)) == first || v.dice.chance(60, 0.06)) == fast_clock);
    }
    let base = number_of(day) * PER_DAY + if fast_clock { FAST_CLOCK } else { 0 };
    let mut events: Vec<Event> =
        visits.iter().enumerate().flat_map(|(n, v)| written(world, v, base + n as i64, midnight(day))).collect();
    events.sort_by_key(|e| (e.ts, e.event_id));
    events
}

fn browse(world: &World, n: usize, day: NaiveDate) -> Option<Visit> {
    let person = &world.people[n];
    let dice = world.dice(Table::Visit, u64::from(person.id)).part(number_of(day) as u64);
    if !dice.chance(1, person.visit_rate(day)) {
        return None;
    }
    let count = 1 + dice.streak(2, 0.72, 18);
    let steps = (0..count).map(|i| {
        let step = dice.part(10 + i);
        let item = (!step.chance(20, 0.04)).then(|| person.choose_item(step, day));
        (if i > 0 && step.chance(21, 0.16) { "cart" } else { "view" }, item)
    });
    // Every fifth day counted from `as_of`, the first visitors come at midnight to the microsecond.
    let edge = (world.size.as_of - day).num_days().rem_euclid(5) == 0 && dice.chance(3, 0.08);
    let at = if edge { 0 } else { time_of_day(person.kind(), dice, false) };
    let device =
        dice.pick(4, &["desktop", "desktop", "desktop", "mobile", "mobile", "mobile", "mobile", "mobile", "mobile", "tablet"]);
    Some(Visit { person: n, ts: midnight(day) + at * SECOND_US, dice, device, steps: steps.collect() })
}

fn written(world: &World, visit: &Visit, session_id: i64, midnight: i64) -> Vec<Event> {
    let (d, person) = (visit.dice, &world.people[visit.person]);
    let anonymous = d.chance(40, 0.3);
    let cookie = if anonymous {
        format!("a{:016x}", d.bits(41))
    } else {
        format!("c{:016x}", person.dice.bits(70 + visit.device.len() as u64))
    };
    let utm_channel = match d.unit(42) {
        u if u < 0.02 => None,
        _ => Some(
            ["direct", "email", "paid_search", "paid_social", "organic", "affiliate"][(d.unit(43) * d.unit(44) * 6.0) as usize],
        ),
    };
    let last = visit.steps.len() as i64 - 1;
    let start = visit.ts.min(midnight + DAY_US - SECOND_US * (1 + 40 * (last + 1)));
    let event = |(j, (event_type, item)): (usize, &(&'static str, Option<usize>))| Event {
        event_id: session_id * PER_SESSION + j as i64,
        session_id,
        customer_id: (!anonymous).then_some(i64::from(person.id)),
        cookie_id: cookie.clone(),
        ts: start + if j == 0 { 0 } else { (j as i64 * 37 + d.part(500 + j as u64).between(1, 0, 3)) * SECOND_US },
        event_type,
        item_id: item.map(|p| world.catalog.products[p].item_id),
        device: visit.device,
        utm_channel,
    };
    visit.steps.iter().enumerate().map(event).collect()
}
