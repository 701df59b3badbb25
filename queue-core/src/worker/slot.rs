//! A slot: runs one buffered job after the other.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::settle::{ErrorText, Outcome};
use crate::telemetry;
use crate::worker::attempt;
use crate::worker::registry::Handler;
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// How long a job goes back for when its kind runs as often as it may and as
/// many are parked.
const OVER_LIMIT_WAIT: Duration = Duration::from_secs(3);

/// Runs buffered jobs until the buffer is closed and empty.
pub(super) async fn run(engine: Arc<Engine>) {
    while let Ok(scope) = engine.buffer.pop.recv().await {
        engine.running.fetch_add(1, Ordering::Relaxed);
        let guarded = AssertUnwindSafe(take(&engine, &scope)).catch_unwind().await;
        if let Err(panic) = guarded {
            let outcome = attempt::broken(&scope, &*panic);
            engine.settling.push(scope, outcome);
        }
        engine.running.fetch_sub(1, Ordering::Relaxed);
        engine.room.notify_one();
        // Handlers that never wait must not keep the runtime to themselves.
        tokio::task::coop::consume_budget().await;
    }
}

async fn take(engine: &Engine, scope: &Arc<JobScope>) {
    if engine.stopping.is_cancelled() {
        engine.settling.push(Arc::clone(scope), Outcome::Release);
        return;
    }
    let Some(handler) = engine.registry.get(&scope.job.kind) else {
        engine
            .settling
            .push(Arc::clone(scope), attempt::unknown_kind(scope));
        return;
    };
    let Some(limit) = &handler.limit else {
        perform(engine, handler, scope).await;
        return;
    };
    // A kind with a concurrency of its own: this job or, with the permit in
    // hand, those parked before it.
    let mut next = limit.admit(scope);
    if let Admitted::Refused = next {
        let reason = Some(ErrorText::new("its kind runs as often as it may"));
        let outcome = Outcome::Snooze {
            delay: OVER_LIMIT_WAIT,
            reason,
        };
        engine.settling.push(Arc::clone(scope), outcome);
    }
    while let Admitted::Runs(job, permit) = next {
        if engine.stopping.is_cancelled() {
            engine.settling.push(job, Outcome::Release);
        } else {
            perform(engine, handler, &job).await;
        }
        next = limit.next_parked(permit);
    }
}

async fn perform(engine: &Engine, handler: &Handler, scope: &Arc<JobScope>) {
    match attempt::run(engine, handler, scope).await {
        Some(outcome) => engine.settling.push(Arc::clone(scope), outcome),
        None => {
            metrics::counter!(telemetry::LEASES_LOST).increment(1);
            tracing::warn!(id = %scope.job.token.id, "lease lost; the handler was dropped");
            engine.held.remove([scope.job.token]);
        }
    }
    engine.ended.fetch_add(1, Ordering::Relaxed);
}

/// The concurrency of one kind, and its jobs that wait for their turn in the
/// worker's hands.
pub(super) struct KindLimit {
    permits: Arc<tokio::sync::Semaphore>,
    parked: Mutex<VecDeque<Arc<JobScope>>>,
    most_parked: usize,
}

enum Admitted {
    Runs(Arc<JobScope>, OwnedSemaphorePermit),
    Parked,
    Refused,
}

impl KindLimit {
    pub(super) fn new(jobs: usize) -> Self {
        let jobs = jobs.max(1);
        let permits = Arc::new(tokio::sync::Semaphore::new(jobs));
        Self {
            permits,
            parked: Mutex::default(),
            most_parked: jobs,
        }
    }

    fn admit(&self, scope: &Arc<JobScope>) -> Admitted {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Admitted::Runs(Arc::clone(scope), permit);
        }
        {
            let mut parked = self.lock();
            if parked.len() >= self.most_parked {
                return Admitted::Refused;
            }
            parked.push_back(Arc::clone(scope));
        }
        // The last permit may have come back between the two steps.
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => self.next_parked(permit),
            Err(_) => Admitted::Parked,
        }
    }

    fn next_parked(&self, permit: OwnedSemaphorePermit) -> Admitted {
        let next = self.lock().pop_front();
        if let Some(job) = next {
            return Admitted::Runs(job, permit);
        }
        drop(permit);
        // One may have been parked while the permit was still ours.
        if self.lock().is_empty() {
            return Admitted::Parked;
        }
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => match self.lock().pop_front() {
                Some(job) => Admitted::Runs(job, permit),
                None => Admitted::Parked,
            },
            Err(_) => Admitted::Parked,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<JobScope>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases what no slot has taken.
pub(super) fn release_buffered(engine: &Engine) {
    while let Ok(scope) = engine.buffer.pop.try_recv() {
        engine.settling.push(scope, Outcome::Release);
    }
}

/// Releases what still waits for its kind's turn.
pub(super) fn release_parked(engine: &Engine) {
    for handler in engine.registry.all() {
        let Some(limit) = &handler.limit else {
            continue;
        };
        for scope in std::mem::take(&mut *limit.lock()) {
            engine.settling.push(scope, Outcome::Release);
        }
    }
}
