//! [`Waiters`]: who waits for what, so that a change wakes those only.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{JobId, QueueName};

/// The waits under way, by queue and by job. `Q` is what stands for a queue.
#[derive(Debug)]
pub struct Waiters<Q = QueueName>(Mutex<Topics<Q>>);

#[derive(Debug)]
struct Topics<Q> {
    next: u64,
    queues: Topic<Q>,
    jobs: Topic<JobId>,
}

type Topic<T> = HashMap<T, BTreeMap<u64, Arc<Notify>>>;

/// A wait under way; ends when it is dropped.
#[derive(Debug)]
pub struct Wait<'a, Q: Eq + Hash = QueueName> {
    waiters: &'a Waiters<Q>,
    number: u64,
    queues: &'a [Q],
    jobs: &'a [JobId],
    notify: Arc<Notify>,
}

impl<Q> Default for Waiters<Q> {
    fn default() -> Self {
        Self(Mutex::new(Topics {
            next: 0,
            queues: HashMap::new(),
            jobs: HashMap::new(),
        }))
    }
}

impl<Q: Clone + Eq + Hash> Waiters<Q> {
    /// Waits for work in these queues, and for changes of these jobs. Costs an
    /// entry for each of them.
    pub fn begin<'a>(&'a self, queues: &'a [Q], jobs: &'a [JobId]) -> Wait<'a, Q> {
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
}

impl<Q: Eq + Hash> Waiters<Q> {
    /// Whether anyone waits.
    pub fn any(&self) -> bool {
        let topics = self.lock();
        !topics.queues.is_empty() || !topics.jobs.is_empty()
    }

    /// Wakes those who wait for one of these. Costs a look-up a queue and a
    /// job, and nothing where nobody waits.
    pub fn wake<'a>(
        &self,
        queues: impl IntoIterator<Item = &'a Q>,
        jobs: impl IntoIterator<Item = &'a JobId>,
    ) where
        Q: 'a,
    {
        let topics = self.lock();
        if !topics.queues.is_empty() {
            notify(queues.into_iter().filter_map(|q| topics.queues.get(q)));
        }
        if !topics.jobs.is_empty() {
            notify(jobs.into_iter().filter_map(|id| topics.jobs.get(id)));
        }
    }

    /// The queues that someone waits for work in.
    pub fn queues(&self) -> Vec<Q>
    where
        Q: Clone,
    {
        self.lock().queues.keys().cloned().collect()
    }

    /// Up to so many of the jobs whose changes someone waits for.
    pub fn jobs(&self, most: usize) -> Vec<JobId> {
        self.lock().jobs.keys().take(most).copied().collect()
    }

    /// Whether someone waits for work in this queue.
    pub fn awaits(&self, queue: &Q) -> bool {
        self.lock().queues.contains_key(queue)
    }

    /// Wakes all who wait for work: there is some, and it is not known where.
    pub fn wake_all_queues(&self) {
        notify(self.lock().queues.values());
    }

    /// Wakes everyone: something has changed, and it is not known what.
    pub fn wake_all(&self) {
        let topics = self.lock();
        notify(topics.queues.values());
        notify(topics.jobs.values());
    }

    fn lock(&self) -> MutexGuard<'_, Topics<Q>> {
        // Nothing is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Eq + Hash> Wait<'_, Q> {
    /// Returns once it was woken since the last return. One notification is
    /// kept while nobody listens, so that none is lost between two looks.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl<Q: Eq + Hash> Drop for Wait<'_, Q> {
    fn drop(&mut self) {
        let mut topics = self.waiters.lock();
        remove(&mut topics.queues, self.queues, self.number);
        remove(&mut topics.jobs, self.jobs, self.number);
    }
}

fn notify<'a>(found: impl Iterator<Item = &'a BTreeMap<u64, Arc<Notify>>>) {
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_change_wakes_those_whom_it_concerns() {
        let waiters = Waiters::<u8>::default();
        let (one, two) = (
            JobId::new(&QueueName::default()),
            JobId::new(&QueueName::default()),
        );
        let (jobs, others) = ([one], [two]);
        let queue = waiters.begin(&[1, 2], &[]);
        let job = waiters.begin(&[], &jobs);
        let other = waiters.begin(&[3], &others);
        waiters.wake(&[2], &jobs);
        assert!(queue.woken().now_or_never().is_some());
        assert!(job.woken().now_or_never().is_some());
        assert!(other.woken().now_or_never().is_none());
        // Of some queue that nobody can name.
        waiters.wake_all_queues();
        assert!(queue.woken().now_or_never().is_some());
        assert!(job.woken().now_or_never().is_none());
        assert!(other.woken().now_or_never().is_some());
        // Kept once, however often it came.
        waiters.wake_all();
        waiters.wake_all();
        for wait in [&queue, &job, &other] {
            assert!(wait.woken().now_or_never().is_some());
            assert!(wait.woken().now_or_never().is_none());
        }
    }

    #[test]
    fn a_wait_that_ended_leaves_nothing() {
        let waiters = Waiters::<u8>::default();
        let jobs = [JobId::new(&QueueName::default())];
        let (one, two) = (waiters.begin(&[1], &jobs), waiters.begin(&[1], &jobs));
        drop(one);
        assert!(waiters.any() && waiters.awaits(&1) && !waiters.awaits(&2));
        assert_eq!(
            (waiters.queues(), waiters.jobs(9)),
            (vec![1], jobs.to_vec())
        );
        assert!(waiters.jobs(0).is_empty());
        waiters.wake(&[1], []);
        assert!(two.woken().now_or_never().is_some());
        drop(two);
        assert!(!waiters.any() && !waiters.awaits(&1));
        assert!(waiters.queues().is_empty() && waiters.jobs(9).is_empty());
    }
}
