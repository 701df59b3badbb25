//! [`Lane`]: the way from many callers to the thread that owns a connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Calls on their way to a thread; urgent ones overtake the others.
pub(crate) struct Lane<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
}

struct State<C> {
    urgent: VecDeque<C>,
    normal: VecDeque<C>,
    closed: bool,
}

/// What a thread does next.
pub(crate) enum Next<C> {
    /// These calls; never empty.
    Calls(Vec<C>),
    /// Nothing came within the time.
    Idle,
    /// All is done, and no call will come.
    Closed,
}

/// Whether a call may wait behind others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Normal,
    Urgent,
}

impl<C> Default for Lane<C> {
    fn default() -> Self {
        let state = State {
            urgent: VecDeque::new(),
            normal: VecDeque::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<C> fmt::Debug for Lane<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

impl<C> Lane<C> {
    /// Adds a call.
    pub(crate) fn send(&self, call: C, urgency: Urgency) {
        let mut state = self.lock();
        match urgency {
            Urgency::Normal => state.normal.push_back(call),
            Urgency::Urgent => state.urgent.push_back(call),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Says that no call will come; those under way are still made.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Lets an idle thread look around.
    pub(crate) fn nudge(&self) {
        // With the lock: a thread that has just asked for its patience waits.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits for calls: all urgent ones, then others while `weigh` lets them
    /// in, but at least one. `patience` is asked how long to wait for the
    /// first; `None` is for ever.
    pub(crate) fn next(
        &self,
        patience: impl Fn() -> Option<Duration>,
        mut weigh: impl FnMut(&C) -> bool,
    ) -> Next<C> {
        let mut state = self.lock();
        while state.urgent.is_empty() && state.normal.is_empty() {
            if state.closed {
                return Next::Closed;
            }
            state = match patience() {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() && state.urgent.is_empty() && state.normal.is_empty() {
                        return Next::Idle;
                    }
                    state
                }
            };
        }
        let mut calls: Vec<C> = state.urgent.drain(..).collect();
        while let Some(call) = state.normal.front()
            && (weigh(call) || calls.is_empty())
        {
            calls.extend(state.normal.pop_front());
        }
        Next::Calls(calls)
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
