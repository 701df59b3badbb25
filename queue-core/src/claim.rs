//! Claiming: the request, the claimed job, the token that proves holding it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::name::{Kind, QueueName, Tag, TraceContext, WorkerId};
use crate::new_job::Priority;
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// Proof of holding a job: its id and the value that its claim counter got at
/// the claim. The counter rises at every claim and never resets, so a former
/// holder's token is never good again (a fencing token: M. Kleppmann, "How to
/// do distributed locking", 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The job.
    pub id: JobId,
    /// The job's claim counter at the claim, from 1; fits an `i64`.
    pub counter: u64,
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The queues to take from, visited in this order: a queue is asked only
    /// for what those before it left of the limit. Callers rotate it.
    pub queues: Vec<QueueName>,
    /// The most jobs to take, all queues together; 0 takes none.
    pub limit: u32,
    /// How long the claim holds.
    pub lease: Duration,
    /// Who asks.
    pub worker: WorkerId,
}

/// A job in the hands of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedJob {
    /// Proof of holding it.
    pub token: Token,
    /// Its queue.
    pub queue: QueueName,
    /// Which handler runs it.
    pub kind: Kind,
    /// The handler's argument.
    pub payload: Payload,
    /// Its priority.
    pub priority: Priority,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Its retry policy, as enqueued.
    pub retry: RetryPolicy,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it was due.
    pub due_at: Timestamp,
    /// When the lease ends, on the store's clock.
    pub lease_until: Timestamp,
    /// Its labels.
    pub tags: Vec<Tag>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// What a heartbeat or a progress update learns about one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// The job is held by this token; the call took effect.
    Held,
    /// The same, and someone asked for the job's cancellation.
    CancelRequested,
    /// The token does not hold the job (any more); nothing was changed.
    Stale,
}

/// What a worker waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitRequest {
    /// The queues whose jobs it would take.
    pub queues: Vec<QueueName>,
    /// The longest wait.
    pub timeout: Duration,
    /// Who waits.
    pub worker: WorkerId,
}
