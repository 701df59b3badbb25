//! Who gets which job.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue_core::{
    ClaimRequest, ClaimedJob, Error, Kind, Operation, QueueName, Timestamp, Token,
};
use sqlx::postgres::PgRow;

use crate::args::args;
use crate::chores;
use crate::error::Failure;
use crate::floors::{Look, Seen};
use crate::rows;
use crate::statements::Statement;
use crate::store::{Store, lock};
use crate::wake::Changes;

/// How many rounds of expired leases a claim ends at most before it takes what
/// is there.
const ROUNDS: usize = 16;

/// How many leases one round ends at most.
const EXPIRED: u32 = 1_000;

/// How many bytes of payloads a claim takes, the last one beyond it.
const ANSWER: i64 = 16 << 20;

/// Takes jobs; the law is [`Backend::claim`](anyqueue_core::Backend).
///
/// One statement, unless a lease has run out: then that is ended first, and the
/// claim made again. Jobs with large payloads are taken by the [`ANSWER`], so
/// that fewer than asked for may come while more are waiting: at least one.
pub(crate) async fn claim(
    store: &Arc<Store>,
    request: &ClaimRequest,
) -> Result<Vec<ClaimedJob>, Error> {
    let operation = Operation::Claim;
    let lines = Lines::find(store, operation, &request.queues).await?;
    if lines.numbers.is_empty() {
        return Ok(Vec::new());
    }
    let worker = store.worker(&request.worker).await?;
    let attempt = async |look: bool| {
        let (floors, running) = lines.floors(store);
        let args = args!(
            lines.numbers.as_slice(),
            floors,
            i64::from(request.limit),
            rows::span(request.lease),
            running,
            look,
            worker,
            ANSWER,
        );
        store.write(operation, Statement::Claim, args).await
    };
    let mut begun = Instant::now();
    let mut found = attempt(true).await?;
    if found
        .first()
        .is_some_and(|row| rows::get(row, 1).unwrap_or(false))
    {
        for _ in 0..ROUNDS {
            if !chores::expire(store, operation, EXPIRED, Duration::ZERO)
                .await?
                .more
            {
                break;
            }
        }
        begun = Instant::now();
        found = attempt(false).await?;
    }
    let failed = |failure: Failure| failure.into_error(operation);
    let ended = Instant::now();
    let mut changes = Changes::default();
    let jobs = read(&found, request, &lines, &mut changes).map_err(failed)?;
    if let Some(row) = found.first() {
        let now = rows::get(row, 0).map_err(failed)?;
        lines.observe(store, Seen { now, begun, ended });
    }
    store.tell(changes);
    Ok(jobs)
}

fn read(
    found: &[PgRow],
    request: &ClaimRequest,
    lines: &Lines,
    changes: &mut Changes,
) -> Result<Vec<ClaimedJob>, Failure> {
    let mut kinds = HashMap::new();
    let mut jobs = Vec::with_capacity(found.len());
    for row in found {
        let Some(id) = rows::get::<Option<uuid::Uuid>>(row, 2)? else {
            continue; // The row that only tells the time.
        };
        let now = rows::time(row, 0)?;
        let line: i32 = rows::get(row, 6)?;
        let queue = lines.names.get(&(line >> 2)).cloned();
        let kind: &str = rows::get(row, 10)?;
        let kind = match kinds.get(kind) {
            Some(kind) => Kind::clone(kind),
            None => {
                let checked = rows::kind(kind)?;
                kinds.insert(kind, checked.clone());
                checked
            }
        };
        let turn = lines.numbers.iter().position(|number| *number == line);
        let place: (_, i64, i64) = (turn, rows::get(row, 7)?, rows::get(row, 8)?);
        let number = i16::try_from(3 - (line & 3)).unwrap_or_default();
        let job = ClaimedJob {
            token: Token {
                id: id.into(),
                counter: rows::big(row, 3)?,
            },
            queue: queue.ok_or_else(|| Failure::corrupt("queue"))?,
            kind,
            payload: rows::payload(row, 14)?,
            priority: rows::priority(number)?,
            attempt: rows::count(row, 4)?,
            retry: rows::retry(row, 5, 11)?,
            created_at: rows::time(row, 9)?,
            due_at: rows::time(row, 7)?,
            lease_until: Timestamp::from_micros(now.as_micros() + rows::span(request.lease)),
            tags: rows::tags(row, 13)?,
            trace: rows::trace(row, 12)?,
        };
        changes.job(job.token.id, rows::get(row, 15)?);
        jobs.push((place, job));
    }
    jobs.sort_by_key(|(place, _)| *place);
    Ok(jobs.into_iter().map(|(_, job)| job).collect())
}

/// The lines of some queues, in the order of claims.
pub(crate) struct Lines {
    pub(crate) numbers: Vec<i32>,
    names: HashMap<i32, QueueName>,
}

impl Lines {
    /// Those of the queues that the store knows.
    pub(crate) async fn find(
        store: &Arc<Store>,
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

    /// Their floors, and that of running jobs.
    pub(crate) fn floors(&self, store: &Store) -> (Vec<i64>, i64) {
        let floors = lock(&store.floors);
        let of = |line: &i32| floors.of(*line);
        (self.numbers.iter().map(of).collect(), floors.running())
    }

    /// Notes the server's time; now and then looks how far the floors can rise,
    /// beside the call.
    pub(crate) fn observe(&self, store: &Arc<Store>, seen: Seen) {
        if lock(&store.floors).observe(seen) {
            let (store, numbers) = (Arc::clone(store), self.numbers.clone());
            tokio::spawn(async move {
                look(&store, numbers).await?;
                // So that claims seldom find a look that is due for nothing. It
                // ends no lease: nobody claims now.
                chores::expire(&store, Operation::Claim, 0, chores::AHEAD).await
            });
        }
    }
}

async fn look(store: &Arc<Store>, lines: Vec<i32>) -> Result<(), Error> {
    let operation = Operation::Claim;
    let (base, floors, running) = {
        let floors = lock(&store.floors);
        let of: Vec<i64> = lines.iter().map(|line| floors.of(*line)).collect();
        (floors.base(), of, floors.running())
    };
    let table = format!("{}.live", store.config.schema.quoted());
    let args = args!(lines, floors, running, table);
    let begun = Instant::now();
    let found = store.read(operation, Statement::Look, args).await?;
    let look = read_look(&found, begun).map_err(|failure| failure.into_error(operation))?;
    if let Some(look) = look {
        lock(&store.floors).raise(&look, base);
    }
    Ok(())
}

fn read_look(found: &[PgRow], begun: Instant) -> Result<Option<Look>, Failure> {
    let ended = Instant::now();
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let lines = found
        .iter()
        .map(|row| Ok((rows::get(row, 3)?, rows::get(row, 4)?)));
    Ok(Some(Look {
        seen: Seen {
            now: rows::get(first, 0)?,
            begun,
            ended,
        },
        server: rows::get(first, 5)?,
        stored: rows::get(first, 1)?,
        running: rows::get(first, 2)?,
        lines: lines.collect::<Result<_, Failure>>()?,
    }))
}
