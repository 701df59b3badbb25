//! [`Command`], [`Answer`] and [`Changes`]: what goes into the machine and
//! what comes out.

use std::time::Duration;

use anyqueue_core::{
    Cancelled, ClaimRequest, ClaimedJob, Enqueued, Flow, Holding, JobId, JobRecord, MaintainLimits,
    Maintained, NewJob, ProgressUpdate, QueueName, Retried, Settled, Settlement, State, Token,
};
use serde::{Deserialize, Serialize};

/// A change to the store: the writing methods of
/// [`Backend`](anyqueue_core::Backend), as values that a log can keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Store jobs.
    Enqueue(Vec<NewJob>),
    /// Take jobs.
    Claim(ClaimRequest),
    /// Extend leases.
    Heartbeat {
        /// Proofs of holding.
        tokens: Vec<Token>,
        /// How long from now.
        lease: Duration,
    },
    /// Report what became of held jobs.
    Settle(Vec<Settlement>),
    /// Store progress of held jobs.
    Progress(Vec<ProgressUpdate>),
    /// Cancel jobs.
    Cancel(Vec<JobId>),
    /// Run ended jobs again.
    Retry(Vec<JobId>),
    /// Open or pause a queue.
    SetFlow {
        /// The queue.
        queue: QueueName,
        /// Open or paused.
        flow: Flow,
    },
    /// Do a bounded share of the chores.
    Maintain(MaintainLimits),
    /// End these leases as if they had run out now, where they are still
    /// held: for a store with proof that the holder is gone.
    EndLeases(Vec<Token>),
}

/// What a [`Command`] came to; one item for each of its items, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// To an enqueue.
    Enqueued(Vec<Enqueued>),
    /// To a claim: the jobs taken, in the order they were found.
    Claimed(Vec<ClaimedJob>),
    /// To a heartbeat or a progress update.
    Holding(Vec<Holding>),
    /// To a settle.
    Settled(Vec<Settled>),
    /// To a cancel.
    Cancelled(Vec<Cancelled>),
    /// To a retry by hand.
    Retried(Vec<Retried>),
    /// To a change of flow.
    FlowSet,
    /// To maintenance.
    Maintained(Maintained),
    /// To the end of leases: how many were still held.
    LeasesEnded(u64),
}

/// What the latest command changed, so that those who wait can be told. An
/// item may occur more than once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Changes {
    /// Jobs that look different now or are gone. A heartbeat is not counted.
    pub jobs: Vec<JobId>,
    /// Queues in which a job became claimable or got a time to be so, and
    /// queues whose flow was set.
    pub queues: Vec<QueueName>,
}

impl Changes {
    pub(super) fn job(&mut self, job: &JobRecord) {
        self.jobs.push(job.id);
        if matches!(job.state, State::Ready | State::Scheduled) {
            self.queue(&job.queue);
        }
    }

    pub(super) fn queue(&mut self, queue: &QueueName) {
        // Batches mostly stay in one queue: this keeps the list short.
        if self.queues.last() != Some(queue) {
            self.queues.push(queue.clone());
        }
    }

    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.queues.clear();
    }
}
