//! `lab report`: tables and plots of all that is in `runs.jsonl`.

use std::fmt::Write as _;
use std::fs;

use super::contestants::{ALL, Contestant};
use super::record::{self, Record};
use super::{goals, machine, plot};
use crate::bare::Failure;
use crate::table::spread;

pub(crate) const STORES: [(&str, &str); 4] = [
    ("redis", "Redis"),
    ("sqlite", "SQLite"),
    ("rabbitmq", "RabbitMQ"),
    ("postgres", "PostgreSQL"),
];

/// The payload of most runs, and of those with a greater one.
pub(crate) const SMALL: usize = super::PAYLOAD;
const KIB: usize = 1_024;

/// Least, median, greatest.
pub(crate) type Spread = (f64, f64, f64);

/// A contestant with its settings, and its records.
pub(crate) struct Row<'a> {
    pub(crate) who: &'a Contestant,
    pub(crate) settings: &'static str,
    records: Vec<&'a Record>,
}

impl<'a> Row<'a> {
    pub(crate) fn label(&self) -> String {
        match self.who.best {
            Some(_) => format!("{}, {}", self.who.name, self.settings),
            None => self.who.name.to_owned(),
        }
    }

    /// The rounds of a span.
    pub(super) fn of(&self, measure: &str, payload: usize, backlog: usize) -> Vec<&'a Record> {
        let all = self.records.iter().copied();
        all.filter(|r| r.error.is_none() && r.measure == measure)
            .filter(|r| r.payload == payload && r.backlog == backlog)
            .collect()
    }

    /// Something of the rounds of a span.
    pub(crate) fn spread(
        &self,
        measure: &str,
        payload: usize,
        backlog: usize,
        of: impl Fn(&Record) -> f64,
    ) -> Option<Spread> {
        let figures: Vec<f64> = self
            .of(measure, payload, backlog)
            .into_iter()
            .map(of)
            .collect();
        (!figures.is_empty()).then(|| spread(&figures))
    }

    fn errors(&self) -> impl Iterator<Item = &&Record> {
        self.records.iter().filter(|r| r.error.is_some())
    }
}

/// The rows of a store, in the order of a round.
pub(crate) fn rows<'a>(records: &'a [Record], store: &str) -> Vec<Row<'a>> {
    let all = ALL.iter().filter(|who| who.store == store);
    all.flat_map(|who| who.settings().iter().map(move |settings| (who, *settings)))
        .map(|(who, settings)| Row {
            who,
            settings,
            records: records
                .iter()
                .filter(|r| r.store == who.store && r.name == who.name && r.settings == settings)
                .collect(),
        })
        .collect()
}

/// Writes `benches/results/README.md` and the plots beside it.
pub(crate) fn write() -> Result<(), Failure> {
    let records = record::load()?;
    if records.is_empty() {
        return Err("there is no run yet".into());
    }
    let mut text = head(&records)?;
    goals::table(&mut text, &records)?;
    for (store, title) in STORES {
        let rows = rows(&records, store);
        if rows.iter().all(|row| row.records.is_empty()) {
            writeln!(text, "\n## {title}\n\nNot run.")?;
            continue;
        }
        plot::all(store, title, &rows)?;
        section(&mut text, store, title, &rows)?;
    }
    promises(&mut text)?;
    fs::write(record::directory().join("README.md"), text)?;
    Ok(())
}

fn head(records: &[Record]) -> Result<String, Failure> {
    let facts = machine::load()?;
    let fact = |name: &str| facts.get(name).map_or("?", String::as_str).to_owned();
    let mut spreads = Vec::new();
    for (store, _) in STORES {
        for row in rows(records, store) {
            let drained = row.of("drain", SMALL, 0).len();
            let of = row.spread("drain", SMALL, 0, Record::rate);
            if let (Some((low, middle, high)), true) = (of, drained > 1) {
                spreads.push((high - low) / middle * 100.0);
            }
        }
    }
    let others: Vec<f64> = records.iter().map(|r| r.others * 100.0).collect();
    let mut text = String::new();
    write!(
        text,
        "# What the lab found\n\n\
         Made by `scripts/lab report` from `runs.jsonl`; [how it measures](../README.md). Each\n\
         figure is the median of its rounds, with the least and the greatest; one without\n\
         these is of a single round. Client and server share this machine, so read who is\n\
         ahead and by how much, not how fast a server can be.\n\n\
         | | |\n|---|---|\n\
         | machine | {}, {} cores, {} |\n| kernel | {} |\n\
         | programs | {}; Node.js {}; {} |\n\
         | PostgreSQL | {}; `fsync`, `synchronous_commit`, `full_page_writes` on |\n\
         | Redis | {}; `appendfsync always` |\n\
         | RabbitMQ | {}; durable quorum queues (streams of anyqueue's own), confirms |\n\
         | SQLite | {} (anyqueue, raw loop); WAL, `synchronous=FULL` |\n",
        fact("cpu"),
        fact("cores"),
        fact("memory"),
        fact("kernel"),
        fact("rust"),
        fact("node"),
        fact("python"),
        fact("postgres"),
        fact("redis").split(" sha=").next().unwrap_or_default(),
        fact("rabbitmq"),
        fact("sqlite"),
    )?;
    let noise = match spreads.is_empty() {
        true => "no drain has two rounds yet".to_owned(),
        false => {
            let (low, middle, high) = spread(&spreads);
            format!(
                "the rounds of a drain lie {middle:.0} % of their median apart\n\
                 (from {low:.0} % to {high:.0} %)"
            )
        }
    };
    let (_, middle, high) = spread(&others);
    writeln!(
        text,
        "\n**Noise**: {noise}; other processes and the system itself had {middle:.0} % of the\n\
         machine's CPU time (at most {high:.0} %). Differences below that are none."
    )?;
    Ok(text)
}

