//! Names of the metrics that core records, through the `metrics` crate; and
//! of its span, through `tracing`. Nothing is recorded unless the application
//! installs a recorder or a subscriber, before it starts its workers.
//!
//! Each job runs in a span `job` with the fields `id`, `kind`, `queue`,
//! `attempt` and `traceparent`.

use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::new_job::Enqueued;
use crate::settle::OutcomeKind;

/// Counter: jobs enqueued. Labels: `backend`, `answer` (created, existing).
pub const JOBS_ENQUEUED: &str = "anyqueue_jobs_enqueued_total";
/// Counter: attempts settled. Labels: `kind`, `outcome`.
pub const JOBS_SETTLED: &str = "anyqueue_jobs_settled_total";
/// Histogram, seconds: how long handlers ran. Labels: `kind`.
pub const HANDLER_SECONDS: &str = "anyqueue_handler_seconds";
/// Counter: jobs whose lease was lost while this worker held them.
pub const LEASES_LOST: &str = "anyqueue_leases_lost_total";
/// Counter: failed calls of a worker on its backend. Labels: `operation`.
pub const WORKER_ERRORS: &str = "anyqueue_worker_errors_total";

pub(crate) fn enqueued(backend: &'static str, answers: &[Enqueued]) {
    let created = answers
        .iter()
        .filter(|a| matches!(a, Enqueued::Created(_)))
        .count();
    let count = |answer: &'static str, number: usize| {
        if number > 0 {
            metrics::counter!(JOBS_ENQUEUED, "backend" => backend, "answer" => answer)
                .increment(number as u64);
        }
    };
    count("created", created);
    count("existing", answers.len() - created);
}

/// The metrics of one kind, looked up once.
pub(crate) struct KindMetrics {
    settled: [Counter; 5],
    seconds: Histogram,
}

impl KindMetrics {
    pub(crate) fn new(kind: &str) -> Self {
        let settled = [
            OutcomeKind::Complete,
            OutcomeKind::Retry,
            OutcomeKind::Fail,
            OutcomeKind::Snooze,
            OutcomeKind::Release,
        ]
        .map(|outcome| {
            let kind = kind.to_owned();
            metrics::counter!(JOBS_SETTLED, "kind" => kind, "outcome" => outcome.as_str())
        });
        Self {
            settled,
            seconds: metrics::histogram!(HANDLER_SECONDS, "kind" => kind.to_owned()),
        }
    }

    pub(crate) fn settled(&self, outcome: OutcomeKind) {
        self.settled[usize::from(outcome.as_u8()) - 1].increment(1);
    }

    pub(crate) fn ran(&self, time: Duration) {
        self.seconds.record(time);
    }
}
