//! The bare loop on each store: what the store itself can do, with nothing of
//! a queue's promises but a claim that no two can make.

mod postgres;
mod rabbitmq;
mod redis;
mod sqlite;

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyqueue::async_trait;

/// Whatever ends a measurement.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Milliseconds, in no order.
pub(crate) type Spans = Result<Vec<f64>, Failure>;

/// Jobs of a bare batch, also of ours where we choose it.
pub(crate) const BATCH: usize = 500;

pub(crate) use postgres::INSERTED;

/// A table, list or queue of jobs without anything else.
#[async_trait]
pub(crate) trait Bare: Send {
    /// Adds jobs of about 100 bytes, [`BATCH`] at a time, each batch durable.
    async fn insert(&mut self, jobs: usize) -> Result<(), Failure>;

    /// Adds jobs one by one, each in a transaction of its own, from several
    /// tasks; `None` where there is no such thing to compare with.
    async fn insert_singly(&mut self, _jobs: usize, _tasks: usize) -> Option<Result<(), Failure>> {
        None
    }

    /// Begins what keeps the store from removing dead rows, until it is dropped.
    async fn pin_horizon(&mut self) -> Result<Box<dyn Any + Send>, Failure> {
        Err("this store has no horizon".into())
    }

    /// Adds jobs one by one at this rate to a loop that waits for them; the spans
    /// from each call to the job's receipt in milliseconds, `None` where nothing
    /// can be waited for.
    async fn pick_up(&mut self, _jobs: usize, _per_second: u32) -> Option<Spans> {
        None
    }

    /// Claims [`BATCH`] jobs and settles them, until that many are settled; there
    /// may be more.
    async fn drain(&mut self, jobs: usize) -> Result<(), Failure>;
}

/// A fresh place for one round; gone when it is dropped.
pub(crate) struct Round {
    /// Where anyqueue keeps its jobs.
    pub(crate) url: String,
    pub(crate) bare: Box<dyn Bare>,
    _place: Box<dyn Any>,
}

/// Opens a fresh place on the store of this name.
pub(crate) async fn open(store: &str) -> Result<Round, Failure> {
    match store {
        "postgres" => postgres::open().await,
        "rabbitmq" => rabbitmq::open().await,
        "redis" => redis::open().await,
        "sqlite" => sqlite::open(),
        _ => Err(format!(
            "no bare loop for {store:?}; there is one for: postgres, rabbitmq, redis, sqlite"
        )
        .into()),
    }
}

/// Bytes of a payload.
static PAYLOAD: AtomicUsize = AtomicUsize::new(100);

/// From now on the bare loops' payloads are of so many bytes.
pub(crate) fn set_payload(bytes: usize) {
    PAYLOAD.store(bytes, Ordering::Relaxed);
}

/// A payload as ours and the bare loops store it: JSON, of 100 bytes unless told.
pub(crate) fn payload() -> String {
    format!("\"{}\"", "x".repeat(PAYLOAD.load(Ordering::Relaxed) - 2))
}

/// Makes calls at an even rate, each in a task of its own; when each was made.
pub(crate) async fn at_rate<F>(
    calls: usize,
    per_second: u32,
    call: impl Fn(usize) -> F,
) -> Result<Vec<Instant>, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut called = Vec::with_capacity(calls);
    let mut tasks = Vec::with_capacity(calls);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    for number in 0..calls {
        tick.tick().await;
        called.push(Instant::now());
        tasks.push(tokio::spawn(call(number)));
    }
    for task in tasks {
        task.await??;
    }
    Ok(called)
}

/// From each call to what came of it, in milliseconds.
pub(crate) fn spans(called: &[Instant], came: &[Option<Instant>]) -> Spans {
    let span = |(called, came): (&Instant, &Option<Instant>)| {
        let came = came.ok_or("a call came to nothing")?;
        Ok(came.duration_since(*called).as_secs_f64() * 1_000.0)
    };
    std::iter::zip(called, came).map(span).collect()
}
