//! What anyone may do to a job: cancel it, and run it again by hand.

use anyqueue_core::{Cancelled, JobId, ProgressValues, Retried, State, Unique, UniquePolicy};

use super::Machine;

impl Machine {
    /// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
    pub(super) fn cancel(&mut self, ids: &[JobId]) -> Vec<Cancelled> {
        ids.iter().map(|id| self.cancel_one(*id)).collect()
    }

    fn cancel_one(&mut self, id: JobId) -> Cancelled {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Cancelled::NotFound;
        };
        let now = self.now;
        match job.record.state {
            State::Scheduled | State::Ready => {
                self.index.change(job, |job| job.end(State::Cancelled, now));
                Cancelled::Done
            }
            State::Running => {
                if !job.record.cancel_requested {
                    // No index knows the flag.
                    job.record.cancel_requested = true;
                    self.index.changes.job(&job.record);
                }
                Cancelled::Requested
            }
            State::Cancelled => Cancelled::Done,
            state @ (State::Completed | State::Failed) => Cancelled::Finished(state),
        }
    }

    /// Runs ended jobs again; the law is [`Backend::retry`](anyqueue_core::Backend).
    pub(super) fn retry(&mut self, ids: &[JobId]) -> Vec<Retried> {
        ids.iter().map(|id| self.retry_one(*id)).collect()
    }

    fn retry_one(&mut self, id: JobId) -> Retried {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Retried::NotFound;
        };
        let now = self.now;
        if !matches!(job.record.state, State::Failed | State::Cancelled) {
            return Retried::NotEnded(job.record.state);
        }
        // A key held for a period was taken at the enqueue, once and for all.
        if let Some(
            unique @ Unique {
                policy: UniquePolicy::WhileUnfinished,
                ..
            },
        ) = &job.record.unique
            && let Err(holder) = self.index.keys.take(&job.record.queue, unique, id, now)
        {
            return Retried::Existing(holder);
        }
        self.index.change(job, |job| {
            let record = &mut job.record;
            record.attempt = 0;
            record.cancel_requested = false;
            record.finished_at = None;
            record.result = None;
            record.progress.values = ProgressValues::default();
            job.wait_until(now, now);
        });
        Retried::Ready
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{Cancelled, ProgressUpdate, ProgressValues, Retried, State, UniquePolicy};

    use crate::machine::Command;
    use crate::machine::testing::{Fixture, complete, fail, job, job_after, job_with_key, secs};

    #[test]
    fn a_waiting_job_ends_at_once_and_is_never_claimed() {
        for new in [job(), job_after(secs(1))] {
            let (mut store, id) = Fixture::with(new);
            assert_eq!(store.cancel(id), Cancelled::Done);
            assert_eq!(store.cancel(id), Cancelled::Done);
            let record = store.record(id);
            assert_eq!((record.state, record.cancel_requested), (State::Cancelled, false));
            store.advance(secs(1));
            assert_eq!(store.claim_ids(1), []);
        }
    }

    #[test]
    fn a_running_job_is_flagged_and_a_finished_one_left_alone() {
        let (mut store, token) = Fixture::with_claimed(job());
        assert_eq!(store.cancel(token.id), Cancelled::Requested);
        assert_eq!(store.cancel(token.id), Cancelled::Requested);
        assert_eq!(store.record(token.id).state, State::Running);
        store.settle(token, complete());
        assert_eq!(store.cancel(token.id), Cancelled::Finished(State::Completed));
        assert_eq!(store.cancel(job().id), Cancelled::NotFound);
    }

    #[test]
    fn a_retry_by_hand_starts_afresh_but_for_errors_and_counter() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.cancel(token.id);
        let values = ProgressValues::default().percent(40);
        store.apply(Command::Progress(vec![ProgressUpdate { token, values }]));
        store.settle(token, fail());
        store.advance(secs(7));
        assert_eq!(store.retry(token.id), Retried::Ready);
        let record = store.record(token.id);
        assert_eq!((record.state, record.attempt, record.counter), (State::Ready, 0, 1));
        assert_eq!((record.due_at, record.finished_at), (store.now, None));
        assert!(!record.cancel_requested);
        assert_eq!((record.progress.sequence, record.progress.values.percent), (1, None));
        assert_eq!(store.errors(token.id), ["1: fail"]);
        assert_eq!(store.retry(token.id), Retried::NotEnded(State::Ready));
        let again = store.claim_one();
        assert_eq!((again.attempt, again.token.counter), (1, 2));
    }

    #[test]
    fn only_failed_and_cancelled_jobs_are_run_again() {
        let (mut store, token) = Fixture::with_claimed(job());
        assert_eq!(store.retry(token.id), Retried::NotEnded(State::Running));
        store.settle(token, complete());
        assert_eq!(store.retry(token.id), Retried::NotEnded(State::Completed));
        assert_eq!(store.retry(job().id), Retried::NotFound);
    }

    #[test]
    fn a_retry_by_hand_takes_the_key_again_or_names_its_holder() {
        let (mut store, first) = Fixture::with(job_with_key(UniquePolicy::WhileUnfinished));
        store.cancel(first);
        let second = store.enqueue(job_with_key(UniquePolicy::WhileUnfinished)).id();
        let before = store.record(first);
        assert_eq!(store.retry(first), Retried::Existing(second));
        assert_eq!(store.record(first), before);
        store.cancel(second);
        assert_eq!(store.retry(first), Retried::Ready);
        let third = store.enqueue(job_with_key(UniquePolicy::WhileUnfinished));
        assert_eq!(third, anyqueue_core::Enqueued::Existing(first));
    }
}
