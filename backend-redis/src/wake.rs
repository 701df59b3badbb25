//! [`Listeners`]: waits for work, told by tickets.
//!
//! Whoever makes a job claimable puts a ticket into its queue's wake list,
//! where none is. A process in which someone waits has a task a queue that
//! moves tickets (`BLMOVE`) to an inbox of its own, on a connection of its
//! own, and wakes one who waits; the claim that follows uses the ticket up,
//! and puts a new one where it left jobs, so that one worker wakes the next.
//!
//! A process that dies with a ticket in its inbox loses nothing: the ticket
//! goes back when another listens 10 seconds later, a job that comes makes a
//! new one at once, and who waits looks again after its timeout, which core
//! keeps at a second.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyqueue_core::QueueName;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::connection::backoff;
use crate::error::Failure;
use crate::script::{GIVE_BACK, LISTEN, Script};
use crate::store::{Shard, Store};

/// The most queues that a process listens to, each by a connection.
const MOST: usize = 16;

/// How often to look where a queue is not listened to.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The longest `BLMOVE`; a connection that is silent for longer is dead.
const LONGEST: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(5);

/// How long the task of a queue stays when nobody waits.
const LINGER: Duration = Duration::from_secs(5);

/// How often the inbox is made known again.
const RENEWAL: Duration = Duration::from_secs(1);

/// The queues that someone in this process waits for.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Arc<Mutex<Topics>>);

#[derive(Debug, Default)]
struct Topics {
    next: u64,
    topics: HashMap<QueueName, Topic>,
}

#[derive(Debug)]
struct Topic {
    waits: BTreeMap<u64, Arc<Notify>>,
    /// Since when nobody waits.
    idle: Instant,
    /// Told when someone begins to wait.
    wanted: Arc<Notify>,
    task: AbortHandle,
}

/// A wait under way; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    topics: &'a Mutex<Topics>,
    queues: &'a [QueueName],
    number: u64,
    /// Whether a task listens to each of the queues.
    pub(crate) covered: bool,
    /// Keeps one notification that comes before anyone listens, so that none
    /// is lost between two looks.
    pub(crate) notify: Arc<Notify>,
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// Waits for work in these queues.
    pub(crate) fn begin<'a>(&'a self, store: &Arc<Store>, queues: &'a [QueueName]) -> Wait<'a> {
        let notify = Arc::new(Notify::new());
        let mut topics = lock(&self.0);
        let number = topics.next;
        topics.next += 1;
        let mut covered = true;
        for queue in queues {
            if !topics.topics.contains_key(queue) {
                if topics.topics.len() >= MOST {
                    covered = false;
                    continue;
                }
                let wanted = Arc::new(Notify::new());
                let listener = Listener {
                    store: Arc::clone(store),
                    topics: Arc::clone(&self.0),
                    queue: queue.clone(),
                    wanted: Arc::clone(&wanted),
                };
                let task = tokio::spawn(Box::pin(listener.run())).abort_handle();
                let topic = Topic {
                    waits: BTreeMap::new(),
                    idle: Instant::now(),
                    wanted,
                    task,
                };
                topics.topics.insert(queue.clone(), topic);
            }
            if let Some(topic) = topics.topics.get_mut(queue) {
                topic.waits.insert(number, Arc::clone(&notify));
                topic.wanted.notify_one();
            }
        }
        Wait {
            topics: &self.0,
            queues,
            number,
            covered,
            notify,
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (_, topic) in lock(&self.0).topics.drain() {
            topic.task.abort();
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut topics = lock(self.topics);
        for queue in self.queues {
            if let Some(topic) = topics.topics.get_mut(queue)
                && topic.waits.remove(&self.number).is_some()
                && topic.waits.is_empty()
            {
                topic.idle = Instant::now();
            }
        }
    }
}

/// The task that takes the tickets of one queue.
struct Listener {
    store: Arc<Store>,
    topics: Arc<Mutex<Topics>>,
    queue: QueueName,
    wanted: Arc<Notify>,
}

/// Forgets the queue when its task ends, also with its runtime.
struct Forget<'a>(&'a Listener);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let listener = self.0;
        let mut topics = lock(&listener.topics);
        if let Some(topic) = topics.topics.get(&listener.queue)
            && Arc::ptr_eq(&topic.wanted, &listener.wanted)
            && let Some(topic) = topics.topics.remove(&listener.queue)
        {
            // Who waits looks for itself, and makes a new task.
            topic.waits.values().for_each(|notify| notify.notify_one());
        }
    }
}

