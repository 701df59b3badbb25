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
