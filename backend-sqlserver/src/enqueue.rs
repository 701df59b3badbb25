//! How a job comes in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyqueue_core::{Enqueued, Error, JobId, NewJob, Operation, QueueName, Schedule, UniquePolicy};
use serde::Serialize;

use crate::args::{Param, Pieces, args, json, text};
use crate::error::Failure;
use crate::load::{self, Loading};
use crate::rows;
use crate::statements::Statement;
use crate::store::{Results, Step, Store};
use crate::wake::Changes;

/// The most jobs that go together, and about the most bytes of their payloads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    jobs: usize,
    bytes: usize,
}

/// Of one statement's parameters.
pub(crate) const STATEMENT: Most = Most {
    jobs: 1_000,
    bytes: 8 << 20,
};

/// Of one load in bulk: what a slow server stores well within the time of a
/// statement.
const LOAD: Most = Most {
    jobs: 20_000,
    bytes: 64 << 20,
};

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
///
/// One round trip for up to 1,000 jobs (of 8 MiB together). More are loaded in
/// bulk first: five round trips, during the last of which alone locks are held.
/// Past 20,000 (or 64 MiB) they are several loads of one transaction, and where a
/// payload is longer than the driver loads, several statements of one.
pub(crate) async fn enqueue(store: &Arc<Store>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let operation = Operation::Enqueue;
    let failed = |failure: Failure| failure.into_error(operation);
    let names = queue_names(jobs);
    let numbers = store.queues(operation, &names).await?;
    let queues: HashMap<_, _> = names.iter().zip(numbers).collect();
    let number = |name: &QueueName| queues.get(name).copied().unwrap_or_default();
    let parts = steps_of(jobs);
    let steps = parts.iter().map(|part| step(part, number));
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

/// A call's jobs in parts of one step each.
fn steps_of(jobs: &[NewJob]) -> Vec<&[NewJob]> {
    let whole = |part: &[NewJob]| is_small(part) || part.iter().all(load::takes);
    let part = |part| match whole(part) {
        true => vec![part],
        false => parts(part, STATEMENT),
    };
    parts(jobs, LOAD).into_iter().flat_map(part).collect()
}

/// Whether one statement takes these jobs, which name each id once.
fn is_small(part: &[NewJob]) -> bool {
    let bytes = || {
        part.iter()
            .map(|job| job.payload.as_str().len())
            .sum::<usize>()
    };
    part.len() <= 1 || (part.len() <= STATEMENT.jobs && bytes() <= STATEMENT.bytes)
}

/// How a part is stored.
fn step<'a>(part: &'a [NewJob], queue: impl Fn(&QueueName) -> i32) -> Result<Step<'a>, Failure> {
    if is_small(part) {
        return Ok(Step::new(Statement::Enqueue, enqueue_args(part, queue)?));
    }
    let rows = part.iter().map(|job| New::of(job, queue(&job.queue)));
    let loading = Loading::new(rows.collect::<Result<_, _>>()?);
    Ok(Step::new(Statement::EnqueueMany, args!(taken())).after(loading))
}

/// A call's jobs in parts of one statement each, which name each id once. Parts
/// act in order, as items of a call do.
pub(crate) fn parts(jobs: &[NewJob], most: Most) -> Vec<&[NewJob]> {
    let (mut parts, mut begin, mut bytes) = (Vec::new(), 0, 0);
    let mut known = HashSet::with_capacity(jobs.len().min(most.jobs));
    for (at, job) in jobs.iter().enumerate() {
        bytes += job.payload.as_str().len();
        let full = at > begin && (at - begin >= most.jobs || bytes > most.bytes);
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

/// What names a call, for what it takes: see `enqueue.sql`.
fn taken() -> i64 {
    fastrand::i64(..)
}

/// A new job in the words of its columns.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) id: JobId,
    pub(crate) line: i32,
    pub(crate) max_attempts: u32,
    pub(crate) keyed: bool,
    pub(crate) delay: Option<i64>,
    pub(crate) at: Option<i64>,
    pub(crate) period: Option<i64>,
    pub(crate) kind: &'a str,
    pub(crate) backoff: Option<String>,
    pub(crate) unique_key: Option<&'a str>,
    pub(crate) unique_policy: Option<String>,
    pub(crate) trace: Option<&'a str>,
    pub(crate) tags: Option<String>,
    pub(crate) payload: &'a str,
}

impl<'a> New<'a> {
    fn of(job: &'a NewJob, queue: i32) -> Result<Self, Failure> {
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
        Ok(Self {
            id: job.id,
            line: queue * 4 + 3 - i32::from(job.priority.as_u8()),
            max_attempts: job.retry.max_attempts,
            keyed: policy == Some(UniquePolicy::WhileUnfinished),
            delay,
            at,
            period,
            kind: job.kind.as_str(),
            backoff: job.retry.backoff.to_stored(),
            unique_key: unique.map(|unique| unique.key.as_str()),
            unique_policy: policy.map(|policy| rows::to_json(&policy)).transpose()?,
            trace: job.trace.as_ref().map(|trace| trace.as_str()),
            tags: tags.transpose()?,
            payload: job.payload.as_str(),
        })
    }
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
    let mut rows = Vec::with_capacity(part.len());
    let mut long = Pieces::default();
    for (place, job) in part.iter().enumerate() {
        labels.extend(job.tags.iter().map(|tag| (place, tag.as_str())));
        let new = New::of(job, queue(&job.queue))?;
        rows.push(NewRow(
            place,
            text(new.id),
            new.line,
            new.max_attempts,
            new.keyed,
            new.delay,
            new.at,
            new.period,
            new.kind,
            new.backoff,
            new.unique_key,
            new.unique_policy,
            new.trace,
            new.tags,
            long.text(place, new.payload),
        ));
    }
    Ok(args!(json(&rows)?, json(&labels)?, taken(), long.json()?))
}