impl Listener {
    async fn run(self) {
        let _forget = Forget(&self);
        let mut connection = None;
        let mut renewed: Option<Instant> = None;
        let mut failed = 0;
        while self.wait_until_wanted().await {
            match self.ticket(&mut connection, &mut renewed).await {
                Ok(ticket) => {
                    failed = 0;
                    if ticket && !self.tell() {
                        // Nobody is there any more: others may be, elsewhere.
                        let _ = self.call(&GIVE_BACK).await;
                    }
                }
                Err(_) => {
                    (connection, renewed) = (None, None);
                    tokio::time::sleep(backoff(failed)).await;
                    failed += 1;
                }
            }
        }
        let _ = self.call(&GIVE_BACK).await;
    }

    /// Returns true when someone waits, false when nobody did for long.
    async fn wait_until_wanted(&self) -> bool {
        loop {
            let idle = match lock(&self.topics).topics.get(&self.queue) {
                Some(topic) if topic.waits.is_empty() => topic.idle.elapsed(),
                Some(_) => return true,
                None => return false,
            };
            if idle >= LINGER {
                return false;
            }
            let wanted = self.wanted.notified();
            let _ = tokio::time::timeout(LINGER - idle, wanted).await;
        }
    }

    /// Wakes one who waits; false where nobody does.
    fn tell(&self) -> bool {
        let mut topics = lock(&self.topics);
        let Some(topic) = topics.topics.get_mut(&self.queue) else {
            return false;
        };
        let Some((_, notify)) = topic.waits.pop_first() else {
            return false;
        };
        if topic.waits.is_empty() {
            topic.idle = Instant::now();
        }
        notify.notify_one();
        true
    }

    /// Waits for a ticket; false where none came for long.
    async fn ticket(
        &self,
        connection: &mut Option<MultiplexedConnection>,
        renewed: &mut Option<Instant>,
    ) -> Result<bool, Failure> {
        if renewed.is_none_or(|renewed| renewed.elapsed() >= RENEWAL) {
            let waiting = self.call(&LISTEN).await?;
            *renewed = Some(Instant::now());
            if waiting == Value::Int(1) {
                return Ok(true);
            }
        }
        let shard = Shard::of_queue(&self.queue);
        let tickets = self.store.key(shard, &format!("w:{}", self.queue));
        let connection = match connection {
            Some(connection) => connection,
            None => {
                let mut probe = redis::cmd("LLEN");
                probe.arg(&tickets);
                let made = self.store.connections.blocking(&probe).await?;
                connection.insert(made)
            }
        };
        let (_, inbox) = self.store.inbox(&self.queue);
        let mut take = redis::cmd("BLMOVE");
        take.arg(tickets).arg(inbox).arg("LEFT").arg("RIGHT");
        take.arg(LONGEST.as_secs_f64());
        let taking = take.query_async(connection);
        let taken: RedisResult<Value> = tokio::time::timeout(LONGEST + GRACE, taking)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        Ok(taken? != Value::Nil)
    }

    async fn call(&self, script: &Script) -> Result<Value, Failure> {
        let (inbox, key) = self.store.inbox(&self.queue);
        let (shard, inbox) = (Shard::of_queue(&self.queue), [inbox.as_bytes()]);
        self.store.run_with(shard, Some(key), script, &inbox).await
    }
}
