//! [`Health`]: how a worker gets on with its store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Operation};

/// How a worker gets on with its store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The latest call of every operation went well.
    Healthy,
    /// The latest calls of these operations failed, with these texts; the
    /// worker goes on trying.
    Degraded(Vec<(Operation, String)>),
}

#[derive(Default)]
pub(super) struct HealthBoard {
    /// Whether `failing` is not empty: spares the lock in good times.
    any: AtomicBool,
    failing: Mutex<Vec<(Operation, String)>>,
}

impl HealthBoard {
    /// Notes a failure; whether it is the first in a row.
    pub(super) fn failed(&self, operation: Operation, error: &Error) -> bool {
        let mut failing = self.lock();
        self.any.store(true, Ordering::Release);
        if let Some(entry) = failing.iter_mut().find(|entry| entry.0 == operation) {
            entry.1 = error.to_string();
            return false;
        }
        failing.push((operation, error.to_string()));
        true
    }

    /// Notes a success; whether it ends a row of failures.
    pub(super) fn succeeded(&self, operation: Operation) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let mut failing = self.lock();
        let before = failing.len();
        failing.retain(|entry| entry.0 != operation);
        self.any.store(!failing.is_empty(), Ordering::Release);
        failing.len() < before
    }

    pub(super) fn now(&self) -> Health {
        let failing = self.lock();
        if failing.is_empty() {
            Health::Healthy
        } else {
            Health::Degraded(failing.clone())
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Operation, String)>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
