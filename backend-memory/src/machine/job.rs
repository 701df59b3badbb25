//! [`Job`]: a record, and its moves from state to state.

use anyqueue_core::{
    AttemptError, ErrorText, JobRecord, NewJob, OutcomeKind, Progress, State, Timestamp, Token,
};
use serde::{Deserialize, Serialize};

/// A record with what is not shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) record: JobRecord,
    /// Its place in the order of all enqueues.
    pub(super) seq: u64,
    /// The counter and outcome of its last settle, so that a repeated one is
    /// known.
    pub(super) settled: Option<(u64, OutcomeKind)>,
}

impl Job {
    pub(super) fn new(new: NewJob, seq: u64, now: Timestamp) -> Self {
        let record = JobRecord {
            id: new.id,
            queue: new.queue,
            kind: new.kind,
            payload: new.payload,
            priority: new.priority,
            state: State::Ready,
            attempt: 0,
            counter: 0,
            retry: new.retry,
            created_at: now,
            due_at: now,
            claimed_at: None,
            lease_until: None,
            worker: None,
            finished_at: None,
            cancel_requested: false,
            snooze_reason: None,
            progress: Progress::default(),
            result: None,
            errors: Vec::new(),
            unique: new.unique,
            tags: new.tags,
            trace: new.trace,
        };
        let mut job = Self {
            record,
            seq,
            settled: None,
        };
        job.wait_until(new.schedule.due_at(now), now);
        job
    }

    /// Whether this token holds it. A lease that has run out but was not ended
    /// still holds.
    pub(super) fn is_held_by(&self, token: Token) -> bool {
        self.record.state == State::Running && self.record.counter == token.counter
    }

    /// Lets it wait for this moment: `ready` where that has come.
    pub(super) fn wait_until(&mut self, due: Timestamp, now: Timestamp) {
        self.record.due_at = due;
        self.leave(if due > now {
            State::Scheduled
        } else {
            State::Ready
        });
    }

    /// Puts it back where it was before the claim: `ready`, its due time
    /// giving its place.
    pub(super) fn put_back(&mut self) {
        self.leave(State::Ready);
    }

    /// Ends it.
    pub(super) fn end(&mut self, state: State, now: Timestamp) {
        self.record.finished_at = Some(now);
        self.leave(state);
    }

    /// Ends its lease: `cancelled` where it is flagged, `failed` where no
    /// attempt is left, else `ready`. The error is kept in each case.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.keep_error(ErrorText::lease_expired(), now);
        if self.record.cancel_requested {
            self.end(State::Cancelled, now);
        } else if self.record.attempt >= self.record.retry.max_attempts {
            self.end(State::Failed, now);
        } else {
            self.put_back();
        }
    }

    /// Keeps the error of the attempt under way, and the latest before it.
    pub(super) fn keep_error(&mut self, message: ErrorText, now: Timestamp) {
        let errors = &mut self.record.errors;
        if errors.len() >= JobRecord::MAX_ERRORS {
            errors.remove(0);
        }
        errors.push(AttemptError {
            attempt: self.record.attempt,
            at: now,
            message,
        });
    }

    /// Takes it out of its holder's hands, if it was in any.
    fn leave(&mut self, state: State) {
        self.record.state = state;
        self.record.lease_until = None;
        self.record.worker = None;
    }
}
