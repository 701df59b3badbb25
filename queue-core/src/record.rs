//! [`JobRecord`]: everything a store knows about a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::name::{Kind, QueueName, Tag, TraceContext, WorkerId};
use crate::new_job::{Priority, Unique};
use crate::payload::Payload;
use crate::progress::Progress;
use crate::retry::RetryPolicy;
use crate::settle::ErrorText;
use crate::time::Timestamp;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum State {
    /// Waits for its time; with `attempt > 0` for its next attempt. A job may
    /// read so for a moment after it is due, until it is promoted.
    Scheduled = 0,
    /// Waits for a worker.
    Ready = 1,
    /// Held by a worker.
    Running = 2,
    /// Succeeded; has a result.
    Completed = 3,
    /// Failed for good; has errors.
    Failed = 4,
    /// Called off.
    Cancelled = 5,
}

impl State {
    /// All six, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::Ready,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Completed, failed or cancelled: it changes no more by itself.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The stored number, 0 to 5.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The state with this stored number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidState;

impl fmt::Display for InvalidState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid state: give scheduled, ready, running, completed, failed or cancelled")
    }
}

impl std::error::Error for InvalidState {}

impl FromStr for State {
    type Err = InvalidState;
    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or(InvalidState)
    }
}

/// Everything a store knows about a job. Times are the store's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Which handler runs it.
    pub kind: Kind,
    /// The handler's argument.
    pub payload: Payload,
    /// Its priority.
    pub priority: Priority,
    /// Where it is in its life.
    pub state: State,
    /// Charged attempts: a running job's number of this attempt.
    pub attempt: u32,
    /// The claim counter: rises at every claim, never resets.
    pub counter: u64,
    /// Its retry policy, as enqueued.
    pub retry: RetryPolicy,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it is or was due.
    pub due_at: Timestamp,
    /// When its latest claim was made; kept after the claim ended.
    pub claimed_at: Option<Timestamp>,
    /// When the lease ends; only while running.
    pub lease_until: Option<Timestamp>,
    /// Who holds it; only while running.
    pub worker: Option<WorkerId>,
    /// When it ended; only when finished.
    pub finished_at: Option<Timestamp>,
    /// Whether its cancellation was requested while it ran. Stays set on a
    /// job that ended all the same; cleared by a retry by hand.
    pub cancel_requested: bool,
    /// Why it waits: the reason of its latest snooze; cleared at the next
    /// claim.
    pub snooze_reason: Option<ErrorText>,
    /// What it last reported; values of the latest attempt.
    pub progress: Progress,
    /// What it returned; only when completed.
    pub result: Option<Payload>,
    /// The errors of its latest attempts, oldest first; at most
    /// [`JobRecord::MAX_ERRORS`].
    pub errors: Vec<AttemptError>,
    /// The key it was enqueued with.
    pub unique: Option<Unique>,
    /// Its labels.
    pub tags: Vec<Tag>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

impl JobRecord {
    /// How many errors a store keeps of a job: the latest ones.
    pub const MAX_ERRORS: usize = 10;
}

/// The error of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// When it was reported.
    pub at: Timestamp,
    /// What happened.
    pub message: ErrorText,
}
