//! [`NewJob`]: what a backend is given to enqueue.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::name::{Kind, QueueName, Tag, TraceContext, UniqueKey};
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// A job about to be enqueued. All its parts are valid by their types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Its id; carries its queue's hash.
    pub id: JobId,
    /// The queue it goes to; never changes.
    pub queue: QueueName,
    /// Which handler runs it.
    pub kind: Kind,
    /// The handler's argument.
    pub payload: Payload,
    /// Its place in the queue's order.
    pub priority: Priority,
    /// When it may first run.
    pub schedule: Schedule,
    /// How often it may run, and how long it waits in between.
    pub retry: RetryPolicy,
    /// The key it holds, where it holds one.
    pub unique: Option<Unique>,
    /// Labels to filter lists by; at most [`NewJob::MAX_TAGS`].
    pub tags: Vec<Tag>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

impl NewJob {
    /// How many tags a job may have.
    pub const MAX_TAGS: usize = 8;

    /// A job with a new id and the defaults: normal priority, now, default
    /// retry policy, no key, no tags.
    pub fn new(queue: QueueName, kind: Kind, payload: Payload) -> Self {
        Self {
            id: JobId::new(&queue),
            queue,
            kind,
            payload,
            priority: Priority::Normal,
            schedule: Schedule::Now,
            retry: RetryPolicy::default(),
            unique: None,
            tags: Vec::new(),
            trace: None,
        }
    }
}

/// A job's place in its queue: jobs of a higher priority are claimed first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Priority {
    /// After everything else.
    Low = 0,
    /// The default.
    #[default]
    Normal = 1,
    /// Before normal jobs.
    High = 2,
    /// Before everything else.
    Urgent = 3,
}

impl Priority {
    /// All four, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// The stored number, 0 (low) to 3 (urgent).
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The priority with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Low),
            1 => Some(Self::Normal),
            2 => Some(Self::High),
            3 => Some(Self::Urgent),
            _ => None,
        }
    }
}

/// When a job may first run, on the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// At once: the job is `ready`.
    #[default]
    Now,
    /// This long after the enqueue: the job is `scheduled`.
    After(Duration),
    /// At this moment; at once where it has passed.
    At(Timestamp),
}

impl Schedule {
    /// The moment the job is due, if it is enqueued at `now`.
    pub fn due_at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::After(delay) => now.after(delay),
            Self::At(time) => time.max(now),
        }
    }
}

/// The key a job holds in its queue, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The key; its scope is the queue.
    pub key: UniqueKey,
    /// How long the job holds it.
    pub policy: UniquePolicy,
}

/// How long a job holds its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniquePolicy {
    /// Until it is completed, failed or cancelled.
    WhileUnfinished,
    /// For this long, counted from the enqueue, whatever becomes of the job;
    /// purging the job does not free the key earlier.
    ForPeriod(Duration),
}

/// What became of one job of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enqueued {
    /// It is stored under its id.
    Created(JobId),
    /// Its unique key is held by this other job; nothing was stored. (A job
    /// whose own key still names it after its purge answers `Created`.)
    Existing(JobId),
}

impl Enqueued {
    /// The id of the job that stands in the store.
    pub const fn id(self) -> JobId {
        match self {
            Self::Created(id) | Self::Existing(id) => id,
        }
    }
}
