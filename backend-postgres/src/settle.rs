//! What the holder of a job may do: heartbeat, progress, settle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Error, Holding, JobId, Operation, Outcome, OutcomeKind, ProgressUpdate, Settled, Settlement,
    Token,
};
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow};
use tokio::time::sleep;
use uuid::Uuid;

use crate::args::args;
use crate::error::Failure;
use crate::rows::{self, NO_RESULT};
use crate::statements::Statement;
use crate::store::Store;
use crate::wake::Changes;

/// The pauses after which a heartbeat tries jobs again whose rows are locked, in
/// milliseconds.
const PAUSES: [u64; 4] = [5, 20, 100, 400];

/// Extends leases; the law is [`Backend::heartbeat`](anyqueue_core::Backend).
///
/// One statement, and some more for jobs whose rows are locked: most locks are
/// over at once. One that stays is that of an end in the application's own
/// transaction: such a job is held for as long, and is not waited for.
pub(crate) async fn heartbeat(
    store: &Arc<Store>,
    tokens: &[Token],
    lease: Duration,
) -> Result<Vec<Holding>, Error> {
    let held = extend(store, tokens, lease).await;
    let held = held.map_err(|failure| failure.into_error(Operation::Heartbeat))?;
    let answer = |token: &Token| {
        held.get(token)
            .map_or(Holding::Stale, |(holding, _)| *holding)
    };
    Ok(tokens.iter().map(answer).collect())
}

async fn extend(
    store: &Arc<Store>,
    tokens: &[Token],
    lease: Duration,
) -> Result<HashMap<Token, (Holding, bool)>, Failure> {
    let mut open = tokens.to_vec();
    open.sort_unstable_by_key(|token| (token.id, token.counter));
    open.dedup();
    let mut held = beat(store, &open, lease).await?;
    for pause in PAUSES {
        open.retain(|token| matches!(held.get(token), Some((_, false))));
        if open.is_empty() {
            break;
        }
        sleep(Duration::from_millis(pause)).await;
        held.retain(|_, (_, extended)| *extended);
        let again = beat(store, &open, lease).await;
        held.extend(again.map_err(Failure::after_part)?);
    }
    Ok(held)
}

/// Which of these tokens hold their jobs, and whether the leases are extended.
async fn beat(
    store: &Arc<Store>,
    tokens: &[Token],
    lease: Duration,
) -> Result<HashMap<Token, (Holding, bool)>, Failure> {
    let (ids, counters) = columns(tokens);
    let args = args!(ids, counters, rows::span(lease));
    let found = store.try_write(Statement::Heartbeat, args).await?;
    let read = |row: &PgRow| -> Result<_, Failure> {
        let token = Token {
            id: rows::id(row, 0)?,
            counter: rows::big(row, 2)?,
        };
        Ok((token, (holding(rows::get(row, 1)?), rows::get(row, 3)?)))
    };
    found.iter().map(read).collect()
}

/// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
pub(crate) async fn progress(
    store: &Arc<Store>,
    updates: &[ProgressUpdate],
) -> Result<Vec<Holding>, Error> {
    let operation = Operation::Progress;
    let rounds = rounds(updates, |update| update.token.id);
    let args = |round: &Vec<usize>| {
        let updates: Vec<_> = round.iter().map(|at| &updates[*at]).collect();
        let (ids, counters) = columns(updates.iter().map(|update| &update.token));
        let step = |step| i32::try_from(step).unwrap_or(i32::MAX);
        let values = || updates.iter().map(|update| &update.values);
        args!(
            ids,
            counters,
            values()
                .map(|values| values.percent.map(i16::from))
                .collect::<Vec<_>>(),
            values()
                .map(|values| values.step.map(step))
                .collect::<Vec<_>>(),
            values()
                .map(|values| values.message.as_deref())
                .collect::<Vec<_>>(),
        )
    };
    let steps = rounds
        .iter()
        .map(|round| (Statement::Progress, args(round)));
    let found = steps_of(store, operation, steps.collect()).await?;
    let mut answers = vec![Holding::Stale; updates.len()];
    let mut changes = Changes::default();
    for (round, found) in rounds.iter().zip(&found) {
        let read = || -> Result<_, Failure> {
            for row in found {
                changes.job(rows::id(row, 0)?, rows::get(row, 2)?);
            }
            held(found)
        };
        let held = { read }().map_err(|failure| failure.into_error(operation))?;
        for at in round {
            if let Some(holding) = held.get(&updates[*at].token.id) {
                answers[*at] = *holding;
            }
        }
    }
    store.tell(changes);
    Ok(answers)
}

