//! From columns to core's types and back.

use anyqueue_core::{
    AttemptError, Backoff, ErrorText, JobId, JobRecord, Kind, Payload, Priority, Progress,
    ProgressValues, QueueName, RetryPolicy, State, Tag, Timestamp, TraceContext, Unique, UniqueKey,
    WorkerId,
};
use serde::Deserialize;
use tiberius::{ColumnData, Row};

use crate::error::Failure;

/// The result that completed jobs without one have.
pub(crate) const NO_RESULT: &str = "null";

fn cell(row: &Row, at: usize) -> Result<&ColumnData<'static>, Failure> {
    row.get_column_data(at).map_err(|_| Failure::corrupt("row"))
}

/// A number of any width; `None`: NULL.
pub(crate) fn optional(row: &Row, at: usize) -> Result<Option<i64>, Failure> {
    Ok(match cell(row, at)? {
        ColumnData::U8(number) => number.map(i64::from),
        ColumnData::I16(number) => number.map(i64::from),
        ColumnData::I32(number) => number.map(i64::from),
        ColumnData::I64(number) => *number,
        ColumnData::Bit(flag) => flag.map(i64::from),
        _ => return Err(Failure::corrupt("number")),
    })
}

pub(crate) fn big(row: &Row, at: usize) -> Result<i64, Failure> {
    optional(row, at)?.ok_or_else(|| Failure::corrupt("number"))
}

/// A number that fits its type.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row, at: usize) -> Result<T, Failure> {
    T::try_from(big(row, at)?).map_err(|_| Failure::corrupt("number"))
}

pub(crate) fn int(row: &Row, at: usize) -> Result<i32, Failure> {
    number(row, at)
}

pub(crate) fn flag(row: &Row, at: usize) -> Result<bool, Failure> {
    Ok(big(row, at)? != 0)
}

pub(crate) fn text(row: &Row, at: usize) -> Result<Option<&str>, Failure> {
    match cell(row, at)? {
        ColumnData::String(text) => Ok(text.as_deref()),
        _ => Err(Failure::corrupt("text")),
    }
}

pub(crate) fn id(row: &Row, at: usize) -> Result<JobId, Failure> {
    let bytes = match cell(row, at)? {
        ColumnData::Binary(Some(bytes)) => bytes.as_ref().try_into().ok(),
        _ => None,
    };
    bytes
        .map(JobId::from_bytes)
        .ok_or_else(|| Failure::corrupt("job id"))
}

pub(crate) fn time(row: &Row, at: usize) -> Result<Timestamp, Failure> {
    big(row, at).map(Timestamp::from_micros)
}

pub(crate) fn optional_time(row: &Row, at: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(optional(row, at)?.map(Timestamp::from_micros))
}

pub(crate) fn state(row: &Row, at: usize) -> Result<State, Failure> {
    State::from_u8(number(row, at)?).ok_or_else(|| Failure::corrupt("state"))
}

/// The priority that a line stands for.
pub(crate) fn priority(line: i32) -> Result<Priority, Failure> {
    let number = u8::try_from(3 - (line & 3)).ok();
    number
        .and_then(Priority::from_u8)
        .ok_or_else(|| Failure::corrupt("priority"))
}

fn required(row: &Row, at: usize) -> Result<&str, Failure> {
    text(row, at)?.ok_or_else(|| Failure::corrupt("text"))
}

pub(crate) fn kind(row: &Row, at: usize) -> Result<Kind, Failure> {
    Kind::new(required(row, at)?).map_err(|_| Failure::corrupt("kind"))
}

pub(crate) fn queue_name(row: &Row, at: usize) -> Result<QueueName, Failure> {
    QueueName::new(required(row, at)?).map_err(|_| Failure::corrupt("queue name"))
}

pub(crate) fn payload(row: &Row, at: usize) -> Result<Payload, Failure> {
    Ok(Payload::from_stored(required(row, at)?))
}

