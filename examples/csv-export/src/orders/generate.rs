//! Makes up orders: the same ones each time.

use std::io;
use std::path::Path;

use fastrand::Rng;
use rusqlite::{Connection, params};

use super::date::Date;
use super::view::{Country, Status};

const SEED: u64 = 0x0dd5_eed5;

/// 1 January 2023 to 31 December 2025.
const FIRST_DAY: i64 = 19_358;
const DAYS: i64 = 1_096;

const CUSTOMERS: usize = 900;

const FIRST_NAMES: [&str; 24] = [
    "Amara", "Anaïs", "Björn", "Carmen", "Chloé", "Dmitri", "Elena", "Farid", "Greta", "Hannah",
    "Ivo", "João", "Keiko", "Lars", "Maya", "Noah", "Olu", "Priya", "Quinn", "Rosa", "Søren",
    "Tomás", "Uta", "Yuki",
];

const LAST_NAMES: [&str; 24] = [
    "Almeida",
    "Andersson",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalski",
    "Larsen",
    "Moreau",
    "Nakamura",
    "Novák",
    "O'Brien",
    "Okafor",
    "Petrov",
    "Rossi",
    "Schäfer",
    "Silva",
    "Tanaka",
    "Weiß",
];

/// Shops among the customers. Two of them would be formulas to a spreadsheet,
/// and one needs quotes: the export has to cope.
const SHOPS: [&str; 6] = [
    "Lindqvist & Daughters, Ltd.",
    "Café \"Zur Linde\"",
    "@home Interiors",
    "=Equal= Trading",
    "Atelier Nord",
    "The Corner Shop",
];

/// Name and price in cents.
const PRODUCTS: [(&str, u32); 16] = [
    ("Oak desk lamp", 8_900),
    ("Linen cushion", 3_450),
    ("Wool throw, charcoal", 11_900),
    ("Stoneware mug", 1_850),
    ("Walnut side table", 24_900),
    ("Brass hook (set of 3)", 2_700),
    ("Beeswax candle", 1_490),
    ("Cotton bath towel", 3_900),
    ("Pine bookshelf", 18_900),
    ("Glass carafe", 4_250),
    ("Leather journal", 5_600),
    ("Ceramic planter 20\"", 6_900),
    ("Felt slippers", 4_900),
    ("Copper kettle", 12_900),
    ("Ash stool", 9_900),
    ("Recycled doormat", 3_990),
];

struct Customer {
    name: String,
    country: Country,
}

/// Writes a database of that many orders. It appears under its name when it is
/// complete, also where two processes do this at once: both write the same.
pub(super) fn generate(path: &Path, rows: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temp = tempfile::Builder::new()
        .prefix("orders-")
        .suffix(".part")
        .tempfile_in(folder)?;
    fill(temp.path(), rows).map_err(io::Error::other)?;
    temp.persist(path)?;
    Ok(())
}

fn fill(path: &Path, rows: u32) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    // Nobody sees the file before it is complete.
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("sql/schema.sql"))?;
    {
        let mut insert = transaction.prepare(include_str!("sql/insert.sql"))?;
        let mut rng = Rng::with_seed(SEED);
        let customers = customers(&mut rng);
        let days: Vec<String> = (0..DAYS)
            .map(|day| Date(FIRST_DAY + day).to_string())
            .collect();
        for row in 0..i64::from(rows) {
            let day = row * DAYS / i64::from(rows);
            let customer = &customers[skewed(&mut rng, customers.len())];
            let (product, list_price) = PRODUCTS[skewed(&mut rng, PRODUCTS.len())];
            let year = u32::try_from(day / 366).unwrap_or(0);
            let price = list_price * (100 + 4 * year) / 100;
            insert.execute(params![
                100_001 + row,
                days[usize::try_from(day).unwrap_or(0)],
                customer.name,
                customer.country.as_str(),
                product,
                1 + skewed(&mut rng, 8),
                price,
                status(&mut rng, DAYS - 1 - day).as_str(),
            ])?;
        }
    }
    transaction.commit()
}

fn customers(rng: &mut Rng) -> Vec<Customer> {
    let shops = SHOPS.iter().map(|shop| (*shop).to_owned());
    let mut names: Vec<String> = shops.collect();
    while names.len() < CUSTOMERS {
        let first = FIRST_NAMES[rng.usize(..FIRST_NAMES.len())];
        let last = LAST_NAMES[rng.usize(..LAST_NAMES.len())];
        names.push(format!("{first} {last}"));
    }
    rng.shuffle(&mut names);
    names
        .into_iter()
        .map(|name| Customer {
            name,
            country: Country::ALL[skewed(rng, Country::ALL.len())],
        })
        .collect()
}

/// An index below `len`, low ones more often.
fn skewed(rng: &mut Rng, len: usize) -> usize {
    rng.usize(..len).min(rng.usize(..len))
}

/// Old orders are done with; those of the last weeks are under way.
fn status(rng: &mut Rng, age: i64) -> Status {
    let luck = rng.u8(..100);
    match (age, luck) {
        (_, 0..=3) => Status::Cancelled,
        (15.., 4..=6) => Status::Refunded,
        (0..=2, 4..=40) => Status::Pending,
        (0..=6, 4..=70) => Status::Paid,
        (0..=20, 4..=80) => Status::Shipped,
        _ => Status::Delivered,
    }
}
