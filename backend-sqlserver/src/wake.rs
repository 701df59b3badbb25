//! [`Hub`]: who waits in this process for what a store holds.
//!
//! SQL Server cannot push to a plain connection. A change made by this process
//! wakes at its commit those whom it concerns, in all handles on that store. For
//! what other processes change, one of them looks for all: see
//! [`poller`](crate::poller).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyqueue_core::support::{Wait, Waiters};
use anyqueue_core::{JobId, QueueName};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::poller::{FIRST, LAST, Poller};
use crate::store::{Store, lock};

/// A claim in vain is as good as a look for this long: somewhat more than what
/// passes between two claims of an idle worker.
const CLAIMED: Duration = Duration::from_millis(1_250);

/// How long it is remembered what a job looked like to those who waited for it.
const KEPT: Duration = Duration::from_secs(60);

/// The waits of the handles on one store.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(crate) waiters: Waiters,
    pub(crate) known: Mutex<Known>,
    pub(crate) pace: Mutex<Pace>,
    /// Ends a sleep between two looks.
    pub(crate) sooner: Notify,
    pub(crate) poller: Mutex<Option<Poller>>,
}

/// What is known of what others change.
#[derive(Debug, Default)]
pub(crate) struct Known {
    looks: HashMap<JobId, (Look, Instant)>,
    /// When a claim last found a queue, which is waited for, without work.
    claimed: HashMap<QueueName, Instant>,
    /// The numbers of queues that someone waits for or waited for.
    pub(crate) names: HashMap<i32, QueueName>,
}

/// What a job looks like: state, counter, settled counter, sequence, flag; `None`
/// where it is not there.
pub(crate) type Look = Option<(i64, i64, i64, i64, bool)>;

/// When to look.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) span: Duration,
    /// Whether something has happened since it was slowed down.
    active: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            span: FIRST,
            active: false,
        }
    }
}

/// What a call changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Queues, by number, that may give a job now, or have a new time to give one.
    pub(crate) queues: Vec<i32>,
    /// Jobs that look different.
    pub(crate) jobs: Vec<JobId>,
    /// Whether the store is in use: jobs came or were taken.
    pub(crate) active: bool,
}

impl Changes {
    /// The queue of this line may give a job now, or has a new time to give one.
    pub(crate) fn line(&mut self, line: i32) {
        if self.queues.last() != Some(&(line / 4)) {
            self.queues.push(line / 4);
        }
        self.active = true;
    }
}

impl Hub {
    /// Wakes those in this process whom a change concerns.
    pub(crate) fn tell(&self, changes: &Changes) {
        if changes.active {
            lock(&self.pace).active = true;
        }
        let known = lock(&self.known);
        for queue in &changes.queues {
            match known.names.get(queue) {
                Some(name) => self.waiters.wake([name], []),
                // Not met by its number yet.
                None => self.waiters.wake_all_queues(),
            }
        }
        self.waiters.wake([], &changes.jobs);
    }

    /// A claim has found nothing in these queues.
    pub(crate) fn claimed_in_vain(&self, queues: &[QueueName]) {
        let mut known = lock(&self.known);
        for queue in queues {
            if self.waiters.awaits(queue) {
                known.claimed.insert(queue.clone(), Instant::now());
            }
        }
    }

    /// Whether claims have just looked at all that is waited for.
    pub(crate) fn just_claimed(&self, queues: &[QueueName], jobs: &[JobId]) -> bool {
        let claimed = &mut lock(&self.known).claimed;
        claimed.retain(|queue, at| at.elapsed() < CLAIMED && queues.contains(queue));
        jobs.is_empty() && queues.iter().all(|queue| claimed.contains_key(queue))
    }

    /// Notes what jobs look like, and wakes those who have seen them different or
    /// not at all. True where any was.
    pub(crate) fn compare(&self, asked: &[JobId], mut seen: HashMap<JobId, Look>) -> bool {
        let looks = &mut lock(&self.known).looks;
        let now = Instant::now();
        looks.retain(|_, (_, at)| at.elapsed() < KEPT);
        let mut changed = false;
        for id in asked {
            let look = seen.remove(id).flatten();
            let before = looks.insert(*id, (look, now));
            match before {
                // A row that is locked is passed by, and may be seen next time.
                Some((Some(before), _)) if look.is_none() => {
                    looks.insert(*id, (Some(before), now));
                }
                Some((before, _)) if before == look => {}
                before => {
                    // To those who have not seen it, this is no news of others.
                    changed |= before.is_some();
                    self.waiters.wake([], [id]);
                }
            }
        }
        changed
    }
}

impl Store {
    /// Wakes those in this process whom a change concerns.
    pub(crate) fn tell(&self, changes: &Changes) {
        // Nobody has waited yet on a handle without a hub.
        if let Some(hub) = self.hub.get() {
            hub.tell(changes);
        }
    }

    /// A claim has found nothing in these queues.
    pub(crate) fn claimed_in_vain(&self, queues: &[QueueName]) {
        if let Some(hub) = self.hub.get() {
            hub.claimed_in_vain(queues);
        }
    }

    /// Waits for work in these queues, from the first poll on.
    pub(crate) async fn await_work(self: &Arc<Self>, queues: &[QueueName], timeout: Duration) {
        let hub = self.hub();
        let wait = hub.waiters.begin(queues, &[]);
        let again = {
            let mut pace = lock(&hub.pace);
            let again = std::mem::take(&mut pace.active);
            if again {
                pace.span = FIRST;
            }
            again
        };
        self.look_on(again);
        self.woken(wait, timeout).await;
    }

    /// Waits for changes of these jobs, from the first poll on. The first wait for
    /// a job ends as soon as it was looked at: what it looked like before is not
    /// known.
    pub(crate) async fn await_change(self: &Arc<Self>, jobs: &[JobId], timeout: Duration) {
        let hub = self.hub();
        let wait = hub.waiters.begin(&[], jobs);
        let unknown = {
            let known = lock(&hub.known);
            jobs.iter().any(|id| !known.looks.contains_key(id))
        };
        self.look_on(unknown);
        self.woken(wait, timeout).await;
    }

    /// Waits, and sees to it that someone looks: it may be another handle, on
    /// another runtime, which can end or stand still.
    async fn woken(self: &Arc<Self>, wait: Wait<'_>, timeout: Duration) {
        let mut over = std::pin::pin!(sleep(timeout));
        loop {
            tokio::select! {
                () = wait.woken() => return,
                () = &mut over => return,
                () = sleep(LAST) => self.look_on(false),
            }
        }
    }
}
