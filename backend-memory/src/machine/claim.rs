//! Who gets which job.

use anyqueue_core::{ClaimRequest, ClaimedJob, Flow, JobId, ProgressValues, State, Token};

use super::{Machine, indexed};

impl Machine {
    /// Takes jobs; the law is [`Backend::claim`](anyqueue_core::Backend).
    ///
    /// First it ends the expired leases and promotes the due jobs of the
    /// queues it comes to, all of them: each is touched once, and the order is
    /// exact.
    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Vec<ClaimedJob> {
        let limit = request.limit as usize;
        let mut claimed = Vec::new();
        for name in &request.queues {
            if claimed.len() >= limit {
                break;
            }
            if self.index.queues.get(name).is_none_or(|queue| queue.flow == Flow::Paused) {
                continue;
            }
            self.end_expired(name, u64::MAX);
            self.promote(name, u64::MAX);
            while claimed.len() < limit
                && let Some(id) = self.index.queues.get(name).and_then(|queue| queue.first_ready())
            {
                claimed.push(self.take(id, request));
            }
        }
        claimed
    }

    fn take(&mut self, id: JobId, request: &ClaimRequest) -> ClaimedJob {
        let job = indexed(&mut self.jobs, id);
        let now = self.now;
        let lease_until = now.after(request.lease);
        self.index.change(job, |job| {
            let record = &mut job.record;
            record.state = State::Running;
            record.attempt += 1;
            record.counter += 1;
            record.claimed_at = Some(now);
            record.lease_until = Some(lease_until);
            record.worker = Some(request.worker.clone());
            record.snooze_reason = None;
            record.progress.values = ProgressValues::default();
        });
        let record = &job.record;
        ClaimedJob {
            token: Token { id, counter: record.counter },
            queue: record.queue.clone(),
            kind: record.kind.clone(),
            payload: record.payload.clone(),
            priority: record.priority,
            attempt: record.attempt,
            retry: record.retry.clone(),
            created_at: record.created_at,
            due_at: record.due_at,
            lease_until,
            tags: record.tags.clone(),
            trace: record.trace.clone(),
        }
    }
}
