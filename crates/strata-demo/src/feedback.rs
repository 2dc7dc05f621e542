//! What customers say: answers to the quarterly survey, and the research contacts they were sent.
//! Never asks one customer twice in a wave.

use crate::dice::Table;
use crate::{DAY_US, SECOND_US, World, midnight};
use chrono::Days;

/// One response.
pub(crate) struct Response {
    pub(crate) customer_id: i64,
    pub(crate) wave: String,
    pub(crate) answered_at: i64,
    /// 1 to 5, or not answered. At least one question is.
    pub(crate) answers: [Option<i8>; 12],
}

/// One invitation to a study.
pub(crate) struct Contact {
    pub(crate) customer_id: i64,
    pub(crate) study_id: String,
    pub(crate) sent_at: i64,
    pub(crate) responded_at: Option<i64>,
}

/// A wave every 90 days, open for 28; the last one is still open on `as_of`.
pub(crate) fn survey_responses(world: &World) -> Vec<Response> {
    let size = &world.size;
    let waves = ((size.as_of - size.first_day()).num_days() / 90).max(1) as u64;
    let mut rows = Vec::new();
    for wave in 1..=waves {
        let opens = size.as_of - Days::new(20 + 90 * (waves - wave));
        for person in world.people.iter().filter(|p| p.is_active(opens)) {
            let dice = world.dice(Table::Survey, u64::from(person.id)).part(wave);
            let keen = if person.dice.chance(80, 0.3) { 0.28 } else { 0.04 };
            if !dice.chance(1, keen) {
                continue;
            }
            let answered_at = midnight(opens) + dice.between(2, 0, 28 * 86_400) * SECOND_US;
            let mut answers = std::array::from_fn(|q| {
                let taste = person.dice.part(600 + q as u64).unit(person.kind as u64);
                let level = 0.6 * dice.part(q as u64).unit(1) + 0.4 * taste;
                (!dice.part(q as u64).chance(2, 0.03)).then_some(1 + (5.0 * level) as i8)
            });
            if answers.iter().all(Option::is_none) {
                answers[0] = Some(3);
            }
            rows.push(Response { customer_id: i64::from(person.id), wave: format!("W{wave}"), answered_at, answers });
        }
    }
    rows
}

/// A study every ten days, sent over five days beginning at midnight; the last begins on `as_of`. About a quarter answers,
/// within six days, some of them after `as_of`.
pub(crate) fn panel_contacts(world: &World) -> Vec<Contact> {
    let size = &world.size;
    let studies = ((size.as_of - size.first_day()).num_days() / 10) as u64;
    let mut rows = Vec::new();
    for study in 0..=studies {
        let starts = size.as_of - Days::new(10 * (studies - study));
        let study_id = format!("ST{:03}", study + 1);
        for person in world.people.iter().filter(|p| p.is_active(starts)) {
            let dice = world.dice(Table::Contact, u64::from(person.id)).part(study);
            // A few are asked far too often; the others hardly ever.
            let asked = if person.dice.chance(81, 0.12) { 0.16 } else { 0.012 };
            if !dice.chance(1, asked) {
                continue;
            }
            // The first one and one in four at the very start, to the microsecond.
            let first = rows.last().is_none_or(|r: &Contact| r.study_id != study_id);
            let wait = if first || dice.chance(2, 0.25) { 0 } else { dice.between(3, 1, 5 * DAY_US / SECOND_US) };
            let sent_at = midnight(starts) + wait * SECOND_US;
            let responded_at = dice.chance(4, 0.27).then(|| sent_at + dice.between(5, 60, 6 * 86_400) * SECOND_US);
            rows.push(Contact { customer_id: i64::from(person.id), study_id: study_id.clone(), sent_at, responded_at });
        }
    }
    rows
}
