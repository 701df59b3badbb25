//! How a job comes in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyqueue_core::{Enqueued, Error, NewJob, Operation, QueueName, Schedule, UniquePolicy};
use sqlx::postgres::{PgArguments, PgRow};
use uuid::Uuid;

use crate::args::{self, args};
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::Store;
use crate::wake::{Changes, queue_hash};

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
///
/// One statement. Ids that are known are rare (a repeated call), so without
/// unique keys the first try does not look for them: it fails as a whole, and a
/// second one looks.
pub(crate) async fn enqueue(store: &Arc<Store>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let operation = Operation::Enqueue;
    let failed = |failure: Failure| failure.into_error(operation);
    let names = queue_names(jobs);
    let numbers = store.queues(operation, &names).await?;
    let queues: HashMap<_, _> = names.iter().zip(numbers).collect();
    let number = |name: &QueueName| queues.get(name).copied().unwrap_or_default();
    let parts = parts(jobs);
    let answers = if let [part] = parts.as_slice() {
        one(store, &Batch::new(part, number))
            .await
            .map_err(failed)?
    } else {
        let args = |part: &&[NewJob]| {
            Ok((
                Statement::EnqueueKnown,
                Batch::new(part, number).args_known()?,
            ))
        };
        let steps = parts
            .iter()
            .map(args)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let found = store.transaction(operation, steps).await?;
        let parts = parts.iter().zip(found);
        let answers = parts
            .map(|(part, rows)| answers(part, &rows))
            .collect::<Result<Vec<_>, _>>();
        answers.map_err(failed)?.concat()
    };
    store.tell(Changes {
        queues: names.iter().map(queue_hash).collect(),
        ..Changes::default()
    });
    Ok(answers)
}

async fn one(store: &Arc<Store>, batch: &Batch<'_>) -> Result<Vec<Enqueued>, Failure> {
    if !batch.keyed {
        match store.try_write(Statement::Enqueue, batch.args()?).await {
            Ok(_) => return answers(batch.all, &[]),
            Err(failure) if failure.taken => {}
            Err(failure) => return Err(failure),
        }
    }
    let rows = store
        .try_write(Statement::EnqueueKnown, batch.args_known()?)
        .await?;
    answers(batch.all, &rows)
}

/// A call's jobs in parts that name each id once: nearly always one. Parts act
/// in order, as items of a call do.
pub(crate) fn parts(jobs: &[NewJob]) -> Vec<&[NewJob]> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let mut known = HashSet::with_capacity(jobs.len());
    for (at, job) in jobs.iter().enumerate() {
        if !known.insert(job.id) {
            parts.push(&jobs[begin..at]);
            begin = at;
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

/// The answers to a part, by the rows of `enqueue_known.sql`: who holds the keys
/// of the jobs that were not stored for that.
pub(crate) fn answers(part: &[NewJob], rows: &[PgRow]) -> Result<Vec<Enqueued>, Failure> {
    let pair = |row: &PgRow| Ok((rows::id(row, 0)?, rows::id(row, 1)?));
    let held = rows
        .iter()
        .map(pair)
        .collect::<Result<HashMap<_, _>, Failure>>()?;
    let answer = |job: &NewJob| match held.get(&job.id) {
        Some(holder) => Enqueued::Existing(*holder),
        None => Enqueued::Created(job.id),
    };
    Ok(part.iter().map(answer).collect())
}

/// Jobs as a statement takes them: sorted by id.
pub(crate) struct Batch<'a> {
    all: &'a [NewJob],
    /// Place in the call, queue's number, job.
    jobs: Vec<(i32, i32, &'a NewJob)>,
    /// Whether any has a unique key.
    pub(crate) keyed: bool,
}

impl<'a> Batch<'a> {
    /// A part of a call, which names each id once.
    pub(crate) fn new(all: &'a [NewJob], queue: impl Fn(&QueueName) -> i32) -> Self {
        let place = |place| i32::try_from(place).unwrap_or(i32::MAX);
        let jobs = all.iter().enumerate();
        let mut jobs: Vec<_> = jobs
            .map(|(n, job)| (place(n), queue(&job.queue), job))
            .collect();
        jobs.sort_unstable_by_key(|(_, _, job)| job.id);
        let keyed = all.iter().any(|job| job.unique.is_some());
        Self { all, jobs, keyed }
    }

    fn column<T>(&self, value: impl Fn(&'a NewJob) -> T) -> Vec<T> {
        self.jobs.iter().map(|(_, _, job)| value(job)).collect()
    }

    fn texts(
        &self,
        value: impl Fn(&NewJob) -> Result<Option<String>, Failure>,
    ) -> Result<Vec<Option<String>>, Failure> {
        self.jobs.iter().map(|(_, _, job)| value(job)).collect()
    }

    /// The parameters of `enqueue.sql`.
    pub(crate) fn args(&self) -> Result<PgArguments, Failure> {
        let policy = |job: &NewJob| {
            let policy = job
                .unique
                .as_ref()
                .map(|unique| rows::to_json(&unique.policy));
            policy.transpose()
        };
        let tags = |job: &NewJob| match job.tags.is_empty() {
            true => Ok(None),
            false => rows::to_json(&job.tags).map(Some),
        };
        let delay = |job: &NewJob| match job.schedule {
            Schedule::Now => Some(0),
            Schedule::After(delay) => Some(rows::span(delay)),
            Schedule::At(_) => None,
        };
        let at = |job: &NewJob| match job.schedule {
            Schedule::At(time) => Some(time.as_micros()),
            _ => None,
        };
        let attempts = |job: &NewJob| i32::try_from(job.retry.max_attempts).unwrap_or(i32::MAX);
        let mut labels: Vec<(&str, Uuid)> = Vec::new();
        for (_, _, job) in &self.jobs {
            labels.extend(job.tags.iter().map(|tag| (tag.as_str(), job.id.into())));
        }
        labels.sort_unstable();
        let (labels, labelled): (Vec<_>, Vec<_>) = labels.into_iter().unzip();
        Ok(args!(
            self.column(|job| Uuid::from(job.id)),
            self.jobs
                .iter()
                .map(|(_, queue, _)| *queue)
                .collect::<Vec<_>>(),
            self.jobs
                .iter()
                .map(|(place, _, _)| *place)
                .collect::<Vec<_>>(),
            self.column(|job| i16::from(job.priority.as_u8())),
            self.column(attempts),
            self.column(|job| {
                let policy = job.unique.as_ref().map(|unique| unique.policy);
                policy == Some(UniquePolicy::WhileUnfinished)
            }),
            self.column(|job| job.kind.as_str()),
            self.column(|job| job.retry.backoff.to_stored()),
            self.column(|job| job.unique.as_ref().map(|unique| unique.key.as_str())),
            self.texts(policy)?,
            self.column(|job| job.trace.as_ref().map(|trace| trace.as_str())),
            self.texts(tags)?,
            self.column(|job| job.payload.as_str()),
            self.column(delay),
            self.column(at),
            labels,
            labelled,
        ))
    }

    /// The parameters of `enqueue_known.sql`.
    pub(crate) fn args_known(&self) -> Result<PgArguments, Failure> {
        let mut args = self.args()?;
        let period = |job: &NewJob| match job.unique.as_ref().map(|unique| unique.policy) {
            Some(UniquePolicy::ForPeriod(period)) => Some(rows::span(period)),
            _ => None,
        };
        args::add(&mut args, fastrand::i64(..));
        args::add(&mut args, self.column(period));
        Ok(args)
    }
}
