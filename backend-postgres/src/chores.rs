//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed; and the counts are folded.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{Error, ErrorText, MaintainLimits, Maintained, Operation, State};
use uuid::Uuid;

use crate::args::args;
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::{Store, lock};
use crate::wake::Changes;

/// How many jobs one statement touches.
const SHARE: u32 = 1_000;

/// How many statements of one call look for expired leases.
const LOOKS: usize = 100;

/// How far ahead looks at held jobs are forgotten whose jobs are all settled.
pub(crate) const AHEAD: Duration = Duration::from_secs(1);

/// How long a worker that claims nothing is remembered.
const WORKER_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How many deltas one fold takes.
const FOLDED: i64 = 20_000;

/// Does a share of the chores; the law is
/// [`Backend::maintain`](anyqueue_core::Backend).
///
/// Costs a look at each chore's index, and the work for each job that it
/// touches. Each chore is in statements of at most 1,000 jobs.
pub(crate) async fn maintain(
    store: &Arc<Store>,
    limits: &MaintainLimits,
) -> Result<Maintained, Error> {
    let operation = Operation::Maintain;
    let bound = u64::from(limits.jobs);
    let left = |done: u64| u32::try_from(bound - done).unwrap_or(u32::MAX).min(SHARE);
    let mut done = Maintained::default();
    // A look at jobs that are all settled ends no lease: looks are bounded too.
    for _ in 0..LOOKS {
        let part = expire(store, operation, left(done.expired), AHEAD).await?;
        done.expired += part.expired;
        if !part.more || done.expired >= bound {
            break;
        }
    }
    while done.promoted < bound {
        let share = left(done.promoted);
        let part = promote(store, share).await?;
        done.promoted += part;
        if part < u64::from(share) {
            break;
        }
    }
    for state in [State::Completed, State::Failed, State::Cancelled] {
        let kept = limits.retention.of(state).unwrap_or(Duration::MAX);
        while done.purged < bound {
            let part = purge(store, state, kept, left(done.purged)).await?;
            done.purged += part.purged;
            if !part.more {
                break;
            }
        }
    }
    store
        .write(
            operation,
            Statement::KeysOver,
            args!(i64::from(limits.jobs)),
        )
        .await?;
    store
        .write(operation, Statement::Forget, args!(rows::span(WORKER_KEPT)))
        .await?;
    fold(store).await?;
    done.more = [done.expired, done.promoted, done.purged].contains(&bound);
    Ok(done)
}

/// Ends expired leases, at most `bound`; and forgets looks due within `ahead`
/// whose jobs are all settled.
pub(crate) async fn expire(
    store: &Arc<Store>,
    operation: Operation,
    bound: u32,
    ahead: Duration,
) -> Result<Maintained, Error> {
    let floor = lock(&store.floors).running();
    let text = ErrorText::LEASE_EXPIRED;
    let args = args!(floor, i64::from(bound), text, rows::span(ahead));
    let found = store.write(operation, Statement::Expire, args).await?;
    let mut done = Maintained::default();
    let mut changes = Changes::default();
    let mut read = || -> Result<(), Failure> {
        for row in &found {
            done.more = rows::get(row, 0)?;
            if rows::get::<Option<Uuid>>(row, 1)?.is_none() {
                continue; // The row that only tells whether there is more.
            }
            done.expired += 1;
            changes.job(rows::id(row, 1)?, rows::get(row, 4)?);
            if rows::state(row, 3)? == State::Ready {
                store.claimable(&mut changes, rows::get(row, 2)?);
            }
        }
        Ok(())
    };
    read().map_err(|failure| failure.into_error(operation))?;
    done.more |= done.expired >= u64::from(bound);
    store.tell(changes);
    Ok(done)
}

async fn promote(store: &Arc<Store>, bound: u32) -> Result<u64, Error> {
    let operation = Operation::Maintain;
    let args = args!(i64::from(bound));
    let found = store.write(operation, Statement::Promote, args).await?;
    let mut changes = Changes::default();
    let mut read = || -> Result<(), Failure> {
        for row in &found {
            changes.job(rows::id(row, 0)?, rows::get(row, 2)?);
            store.claimable(&mut changes, rows::get(row, 1)?);
        }
        Ok(())
    };
    read().map_err(|failure| failure.into_error(operation))?;
    store.tell(changes);
    Ok(found.len() as u64)
}

async fn purge(
    store: &Arc<Store>,
    state: State,
    kept: Duration,
    bound: u32,
) -> Result<Maintained, Error> {
    let operation = Operation::Maintain;
    let args = args!(i16::from(state.as_u8()), rows::span(kept), i64::from(bound));
    let found = store.write(operation, Statement::Purge, args).await?;
    let mut done = Maintained::default();
    let mut changes = Changes::default();
    let mut read = || -> Result<(), Failure> {
        for row in &found {
            // Of those named some may have been run again meanwhile.
            done.more = rows::get::<i64>(row, 0)? >= i64::from(bound);
            if rows::get::<Option<Uuid>>(row, 1)?.is_some() {
                done.purged += 1;
                changes.job(rows::id(row, 1)?, false);
            }
        }
        Ok(())
    };
    read().map_err(|failure| failure.into_error(operation))?;
    store.tell(changes);
    Ok(done)
}

/// Folds what was appended to the counts.
pub(crate) async fn fold(store: &Arc<Store>) -> Result<(), Error> {
    let args = args!(store.config.schema.number(), FOLDED);
    let folded = store.read(Operation::Maintain, Statement::Fold, args).await;
    folded.map(drop)
}
