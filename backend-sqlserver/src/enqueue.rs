//! How a job comes in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyqueue_core::{Enqueued, Error, NewJob, Operation, QueueName, Schedule, UniquePolicy};
use serde::Serialize;

use crate::args::{Param, Pieces, args, json, text};
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::{Results, Store};
use crate::wake::Changes;

/// The most jobs of one statement, and about the most bytes.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 8 << 20;

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
///
/// One round trip for up to 1,000 jobs (of 8 MiB together); more are stored in
/// one transaction.
pub(crate) async fn enqueue(store: &Arc<Store>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let operation = Operation::Enqueue;
    let failed = |failure: Failure| failure.into_error(operation);
    let names = queue_names(jobs);
    let numbers = store.queues(operation, &names).await?;
    let queues: HashMap<_, _> = names.iter().zip(numbers).collect();
    let number = |name: &QueueName| queues.get(name).copied().unwrap_or_default();
    let parts = parts(jobs);
    let steps = parts
        .iter()
        .map(|part| Ok((Statement::Enqueue, enqueue_args(part, number)?)));
    let steps = steps.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let found = store.transaction(operation, steps).await?;
    let answers = parts
        .iter()
        .zip(found)
        .map(|(part, rows)| answers(part, &rows));
    let answers = answers.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    store.tell(&Changes {
        queues: queues.into_values().collect(),
        active: true,
        ..Changes::default()
    });
    Ok(answers.concat())
}

/// A call's jobs in parts of one statement each, which name each id once. Parts
/// act in order, as items of a call do.
pub(crate) fn parts(jobs: &[NewJob]) -> Vec<&[NewJob]> {
    let (mut parts, mut begin, mut bytes) = (Vec::new(), 0, 0);
    let mut known = HashSet::with_capacity(jobs.len());
    for (at, job) in jobs.iter().enumerate() {
        bytes += job.payload.as_str().len();
        let full = at > begin && (at - begin >= MOST || bytes > MOST_BYTES);
        if !known.insert(job.id) || full {
            parts.push(&jobs[begin..at]);
            begin = at;
            bytes = job.payload.as_str().len();
            known.clear();
            known.insert(job.id);
        }
    }
    parts.push(&jobs[begin..]);
    parts
}

/// The queues of some jobs, each once.
pub(crate) fn queue_names(jobs: &[NewJob]) -> Vec<QueueName> {
    let mut names: Vec<_> = Vec::new();
    for job in jobs {
        if names.last() != Some(&job.queue) && !names.contains(&job.queue) {
            names.push(job.queue.clone());
        }
    }
    names
}

/// The answers to a part, by the rows of `enqueue.sql`: who holds the keys of the
/// jobs that were not stored for that.
pub(crate) fn answers(part: &[NewJob], found: &Results) -> Result<Vec<Enqueued>, Failure> {
    let mut held = HashMap::new();
    for row in found.iter().flatten() {
        held.insert(rows::id(row, 0)?, rows::id(row, 1)?);
    }
    let answer = |job: &NewJob| match held.get(&job.id) {
        Some(holder) => Enqueued::Existing(*holder),
        None => Enqueued::Created(job.id),
    };
    Ok(part.iter().map(answer).collect())
}

/// A row of the first parameter of `enqueue.sql`, whose places these are.
#[derive(Serialize)]
struct NewRow<'a>(
    usize,
    String,
    i32,
    u32,
    bool,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    &'a str,
    Option<String>,
    Option<&'a str>,
    Option<String>,
    Option<&'a str>,
    Option<String>,
    Option<&'a str>,
);

/// The parameters of `enqueue.sql`.
pub(crate) fn enqueue_args(
    part: &[NewJob],
    queue: impl Fn(&QueueName) -> i32,
) -> Result<Vec<Param>, Failure> {
    let mut labels: Vec<(usize, &str)> = Vec::new();
    let mut new = Vec::with_capacity(part.len());
    let mut long = Pieces::default();
    for (place, job) in part.iter().enumerate() {
        labels.extend(job.tags.iter().map(|tag| (place, tag.as_str())));
        new.push(row(place, job, queue(&job.queue), &mut long)?);
    }
    let taken = fastrand::i64(..);
    Ok(args!(json(&new)?, json(&labels)?, taken, long.json()?))
}

fn row<'a>(
    place: usize,
    job: &'a NewJob,
    queue: i32,
    long: &mut Pieces<'a>,
) -> Result<NewRow<'a>, Failure> {
    let (delay, at) = match job.schedule {
        Schedule::Now => (Some(0), None),
        Schedule::After(delay) => (Some(rows::span(delay)), None),
        Schedule::At(time) => (None, Some(time.as_micros())),
    };
    let unique = job.unique.as_ref();
    let policy = unique.map(|unique| unique.policy);
    let period = match policy {
        Some(UniquePolicy::ForPeriod(period)) => Some(rows::span(period)),
        _ => None,
    };
    let tags = (!job.tags.is_empty()).then(|| rows::to_json(&job.tags));
    Ok(NewRow(
        place,
        text(job.id),
        queue * 4 + 3 - i32::from(job.priority.as_u8()),
        job.retry.max_attempts,
        policy == Some(UniquePolicy::WhileUnfinished),
        delay,
        at,
        period,
        job.kind.as_str(),
        job.retry.backoff.to_stored(),
        unique.map(|unique| unique.key.as_str()),
        policy.map(|policy| rows::to_json(&policy)).transpose()?,
        job.trace.as_ref().map(|trace| trace.as_str()),
        tags.transpose()?,
        long.text(place, job.payload.as_str()),
    ))
}
