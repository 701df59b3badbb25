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

/// How long a job may wait for a slot before others are given it. Of those that
/// were claimed ahead only some wait so long: where the jobs before them take
/// longer than those that the prefetch was reckoned from.
const LONGEST_BUFFERED: Duration = Duration::from_secs(5);

/// Runs buffered jobs until the buffer is closed and empty.
pub(super) async fn run(engine: Arc<Engine>) {
    while let Ok(scope) = engine.buffer.pop.recv().await {
        engine.taken.fetch_add(1, Ordering::Relaxed);
        engine.running.fetch_add(1, Ordering::Relaxed);
        if engine.buffer.pop.is_empty() {
            engine.room.notify_one();
        }
        take(&engine, &scope).await;
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
        engine.refused.fetch_add(1, Ordering::Relaxed);
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
    let attempt = AssertUnwindSafe(attempt::run(engine, handler, scope));
    let outcome = match attempt.catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Some(attempt::broken(scope, &*panic)),
    };
    match outcome {
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
    /// How many run at a time, and how many may be parked.
    jobs: usize,
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
            jobs,
        }
    }

    /// How many jobs may be in slots or on their way there.
    pub(super) fn room(&self) -> usize {
        self.jobs
            .saturating_mul(2)
            .saturating_sub(self.lock().len())
    }

    fn admit(&self, scope: &Arc<JobScope>) -> Admitted {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Admitted::Runs(Arc::clone(scope), permit);
        }
        {
            let mut parked = self.lock();
            if parked.len() >= self.jobs {
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

/// Gives back, for ever, what has waited too long for a slot; ended by its
/// owner.
pub(super) async fn give_back(engine: Arc<Engine>) {
    loop {
        let before = engine.taken.load(Ordering::Relaxed);
        let buffered = engine.buffer.pop.len();
        tokio::time::sleep(LONGEST_BUFFERED).await;
        let taken = engine.taken.load(Ordering::Relaxed) - before;
        let taken = usize::try_from(taken).unwrap_or(usize::MAX);
        // The first in line are those that were there before.
        for _ in taken..buffered {
            let Ok(scope) = engine.buffer.pop.try_recv() else {
                break;
            };
            engine.taken.fetch_add(1, Ordering::Relaxed);
            engine.settling.push(scope, Outcome::Release);
        }
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
