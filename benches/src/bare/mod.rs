//! The bare loop on each store: what the store itself can do, with nothing of
//! a queue's promises but a claim that no two can make.

mod postgres;
mod sqlite;

use std::any::Any;
use std::error::Error;

use anyqueue::async_trait;

/// Whatever ends a measurement.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Jobs of a bare batch, also of ours where we choose it.
pub(crate) const BATCH: usize = 500;

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

    /// Claims [`BATCH`] jobs and settles them, until that many are settled.
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
        "sqlite" => sqlite::open(),
        _ => Err(format!("no bare loop for {store:?}; there is one for: postgres, sqlite").into()),
    }
}

/// A payload as ours and the bare loops store it: 100 bytes of JSON.
pub(crate) fn payload() -> String {
    format!("\"{}\"", "x".repeat(98))
}
