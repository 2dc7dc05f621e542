//! What is bought and brought back, day by day. Never looks at another day than the one asked for and the day that returns come from, so
//! any day can be made alone.

use crate::dice::{Dice, Table};
use crate::people::{Person, time_of_day};
use crate::{DAY_US, FAST_CLOCK_DAYS, SECOND_US, World, midnight, number_of};
use chrono::{Datelike, Days, NaiveDate};

/// One line of a transaction, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) txn_id: i64,
    pub(crate) line_no: i32,
    pub(crate) customer_id: Option<i64>,
    pub(crate) store_id: Option<i32>,
    pub(crate) channel: &'static str,
    pub(crate) ts: i64,
    pub(crate) item_id: Option<i64>,
    pub(crate) quantity: i32,
    pub(crate) unit_cents: i64,
    pub(crate) discount_cents: Option<i64>,
    pub(crate) is_return: bool,
    /// Delivered in the month's second file.
    pub(crate) late: bool,
    /// A copy is delivered too, in the month's first or second file.
    pub(crate) copy_in: Option<usize>,
}

/// A basket before it has a number.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Position in the roster.
    pub(crate) person: usize,
    pub(crate) ts: i64,
    pub(crate) channel: &'static str,
    store: Option<i32>,
    pub(crate) items: Vec<Item>,
    dice: Dice,
}

/// A line of a basket.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Position in the catalog; `None`: the scanner did not know it.
    pub(crate) product: Option<usize>,
    quantity: i32,
    unit_cents: i64,
    discount_cents: Option<i64>,
    is_return: bool,
}

/// Transactions a day at most; the rest of the number is the day.
pub(crate) const PER_DAY: i64 = 10_000_000;
/// Numbers of transactions that a fast clock put on a day.
const FAST_CLOCK: i64 = 9_000_000;
/// What is brought back was bought so many days ago.
const RETURN_DAYS: u64 = 9;

/// Days in order, with the purchases that returns come from.
pub(crate) struct History<'a> {
    world: &'a World,
    first: NaiveDate,
    recent: std::collections::VecDeque<(NaiveDate, Vec<Order>)>,
}

impl<'a> History<'a> {
    pub(crate) fn new(world: &'a World, first: NaiveDate) -> Self {
        Self { world, first, recent: Default::default() }
    }

    /// The lines of the next day. On days after the history's end (`fast_clock`) only a few tills have a day ahead.
    pub(crate) fn lines_of(&mut self, day: NaiveDate, fast_clock: bool) -> Vec<Line> {
        let bought = purchases(self.world, day);
        let mut all = bought.clone();
        if fast_clock {
            all.retain(|o| is_early(o, day));
        }
        let back = day - Days::new(RETURN_DAYS);
        while self.recent.front().is_some_and(|(d, _)| *d < back) {
            self.recent.pop_front();
        }
        if let Some((_, earlier)) = self.recent.front().filter(|(d, _)| *d == back && *d >= self.first && !fast_clock) {
            all.extend(returns(earlier, day));
        }
        self.recent.push_back((day, bought));
        number(self.world, all, number_of(day) * PER_DAY + if fast_clock { FAST_CLOCK } else { 0 })
    }
}

/// The lines that the delivery of a later day adds: 5 % of its transactions, the third among them, happened one to three
/// days earlier.
/// The copies that are delivered at once stand beside their lines.
pub(crate) fn appended_lines(world: &World, day: NaiveDate) -> Vec<Line> {
    let mut all = purchases(world, day);
    if day < world.size.as_of + Days::new(FAST_CLOCK_DAYS) {
        all.retain(|o| !is_early(o, day));
    }
    all.extend(returns(&purchases(world, day - Days::new(RETURN_DAYS)), day));
    let mut lines = number(world, all, number_of(day) * PER_DAY);
    for line in &mut lines {
        let dice = world.dice(Table::Order, line.txn_id as u64);
        if line.txn_id % PER_DAY == 2 || dice.chance(70, 0.05) {
            line.ts -= dice.between(71, 1, 4) * DAY_US;
        }
    }
    lines.sort_by_key(|l| (l.ts, l.txn_id, l.line_no));
    let copies: Vec<Line> = lines.iter().filter(|l| l.copy_in.is_some()).cloned().collect();
    lines.extend(copies);
    lines
}

/// Whether a till with a fast clock delivered the order before its day.
fn is_early(order: &Order, day: NaiveDate) -> bool {
    order.ts == midnight(day) || order.dice.chance(60, 0.06)
}

/// Everything bought on a day, in roster order, then the day's standing order.
pub(crate) fn purchases(world: &World, day: NaiveDate) -> Vec<Order> {
    let mut orders = Vec::new();
    for (n, person) in world.people.iter().enumerate() {
        let rate = person.order_rate(day);
        if rate == 0.0 {
            continue;
        }
        let dice = world.dice(Table::Day, u64::from(person.id)).part(number_of(day) as u64);
        if dice.chance(1, rate) {
            orders.push(order(world, n, day, dice.part(1)));
            // Something was forgotten: a second order on the same day.
            if dice.chance(2, 0.05) {
                orders.push(order(world, n, day, dice.part(2)));
            }
        }
    }
    orders.extend(standing_order(world, day));
    orders
}

