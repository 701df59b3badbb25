//! What anyone may do: cancel a job, run it again by hand, pause a queue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyqueue_core::{
    Cancelled, Error, ErrorKind, Flow, JobId, Operation, QueueName, Retried, State,
};
use uuid::Uuid;

use crate::args::args;
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::Store;
use crate::wake::{Changes, queue_hash};

/// How often a job that keeps moving between two looks is looked for.
const LOOKS: usize = 10;

/// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
///
/// Jobs that are not among the unfinished are looked up among all, in a second
/// statement, which sees what the first one waited for.
pub(crate) async fn cancel(store: &Arc<Store>, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
    let operation = Operation::Cancel;
    let mut answers: HashMap<JobId, Cancelled> = HashMap::new();
    let mut open = sorted(ids);
    for _ in 0..LOOKS {
        let mut changes = Changes::default();
        let found = store
            .write(operation, Statement::Cancel, args!(open.as_slice()))
            .await?;
        let mut read = || -> Result<(), Failure> {
            for row in &found {
                let id = rows::id(row, 0)?;
                changes.job(id, rows::get(row, 2)?);
                answers.insert(
                    id,
                    match rows::state(row, 1)? {
                        State::Running => Cancelled::Requested,
                        _ => Cancelled::Done,
                    },
                );
            }
            Ok(())
        };
        read().map_err(|failure| failure.into_error(operation))?;
        store.tell(changes);
        open.retain(|id| !answers.contains_key(&JobId::from(*id)));
        let states = states(store, operation, &open).await?;
        open.retain(|id| match states.get(&JobId::from(*id)) {
            None => false,
            Some(State::Cancelled) => answers.insert((*id).into(), Cancelled::Done).is_some(),
            Some(state) if state.is_finished() => answers
                .insert((*id).into(), Cancelled::Finished(*state))
                .is_some(),
            // Retried by hand between the two looks.
            Some(_) => true,
        });
        if open.is_empty() {
            break;
        }
    }
    if !open.is_empty() {
        return Err(restless(operation));
    }
    let answer = |id| answers.get(id).copied().unwrap_or(Cancelled::NotFound);
    Ok(ids.iter().map(answer).collect())
}

/// Runs ended jobs again; the law is [`Backend::retry`](anyqueue_core::Backend).
///
/// As in [`cancel`], jobs that are not among those to retry are looked up in a
/// second statement. Where that finds one ended, it is looked for again: no
/// answer says that a job has not ended when it has.
pub(crate) async fn retry(store: &Arc<Store>, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
    let operation = Operation::Retry;
    let mut places: HashMap<JobId, i32> = HashMap::new();
    for (place, id) in ids.iter().enumerate() {
        places
            .entry(*id)
            .or_insert(i32::try_from(place).unwrap_or(i32::MAX));
    }
    let mut answers: HashMap<JobId, Retried> = HashMap::new();
    let mut open = sorted(ids);
    for _ in 0..LOOKS {
        let order: Vec<i32> = open.iter().map(|id| places[&JobId::from(*id)]).collect();
        let args = args!(open.as_slice(), order, fastrand::i64(..));
        let found = store.write(operation, Statement::Retry, args).await?;
        let mut changes = Changes::default();
        let mut read = || -> Result<(), Failure> {
            for row in &found {
                let (id, holder) = (rows::id(row, 0)?, rows::id(row, 1)?);
                if holder != id {
                    answers.insert(id, Retried::Existing(holder));
                    continue;
                }
                answers.insert(id, Retried::Ready);
                changes.job(id, rows::get(row, 3)?);
                store.claimable(&mut changes, rows::get(row, 2)?);
            }
            Ok(())
        };
        read().map_err(|failure| failure.into_error(operation))?;
        store.tell(changes);
        open.retain(|id| !answers.contains_key(&JobId::from(*id)));
        let states = states(store, operation, &open).await?;
        open.retain(|id| match states.get(&JobId::from(*id)) {
            None => false,
            // It ended between the two looks.
            Some(State::Failed | State::Cancelled) => true,
            Some(state) => {
                answers.insert((*id).into(), Retried::NotEnded(*state));
                false
            }
        });
        if open.is_empty() {
            break;
        }
    }
    if !open.is_empty() {
        return Err(restless(operation));
    }
    let mut seen = HashSet::new();
    let answer = |id: &JobId| match answers.get(id) {
        Some(Retried::Ready) if !seen.insert(*id) => Retried::NotEnded(State::Ready),
        Some(answer) => *answer,
        None => Retried::NotFound,
    };
    Ok(ids.iter().map(answer).collect())
}

/// A job was somewhere else at every look. Others may be done already.
fn restless(operation: Operation) -> Error {
    let message = "a job is ended and run again by others all the time";
    let failure = Failure::new(ErrorKind::Conflict, message);
    failure.after_part().into_error(operation)
}

/// Opens or pauses a queue.
pub(crate) async fn set_flow(
    store: &Arc<Store>,
    queue: &QueueName,
    flow: Flow,
) -> Result<(), Error> {
    let args = args!(queue.as_str(), flow == Flow::Paused);
    store
        .write(Operation::SetFlow, Statement::SetFlow, args)
        .await?;
    store.tell(Changes {
        queues: vec![queue_hash(queue)],
        ..Changes::default()
    });
    Ok(())
}

/// Each id once, in the order in which all calls lock jobs.
fn sorted(ids: &[JobId]) -> Vec<Uuid> {
    let mut sorted: Vec<Uuid> = ids.iter().map(|id| (*id).into()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

async fn states(
    store: &Arc<Store>,
    operation: Operation,
    ids: &[Uuid],
) -> Result<HashMap<JobId, State>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = store.try_read(Statement::States, args!(ids)).await;
    let read = found.map_err(Failure::after_part).and_then(|found| {
        let states = found
            .iter()
            .map(|row| Ok((rows::id(row, 0)?, rows::state(row, 1)?)));
        states.collect()
    });
    read.map_err(|failure| failure.into_error(operation))
}
