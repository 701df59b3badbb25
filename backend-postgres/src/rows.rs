//! From columns to core's types and back.

use anyqueue_core::{
    AttemptError, Backoff, ErrorText, JobId, JobRecord, Kind, Payload, Priority, Progress,
    ProgressValues, QueueName, RetryPolicy, State, Tag, Timestamp, TraceContext, Unique, UniqueKey,
    WorkerId,
};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Failure;

/// The result that completed jobs whose column is NULL have.
pub(crate) const NO_RESULT: &str = "null";

/// A value of a row.
pub(crate) fn get<'r, T>(row: &'r PgRow, at: usize) -> Result<T, Failure>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(row.try_get(at)?)
}

pub(crate) fn id(row: &PgRow, at: usize) -> Result<JobId, Failure> {
    Ok(get::<Uuid>(row, at)?.into())
}

pub(crate) fn time(row: &PgRow, at: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_micros(get(row, at)?))
}

pub(crate) fn optional_time(row: &PgRow, at: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(get::<Option<i64>>(row, at)?.map(Timestamp::from_micros))
}

pub(crate) fn state(row: &PgRow, at: usize) -> Result<State, Failure> {
    let number = u8::try_from(get::<i16>(row, at)?).ok();
    number
        .and_then(State::from_u8)
        .ok_or_else(|| Failure::corrupt("state"))
}

pub(crate) fn priority(number: i16) -> Result<Priority, Failure> {
    let number = u8::try_from(number).ok();
    number
        .and_then(Priority::from_u8)
        .ok_or_else(|| Failure::corrupt("priority"))
}

pub(crate) fn kind(text: &str) -> Result<Kind, Failure> {
    Kind::new(text).map_err(|_| Failure::corrupt("kind"))
}

pub(crate) fn queue_name(text: &str) -> Result<QueueName, Failure> {
    QueueName::new(text).map_err(|_| Failure::corrupt("queue name"))
}

pub(crate) fn payload(row: &PgRow, at: usize) -> Result<Payload, Failure> {
    Ok(Payload::from_stored(get::<&str>(row, at)?))
}

/// The policy of `max_attempts` and `backoff`.
pub(crate) fn retry(
    row: &PgRow,
    max_attempts: usize,
    backoff: usize,
) -> Result<RetryPolicy, Failure> {
    let backoff = Backoff::from_stored(get(row, backoff)?);
    let backoff = backoff.map_err(|_| Failure::corrupt("backoff"))?;
    Ok(RetryPolicy::new(count(row, max_attempts)?, backoff))
}

/// A number that is never negative.
pub(crate) fn count(row: &PgRow, at: usize) -> Result<u32, Failure> {
    u32::try_from(get::<i32>(row, at)?).map_err(|_| Failure::corrupt("number"))
}

/// A large number that is never negative.
pub(crate) fn big(row: &PgRow, at: usize) -> Result<u64, Failure> {
    u64::try_from(get::<i64>(row, at)?).map_err(|_| Failure::corrupt("number"))
}

pub(crate) fn tags(row: &PgRow, at: usize) -> Result<Vec<Tag>, Failure> {
    get::<Option<&str>>(row, at)?.map_or(Ok(Vec::new()), from_json)
}

pub(crate) fn trace(row: &PgRow, at: usize) -> Result<Option<TraceContext>, Failure> {
    let trace = get::<Option<&str>>(row, at)?
        .map(TraceContext::new)
        .transpose();
    trace.map_err(|_| Failure::corrupt("trace context"))
}

fn error_text(row: &PgRow, at: usize) -> Result<Option<ErrorText>, Failure> {
    Ok(get::<Option<&str>>(row, at)?.map(ErrorText::new))
}

/// A row of `get.sql`.
pub(crate) fn record(row: &PgRow) -> Result<JobRecord, Failure> {
    let state = state(row, 5)?;
    let unique = match (get::<Option<&str>>(row, 23)?, get::<Option<&str>>(row, 24)?) {
        (Some(key), Some(policy)) => Some(Unique {
            key: UniqueKey::new(key).map_err(|_| Failure::corrupt("unique key"))?,
            policy: from_json(policy)?,
        }),
        _ => None,
    };
    let result = match get::<Option<&str>>(row, 22)? {
        Some(result) => Some(result),
        None => (state == State::Completed).then_some(NO_RESULT),
    };
    let worker = get::<Option<&str>>(row, 15)?.map(WorkerId::new).transpose();
    Ok(JobRecord {
        id: id(row, 0)?,
        queue: queue_name(get(row, 1)?)?,
        kind: kind(get(row, 2)?)?,
        payload: payload(row, 3)?,
        priority: priority(get(row, 4)?)?,
        state,
        attempt: count(row, 6)?,
        counter: big(row, 7)?,
        retry: retry(row, 8, 9)?,
        created_at: time(row, 10)?,
        due_at: time(row, 11)?,
        claimed_at: optional_time(row, 12)?,
        lease_until: optional_time(row, 13)?,
        finished_at: optional_time(row, 14)?,
        worker: worker.map_err(|_| Failure::corrupt("worker id"))?,
        cancel_requested: get(row, 16)?,
        snooze_reason: error_text(row, 17)?,
        progress: progress(row)?,
        result: result.map(Payload::from_stored),
        errors: errors(row)?,
        unique,
        tags: tags(row, 25)?,
        trace: trace(row, 26)?,
    })
}

fn progress(row: &PgRow) -> Result<Progress, Failure> {
    let Some(sequence) = get::<Option<i64>>(row, 18)? else {
        return Ok(Progress::default());
    };
    let out_of_range = |_| Failure::corrupt("progress");
    let percent = get::<Option<i16>>(row, 19)?.map(u8::try_from).transpose();
    let step = get::<Option<i32>>(row, 20)?.map(u32::try_from).transpose();
    Ok(Progress {
        sequence: u64::try_from(sequence).map_err(out_of_range)?,
        values: ProgressValues {
            percent: percent.map_err(out_of_range)?,
            step: step.map_err(out_of_range)?,
            message: get(row, 21)?,
        },
    })
}

fn errors(row: &PgRow) -> Result<Vec<AttemptError>, Failure> {
    let attempts: Option<Vec<i32>> = get(row, 27)?;
    let (Some(attempts), Some(times), Some(messages)) = (
        attempts,
        get::<Option<Vec<i64>>>(row, 28)?,
        get::<Option<Vec<String>>>(row, 29)?,
    ) else {
        return Ok(Vec::new());
    };
    let errors = attempts.into_iter().zip(times).zip(messages);
    errors
        .map(|((attempt, at), message)| {
            Ok(AttemptError {
                attempt: u32::try_from(attempt).map_err(|_| Failure::corrupt("attempt"))?,
                at: Timestamp::from_micros(at),
                message: ErrorText::new(message),
            })
        })
        .collect()
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| Failure::corrupt("value"))
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
