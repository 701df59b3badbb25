//! What anyone may do to a job: cancel it, and run it again by hand.

use anyqueue_core::{Cancelled, JobId, ProgressValues, Retried, State, Unique, UniquePolicy};

use super::Machine;

impl Machine {
    /// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
    pub(super) fn cancel(&mut self, ids: &[JobId]) -> Vec<Cancelled> {
        ids.iter().map(|id| self.cancel_one(*id)).collect()
    }

    fn cancel_one(&mut self, id: JobId) -> Cancelled {
        let Some(job) = self.jobs.get_mut(&id) else { return Cancelled::NotFound };
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
        let Some(job) = self.jobs.get_mut(&id) else { return Retried::NotFound };
        let now = self.now;
        if !matches!(job.record.state, State::Failed | State::Cancelled) {
            return Retried::NotEnded(job.record.state);
        }
        // A key held for a period was taken at the enqueue, once and for all.
        if let Some(unique @ Unique { policy: UniquePolicy::WhileUnfinished, .. }) =
            &job.record.unique
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