fn order(world: &World, n: usize, day: NaiveDate, dice: Dice) -> Order {
    let person = &world.people[n];
    let kind = person.kind();
    let channel = match dice.chance(1, kind.online) {
        true if dice.chance(2, kind.app) => "app",
        true => "online",
        false => "store",
    };
    let at = time_of_day(kind, dice, channel == "store") * SECOND_US;
    let store = (channel == "store").then(|| {
        if dice.chance(3, 0.82) { person.home_store } else { dice.between(4, 1, world.catalog.stores.len() as i64 + 1) as i32 }
    });
    let items = basket(world, person, day, dice, 1 + dice.streak(5, kind.basket, 11));
    Order { person: n, ts: midnight(day) + at, channel, store, items, dice }
}

/// Every fifth day, counted from `as_of`, one standing order is placed at midnight to the microsecond: so there are rows
/// exactly on `as_of` and on the edges of the usual windows.
fn standing_order(world: &World, day: NaiveDate) -> Option<Order> {
    if (world.size.as_of - day).num_days().rem_euclid(5) != 0 {
        return None;
    }
    let dice = world.dice(Table::Order, 0).part(number_of(day) as u64);
    let start = dice.below(1, world.people.len() as u64) as usize;
    let n = (0..world.people.len()).map(|i| (start + i) % world.people.len()).find(|n| world.people[*n].may_order(day))?;
    let items = basket(world, &world.people[n], day, dice, 2);
    Some(Order { person: n, ts: midnight(day), channel: "online", store: None, items, dice })
}

fn basket(world: &World, person: &Person, day: NaiveDate, dice: Dice, lines: u64) -> Vec<Item> {
    (0..lines).map(|n| item(world, person, day, dice.part(100 + n))).collect()
}

fn item(world: &World, person: &Person, day: NaiveDate, dice: Dice) -> Item {
    let product = person.choose_item(dice, day);
    let unit_cents = world.catalog.price_cents(world.seed, product, i64::from(day.month()) + 12 * i64::from(day.year()));
    let quantity = 1 + dice.streak(20, 0.28, 5) as i32;
    let cents = unit_cents * i64::from(quantity);
    let discount_cents = match dice.unit(21) {
        u if u < 0.02 => None,
        _ if dice.chance(22, person.kind().deals) => Some(cents * dice.between(23, 1, 8) * 5 / 100),
        _ => Some(0),
    };
    Item {
        product: (!dice.chance(24, 0.003)).then_some(product),
        quantity,
        unit_cents,
        discount_cents,
        // An exchange at the till: this line goes back, the rest is bought.
        is_return: dice.chance(25, 0.01),
    }
}

/// Goods brought back to a store, in a transaction of their own.
fn returns(earlier: &[Order], day: NaiveDate) -> Vec<Order> {
    let mut back = Vec::new();
    for order in earlier {
        let chance = if order.channel == "store" { 0.02 } else { 0.06 };
        if !order.dice.chance(30, chance) {
            continue;
        }
        let item = &order.items[order.dice.below(31, order.items.len() as u64) as usize];
        let ts = midnight(day) + order.dice.between(32, 9 * 3600, 20 * 3600) * SECOND_US;
        let items = vec![Item { is_return: true, ..item.clone() }];
        let (channel, store) = if order.channel == "store" { ("store", order.store) } else { (order.channel, None) };
        back.push(Order { person: order.person, ts, channel, store, items, dice: order.dice.part(33) });
    }
    back
}

/// Gives transactions their numbers, in order of time.
fn number(world: &World, mut orders: Vec<Order>, base: i64) -> Vec<Line> {
    orders.sort_by_key(|o| (o.ts, o.person));
    let mut lines = Vec::new();
    for (n, order) in orders.iter().enumerate() {
        let txn_id = base + n as i64;
        let no_card = order.dice.chance(40, 0.02);
        let late = order.dice.chance(41, 0.03);
        for (i, item) in order.items.iter().enumerate() {
            let dice = order.dice.part(200 + i as u64);
            lines.push(Line {
                txn_id,
                line_no: i as i32 + 1,
                customer_id: (!no_card).then_some(i64::from(world.people[order.person].id)),
                store_id: order.store,
                channel: order.channel,
                ts: order.ts,
                item_id: item.product.map(|p| world.catalog.products[p].item_id),
                quantity: item.quantity,
                unit_cents: item.unit_cents,
                discount_cents: item.discount_cents,
                is_return: item.is_return,
                late,
                copy_in: dice.chance(1, 0.01).then(|| dice.below(2, 2) as usize),
            });
        }
    }
    lines
}
