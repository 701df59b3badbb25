//! `cargo bench -p anyqueue-sqlserver`: what loading in bulk saves of a large
//! enqueue, on the server that `ANYQUEUE_TEST_SQLSERVER_URL` names. The same
//! number of jobs is stored in one transaction, round after round in turn:
//! by `enqueue`, which loads them in bulk, and by `enqueue_in`, which sends them
//! as OPENJSON statements of 1,000 jobs.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use anyqueue_core::{Backend as _, Kind, NewJob, Payload, QueueName};
use anyqueue_sqlserver::tiberius::Client;
use anyqueue_sqlserver::{Schema, SqlServerBackend, SqlServerConfig};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

const URL: &str = "ANYQUEUE_TEST_SQLSERVER_URL";
const ROUNDS: usize = 5;

fn jobs(count: usize, bytes: usize) -> Result<Vec<NewJob>, Box<dyn Error>> {
    let kind = Kind::new("noop")?;
    let payload = Payload::parse(format!("\"{}\"", "x".repeat(bytes - 2)), bytes)?;
    let job = |_| NewJob::new(QueueName::default(), kind.clone(), payload.clone());
    Ok((0..count).map(job).collect())
}

fn median(spans: &mut [Duration]) -> f64 {
    spans.sort_unstable();
    spans[spans.len() / 2].as_secs_f64()
}

async fn compare(url: &str) -> Result<(), Box<dyn Error>> {
    let mut config = SqlServerConfig::from_url(url)?;
    config.schema = Schema::new(format!("bench_{}", std::process::id()))?;
    let backend = SqlServerBackend::open(config.clone());
    backend.prepare().await?;
    let stream = TcpStream::connect(config.connect.get_addr()).await?;
    stream.set_nodelay(true)?;
    let connecting = Client::connect(config.connect.clone(), stream.compat_write());
    let mut conn = Box::pin(connecting).await?;
    println!(
        "| jobs | bytes each | OPENJSON, ms | bulk, ms | times as fast |\n|---|---|---|---|---|"
    );
    for (count, bytes) in [(2_000, 100), (10_000, 100), (10_000, 1_500)] {
        let (mut json, mut bulk) = (Vec::new(), Vec::new());
        // The first round is for plans and caches.
        for round in 0..=ROUNDS {
            let new = jobs(count, bytes)?;
            let begun = Instant::now();
            conn.begin_transaction().await?;
            config.schema.enqueue_in(&mut conn, &new).await?;
            conn.commit_transaction().await?;
            let by_json = begun.elapsed();
            let new = jobs(count, bytes)?;
            let begun = Instant::now();
            backend.enqueue(&new).await?;
            let by_bulk = begun.elapsed();
            if round > 0 {
                json.push(by_json);
                bulk.push(by_bulk);
            }
        }
        let (json, bulk) = (median(&mut json), median(&mut bulk));
        println!(
            "| {count} | {bytes} | {:.0} | {:.0} | {:.2} |",
            json * 1_000.0,
            bulk * 1_000.0,
            json / bulk
        );
    }
    let remove = include_str!("../tests/remove.sql");
    conn.execute(remove, &[&config.schema.name()]).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Ok(url) = std::env::var(URL) else {
        println!("NOT RUN: no SQL Server ({URL} is not set)");
        return Ok(());
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build()?.block_on(compare(&url))
}
