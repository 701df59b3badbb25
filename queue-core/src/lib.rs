//! The storage contract, client and worker of the anyqueue job queue.
//!
//! Applications use the facade crate `anyqueue`, which re-exports what is
//! here. Backend authors implement [`Backend`] and prove it with
//! `anyqueue-conformance-tests`.
//!
//! # Words
//! One meaning each: a *job* of a *kind* waits in a *queue*; a *client* is an
//! application's handle on a store, a *backend* an implementation of storage.
//! A job is *enqueued*, *claimed* by a *worker* under a *lease* proved by a
//! *token*, run by a *handler* as one *attempt*, and *settled*: complete,
//! retry, fail, snooze or release.

mod backend;
mod batcher;
mod capability;
mod claim;
mod client;
mod context;
mod error;
mod id;
mod job;
mod job_error;
mod maintain;
mod name;
mod new_job;
mod payload;
mod progress;
mod query;
mod record;
mod retry;
mod settle;
pub mod support;
pub mod telemetry;
mod time;
mod transient;
mod worker;

pub use async_trait::async_trait;

pub use backend::Backend;
pub use capability::{Capabilities, Capability, Durability};
pub use claim::{ClaimRequest, ClaimedJob, Holding, Token, WaitRequest};
pub use client::{Client, ClientOptions, JobBuilder, JobHandle, Preparation, WaitError, Watch};
pub use context::{JobContext, Report};
pub use error::{Error, ErrorKind, Operation, Source};
pub use id::{InvalidId, JobId};
pub use job::Job;
pub use job_error::JobError;
pub use maintain::{MaintainLimits, Maintained, Retention};
pub use name::{InvalidName, Kind, QueueName, Tag, TraceContext, UniqueKey, WorkerId};
pub use new_job::{Enqueued, NewJob, Priority, Schedule, Unique, UniquePolicy};
pub use payload::{DEFAULT_PAYLOAD_LIMIT, JsonProblem, Payload, PayloadError};
pub use progress::{Progress, ProgressUpdate, ProgressValues};
pub use query::{
    Cancelled, Cursor, Filter, Flow, Listing, Page, QueueCounts, QueueInfo, Retried, StateCounts,
};
pub use record::{AttemptError, InvalidState, JobRecord, State};
pub use retry::{Backoff, RetryPolicy};
pub use settle::{ErrorText, Outcome, OutcomeKind, Settled, Settlement};
pub use time::Timestamp;
pub use worker::{BackoffFn, Drained, HandlerOptions, Health, RunningWorker, Worker};
