//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed.

use std::time::Duration;

use anyqueue_core::{JobId, MaintainLimits, Maintained, Retention, State, Tag};
use rusqlite::params;

use crate::error::Failure;
use crate::job::Job;
use crate::rows;
use crate::tx::Tx;

/// How long a worker that claims nothing is remembered.
const WORKER_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Does a share of the chores; the law is
/// [`Backend::maintain`](anyqueue_core::Backend).
///
/// Costs a look at three indexes a queue, and the work for each job that it
/// touches.
pub(crate) fn maintain(tx: &mut Tx<'_>, limits: &MaintainLimits) -> Result<Maintained, Failure> {
    let bound = u64::from(limits.jobs);
    let left = |done: u64| u32::try_from(bound - done).unwrap_or(u32::MAX);
    let mut done = Maintained::default();
    let queues = queues(tx)?;
    for queue in &queues {
        done.expired += end_expired(tx, *queue, left(done.expired))?;
    }
    for queue in &queues {
        done.promoted += promote(tx, *queue, left(done.promoted))?;
    }
    for state in [State::Completed, State::Failed, State::Cancelled] {
        for queue in &queues {
            let bound = left(done.purged);
            done.purged += purge(tx, *queue, state, &limits.retention, bound)?;
        }
    }
    let freed = tx
        .sql(include_str!("sql/keys_over.sql"))?
        .execute(params![tx.now.as_micros(), limits.jobs])?;
    let forgotten = tx.now.before(WORKER_KEPT).as_micros();
    tx.sql(include_str!("sql/workers_forget.sql"))?
        .execute(params![forgotten, limits.jobs])?;
    done.more = [done.expired, done.promoted, done.purged, freed as u64].contains(&bound);
    Ok(done)
}

/// All queues, by name, so that every process takes the same way.
fn queues(tx: &Tx<'_>) -> Result<Vec<i64>, Failure> {
    let mut all = tx.sql(include_str!("sql/queues.sql"))?;
    let all = all.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(8)?)))?;
    let mut all = all.collect::<Result<Vec<(String, i64)>, _>>()?;
    all.sort_unstable();
    Ok(all.into_iter().map(|(_, queue)| queue).collect())
}

/// Ends expired leases of a queue, at most `bound`, earliest first.
pub(crate) fn end_expired(tx: &mut Tx<'_>, queue: i64, bound: u32) -> Result<u64, Failure> {
    let find = include_str!("sql/expired_find.sql");
    let expired = seqs(tx, find, queue, tx.now.as_micros(), bound)?;
    for seq in &expired {
        let mut job = Job::by_seq(tx, *seq)?;
        tx.cache.held.remove(&job.id);
        job.expire(tx)?;
        job.save(tx, State::Running)?;
    }
    Ok(expired.len() as u64)
}

/// Promotes due jobs of a queue, at most `bound`, earliest due first.
pub(crate) fn promote(tx: &mut Tx<'_>, queue: i64, bound: u32) -> Result<u64, Failure> {
    let find = include_str!("sql/due_find.sql");
    let due = seqs(tx, find, queue, tx.now.as_micros(), bound)?;
    let mut promote = tx.sql(include_str!("sql/promote.sql"))?;
    for seq in &due {
        let id = Job::by_seq(tx, *seq)?.id;
        promote.execute([seq])?;
        tx.count_move(queue, State::Scheduled, State::Ready);
        tx.changed(id, queue, State::Ready)?;
    }
    Ok(due.len() as u64)
}

fn seqs(tx: &Tx<'_>, find: &str, queue: i64, until: i64, bound: u32) -> Result<Vec<i64>, Failure> {
    let mut found = tx.sql(find)?;
    let found = found.query_map(params![queue, until, bound], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Removes jobs of a queue that ended in this state and are past their
/// retention, at most `bound`, earliest ended first.
fn purge(
    tx: &mut Tx<'_>,
    queue: i64,
    state: State,
    retention: &Retention,
    bound: u32,
) -> Result<u64, Failure> {
    let Some(kept) = retention.of(state) else {
        return Ok(0);
    };
    let newest = tx.now.before(kept).as_micros();
    let over: Vec<i64> = {
        let mut found = tx.sql(include_str!("sql/purgeable_find.sql"))?;
        let parameters = params![queue, state.as_u8(), newest, bound];
        let found = found.query_map(parameters, |row| row.get(0))?;
        found.collect::<Result<_, _>>()?
    };
    for seq in &over {
        let id = remove(tx, *seq)?;
        tx.count_out(queue, state);
        tx.changed(id, queue, state)?;
    }
    Ok(over.len() as u64)
}

fn remove(tx: &Tx<'_>, seq: i64) -> Result<JobId, Failure> {
    let (id, tags): (JobId, Vec<Tag>) = {
        let mut body = tx.sql(include_str!("sql/purge_body.sql"))?;
        let mut body = body.query([seq])?;
        let row = body.next()?;
        let row = row.ok_or_else(|| Failure::corrupt("job without a body"))?;
        (rows::id(row, 0)?, rows::tags(row, 1)?)
    };
    for statement in [
        include_str!("sql/purge_job.sql"),
        include_str!("sql/purge_result.sql"),
        include_str!("sql/purge_progress.sql"),
        include_str!("sql/purge_errors.sql"),
    ] {
        tx.sql(statement)?.execute([seq])?;
    }
    for tag in tags {
        tx.sql(include_str!("sql/purge_tag.sql"))?
            .execute(params![tag.as_str(), id.as_bytes()])?;
    }
    Ok(id)
}
