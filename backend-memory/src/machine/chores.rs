//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed.

use anyqueue_core::{MaintainLimits, Maintained, QueueName, Retention, State};

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
        let freed = (0..bound).take_while(|_| self.index.keys.free_one_over(now)).count() as u64;

        done.more = [done.expired, done.promoted, done.purged, freed].contains(&bound);
        done
    }

    /// Ends expired leases of a queue, at most `bound`, earliest first.
    pub(super) fn end_expired(&mut self, name: &QueueName, bound: u64) -> u64 {
        let now = self.now;
        let mut ended = 0;
        while ended < bound
            && let Some(id) = self.index.queues.get(name).and_then(|queue| queue.first_expired(now))
        {
            let job = indexed(&mut self.jobs, id);
            self.index.change(job, |job| job.expire(now));
            ended += 1;
        }
        ended
    }

    /// Promotes due jobs of a queue, at most `bound`, earliest due first.
    pub(super) fn promote(&mut self, name: &QueueName, bound: u64) -> u64 {
        let now = self.now;
        let mut promoted = 0;
        while promoted < bound
            && let Some(id) = self.index.queues.get(name).and_then(|queue| queue.first_due(now))
        {
            let job = indexed(&mut self.jobs, id);
            self.index.change(job, |job| job.record.state = State::Ready);
            promoted += 1;
        }
        promoted
    }

    /// Removes jobs of a finished state past their retention, at most
    /// `bound`, earliest ended first.
    fn purge(&mut self, state: State, retention: &Retention, bound: u64) -> u64 {
        let (Some(kept), mut purged) = (retention.of(state), 0) else { return 0 };
        let newest = self.now.before(kept);
        while purged < bound
            && let Some(&(end, id)) = self.index.finished.get(&state).and_then(|set| set.first())
            && end <= newest
        {
            let Some(job) = self.jobs.remove(&id) else { break };
            self.index.remove(&job);
            purged += 1;
        }
        purged
    }

    fn queues_where(&self, has_work: impl Fn(&Queue) -> bool) -> Vec<QueueName> {
        let queues = self.index.queues.iter();
        queues.filter(|(_, queue)| has_work(queue)).map(|(name, _)| name.clone()).collect()
    }
}
