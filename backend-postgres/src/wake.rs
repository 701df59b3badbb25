//! [`Hub`]: who waits in this process, and how processes tell each other.
//!
//! Here a change wakes at its commit those whom it concerns. For the others it
//! is added to what the next notification will say: one is on its way at a time,
//! what comes meanwhile goes into the next, so that a thousand enqueues a second
//! cost some hundred notifications, none of them inside an enqueue. Jobs are
//! only told of where some process said that it waits for them (`watched`).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use anyqueue_core::support::Waiters;
use anyqueue_core::{JobId, Operation, QueueName};
use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio::task::AbortHandle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use uuid::Uuid;

use crate::args::args;
use crate::config::{Pooler, Wake};
use crate::statements::Statement;
use crate::store::{Store, lock};

/// The least span between two notifications.
const GAP: Duration = Duration::from_millis(2);

/// The longest span until a listener that was lost is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How long the listening connection may be silent before it is tried, and how
/// long its answer may take.
const SILENCE: Duration = Duration::from_secs(10);
const TRIAL: Duration = Duration::from_secs(5);

/// How long other processes are told of a job's changes after a wait for it.
const WATCH: Duration = Duration::from_secs(60);

/// The most names of one notification; NOTIFY takes 8,000 bytes.
pub(crate) const MOST_NAMES: usize = 200;

/// The waits of one handle, and its part in telling others.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// By the queues' hashes.
    pub(crate) waiters: Waiters<u64>,
    pending: Mutex<Pending>,
    /// When each job was last said to be waited for.
    watched: Mutex<HashMap<JobId, Instant>>,
    listener: Mutex<Option<AbortHandle>>,
    listening: AtomicBool,
    name: u64,
}

/// What the next notification will say.
#[derive(Debug, Default)]
struct Pending {
    queues: HashSet<u64>,
    jobs: HashSet<JobId>,
    sending: bool,
}

/// What a call changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Queues that may give a job now, or have a new time to give one.
    pub(crate) queues: Vec<u64>,
    /// Jobs that look different.
    pub(crate) jobs: Vec<JobId>,
    /// Those of them that some process waits for.
    pub(crate) watched: Vec<JobId>,
}

impl Changes {
    /// A job looks different now.
    pub(crate) fn job(&mut self, id: JobId, watched: bool) {
        self.jobs.push(id);
        if watched {
            self.watched.push(id);
        }
    }
}

/// What waits for jobs of a queue go by, in all processes. FNV-1a; two queues
/// of one number wake each other's waiters, which costs a look.
pub(crate) fn queue_hash(name: &QueueName) -> u64 {
    name.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The queue of a call whose queues this process has not met: all.
pub(crate) const ANY_QUEUE: u64 = 0;

/// What a notification sent by the application's own transaction begins with:
/// no handle has this name.
pub(crate) const TRANSACTION: &str = "0";

impl Hub {
    pub(crate) fn new() -> Self {
        let mut hub = Self::default();
        hub.name = fastrand::u64(1..);
        hub
    }

    /// Whether changes made by other processes come in by themselves.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    fn wake(&self, changes: &Changes) {
        if changes.queues.contains(&ANY_QUEUE) {
            self.waiters.wake_all_queues();
            self.waiters.wake([], &changes.jobs);
        } else {
            self.waiters.wake(&changes.queues, &changes.jobs);
        }
    }

    /// Those of the jobs of which other processes do not know, or will soon
    /// forget, that this one waits for them.
    pub(crate) fn unwatched(&self, ids: &[JobId]) -> Vec<JobId> {
        let mut watched = lock(&self.watched);
        if watched.len() > 4_096 {
            watched.retain(|_, at| at.elapsed() < WATCH / 2);
        }
        let fresh = |id: &&JobId| watched.get(id).is_none_or(|at| at.elapsed() > WATCH / 2);
        ids.iter().filter(fresh).copied().collect()
    }

    fn watching(&self, ids: &[JobId]) {
        let now = Instant::now();
        lock(&self.watched).extend(ids.iter().map(|id| (*id, now)));
    }

    /// What the next notification says; `None` where nothing is left to say.
    fn next_payload(&self) -> Option<String> {
        let mut pending = lock(&self.pending);
        if pending.queues.is_empty() && pending.jobs.is_empty() {
            pending.sending = false;
            return None;
        }
        let mut text = format!("{:x}", self.name);
        let (mut queues, mut jobs) = (std::mem::take(&mut pending.queues), HashSet::new());
        if queues.len() > MOST_NAMES {
            queues = HashSet::from([ANY_QUEUE]);
        }
        let told: Vec<_> = pending.jobs.iter().take(MOST_NAMES / 2).copied().collect();
        for id in told {
            pending.jobs.remove(&id);
            jobs.insert(id);
        }
        for queue in queues {
            let _ = write!(text, " q{queue:x}");
        }
        for id in jobs {
            let _ = write!(text, " j{}", Uuid::from(id).simple());
        }
        Some(text)
    }

    /// Wakes those whom another process's notification concerns.
    pub(crate) fn hear(&self, payload: &str) {
        let mut words = payload.split(' ');
        if words.next() == Some(&format!("{:x}", self.name)) {
            return;
        }
        let mut changes = Changes::default();
        for word in words {
            match word.split_at_checked(1) {
                Some(("q", hash)) => {
                    changes
                        .queues
                        .push(u64::from_str_radix(hash, 16).unwrap_or(ANY_QUEUE));
                }
                Some(("j", id)) => {
                    changes
                        .jobs
                        .extend(Uuid::parse_str(id).ok().map(JobId::from));
                }
                // A later version's.
                _ => changes.queues.push(ANY_QUEUE),
            }
        }
        self.wake(&changes);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.abort();
        }
    }
}

