//! Who the customers are: their hidden type, and the roster row that the retailer knows of them.
//! Never written out is the type itself; it must be found again by segmentation.

use crate::catalog::{CATEGORIES, Catalog, PER_CATEGORY, POSTAL_PER_REGION, REGIONS, postal_code};
use crate::dice::{Dice, Table};
use crate::{DAY_US, SECOND_US, Size, epoch, midnight};
use chrono::{Datelike, Days, NaiveDate};

/// How customers of one kind behave.
pub(crate) struct Kind {
    /// Share of the customers, in percent.
    share: u64,
    /// Orders a day while active, on an average day.
    rate: f64,
    /// Chance that an order goes through the app or the web shop.
    pub(crate) online: f64,
    /// Of those, chance of the app.
    pub(crate) app: f64,
    /// Usual hour of shopping.
    pub(crate) hour: f64,
    /// Chance that another line follows in the basket.
    pub(crate) basket: f64,
    /// Chance that a line is discounted.
    pub(crate) deals: f64,
    /// Weekend days weigh so much more than weekdays.
    weekend: f64,
    /// November and December weigh so much more.
    holidays: f64,
    /// Categories they like best, most liked first.
    tastes: [usize; 6],
    /// Age they are around.
    age: f64,
    /// Chance of joining research.
    research: f64,
}

/// The family with a full trolley, the bargain hunter, the app native, the online stock-up, the senior regular, the pet
/// and garden home, the gift giver, the beauty explorer.
pub(crate) const KINDS: [Kind; 8] = [
    Kind {
        share: 20,
        rate: 0.055,
        online: 0.12,
        app: 0.3,
        hour: 11.0,
        basket: 0.80,
        deals: 0.22,
        weekend: 2.4,
        holidays: 1.1,
        tastes: [0, 11, 2, 4, 3, 12],
        age: 38.0,
        research: 0.34,
    },
    Kind {
        share: 16,
        rate: 0.040,
        online: 0.20,
        app: 0.6,
        hour: 17.0,
        basket: 0.66,
        deals: 0.70,
        weekend: 1.2,
        holidays: 1.0,
        tastes: [5, 14, 6, 8, 2, 4],
        age: 44.0,
        research: 0.46,
    },
    Kind {
        share: 14,
        rate: 0.045,
        online: 0.90,
        app: 0.9,
        hour: 20.0,
        basket: 0.48,
        deals: 0.28,
        weekend: 1.3,
        holidays: 1.0,
        tastes: [6, 8, 7, 9, 1, 5],
        age: 26.0,
        research: 0.40,
    },
    Kind {
        share: 12,
        rate: 0.022,
        online: 0.82,
        app: 0.2,
        hour: 19.0,
        basket: 0.83,
        deals: 0.45,
        weekend: 0.8,
        holidays: 1.2,
        tastes: [14, 5, 11, 7, 2, 22],
        age: 41.0,
        research: 0.38,
    },
    Kind {
        share: 14,
        rate: 0.060,
        online: 0.04,
        app: 0.2,
        hour: 10.0,
        basket: 0.58,
        deals: 0.12,
        weekend: 0.5,
        holidays: 1.0,
        tastes: [1, 0, 7, 2, 3, 16],
        age: 69.0,
        research: 0.30,
    },
    Kind {
        share: 9,
        rate: 0.026,
        online: 0.45,
        app: 0.4,
        hour: 13.0,
        basket: 0.62,
        deals: 0.33,
        weekend: 1.8,
        holidays: 0.8,
        tastes: [21, 22, 16, 14, 15, 17],
        age: 50.0,
        research: 0.36,
    },
    Kind {
        share: 8,
        rate: 0.005,
        online: 0.50,
        app: 0.3,
        hour: 16.0,
        basket: 0.50,
        deals: 0.20,
        weekend: 1.4,
        holidays: 5.0,
        tastes: [23, 17, 12, 20, 10, 15],
        age: 47.0,
        research: 0.24,
    },
    Kind {
        share: 7,
        rate: 0.024,
        online: 0.70,
        app: 0.7,
        hour: 21.0,
        basket: 0.55,
        deals: 0.38,
        weekend: 1.0,
        holidays: 1.6,
        tastes: [18, 20, 19, 17, 23, 10],
        age: 31.0,
        research: 0.42,
    },
];

