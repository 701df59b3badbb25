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
        let (statement, args) = match batch.args_alike() {
            Some(args) => (Statement::EnqueueAlike, args),
            None => (Statement::Enqueue, batch.args()?),
        };
        match store.try_write(statement, args).await {
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

/// How many of the latest templates a job is compared with.
const COMPARED: usize = 8;

/// Jobs as a statement takes them: sorted by id.
pub(crate) struct Batch<'a> {
    all: &'a [NewJob],
    jobs: Vec<Item<'a>>,
    /// What jobs have in common, shown by the first of them, and its queue's
    /// number.
    templates: Vec<(&'a NewJob, i32)>,
    /// Whether any has a unique key.
    pub(crate) keyed: bool,
}

struct Item<'a> {
    job: &'a NewJob,
    /// Its place in the call, from 1.
    place: i32,
    /// The place of its template, from 1.
    template: i32,
}

impl<'a> Batch<'a> {
    /// A part of a call, which names each id once.
    pub(crate) fn new(all: &'a [NewJob], queue: impl Fn(&QueueName) -> i32) -> Self {
        let number = |place| i32::try_from(place).unwrap_or(i32::MAX);
        let mut templates: Vec<(&NewJob, i32)> = Vec::new();
        let mut jobs = Vec::with_capacity(all.len());
        for (place, job) in all.iter().enumerate() {
            let latest = templates.len().saturating_sub(COMPARED);
            let known = templates[latest..]
                .iter()
                .rposition(|(other, _)| alike(job, other));
            let template = known.map_or(templates.len(), |at| latest + at);
            if template == templates.len() {
                templates.push((job, queue(&job.queue)));
            }
            jobs.push(Item {
                job,
                place: number(place + 1),
                template: number(template + 1),
            });
        }
        jobs.sort_unstable_by_key(|item| item.job.id);
        let keyed = all.iter().any(|job| job.unique.is_some());
        Self {
            all,
            jobs,
            templates,
            keyed,
        }
    }

    /// A value of each job.
    fn column<T>(&self, value: impl Fn(&'a NewJob) -> T) -> Vec<T> {
        self.jobs.iter().map(|item| value(item.job)).collect()
    }

    /// A value of each template.
    fn common<T>(&self, value: impl Fn(&'a NewJob) -> T) -> Vec<T> {
        self.templates.iter().map(|(job, _)| value(job)).collect()
    }

    /// The parameters of `enqueue_alike.sql`, where that can store the jobs.
    fn args_alike(&self) -> Option<PgArguments> {
        let [(common, queue)] = self.templates.as_slice() else {
            return None;
        };
        let delay = delay(common)?;
        if self.keyed || !common.tags.is_empty() {
            return None;
        }
        Some(args!(
            self.column(|job| Uuid::from(job.id)),
            self.column(|job| job.payload.as_str()),
            self.column(size),
            self.jobs.iter().map(|item| item.place).collect::<Vec<_>>(),
            unless_empty(self.column(|job| job.trace.as_ref().map(|trace| trace.as_str()))),
            *queue,
            max_attempts(common),
            i16::from(common.priority.as_u8()),
            common.kind.as_str(),
            common.retry.backoff.to_stored(),
            delay,
        ))
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
        let policies: Vec<_> = self.common(policy).into_iter().collect::<Result<_, _>>()?;
        let all_tags: Vec<_> = self.common(tags).into_iter().collect::<Result<_, _>>()?;
        let at = |job: &NewJob| match job.schedule {
            Schedule::At(time) => Some(time.as_micros()),
            _ => None,
        };
        let mut labels: Vec<(&str, Uuid)> = Vec::new();
        for Item { job, .. } in &self.jobs {
            labels.extend(job.tags.iter().map(|tag| (tag.as_str(), job.id.into())));
        }
        labels.sort_unstable();
        let (labels, labelled): (Vec<_>, Vec<_>) = labels.into_iter().unzip();
        let places: Vec<i32> = self.jobs.iter().map(|item| item.place).collect();
        let templates = self.jobs.iter().map(|item| item.template);
        Ok(args!(
            self.column(|job| Uuid::from(job.id)),
            self.column(|job| job.payload.as_str()),
            (self.templates.len() > 1).then(|| templates.collect::<Vec<_>>()),
            (!places.is_sorted()).then_some(places),
            unless_empty(self.column(|job| job.unique.as_ref().map(|unique| unique.key.as_str()))),
            unless_empty(self.column(|job| job.trace.as_ref().map(|trace| trace.as_str()))),
            unless_empty(self.column(at)),
            self.templates
                .iter()
                .map(|(_, queue)| *queue)
                .collect::<Vec<_>>(),
            self.common(|job| i16::from(job.priority.as_u8())),
            self.common(max_attempts),
            self.common(|job| {
                let policy = job.unique.as_ref().map(|unique| unique.policy);
                policy == Some(UniquePolicy::WhileUnfinished)
            }),
            self.common(|job| job.kind.as_str()),
            self.common(|job| job.retry.backoff.to_stored()),
            policies,
            all_tags,
            self.common(delay),
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
        args::add(&mut args, self.common(period));
        Ok(args)
    }
}

/// How long after its enqueue a job is due, in microseconds; `None` where it names the
/// moment.
fn delay(job: &NewJob) -> Option<i64> {
    match job.schedule {
        Schedule::Now => Some(0),
        Schedule::After(delay) => Some(rows::span(delay)),
        Schedule::At(_) => None,
    }
}

fn max_attempts(job: &NewJob) -> i32 {
    i32::try_from(job.retry.max_attempts).unwrap_or(i32::MAX)
}

/// The bytes of its payload.
fn size(job: &NewJob) -> i32 {
    i32::try_from(job.payload.as_str().len()).unwrap_or(i32::MAX)
}

/// Whether two jobs differ only in what is given for each: id, payload, unique
/// key, trace and moment.
fn alike(a: &NewJob, b: &NewJob) -> bool {
    let policy = |job: &NewJob| job.unique.as_ref().map(|unique| unique.policy);
    let delayed = match (a.schedule, b.schedule) {
        (Schedule::At(_), Schedule::At(_)) => true,
        (a, b) => a == b,
    };
    delayed
        && a.kind == b.kind
        && a.queue == b.queue
        && a.priority == b.priority
        && a.retry == b.retry
        && policy(a) == policy(b)
        && a.tags == b.tags
}

/// A column, or NULL in its place where all its values are NULL, as most are:
/// `unnest` fills a missing column up.
fn unless_empty<T>(column: Vec<Option<T>>) -> Option<Vec<Option<T>>> {
    Some(column).filter(|column| column.iter().any(Option::is_some))
}
