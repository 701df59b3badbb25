//! What anyone may do: cancel a job, run it again by hand, pause a queue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyqueue_core::{
    Cancelled, Error, ErrorKind, Flow, JobId, Operation, QueueName, Retried, State,
};

use crate::args::{args, ids as id_rows, json, text};
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::Store;
use crate::wake::Changes;

/// How many jobs one statement touches.
const MOST: usize = 1_000;

/// How often a job that keeps moving between two looks is looked for.
const LOOKS: usize = 10;

/// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
///
/// One round trip for up to 1,000 jobs.
pub(crate) async fn cancel(store: &Arc<Store>, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
    let operation = Operation::Cancel;
    let failed = |failure: Failure| failure.into_error(operation);
    let mut answers: HashMap<JobId, Cancelled> = HashMap::new();
    let mut open = ids.to_vec();
    for _ in 0..LOOKS {
        let mut again = Vec::new();
        for part in open.chunks(MOST) {
            let args = args!(id_rows(part).map_err(failed)?);
            let found = store.write(operation, Statement::Cancel, args).await?;
            let mut changes = Changes::default();
            let mut read = || -> Result<(), Failure> {
                for row in found.iter().flatten() {
                    let (id, state) = (rows::id(row, 0)?, rows::state(row, 2)?);
                    let answer = match (rows::flag(row, 1)?, state) {
                        (true, State::Running) => Cancelled::Requested,
                        (true, _) | (false, State::Cancelled) => Cancelled::Done,
                        (false, state) if state.is_finished() => Cancelled::Finished(state),
                        (false, _) => {
                            // Retried by hand between the two looks.
                            again.push(id);
                            continue;
                        }
                    };
                    changes.jobs.push(id);
                    answers.insert(id, answer);
                }
                Ok(())
            };
            read().map_err(failed)?;
            store.tell(&changes);
        }
        open = again;
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
/// One round trip for up to 1,000 jobs. The states of those that are not among them
/// are read by a second statement: a job that this finds ended has ended between the
/// two, and is looked for again, as in [`cancel`].
pub(crate) async fn retry(store: &Arc<Store>, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
    let operation = Operation::Retry;
    let failed = |failure: Failure| failure.into_error(operation);
    let mut answers: HashMap<JobId, Retried> = HashMap::new();
    let mut places: HashMap<JobId, usize> = HashMap::new();
    for (place, id) in ids.iter().enumerate() {
        places.entry(*id).or_insert(place);
    }
    // In the order in which all calls lock jobs.
    let mut open: Vec<JobId> = places.keys().copied().collect();
    open.sort_unstable();
    for _ in 0..LOOKS {
        let mut again = Vec::new();
        for part in open.chunks(MOST) {
            let rows: Vec<_> = part.iter().map(|id| (text(*id), places[id])).collect();
            let args = args!(json(&rows).map_err(failed)?, fastrand::i64(..));
            let found = store.write(operation, Statement::Retry, args).await?;
            let mut changes = Changes::default();
            let mut read = || -> Result<(), Failure> {
                for row in found.first().into_iter().flatten() {
                    let (id, holder) = (rows::id(row, 0)?, rows::id(row, 1)?);
                    if holder != id {
                        answers.insert(id, Retried::Existing(holder));
                        continue;
                    }
                    answers.insert(id, Retried::Ready);
                    changes.jobs.push(id);
                    changes.line(rows::int(row, 2)?);
                }
                for row in found.iter().skip(1).flatten() {
                    let (id, state) = (rows::id(row, 0)?, rows::state(row, 1)?);
                    match state {
                        _ if answers.contains_key(&id) => {}
                        State::Failed | State::Cancelled => again.push(id),
                        state => drop(answers.insert(id, Retried::NotEnded(state))),
                    }
                }
                Ok(())
            };
            read().map_err(failed)?;
            store.tell(&changes);
        }
        open = again;
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
    Failure::new(ErrorKind::Unknown, message).into_error(operation)
}

/// Opens or pauses a queue.
pub(crate) async fn set_flow(
    store: &Arc<Store>,
    queue: &QueueName,
    flow: Flow,
) -> Result<(), Error> {
    let operation = Operation::SetFlow;
    let args = args!(queue.as_str(), flow == Flow::Paused);
    store.write(operation, Statement::SetFlow, args).await?;
    let found = store.find_queues(operation, std::slice::from_ref(queue));
    let queues = found.await?.into_iter().flatten().collect();
    store.tell(&Changes {
        queues,
        ..Changes::default()
    });
    Ok(())
}