fn section(text: &mut String, store: &str, title: &str, rows: &[Row<'_>]) -> Result<(), Failure> {
    writeln!(text, "\n## {title}\n")?;
    writeln!(
        text,
        "Thousand jobs a second, payloads of {SMALL} bytes; then milliseconds from the call of\n\
         enqueue to the handler's start at 200 jobs/s.\n\n\
         | | rounds | enqueue, batches | enqueue, one a call | drain, settled | p50 | p95 | p99 | p99.9 |\n\
         |---|---|---|---|---|---|---|---|---|"
    )?;
    for row in rows {
        let rate = |measure| cell(row.spread(measure, SMALL, 0, Record::rate), 1);
        write!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.label(),
            row.of("drain", SMALL, 0).len(),
            rate("enqueue"),
            rate("single"),
            rate("drain")
        )?;
        for at in 0..4 {
            let point = row.spread("pick-up", SMALL, 0, |r| {
                r.milliseconds.get(at).copied().unwrap_or(f64::NAN)
            });
            write!(text, " {} |", cell(point, 2))?;
        }
        writeln!(text)?;
    }
    resources(text, rows)?;
    kib(text, rows)?;
    growth(text, rows)?;
    let plots = ["enqueue", "drain", "pick-up", "growth"];
    writeln!(text)?;
    for plot in plots {
        let file = format!("{store}-{plot}.svg");
        if record::directory().join(&file).exists() {
            writeln!(text, "![{plot} on {title}]({file})")?;
        }
    }
    not_run(text, rows)
}

fn resources(text: &mut String, rows: &[Row<'_>]) -> Result<(), Failure> {
    writeln!(
        text,
        "\nWhat a drain took: microseconds of CPU a job, and the peak of memory in MiB.\n\n\
         | | client µs | server µs | client MiB | server MiB |\n|---|---|---|---|---|"
    )?;
    for row in rows {
        let of = |of: &dyn Fn(&Record) -> f64| cell(row.spread("drain", SMALL, 0, of), 0);
        let a_job = |seconds: f64, r: &Record| seconds / r.jobs.max(1) as f64 * 1e6;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.label(),
            of(&|r| a_job(r.client.cpu_seconds, r)),
            of(&|r| a_job(r.server.cpu_seconds, r)),
            of(&|r| r.client.memory_mib),
            of(&|r| r.server.memory_mib),
        )?;
    }
    Ok(())
}

