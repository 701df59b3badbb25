//! What can be seen.

use std::ops::Bound;

use anyqueue_core::{
    Cursor, Filter, Flow, JobId, JobRecord, Listing, Page, QueueCounts, QueueInfo, QueueName,
    Timestamp,
};

use super::Machine;

impl Machine {
    /// Each id's record, or `None`. O(log n) each.
    pub fn get(&self, ids: &[JobId]) -> Vec<Option<JobRecord>> {
        ids.iter().map(|id| self.jobs.get(id).map(|job| job.record.clone())).collect()
    }

    /// A page of the jobs that match, highest id first. Looks at the jobs
    /// behind the cursor one by one until the page is full: O(n) where few
    /// match.
    pub fn list(&self, filter: &Filter, page: &Page) -> Listing {
        let end = page.after.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.id()));
        let limit = page.limit.clamp(1, Page::MAX_LIMIT) as usize;
        let jobs = self.jobs.range((Bound::Unbounded, end)).rev().map(|(_, job)| &job.record);
        let mut matching = jobs.filter(|job| filter.matches(job));
        let jobs: Vec<JobRecord> = matching.by_ref().take(limit).cloned().collect();
        let next = matching.next().and(jobs.last()).map(|job| Cursor::behind(job.id));
        Listing { jobs, next }
    }

    /// The jobs of each queue by state, ordered by queue name. O(queues).
    pub fn counts(&self) -> Vec<QueueCounts> {
        let queues = self.index.queues.iter().filter(|(_, queue)| queue.counts.total() > 0);
        queues.map(|(name, q)| QueueCounts { queue: name.clone(), counts: q.counts }).collect()
    }

    /// The queues that hold a job or are paused, ordered by name. O(queues).
    pub fn queues(&self) -> Vec<QueueInfo> {
        let queues = self.index.queues.iter();
        queues.map(|(name, queue)| QueueInfo { name: name.clone(), flow: queue.flow }).collect()
    }

    /// The moment from which a claim on these queues finds something: past
    /// where one is ready, else when the next job is due or the next lease
    /// ends; `None` where time alone brings nothing. O(log n) a queue.
    pub fn next_due(&self, queues: &[QueueName]) -> Option<Timestamp> {
        let queues = queues.iter().filter_map(|name| self.index.queues.get(name));
        let open = queues.filter(|queue| queue.flow == Flow::Open);
        open.filter_map(|queue| {
            let ready = queue.ready.first_key_value().map(|((_, due, _), _)| *due);
            let scheduled = queue.scheduled.first_key_value().map(|((due, _), _)| *due);
            let expired = queue.running.first().map(|(until, _)| *until);
            [ready, scheduled, expired].into_iter().flatten().min()
        })
        .min()
    }
}
