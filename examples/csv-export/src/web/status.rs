//! [`ExportStatus`]: an export as the page sees it.

use anyqueue::{JobId, JobRecord, State, Timestamp};
use serde::Serialize;

use crate::export::{Export, ExportCsv, STEPS};

/// One answer for all: list, status, and events.
#[derive(Debug, Serialize)]
pub(super) struct ExportStatus {
    id: JobId,
    view: &'static str,
    label: &'static str,
    status: Option<&'static str>,
    country: Option<&'static str>,
    state: State,
    percent: u8,
    step: Option<u32>,
    steps: u32,
    message: Option<String>,
    /// Rises with each report, so that a poller can tell what is new.
    sequence: u64,
    attempt: u32,
    max_attempts: u32,
    cancel_requested: bool,
    created_at: i64,
    finished_at: Option<i64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    /// Where to download it, once it is there.
    file: Option<String>,
    errors: Vec<Failure>,
}

/// Why an attempt failed.
#[derive(Debug, Serialize)]
struct Failure {
    attempt: u32,
    at: i64,
    message: String,
}

impl From<JobRecord> for ExportStatus {
    fn from(job: JobRecord) -> Self {
        // A job of another version of this program is shown without details.
        let asked: Option<ExportCsv> = job.payload.decode().ok();
        let export: Option<Export> = job.result.and_then(|result| result.decode().ok());
        let progress = job.progress.values;
        let percent = match job.state {
            State::Completed => 100,
            _ => progress.percent.unwrap_or(0),
        };
        Self {
            id: job.id,
            view: asked.map_or("", |job| job.view.as_str()),
            label: asked.map_or("Export", |job| job.view.label()),
            status: asked.and_then(|job| Some(job.filters.status?.label())),
            country: asked.and_then(|job| Some(job.filters.country?.label())),
            state: job.state,
            percent,
            step: progress.step,
            steps: STEPS,
            message: progress.message,
            sequence: job.progress.sequence,
            attempt: job.attempt,
            max_attempts: job.retry.max_attempts,
            cancel_requested: job.cancel_requested,
            created_at: millis(job.created_at),
            finished_at: job.finished_at.map(millis),
            rows: export.as_ref().map(|export| export.rows),
            bytes: export.as_ref().map(|export| export.bytes),
            file: export.map(|_| format!("/api/exports/{}/file", job.id)),
            errors: job
                .errors
                .into_iter()
                .map(|error| Failure {
                    attempt: error.attempt,
                    at: millis(error.at),
                    message: error.message.to_string(),
                })
                .collect(),
        }
    }
}

/// As JavaScript counts: milliseconds since 1970.
fn millis(time: Timestamp) -> i64 {
    time.as_micros() / 1_000
}
