//! [`Watchers`]: waits for changes of jobs, told by the store's channel.
//!
//! Scripts publish the ids of the jobs that they change, where the shard's
//! key `v` says that someone watches. It lives for a few seconds and is
//! renewed while someone does. A wait that finds channel or key not yet there
//! ends as soon as they are: it may have missed a change, and says so by
//! ending early.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyqueue_core::JobId;
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::error::Failure;
use crate::store::{Shard, Store};

/// How long the key `v` lives, how long one relies on it, and how often it is
/// renewed.
const LIVES: Duration = Duration::from_secs(6);
const RELIED_ON: Duration = Duration::from_secs(4);
pub(crate) const RENEWAL: Duration = Duration::from_millis(1_500);

/// The jobs that someone in this process waits for.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    topics: Arc<Mutex<Topics>>,
    /// Held while subscribing, so that all share one subscription.
    subscribing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Topics {
    next: u64,
    jobs: HashMap<JobId, BTreeMap<u64, Arc<Notify>>>,
    /// When each shard's key was last set.
    watched: HashMap<Shard, Instant>,
    subscription: Option<AbortHandle>,
}

/// A wait under way; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    watchers: &'a Watchers,
    ids: &'a [JobId],
    number: u64,
    /// Whether every change from now on is told.
    pub(crate) reliable: bool,
    pub(crate) notify: Arc<Notify>,
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shards(ids: &[JobId]) -> Vec<Shard> {
    let mut shards: Vec<_> = ids.iter().map(|id| Shard::of_job(*id)).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}

impl Watchers {
    /// Waits for a change of one of these jobs.
    pub(crate) fn begin<'a>(&'a self, ids: &'a [JobId]) -> Watch<'a> {
        let notify = Arc::new(Notify::new());
        let mut topics = lock(&self.topics);
        let number = topics.next;
        topics.next += 1;
        for id in ids {
            let waits = topics.jobs.entry(*id).or_default();
            waits.insert(number, Arc::clone(&notify));
        }
        let watched = |shard: &Shard| {
            let set = topics.watched.get(shard);
            set.is_some_and(|set| set.elapsed() < RELIED_ON)
        };
        let reliable = topics.subscription.is_some() && shards(ids).iter().all(watched);
        Watch {
            watchers: self,
            ids,
            number,
            reliable,
            notify,
        }
    }

    /// Sees to it that changes of these jobs are published and heard.
    pub(crate) async fn tune_in(&self, store: &Arc<Store>, ids: &[JobId]) -> Result<(), Failure> {
        self.subscribe(store).await?;
        for shard in shards(ids) {
            let now = Instant::now();
            let fresh = |set: &Instant| now.duration_since(*set) < RENEWAL;
            if lock(&self.topics).watched.get(&shard).is_some_and(fresh) {
                continue;
            }
            let mut watch = redis::cmd("SET");
            watch.arg(store.key(shard, "v")).arg(1);
            watch.arg("PX").arg(LIVES.as_millis() as u64);
            store.connections.command(&watch).await?;
            lock(&self.topics).watched.insert(shard, now);
        }
        Ok(())
    }

    async fn subscribe(&self, store: &Arc<Store>) -> Result<(), Failure> {
        let _one = self.subscribing.lock().await;
        if lock(&self.topics).subscription.is_some() {
            return Ok(());
        }
        let mut subscriber = store
            .connections
            .subscriber()
            .await
            .map_err(|error| Failure::from(error).of_connect())?;
        subscriber.subscribe(store.channel()).await?;
        let topics = Arc::clone(&self.topics);
        let mut messages = subscriber.into_on_message();
        let mut state = lock(&self.topics);
        let task = tokio::spawn(async move {
            let lost = Lost(topics);
            while let Some(message) = messages.next().await {
                lock(&lost.0).tell(message.get_payload_bytes());
            }
        });
        state.subscription = Some(task.abort_handle());
        Ok(())
    }
}

/// Notes that nothing is heard any more, also when the task's runtime ends.
struct Lost(Arc<Mutex<Topics>>);

impl Drop for Lost {
    fn drop(&mut self) {
        let mut topics = lock(&self.0);
        topics.subscription = None;
        for notify in topics.jobs.values().flat_map(BTreeMap::values) {
            notify.notify_one();
        }
    }
}

impl Topics {
    /// Wakes those whom these changes concern.
    fn tell(&self, ids: &[u8]) {
        if self.jobs.is_empty() {
            return;
        }
        for id in ids.as_chunks::<16>().0 {
            if let Some(waits) = self.jobs.get(&JobId::from_bytes(*id)) {
                waits.values().for_each(|notify| notify.notify_one());
            }
        }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        if let Some(task) = &lock(&self.topics).subscription {
            task.abort();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut topics = lock(&self.watchers.topics);
        for id in self.ids {
            if let Some(waits) = topics.jobs.get_mut(id) {
                waits.remove(&self.number);
                if waits.is_empty() {
                    topics.jobs.remove(id);
                }
            }
        }
    }
}
