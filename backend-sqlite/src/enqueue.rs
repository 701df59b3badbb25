//! How a job comes in, and who holds a unique key.

use anyqueue_core::{
    Enqueued, Error, JobId, NewJob, Operation, State, Timestamp, Unique, UniqueKey, UniquePolicy,
};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::error::Failure;
use crate::tx::{Cache, Tx};
use crate::{clock, rows};

/// Enqueues jobs inside the application's own transaction: they are there when
/// it commits, and never were when it rolls back.
///
/// The transaction must be on the file of a prepared store; the tables of
/// anyqueue live beside the application's. Workers, in this process and in
/// others, notice the commit within about 20 ms.
///
/// Begin it with
/// [`TransactionBehavior::Immediate`](rusqlite::TransactionBehavior), as any
/// that writes beside other processes: a deferred one that has read already
/// can end with `Conflict` here.
///
/// # Errors
/// As [`Backend::enqueue`](anyqueue_core::Backend::enqueue); none of the jobs
/// is then part of the transaction, which can go on. What core checks before a
/// client's enqueue (the payload's limit, the number of tags) is up to
/// the caller; `JobBuilder::build` does it.
pub fn enqueue_in(tx: &Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let failed = |failure: Failure| failure.into_error(Operation::Enqueue);
    let savepoint = |text| tx.execute_batch(text).map_err(|e| failed(e.into()));
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    savepoint("SAVEPOINT anyqueue_enqueue")?;
    let mut cache = Cache::default();
    let mut inner = Tx::new(tx, &mut cache, clock::now());
    match enqueue(&mut inner, jobs).and_then(|answers| inner.finish().map(|_| answers)) {
        Ok(answers) => {
            savepoint("RELEASE anyqueue_enqueue")?;
            Ok(answers)
        }
        Err(failure) => {
            // An error may have ended the whole transaction already.
            let _ = savepoint("ROLLBACK TO anyqueue_enqueue; RELEASE anyqueue_enqueue");
            Err(failed(failure))
        }
    }
}

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
pub(crate) fn enqueue(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Failure> {
    let mut add_body = tx.sql(include_str!("sql/body_add.sql"))?;
    let mut add_job = tx.sql(include_str!("sql/job_add.sql"))?;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        let queue = tx.queue(&job.queue)?;
        if let Some(unique) = &job.unique
            && let Some(answer) = taken(tx, queue, unique, job.id)?
        {
            answers.push(answer);
            continue;
        }
        answers.push(Enqueued::Created(job.id));
        let policy = job.unique.as_ref().map(|unique| &unique.policy);
        let added = add_body.execute(params![
            job.id.as_bytes(),
            tx.now.as_micros(),
            job.kind.as_str(),
            rows::backoff_column(job)?,
            job.unique.as_ref().map(|unique| unique.key.as_str()),
            policy.map(rows::to_json).transpose()?,
            job.trace.as_ref().map(|trace| trace.as_str()),
            rows::tags_column(job)?,
            job.payload.as_str(),
        ])?;
        if added == 0 {
            continue; // The id is known.
        }
        let due = job.schedule.due_at(tx.now);
        let state = if due > tx.now {
            State::Scheduled
        } else {
            State::Ready
        };
        add_job.execute(params![
            tx.last_key(),
            queue,
            state.as_u8(),
            job.priority.as_u8(),
            due.as_micros(),
            job.retry.max_attempts,
            policy == Some(&UniquePolicy::WhileUnfinished),
        ])?;
        for tag in &job.tags {
            tx.sql(include_str!("sql/tag_add.sql"))?
                .execute(params![tag.as_str(), job.id.as_bytes()])?;
        }
        tx.count_in(queue, state);
        tx.changed(job.id, queue, state)?;
    }
    Ok(answers)
}

/// The answer for a job with a unique key that is not to be stored, because
/// its id is known or another holds the key; otherwise takes the key.
fn taken(
    tx: &mut Tx<'_>,
    queue: i64,
    unique: &Unique,
    id: JobId,
) -> Result<Option<Enqueued>, Failure> {
    let known = tx
        .sql(include_str!("sql/id_find.sql"))?
        .exists([id.as_bytes()])?;
    if known {
        return Ok(Some(Enqueued::Created(id)));
    }
    Ok(match take_key(tx, queue, &unique.key, unique.policy, id)? {
        None => None,
        // The key outlived the job, which was purged: the store still knows
        // the id, and does not run the job again.
        Some(holder) if holder == id => Some(Enqueued::Created(id)),
        Some(holder) => Some(Enqueued::Existing(holder)),
    })
}

/// Takes a key for a job, or says which job holds it. A period counts from
/// now.
pub(crate) fn take_key(
    tx: &Tx<'_>,
    queue: i64,
    key: &UniqueKey,
    policy: UniquePolicy,
    id: JobId,
) -> Result<Option<JobId>, Failure> {
    let holder: Option<([u8; 16], Option<i64>)> = tx
        .sql(include_str!("sql/key_find.sql"))?
        .query_row(params![queue, key.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match holder {
        Some((_, Some(until))) if until <= tx.now.as_micros() => {}
        Some((holder, _)) => return Ok(Some(JobId::from_bytes(holder))),
        None => {}
    }
    let until = match policy {
        UniquePolicy::WhileUnfinished => None,
        UniquePolicy::ForPeriod(period) => Some(tx.now.after(period)),
    };
    tx.sql(include_str!("sql/key_take.sql"))?.execute(params![
        queue,
        key.as_str(),
        id.as_bytes(),
        until.map(Timestamp::as_micros)
    ])?;
    Ok(None)
}
