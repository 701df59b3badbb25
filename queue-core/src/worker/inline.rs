//! [`drain`]: a worker without tasks, for tests and scripts.

use std::sync::Arc;

use crate::claim::ClaimRequest;
use crate::error::Error;
use crate::settle::{Outcome, OutcomeKind, Settlement};
use crate::transient::repeat;
use crate::worker::attempt;
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// What a [`Worker::drain`](crate::Worker::drain) did, in attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Attempts that completed their job.
    pub completed: u64,
    /// Attempts that failed and are to run again later.
    pub retried: u64,
    /// Attempts that failed their job.
    pub failed: u64,
    /// Attempts that were snoozed or released.
    pub put_back: u64,
}

/// Runs one job after the other until none can be claimed. There is no
/// heartbeat: a job must end within the worker's lease.
pub(super) async fn drain(engine: Engine) -> Result<Drained, Error> {
    let mut drained = Drained::default();
    let request = ClaimRequest {
        queues: engine.settings.queues.clone(),
        limit: 1,
        lease: engine.settings.lease,
        worker: engine.settings.id.clone(),
    };
    let backend = engine.client.backend();
    while let Some(job) = repeat(|| backend.claim(&request)).await?.pop() {
        let scope = Arc::new(JobScope::new(job));
        let outcome = match engine.registry.get(&scope.job.kind) {
            Some(handler) => attempt::run(&engine, handler, &scope).await,
            None => Some(attempt::unknown_kind(&scope)),
        };
        let Some(outcome) = outcome else { continue };
        drained.count(&outcome);
        if let Some(update) = scope.take_unsent() {
            repeat(|| backend.progress(std::slice::from_ref(&update))).await?;
        }
        let settlement = [Settlement {
            token: scope.job.token,
            outcome,
        }];
        repeat(|| backend.settle(&settlement)).await?;
    }
    Ok(drained)
}

impl Drained {
    fn count(&mut self, outcome: &Outcome) {
        *match outcome.kind() {
            OutcomeKind::Complete => &mut self.completed,
            OutcomeKind::Retry => &mut self.retried,
            OutcomeKind::Fail => &mut self.failed,
            OutcomeKind::Snooze | OutcomeKind::Release => &mut self.put_back,
        } += 1;
    }
}
