//! What anyqueue is to reach, and whether it did: every comparison is made round by
//! round, between runs that were minutes apart, and the median of the rounds counts.

use std::fmt::Write as _;

use super::record::Record;
use super::report::{Row, SMALL, STORES, Spread, cell, rows};
use crate::bare::Failure;
use crate::table::spread;

const OURS: &str = "anyqueue";
const RAW: &str = "raw loop";

enum Goal {
    /// This many times the rate of another, at its best.
    Times(f64, &'static str, &'static str),
    /// A drain beside 1,000,000 waiting, in parts of that beside 10,000.
    Kept(f64),
    /// The 99th percentile of pick-up, in milliseconds.
    PickedUp(f64),
}

use Goal::{Kept, PickedUp, Times};

const GOALS: [(&str, Goal); 18] = [
    ("redis", Times(8.0, "drain", "BullMQ")),
    ("redis", Times(0.4, "drain", RAW)),
    ("redis", Times(0.8, "enqueue", RAW)),
    ("redis", PickedUp(2.0)),
    ("redis", Kept(0.9)),
    ("sqlite", Times(0.4, "drain", RAW)),
    ("sqlite", Times(0.8, "enqueue", RAW)),
    ("sqlite", Kept(0.9)),
    ("rabbitmq", Times(1.0, "drain", "apalis-amqp")),
    ("rabbitmq", Times(0.5, "drain", RAW)),
    ("rabbitmq", Times(0.8, "enqueue", RAW)),
    ("rabbitmq", PickedUp(5.0)),
    ("postgres", Times(1.2, "drain", "graphile-worker")),
    ("postgres", Times(0.8, "drain", RAW)),
    ("postgres", Times(0.8, "enqueue", RAW)),
    ("postgres", Times(5.0, "single", RAW)),
    ("postgres", PickedUp(8.0)),
    ("postgres", Kept(0.9)),
];

impl Goal {
    fn words(&self) -> String {
        match self {
            Times(_, measure, other) => {
                let measure = if *measure == "single" {
                    "one a call"
                } else {
                    measure
                };
                let the = if *other == RAW { "the " } else { "" };
                format!("{measure}, by {the}{other}'s")
            }
            Kept(_) => "drain beside 1,000,000, by 10,000".to_owned(),
            PickedUp(_) => "pick-up p99, ms".to_owned(),
        }
    }

    /// The rounds' figures, of the rows of its store; `None` where there is no round.
    fn found(&self, rows: &[Row<'_>]) -> Option<Spread> {
        let ours = |measure, backlog| of(rows, OURS, measure, backlog);
        let figures: Vec<f64> = match self {
            Times(_, measure, other) => ratios(&ours(measure, 0), &of(rows, other, measure, 0)),
            Kept(_) => ratios(&ours("drain", 1_000_000), &ours("drain", 10_000)),
            PickedUp(_) => {
                let rounds = ours("pick-up", 0);
                let p99 = |r: &&Record| r.milliseconds.get(2).copied();
                rounds.iter().filter_map(p99).collect()
            }
        };
        (!figures.is_empty()).then(|| spread(&figures))
    }

    fn is_met(&self, found: Spread) -> bool {
        match self {
            Times(least, ..) | Kept(least) => found.1 >= *least,
            PickedUp(most) => found.1 <= *most,
        }
    }

    fn bound(&self) -> String {
        match self {
            Times(least, ..) | Kept(least) => format!("≥ {least}"),
            PickedUp(most) => format!("≤ {most}"),
        }
    }
}

/// The rounds of a contestant, of its best settings where it has some.
fn of<'a>(rows: &[Row<'a>], name: &str, measure: &str, backlog: usize) -> Vec<&'a Record> {
    // A row for each of its settings, the best first.
    let settings = rows.iter().filter(|row| row.who.name == name);
    let mut rounds = settings.map(|row| row.of(measure, SMALL, backlog));
    rounds.find(|rounds| !rounds.is_empty()).unwrap_or_default()
}

/// The one by the other, round by round.
fn ratios(ours: &[&Record], others: &[&Record]) -> Vec<f64> {
    let pair = |our: &&Record| {
        let other = others.iter().find(|other| other.round == our.round)?;
        Some(our.rate() / other.rate())
    };
    ours.iter().filter_map(pair).collect()
}

/// The table of the goals.
pub(super) fn table(text: &mut String, records: &[Record]) -> Result<(), Failure> {
    writeln!(
        text,
        "\n## Goals\n\n\
         Ratios round by round, anyqueue at its defaults; the median counts.\n\n\
         | | | goal | found | |\n|---|---|---|---|---|"
    )?;
    for (store, title) in STORES {
        let rows = rows(records, store);
        for (_, goal) in GOALS.iter().filter(|(of, _)| *of == store) {
            let found = goal.found(&rows);
            let met = match found {
                None => "not measured",
                Some(found) if goal.is_met(found) => "met",
                Some(_) => "**missed**",
            };
            let (words, bound, found) = (goal.words(), goal.bound(), cell(found, 2));
            writeln!(text, "| {title} | {words} | {bound} | {found} | {met} |")?;
        }
    }
    writeln!(
        text,
        "\nWhat holds each back: [causes](causes.md). PostgreSQL beside a transaction that pins\n\
         the horizon for ten minutes: [horizon](horizon.md)."
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_with_their_own_and_the_median_counts() {
        let records = [
            Record::of_drain(OURS, "defaults", 1, 800),
            Record::of_drain(OURS, "defaults", 2, 700),
            Record::of_drain(OURS, "defaults", 3, 900),
            Record::of_drain("BullMQ", "best", 1, 100),
            Record::of_drain("BullMQ", "best", 2, 100),
            Record::of_drain("BullMQ", "best", 3, 100),
            Record::of_drain("BullMQ", "defaults", 1, 1),
        ];
        let mut text = String::new();
        table(&mut text, &records).expect("a string takes all");
        assert!(
            text.contains("| Redis | drain, by BullMQ's | ≥ 8 | 8.00 (7.00–9.00) | met |"),
            "{text}"
        );
        assert!(text.contains("| Redis | drain, by the raw loop's | ≥ 0.4 |  | not measured |"));
        let records = [&records[..3], &[Record::of_drain("BullMQ", "best", 2, 100)]].concat();
        let mut text = String::new();
        table(&mut text, &records).expect("a string takes all");
        assert!(text.contains("| ≥ 8 | 7.00 | **missed** |"), "{text}");
    }
}
