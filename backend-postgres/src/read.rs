//! What can be seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue_core::{
    Cursor, Error, Filter, Flow, JobId, JobRecord, Listing, Operation, Page, QueueCounts,
    QueueInfo, QueueName, State, StateCounts, Timestamp,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::args::{self, args};
use crate::claim::Lines;
use crate::error::Failure;
use crate::floors::Seen;
use crate::rows;
use crate::statements::Statement;
use crate::store::Store;

/// Each id's record, or `None`. One statement.
pub(crate) async fn get(
    store: &Arc<Store>,
    operation: Operation,
    ids: &[JobId],
) -> Result<Vec<Option<JobRecord>>, Error> {
    let mut asked: Vec<Uuid> = ids.iter().map(|id| (*id).into()).collect();
    asked.sort_unstable();
    asked.dedup();
    let found = store.read(operation, Statement::Get, args!(asked)).await?;
    let read = |row: &PgRow| rows::record(row).map(|record| (record.id, record));
    let records = found.iter().map(read).collect::<Result<HashMap<_, _>, _>>();
    let mut records = records.map_err(|failure| failure.into_error(operation))?;
    if ids.len() == asked_len(ids) {
        return Ok(ids.iter().map(|id| records.remove(id)).collect());
    }
    Ok(ids.iter().map(|id| records.get(id).cloned()).collect())
}

fn asked_len(ids: &[JobId]) -> usize {
    ids.iter().collect::<std::collections::HashSet<_>>().len()
}

/// A page of the jobs that match, highest id first.
///
/// One of three ways, whichever reads less: along the label's index; all jobs
/// of the asked states and queue, where they are few; along all ids.
pub(crate) async fn list(
    store: &Arc<Store>,
    filter: &Filter,
    page: &Page,
) -> Result<Listing, Error> {
    let operation = Operation::List;
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
    let mut args = args!(
        page.after.map(|cursor| Uuid::from(cursor.id())),
        // One more than the page holds tells whether another follows.
        i64::try_from(limit + 1).unwrap_or(i64::MAX),
        filter.kind.as_ref().map(|kind| kind.as_str()),
        filter.created_from.map(Timestamp::as_micros),
        filter.created_before.map(Timestamp::as_micros),
        queue,
        states
            .iter()
            .map(|state| i16::from(state.as_u8()))
            .collect::<Vec<_>>(),
    );
    let statement = if let Some((first, others)) = filter.tags.split_first() {
        args::add(&mut args, first.as_str());
        args::add(
            &mut args,
            others.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(),
        );
        Statement::ListTagged
    } else {
        let of_queue = |counted: &&Queue| queue.is_none_or(|queue| queue == counted.number);
        let asked: Vec<_> = queues.iter().filter(of_queue).collect();
        let count = |queue: &&Queue| {
            states
                .iter()
                .map(|state| queue.counts.get(*state))
                .sum::<u64>()
        };
        let matching: u64 = asked.iter().map(count).sum();
        let all: u64 = queues.iter().map(|queue| queue.counts.total()).sum();
        // Along all ids, about `all / matching` are read for each that matches.
        if matching.saturating_mul(matching) < all.saturating_mul(limit as u64) {
            let lines = asked
                .iter()
                .flat_map(|queue| (0..4).map(|level| queue.number * 4 + level));
            args::add(&mut args, lines.collect::<Vec<_>>());
            Statement::ListFew
        } else {
            Statement::ListAll
        }
    };
    let found = store.read(operation, statement, args).await?;
    let ids = found
        .iter()
        .map(|row| rows::id(row, 0))
        .collect::<Result<Vec<_>, _>>();
    let mut ids = ids.map_err(|failure| failure.into_error(operation))?;
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
    let queues = queues_with_counts(store, Operation::Counts)
        .await?
        .into_iter();
    let counted = queues.filter(|queue| queue.counts.total() > 0);
    Ok(counted
        .map(|Queue { name, counts, .. }| QueueCounts {
            queue: name,
            counts,
        })
        .collect())
}

/// The queues that hold a job or are paused.
pub(crate) async fn queues(store: &Arc<Store>) -> Result<Vec<QueueInfo>, Error> {
    let queues = queues_with_counts(store, Operation::Queues)
        .await?
        .into_iter();
    let known = queues.filter(|queue| queue.flow == Flow::Paused || queue.counts.total() > 0);
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
    let found = store.read(operation, Statement::Queues, args!()).await?;
    let read = |row: &PgRow| -> Result<Queue, Failure> {
        let mut counts = StateCounts::default();
        for (at, state) in State::ALL.into_iter().enumerate() {
            *counts.get_mut(state) = rows::big(row, 3 + at)?;
        }
        let flow = match rows::get(row, 2)? {
            true => Flow::Paused,
            false => Flow::Open,
        };
        Ok(Queue {
            name: rows::queue_name(rows::get(row, 1)?)?,
            number: rows::get(row, 0)?,
            flow,
            counts,
        })
    };
    let queues = found.iter().map(read).collect::<Result<Vec<_>, _>>();
    let mut queues = queues.map_err(|failure| failure.into_error(operation))?;
    queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(queues)
}

/// How long until a claim on some queues finds something; `None` where time
/// alone brings nothing.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// A waiting job.
    pub(crate) job: Option<Duration>,
    /// A lease that may have run out.
    pub(crate) lease: Option<Duration>,
}

/// When a claim on these queues finds something.
pub(crate) async fn next_due(store: &Arc<Store>, queues: &[QueueName]) -> Result<Due, Error> {
    let operation = Operation::Wait;
    let lines = Lines::find(store, operation, queues).await?;
    if lines.numbers.is_empty() {
        return Ok(Due::default());
    }
    let (floors, running) = lines.floors(store);
    let args = args!(lines.numbers.as_slice(), floors, running);
    let begun = Instant::now();
    let found = store.read(operation, Statement::NextDue, args).await?;
    let ended = Instant::now();
    let Some(row) = found.first() else {
        return Ok(Due::default());
    };
    let read = || -> Result<_, Failure> {
        let now = rows::time(row, 0)?;
        let due = |time: Option<Timestamp>| time.map(|time| time.since(now));
        let job = due(rows::optional_time(row, 1)?);
        let lease = due(rows::optional_time(row, 2)?);
        Ok((now, Due { job, lease }))
    };
    let (now, due) = read().map_err(|failure| failure.into_error(operation))?;
    let seen = Seen {
        now: now.as_micros(),
        begun,
        ended,
    };
    lines.observe(store, seen);
    Ok(due)
}
