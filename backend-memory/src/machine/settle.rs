//! What the holder of a job may do: heartbeat, progress, settle.

use std::time::Duration;

use anyqueue_core::{
    Holding, Outcome, ProgressUpdate, Settled, Settlement, State, Timestamp, Token,
};

use super::Machine;
use super::job::Job;

impl Machine {
    /// Extends leases; the law is [`Backend::heartbeat`](anyqueue_core::Backend).
    pub(super) fn heartbeat(&mut self, tokens: &[Token], lease: Duration) -> Vec<Holding> {
        let until = self.now.after(lease);
        let one = |token: &Token| {
            let Some(job) = self.jobs.get_mut(&token.id).filter(|job| job.is_held_by(*token))
            else {
                return Holding::Stale;
            };
            self.index.refile(job, |job| job.record.lease_until = Some(until));
            holding(job)
        };
        tokens.iter().map(one).collect()
    }

    /// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
    pub(super) fn progress(&mut self, updates: Vec<ProgressUpdate>) -> Vec<Holding> {
        let one = |ProgressUpdate { token, values }| {
            let Some(job) = self.jobs.get_mut(&token.id).filter(|job| job.is_held_by(token)) else {
                return Holding::Stale;
            };
            // No index knows progress.
            job.record.progress.sequence += 1;
            job.record.progress.values = values;
            self.index.changes.job(&job.record);
            holding(job)
        };
        updates.into_iter().map(one).collect()
    }

    /// Ends claims; the law is [`Backend::settle`](anyqueue_core::Backend).
    pub(super) fn settle(&mut self, settlements: Vec<Settlement>) -> Vec<Settled> {
        let now = self.now;
        let one = |Settlement { token, outcome }| {
            let Some(job) = self.jobs.get_mut(&token.id) else { return Settled::Stale };
            let settled = Some((token.counter, outcome.kind()));
            if job.is_held_by(token) {
                job.settled = settled;
                self.index.change(job, |job| job.settle(outcome, now));
                Settled::Accepted
            } else if job.settled == settled {
                Settled::Accepted
            } else {
                Settled::Stale
            }
        };
        settlements.into_iter().map(one).collect()
    }
}

impl Job {
    fn settle(&mut self, outcome: Outcome, now: Timestamp) {
        let flagged = self.record.cancel_requested;
        match outcome {
            Outcome::Complete { result } => {
                self.record.result = Some(result);
                self.end(State::Completed, now);
            }
            Outcome::Fail { error } => {
                self.keep_error(error, now);
                self.end(State::Failed, now);
            }
            Outcome::Retry { delay, error } => {
                self.keep_error(error, now);
                if flagged {
                    self.end(State::Cancelled, now);
                } else {
                    self.wait_until(now.after(delay), now);
                }
            }
            Outcome::Snooze { delay, reason } => {
                self.give_attempt_back();
                if flagged {
                    self.end(State::Cancelled, now);
                } else {
                    self.record.snooze_reason = reason;
                    self.wait_until(now.after(delay), now);
                }
            }
            Outcome::Release => {
                self.give_attempt_back();
                if flagged {
                    self.end(State::Cancelled, now);
                } else {
                    self.put_back();
                }
            }
        }
    }

    fn give_attempt_back(&mut self) {
        self.record.attempt = self.record.attempt.saturating_sub(1);
    }
}

fn holding(job: &Job) -> Holding {
    if job.record.cancel_requested { Holding::CancelRequested } else { Holding::Held }
}
