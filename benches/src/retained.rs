//! What finished jobs cost: the start of a process beside them, and its memory.

use std::process::Command;
use std::time::Instant;

use anyqueue::Client;

use crate::bare::{self, Failure};
use crate::ours;

/// What one process found.
pub(crate) struct Found {
    /// From the call of `connect` to the first answer.
    pub(crate) seconds: f64,
    /// How much its memory grew.
    pub(crate) bytes: f64,
}

/// Fills a fresh store with this many finished jobs and starts a process on it.
pub(crate) async fn measure(store: &str, jobs: usize) -> Result<Found, Failure> {
    let round = bare::open(store).await?;
    let client = Client::connect(&round.url).await?;
    ours::enqueue_many(&client, jobs, 2).await?;
    ours::drain(&client, jobs).await?;
    drop(client);
    let output = Command::new(std::env::current_exe()?)
        .args(["child", &round.url])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let mut number = || numbers.next().ok_or("the process said nothing");
    Ok(Found {
        seconds: number()??,
        bytes: number()??,
    })
}

/// The process: seconds and bytes, on its standard output.
pub(crate) async fn child(url: &str) -> Result<(f64, f64), Failure> {
    let before = resident()?;
    let begun = Instant::now();
    let client = Client::connect(url).await?;
    client.counts().await?;
    Ok((begun.elapsed().as_secs_f64(), resident()? - before))
}

/// The memory of this process, in bytes.
fn resident() -> Result<f64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm
        .split_whitespace()
        .nth(1)
        .ok_or("no figure")?
        .parse()?;
    Ok(pages * 4_096.0)
}
