//! What can be seen.

use std::collections::HashMap;
use std::sync::Arc;

use anyqueue_core::{
    Cursor, Error, ErrorKind, Filter, Flow, JobId, JobRecord, Listing, Operation, Page,
    QueueCounts, QueueInfo, QueueName, State, StateCounts, Timestamp,
};
use tiberius::Row;

use crate::args::{Param, args, ids as id_rows, json, text};
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::Store;

/// How many jobs one statement reads.
const MOST: usize = 1_000;

/// Above every id that a client makes.
const LAST: JobId = JobId::from_bytes([0xff; 16]);

/// Each id's record, or `None`. One round trip for up to 1,000 jobs.
pub(crate) async fn get(
    store: &Arc<Store>,
    operation: Operation,
    ids: &[JobId],
) -> Result<Vec<Option<JobRecord>>, Error> {
    let failed = |failure: Failure| failure.into_error(operation);
    let mut records: HashMap<JobId, JobRecord> = HashMap::new();
    for part in ids.chunks(MOST) {
        let args = args!(id_rows(part).map_err(failed)?);
        let found = store.read(operation, Statement::Get, args).await?;
        for row in found.iter().flatten() {
            let record = rows::record(row).map_err(failed)?;
            records.insert(record.id, record);
        }
    }
    Ok(ids.iter().map(|id| records.get(id).cloned()).collect())
}

/// A page of the jobs that match, highest id first.
///
/// One of three ways, whichever reads less: along the label's index; all jobs
/// of the asked states, where they are few; along all ids.
pub(crate) async fn list(
    store: &Arc<Store>,
    filter: &Filter,
    page: &Page,
) -> Result<Listing, Error> {
    let operation = Operation::List;
    let failed = |failure: Failure| failure.into_error(operation);
    let limit = page.limit.clamp(1, Page::MAX_LIMIT) as usize;
    let queues = queues_with_counts(store, operation).await?;
    let queue = match &filter.queue {
        None => None,
        Some(name) => match queues.iter().find(|queue| queue.name == *name) {
            Some(queue) => Some(queue.number),
            None => return Ok(Listing::default()),
        },
    };
    let asked = |state: &State| filter.states.is_empty() || filter.states.contains(state);
    let states: Vec<State> = State::ALL.into_iter().filter(asked).collect();
    let mask: i64 = states.iter().map(|state| 1 << state.as_u8()).sum();
    let mut args = args!(
        text(page.after.map_or(LAST, Cursor::id)),
        // One more than the page holds tells whether another follows.
        i64::try_from(limit + 1).unwrap_or(i64::MAX),
        // No kind is empty.
        filter.kind.as_ref().map_or("", |kind| kind.as_str()),
        filter.created_from.map(Timestamp::as_micros),
        filter.created_before.map(Timestamp::as_micros),
        queue.map(i64::from),
        mask,
    );
    let statement = if let Some((first, others)) = filter.tags.split_first() {
        let others: Vec<_> = others.iter().map(|tag| [tag.as_str()]).collect();
        args.push(Param::from(first.as_str()));
        args.push(Param::from(json(&others).map_err(failed)?));
        Statement::ListTagged
    } else {
        let count = |queue: &Queue| -> u64 {
            let counts = states.iter().map(|state| queue.counts.get(*state));
            counts.sum()
        };
        let of_queue = |counted: &&Queue| queue.is_none_or(|queue| queue == counted.number);
        let matching: u64 = queues.iter().filter(of_queue).map(count).sum();
        let touched: u64 = queues.iter().map(count).sum();
        let all: u64 = queues.iter().map(|queue| queue.counts.total()).sum();
        // Along all ids, about `all / matching` are read for each that matches.
        match touched.saturating_mul(matching) < all.saturating_mul(limit as u64) {
            true => Statement::ListFew,
            false => Statement::ListAll,
        }
    };
    let found = store.read(operation, statement, args).await?;
    let ids = found.iter().flatten().map(|row| rows::id(row, 0));
    let mut ids = ids.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let last = ids.last().copied().filter(|_| more);
    // What has changed since it was found may match no more.
    let jobs = get(store, operation, &ids).await?.into_iter().flatten();
    Ok(Listing {
        jobs: jobs.filter(|job| filter.matches(job)).collect(),
        next: last.map(Cursor::behind),
    })
}

/// The jobs of each queue by state.
pub(crate) async fn counts(store: &Arc<Store>) -> Result<Vec<QueueCounts>, Error> {
    let queues = queues_with_counts(store, Operation::Counts).await?;
    let counted = queues.into_iter().filter(|queue| queue.counts.total() > 0);
    Ok(counted
        .map(|Queue { name, counts, .. }| QueueCounts {
            queue: name,
            counts,
        })
        .collect())
}

/// The queues that hold a job or are paused.
pub(crate) async fn queues(store: &Arc<Store>) -> Result<Vec<QueueInfo>, Error> {
    let queues = queues_with_counts(store, Operation::Queues).await?;
    let known = queues
        .into_iter()
        .filter(|queue| queue.flow == Flow::Paused || queue.counts.total() > 0);
    Ok(known
        .map(|Queue { name, flow, .. }| QueueInfo { name, flow })
        .collect())
}

struct Queue {
    name: QueueName,
    number: i32,
    flow: Flow,
    counts: StateCounts,
}

async fn queues_with_counts(store: &Arc<Store>, operation: Operation) -> Result<Vec<Queue>, Error> {
    let failed = |failure: Failure| failure.into_error(operation);
    let args = args!(store.config.schema.lock("counts"));
    let found = store.read(operation, Statement::Queues, args).await?;
    let locked = found.first().and_then(|rows| rows.first());
    if locked.is_none_or(|row| rows::int(row, 0).is_ok_and(|code| code < 0)) {
        let message = "the lock of the counts was not given in time";
        return Err(failed(Failure::new(ErrorKind::Conflict, message)));
    }
    let read = |row: &Row| -> Result<Queue, Failure> {
        let mut counts = StateCounts::default();
        for (at, state) in State::ALL.into_iter().enumerate() {
            *counts.get_mut(state) = u64::try_from(rows::big(row, 3 + at)?).unwrap_or(0);
        }
        let flow = match rows::flag(row, 2)? {
            true => Flow::Paused,
            false => Flow::Open,
        };
        Ok(Queue {
            name: rows::queue_name(row, 1)?,
            number: rows::int(row, 0)?,
            flow,
            counts,
        })
    };
    let queues = found.iter().skip(1).flatten().map(read);
    let mut queues = queues.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(queues)
}
