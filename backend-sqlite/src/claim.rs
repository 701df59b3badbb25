//! Who gets which job.

use std::time::Duration;

use anyqueue_core::{ClaimRequest, ClaimedJob, QueueName, State, Token, WorkerId};
use rusqlite::params;

use crate::chores;
use crate::error::Failure;
use crate::rows;
use crate::tx::{Held, Tx};

/// How many expired and how many due jobs of a queue a claim moves at most,
/// before it takes the first ready ones. It bounds the transaction; order is
/// relaxed only among more jobs than this that became due since the last look.
const MOVES: u32 = 1_000;

/// How much payload a claim takes from a queue before it stops short of its
/// limit, so that it does not hold the file's lock for long.
const BYTES: usize = 64 * 1024 * 1024;

/// How long a worker's row is good without being refreshed; far less than
/// what [`chores`] keeps it for.
const FRESH: Duration = Duration::from_secs(3_600);

/// Takes jobs; the law is [`Backend::claim`](anyqueue_core::Backend).
pub(crate) fn claim(tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Failure> {
    let limit = request.limit as usize;
    let mut claimed = Vec::new();
    for name in &request.queues {
        if claimed.len() >= limit {
            break;
        }
        let Some(queue) = tx.find_queue(name)? else {
            continue;
        };
        let paused: bool = tx
            .sql(include_str!("sql/queue_paused.sql"))?
            .query_row([queue], |row| row.get(0))?;
        if paused {
            continue;
        }
        chores::end_expired(tx, queue, MOVES)?;
        chores::promote(tx, queue, MOVES)?;
        take(tx, queue, name, request, &mut claimed)?;
    }
    Ok(claimed)
}

/// Takes the first ready jobs of a queue, up to the request's limit.
fn take(
    tx: &mut Tx<'_>,
    queue: i64,
    name: &QueueName,
    request: &ClaimRequest,
    claimed: &mut Vec<ClaimedJob>,
) -> Result<(), Failure> {
    let first = claimed.len();
    let mut found = Vec::new();
    let lease_until = tx.now.after(request.lease);
    {
        let mut ready = tx.sql(include_str!("sql/ready_find.sql"))?;
        let mut ready = ready.query(params![queue, request.limit as usize - first])?;
        let mut bytes = 0;
        while bytes < BYTES
            && let Some(row) = ready.next()?
        {
            let payload = rows::payload(row, 13)?;
            bytes += payload.as_str().len();
            let (id, counter) = (rows::id(row, 1)?, row.get::<_, u64>(2)?);
            let held = Held {
                seq: row.get(0)?,
                queue,
                keyed: row.get(7)?,
            };
            found.push((held, counter));
            claimed.push(ClaimedJob {
                token: Token {
                    id,
                    counter: counter + 1,
                },
                queue: name.clone(),
                kind: tx.cache.kind(rows::text(row, 9)?)?,
                payload,
                priority: rows::priority(row, 5)?,
                attempt: row.get::<_, u32>(3)?.saturating_add(1),
                retry: rows::retry(row, 4, 10)?,
                created_at: rows::time(row, 8)?,
                due_at: rows::time(row, 6)?,
                lease_until,
                tags: rows::tags(row, 12)?,
                trace: rows::trace(row, 11)?,
            });
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let worker = worker(tx, &request.worker)?;
    let mut claim = tx.sql(include_str!("sql/claim.sql"))?;
    for ((held, counter), job) in found.into_iter().zip(&claimed[first..]) {
        claim.execute(params![
            held.seq,
            worker,
            tx.now.as_micros(),
            lease_until.as_micros()
        ])?;
        if counter > 0 {
            tx.sql(include_str!("sql/progress_clear.sql"))?
                .execute([held.seq])?;
        }
        tx.cache.hold(job.token.id, held);
        tx.count_move(queue, State::Ready, State::Running);
        tx.changed(job.token.id, queue, State::Running)?;
    }
    Ok(())
}

/// The number of a worker.
fn worker(tx: &mut Tx<'_>, name: &WorkerId) -> Result<i64, Failure> {
    if let Some((worker, seen)) = tx.cache.workers.get(name)
        && tx.now.since(*seen) < FRESH
    {
        return Ok(*worker);
    }
    let worker = tx
        .sql(include_str!("sql/worker_seen.sql"))?
        .query_row(params![name.as_str(), tx.now.as_micros()], |row| row.get(0))?;
    tx.cache.know_worker(name, worker, tx.now);
    Ok(worker)
}
