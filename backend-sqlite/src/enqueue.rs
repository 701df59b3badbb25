//! How a job comes in, and who holds a unique key.

use anyqueue_core::{
    Enqueued, Error, JobId, NewJob, Operation, State, Timestamp, Unique, UniqueKey, UniquePolicy,
};
use rusqlite::{ErrorCode, OptionalExtension, Statement, ToSql, Transaction, params};

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

/// How many rows `bodies_add.sql` and `jobs_add.sql` add: what a statement
/// costs by itself is shared by them.
const ROWS: usize = 16;

/// A job that is to be stored.
struct Row<'j> {
    seq: i64,
    queue: i64,
    state: State,
    due: Timestamp,
    job: &'j NewJob,
}

/// Stores jobs; the law is [`Backend::enqueue`](anyqueue_core::Backend).
pub(crate) fn enqueue(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Failure> {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut rows = Vec::with_capacity(ROWS);
    for job in jobs {
        let queue = tx.queue(&job.queue)?;
        if let Some(unique) = &job.unique {
            // An id of this batch may be about to be stored.
            store(tx, &mut rows)?;
            if let Some(answer) = taken(tx, queue, unique, job.id)? {
                answers.push(answer);
                continue;
            }
        }
        answers.push(Enqueued::Created(job.id));
        let due = job.schedule.due_at(tx.now);
        let state = if due > tx.now {
            State::Scheduled
        } else {
            State::Ready
        };
        rows.push(Row {
            seq: 0,
            queue,
            state,
            due,
            job,
        });
        if rows.len() == ROWS {
            store(tx, &mut rows)?;
        }
    }
    store(tx, &mut rows)?;
    Ok(answers)
}

/// Stores those of the rows whose ids are not known; none are left.
fn store(tx: &mut Tx<'_>, rows: &mut Vec<Row<'_>>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let first = tx.next_seq()?;
    for (seq, row) in (first..).zip(rows.iter_mut()) {
        row.seq = seq;
    }
    if rows.len() < ROWS || !add_bodies(tx, rows)? {
        // The numbers of those that are known may stay unused.
        let mut unknown = Vec::with_capacity(rows.len());
        for row in rows.drain(..) {
            if add_body(tx, &row)? {
                unknown.push(row);
            }
        }
        *rows = unknown;
    }
    if rows.len() == ROWS {
        let mut add = tx.sql(include_str!("sql/jobs_add.sql"))?;
        let mut place = 1;
        for row in rows.iter() {
            bind_job(&mut add, &mut place, row)?;
        }
        add.raw_execute()?;
    } else {
        let mut add = tx.sql(include_str!("sql/job_add.sql"))?;
        for row in rows.iter() {
            bind_job(&mut add, &mut 1, row)?;
            add.raw_execute()?;
        }
    }
    for row in rows.iter() {
        let id = row.job.id;
        for tag in &row.job.tags {
            tx.sql(include_str!("sql/tag_add.sql"))?
                .execute(params![tag.as_str(), id.as_bytes()])?;
        }
        tx.count_in(row.queue, row.state);
        tx.changed(id, row.queue, row.state)?;
    }
    if let Some(last) = rows.last() {
        tx.seq_given(last.seq);
    }
    rows.clear();
    Ok(())
}

/// Adds the bodies of [`ROWS`] jobs; adds none and answers no where one of
/// their ids is known.
fn add_bodies(tx: &Tx<'_>, rows: &[Row<'_>]) -> Result<bool, Failure> {
    let mut add = tx.sql(include_str!("sql/bodies_add.sql"))?;
    let mut place = 1;
    for row in rows {
        bind_body(&mut add, &mut place, tx.now, row)?;
    }
    match add.raw_execute() {
        Ok(_) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds a job's body, unless its id is known.
fn add_body(tx: &Tx<'_>, row: &Row<'_>) -> Result<bool, Failure> {
    let mut add = tx.sql(include_str!("sql/body_add.sql"))?;
    bind_body(&mut add, &mut 1, tx.now, row)?;
    Ok(add.raw_execute()? == 1)
}

fn bind_body(
    statement: &mut Statement<'_>,
    place: &mut usize,
    now: Timestamp,
    row: &Row<'_>,
) -> Result<(), Failure> {
    let job = row.job;
    let mut bind = binder(statement, place);
    bind(&row.seq)?;
    bind(job.id.as_bytes())?;
    bind(&now.as_micros())?;
    bind(&job.kind.as_str())?;
    bind(&rows::backoff_column(job)?)?;
    bind(&job.unique.as_ref().map(|unique| unique.key.as_str()))?;
    let policy = job.unique.as_ref().map(|unique| &unique.policy);
    bind(&policy.map(rows::to_json).transpose()?)?;
    bind(&job.trace.as_ref().map(|trace| trace.as_str()))?;
    bind(&rows::tags_column(job)?)?;
    bind(&job.payload.as_str())
}

fn bind_job(
    statement: &mut Statement<'_>,
    place: &mut usize,
    row: &Row<'_>,
) -> Result<(), Failure> {
    let job = row.job;
    let keyed = job
        .unique
        .as_ref()
        .is_some_and(|unique| unique.policy == UniquePolicy::WhileUnfinished);
    let mut bind = binder(statement, place);
    bind(&row.seq)?;
    bind(&row.queue)?;
    bind(&row.state.as_u8())?;
    bind(&job.priority.as_u8())?;
    bind(&row.due.as_micros())?;
    bind(&job.retry.max_attempts)?;
    bind(&keyed)
}

/// Binds one parameter after the other.
fn binder<'s>(
    statement: &'s mut Statement<'_>,
    place: &'s mut usize,
) -> impl FnMut(&dyn ToSql) -> Result<(), Failure> + 's {
    |value| {
        statement.raw_bind_parameter(*place, value)?;
        *place += 1;
        Ok(())
    }
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