/// The policy of `max_attempts` and `backoff`.
pub(crate) fn retry(
    row: &Row,
    max_attempts: usize,
    backoff: usize,
) -> Result<RetryPolicy, Failure> {
    let backoff = Backoff::from_stored(text(row, backoff)?);
    let backoff = backoff.map_err(|_| Failure::corrupt("backoff"))?;
    Ok(RetryPolicy::new(number(row, max_attempts)?, backoff))
}

pub(crate) fn tags(row: &Row, at: usize) -> Result<Vec<Tag>, Failure> {
    text(row, at)?.map_or(Ok(Vec::new()), from_json)
}

pub(crate) fn trace(row: &Row, at: usize) -> Result<Option<TraceContext>, Failure> {
    let trace = text(row, at)?.map(TraceContext::new).transpose();
    trace.map_err(|_| Failure::corrupt("trace context"))
}

/// A row of `get.sql`.
pub(crate) fn record(row: &Row) -> Result<JobRecord, Failure> {
    let state = state(row, 5)?;
    let unique = match (text(row, 23)?, text(row, 24)?) {
        (Some(key), Some(policy)) => Some(Unique {
            key: UniqueKey::new(key).map_err(|_| Failure::corrupt("unique key"))?,
            policy: from_json(policy)?,
        }),
        _ => None,
    };
    let result = match text(row, 22)? {
        Some(result) => Some(result),
        None => (state == State::Completed).then_some(NO_RESULT),
    };
    let worker = text(row, 15)?.map(WorkerId::new).transpose();
    Ok(JobRecord {
        id: id(row, 0)?,
        queue: queue_name(row, 1)?,
        kind: kind(row, 2)?,
        payload: payload(row, 3)?,
        priority: priority(int(row, 4)?)?,
        state,
        attempt: number(row, 6)?,
        counter: number(row, 7)?,
        retry: retry(row, 8, 9)?,
        created_at: time(row, 10)?,
        due_at: time(row, 11)?,
        claimed_at: optional_time(row, 12)?,
        lease_until: optional_time(row, 13)?,
        finished_at: optional_time(row, 14)?,
        worker: worker.map_err(|_| Failure::corrupt("worker id"))?,
        cancel_requested: flag(row, 16)?,
        snooze_reason: text(row, 17)?.map(ErrorText::new),
        progress: progress(row)?,
        result: result.map(Payload::from_stored),
        errors: errors(row)?,
        unique,
        tags: tags(row, 25)?,
        trace: trace(row, 26)?,
    })
}

fn progress(row: &Row) -> Result<Progress, Failure> {
    let out_of_range = |_| Failure::corrupt("progress");
    let percent = optional(row, 19)?.map(u8::try_from).transpose();
    let step = optional(row, 20)?.map(u32::try_from).transpose();
    Ok(Progress {
        sequence: number(row, 18)?,
        values: ProgressValues {
            percent: percent.map_err(out_of_range)?,
            step: step.map_err(out_of_range)?,
            message: text(row, 21)?.map(str::to_owned),
        },
    })
}

/// An element of the errors that `get.sql` returns.
#[derive(Deserialize)]
struct StoredError {
    attempt: u32,
    at: i64,
    message: String,
}

fn errors(row: &Row) -> Result<Vec<AttemptError>, Failure> {
    let stored: Vec<StoredError> = text(row, 27)?.map_or(Ok(Vec::new()), from_json)?;
    let errors = stored.into_iter().map(|error| AttemptError {
        attempt: error.attempt,
        at: Timestamp::from_micros(error.at),
        message: ErrorText::new(error.message),
    });
    Ok(errors.collect())
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| Failure::unencodable())
}

fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|_| Failure::corrupt("JSON value"))
}

/// A span in microseconds, short enough that a moment and it add up.
pub(crate) fn span(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros())
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 4)
}

/// A token's counter as stored; one that no claim can have given is below all.
pub(crate) fn counter(token: anyqueue_core::Token) -> i64 {
    i64::try_from(token.counter).unwrap_or(-1)
}