impl Store {
    /// The queue of this line may give a job now, or has a new time to give one.
    pub(crate) fn claimable(&self, changes: &mut Changes, line: i32) {
        let queue = self.queue_hash(line >> 2).unwrap_or(ANY_QUEUE);
        if changes.queues.last() != Some(&queue) {
            changes.queues.push(queue);
        }
    }

    /// Tells those who wait, here and elsewhere, of what a call changed.
    pub(crate) fn tell(self: &Arc<Self>, changes: Changes) {
        self.hub.wake(&changes);
        if self.config.wake == Wake::Poll || self.config.pooler == Pooler::Transaction {
            return;
        }
        let begin = {
            let mut pending = lock(&self.hub.pending);
            pending.queues.extend(changes.queues);
            pending.jobs.extend(changes.watched);
            let any = !pending.queues.is_empty() || !pending.jobs.is_empty();
            any && !std::mem::replace(&mut pending.sending, true)
        };
        if begin {
            let store = Arc::clone(self);
            tokio::spawn(send(Sending { store, done: false }));
        }
    }

    /// Listens from now on, where that is wanted; true where what others change
    /// comes in by itself already.
    pub(crate) fn listen(self: &Arc<Self>) -> bool {
        if self.config.wake == Wake::Poll || self.config.pooler == Pooler::Transaction {
            return false;
        }
        if self.hub.is_listening() {
            return true;
        }
        let mut listener = lock(&self.hub.listener);
        if listener.as_ref().is_none_or(AbortHandle::is_finished) {
            let task = tokio::spawn(listen(Arc::downgrade(self)));
            *listener = Some(task.abort_handle());
        }
        false
    }

    /// Says to all processes that this one waits for these jobs.
    pub(crate) async fn watch(self: &Arc<Self>, ids: &[JobId]) -> Result<(), anyqueue_core::Error> {
        let uuids: Vec<Uuid> = ids.iter().map(|id| (*id).into()).collect();
        let args = args!(uuids, crate::rows::span(WATCH));
        self.write(Operation::Wait, Statement::Watch, args).await?;
        self.hub.watching(ids);
        Ok(())
    }
}

/// Held by the one task that sends; if its runtime drops it midway, the next
/// change starts another.
struct Sending {
    store: Arc<Store>,
    done: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.store.hub.pending).sending = false;
        }
    }
}

async fn send(mut sending: Sending) {
    let store = Arc::clone(&sending.store);
    let channel = store.config.schema.channel();
    loop {
        let Some(payload) = store.hub.next_payload() else {
            // It has let another task begin.
            sending.done = true;
            return;
        };
        let args = args!(channel.as_str(), payload);
        if let Err(error) = store.read(Operation::Wait, Statement::Notify, args).await {
            // Those who wait look for themselves before long.
            tracing::debug!(%error, "no notification");
        }
        tokio::time::sleep(GAP).await;
    }
}

async fn listen(store: Weak<Store>) {
    let mut wait = Duration::from_millis(50);
    while let Some((options, channel)) = store
        .upgrade()
        .map(|store| (store.connect_options(), store.config.schema.channel()))
    {
        let lost = async {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .connect_lazy_with(options);
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            timeout(TRIAL, listener.listen(&channel))
                .await
                .map_err(silent)??;
            match store.upgrade() {
                Some(store) => {
                    store.hub.listening.store(true, Ordering::Release);
                    // What came while nobody listened.
                    store.hub.waiters.wake_all();
                }
                None => return Ok(()),
            }
            while let Some(notification) = next(&mut listener).await? {
                let Some(store) = store.upgrade() else { break };
                store.hub.hear(notification.payload());
            }
            Ok::<(), sqlx::Error>(())
        };
        let lost = lost.await;
        let Some(store) = store.upgrade() else { return };
        if store.hub.listening.swap(false, Ordering::AcqRel) {
            wait = Duration::from_millis(50);
        }
        store.hub.waiters.wake_all();
        drop(store);
        if let Err(error) = lost {
            let error = crate::error::Failure::from(error).into_error(Operation::Wait);
            tracing::debug!(%error, "not listening");
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = wait.saturating_mul(2).min(LONGEST_RETRY);
    }
}

/// The next notification; `None` where the connection is lost. It is tried now
/// and then: half open it would be silent for ever, and whoever waits would look
/// for work once a second, for as long as the process lives.
async fn next(listener: &mut PgListener) -> Result<Option<PgNotification>, sqlx::Error> {
    loop {
        // The driver reads whole messages or nothing: this can be dropped.
        if let Ok(heard) = timeout(SILENCE, listener.try_recv()).await {
            return heard;
        }
        let trial = timeout(TRIAL, listener.execute("SELECT 1")).await;
        trial.map_err(silent)??;
    }
}

fn silent(_: Elapsed) -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}
