//! [`Waiters`]: who waits for what, so that a change wakes those only; a state
//! that was loaded, of which nothing else is known, wakes all.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyqueue_core::{JobId, QueueName};
use tokio::sync::Notify;

use anyqueue_memory::Changes;

/// The waits under way, by queue and by job.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Topics>);

#[derive(Debug, Default)]
struct Topics {
    next: u64,
    queues: Topic<QueueName>,
    jobs: Topic<JobId>,
}

type Topic<T> = HashMap<T, BTreeMap<u64, Arc<Notify>>>;

/// A wait under way; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    waiters: &'a Waiters,
    number: u64,
    queues: &'a [QueueName],
    jobs: &'a [JobId],
    /// Keeps one notification that comes before anyone listens, so that none
    /// is lost between two looks.
    pub(crate) notify: Arc<Notify>,
}

impl Waiters {
    /// Waits for work in these queues, and for changes of these jobs.
    pub(crate) fn begin<'a>(&'a self, queues: &'a [QueueName], jobs: &'a [JobId]) -> Wait<'a> {
        let notify = Arc::new(Notify::new());
        let mut topics = self.lock();
        let number = topics.next;
        topics.next += 1;
        add(&mut topics.queues, queues, number, &notify);
        add(&mut topics.jobs, jobs, number, &notify);
        Wait {
            waiters: self,
            number,
            queues,
            jobs,
            notify,
        }
    }

    /// Wakes those whom these changes concern. Costs a look-up a change, and
    /// nothing where nobody waits.
    pub(crate) fn wake(&self, changes: &Changes) {
        let topics = self.lock();
        if !topics.queues.is_empty() {
            wake(
                changes
                    .queues
                    .iter()
                    .filter_map(|queue| topics.queues.get(queue)),
            );
        }
        if !topics.jobs.is_empty() {
            wake(changes.jobs.iter().filter_map(|id| topics.jobs.get(id)));
        }
    }

    /// Wakes everyone.
    pub(crate) fn wake_all(&self) {
        let topics = self.lock();
        wake(topics.queues.values());
        wake(topics.jobs.values());
    }

    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut topics = self.waiters.lock();
        remove(&mut topics.queues, self.queues, self.number);
        remove(&mut topics.jobs, self.jobs, self.number);
    }
}

fn wake<'a>(found: impl Iterator<Item = &'a BTreeMap<u64, Arc<Notify>>>) {
    for notify in found.flat_map(BTreeMap::values) {
        notify.notify_one();
    }
}

fn add<T: Clone + Eq + Hash>(topic: &mut Topic<T>, items: &[T], number: u64, notify: &Arc<Notify>) {
    for item in items {
        let waits = topic.entry(item.clone()).or_default();
        waits.insert(number, Arc::clone(notify));
    }
}

fn remove<T: Eq + Hash>(topic: &mut Topic<T>, items: &[T], number: u64) {
    for item in items {
        if let Some(waits) = topic.get_mut(item) {
            waits.remove(&number);
            if waits.is_empty() {
                topic.remove(item);
            }
        }
    }
}
