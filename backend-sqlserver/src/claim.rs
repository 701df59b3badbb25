//! Who gets which job.

use std::collections::HashMap;
use std::sync::Arc;

use anyqueue_core::{ClaimRequest, ClaimedJob, Error, Operation, QueueName, Timestamp, Token};
use tiberius::Row;

use crate::args::{args, json};
use crate::chores;
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::{Results, Store};
use crate::wake::Changes;

/// How many rounds of expired leases a claim ends at most before it takes what
/// is there.
const ROUNDS: usize = 16;

/// How many leases one round ends at most.
const EXPIRED: u32 = 1_000;

/// Takes jobs; the law is [`Backend::claim`](anyqueue_core::Backend).
///
/// One round trip, unless a lease has run out: then that is ended first, and the
/// claim made again.
pub(crate) async fn claim(
    store: &Arc<Store>,
    request: &ClaimRequest,
) -> Result<Vec<ClaimedJob>, Error> {
    let operation = Operation::Claim;
    let failed = |failure: Failure| failure.into_error(operation);
    let lines = Lines::find(store, operation, &request.queues).await?;
    if lines.numbers.is_empty() {
        return Ok(Vec::new());
    }
    let worker = store.worker(&request.worker).await?;
    let order: Vec<_> = (1..).zip(&lines.numbers).collect::<Vec<(i32, &i32)>>();
    let order = json(&order).map_err(failed)?;
    let attempt = async |look: bool| {
        let limit = i32::try_from(request.limit).unwrap_or(i32::MAX);
        let lease = rows::span(request.lease);
        let args = args!(order.as_str(), limit, lease, worker, look);
        store.write(operation, Statement::Claim, args).await
    };
    let mut found = attempt(true).await?;
    if has_expired(&found).map_err(failed)? {
        for _ in 0..ROUNDS {
            if !chores::expire(store, operation, EXPIRED).await?.more {
                break;
            }
        }
        found = attempt(false).await?;
    }
    let mut changes = Changes::default();
    let jobs = read(&found, request, &lines, &mut changes).map_err(failed)?;
    store.tell(&changes);
    if jobs.is_empty() {
        store.claimed_in_vain(&request.queues);
    }
    Ok(jobs)
}

fn has_expired(found: &Results) -> Result<bool, Failure> {
    let told = found.first().and_then(|rows| rows.first());
    told.map_or(Ok(false), |row| rows::flag(row, 1))
}

fn read(
    found: &Results,
    request: &ClaimRequest,
    lines: &Lines,
    changes: &mut Changes,
) -> Result<Vec<ClaimedJob>, Failure> {
    let now = found.first().and_then(|rows| rows.first());
    let now = now.map_or(Ok(0), |row| rows::big(row, 0))?;
    let lease_until = Timestamp::from_micros(now + rows::span(request.lease));
    let job = |row: &Row| -> Result<ClaimedJob, Failure> {
        let line = rows::int(row, 4)?;
        let queue = lines.names.get(&(line / 4)).cloned();
        Ok(ClaimedJob {
            token: Token {
                id: rows::id(row, 0)?,
                counter: rows::number(row, 1)?,
            },
            queue: queue.ok_or_else(|| Failure::corrupt("queue"))?,
            kind: rows::kind(row, 7)?,
            payload: rows::payload(row, 11)?,
            priority: rows::priority(line)?,
            attempt: rows::number(row, 2)?,
            retry: rows::retry(row, 3, 8)?,
            created_at: rows::time(row, 6)?,
            due_at: rows::time(row, 5)?,
            lease_until,
            tags: rows::tags(row, 10)?,
            trace: rows::trace(row, 9)?,
        })
    };
    let jobs = found.iter().skip(1).flatten().map(job);
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    changes.jobs.extend(jobs.iter().map(|job| job.token.id));
    changes.active |= !jobs.is_empty();
    Ok(jobs)
}

/// The lines of some queues, in the order of claims.
pub(crate) struct Lines {
    pub(crate) numbers: Vec<i32>,
    pub(crate) names: HashMap<i32, QueueName>,
}

impl Lines {
    /// Those of the queues that the store knows.
    pub(crate) async fn find(
        store: &Store,
        operation: Operation,
        queues: &[QueueName],
    ) -> Result<Self, Error> {
        let found = store.find_queues(operation, queues).await?;
        let (mut numbers, mut names) = (Vec::new(), HashMap::new());
        for (queue, name) in found.into_iter().zip(queues) {
            if let Some(queue) = queue
                && names.insert(queue, name.clone()).is_none()
            {
                numbers.extend((0..4).map(|level| queue * 4 + level));
            }
        }
        Ok(Self { numbers, names })
    }
}
