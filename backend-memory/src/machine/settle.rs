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
            let Some(job) = self
                .jobs
                .get_mut(&token.id)
                .filter(|job| job.is_held_by(*token))
            else {
                return Holding::Stale;
            };
            self.index
                .refile(job, |job| job.record.lease_until = Some(until));
            holding(job)
        };
        tokens.iter().map(one).collect()
    }

    /// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
    pub(super) fn progress(&mut self, updates: Vec<ProgressUpdate>) -> Vec<Holding> {
        let one = |ProgressUpdate { token, values }| {
            let Some(job) = self
                .jobs
                .get_mut(&token.id)
                .filter(|job| job.is_held_by(token))
            else {
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
            let Some(job) = self.jobs.get_mut(&token.id) else {
                return Settled::Stale;
            };
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
    if job.record.cancel_requested {
        Holding::CancelRequested
    } else {
        Holding::Held
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{
        Holding, JobRecord, Outcome, ProgressUpdate, ProgressValues, Settled, State, Token,
    };

    use crate::machine::testing::{
        Fixture, LEASE, complete, fail, job, outcomes, retry, secs, snooze,
    };
    use crate::machine::{Answer, Command};

    #[test]
    fn each_outcome_moves_the_job_as_it_says() {
        use State::{Cancelled, Completed, Failed, Ready, Scheduled};
        for (outcome, state, flagged, attempt, errors) in [
            (complete(), Completed, Completed, 1, 0),
            (fail(), Failed, Failed, 1, 1),
            (retry(secs(5)), Scheduled, Cancelled, 1, 1),
            (retry(secs(0)), Ready, Cancelled, 1, 1),
            (snooze(secs(5)), Scheduled, Cancelled, 0, 0),
            (Outcome::Release, Ready, Cancelled, 0, 0),
        ] {
            for (cancel, state) in [(false, state), (true, flagged)] {
                let (mut store, token) = Fixture::with_claimed(job());
                if cancel {
                    store.cancel(token.id);
                }
                store.advance(secs(1));
                assert_eq!(store.settle(token, outcome.clone()), Settled::Accepted);
                let record = store.record(token.id);
                assert_eq!((record.state, record.attempt), (state, attempt), "{outcome:?}");
                assert_eq!(record.errors.len(), errors, "{outcome:?}");
                assert_eq!(record.finished_at, state.is_finished().then_some(store.now));
                assert_eq!((record.worker, record.lease_until), (None, None));
                assert_eq!(record.cancel_requested, cancel);
                assert_eq!(record.result.is_some(), state == Completed);
            }
        }
    }

    #[test]
    fn a_delay_counts_from_the_settle_and_a_release_keeps_the_due_time() {
        let (mut store, token) = Fixture::with_claimed(job());
        let due = store.now;
        store.advance(secs(1));
        store.settle(token, Outcome::Release);
        assert_eq!(store.record(token.id).due_at, due);
        let token = store.claim_one().token;
        store.settle(token, retry(secs(5)));
        assert_eq!(store.record(token.id).due_at, store.now.after(secs(5)));
    }

    #[test]
    fn a_token_settles_once_and_may_say_so_again() {
        for (n, outcome) in outcomes().into_iter().enumerate() {
            let (mut store, token) = Fixture::with_claimed(job());
            assert_eq!(store.settle(token, outcome.clone()), Settled::Accepted);
            let before = store.record(token.id);
            for (m, other) in outcomes().into_iter().enumerate() {
                let expected = if n == m { Settled::Accepted } else { Settled::Stale };
                assert_eq!(store.settle(token, other), expected, "{n} then {m}");
                assert_eq!(store.record(token.id), before);
            }
        }
    }

    #[test]
    fn a_settle_repeats_as_accepted_until_the_next_one() {
        let (mut store, first) = Fixture::with_claimed(job());
        store.settle(first, Outcome::Release);
        let second = store.claim_one().token;
        assert_eq!(store.settle(first, Outcome::Release), Settled::Accepted);
        assert_eq!(store.record(first.id).state, State::Running);
        store.settle(second, Outcome::Release);
        assert_eq!(store.settle(first, Outcome::Release), Settled::Stale);
    }

    #[test]
    fn a_stale_token_changes_nothing_and_does_not_fail_its_batch() {
        let (mut store, old) = Fixture::with_claimed(job());
        store.advance(LEASE);
        let held = store.claim_one().token;
        let future = Token { counter: held.counter + 1, ..held };
        let before = store.record(held.id);
        for stale in [old, future] {
            assert_eq!(store.heartbeat(stale), Holding::Stale);
            assert_eq!(store.settle(stale, complete()), Settled::Stale);
            assert_eq!(store.record(held.id), before);
        }
        let update = |token| ProgressUpdate { token, values: ProgressValues::default().step(1) };
        let updates = [old, held, future].map(update).into();
        assert_eq!(
            store.apply(Command::Progress(updates)),
            Answer::Holding(vec![Holding::Stale, Holding::Held, Holding::Stale])
        );
        assert_eq!(store.record(held.id).progress.sequence, 1);
    }

    #[test]
    fn a_heartbeat_extends_from_now_and_tells_of_the_cancellation() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.advance(LEASE.saturating_sub(secs(1)));
        assert_eq!(store.heartbeat(token), Holding::Held);
        assert_eq!(store.record(token.id).lease_until, Some(store.now.after(LEASE)));
        store.cancel(token.id);
        store.advance(LEASE.saturating_sub(secs(1)));
        assert_eq!(store.heartbeat(token), Holding::CancelRequested);
        assert_eq!(store.record(token.id).lease_until, Some(store.now.after(LEASE)));
    }

    #[test]
    fn a_lease_that_ran_out_still_holds_until_someone_ends_it() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.advance(LEASE.saturating_mul(2));
        assert_eq!(store.heartbeat(token), Holding::Held);
        assert_eq!(store.claim_ids(1), []);
        store.advance(LEASE.saturating_mul(2));
        assert_eq!(store.settle(token, complete()), Settled::Accepted);
    }

    #[test]
    fn the_latest_errors_are_kept() {
        let (mut store, _) = Fixture::with(job());
        let mut last = None;
        for _ in 0..JobRecord::MAX_ERRORS + 2 {
            let token = store.claim_one().token;
            store.settle(token, retry(secs(0)));
            last = Some(token.id);
        }
        let errors = store.errors(last.unwrap());
        assert_eq!(errors.len(), JobRecord::MAX_ERRORS);
        assert_eq!((&*errors[0], &*errors[9]), ("3: retry", "12: retry"));
    }
}
