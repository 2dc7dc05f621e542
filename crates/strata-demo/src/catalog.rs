//! What the retailer sells and where: products, stores and postal codes. Never depends on the number of customers or months.

use crate::dice::{Dice, Table};

/// Regions, each with its own stores and its own first digits of the postal code.
pub(crate) const REGIONS: [&str; 5] = ["Central", "East", "North", "South", "West"];

/// Departments and their categories. The order matters: a customer's tastes are positions in it.
pub(crate) const CATEGORIES: [(&str, &str); 24] = [
    ("Fresh", "Fruit & Vegetables"),
    ("Fresh", "Bakery"),
    ("Fresh", "Dairy & Eggs"),
    ("Fresh", "Meat & Fish"),
    ("Pantry", "Breakfast"),
    ("Pantry", "Pasta & Rice"),
    ("Pantry", "Snacks"),
    ("Pantry", "Coffee & Tea"),
    ("Drinks", "Soft Drinks"),
    ("Drinks", "Beer"),
    ("Drinks", "Wine"),
    ("Kids", "Baby Care"),
    ("Kids", "Toys"),
    ("Kids", "School"),
    ("Home", "Cleaning"),
    ("Home", "Kitchen"),
    ("Home", "Garden"),
    ("Home", "Candles & Decor"),
    ("Beauty", "Skin Care"),
    ("Beauty", "Hair Care"),
    ("Beauty", "Fragrance"),
    ("Pets", "Dogs"),
    ("Pets", "Cats"),
    ("Gifts", "Cards & Gift Sets"),
];

/// Products in each category.
pub(crate) const PER_CATEGORY: u64 = 25;
/// Stores; store `s` lies in region `(s − 1) % 5`.
pub(crate) const STORES: u64 = 24;
/// Postal codes in each region.
pub(crate) const POSTAL_PER_REGION: u64 = 32;

/// Typical prices of a category, in cents, in the order of [`CATEGORIES`].
const PRICE: [u64; 24] = [
    260, 220, 240, 650, 390, 210, 240, 620, 190, 980, 950, 1150, 1900, 540, 420, 1800, 1500, 1250, 1450, 820, 3900, 1350, 1100,
    1600,
];

/// One product.
pub(crate) struct Product {
    pub(crate) item_id: i64,
    pub(crate) category: usize,
    pub(crate) brand: String,
    pub(crate) list_cents: i64,
}

/// One store.
pub(crate) struct Store {
    pub(crate) store_id: i32,
    pub(crate) region: usize,
    pub(crate) square_metres: i32,
}

/// One postal code and what is known of the people who live there.
pub(crate) struct Postal {
    pub(crate) code: String,
    pub(crate) region: usize,
    pub(crate) urbanicity: &'static str,
    pub(crate) median_income: Option<i32>,
    pub(crate) household_size: f64,
}

/// All of them.
pub(crate) struct Catalog {
    pub(crate) products: Vec<Product>,
    pub(crate) stores: Vec<Store>,
    pub(crate) postal: Vec<Postal>,
}

impl Catalog {
    pub(crate) fn new(seed: u64) -> Self {
        let items = CATEGORIES.len() as u64 * PER_CATEGORY;
        Self {
            products: (0..items).map(|i| product(Dice::new(seed, Table::Product, i), i)).collect(),
            stores: (0..STORES).map(|i| store(Dice::new(seed, Table::Store, i), i)).collect(),
            postal: (0..POSTAL_PER_REGION * REGIONS.len() as u64).map(|i| postal(Dice::new(seed, Table::Postal, i), i)).collect(),
        }
    }

    /// What an item costs in a month: prices move a little, and some months an item is on special.
    pub(crate) fn price_cents(&self, seed: u64, item: usize, month: i64) -> i64 {
        let dice = Dice::new(seed, Table::Product, item as u64).part(month as u64);
        let share = if dice.chance(1, 0.08) { 80 } else { dice.between(2, 94, 101) };
        (self.products[item].list_cents * share / 100).max(49)
    }
}

/// The postal code with this number in its region; the first region's begin with a zero.
pub(crate) fn postal_code(region: u64, n: u64) -> String {
    format!("{:05}", region * 20_000 + 1000 + n * 37)
}

fn product(dice: Dice, i: u64) -> Product {
    let category = (i / PER_CATEGORY) as usize;
    // From 0.5 to 2.1 times the typical price; ends in 5 or 9.
    let cents = PRICE[category] as f64 * (0.5 + 1.6 * dice.unit(1) * dice.unit(2));
    let list_cents = (cents as i64 / 10) * 10 + dice.pick(3, &[5, 9]);
    let brand = match dice.below(4, 10) {
        0..4 => "Own Label".to_owned(),
        _ => format!("{} {}", dice.pick(5, &FIRST_WORD), dice.pick(6, &SECOND_WORD)),
    };
    Product { item_id: 1001 + i as i64, category, brand, list_cents }
}

fn store(dice: Dice, i: u64) -> Store {
    Store {
        store_id: 1 + i as i32,
        region: (i % REGIONS.len() as u64) as usize,
        square_metres: 250 + 10 * dice.between(1, 0, 320) as i32,
    }
}

fn postal(dice: Dice, i: u64) -> Postal {
    let (region, n) = (i / POSTAL_PER_REGION, i % POSTAL_PER_REGION);
    let urbanicity = match (region, dice.below(1, 10)) {
        (0, 0..7) | (_, 0..2) => "urban",
        (_, 2..7) => "suburban",
        _ => "rural",
    };
    let base = match urbanicity {
        "urban" => 36_000.0,
        "suburban" => 41_000.0,
        _ => 31_000.0,
    };
    let median_income = (!dice.chance(2, 0.03)).then_some((base * (1.0 + 0.45 * dice.bell(3))) as i32);
    let people = if urbanicity == "urban" { 170 } else { 220 } + dice.between(6, 0, 110);
    Postal {
        code: postal_code(region, n),
        region: region as usize,
        urbanicity,
        median_income,
        household_size: people as f64 / 100.0,
    }
}

const FIRST_WORD: [&str; 10] = ["Amber", "Birch", "Clover", "Dawn", "Ember", "Fern", "Golden", "Harbour", "Juniper", "Maple"];
const SECOND_WORD: [&str; 6] = ["& Co", "Farm", "Hill", "House", "Lane", "Works"];
