//! One program's side of the lab: a queue is measured by the same code whatever
//! its name, and says what it found in lines of JSON on its standard output.
//!
//! `PROGRAM URL MEASURE JOBS BACKLOG PAYLOAD SETTINGS`: MEASURE is `drain`
//! (enqueue in batches, then work off), `single` (enqueue one a call) or
//! `pick-up`; JOBS are drained beside BACKLOG others; PAYLOAD is in bytes of
//! JSON; SETTINGS is `defaults` or `best`, or what else the program knows.
//!
//! A line `{"mark":"begin","measure":M}` opens a span that
//! `{"mark":"end","measure":M,…}` closes; whoever reads them samples the
//! processes' CPU and memory at both.
#![allow(clippy::print_stdout, reason = "the lines are what a program is for")]

mod measure;

use std::error::Error;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Whatever ends a measurement.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Jobs of a batch, for whoever has batches of any size.
pub const BATCH: usize = 500;

/// What a program is asked to do.
#[derive(Debug, Clone)]
pub struct Args {
    /// A place that is fresh and the program's own.
    pub url: String,
    /// `drain`, `single` or `pick-up`.
    pub measure: String,
    /// Jobs to settle, to enqueue or to pick up.
    pub jobs: usize,
    /// Jobs that wait beside those.
    pub backlog: usize,
    /// Bytes of a payload as JSON.
    pub payload: usize,
    /// `defaults`, `best`, or what else the program knows.
    pub settings: String,
}

impl Args {
    /// Reads the program's arguments, less this many that it reads itself.
    ///
    /// # Errors
    ///
    /// Tells the usage where one is missing or is not a number.
    pub fn read(skip: usize) -> Result<Self, Failure> {
        const USAGE: &str = "usage: PROGRAM URL MEASURE JOBS BACKLOG PAYLOAD SETTINGS";
        let mut args = std::env::args().skip(1 + skip);
        let mut next = || args.next().ok_or(USAGE);
        Ok(Self {
            url: next()?,
            measure: next()?,
            jobs: next()?.parse()?,
            backlog: next()?.parse()?,
            payload: next()?.parse()?,
            settings: next()?,
        })
    }

    /// Whether the settings are those that the queue's documentation calls fast.
    #[must_use]
    pub fn best(&self) -> bool {
        self.settings != "defaults"
    }

    /// A text that makes a payload of the asked size, in `{"text":"…"}`.
    #[must_use]
    pub fn text(&self) -> String {
        "x".repeat(self.payload.saturating_sub(r#"{"text":""}"#.len()))
    }
}

/// A job queue as the lab sees it. What it starts ends with the process.
pub trait Peer: Clone + Send + Sync + 'static {
    /// Jobs of a call of [`Peer::enqueue`].
    const BATCH: usize = BATCH;

    /// Enqueues a batch in the best way there is; returns when the store has it.
    fn enqueue(&self, texts: Vec<String>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Enqueues one job; returns when the store has it.
    fn enqueue_one(&self, text: String) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Starts a worker whose handler calls [`handled`] and does nothing else.
    fn start(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Of this many jobs enqueued, how many the store holds as settled.
    fn settled(&self, enqueued: usize) -> impl Future<Output = Result<usize, Failure>> + Send;
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static STARTS: OnceLock<Vec<OnceLock<Instant>>> = OnceLock::new();

/// Called by a handler as its first and only act, with the job's text.
pub fn handled(text: &str) {
    if let Some(starts) = STARTS.get() {
        let digits = text.split('-').next().unwrap_or_default();
        if let Some(start) = digits.parse().ok().and_then(|n: usize| starts.get(n)) {
            // A job that runs twice was picked up the first time.
            let _ = start.set(Instant::now());
        }
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Measures a queue and ends the process.
///
/// # Errors
///
/// The queue's own, and where a wait was longer than its bound.
pub async fn run<P: Peer>(args: &Args, peer: &P) -> Result<(), Failure> {
    match args.measure.as_str() {
        "drain" => measure::drain(args, peer).await?,
        "single" => measure::single(args, peer).await?,
        "pick-up" => measure::pick_up(args, peer).await?,
        other => return Err(format!("no such measure: {other:?}").into()),
    }
    // What the workers still do is not waited for.
    std::process::exit(0)
}

/// Opens a span.
pub fn begin(measure: &str) {
    println!(r#"{{"mark":"begin","measure":"{measure}"}}"#);
}

/// Closes a span that handled this many jobs in these seconds.
pub fn end(measure: &str, jobs: usize, seconds: f64) {
    println!(r#"{{"mark":"end","measure":"{measure}","jobs":{jobs},"seconds":{seconds}}}"#);
}
