//! What anyqueue is to reach, and whether it did: every comparison is made round by
//! round, between runs that were minutes apart, and the median of the rounds counts.

use std::fmt::Write as _;

use super::record::Record;
use super::report::{SMALL, STORES, Spread, cell};
use crate::bare::Failure;
use crate::table::spread;

const OURS: &str = "anyqueue";

struct Goal {
    store: &'static str,
    words: &'static str,
    least: Least,
}

enum Least {
    /// This many times the rate of another, at its best.
    Times(f64, &'static str, &'static str),
    /// A drain beside 1,000,000 waiting, in parts of that beside 10,000.
    Kept(f64),
    /// The 99th percentile of pick-up, in milliseconds.
    PickedUp(f64),
}

const fn goal(store: &'static str, words: &'static str, least: Least) -> Goal {
    Goal {
        store,
        words,
        least,
    }
}

const RAW: &str = "raw loop";

const GOALS: [Goal; 18] = [
    goal(
        "redis",
        "drain, by BullMQ's",
        Least::Times(8.0, "drain", "BullMQ"),
    ),
    goal(
        "redis",
        "drain, by the raw loop's",
        Least::Times(0.4, "drain", RAW),
    ),
    goal(
        "redis",
        "enqueue, by the raw loop's",
        Least::Times(0.8, "enqueue", RAW),
    ),
    goal("redis", "pick-up p99, ms", Least::PickedUp(2.0)),
    goal(
        "redis",
        "drain beside 1,000,000, by 10,000",
        Least::Kept(0.9),
    ),
    goal(
        "sqlite",
        "drain, by the raw loop's",
        Least::Times(0.4, "drain", RAW),
    ),
    goal(
        "sqlite",
        "enqueue, by the raw loop's",
        Least::Times(0.8, "enqueue", RAW),
    ),
    goal(
        "sqlite",
        "drain beside 1,000,000, by 10,000",
        Least::Kept(0.9),
    ),
    goal(
        "rabbitmq",
        "drain, by apalis-amqp's",
        Least::Times(1.0, "drain", "apalis-amqp"),
    ),
    goal(
        "rabbitmq",
        "drain, by the raw loop's",
        Least::Times(0.5, "drain", RAW),
    ),
    goal(
        "rabbitmq",
        "enqueue, by the raw loop's",
        Least::Times(0.8, "enqueue", RAW),
    ),
    goal("rabbitmq", "pick-up p99, ms", Least::PickedUp(5.0)),
    goal(
        "postgres",
        "drain, by graphile-worker's",
        Least::Times(1.2, "drain", "graphile-worker"),
    ),
    goal(
        "postgres",
        "drain, by the raw loop's",
        Least::Times(0.8, "drain", RAW),
    ),
    goal(
        "postgres",
        "enqueue, by the raw loop's",
        Least::Times(0.8, "enqueue", RAW),
    ),
    goal(
        "postgres",
        "one a call, by the raw loop's",
        Least::Times(5.0, "single", RAW),
    ),
    goal("postgres", "pick-up p99, ms", Least::PickedUp(8.0)),
    goal(
        "postgres",
        "drain beside 1,000,000, by 10,000",
        Least::Kept(0.9),
    ),
];

impl Goal {
    /// The rounds' figures; `None` where there is no round.
    fn found(&self, records: &[Record]) -> Option<Spread> {
        let ours = |measure, backlog| of(records, self.store, OURS, measure, backlog);
        let figures: Vec<f64> = match self.least {
            Least::Times(_, measure, other) => ratios(
                &ours(measure, 0),
                &of(records, self.store, other, measure, 0),
            ),
            Least::Kept(_) => ratios(&ours("drain", 1_000_000), &ours("drain", 10_000)),
            Least::PickedUp(_) => {
                let rounds = ours("pick-up", 0);
                let p99 = |r: &&Record| r.milliseconds.get(2).copied();
                rounds.iter().filter_map(p99).collect()
            }
        };
        (!figures.is_empty()).then(|| spread(&figures))
    }

    fn is_met(&self, found: Spread) -> bool {
        match self.least {
            Least::Times(least, ..) | Least::Kept(least) => found.1 >= least,
            Least::PickedUp(most) => found.1 <= most,
        }
    }

    fn bound(&self) -> String {
        match self.least {
            Least::Times(least, ..) | Least::Kept(least) => format!("≥ {least}"),
            Least::PickedUp(most) => format!("≤ {most}"),
        }
    }
}

/// The rounds of a contestant, of its best settings where it has some.
fn of<'a>(
    records: &'a [Record],
    store: &str,
    name: &str,
    measure: &str,
    backlog: usize,
) -> Vec<&'a Record> {
    let all = |settings: &'static str| {
        let those = records.iter().filter(move |r| {
            r.error.is_none()
                && r.payload == SMALL
                && r.measure == measure
                && r.backlog == backlog
                && r.settings == settings
        });
        let named = those.filter(|r| r.store == store && r.name == name);
        named.collect::<Vec<_>>()
    };
    match all("best") {
        best if best.is_empty() => all("defaults"),
        best => best,
    }
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
    for goal in &GOALS {
        let found = goal.found(records);
        let met = match found {
            None => "not measured",
            Some(found) if goal.is_met(found) => "met",
            Some(_) => "**missed**",
        };
        let title = STORES.iter().find(|(store, _)| *store == goal.store);
        let title = title.map_or(goal.store, |(_, title)| title);
        let (words, bound, found) = (goal.words, goal.bound(), cell(found, 2));
        writeln!(text, "| {title} | {words} | {bound} | {found} | {met} |")?;
    }
    writeln!(
        text,
        "\nWhere one is missed, [causes](causes.md) says what the profile shows. PostgreSQL\n\
         beside a transaction that pins the horizon for ten minutes: [horizon](horizon.md)."
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::Used;

    fn drain(name: &str, settings: &str, round: usize, jobs: usize) -> Record {
        Record {
            store: "redis".to_owned(),
            name: name.to_owned(),
            settings: settings.to_owned(),
            measure: "drain".to_owned(),
            asked: "drain".to_owned(),
            payload: SMALL,
            backlog: 0,
            round,
            jobs,
            seconds: 1.0,
            milliseconds: Vec::new(),
            client: Used::default(),
            server: Used::default(),
            others: 0.0,
            error: None,
        }
    }

    #[test]
    fn rounds_are_compared_with_their_own_and_the_median_counts() {
        let records = [
            drain(OURS, "defaults", 1, 800),
            drain(OURS, "defaults", 2, 700),
            drain(OURS, "defaults", 3, 900),
            drain("BullMQ", "best", 1, 100),
            drain("BullMQ", "best", 2, 100),
            drain("BullMQ", "best", 3, 100),
            drain("BullMQ", "defaults", 1, 1),
        ];
        let mut text = String::new();
        table(&mut text, &records).expect("a string takes all");
        assert!(
            text.contains("| Redis | drain, by BullMQ's | ≥ 8 | 8.00 (7.00–9.00) | met |"),
            "{text}"
        );
        assert!(text.contains("| Redis | drain, by the raw loop's | ≥ 0.4 |  | not measured |"));
        let records = [&records[..3], &[drain("BullMQ", "best", 2, 100)]].concat();
        let mut text = String::new();
        table(&mut text, &records).expect("a string takes all");
        assert!(text.contains("| ≥ 8 | 7.00 | **missed** |"), "{text}");
    }
}
