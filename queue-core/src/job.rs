//! [`Job`]: a type that can be enqueued.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::name::QueueName;
use crate::retry::RetryPolicy;

/// A type whose values are jobs. Only [`KIND`](Self::KIND) and
/// [`Output`](Self::Output) must be given; the rest are the kind's defaults.
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// #[derive(Serialize, Deserialize)]
/// struct ExportCsv { view: String }
///
/// impl anyqueue_core::Job for ExportCsv {
///     const KIND: &'static str = "export_csv";
///     type Output = u64;
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of the kind; stored with each job.
    const KIND: &'static str;

    /// What a handler returns, readable from any process; `()` for nothing.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Former names of the kind, under which jobs may still wait.
    const ALIASES: &'static [&'static str] = &[];

    /// The queue it goes to where none is named.
    const QUEUE: &'static str = QueueName::DEFAULT;

    /// How long one attempt may run; `None` for as long as it likes. An
    /// attempt over its limit is dropped and fails as "timed out".
    const TIME_LIMIT: Option<Duration> = None;

    /// How many jobs of the kind one worker runs at a time; `None` for as
    /// many as the worker runs at all.
    const CONCURRENCY: Option<usize> = None;

    /// How often a job runs and how long it waits in between.
    fn retry_policy() -> RetryPolicy {
        RetryPolicy::default()
    }
}
