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
            if self
                .index
                .queues
                .get(name)
                .is_none_or(|queue| queue.flow == Flow::Paused)
            {
                continue;
            }
            self.end_expired(name, u64::MAX);
            self.promote(name, u64::MAX);
            while claimed.len() < limit
                && let Some(id) = self
                    .index
                    .queues
                    .get(name)
                    .and_then(|queue| queue.first_ready())
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
            token: Token {
                id,
                counter: record.counter,
            },
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

#[cfg(test)]
mod tests {
    use anyqueue_core::{
        Flow, NewJob, Outcome, Priority, ProgressUpdate, ProgressValues, QueueName, State,
    };

    use crate::machine::Command;
    use crate::machine::testing::{
        Fixture, LEASE, job, job_after, job_with_attempts, queue, secs, snooze,
    };

    #[test]
    fn order_is_priority_then_due_time_then_enqueue_order() {
        let mut store = Fixture::default();
        let mut add =
            |priority, delay| store.enqueue(NewJob { priority, ..job_after(secs(delay)) }).id();
        let low = add(Priority::Low, 0);
        let later = add(Priority::Normal, 2);
        let sooner = add(Priority::Normal, 1);
        let (first, second) = (add(Priority::Normal, 0), add(Priority::Normal, 0));
        let urgent = add(Priority::Urgent, 3);
        store.advance(secs(3));
        let order = [urgent, first, second, sooner, later, low];
        assert_eq!(store.claim_ids(4), order[..4]);
        assert_eq!(store.claim_ids(4), order[4..]);
    }

    #[test]
    fn a_job_that_is_not_due_is_not_claimed() {
        let (mut store, id) = Fixture::with(job_after(secs(5)));
        store.advance(secs(4));
        assert_eq!(store.claim_ids(9), []);
        store.advance(secs(1));
        assert_eq!(store.claim_ids(9), [id]);
    }

    #[test]
    fn queues_are_visited_in_the_requests_order_and_paused_ones_give_nothing() {
        let mut store = Fixture::default();
        let names: Vec<_> = ["a", "b", "c", "none"].map(|n| QueueName::new(n).unwrap()).into();
        let [a, b, c] = [0, 1, 2]
            .map(|n: usize| store.enqueue(NewJob { queue: names[n].clone(), ..job() }).id());
        store.apply(Command::SetFlow { queue: names[1].clone(), flow: Flow::Paused });
        let claim = |store: &mut Fixture, queues: [usize; 4]| -> Vec<_> {
            let queues = queues.map(|n| names[n].clone()).into();
            store.claim_from(queues, 9).iter().map(|job| job.token.id).collect()
        };
        assert_eq!(claim(&mut store, [3, 2, 1, 0]), [c, a]);
        store.apply(Command::SetFlow { queue: names[1].clone(), flow: Flow::Open });
        assert_eq!(claim(&mut store, [3, 2, 1, 0]), [b]);
    }

    #[test]
    fn a_claim_charges_an_attempt_and_clears_what_the_last_one_showed() {
        let (mut store, token) = Fixture::with_claimed(job());
        let values = ProgressValues::default().percent(40);
        store.apply(Command::Progress(vec![ProgressUpdate { token, values }]));
        store.settle(token, snooze(secs(0)));
        assert!(store.record(token.id).snooze_reason.is_some());
        store.advance(secs(1));
        let claimed = store.claim_one();
        let record = store.record(token.id);
        assert_eq!((claimed.attempt, record.attempt, record.counter), (1, 1, 2));
        assert_eq!((record.progress.sequence, record.progress.values.percent), (1, None));
        assert_eq!(record.snooze_reason, None);
        assert_eq!(record.claimed_at, Some(store.now));
        assert_eq!(record.lease_until, Some(store.now.after(LEASE)));
        assert_eq!(record.worker.as_ref().map(AsRef::as_ref), Some("worker"));
    }

    #[test]
    fn the_counter_never_resets() {
        let (mut store, id) = Fixture::with(job());
        for counter in 1..=4 {
            let claimed = store.claim_one();
            assert_eq!((claimed.attempt, claimed.token.counter), (1, counter));
            if counter % 2 == 0 {
                store.settle(claimed.token, Outcome::Release);
            } else {
                store.cancel(id);
                store.settle(claimed.token, Outcome::Release);
                store.retry(id);
            }
        }
    }

    #[test]
    fn an_expired_lease_is_claimed_again_in_its_old_place() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.advance(secs(1));
        let newer = store.enqueue(job()).id();
        store.advance(LEASE.saturating_sub(secs(2)));
        assert_eq!(store.record(token.id).state, State::Running);
        store.advance(secs(1));
        let claimed = store.claim(2);
        assert_eq!(claimed[0].token.id, token.id);
        assert_eq!((claimed[0].attempt, claimed[0].token.counter), (2, 2));
        assert_eq!(claimed[1].token.id, newer);
        assert_eq!(store.errors(token.id), ["1: lease expired"]);
    }

    #[test]
    fn an_expired_lease_without_attempts_left_ends_failed() {
        let (mut store, token) = Fixture::with_claimed(job_with_attempts(1));
        store.advance(LEASE);
        assert_eq!(store.claim_ids(1), []);
        let record = store.record(token.id);
        assert_eq!((record.state, record.finished_at), (State::Failed, Some(store.now)));
        assert_eq!((record.worker, record.lease_until), (None, None));
        assert_eq!(store.errors(token.id), ["1: lease expired"]);
    }

    #[test]
    fn an_expired_lease_of_a_flagged_job_ends_cancelled() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.cancel(token.id);
        store.advance(LEASE);
        assert_eq!(store.claim_ids(1), []);
        let record = store.record(token.id);
        assert_eq!((record.state, record.cancel_requested), (State::Cancelled, true));
        assert_eq!(store.errors(token.id), ["1: lease expired"]);
    }

    #[test]
    fn a_claim_leaves_the_leases_of_other_queues_alone() {
        let (mut store, token) = Fixture::with_claimed(job());
        store.advance(LEASE);
        store.claim_from(vec![QueueName::new("other").unwrap()], 1);
        assert_eq!(store.record(token.id).state, State::Running);
        assert_eq!(store.claim_from(vec![queue()], 0), []);
        assert_eq!(store.record(token.id).state, State::Running);
    }
}
