//! `scripts/soak --backend X [--minutes N] [--seed N]`: real workers and
//! producers, each a process of its own, on a store of their own, while
//! processes are killed (-9) and stopped past their leases, the server is killed
//! and started again, connections are cut, stalled and left half open, and
//! calls are dropped in the middle. Then everything is healed and drained, and
//! the history of all calls is judged (`anyqueue_conformance_tests::faults`).
//!
//! X is sqlite, postgres, redis, rabbitmq, memory (one process: workers are
//! dropped instead of killed) or sqlserver (the server of
//! `ANYQUEUE_TEST_SQLSERVER_URL` on this host, which is not killed).
//!
//! Prints the seed first and a scoreboard last. The exit code is 0 only where
//! no promise broke, nothing hung, and there was something to break.
#![allow(
    clippy::print_stdout,
    reason = "the scoreboard is what this program is for"
)]

mod board;
mod child;
mod chore;
mod faults;
mod producer;
mod run;
mod store;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

/// Whatever ended the program early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Options {
    backend: String,
    time: Duration,
    seed: u64,
}

const USAGE: &str = "usage: scripts/soak --backend sqlite|postgres|redis|rabbitmq|memory|sqlserver \
                     [--minutes N] [--seed N]";

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        backend: String::new(),
        time: Duration::from_secs(60),
        seed: fastrand::u64(..),
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match word.as_str() {
            "--backend" => options.backend = value,
            "--minutes" => {
                options.time = Duration::try_from_secs_f64(60.0 * value.parse::<f64>()?)?;
            }
            "--seed" => options.seed = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    match options.backend.is_empty() {
        true => Err(USAGE.into()),
        false => Ok(options),
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let done = match words.peek().map(String::as_str) {
        Some("child") => child::main(words.skip(1)).await,
        _ => match options(words) {
            Ok(options) => run::run(&options).await,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
