//! What the holder of a job may do: heartbeat, progress, settle.

use std::time::Duration;

use anyqueue_core::{
    Holding, Outcome, Payload, ProgressUpdate, Settled, Settlement, State, Timestamp, Token,
};
use rusqlite::{OptionalExtension, Statement, params};

use crate::error::Failure;
use crate::job::{self, Job};
use crate::rows::NO_RESULT;
use crate::tx::{Held, Tx};

/// Extends leases; the law is [`Backend::heartbeat`](anyqueue_core::Backend).
pub(crate) fn heartbeat(
    tx: &mut Tx<'_>,
    tokens: &[Token],
    lease: Duration,
) -> Result<Vec<Holding>, Failure> {
    let until = tx.now.after(lease).as_micros();
    let mut extend = tx.sql(include_str!("sql/heartbeat.sql"))?;
    let one = |token: &Token| {
        let flagged = extend
            .query_row(
                params![token.id.as_bytes(), counter(*token), until],
                |row| row.get(0),
            )
            .optional()?;
        Ok(flagged.map_or(Holding::Stale, holding))
    };
    tokens.iter().map(one).collect()
}

/// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
pub(crate) fn progress(
    tx: &mut Tx<'_>,
    updates: &[ProgressUpdate],
) -> Result<Vec<Holding>, Failure> {
    let mut set = tx.sql(include_str!("sql/progress_set.sql"))?;
    let one = |update: &ProgressUpdate| {
        let token = update.token;
        let held = Job::by_id(tx, token.id)?.filter(|job| job.is_held_by(token.counter));
        let Some(job) = held else {
            return Ok(Holding::Stale);
        };
        let values = &update.values;
        set.execute(params![
            job.seq,
            values.percent,
            values.step,
            values.message
        ])?;
        tx.changed(job.id, job.queue, job.state)?;
        Ok(holding(job.cancel_requested))
    };
    updates.iter().map(one).collect()
}

/// Ends claims; the law is [`Backend::settle`](anyqueue_core::Backend).
pub(crate) fn settle(tx: &mut Tx<'_>, settlements: &[Settlement]) -> Result<Vec<Settled>, Failure> {
    let mut complete = tx.sql(include_str!("sql/complete.sql"))?;
    let mut answers = Vec::with_capacity(settlements.len());
    for Settlement { token, outcome } in settlements {
        answers.push(match (outcome, tx.cache.held.remove(&token.id)) {
            (Outcome::Complete { result }, Some(held))
                if complete_held(tx, &mut complete, held, *token, result)? =>
            {
                Settled::Accepted
            }
            _ => settle_one(tx, *token, outcome)?,
        });
    }
    Ok(answers)
}

/// Completes a job that was claimed here, without reading it; false where the
/// token does not hold it.
fn complete_held(
    tx: &mut Tx<'_>,
    complete: &mut Statement<'_>,
    held: Held,
    token: Token,
    result: &Payload,
) -> Result<bool, Failure> {
    let now = tx.now.as_micros();
    if complete.execute(params![held.seq, counter(token), now])? == 0 {
        return Ok(false);
    }
    keep_result(tx, held.seq, result)?;
    if held.keyed != 0 {
        job::free_key(tx, held.queue, held.seq, token.id)?;
    }
    tx.count_move(held.queue, State::Running, State::Completed);
    tx.changed(token.id, held.queue, State::Completed)?;
    Ok(true)
}

fn settle_one(tx: &mut Tx<'_>, token: Token, outcome: &Outcome) -> Result<Settled, Failure> {
    let Some(mut job) = Job::by_id(tx, token.id)? else {
        return Ok(Settled::Stale);
    };
    if job.is_held_by(token.counter) {
        job.settled_as(token.counter, outcome.kind());
        job.settle(tx, outcome)?;
        job.save(tx, State::Running)?;
        Ok(Settled::Accepted)
    } else if job.settled == (token.counter, outcome.kind().as_u8()) {
        Ok(Settled::Accepted)
    } else {
        Ok(Settled::Stale)
    }
}

fn keep_result(tx: &Tx<'_>, seq: i64, result: &Payload) -> Result<(), Failure> {
    if result.as_str() != NO_RESULT {
        tx.sql(include_str!("sql/result_add.sql"))?
            .execute(params![seq, result.as_str()])?;
    }
    Ok(())
}

impl Job {
    fn settle(&mut self, tx: &Tx<'_>, outcome: &Outcome) -> Result<(), Failure> {
        let now: Timestamp = tx.now;
        match outcome {
            Outcome::Complete { result } => {
                keep_result(tx, self.seq, result)?;
                self.end(State::Completed, now);
            }
            Outcome::Fail { error } => {
                self.keep_error(tx, error)?;
                self.end(State::Failed, now);
            }
            Outcome::Retry { delay, error } => {
                self.keep_error(tx, error)?;
                if self.cancel_requested {
                    self.end(State::Cancelled, now);
                } else {
                    self.wait_until(now.after(*delay), now);
                }
            }
            Outcome::Snooze { delay, reason } => {
                self.give_attempt_back();
                if self.cancel_requested {
                    self.end(State::Cancelled, now);
                } else {
                    self.snooze_reason.clone_from(reason);
                    self.wait_until(now.after(*delay), now);
                }
            }
            Outcome::Release => {
                self.give_attempt_back();
                if self.cancel_requested {
                    self.end(State::Cancelled, now);
                } else {
                    self.put_back();
                }
            }
        }
        Ok(())
    }
}

/// A token's counter as stored; one that no claim can have given is below all.
fn counter(token: Token) -> i64 {
    i64::try_from(token.counter).unwrap_or(-1)
}

fn holding(flagged: bool) -> Holding {
    if flagged {
        Holding::CancelRequested
    } else {
        Holding::Held
    }
}
