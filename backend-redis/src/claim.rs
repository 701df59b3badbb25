//! Who gets which job.

use anyqueue_core::{ClaimRequest, ClaimedJob, Kind, QueueName, RetryPolicy, Timestamp, Token};
use redis::Value;

use crate::connection::{bytes, int, list, unexpected};
use crate::error::Failure;
use crate::script::CLAIM;
use crate::store::{Shard, Store};
use crate::wire::{Body, Moving, Reader, Writer, micros};

/// The most jobs of one script.
const MOST: usize = 1_000;

/// The most bytes of bodies of one script, and of one call.
const BYTES_A_SCRIPT: usize = 1024 * 1024;
const BYTES_A_CALL: usize = 8 * 1024 * 1024;

/// Takes jobs; the law is [`Backend::claim`](anyqueue_core::Backend). One
/// script for each queue, more where one reached a bound before the limit.
pub(crate) async fn claim(
    store: &Store,
    request: &ClaimRequest,
) -> Result<Vec<ClaimedJob>, Failure> {
    let limit = request.limit as usize;
    let (mut claimed, mut bytes) = (Vec::new(), 0);
    for queue in &request.queues {
        while claimed.len() < limit && bytes < BYTES_A_CALL {
            let left = limit - claimed.len();
            match part(store, request, queue, left.min(MOST), &mut claimed).await {
                Ok((taken, more)) => {
                    bytes += taken;
                    let cut = left > MOST && taken > 0;
                    if !(more || cut) {
                        break;
                    }
                }
                // Better what is in hand than an error: it is held already.
                Err(_) if !claimed.is_empty() => return Ok(claimed),
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(claimed)
}

async fn part(
    store: &Store,
    request: &ClaimRequest,
    queue: &QueueName,
    limit: usize,
    claimed: &mut Vec<ClaimedJob>,
) -> Result<(usize, bool), Failure> {
    let (_, inbox) = store.inbox(queue);
    let mut worker = Writer::default();
    worker.text(request.worker.as_str(), 1);
    let (limit, lease) = (limit.to_string(), micros(request.lease).to_string());
    let most = BYTES_A_SCRIPT.to_string();
    let arguments = [
        queue.as_str().as_bytes(),
        limit.as_bytes(),
        lease.as_bytes(),
        &worker.0,
        most.as_bytes(),
    ];
    let shard = Shard::of_queue(queue);
    let answer = store.run_with(shard, Some(inbox), &CLAIM, &arguments);
    let answer = answer.await?;
    let answer: [Value; 3] = list(answer)?.try_into().map_err(|_| unexpected())?;
    let [more, ends, jobs] = answer;
    let (more, ends) = (int(&more)? != 0, int(&ends)?);
    let texts = list(jobs)?.into_iter().map(bytes);
    let jobs = texts.collect::<Result<Vec<_>, _>>()?.concat();
    read(&jobs, queue, Timestamp::from_micros(ends), claimed)?;
    Ok((jobs.len(), more))
}

/// Reads the jobs of an answer.
pub(crate) fn read(
    jobs: &[u8],
    queue: &QueueName,
    lease_until: Timestamp,
    claimed: &mut Vec<ClaimedJob>,
) -> Result<(), Failure> {
    let mut from = Reader(jobs);
    let mut kind = None;
    while !from.is_empty() {
        claimed.push(job(&mut from, queue, lease_until, &mut kind)?);
    }
    Ok(())
}

fn job(
    from: &mut Reader<'_>,
    queue: &QueueName,
    lease_until: Timestamp,
    kind: &mut Option<Kind>,
) -> Result<ClaimedJob, Failure> {
    let first = from.byte()? == b'F';
    let id = from.id()?;
    let moving = if first {
        Moving::first_claim(*from)?
    } else {
        Moving::read(from)?
    };
    let body = Body::after_head(from, kind)?;
    Ok(ClaimedJob {
        token: Token {
            id,
            counter: moving.counter,
        },
        queue: queue.clone(),
        kind: body.kind,
        payload: body.payload,
        priority: moving.priority,
        attempt: moving.attempt,
        retry: RetryPolicy::new(moving.max_attempts, body.backoff),
        created_at: moving.created_at,
        due_at: moving.due_at,
        lease_until,
        tags: body.tags,
        trace: body.trace,
    })
}
