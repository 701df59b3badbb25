//! How a job comes in.

use std::collections::btree_map::Entry;

use anyqueue_core::{Enqueued, NewJob};

use super::Machine;
use super::job::Job;

impl Machine {
    /// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
    pub(super) fn enqueue(&mut self, jobs: Vec<NewJob>) -> Vec<Enqueued> {
        jobs.into_iter().map(|job| self.enqueue_one(job)).collect()
    }

    fn enqueue_one(&mut self, mut new: NewJob) -> Enqueued {
        let id = new.id;
        let Entry::Vacant(vacant) = self.jobs.entry(id) else {
            return Enqueued::Created(id);
        };
        if let Some(unique) = &new.unique {
            match self.index.keys.take(&new.queue, unique, id, self.now) {
                Ok(()) => {}
                // The key outlived the job, which was purged: the store still
                // knows the id, and does not run the job again.
                Err(holder) if holder == id => return Enqueued::Created(id),
                Err(holder) => return Enqueued::Existing(holder),
            }
        }
        // One text for all jobs of a queue, also where each came decoded with
        // its own.
        if let Some((name, _)) = self.index.queues.get_key_value(&new.queue) {
            new.queue = name.clone();
        }
        let job = vacant.insert(Box::new(Job::new(new, self.enqueued, self.now)));
        self.enqueued += 1;
        self.index.insert(job);
        Enqueued::Created(id)
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{NewJob, Schedule, State};

    use crate::machine::testing::{Fixture, job, secs};

    #[test]
    fn a_job_is_ready_or_scheduled_by_its_due_time() {
        let mut store = Fixture::default();
        store.advance(secs(100));
        let (now, second) = (store.now, secs(1));
        for (schedule, state, due) in [
            (Schedule::Now, State::Ready, now),
            (Schedule::After(secs(0)), State::Ready, now),
            (Schedule::After(second), State::Scheduled, now.after(second)),
            (Schedule::At(now.before(second)), State::Ready, now),
            (Schedule::At(now.after(second)), State::Scheduled, now.after(second)),
        ] {
            let id = store.enqueue(NewJob { schedule, ..job() }).id();
            let record = store.record(id);
            assert_eq!((record.state, record.due_at), (state, due), "{schedule:?}");
            assert_eq!(record.created_at, now);
        }
    }

    #[test]
    fn a_repeated_enqueue_changes_nothing() {
        let new = job();
        let (mut store, id) = Fixture::with(new.clone());
        store.claim_one();
        let before = store.record(id);
        store.advance(secs(1));
        let changed = NewJob { schedule: Schedule::After(secs(9)), ..new };
        assert_eq!(store.enqueue(changed), anyqueue_core::Enqueued::Created(id));
        assert_eq!(store.record(id), before);
    }

    #[test]
    fn time_never_falls() {
        let mut store = Fixture::default();
        store.advance(secs(9));
        store.enqueue(job());
        let latest = store.now;
        store.now = store.now.before(secs(5));
        let id = store.enqueue(job()).id();
        assert_eq!(store.record(id).created_at, latest);
    }
}
