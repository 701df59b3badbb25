//! What can be seen.

use std::ops::Bound;

use anyqueue_core::{
    Cursor, Filter, Flow, JobId, JobRecord, Listing, Page, QueueCounts, QueueInfo, QueueName,
    Timestamp, Token,
};

use super::Machine;

impl Machine {
    /// Each id's record, or `None`. O(log n) each.
    pub fn get(&self, ids: &[JobId]) -> Vec<Option<JobRecord>> {
        ids.iter()
            .map(|id| self.jobs.get(id).map(|job| job.record.clone()))
            .collect()
    }

    /// A page of the jobs that match, highest id first. Looks at the jobs
    /// behind the cursor one by one until the page is full: O(n) where few
    /// match.
    pub fn list(&self, filter: &Filter, page: &Page) -> Listing {
        let end = page
            .after
            .map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.id()));
        let limit = page.limit.clamp(1, Page::MAX_LIMIT) as usize;
        let jobs = self
            .jobs
            .range((Bound::Unbounded, end))
            .rev()
            .map(|(_, job)| &job.record);
        let mut matching = jobs.filter(|job| filter.matches(job));
        let jobs: Vec<JobRecord> = matching.by_ref().take(limit).cloned().collect();
        let next = matching
            .next()
            .and(jobs.last())
            .map(|job| Cursor::behind(job.id));
        Listing { jobs, next }
    }

    /// The jobs of each queue by state, ordered by queue name. O(queues).
    pub fn counts(&self) -> Vec<QueueCounts> {
        let queues = self
            .index
            .queues
            .iter()
            .filter(|(_, queue)| queue.counts.total() > 0);
        queues
            .map(|(name, q)| QueueCounts {
                queue: name.clone(),
                counts: q.counts,
            })
            .collect()
    }

    /// The queues that hold a job or are paused, ordered by name. O(queues).
    pub fn queues(&self) -> Vec<QueueInfo> {
        let queues = self.index.queues.iter();
        queues
            .map(|(name, queue)| QueueInfo {
                name: name.clone(),
                flow: queue.flow,
            })
            .collect()
    }

    /// Whether this token holds its job.
    pub fn is_held(&self, token: Token) -> bool {
        let job = self.jobs.get(&token.id);
        job.is_some_and(|job| job.is_held_by(token))
    }

    /// The first moment after this one at which a job becomes due or a lease
    /// ends, in any queue: when a clock that is only moved has to be moved.
    /// O(log n) a queue.
    pub fn next_event(&self, after: Timestamp) -> Option<Timestamp> {
        let queues = self.index.queues.values();
        queues
            .filter_map(|queue| {
                let due = (Bound::Excluded((after, u64::MAX)), Bound::Unbounded);
                let scheduled = queue.scheduled.range(due).next();
                let lease = (
                    Bound::Excluded((after, JobId::from_bytes([u8::MAX; 16]))),
                    Bound::Unbounded,
                );
                let running = queue.running.range(lease).next();
                let moments = [
                    scheduled.map(|((due, _), _)| *due),
                    running.map(|(until, _)| *until),
                ];
                moments.into_iter().flatten().min()
            })
            .min()
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

#[cfg(test)]
mod tests {
    use anyqueue_core::{Filter, Flow, NewJob, Page, QueueInfo, QueueName, State};

    use crate::machine::Command;
    use crate::machine::testing::{Fixture, LEASE, job, job_after, queue, secs};

    #[test]
    fn pages_go_from_the_newest_to_the_oldest_while_jobs_are_added() {
        let mut store = Fixture::default();
        let mut ids: Vec<_> = (0..5).map(|_| store.enqueue(job()).id()).collect();
        ids.reverse();
        let (mut page, mut seen) = (Page::first(2), vec![]);
        loop {
            let listing = store.machine.list(&Filter::any(), &page);
            seen.extend(listing.jobs.iter().map(|job| job.id));
            store.enqueue(job());
            match listing.next {
                Some(next) => page = Page::first(2).after(next),
                None => break,
            }
        }
        assert_eq!(seen, ids);
    }

    #[test]
    fn the_next_event_is_the_first_after_a_moment_in_any_queue() {
        let (mut store, _) = Fixture::with(job());
        assert_eq!(store.machine.next_event(store.now), None);
        store.claim_one();
        let lease = store.now.after(LEASE);
        let other = NewJob {
            queue: QueueName::new("other").unwrap(),
            ..job_after(secs(3))
        };
        store.enqueue(other);
        let due = store.now.after(secs(3));
        assert_eq!(store.machine.next_event(store.now), Some(due));
        assert_eq!(store.machine.next_event(due), Some(lease));
        assert_eq!(store.machine.next_event(lease), None);
    }

    #[test]
    fn a_list_that_fills_its_last_page_has_no_next_one() {
        let mut store = Fixture::default();
        let cancelled = store.enqueue(job()).id();
        store.cancel(cancelled);
        store.enqueue(job());
        let filter = Filter::any().state(State::Cancelled);
        let listing = store.machine.list(&filter, &Page::first(1));
        assert_eq!((listing.jobs[0].id, listing.next), (cancelled, None));
    }

    #[test]
    fn a_queue_is_known_while_it_holds_a_job_or_is_paused() {
        let mut store = Fixture::default();
        let paused = QueueName::new("paused").unwrap();
        let set = |store: &mut Fixture, flow| {
            store.apply(Command::SetFlow {
                queue: paused.clone(),
                flow,
            });
        };
        set(&mut store, Flow::Paused);
        store.enqueue(job());
        let open = QueueInfo {
            name: queue(),
            flow: Flow::Open,
        };
        let known = QueueInfo {
            name: paused.clone(),
            flow: Flow::Paused,
        };
        assert_eq!(store.machine.queues(), [open.clone(), known]);
        assert_eq!(store.machine.counts().len(), 1);
        set(&mut store, Flow::Open);
        assert_eq!(store.machine.queues(), [open]);
    }

    #[test]
    fn the_next_moment_is_that_of_the_first_ready_due_or_expiring_job() {
        let mut store = Fixture::default();
        let next = |store: &Fixture| store.machine.next_due(&[queue()]);
        let start = store.now;
        assert_eq!(next(&store), None);
        store.enqueue(job_after(secs(60)));
        assert_eq!(next(&store), Some(start.after(secs(60))));
        store.enqueue(job());
        assert_eq!(next(&store), Some(start));
        store.claim(1);
        assert_eq!(next(&store), Some(start.after(LEASE)));
        store.enqueue(NewJob {
            queue: QueueName::new("other").unwrap(),
            ..job()
        });
        assert_eq!(next(&store), Some(start.after(LEASE)));
        store.apply(Command::SetFlow {
            queue: queue(),
            flow: Flow::Paused,
        });
        assert_eq!(next(&store), None);
    }
}
