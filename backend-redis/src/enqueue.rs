//! How a job comes in.

use std::collections::HashSet;

use anyqueue_core::{Enqueued, NewJob, Priority, QueueName, Schedule, UniquePolicy};

use crate::error::Failure;
use crate::script::{ENQUEUE, ENQUEUE_PLAIN};
use crate::store::{Shard, Store, by_shard, cut, in_parts};
use crate::wire::{Body, Reader, Writer, micros};

/// The most jobs and payload bytes of one script, so that none holds the
/// server up for long.
const MOST: usize = 5_000;
const BYTES: usize = 8 * 1024 * 1024;

/// The flags of an item; the first two are stored with the job.
const KEYED: u64 = 2;
const EXTRA: u64 = 4;
const UNIQUE: u64 = 128;

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
///
/// The jobs of one shard (in all common cases: of one queue) are stored by one
/// script up to [`MOST`] jobs or [`BYTES`] bytes, all or none.
pub(crate) async fn enqueue(store: &Store, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Failure> {
    let shards = by_shard(jobs, |job| Shard::of_job(job.id));
    let parts = cut(shards, MOST, BYTES, |job: &NewJob| {
        job.payload.as_str().len()
    });
    in_parts(parts, jobs.len(), |shard, jobs| part(store, shard, jobs)).await
}

async fn part(store: &Store, shard: Shard, jobs: Vec<&NewJob>) -> Result<Vec<Enqueued>, Failure> {
    let mut ids = HashSet::with_capacity(jobs.len());
    if jobs.iter().all(|job| is_plain(job) && ids.insert(job.id)) {
        return part_plain(store, shard, &jobs).await;
    }
    let arguments = arguments(&jobs)?;
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let answer = store.run_registered(shard, &ENQUEUE, &arguments).await?;
    answers(&jobs, &answer)
}

/// Whether `enqueue_plain.lua` can store it.
fn is_plain(job: &NewJob) -> bool {
    job.schedule == Schedule::Now && job.unique.is_none() && job.tags.is_empty()
}

async fn part_plain(
    store: &Store,
    shard: Shard,
    jobs: &[&NewJob],
) -> Result<Vec<Enqueued>, Failure> {
    // By queue and priority, in the order of the items within.
    let mut groups: Vec<(&QueueName, Priority, Vec<&NewJob>)> = Vec::new();
    for &job in jobs {
        let group = groups
            .iter_mut()
            .find(|(queue, priority, _)| *priority == job.priority && **queue == job.queue);
        match group {
            Some((_, _, group)) => group.push(job),
            None => groups.push((&job.queue, job.priority, vec![job])),
        }
    }
    let mut heads = vec![groups.len().to_string().into_bytes()];
    let bytes: usize = jobs.iter().map(|job| job.payload.as_str().len() + 64).sum();
    let (mut bodies, mut ends) = (Writer(Vec::with_capacity(bytes)), Vec::new());
    for (queue, priority, group) in &groups {
        heads.push(queue.as_str().as_bytes().to_vec());
        heads.push(priority.as_u8().to_string().into_bytes());
        heads.push(group.len().to_string().into_bytes());
        for job in group {
            bodies.uint(u64::from(priority.as_u8()), 1);
            bodies.uint(0, 1);
            bodies.uint(u64::from(job.retry.max_attempts), 4);
            Body::write(job, &mut bodies)?;
            ends.push(bodies.0.len());
        }
    }
    let mut arguments: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
    let in_order = groups.iter().flat_map(|(_, _, group)| group);
    arguments.extend(in_order.map(|job| &job.id.as_bytes()[..]));
    let mut start = 0;
    for end in ends {
        arguments.push(&bodies.0[start..end]);
        start = end;
    }
    store
        .run_registered(shard, &ENQUEUE_PLAIN, &arguments)
        .await?;
    Ok(jobs.iter().map(|job| Enqueued::Created(job.id)).collect())
}

/// The arguments of `enqueue.lua` behind the first.
pub(crate) fn arguments(jobs: &[&NewJob]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut ids = HashSet::with_capacity(jobs.len());
    let twice = !jobs.iter().all(|job| ids.insert(job.id));
    let mut queues: Vec<&QueueName> = Vec::new();
    let bytes: usize = jobs
        .iter()
        .map(|job| job.payload.as_str().len() + 128)
        .sum();
    let mut items = Writer(Vec::with_capacity(bytes));
    for job in jobs {
        let queue = match queues.iter().position(|queue| **queue == job.queue) {
            Some(queue) => queue,
            None => {
                queues.push(&job.queue);
                queues.len() - 1
            }
        };
        item(job, queue, &mut items)?;
    }
    let mut arguments = vec![if twice { b"twice".to_vec() } else { Vec::new() }, items.0];
    arguments.extend(
        queues
            .iter()
            .map(|queue| queue.as_str().as_bytes().to_vec()),
    );
    Ok(arguments)
}

/// Packs a job, as `ITEM` of `enqueue.lua`.
fn item(job: &NewJob, queue: usize, to: &mut Writer) -> Result<(), Failure> {
    let extra = extra(job);
    let (mut flags, mut period) = (0, 0);
    if let Some(unique) = &job.unique {
        flags |= UNIQUE;
        match unique.policy {
            UniquePolicy::WhileUnfinished => flags |= KEYED,
            // One that is over at once holds the key for a moment.
            UniquePolicy::ForPeriod(span) => period = micros(span).max(1),
        }
    }
    if !extra.is_empty() {
        flags |= EXTRA;
    }
    let (kind, value) = match job.schedule {
        Schedule::Now => (0, 0),
        Schedule::After(delay) => (1, micros(delay)),
        Schedule::At(time) => {
            let micros = u64::try_from(time.as_micros()).unwrap_or(0);
            (2, micros.min((1 << 53) - 1))
        }
    };
    to.id(job.id);
    to.uint(queue as u64, 2);
    to.uint(u64::from(job.priority.as_u8()), 1);
    to.uint(flags, 1);
    to.uint(kind, 1);
    to.uint(value, 7);
    to.uint(period, 7);
    to.uint(u64::from(job.retry.max_attempts), 4);
    to.uint(extra.len() as u64, 2);
    let length = to.0.len();
    to.uint(0, 4);
    to.bytes(&extra);
    let start = to.0.len();
    Body::write(job, to)?;
    // A part is far below 4 GiB, or one job that `write` has measured.
    let body = (to.0.len() - start) as u32;
    to.0[length..length + 4].copy_from_slice(&body.to_be_bytes());
    Ok(())
}

/// What scripts must know of a job's key and labels.
fn extra(job: &NewJob) -> Vec<u8> {
    if job.unique.is_none() && job.tags.is_empty() {
        return Vec::new();
    }
    let mut extra = Writer::default();
    let key = job.unique.as_ref().map_or("", |unique| unique.key.as_str());
    extra.text(key, 2);
    extra.uint(job.tags.len() as u64, 1);
    for tag in &job.tags {
        extra.text(tag.as_str(), 1);
    }
    extra.0
}

pub(crate) fn answers(jobs: &[&NewJob], answer: &[u8]) -> Result<Vec<Enqueued>, Failure> {
    let mut answer = Reader(answer);
    let one = |job: &&NewJob| {
        Ok(match answer.byte()? {
            b'C' => Enqueued::Created(job.id),
            _ => Enqueued::Existing(answer.id()?),
        })
    };
    jobs.iter().map(one).collect()
}
