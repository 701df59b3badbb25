//! Reading many jobs: lists, counts, queues; cancel and retry by hand.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{InvalidId, JobId};
use crate::name::{Kind, QueueName, Tag};
use crate::record::{JobRecord, State};
use crate::time::Timestamp;

/// Which jobs a list shows: those that match every part that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Filter {
    /// In one of these states; empty: in any.
    pub states: Vec<State>,
    /// In this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With all of these labels.
    pub tags: Vec<Tag>,
    /// Enqueued at this moment or later.
    pub created_from: Option<Timestamp>,
    /// Enqueued before this moment.
    pub created_before: Option<Timestamp>,
}

impl Filter {
    /// Every job.
    pub fn any() -> Self {
        Self::default()
    }

    /// Also accepts this state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.states.push(state);
        self
    }

    /// Only this queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Only this kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only jobs with this label (too).
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Only jobs enqueued at this moment or later.
    #[must_use]
    pub fn created_from(mut self, time: Timestamp) -> Self {
        self.created_from = Some(time);
        self
    }

    /// Only jobs enqueued before this moment.
    #[must_use]
    pub fn created_before(mut self, time: Timestamp) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Whether a job matches: the meaning of each part.
    pub fn matches(&self, job: &JobRecord) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && self.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && self.tags.iter().all(|tag| job.tags.contains(tag))
            && self.created_from.is_none_or(|time| job.created_at >= time)
            && self.created_before.is_none_or(|time| job.created_at < time)
    }
}

/// Which part of a list to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// The most jobs to return, 1 to [`Page::MAX_LIMIT`].
    pub limit: u32,
    /// Where the page before ended; `None` starts with the newest job.
    pub after: Option<Cursor>,
}

impl Page {
    /// The most jobs on one page.
    pub const MAX_LIMIT: u32 = 1_000;

    /// The first page, of at most this many jobs.
    pub fn first(limit: u32) -> Self {
        Self {
            limit: limit.clamp(1, Self::MAX_LIMIT),
            after: None,
        }
    }

    /// The page that follows this place in the list.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(50)
    }
}

/// A place in a list, newest first: behind the job with this id. It stays
/// valid while jobs come and go. Prints as a text for a page's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(JobId);

impl Cursor {
    /// The place behind this job.
    pub const fn behind(id: JobId) -> Self {
        Self(id)
    }

    /// The job it stands behind: the page holds ids below it.
    pub const fn id(self) -> JobId {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

/// One page of a list, newest job (highest id) first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listing {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

/// How many jobs of each state a queue holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// The queue.
    pub queue: QueueName,
    /// Its jobs by state.
    pub counts: StateCounts,
}

/// A number for each [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StateCounts([u64; 6]);

impl StateCounts {
    /// The number for a state.
    pub const fn get(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    /// The number for a state, to change.
    pub const fn get_mut(&mut self, state: State) -> &mut u64 {
        &mut self.0[state as usize]
    }

    /// All states together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A queue that the store knows: one that holds a job or is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueInfo {
    /// Its name.
    pub name: QueueName,
    /// Whether its jobs are claimed.
    pub flow: Flow,
}

/// Whether the jobs of a queue are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// They are.
    #[default]
    Open,
    /// They are not. Enqueues are accepted, running jobs go on.
    Paused,
}

/// What became of one job of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancelled {
    /// It was waiting and ended `cancelled`, now or by an earlier cancel.
    Done,
    /// It is running and flagged; its handler is told at the next heartbeat.
    Requested,
    /// It has ended in this other state; nothing was changed.
    Finished(State),
    /// The store does not know it.
    NotFound,
}

/// What became of one job of a retry by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retried {
    /// It was failed or cancelled, and is `ready` with fresh attempts.
    Ready,
    /// Its unique key is held by this other job; nothing was changed.
    Existing(JobId),
    /// It is in this state, which is neither failed nor cancelled; nothing
    /// was changed.
    NotEnded(State),
    /// The store does not know it.
    NotFound,
}