/// One customer.
pub(crate) struct Person {
    pub(crate) id: u32,
    pub(crate) kind: usize,
    pub(crate) dice: Dice,
    pub(crate) joined: NaiveDate,
    /// The first day without any activity; most never leave.
    left: NaiveDate,
    /// Certain to order on this day, the first after joining.
    first_order: Option<NaiveDate>,
    buys: Buys,
    /// How much more often than others of the kind.
    pace: f64,
    pub(crate) region: usize,
    pub(crate) home_store: i32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Buys {
    Never,
    Once,
    Often,
}

impl Person {
    pub(crate) fn new(seed: u64, id: u32, size: &Size, catalog: &Catalog) -> Self {
        let dice = Dice::new(seed, Table::Person, u64::from(id));
        let window = (size.as_of - size.first_day()).num_days();
        // 62 % joined in the five years before the history begins, the others spread over it.
        let old = dice.chance(1, 0.62);
        let joined_ago = if old { window + dice.between(2, 1, 1826) } else { dice.between(2, 4.min(window - 1), window) };
        let joined = size.as_of - Days::new(joined_ago as u64);
        let left = if dice.chance(3, 0.34) { size.as_of - Days::new(dice.between(4, 0, window) as u64) } else { epoch(3000) };
        let buys = match dice.below(5, 100) {
            0..9 => Buys::Never,
            9..17 if !old => Buys::Once,
            _ => Buys::Often,
        };
        let welcome = buys == Buys::Once || (!old && dice.chance(6, 0.7));
        let first_order = welcome.then(|| joined + Days::new(dice.below(7, 4)));
        let kind = kind_of(dice.below(8, 100));
        let region = [0, 0, 0, 1, 1, 2, 3, 3, 4, 4][dice.below(9, 10) as usize];
        let home: Vec<i32> = catalog.stores.iter().filter(|s| s.region == region).map(|s| s.store_id).collect();
        // Between 0.3 and 2.9, half of it below 1.1: a few shop far more than the others.
        let pace = 0.3 + 2.6 * dice.unit(10) * dice.unit(11) + 0.5 * dice.unit(12);
        Self { id, kind, dice, joined, left, first_order, buys, pace, region, home_store: dice.pick(13, &home) }
    }

    pub(crate) fn kind(&self) -> &'static Kind {
        &KINDS[self.kind]
    }

    /// On the roster and not gone yet.
    pub(crate) fn is_active(&self, day: NaiveDate) -> bool {
        self.joined <= day && day < self.left
    }

    /// Expected orders on a day.
    pub(crate) fn order_rate(&self, day: NaiveDate) -> f64 {
        if self.first_order == Some(day) {
            return 1.0;
        }
        if self.buys != Buys::Often || !self.is_active(day) {
            return 0.0;
        }
        0.55 * self.kind().rate * self.pace * weekday_weight(self.kind(), day) * month_weight(self.kind(), day)
    }

    /// May order at all on a day; standing orders ask.
    pub(crate) fn may_order(&self, day: NaiveDate) -> bool {
        self.buys == Buys::Often && self.is_active(day)
    }

    /// Chance of a visit to the web shop on a day without an order.
    pub(crate) fn visit_rate(&self, day: NaiveDate) -> f64 {
        if !self.is_active(day) {
            return 0.0;
        }
        let curious = if self.buys == Buys::Never { 0.3 } else { 1.0 };
        0.011 * (0.25 + self.kind().online) * self.pace * curious * month_weight(self.kind(), day)
    }

    /// An item to buy or look at: half of the time one of ten favourites, else something of a liked category, else anything.
    pub(crate) fn choose_item(&self, dice: Dice, day: NaiveDate) -> usize {
        if dice.chance(1, 0.5) {
            let n = (dice.unit(2) * dice.unit(3) * 10.0) as u64;
            return self.item_in(self.dice.part(1000 + n), self.liked(self.dice.part(1000 + n)));
        }
        let gift_time = day.month() == 12 && dice.chance(4, 0.18);
        let category = match dice.below(5, 10) {
            _ if gift_time => dice.pick(6, &[23, 17, 12, 10]),
            0..7 => self.liked(dice),
            _ => dice.below(7, CATEGORIES.len() as u64) as usize,
        };
        self.item_in(dice, category)
    }

    fn liked(&self, dice: Dice) -> usize {
        self.kind().tastes[(dice.unit(8) * dice.unit(9) * 6.0) as usize]
    }

    fn item_in(&self, dice: Dice, category: usize) -> usize {
        category * PER_CATEGORY as usize + (dice.unit(10) * dice.unit(11) * PER_CATEGORY as f64) as usize
    }
}

/// The roster row.
pub(crate) struct RosterRow {
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) first_name: &'static str,
    pub(crate) last_name: &'static str,
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) gender: Option<&'static str>,
    pub(crate) postal_code: Option<String>,
    pub(crate) home_store_id: Option<i32>,
    pub(crate) joined_at: i64,
    pub(crate) signup_channel: &'static str,
    pub(crate) email_opt_in: bool,
    pub(crate) sms_opt_in: bool,
    pub(crate) research_opt_in: bool,
}

