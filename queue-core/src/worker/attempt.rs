//! One attempt: from a claimed job to its outcome. The decisions are here.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tracing::Instrument;

use crate::job_error::{JobError, Verdict};
use crate::settle::{ErrorText, Outcome};
use crate::worker::registry::{Finished, Handler};
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// The wait of a job whose kind no handler is registered for: doubles from
/// the first to the longest, so that a worker that knows the kind gets it.
const UNKNOWN_KIND_FIRST: Duration = Duration::from_secs(5);
const UNKNOWN_KIND_LONGEST: Duration = Duration::from_secs(300);

/// Runs the handler of a job and decides what becomes of the job. `None`
/// where its lease was lost: there is nothing to report.
pub(super) async fn run(
    engine: &Engine,
    handler: &Handler,
    scope: &Arc<JobScope>,
) -> Option<Outcome> {
    if scope.signal.is_lost() {
        return None;
    }
    let job = &scope.job;
    let span = tracing::info_span!(
        "job",
        id = %job.token.id,
        kind = %job.kind,
        queue = %job.queue,
        attempt = job.attempt,
        traceparent = job.trace.as_ref().map(tracing::field::display),
    );
    let begun = Instant::now();
    let start = async {
        handler
            .start(&engine.registry.states, engine.surroundings(scope))
            .await
    };
    let guarded = AssertUnwindSafe(start)
        .catch_unwind()
        .instrument(span.clone());
    let limited = async {
        match handler.time_limit {
            None => Ok(guarded.await),
            Some(limit) => tokio::time::timeout(limit, guarded)
                .await
                .map_err(|_| limit),
        }
    };
    let finished = tokio::select! {
        biased;
        ended = limited => match ended {
            Ok(Ok(finished)) => finished,
            Ok(Err(panic)) => Err(JobError::new(format_args!("panicked: {}", text_of(&*panic)))),
            Err(limit) => Err(JobError::new(format_args!("timed out after {limit:?}"))),
        },
        () = scope.signal.lost() => return None,
        () = engine.aborting.cancelled() => return Some(Outcome::Release),
    };
    handler.metrics.ran(begun.elapsed());
    let outcome = decide(handler, scope, finished);
    handler.metrics.settled(outcome.kind());
    span.in_scope(|| match &outcome {
        Outcome::Retry { error, delay } => tracing::warn!(%error, ?delay, "attempt failed"),
        Outcome::Fail { error } => tracing::error!(%error, "job failed"),
        _ => tracing::debug!(outcome = outcome.kind().as_str(), "attempt ended"),
    });
    Some(outcome)
}

fn decide(handler: &Handler, scope: &JobScope, finished: Finished) -> Outcome {
    let job = &scope.job;
    let JobError { verdict, message } = match finished {
        Ok(result) => return Outcome::Complete { result },
        Err(error) => error,
    };
    let backoff = || {
        let stored = || job.retry.backoff.delay_after(job.attempt);
        let Some(wait) = &handler.backoff else {
            return stored();
        };
        std::panic::catch_unwind(AssertUnwindSafe(|| wait(job.attempt))).unwrap_or_else(|panic| {
            let why = text_of(&*panic);
            tracing::error!(kind = %job.kind, why, "the backoff panicked; the stored one is used");
            stored()
        })
    };
    let delay = match verdict {
        // A flagged job ends cancelled by whatever is not an end of its own,
        // also on its last attempt.
        _ if scope.signal.cancel_was_requested() && verdict != Verdict::Fail => {
            if verdict == Verdict::Cancelled {
                return Outcome::Release;
            }
            return Outcome::Retry {
                delay: Duration::ZERO,
                error: message,
            };
        }
        Verdict::Fail => return Outcome::Fail { error: message },
        Verdict::Snooze(delay) => {
            return Outcome::Snooze {
                delay,
                reason: Some(message),
            };
        }
        Verdict::RetryAfter(delay) => delay,
        // Cancelled without a request: a failure like any other.
        Verdict::Retry | Verdict::Cancelled => backoff(),
    };
    if job.attempt >= job.retry.max_attempts {
        return Outcome::Fail { error: message };
    }
    Outcome::Retry {
        delay,
        error: message,
    }
}

/// The outcome for a job of a kind that no handler is registered for.
pub(super) fn unknown_kind(scope: &JobScope) -> Outcome {
    let job = &scope.job;
    // Claims that were given back, this one left out.
    let returned = job
        .token
        .counter
        .saturating_sub(u64::from(job.attempt))
        .min(16);
    let delay = UNKNOWN_KIND_FIRST
        .saturating_mul(1 << returned)
        .min(UNKNOWN_KIND_LONGEST);
    tracing::warn!(id = %job.token.id, kind = %job.kind, ?delay, "no handler for this kind");
    let reason = format!(
        "no worker that took it knows the kind {:?}",
        job.kind.as_str()
    );
    Outcome::Snooze {
        delay,
        reason: Some(ErrorText::new(reason)),
    }
}

/// The outcome for a panic outside the handler's future: in its drop.
pub(super) fn broken(scope: &JobScope, panic: &(dyn Any + Send)) -> Outcome {
    let job = &scope.job;
    let error = ErrorText::new(format!("panicked while it was dropped: {}", text_of(panic)));
    if job.attempt >= job.retry.max_attempts {
        return Outcome::Fail { error };
    }
    Outcome::Retry {
        delay: job.retry.backoff.delay_after(job.attempt),
        error,
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
