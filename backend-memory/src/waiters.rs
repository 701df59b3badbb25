//! [`Waiters`]: who waits for what, so that a change wakes those only.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use anyqueue_core::{JobId, QueueName};
use tokio::sync::Notify;

use crate::machine::Changes;

/// The waits under way, by queue and by job.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next: u64,
    queues: Topics<QueueName>,
    jobs: Topics<JobId>,
}

type Topics<T> = HashMap<T, BTreeMap<u64, Arc<Notify>>>;

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topic<'a> {
    Work(&'a [QueueName]),
    Change(&'a [JobId]),
}

impl Waiters {
    /// Adds a wait; the number removes it again.
    pub(crate) fn add(&mut self, topic: Topic<'_>, notify: &Arc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        match topic {
            Topic::Work(queues) => add(&mut self.queues, queues, number, notify),
            Topic::Change(ids) => add(&mut self.jobs, ids, number, notify),
        }
        number
    }

    /// Removes a wait.
    pub(crate) fn remove(&mut self, topic: Topic<'_>, number: u64) {
        match topic {
            Topic::Work(queues) => remove(&mut self.queues, queues, number),
            Topic::Change(ids) => remove(&mut self.jobs, ids, number),
        }
    }

    /// Those whom these changes concern. Costs a look-up a change, and nothing
    /// where nobody waits.
    pub(crate) fn concerned(&self, changes: &Changes) -> Vec<Arc<Notify>> {
        let mut concerned = Vec::new();
        if !self.queues.is_empty() {
            let found = changes
                .queues
                .iter()
                .filter_map(|queue| self.queues.get(queue));
            concerned.extend(found.flat_map(BTreeMap::values).cloned());
        }
        if !self.jobs.is_empty() {
            let found = changes.jobs.iter().filter_map(|id| self.jobs.get(id));
            concerned.extend(found.flat_map(BTreeMap::values).cloned());
        }
        concerned
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.jobs.is_empty()
    }
}

fn add<T: Clone + Eq + Hash>(
    topics: &mut Topics<T>,
    items: &[T],
    number: u64,
    notify: &Arc<Notify>,
) {
    for item in items {
        topics
            .entry(item.clone())
            .or_default()
            .insert(number, Arc::clone(notify));
    }
}

fn remove<T: Eq + Hash>(topics: &mut Topics<T>, items: &[T], number: u64) {
    for item in items {
        if let Some(waits) = topics.get_mut(item) {
            waits.remove(&number);
            if waits.is_empty() {
                topics.remove(item);
            }
        }
    }
}
