//! `cargo run --release -p anyqueue-benches [ROUNDS]`: anyqueue at its defaults
//! beside a bare loop on the same kind of file, in one run, round by round.
//!
//! The bare loop keeps nothing but a table of jobs: no progress, results,
//! errors, unique keys, counts or lists. Both run with synchronous=FULL.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod bare;
mod ours;

use std::time::Instant;

/// Jobs of a round.
const JOBS: usize = 20_000;

/// Jobs of a batch.
const BATCH: usize = 500;

/// The figures of one contestant: thousand jobs a second, a value a round.
struct Row {
    name: &'static str,
    /// The row that the ratio is taken against.
    base: usize,
    figures: Vec<f64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let row = |name, base| Row {
        name,
        base,
        figures: Vec::new(),
    };
    let mut rows = [
        row("bare insert, 500 a transaction", 0),
        row("enqueue_many, 500 a call", 0),
        row("enqueue, one by one from 64 tasks", 0),
        row("bare claim 500 and settle", 3),
        row("worker, settled jobs", 3),
    ];
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let mut bare = bare::Store::open(&dir.path().join("bare.db"))?;
        let client = runtime.block_on(ours::open(&dir.path().join("jobs.db")))?;
        rows[0].figures.push(rate(|| bare.insert(JOBS, BATCH))?);
        rows[1].figures.push(rate(|| {
            runtime.block_on(ours::enqueue_many(&client, JOBS, BATCH))
        })?);
        rows[3].figures.push(rate(|| bare.drain(JOBS, BATCH))?);
        rows[4]
            .figures
            .push(rate(|| runtime.block_on(ours::drain(&client, JOBS)))?);
        rows[2].figures.push(rate(|| {
            runtime.block_on(ours::enqueue_singly(&client, JOBS))
        })?);
    }
    println!("SQLite, {JOBS} jobs a round, {rounds} rounds, thousand jobs/s\n");
    println!("| | median | min–max | ratio to bare |\n|---|---|---|---|");
    for row in &rows {
        let (low, middle, high) = spread(&row.figures);
        let base = &rows[row.base].figures;
        let ratios: Vec<f64> = row
            .figures
            .iter()
            .zip(base)
            .map(|(ours, bare)| ours / bare)
            .collect();
        let ratio = spread(&ratios).1;
        println!(
            "| {} | {middle:.1} | {low:.1}–{high:.1} | {ratio:.2} |",
            row.name
        );
    }
    Ok(())
}

/// Thousand jobs a second, of a call that does [`JOBS`] jobs.
fn rate<E>(call: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let begun = Instant::now();
    call()?;
    Ok(JOBS as f64 / begun.elapsed().as_secs_f64() / 1_000.0)
}

/// Least, median and greatest of some figures.
fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (
        sorted[0],
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
    )
}
