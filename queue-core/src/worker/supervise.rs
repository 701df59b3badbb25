//! The parts of a running worker, and its way from start to shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::error::{Error, Operation};
use crate::telemetry;
use crate::worker::Settings;
use crate::worker::health::{Health, HealthBoard};
use crate::worker::held::Held;
use crate::worker::registry::{Registry, Surroundings};
use crate::worker::scope::{JobScope, Reports};
use crate::worker::settling::Settling;
use crate::worker::{chores, fetch, heartbeat, progress, slot};

/// Everything that the tasks of one worker share.
pub(super) struct Engine {
    pub(super) client: Client,
    pub(super) registry: Registry,
    pub(super) settings: Settings,
    /// Claimed jobs that no slot has taken yet.
    pub(super) buffer: Buffer,
    /// Everything claimed and not yet settled.
    pub(super) held: Held,
    pub(super) reports: Arc<Reports>,
    pub(super) settling: Settling,
    pub(super) health: HealthBoard,
    /// How many handlers run.
    pub(super) running: AtomicUsize,
    /// How many jobs have left the buffer.
    pub(super) taken: AtomicU64,
    /// How many jobs were over their kind's limit since fetching last looked.
    pub(super) refused: AtomicUsize,
    /// How many attempts have ended.
    pub(super) ended: AtomicU64,
    /// Told when the worker has room for another job.
    pub(super) room: Notify,
    /// Raised when claiming is to stop.
    pub(super) stopping: CancellationToken,
    /// Raised when the grace is over: handlers are dropped.
    pub(super) aborting: CancellationToken,
}

/// The line from the fetching task to the slots.
pub(super) struct Buffer {
    pub(super) push: async_channel::Sender<Arc<JobScope>>,
    pub(super) pop: async_channel::Receiver<Arc<JobScope>>,
}

impl Engine {
    pub(super) fn new(client: Client, registry: Registry, settings: Settings) -> Self {
        let (push, pop) = async_channel::unbounded();
        Self {
            client,
            registry,
            settings,
            buffer: Buffer { push, pop },
            held: Held::default(),
            reports: Arc::default(),
            settling: Settling::default(),
            health: HealthBoard::default(),
            running: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            refused: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            room: Notify::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
        }
    }

    pub(super) fn surroundings(&self, scope: &Arc<JobScope>) -> Surroundings {
        Surroundings {
            scope: Arc::clone(scope),
            reports: Arc::clone(&self.reports),
            client: self.client.clone(),
        }
    }

    /// Notes a failed call; a backend's error never ends the worker.
    pub(super) fn failed(&self, operation: Operation, error: &Error) {
        metrics::counter!(telemetry::WORKER_ERRORS, "operation" => operation.as_str()).increment(1);
        if self.health.failed(operation, error) {
            tracing::warn!(worker = %self.settings.id, %error, "the store fails; the worker goes on");
        } else {
            tracing::debug!(worker = %self.settings.id, %error, "the store still fails");
        }
    }

    /// Notes a call that went well.
    pub(super) fn succeeded(&self, operation: Operation) {
        if self.health.succeeded(operation) {
            tracing::info!(worker = %self.settings.id, %operation, "the store answers again");
        }
    }
}

/// A worker at work. Dropping it shuts it down in the background.
#[derive(Debug)]
pub struct RunningWorker {
    engine: Arc<Engine>,
    task: JoinHandle<()>,
}

impl RunningWorker {
    pub(super) fn start(engine: Engine) -> Self {
        let engine = Arc::new(engine);
        let task = tokio::spawn(supervise(Arc::clone(&engine)));
        Self { engine, task }
    }

    /// How the worker gets on with its store.
    pub fn health(&self) -> Health {
        self.engine.health.now()
    }

    /// How many jobs it holds: buffered, running, or not yet settled.
    pub fn held(&self) -> usize {
        self.engine.held.len()
    }

    /// Shuts down and returns when everything is settled, or could not be
    /// within the grace and a lease more.
    pub async fn shutdown(mut self) {
        self.engine.stopping.cancel();
        // The supervising task catches what its parts end with.
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.engine.stopping.cancel();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("id", &self.settings.id)
            .finish_non_exhaustive()
    }
}

/// As good as never, and no overflow of the clock.
const FAR: Duration = Duration::from_secs(1_000_000_000);

async fn supervise(engine: Arc<Engine>) {
    let beating = CancellationToken::new();
    // Dropped with this task, should the runtime stop: the thread ends too.
    let _stop_beating = beating.clone().drop_guard();
    let heartbeat = heartbeat::spawn(Arc::clone(&engine), beating.clone());

    let mut slots = JoinSet::new();
    for _ in 0..engine.settings.concurrency {
        slots.spawn(slot::run(Arc::clone(&engine)));
    }
    let settling = tokio::spawn(settling_task(Arc::clone(&engine)));
    let mut beside = JoinSet::new();
    beside.spawn(progress::run(Arc::clone(&engine)));
    beside.spawn(chores::run(Arc::clone(&engine)));
    beside.spawn(slot::give_back(Arc::clone(&engine)));

    // Returns when `stopping` is raised and its last claim is answered.
    let mut fetching = tokio::spawn(fetch::run(Arc::clone(&engine)));
    engine.stopping.cancelled().await;
    let grace_ends = Instant::now() + engine.settings.grace.min(FAR);
    // While the store is away the outcomes cannot be reported, nor a last claim
    // answered; after a lease the jobs are claimable by others anyway.
    let end = grace_ends + engine.settings.lease.min(FAR);
    slot::release_buffered(&engine);
    let mut claiming = true;
    loop {
        tokio::select! {
            _ = &mut fetching, if claiming => {
                claiming = false;
                slot::release_buffered(&engine);
                engine.buffer.push.close();
            }
            () = tokio::time::sleep_until(end), if claiming => fetching.abort(),
            () = tokio::time::sleep_until(grace_ends), if !engine.aborting.is_cancelled() => {
                engine.aborting.cancel();
            }
            ended = slots.join_next() => if ended.is_none() { break },
        }
    }
    slot::release_parked(&engine);
    engine.settling.close();
    if tokio::time::timeout_at(end, settling).await.is_err() {
        let jobs = engine.held.len();
        tracing::error!(worker = %engine.settings.id, jobs, "shut down without settling");
    }
    beside.shutdown().await;
    beating.cancel();
    let _ = heartbeat.await;
}

async fn settling_task(engine: Arc<Engine>) {
    engine.settling.run(&engine).await;
}

impl Engine {
    /// How many more jobs the worker can take, given this prefetch.
    pub(super) fn spare(&self, prefetch: usize) -> usize {
        let taken = self.running.load(Ordering::Relaxed) + self.buffer.pop.len();
        let room = self.settings.concurrency + prefetch;
        let room = self.registry.room().map_or(room, |limits| room.min(limits));
        room.saturating_sub(taken)
    }
}
