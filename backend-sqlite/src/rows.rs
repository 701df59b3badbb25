//! From columns to core's types and back. Shared by writer and readers.

use anyqueue_core::{
    AttemptError, Backoff, ErrorText, JobId, JobRecord, Kind, NewJob, Payload, Priority, Progress,
    ProgressValues, QueueName, RetryPolicy, State, Tag, Timestamp, TraceContext, Unique, UniqueKey,
    WorkerId,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::error::Failure;

/// The text of a column, borrowed.
pub(crate) fn text<'a>(row: &'a Row<'_>, at: usize) -> Result<&'a str, Failure> {
    optional_text(row, at)?.ok_or_else(|| Failure::corrupt("NULL"))
}

/// The text of a column that may be NULL, borrowed.
pub(crate) fn optional_text<'a>(row: &'a Row<'_>, at: usize) -> Result<Option<&'a str>, Failure> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Failure::corrupt("text")),
        },
        _ => Err(Failure::corrupt("column")),
    }
}

pub(crate) fn id(row: &Row<'_>, at: usize) -> Result<JobId, Failure> {
    Ok(JobId::from_bytes(row.get(at)?))
}

pub(crate) fn time(row: &Row<'_>, at: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_micros(row.get(at)?))
}

pub(crate) fn optional_time(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_micros))
}

pub(crate) fn state(row: &Row<'_>, at: usize) -> Result<State, Failure> {
    State::from_u8(row.get(at)?).ok_or_else(|| Failure::corrupt("state"))
}

pub(crate) fn priority(row: &Row<'_>, at: usize) -> Result<Priority, Failure> {
    Priority::from_u8(row.get(at)?).ok_or_else(|| Failure::corrupt("priority"))
}

pub(crate) fn kind(text: &str) -> Result<Kind, Failure> {
    Kind::new(text).map_err(|_| Failure::corrupt("kind"))
}

pub(crate) fn queue_name(text: &str) -> Result<QueueName, Failure> {
    QueueName::new(text).map_err(|_| Failure::corrupt("queue name"))
}

pub(crate) fn payload(row: &Row<'_>, at: usize) -> Result<Payload, Failure> {
    Ok(Payload::from_stored(text(row, at)?))
}

/// The policy of `max_attempts` and `backoff`.
pub(crate) fn retry(
    row: &Row<'_>,
    max_attempts: usize,
    backoff: usize,
) -> Result<RetryPolicy, Failure> {
    let attempts = row.get(max_attempts)?;
    match optional_text(row, backoff)? {
        None => Ok(RetryPolicy::attempts(attempts)),
        Some(json) => Ok(RetryPolicy::new(attempts, from_json(json)?)),
    }
}

pub(crate) fn tags(row: &Row<'_>, at: usize) -> Result<Vec<Tag>, Failure> {
    optional_text(row, at)?.map_or(Ok(Vec::new()), from_json)
}

pub(crate) fn trace(row: &Row<'_>, at: usize) -> Result<Option<TraceContext>, Failure> {
    let trace = optional_text(row, at)?.map(TraceContext::new).transpose();
    trace.map_err(|_| Failure::corrupt("trace context"))
}

pub(crate) fn error_text(row: &Row<'_>, at: usize) -> Result<Option<ErrorText>, Failure> {
    Ok(optional_text(row, at)?.map(ErrorText::new))
}

/// The column `backoff` of a new job.
pub(crate) fn backoff_column(job: &NewJob) -> Result<Option<String>, Failure> {
    if job.retry.backoff == Backoff::default() {
        return Ok(None);
    }
    to_json(&job.retry.backoff).map(Some)
}

/// The column `tags` of a new job.
pub(crate) fn tags_column(job: &NewJob) -> Result<Option<String>, Failure> {
    if job.tags.is_empty() {
        return Ok(None);
    }
    to_json(&job.tags).map(Some)
}

/// A row of `record.sql`, with the seq that finds its errors.
pub(crate) fn record(row: &Row<'_>) -> Result<(i64, JobRecord), Failure> {
    let state = state(row, 6)?;
    let ends_at = optional_time(row, 14)?;
    let unique = match (optional_text(row, 23)?, optional_text(row, 24)?) {
        (Some(key), Some(policy)) => Some(Unique {
            key: UniqueKey::new(key).map_err(|_| Failure::corrupt("unique key"))?,
            policy: from_json(policy)?,
        }),
        _ => None,
    };
    let result = match optional_text(row, 22)? {
        Some(result) => Some(result),
        None => (state == State::Completed).then_some(NO_RESULT),
    };
    let worker = optional_text(row, 15)?.map(WorkerId::new).transpose();
    let record = JobRecord {
        id: id(row, 1)?,
        queue: queue_name(text(row, 2)?)?,
        kind: kind(text(row, 3)?)?,
        payload: payload(row, 4)?,
        priority: priority(row, 5)?,
        state,
        attempt: row.get(7)?,
        counter: row.get(8)?,
        retry: retry(row, 9, 10)?,
        created_at: time(row, 11)?,
        due_at: time(row, 12)?,
        claimed_at: optional_time(row, 13)?,
        lease_until: ends_at.filter(|_| state == State::Running),
        worker: worker.map_err(|_| Failure::corrupt("worker id"))?,
        finished_at: ends_at.filter(|_| state.is_finished()),
        cancel_requested: row.get(16)?,
        snooze_reason: error_text(row, 17)?,
        progress: Progress {
            sequence: row.get::<_, Option<u64>>(18)?.unwrap_or_default(),
            values: progress_values(row)?,
        },
        result: result.map(Payload::from_stored),
        errors: Vec::new(),
        unique,
        tags: tags(row, 25)?,
        trace: trace(row, 26)?,
    };
    Ok((row.get(0)?, record))
}

/// The result that completed jobs without a row of their own have.
pub(crate) const NO_RESULT: &str = "null";

fn progress_values(row: &Row<'_>) -> Result<ProgressValues, Failure> {
    Ok(ProgressValues {
        percent: row.get(19)?,
        step: row.get(20)?,
        message: row.get(21)?,
    })
}

/// A row of `errors.sql`.
pub(crate) fn attempt_error(row: &Row<'_>) -> Result<AttemptError, Failure> {
    Ok(AttemptError {
        attempt: row.get(0)?,
        at: time(row, 1)?,
        message: ErrorText::new(text(row, 2)?),
    })
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| Failure::corrupt("value"))
}

fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|_| Failure::corrupt("JSON value"))
}
