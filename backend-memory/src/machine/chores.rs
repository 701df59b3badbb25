//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed.

use anyqueue_core::{MaintainLimits, Maintained, QueueName, Retention, State, Token};

use super::index::Queue;
use super::{Machine, indexed};

impl Machine {
    /// Does a share of the chores; the law is
    /// [`Backend::maintain`](anyqueue_core::Backend).
    ///
    /// Costs O(queues), and O(log n) for each job that it touches.
    pub(super) fn maintain(&mut self, limits: &MaintainLimits) -> Maintained {
        let bound = u64::from(limits.jobs);
        let now = self.now;
        let mut done = Maintained::default();

        let names = self.queues_where(|queue| queue.first_expired(now).is_some());
        for name in &names {
            done.expired += self.end_expired(name, bound - done.expired);
        }
        let names = self.queues_where(|queue| queue.first_due(now).is_some());
        for name in &names {
            done.promoted += self.promote(name, bound - done.promoted);
        }
        for state in State::ALL {
            done.purged += self.purge(state, &limits.retention, bound - done.purged);
        }
        let freed = (0..bound)
            .take_while(|_| self.index.keys.free_one_over(now))
            .count() as u64;

        done.more = [done.expired, done.promoted, done.purged, freed].contains(&bound);
        done
    }

    /// Ends expired leases of a queue, at most `bound`, earliest first.
    pub(super) fn end_expired(&mut self, name: &QueueName, bound: u64) -> u64 {
        let now = self.now;
        let mut ended = 0;
        while ended < bound
            && let Some(id) = self
                .index
                .queues
                .get(name)
                .and_then(|queue| queue.first_expired(now))
        {
            let job = indexed(&mut self.jobs, id);
            self.index.change(job, |job| job.expire(now));
            ended += 1;
        }
        ended
    }

    /// Ends these leases where they are still held, as if they had run out.
    pub(super) fn end_leases(&mut self, tokens: &[Token]) -> u64 {
        let now = self.now;
        let mut ended = 0;
        for token in tokens {
            let held = self.jobs.get_mut(&token.id);
            if let Some(job) = held.filter(|job| job.is_held_by(*token)) {
                self.index.change(job, |job| job.expire(now));
                ended += 1;
            }
        }
        ended
    }

    /// Promotes due jobs of a queue, at most `bound`, earliest due first.
    pub(super) fn promote(&mut self, name: &QueueName, bound: u64) -> u64 {
        let now = self.now;
        let mut promoted = 0;
        while promoted < bound
            && let Some(id) = self
                .index
                .queues
                .get(name)
                .and_then(|queue| queue.first_due(now))
        {
            let job = indexed(&mut self.jobs, id);
            self.index
                .change(job, |job| job.record.state = State::Ready);
            promoted += 1;
        }
        promoted
    }

    /// Removes jobs of a finished state past their retention, at most
    /// `bound`, earliest ended first.
    fn purge(&mut self, state: State, retention: &Retention, bound: u64) -> u64 {
        let (Some(kept), mut purged) = (retention.of(state), 0) else {
            return 0;
        };
        let newest = self.now.before(kept);
        while purged < bound
            && let Some(&(end, id)) = self.index.finished.get(&state).and_then(|set| set.first())
            && end <= newest
        {
            let Some(job) = self.jobs.remove(&id) else {
                break;
            };
            self.index.remove(&job);
            purged += 1;
        }
        purged
    }

