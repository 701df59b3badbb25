//! `cargo run --release -p anyqueue-benches [STORE [MEASURE [ROUNDS]]]`: anyqueue
//! at its defaults on a store, beside a bare loop on the same store with the same
//! settings, in one run, round by round.
//!
//! STORE is `sqlite`, the default, or a server whose `ANYQUEUE_TEST_<STORE>_URL`
//! is set (see `scripts/servers`). MEASURE is one of
//! - `speed` (the default): enqueue and drain, thousand jobs a second;
//! - `drain`: the same of a drain that is five times as long;
//! - `horizon`: 1,000 jobs/s beside a transaction that keeps the server from
//!   removing dead rows, for ROUNDS seconds;
//! - `pick-up`: from the call of `enqueue` to its answer and to the handler's
//!   start, at 200 jobs/s;
//! - `backlog`: drain beside 10,000 and beside 1,000,000 waiting jobs;
//! - `retained`: a process's start and memory beside finished jobs.
//!
//! `lab …` measures the peers as well, and makes the report; see the README.
//!
//! The bare loop keeps nothing but jobs: no progress, results, errors, unique
//! keys, counts or lists.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod bare;
mod lab;
mod ours;
mod retained;
mod servers;
mod table;

use std::future::Future;
use std::time::Instant;

use anyqueue::Client;

use bare::Failure;
use table::{Table, percentile};

/// Jobs of a round.
const JOBS: usize = 20_000;

/// Jobs of a round where the start of the worker is not to count.
const LONG_DRAIN: usize = 100_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    match all.first().map(String::as_str) {
        Some("lab") => return lab::lab(&all[1..]).await,
        Some("lab-child") => return lab::child(all.get(1).map_or("", String::as_str)).await,
        _ => {}
    }
    let mut args = all.into_iter();
    let store = args.next().unwrap_or_else(|| "sqlite".to_owned());
    let measure = args.next().unwrap_or_else(|| "speed".to_owned());
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    match measure.as_str() {
        "speed" => speed(&store, rounds).await,
        "pick-up" => pick_up(&store, rounds).await,
        "backlog" => backlog(&store, rounds).await,
        "drain" => drain(&store, rounds).await,
        "horizon" => horizon(&store, rounds).await,
        "retained" => retained(&store).await,
        // Started by `retained`, with the URL as its measure.
        url if store == "child" => {
            let (seconds, bytes) = retained::child(url).await?;
            println!("{seconds} {bytes}");
            Ok(())
        }
        _ => {
            let message =
                "no such measure; give speed, drain, horizon, pick-up, backlog or retained";
            Err(message.into())
        }
    }
}

async fn speed(store: &str, rounds: usize) -> Result<(), Failure> {
    let mut table = Table::default();
    let insert = table.base("bare insert");
    let many = table.beside("enqueue_many, 500 a call", insert);
    let two = table.beside("enqueue_many, 500 a call, from 2 tasks", insert);
    let large = table.beside("enqueue_many, 1,000 a call", insert);
    let two_large = table.beside("enqueue_many, 1,000 a call, from 2 tasks", insert);
    let singly = table.beside("enqueue, one by one from 64 tasks", insert);
    let bare_singly = table.base("bare insert, one a transaction, from 64 tasks");
    let beside_singly = table.beside("enqueue, the same", bare_singly);
    let loops = table.base("bare claim and settle");
    let worker = table.beside("worker, settled jobs", loops);
    for _ in 0..rounds {
        let mut round = bare::open(store).await?;
        let client = Client::connect(&round.url).await?;
        table.add(insert, rate(JOBS, round.bare.insert(JOBS)).await?);
        table.add(
            many,
            rate(JOBS, ours::enqueue_many(&client, JOBS, 1)).await?,
        );
        table.add(loops, rate(JOBS, round.bare.drain(JOBS)).await?);
        table.add(worker, rate(JOBS, ours::drain(&client, JOBS)).await?);
        let single = rate(JOBS, ours::enqueue_singly(&client, JOBS, 64)).await?;
        table.add(singly, single);
        let begun = Instant::now();
        if let Some(done) = round.bare.insert_singly(JOBS, 64).await {
            done?;
            table.add(
                bare_singly,
                JOBS as f64 / begun.elapsed().as_secs_f64() / 1_000.0,
            );
            table.add(beside_singly, single);
        }
        table.add(two, rate(JOBS, ours::enqueue_many(&client, JOBS, 2)).await?);
        for (row, tasks) in [(large, 1), (two_large, 2)] {
            let enqueue = ours::enqueue_batches(&client, JOBS, 1_000, tasks);
            table.add(row, rate(JOBS, enqueue).await?);
        }
    }
    println!("{store}, {JOBS} jobs a round, {rounds} rounds, thousand jobs/s\n\n{table}");
    Ok(())
}