/// Ends claims; the law is [`Backend::settle`](anyqueue_core::Backend).
///
/// One statement, which is a shorter one where all jobs come to their end; two
/// where a token did not hold its job, to see whether it settled it before. A
/// call that names a job several times makes them in one transaction.
pub(crate) async fn settle(
    store: &Arc<Store>,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, Error> {
    let operation = Operation::Settle;
    let failed = |failure: Failure| failure.into_error(operation);
    let rounds = rounds(settlements, |settlement| settlement.token.id);
    let ends = |settlement: &Settlement| {
        matches!(
            settlement.outcome.kind(),
            OutcomeKind::Complete | OutcomeKind::Fail
        )
    };
    let statement = match settlements.iter().all(ends) {
        true => Statement::End,
        false => Statement::Settle,
    };
    let args = |round: &[usize]| settle_args(settlements, round, statement);
    let mut answers = vec![Settled::Stale; settlements.len()];
    let mut changes = Changes::default();
    if let [round] = rounds.as_slice() {
        let found = store.write(operation, statement, args(round)).await?;
        let accepted = accepted(store, &found, &mut changes).map_err(failed)?;
        store.tell(changes);
        let open: Vec<usize> = accept(&mut answers, settlements, round, &accepted);
        if !open.is_empty() {
            let args = settled_args(settlements, &open);
            // What was accepted stands, whatever becomes of this look.
            let known = store.try_read(Statement::Settled, args).await;
            let known = known.map_err(|failure| failed(failure.after_part()))?;
            repeated(&mut answers, settlements, &open, &known).map_err(failed)?;
        }
        return Ok(answers);
    }
    let steps = rounds.iter().flat_map(|round| {
        let look = settled_args(settlements, round);
        [(statement, args(round)), (Statement::Settled, look)]
    });
    let found = store.transaction(operation, steps.collect()).await?;
    for (round, found) in rounds.iter().zip(found.chunks(2)) {
        let accepted = accepted(store, &found[0], &mut changes).map_err(failed)?;
        let open = accept(&mut answers, settlements, round, &accepted);
        repeated(&mut answers, settlements, &open, &found[1]).map_err(failed)?;
    }
    store.tell(changes);
    Ok(answers)
}

pub(crate) fn settle_args(
    settlements: &[Settlement],
    round: &[usize],
    statement: Statement,
) -> PgArguments {
    let chosen = || round.iter().map(|at| &settlements[*at]);
    let (ids, counters) = columns(chosen().map(|settlement| &settlement.token));
    let outcomes = || chosen().map(|settlement| &settlement.outcome);
    let kinds: Vec<_> = outcomes()
        .map(|outcome| i16::from(outcome.kind().as_u8()))
        .collect();
    let texts: Vec<_> = outcomes().map(text).collect();
    if statement == Statement::End {
        return args!(ids, counters, kinds, texts);
    }
    let delay = |outcome: &Outcome| match outcome {
        Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } => rows::span(*delay),
        _ => 0,
    };
    args!(
        ids,
        counters,
        kinds,
        texts,
        outcomes().map(delay).collect::<Vec<_>>(),
    )
}

/// What is kept of an outcome: result, error or reason.
fn text(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Complete { result } => Some(result.as_str()).filter(|result| *result != NO_RESULT),
        Outcome::Retry { error, .. } | Outcome::Fail { error } => Some(error.as_str()),
        Outcome::Snooze { reason, .. } => reason.as_ref().map(|reason| reason.as_str()),
        Outcome::Release => None,
    }
}

pub(crate) fn settled_args(settlements: &[Settlement], open: &[usize]) -> PgArguments {
    let (ids, counters) = columns(open.iter().map(|at| &settlements[*at].token));
    args!(ids, counters)
}

/// The jobs that a settle took.
fn accepted(
    store: &Store,
    found: &[PgRow],
    changes: &mut Changes,
) -> Result<HashSet<JobId>, Failure> {
    let mut accepted = HashSet::with_capacity(found.len());
    for row in found {
        let id = rows::id(row, 0)?;
        accepted.insert(id);
        changes.job(id, rows::get(row, 1)?);
        if row.len() > 2 && rows::get::<i16>(row, 3)? < 2 {
            store.claimable(changes, rows::get(row, 2)?);
        }
    }
    Ok(accepted)
}

/// Marks what was taken, and returns the rest of the round.
fn accept(
    answers: &mut [Settled],
    settlements: &[Settlement],
    round: &[usize],
    accepted: &HashSet<JobId>,
) -> Vec<usize> {
    let mut open = Vec::new();
    for at in round {
        if accepted.contains(&settlements[*at].token.id) {
            answers[*at] = Settled::Accepted;
        } else {
            open.push(*at);
        }
    }
    open
}

/// Marks what was settled so before, by rows of `settled.sql`.
pub(crate) fn repeated(
    answers: &mut [Settled],
    settlements: &[Settlement],
    open: &[usize],
    found: &[PgRow],
) -> Result<(), Failure> {
    let mut known = HashMap::new();
    for row in found {
        known.insert(
            (rows::id(row, 0)?, rows::get::<i64>(row, 1)?),
            rows::get::<i16>(row, 2)?,
        );
    }
    for at in open {
        let Settlement { token, outcome } = &settlements[*at];
        let kind = known.get(&(token.id, rows::counter(*token)));
        if kind == Some(&i16::from(outcome.kind().as_u8())) {
            answers[*at] = Settled::Accepted;
        }
    }
    Ok(())
}

/// The places of a call's items, in rounds that name each job once, each round
/// sorted by id.
fn rounds<T>(items: &[T], id: impl Fn(&T) -> JobId) -> Vec<Vec<usize>> {
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
    rounds
}

async fn steps_of(
    store: &Arc<Store>,
    operation: Operation,
    mut steps: Vec<(Statement, PgArguments)>,
) -> Result<Vec<Vec<PgRow>>, Error> {
    match steps.pop() {
        Some((statement, args)) if steps.is_empty() => {
            Ok(vec![store.write(operation, statement, args).await?])
        }
        Some(last) => {
            steps.push(last);
            store.transaction(operation, steps).await
        }
        None => Ok(Vec::new()),
    }
}

fn columns<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> (Vec<Uuid>, Vec<i64>) {
    let columns = tokens
        .into_iter()
        .map(|token| (Uuid::from(token.id), rows::counter(*token)));
    columns.unzip()
}

/// Rows of id and flag.
fn held(found: &[PgRow]) -> Result<HashMap<JobId, Holding>, Failure> {
    found
        .iter()
        .map(|row| Ok((rows::id(row, 0)?, holding(rows::get(row, 1)?))))
        .collect()
}

fn holding(flagged: bool) -> Holding {
    match flagged {
        true => Holding::CancelRequested,
        false => Holding::Held,
    }
}
