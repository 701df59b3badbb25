//! What can be seen.

use std::collections::BTreeSet;

use anyqueue_core::{
    Cursor, Filter, Flow, JobId, JobRecord, Listing, Page, QueueCounts, QueueInfo, QueueName,
    State, StateCounts, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, ToSql, named_params};

use crate::error::Failure;
use crate::rows;

/// Each id's record, or `None`.
pub(crate) fn get(conn: &Connection, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Failure> {
    ids.iter().map(|id| record(conn, *id)).collect()
}

fn record(conn: &Connection, id: JobId) -> Result<Option<JobRecord>, Failure> {
    let mut found = conn.prepare_cached(include_str!("sql/record.sql"))?;
    let mut found = found.query([id.as_bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let (seq, mut record) = rows::record(row)?;
    // A job that was never claimed has no errors to look for.
    if record.counter > 0 {
        let mut errors = conn.prepare_cached(include_str!("sql/errors.sql"))?;
        let mut errors = errors.query([seq])?;
        while let Some(row) = errors.next()? {
            record.errors.push(rows::attempt_error(row)?);
        }
    }
    Ok(Some(record))
}

/// A page of the jobs that match, highest id first.
///
/// One of three ways, whichever reads less: along the label's index; all jobs
/// of the asked states and queue, where they are few; along all ids.
pub(crate) fn list(conn: &Connection, filter: &Filter, page: &Page) -> Result<Listing, Failure> {
    let limit = page.limit.clamp(1, Page::MAX_LIMIT) as usize;
    let queues = queues_with_counts(conn)?;
    let queue = match &filter.queue {
        None => None,
        Some(name) => match queues.iter().find(|queue| queue.name == *name) {
            Some(queue) => Some(queue.number),
            None => return Ok(Listing::default()),
        },
    };
    let search = Search {
        // No id is above 17 bytes of ones.
        below: page.after.map_or([0xff; 17].to_vec(), |cursor| {
            cursor.id().as_bytes().to_vec()
        }),
        // One more than the page holds tells whether another follows.
        limit: limit + 1,
        filter,
        queue,
        states: states(filter),
    };
    let mut ids = if filter.tags.is_empty() {
        let of_queue = |counted: &&Queue| queue.is_none_or(|queue| queue == counted.number);
        let asked: Vec<_> = queues.iter().filter(of_queue).collect();
        let matching: u64 = asked.iter().map(|queue| search.count(queue)).sum();
        let all: u64 = queues.iter().map(|queue| queue.counts.total()).sum();
        // Along all ids, about `all / matching` are read for each that matches.
        if matching.saturating_mul(matching) < all.saturating_mul(limit as u64) {
            search.few(conn, &asked)?
        } else {
            search.all(conn)?
        }
    } else {
        search.tagged(conn)?
    };
    let more = ids.len() > limit;
    ids.truncate(limit);
    let jobs = ids.iter().map(|id| record(conn, *id));
    let jobs = jobs
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, _>>()?;
    let last = ids.last().filter(|_| more);
    Ok(Listing {
        jobs,
        next: last.map(|id| Cursor::behind(*id)),
    })
}

/// A list's question, as its statements bind it.
struct Search<'a> {
    below: Vec<u8>,
    limit: usize,
    filter: &'a Filter,
    queue: Option<i64>,
    states: Vec<State>,
}

impl Search<'_> {
    fn count(&self, queue: &Queue) -> u64 {
        self.states
            .iter()
            .map(|state| queue.counts.get(*state))
            .sum()
    }

    fn all(&self, conn: &Connection) -> Result<Vec<JobId>, Failure> {
        let more = named_params! { "?6": self.queue, "?7": self.mask() };
        self.ids(conn, include_str!("sql/list_all.sql"), more)
    }

    fn tagged(&self, conn: &Connection) -> Result<Vec<JobId>, Failure> {
        let first = self.filter.tags.first().map(|tag| tag.as_str());
        let others = rows::to_json(&self.filter.tags.get(1..).unwrap_or_default())?;
        let more = named_params! {
            "?6": self.queue, "?7": self.mask(), "?8": first, "?9": others
        };
        self.ids(conn, include_str!("sql/list_tagged.sql"), more)
    }

    /// All jobs of the asked states, queue by queue.
    fn few(&self, conn: &Connection, queues: &[&Queue]) -> Result<Vec<JobId>, Failure> {
        let mut ids = BTreeSet::new();
        for queue in queues {
            for state in &self.states {
                if queue.counts.get(*state) == 0 {
                    continue;
                }
                let statement = match state {
                    State::Scheduled => include_str!("sql/list_scheduled.sql"),
                    State::Ready => include_str!("sql/list_ready.sql"),
                    State::Running => include_str!("sql/list_running.sql"),
                    _ => include_str!("sql/list_finished.sql"),
                };
                let state = state.as_u8();
                let more: &[(&str, &dyn ToSql)] = named_params! { "?6": queue.number, "?7": state };
                let finished = state >= State::Completed.as_u8();
                let more = if finished { more } else { &more[..1] };
                ids.extend(self.ids(conn, statement, more)?);
            }
        }
        Ok(ids.into_iter().rev().take(self.limit).collect())
    }

    fn ids(
        &self,
        conn: &Connection,
        statement: &str,
        more: &[(&str, &dyn ToSql)],
    ) -> Result<Vec<JobId>, Failure> {
        let filter = self.filter;
        let created_from = filter.created_from.map(Timestamp::as_micros);
        let created_before = filter.created_before.map(Timestamp::as_micros);
        let kind = filter.kind.as_ref().map(|kind| kind.as_str());
        let common: &[(&str, &dyn ToSql)] = named_params! {
            "?1": self.below, "?2": self.limit, "?3": kind,
            "?4": created_from, "?5": created_before
        };
        let parameters: Vec<_> = common.iter().chain(more).copied().collect();
        let mut found = conn.prepare_cached(statement)?;
        let found = found.query_map(parameters.as_slice(), |row| row.get(0))?;
        let ids = found.map(|id| Ok(JobId::from_bytes(id?)));
        ids.collect()
    }

    /// One bit for each asked state.
    fn mask(&self) -> u8 {
        self.states
            .iter()
            .fold(0, |mask, state| mask | 1 << state.as_u8())
    }
}

/// The asked states, each once.
fn states(filter: &Filter) -> Vec<State> {
    let asked = |state: &State| filter.states.is_empty() || filter.states.contains(state);
    State::ALL.into_iter().filter(asked).collect()
}

/// The jobs of each queue by state.
pub(crate) fn counts(conn: &Connection) -> Result<Vec<QueueCounts>, Failure> {
    let queues = queues_with_counts(conn)?.into_iter();
    let counted = queues.filter(|queue| queue.counts.total() > 0);
    Ok(counted
        .map(|Queue { name, counts, .. }| QueueCounts {
            queue: name,
            counts,
        })
        .collect())
}

/// The queues that hold a job or are paused.
pub(crate) fn queues(conn: &Connection) -> Result<Vec<QueueInfo>, Failure> {
    let queues = queues_with_counts(conn)?.into_iter();
    let known = queues.filter(|queue| queue.flow == Flow::Paused || queue.counts.total() > 0);
    Ok(known
        .map(|Queue { name, flow, .. }| QueueInfo { name, flow })
        .collect())
}

struct Queue {
    name: QueueName,
    number: i64,
    flow: Flow,
    counts: StateCounts,
}

/// Sorted here: by bytes, also in a file that the application made UTF-16.
fn queues_with_counts(conn: &Connection) -> Result<Vec<Queue>, Failure> {
    let mut found = conn.prepare_cached(include_str!("sql/queues.sql"))?;
    let mut found = found.query([])?;
    let mut queues = Vec::new();
    while let Some(row) = found.next()? {
        let mut counts = StateCounts::default();
        for (at, state) in State::ALL.into_iter().enumerate() {
            *counts.get_mut(state) = row.get(2 + at)?;
        }
        queues.push(Queue {
            name: rows::queue_name(rows::text(row, 0)?)?,
            number: row.get(8)?,
            flow: if row.get(1)? {
                Flow::Paused
            } else {
                Flow::Open
            },
            counts,
        });
    }
    queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(queues)
}

/// The moment from which a claim on these queues finds something, past where
/// a job is ready; `None` where time alone brings nothing.
pub(crate) fn next_due(
    conn: &Connection,
    queues: &[QueueName],
) -> Result<Option<Timestamp>, Failure> {
    let mut next = conn.prepare_cached(include_str!("sql/next_due.sql"))?;
    let mut first: Option<i64> = None;
    for queue in queues {
        let due = next.query_row([queue.as_str()], |row| {
            let ready = row.get::<_, bool>(0)?.then_some(i64::MIN);
            Ok([ready, row.get(1)?, row.get(2)?])
        });
        let due = due.optional()?.into_iter().flatten().flatten();
        first = first.into_iter().chain(due).min();
    }
    Ok(first.map(Timestamp::from_micros))
}
