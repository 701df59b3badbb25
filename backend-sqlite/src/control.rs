//! What anyone may do: cancel a job, run it again by hand, pause a queue.

use anyqueue_core::{Cancelled, Flow, JobId, QueueName, Retried, State, UniqueKey, UniquePolicy};
use rusqlite::params;

use crate::enqueue::take_key;
use crate::error::Failure;
use crate::job::Job;
use crate::tx::Tx;

/// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
pub(crate) fn cancel(tx: &mut Tx<'_>, ids: &[JobId]) -> Result<Vec<Cancelled>, Failure> {
    ids.iter().map(|id| cancel_one(tx, *id)).collect()
}

fn cancel_one(tx: &mut Tx<'_>, id: JobId) -> Result<Cancelled, Failure> {
    let Some(mut job) = Job::by_id(tx, id)? else {
        return Ok(Cancelled::NotFound);
    };
    Ok(match job.state {
        from @ (State::Scheduled | State::Ready) => {
            job.end(State::Cancelled, tx.now);
            job.save(tx, from)?;
            Cancelled::Done
        }
        State::Running => {
            if !job.cancel_requested {
                tx.sql(include_str!("sql/flag.sql"))?.execute([job.seq])?;
                tx.changed(id, job.queue, job.state)?;
            }
            Cancelled::Requested
        }
        State::Cancelled => Cancelled::Done,
        state @ (State::Completed | State::Failed) => Cancelled::Finished(state),
    })
}

/// Runs ended jobs again; the law is [`Backend::retry`](anyqueue_core::Backend).
pub(crate) fn retry(tx: &mut Tx<'_>, ids: &[JobId]) -> Result<Vec<Retried>, Failure> {
    ids.iter().map(|id| retry_one(tx, *id)).collect()
}

fn retry_one(tx: &mut Tx<'_>, id: JobId) -> Result<Retried, Failure> {
    let Some(mut job) = Job::by_id(tx, id)? else {
        return Ok(Retried::NotFound);
    };
    let from = job.state;
    if !matches!(from, State::Failed | State::Cancelled) {
        return Ok(Retried::NotEnded(from));
    }
    // A key held for a period was taken at the enqueue, once and for all.
    if job.keyed != 0 {
        let key: String = tx
            .sql(include_str!("sql/unique_of.sql"))?
            .query_row([job.seq], |row| row.get(0))?;
        let key = UniqueKey::new(key).map_err(|_| Failure::corrupt("unique key"))?;
        if let Some(holder) = take_key(tx, job.queue, &key, UniquePolicy::WhileUnfinished, id)? {
            return Ok(Retried::Existing(holder));
        }
    }
    job.attempt = 0;
    job.cancel_requested = false;
    tx.sql(include_str!("sql/progress_clear.sql"))?
        .execute([job.seq])?;
    job.wait_until(tx.now, tx.now);
    job.save(tx, from)?;
    Ok(Retried::Ready)
}

/// Opens or pauses a queue.
pub(crate) fn set_flow(tx: &mut Tx<'_>, name: &QueueName, flow: Flow) -> Result<(), Failure> {
    let queue = tx.queue(name)?;
    tx.sql(include_str!("sql/queue_set_paused.sql"))?
        .execute(params![queue, flow == Flow::Paused])?;
    tx.claimable(queue)
}
