//! What one span of one run found: a line of `benches/results/runs.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bare::Failure;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) store: String,
    /// The contestant.
    pub(crate) name: String,
    pub(crate) settings: String,
    /// `enqueue`, `drain`, `single` or `pick-up`.
    pub(crate) measure: String,
    /// What the program was asked for, which may hold several spans.
    pub(crate) asked: String,
    pub(crate) payload: usize,
    pub(crate) backlog: usize,
    pub(crate) round: usize,
    pub(crate) jobs: usize,
    pub(crate) seconds: f64,
    /// p50, p95, p99, p99.9 and the greatest, in milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) milliseconds: Vec<f64>,
    pub(crate) client: Used,
    pub(crate) server: Used,
    /// The share of the machine's CPU time that neither client nor server had.
    pub(crate) others: f64,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
}

/// What a tree of processes used in a span.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_seconds: f64,
    /// The peak, sampled: anonymous memory of all, shared memory once.
    pub(crate) memory_mib: f64,
}

impl Record {
    /// Thousand jobs a second.
    pub(crate) fn rate(&self) -> f64 {
        self.jobs as f64 / self.seconds / 1_000.0
    }

    /// A drain on Redis that took a second.
    #[cfg(test)]
    pub(super) fn of_drain(name: &str, settings: &str, round: usize, jobs: usize) -> Self {
        Self {
            store: "redis".to_owned(),
            name: name.to_owned(),
            settings: settings.to_owned(),
            measure: "drain".to_owned(),
            asked: "drain".to_owned(),
            payload: super::PAYLOAD,
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
}

/// Where the results are.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results")
}

fn path() -> PathBuf {
    directory().join("runs.jsonl")
}

pub(crate) fn load() -> Result<Vec<Record>, Failure> {
    let Ok(file) = File::open(path()) else {
        return Ok(Vec::new());
    };
    BufReader::new(file)
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

pub(crate) fn append(records: &[Record]) -> Result<(), Failure> {
    let mut file = OpenOptions::new().create(true).append(true).open(path())?;
    for record in records {
        writeln!(file, "{}", serde_json::to_string(record)?)?;
    }
    Ok(())
}

/// A run whose drain has failed has not enqueued for the table either.
pub(crate) fn tidy(records: Vec<Record>) -> Vec<Record> {
    match records.iter().find(|record| record.error.is_some()) {
        Some(failed) => vec![failed.clone()],
        None => records,
    }
}