    fn queues_where(&self, has_work: impl Fn(&Queue) -> bool) -> Vec<QueueName> {
        let queues = self.index.queues.iter();
        queues
            .filter(|(_, queue)| has_work(queue))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{Maintained, NewJob, QueueName, Retention, Schedule, State};

    use crate::machine::testing::{
        Fixture, LEASE, complete, fail, job, job_after, job_with_attempts, secs,
    };
    use crate::machine::{Answer, Command};

    #[test]
    fn maintain_ends_expired_leases_as_claim_does() {
        let mut store = Fixture::default();
        let again = store.enqueue(job()).id();
        let spent = store.enqueue(job_with_attempts(1)).id();
        let flagged = store.enqueue(job()).id();
        store.claim(9);
        store.cancel(flagged);
        store.advance(LEASE);
        assert_eq!(store.maintain(9, Retention::default()).expired, 3);
        let states = [again, spent, flagged].map(|id| store.record(id).state);
        assert_eq!(states, [State::Ready, State::Failed, State::Cancelled]);
    }

    #[test]
    fn leases_end_early_for_those_who_still_hold_them_only() {
        let mut store = Fixture::default();
        let ids = [job(), job_with_attempts(1), job(), job()].map(|job| store.enqueue(job).id());
        let tokens: Vec<_> = store.claim(4).iter().map(|job| job.token).collect();
        store.cancel(ids[2]);
        store.settle(tokens[3], complete());
        for ended in [3, 0] {
            let answer = store.apply(Command::EndLeases(tokens.clone()));
            assert_eq!(answer, Answer::LeasesEnded(ended));
        }
        let states = ids.map(|id| store.record(id).state);
        let expected = [
            State::Ready,
            State::Failed,
            State::Cancelled,
            State::Completed,
        ];
        assert_eq!(states, expected);
        assert_eq!(store.errors(ids[0]), ["1: lease expired"]);
        assert_eq!(store.claim_one().token.counter, 2);
    }

    #[test]
    fn maintain_promotes_due_jobs_earliest_first_in_bounded_steps() {
        let mut store = Fixture::default();
        let ids = [3, 1, 2, 9].map(|delay| store.enqueue(job_after(secs(delay))).id());
        store.advance(secs(3));
        let ready = |store: &Fixture| ids.map(|id| store.record(id).state == State::Ready);
        let done = store.maintain(2, Retention::default());
        assert_eq!(
            done,
            Maintained {
                promoted: 2,
                more: true,
                ..Maintained::default()
            }
        );
        assert_eq!(ready(&store), [false, true, true, false]);
        let done = store.maintain(2, Retention::default());
        assert_eq!(
            done,
            Maintained {
                promoted: 1,
                ..Maintained::default()
            }
        );
        assert_eq!(ready(&store), [true, true, true, false]);
    }

    #[test]
    fn each_outcome_is_purged_after_its_own_retention() {
        let mut store = Fixture::default();
        let waiting = store.enqueue(job_after(secs(99))).id();
        let ids = [complete(), fail()].map(|outcome| {
            store.enqueue(job());
            let token = store.claim_one().token;
            store.settle(token, outcome);
            token.id
        });
        let cancelled = store.enqueue(job()).id();
        store.cancel(cancelled);
        let mut retention = Retention::default();
        (retention.completed, retention.failed, retention.cancelled) = (secs(1), secs(3), secs(2));
        let left = |store: &mut Fixture, jobs| {
            let purged = store.maintain(jobs, retention).purged;
            let found = store.machine.get(&[ids[0], cancelled, ids[1], waiting]);
            (purged, found.iter().flatten().count())
        };
        assert_eq!(left(&mut store, 9), (0, 4));
        for expected in [(1, 3), (1, 2), (1, 1), (0, 1)] {
            store.advance(secs(1));
            assert_eq!(left(&mut store, 9), expected);
        }
        assert_eq!(store.record(waiting).state, State::Scheduled);
    }

    #[test]
    fn purge_is_bounded_and_the_queue_goes_with_its_last_job() {
        let mut store = Fixture::default();
        for _ in 0..3 {
            let id = store.enqueue(job()).id();
            store.cancel(id);
        }
        let purge = |store: &mut Fixture| store.maintain(2, Retention::all(secs(0)));
        let done = purge(&mut store);
        assert_eq!((done.purged, done.more), (2, true));
        assert_eq!(store.machine.queues().len(), 1);
        let done = purge(&mut store);
        assert_eq!((done.purged, done.more), (1, false));
        assert_eq!(
            (store.machine.queues(), store.machine.counts()),
            (vec![], vec![])
        );
    }

    #[test]
    fn a_bound_is_for_all_queues_and_outcomes_together() {
        let mut store = Fixture::default();
        let queues = ["a", "b"].map(|name| QueueName::new(name).unwrap());
        for queue in &queues {
            for schedule in [Schedule::Now, Schedule::Now, Schedule::After(LEASE)] {
                store.enqueue(NewJob {
                    queue: queue.clone(),
                    schedule,
                    ..job()
                });
            }
        }
        store.claim_from(queues.into(), 9);
        store.advance(LEASE);
        let done = store.maintain(3, Retention::default());
        assert_eq!((done.expired, done.promoted, done.more), (3, 2, true));

        let mut store = Fixture::default();
        for outcome in [complete(), complete(), fail(), fail()] {
            store.enqueue(job());
            let token = store.claim_one().token;
            store.settle(token, outcome);
        }
        assert_eq!(store.maintain(3, Retention::all(secs(0))).purged, 3);
    }
}
