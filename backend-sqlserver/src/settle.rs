//! What the holder of a job may do: heartbeat, progress, settle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Error, Holding, JobId, Operation, Outcome, ProgressUpdate, Settled, Settlement, State, Token,
};

use crate::args::{Param, Pieces, args, json, text};
use crate::error::Failure;
use crate::rows::{self, NO_RESULT};
use crate::statements::Statement;
use crate::store::{Results, Step, Store};
use crate::wake::Changes;

/// How many jobs one statement touches.
const MOST: usize = 1_000;

/// Extends leases; the law is [`Backend::heartbeat`](anyqueue_core::Backend).
pub(crate) async fn heartbeat(
    store: &Arc<Store>,
    tokens: &[Token],
    lease: Duration,
) -> Result<Vec<Holding>, Error> {
    let operation = Operation::Heartbeat;
    let failed = |failure: Failure| failure.into_error(operation);
    let mut sorted = tokens.to_vec();
    sorted.sort_unstable_by_key(|token| (token.id, token.counter));
    sorted.dedup();
    let rows: Vec<_> = sorted.iter().map(key).collect();
    let mut held = HashMap::new();
    for part in rows.chunks(MOST) {
        let args = args!(json(part).map_err(failed)?, rows::span(lease));
        let found = store.write(operation, Statement::Heartbeat, args).await?;
        read_held(&found, &mut held).map_err(failed)?;
    }
    let answer = |token: &Token| held.get(token).copied().unwrap_or(Holding::Stale);
    Ok(tokens.iter().map(answer).collect())
}

/// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
pub(crate) async fn progress(
    store: &Arc<Store>,
    updates: &[ProgressUpdate],
) -> Result<Vec<Holding>, Error> {
    let operation = Operation::Progress;
    let failed = |failure: Failure| failure.into_error(operation);
    let rounds = rounds(updates, |update| update.token.id);
    let args = |round: &Vec<usize>| -> Result<Vec<Param>, Failure> {
        let row = |at: &usize| {
            let ProgressUpdate { token, values } = &updates[*at];
            let (id, counter) = key(token);
            (id, counter, values.percent, values.step, &values.message)
        };
        let rows: Vec<_> = round.iter().map(row).collect();
        Ok(args!(json(&rows)?))
    };
    let steps = rounds
        .iter()
        .map(|round| Ok(Step::new(Statement::Progress, args(round)?)));
    let steps = steps.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let found = store.transaction(operation, steps).await?;
    let mut answers = vec![Holding::Stale; updates.len()];
    let mut changes = Changes::default();
    for (round, found) in rounds.iter().zip(&found) {
        let mut held = HashMap::new();
        read_held(found, &mut held).map_err(failed)?;
        for at in round {
            if let Some(holding) = held.get(&updates[*at].token) {
                answers[*at] = *holding;
                changes.jobs.push(updates[*at].token.id);
            }
        }
    }
    store.tell(&changes);
    Ok(answers)
}

/// Ends claims; the law is [`Backend::settle`](anyqueue_core::Backend).
///
/// One round trip. A call that names a job several times, or more than 1,000
/// jobs, makes them in one transaction.
pub(crate) async fn settle(
    store: &Arc<Store>,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, Error> {
    let operation = Operation::Settle;
    let failed = |failure: Failure| failure.into_error(operation);
    let rounds = rounds(settlements, |settlement| settlement.token.id);
    let steps = rounds.iter().map(|round| {
        Ok(Step::new(
            Statement::Settle,
            settle_args(settlements, round)?,
        ))
    });
    let steps = steps.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let found = store.transaction(operation, steps).await?;
    let mut answers = vec![Settled::Stale; settlements.len()];
    let mut changes = Changes::default();
    for (round, found) in rounds.iter().zip(&found) {
        answer(&mut answers, settlements, round, found, &mut changes).map_err(failed)?;
    }
    store.tell(&changes);
    Ok(answers)
}

/// The parameters of `settle.sql`.
pub(crate) fn settle_args(
    settlements: &[Settlement],
    round: &[usize],
) -> Result<Vec<Param>, Failure> {
    let mut long = Pieces::default();
    let row = |at: &usize| {
        let Settlement { token, outcome } = &settlements[*at];
        let (id, counter) = key(token);
        let delay = match outcome {
            Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } => rows::span(*delay),
            _ => 0,
        };
        let kind = outcome.kind().as_u8();
        let note = note(outcome).and_then(|note| long.text(*at, note));
        (id, counter, kind, note, delay, *at)
    };
    let rows: Vec<_> = round.iter().map(row).collect();
    Ok(args!(json(&rows)?, long.json()?))
}

/// What is kept of an outcome: result, error or reason.
fn note(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Complete { result } => Some(result.as_str()).filter(|result| *result != NO_RESULT),
        Outcome::Retry { error, .. } | Outcome::Fail { error } => Some(error.as_str()),
        Outcome::Snooze { reason, .. } => reason.as_ref().map(|reason| reason.as_str()),
        Outcome::Release => None,
    }
}

/// The answers to a round, by the results of `settle.sql`.
pub(crate) fn answer(
    answers: &mut [Settled],
    settlements: &[Settlement],
    round: &[usize],
    found: &Results,
    changes: &mut Changes,
) -> Result<(), Failure> {
    let mut accepted = HashSet::new();
    for row in found.first().into_iter().flatten() {
        let id = rows::id(row, 0)?;
        accepted.insert(id);
        changes.jobs.push(id);
        if !rows::state(row, 2)?.is_finished() {
            changes.line(rows::int(row, 1)?);
        }
    }
    let mut known = HashMap::new();
    for row in found.iter().skip(1).flatten() {
        let token = (rows::id(row, 0)?, rows::big(row, 1)?);
        known.insert(token, rows::number::<u8>(row, 2)?);
    }
    for at in round {
        let Settlement { token, outcome } = &settlements[*at];
        let before = known.get(&(token.id, rows::counter(*token)));
        if accepted.contains(&token.id) || before == Some(&outcome.kind().as_u8()) {
            answers[*at] = Settled::Accepted;
        }
    }
    Ok(())
}

/// The places of a call's items, in rounds of at most 1,000 that name each job
/// once, each round sorted by id.
pub(crate) fn rounds<T>(items: &[T], id: impl Fn(&T) -> JobId) -> Vec<Vec<usize>> {
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by_key(|at| id(&items[*at]));
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let (mut last, mut nth) = (None, 0);
    for at in sorted {
        let id = id(&items[at]);
        nth = if last == Some(id) { nth + 1 } else { 0 };
        last = Some(id);
        if nth == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[nth].push(at);
    }
    let parts = rounds.iter().flat_map(|round| round.chunks(MOST));
    parts.map(<[usize]>::to_vec).collect()
}

fn key(token: &Token) -> (String, i64) {
    (text(token.id), rows::counter(*token))
}

/// Rows of id, counter and flag.
fn read_held(found: &Results, held: &mut HashMap<Token, Holding>) -> Result<(), Failure> {
    for row in found.iter().flatten() {
        let token = Token {
            id: rows::id(row, 0)?,
            counter: rows::number(row, 1)?,
        };
        let holding = match rows::flag(row, 2)? {
            true => Holding::CancelRequested,
            false => Holding::Held,
        };
        held.insert(token, holding);
    }
    Ok(())
}

/// What a job's state says of those who wait for work.
pub(crate) const fn waits(state: State) -> bool {
    matches!(state, State::Scheduled | State::Ready)
}
