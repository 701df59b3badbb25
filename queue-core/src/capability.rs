//! What a backend can do, declared so that its lack is refused early by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that a backend may or may not offer. Enqueue, claim, heartbeat,
/// settle, delays and `get` are not listed: without them it is no backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Order by priority.
    Priority,
    /// Unique keys.
    Unique,
    /// Progress of running jobs.
    Progress,
    /// Results of completed jobs.
    Results,
    /// Cancellation of waiting and running jobs.
    Cancel,
    /// Retry of a failed or cancelled job by hand.
    Retry,
    /// Lists with filters and stable pages.
    List,
    /// Counts by queue and state.
    Counts,
    /// Pausing a queue.
    Pause,
    /// Removal of finished jobs past their retention.
    Purge,
    /// `wait_for_work` returns when a job comes, not only when time is up.
    Push,
    /// Enqueue inside the application's own transaction.
    TransactionalEnqueue,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Priority,
        Self::Unique,
        Self::Progress,
        Self::Results,
        Self::Cancel,
        Self::Retry,
        Self::List,
        Self::Counts,
        Self::Pause,
        Self::Purge,
        Self::Push,
        Self::TransactionalEnqueue,
    ];

    /// The name used in errors and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Unique => "unique keys",
            Self::Progress => "progress",
            Self::Results => "results",
            Self::Cancel => "cancel",
            Self::Retry => "retry by hand",
            Self::List => "list",
            Self::Counts => "counts",
            Self::Pause => "pause",
            Self::Purge => "purge",
            Self::Push => "push",
            Self::TransactionalEnqueue => "transactional enqueue",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an acknowledged enqueue or settle survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: it lives as long as the process that holds the store.
    Process,
    /// The crash (kill -9) of any process, the store's server included; not
    /// the loss of power.
    Crash,
    /// The crash of the host or a loss of power: it is on stable storage.
    Host,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Crash => "crash",
            Self::Host => "host",
        })
    }
}

/// What a backend can do, as it stands configured now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    bits: u32,
    durability: Durability,
}

impl Capabilities {
    /// Every capability, with this durability.
    pub fn all(durability: Durability) -> Self {
        let none = Self {
            bits: 0,
            durability,
        };
        Capability::ALL.into_iter().fold(none, Self::with)
    }

    /// These, and this one.
    #[must_use]
    pub const fn with(mut self, capability: Capability) -> Self {
        self.bits |= 1 << capability as u32;
        self
    }

    /// These, but for this one.
    #[must_use]
    pub const fn without(mut self, capability: Capability) -> Self {
        self.bits &= !(1 << capability as u32);
        self
    }

    /// Whether this one is among them.
    pub const fn has(&self, capability: Capability) -> bool {
        self.bits & (1 << capability as u32) != 0
    }

    /// What an acknowledged write survives, judged from the live settings
    /// once the store was prepared.
    pub const fn durability(&self) -> Durability {
        self.durability
    }
}