async fn drain(store: &str, rounds: usize) -> Result<(), Failure> {
    let mut table = Table::default();
    let loops = table.base("bare claim and settle");
    let worker = table.beside("worker, settled jobs", loops);
    for _ in 0..rounds {
        let mut round = bare::open(store).await?;
        let client = Client::connect(&round.url).await?;
        round.bare.insert(LONG_DRAIN).await?;
        ours::enqueue_many(&client, LONG_DRAIN, 2).await?;
        table.add(loops, rate(LONG_DRAIN, round.bare.drain(LONG_DRAIN)).await?);
        table.add(
            worker,
            rate(LONG_DRAIN, ours::drain(&client, LONG_DRAIN)).await?,
        );
    }
    println!("{store}, {LONG_DRAIN} jobs a round, {rounds} rounds, thousand jobs/s\n\n{table}");
    Ok(())
}

/// ROUNDS is the number of seconds here.
async fn horizon(store: &str, seconds: usize) -> Result<(), Failure> {
    const PER_SECOND: usize = 1_000;
    let mut round = bare::open(store).await?;
    let client = Client::connect(&round.url).await?;
    let _pinned = round.bare.pin_horizon().await?;
    println!("{store}, {PER_SECOND} jobs/s beside a transaction that pins the horizon\n");
    println!("| second | settled/s | pick-up p50, ms | p99, ms |\n|---|---|---|---|");
    ours::steadily(&client, PER_SECOND, seconds).await
}

async fn pick_up(store: &str, rounds: usize) -> Result<(), Failure> {
    const PINGS: usize = 2_000;
    const POINTS: [f64; 5] = [0.5, 0.95, 0.99, 0.999, 1.0];
    let mut table = Table::default();
    let names = [
        "bare p50",
        "p95",
        "p99",
        "p99.9",
        "most",
        "enqueue answered p50",
        "p95",
        "p99",
        "p99.9",
        "most",
        "handler started p50",
        "p95",
        "p99",
        "p99.9",
        "most",
    ];
    let rows = names.map(|name| table.base(name));
    for _ in 0..rounds {
        let mut round = bare::open(store).await?;
        let client = Client::connect(&round.url).await?;
        let bare = match round.bare.pick_up(PINGS, 200).await {
            Some(spans) => spans?,
            None => Vec::new(),
        };
        let found = ours::pick_up(&client, PINGS, 200).await?;
        let all = [bare, found.answered, found.started];
        for (rows, mut spans) in rows.chunks(POINTS.len()).zip(all) {
            spans.sort_by(f64::total_cmp);
            for (row, point) in rows.iter().zip(POINTS) {
                if !spans.is_empty() {
                    table.add(*row, percentile(&spans, point));
                }
            }
        }
    }
    println!("{store}, {PINGS} jobs a round at 200/s, {rounds} rounds, milliseconds\n\n{table}");
    Ok(())
}

async fn backlog(store: &str, rounds: usize) -> Result<(), Failure> {
    const FEW: usize = 10_000;
    const MANY: usize = 1_000_000;
    let mut table = Table::default();
    let few = table.base("drain beside 10,000 waiting");
    let many = table.beside("drain beside 1,000,000 waiting", few);
    for _ in 0..rounds {
        for (row, waiting) in [(few, FEW), (many, MANY)] {
            let round = bare::open(store).await?;
            let client = Client::connect(&round.url).await?;
            ours::enqueue_many(&client, waiting + JOBS, 2).await?;
            table.add(row, rate(JOBS, ours::drain(&client, JOBS)).await?);
        }
    }
    println!("{store}, {JOBS} jobs drained, {rounds} rounds, thousand jobs/s\n\n{table}");
    Ok(())
}

async fn retained(store: &str) -> Result<(), Failure> {
    println!(
        "{store}\n\n| finished jobs | start, s | memory, MiB | bytes a job |\n|---|---|---|---|"
    );
    for jobs in [1_000, 10_000, 100_000, 1_000_000] {
        let found = retained::measure(store, jobs).await?;
        println!(
            "| {jobs} | {:.2} | {:.1} | {:.0} |",
            found.seconds,
            found.bytes / 1_048_576.0,
            found.bytes / jobs as f64
        );
    }
    Ok(())
}

/// Thousand jobs a second, of a call that does this many.
async fn rate<E>(jobs: usize, call: impl Future<Output = Result<(), E>>) -> Result<f64, E> {
    let begun = Instant::now();
    call.await?;
    Ok(jobs as f64 / begun.elapsed().as_secs_f64() / 1_000.0)
}