/// What the retailer knows of a person. Mail addresses end in domains that nobody can own, telephone numbers begin with an
/// unassigned country code.
pub(crate) fn roster_row(person: &Person, as_of: NaiveDate) -> RosterRow {
    let (d, kind) = (person.dice.part(1), person.kind());
    let (first_name, last_name) = (d.pick(1, &FIRST_NAMES), d.pick(2, &LAST_NAMES));
    let domain = d.pick(3, &["example.com", "mail.test", "post.test"]);
    let email = format!("{}.{}.{}@{domain}", first_name.to_lowercase(), last_name.to_lowercase(), person.id);
    let phone = format!("+999{:09}", 300_000_000 + u64::from(person.id) * 37);
    // One in a hundred gave no address at all.
    let nowhere = d.chance(4, 0.01);
    let own_region = if d.chance(5, 0.93) { person.region as u64 } else { d.below(6, REGIONS.len() as u64) };
    let code = postal_code(own_region, (d.unit(7) * d.unit(8) * POSTAL_PER_REGION as f64) as u64);
    let postal_code = if d.chance(9, 0.004) { "99999".to_owned() } else { code };
    let online = d.chance(10, kind.online);
    RosterRow {
        email: (!d.chance(11, 0.03)).then_some(email),
        phone: (!d.chance(12, 0.12)).then_some(phone),
        first_name,
        last_name,
        birth_date: birth_date(d, kind, as_of),
        gender: match d.below(13, 1000) {
            0..20 => None,
            20..530 => Some("F"),
            530..985 => Some("M"),
            _ => Some("X"),
        },
        postal_code: (!nowhere && !d.chance(14, 0.02)).then_some(postal_code),
        home_store_id: (!nowhere && !d.chance(15, 0.06)).then_some(person.home_store),
        joined_at: midnight(person.joined) + d.between(16, 7 * 3600, 22 * 3600) * SECOND_US + d.between(17, 0, SECOND_US),
        signup_channel: if online {
            d.pick(18, &["web", "app"])
        } else {
            d.pick(18, &["store", "store", "event", "call_centre"])
        },
        email_opt_in: d.chance(19, 0.62),
        sms_opt_in: d.chance(20, 0.35),
        research_opt_in: d.chance(21, kind.research),
    }
}

fn birth_date(d: Dice, kind: &Kind, as_of: NaiveDate) -> Option<NaiveDate> {
    if d.chance(30, 0.025) {
        return None;
    }
    let years = (kind.age + 26.0 * d.bell(31)).max(15.0);
    let born = as_of - Days::new((years * 365.25) as u64);
    // Forms are often filled in with 1 January.
    if d.chance(34, 0.012) { born.with_ordinal(1) } else { Some(born) }
}

fn kind_of(percent: u64) -> usize {
    let mut upto = 0;
    KINDS
        .iter()
        .position(|k| {
            upto += k.share;
            percent < upto
        })
        .unwrap_or(0)
}

/// Monday to Sunday, with an average of 1 over the week.
fn weekday_weight(kind: &Kind, day: NaiveDate) -> f64 {
    let average = (5.0 + 2.0 * kind.weekend) / 7.0;
    let weight = if day.weekday().number_from_monday() >= 6 { kind.weekend } else { 1.0 };
    weight / average
}

fn month_weight(kind: &Kind, day: NaiveDate) -> f64 {
    const MONTHS: [f64; 12] = [0.90, 0.88, 0.97, 1.00, 1.03, 1.00, 0.92, 0.90, 1.00, 1.02, 1.12, 1.25];
    let holidays = if day.month() >= 11 { kind.holidays } else { 1.0 };
    MONTHS[day.month0() as usize] * holidays
}

/// Seconds into the day around a kind's usual hour. Stores open from 8 to 22.
pub(crate) fn time_of_day(kind: &Kind, dice: Dice, in_store: bool) -> i64 {
    let spread = if in_store { 5.0 } else { 7.0 };
    let usual = ((kind.hour + spread * dice.bell(40)) * 3600.0) as i64 + dice.between(43, 0, 600);
    if in_store {
        let (opens, closes) = (8 * 3600 + dice.between(44, 0, 3600), 22 * 3600 - dice.between(45, 1, 3600));
        return usual.clamp(opens, closes);
    }
    usual.rem_euclid(DAY_US / SECOND_US)
}

const FIRST_NAMES: [&str; 24] = [
    "Ada", "Ben", "Chloe", "Dan", "Elif", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Leo", "Mina", "Noah", "Olga", "Pia",
    "Quinn", "Rosa", "Sami", "Tara", "Uma", "Vera", "Wei", "Yusuf",
];
const LAST_NAMES: [&str; 24] = [
    "Abbott", "Berg", "Castro", "Dunn", "Ekman", "Fischer", "Gray", "Haddad", "Ito", "Jensen", "Kaya", "Lopez", "Moreau",
    "Novak", "Olsen", "Petrov", "Quist", "Rossi", "Singh", "Tanaka", "Usman", "Vogel", "Walsh", "Young",
];
