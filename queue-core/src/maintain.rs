//! Maintenance: the bounded chores that every worker does now and then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::State;

/// How long finished jobs are kept, by outcome, counted from their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retention {
    /// Completed jobs; by default 1 day.
    pub completed: Duration,
    /// Failed jobs; by default 14 days.
    pub failed: Duration,
    /// Cancelled jobs; by default 1 day.
    pub cancelled: Duration,
}

impl Retention {
    /// The same span for all outcomes.
    pub const fn all(span: Duration) -> Self {
        Self {
            completed: span,
            failed: span,
            cancelled: span,
        }
    }

    /// The span for a state; `None` for a state that is not finished.
    pub const fn of(&self, state: State) -> Option<Duration> {
        match state {
            State::Completed => Some(self.completed),
            State::Failed => Some(self.failed),
            State::Cancelled => Some(self.cancelled),
            State::Scheduled | State::Ready | State::Running => None,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            completed: DAY,
            failed: DAY.saturating_mul(14),
            cancelled: DAY,
        }
    }
}

/// The bounds of one call of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintainLimits {
    /// The most jobs to touch in each chore: expiry, promotion, purge.
    pub jobs: u32,
    /// How long finished jobs are kept.
    pub retention: Retention,
}

impl Default for MaintainLimits {
    fn default() -> Self {
        Self {
            jobs: 1_000,
            retention: Retention::default(),
        }
    }
}

/// What one call of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Maintained {
    /// Leases that had run out and were ended.
    pub expired: u64,
    /// Scheduled jobs that were due and became ready.
    pub promoted: u64,
    /// Finished jobs past their retention that were removed.
    pub purged: u64,
    /// Whether a bound was reached, so that there may be more to do.
    pub more: bool,
}
