//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed; and the counts are folded.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{Error, ErrorText, MaintainLimits, Maintained, Operation, State};

use crate::args::args;
use crate::error::Failure;
use crate::rows;
use crate::settle::waits;
use crate::statements::Statement;
use crate::store::Store;
use crate::wake::Changes;

/// How many jobs one statement touches.
const SHARE: u32 = 1_000;

/// How long a worker that claims nothing is remembered.
const WORKER_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How many deltas one fold takes.
const FOLDED: i64 = 10_000;

/// Does a share of the chores; the law is
/// [`Backend::maintain`](anyqueue_core::Backend).
///
/// One round trip that looks at each chore's index, and one for each chore that
/// has anything to do, in transactions of at most 1,000 jobs.
pub(crate) async fn maintain(
    store: &Arc<Store>,
    limits: &MaintainLimits,
) -> Result<Maintained, Error> {
    let operation = Operation::Maintain;
    let mut done = Maintained::default();
    let bound = u64::from(limits.jobs);
    let kept = |state| limits.retention.of(state).unwrap_or(Duration::MAX);
    let due = due(store, ENDED.map(kept)).await?;
    if due.leases {
        for share in shares(limits.jobs) {
            let part = expire(store, operation, share).await?;
            done.expired += part.expired;
            if !part.more {
                break;
            }
        }
    }
    if due.scheduled {
        for share in shares(limits.jobs) {
            let part = promote(store, share).await?;
            done.promoted += part;
            if part < u64::from(share) {
                break;
            }
        }
    }
    for (state, due) in ENDED.into_iter().zip(due.ended) {
        let left = u32::try_from(bound - done.purged).unwrap_or(u32::MAX);
        for share in shares(left).take_while(|_| due) {
            let part = purge(store, state, kept(state), share).await?;
            done.purged += part;
            if part < u64::from(share) {
                break;
            }
        }
    }
    if due.keys {
        let args = args!(limits.jobs);
        store.write(operation, Statement::KeysOver, args).await?;
    }
    if due.workers {
        let args = args!(rows::span(WORKER_KEPT));
        store.write(operation, Statement::Forget, args).await?;
    }
    if due.deltas {
        fold(store).await?;
    }
    done.more = [done.expired, done.promoted, done.purged].contains(&bound);
    Ok(done)
}

/// The states whose jobs are purged.
const ENDED: [State; 3] = [State::Completed, State::Failed, State::Cancelled];

/// Which chores have anything to do.
struct Due {
    leases: bool,
    scheduled: bool,
    /// Jobs past their retention, by [`ENDED`].
    ended: [bool; 3],
    keys: bool,
    workers: bool,
    deltas: bool,
}

async fn due(store: &Arc<Store>, kept: [Duration; 3]) -> Result<Due, Error> {
    let operation = Operation::Maintain;
    let [completed, failed, cancelled] = kept.map(rows::span);
    let workers = rows::span(WORKER_KEPT);
    let args = args!(completed, failed, cancelled, workers);
    let found = store.read(operation, Statement::Due, args).await?;
    let read = || -> Result<Due, Failure> {
        let row = found.first().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Failure::corrupt("look at the chores"))?;
        Ok(Due {
            leases: rows::flag(row, 0)?,
            scheduled: rows::flag(row, 1)?,
            ended: [
                rows::flag(row, 2)?,
                rows::flag(row, 3)?,
                rows::flag(row, 4)?,
            ],
            keys: rows::flag(row, 5)?,
            workers: rows::flag(row, 6)?,
            deltas: rows::flag(row, 7)?,
        })
    };
    read().map_err(|failure| failure.into_error(operation))
}

/// A bound in parts of one statement each.
fn shares(bound: u32) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(SHARE, usize::try_from(bound / SHARE).unwrap_or(0));
    whole.chain(Some(bound % SHARE).filter(|rest| *rest > 0))
}

/// Ends expired leases, looking at most at `bound`; `more` where there were as
/// many.
pub(crate) async fn expire(
    store: &Arc<Store>,
    operation: Operation,
    bound: u32,
) -> Result<Maintained, Error> {
    let args = args!(bound, ErrorText::LEASE_EXPIRED);
    let found = store.write(operation, Statement::Expire, args).await?;
    let mut done = Maintained::default();
    let mut changes = Changes::default();
    let mut seen = 0;
    let mut read = || -> Result<(), Failure> {
        for row in found.iter().flatten() {
            seen += 1;
            let state = rows::state(row, 2)?;
            if state == State::Running {
                continue; // Its lease was extended.
            }
            done.expired += 1;
            changes.jobs.push(rows::id(row, 0)?);
            if waits(state) {
                changes.line(rows::int(row, 1)?);
            }
        }
        Ok(())
    };
    read().map_err(|failure| failure.into_error(operation))?;
    done.more = seen >= bound;
    store.tell(&changes);
    Ok(done)
}

async fn promote(store: &Arc<Store>, bound: u32) -> Result<u64, Error> {
    let operation = Operation::Maintain;
    let found = store
        .write(operation, Statement::Promote, args!(bound))
        .await?;
    let mut changes = Changes::default();
    let mut read = || -> Result<(), Failure> {
        for row in found.iter().flatten() {
            changes.jobs.push(rows::id(row, 0)?);
            changes.line(rows::int(row, 1)?);
        }
        Ok(())
    };
    read().map_err(|failure| failure.into_error(operation))?;
    store.tell(&changes);
    Ok(changes.jobs.len() as u64)
}

async fn purge(store: &Arc<Store>, state: State, kept: Duration, bound: u32) -> Result<u64, Error> {
    let operation = Operation::Maintain;
    let args = args!(u32::from(state.as_u8()), rows::span(kept), bound);
    let found = store.write(operation, Statement::Purge, args).await?;
    let gone = found.iter().flatten().map(|row| rows::id(row, 0));
    let jobs = gone.collect::<Result<Vec<_>, _>>();
    let jobs = jobs.map_err(|failure| failure.into_error(operation))?;
    let changes = Changes {
        jobs,
        ..Changes::default()
    };
    store.tell(&changes);
    Ok(changes.jobs.len() as u64)
}

/// Folds what was appended to the counts.
pub(crate) async fn fold(store: &Arc<Store>) -> Result<(), Error> {
    let args = args!(store.config.schema.lock("counts"), FOLDED);
    let folded = store.read(Operation::Maintain, Statement::Fold, args);
    folded.await.map(drop)
}