fn kib(text: &mut String, rows: &[Row<'_>]) -> Result<(), Failure> {
    if rows.iter().all(|row| row.of("drain", KIB, 0).is_empty()) {
        return Ok(());
    }
    writeln!(
        text,
        "\nThe same with payloads of {KIB} bytes, thousand jobs a second.\n\n\
         | | rounds | enqueue, batches | drain, settled |\n|---|---|---|---|"
    )?;
    for row in rows {
        let rate = |measure| cell(row.spread(measure, KIB, 0, Record::rate), 1);
        let rounds = row.of("drain", KIB, 0).len();
        let (enqueue, drain) = (rate("enqueue"), rate("drain"));
        writeln!(text, "| {} | {rounds} | {enqueue} | {drain} |", row.label())?;
    }
    Ok(())
}

fn growth(text: &mut String, rows: &[Row<'_>]) -> Result<(), Failure> {
    const BACKLOGS: [usize; 3] = [10_000, 100_000, 1_000_000];
    let has = |row: &&Row<'_>| {
        BACKLOGS
            .iter()
            .any(|n| !row.of("drain", SMALL, *n).is_empty())
    };
    let rows: Vec<&Row<'_>> = rows.iter().filter(has).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\nDrain beside a backlog, thousand jobs a second, and the server's memory there.\n\n\
         | | 10,000 | 100,000 | 1,000,000 | MiB at 1,000,000 |\n|---|---|---|---|---|"
    )?;
    for row in rows {
        let at = |n| cell(row.spread("drain", SMALL, n, Record::rate), 1);
        let memory = row.spread("drain", SMALL, BACKLOGS[2], |r| r.server.memory_mib);
        let [few, some, many] = BACKLOGS.map(at);
        let memory = cell(memory, 0);
        writeln!(
            text,
            "| {} | {few} | {some} | {many} | {memory} |",
            row.label()
        )?;
    }
    writeln!(
        text,
        "\nAn empty cell: its backlog takes longer than a minute, or was not run."
    )?;
    Ok(())
}

fn not_run(text: &mut String, rows: &[Row<'_>]) -> Result<(), Failure> {
    let mut missing: Vec<String> = Vec::new();
    for row in rows {
        if row.records.is_empty() {
            let why = match row.who.command() {
                Ok(_) => "no round was made".to_owned(),
                Err(why) => why,
            };
            missing.push(format!("- {}: not run: {why}", row.label()));
        }
        if row.who.most() < usize::MAX {
            let most = row.who.most();
            missing.push(format!(
                "- {}: at most {most} jobs at once, and no backlog: above about 8,000 its worker \
                 gets none (it unpacks all that is due in one call of Lua)",
                row.label()
            ));
        }
        for record in row.errors() {
            let error = record.error.as_deref().unwrap_or_default();
            let beside = match record.backlog {
                0 => String::new(),
                n => format!(" beside {n} waiting"),
            };
            let line = format!("- {}, {}{beside}: {error}", row.label(), record.asked);
            if !missing.contains(&line) {
                missing.push(line);
            }
        }
    }
    if !missing.is_empty() {
        writeln!(text, "\nNot run, or failed:\n\n{}", missing.join("\n"))?;
    }
    Ok(())
}

fn promises(text: &mut String) -> Result<(), Failure> {
    writeln!(
        text,
        "\n## What each promises\n\nA faster figure beside a weaker promise is no contest. From their documentation, or\n\
         their code where it is silent.\n\n\
         | | a job whose worker is killed with -9 | status | progress | result | unique | delayed | best settings | source |\n\
         |---|---|---|---|---|---|---|---|---|"
    )?;
    for who in ALL {
        let title = STORES
            .iter()
            .find(|(store, _)| *store == who.store)
            .map_or("", |(_, t)| t);
        let has: Vec<_> = who.promises.has.chars().collect();
        let has = has.iter().map(|c| match c {
            '+' => "yes",
            _ => "no",
        });
        writeln!(
            text,
            "| {}{} on {title} | {} | {} | {} | {} |",
            who.name,
            match who.version {
                "" => String::new(),
                version => format!(" ({version})"),
            },
            who.promises.killed,
            has.collect::<Vec<_>>().join(" | "),
            who.best.unwrap_or("its defaults"),
            match who.promises.source.starts_with("http") {
                true => format!("<{}>", who.promises.source),
                false => format!("`{}`", who.promises.source),
            },
        )?;
    }
    Ok(())
}

/// A figure with its range.
pub(super) fn cell(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => String::new(),
        Some((low, middle, high)) => {
            // One round has no range.
            let one = low.to_bits() == high.to_bits();
            // Jobs a minute are not nothing.
            let digits = if digits > 0 && middle < 0.1 {
                4
            } else {
                digits
            };
            match one {
                true => format!("{middle:.digits$}"),
                false => format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_median_and_range_and_what_failed() {
        let record = |round, jobs| Record::of_drain("BullMQ", "best", round, jobs);
        let records = [
            record(1, 1_000),
            record(2, 9_000),
            record(3, 2_000),
            Record {
                error: Some("it fell".to_owned()),
                ..record(4, 0)
            },
        ];
        let rows = rows(&records, "redis");
        let mut text = String::new();
        section(&mut text, "none", "Redis", &rows).expect("a string takes all");
        assert!(
            text.contains("| BullMQ, best | 3 |  |  | 2.0 (1.0–9.0) |"),
            "{text}"
        );
        assert!(text.contains("- BullMQ, best, drain: it fell"), "{text}");
        assert!(text.contains("- oxana, best: not run"), "{text}");
    }
}
