//! What the holder of a job may do: heartbeat, progress, settle.

use std::time::Duration;

use anyqueue_core::{Holding, Outcome, ProgressUpdate, Settled, Settlement, Token};

use crate::connection::{bytes, unexpected};
use crate::error::Failure;
use crate::script::{HEARTBEAT, PROGRESS, SETTLE};
use crate::store::{Shard, Store, by_shard, cut, in_parts};
use crate::wire::{NO_RESULT, Writer, micros, write_progress};

/// The most items and bytes of one script.
const MOST: usize = 1_000;
const BYTES: usize = 8 * 1024 * 1024;

/// Ends claims; the law is [`Backend::settle`](anyqueue_core::Backend).
pub(crate) async fn settle(
    store: &Store,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, Failure> {
    let shards = by_shard(settlements, |settlement| Shard::of_job(settlement.token.id));
    let parts = cut(shards, MOST, BYTES, |settlement: &Settlement| {
        text(&settlement.outcome).map_or(0, str::len)
    });
    let make = async |shard, settlements: Vec<&Settlement>| {
        let mut items = Writer(Vec::with_capacity(settlements.len() * 23));
        let mut more = Writer::default();
        for settlement in &settlements {
            item(settlement, &mut items, &mut more);
        }
        let arguments = [&items.0[..], &more.0];
        let answer = bytes(store.run(shard, &SETTLE, &arguments).await?)?;
        let one = |answer: u8| match answer {
            b'A' => Ok(Settled::Accepted),
            b'S' => Ok(Settled::Stale),
            _ => Err(unexpected()),
        };
        answer.into_iter().map(one).collect()
    };
    in_parts(parts, settlements.len(), make).await
}

/// Packs a settlement, as `settle.lua` describes it.
fn item(settlement: &Settlement, to: &mut Writer, more: &mut Writer) {
    let delay = match &settlement.outcome {
        Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } => *delay,
        _ => Duration::ZERO,
    };
    let text = text(&settlement.outcome);
    let follows = !delay.is_zero() || text.is_some();
    let kind = settlement.outcome.kind().as_u8();
    to.id(settlement.token.id);
    to.counter(settlement.token.counter);
    to.uint(u64::from(kind | if follows { 128 } else { 0 }), 1);
    if follows {
        more.span(delay);
        match text {
            None => more.uint(0, 4),
            Some(text) => {
                more.uint(text.len() as u64 + 1, 4);
                more.bytes(text.as_bytes());
            }
        }
    }
}

/// What is kept of an outcome. Most jobs return nothing: no result is kept.
fn text(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Complete { result } => Some(result.as_str()).filter(|text| *text != NO_RESULT),
        Outcome::Retry { error, .. } | Outcome::Fail { error } => Some(error.as_str()),
        Outcome::Snooze { reason, .. } => reason.as_ref().map(|reason| reason.as_str()),
        Outcome::Release => None,
    }
}

/// Extends leases; the law is [`Backend::heartbeat`](anyqueue_core::Backend).
pub(crate) async fn heartbeat(
    store: &Store,
    tokens: &[Token],
    lease: Duration,
) -> Result<Vec<Holding>, Failure> {
    let shards = by_shard(tokens, |token| Shard::of_job(token.id));
    let parts = cut(shards, MOST, BYTES, |_: &Token| 0);
    let lease = micros(lease).to_string();
    let make = async |shard, tokens: Vec<&Token>| {
        let mut items = Writer(Vec::with_capacity(tokens.len() * 22));
        for token in &tokens {
            items.id(token.id);
            items.counter(token.counter);
        }
        let arguments = [lease.as_bytes(), &items.0];
        holdings(bytes(store.run(shard, &HEARTBEAT, &arguments).await?)?)
    };
    in_parts(parts, tokens.len(), make).await
}

/// Stores progress; the law is [`Backend::progress`](anyqueue_core::Backend).
pub(crate) async fn progress(
    store: &Store,
    updates: &[ProgressUpdate],
) -> Result<Vec<Holding>, Failure> {
    let shards = by_shard(updates, |update| Shard::of_job(update.token.id));
    let parts = cut(shards, MOST, BYTES, |_: &ProgressUpdate| 0);
    let make = async |shard, updates: Vec<&ProgressUpdate>| {
        let mut items = Writer::default();
        for update in &updates {
            items.id(update.token.id);
            items.counter(update.token.counter);
            let values = write_progress(&update.values);
            items.uint(values.len() as u64, 2);
            items.bytes(&values);
        }
        holdings(bytes(store.run(shard, &PROGRESS, &[&items.0]).await?)?)
    };
    in_parts(parts, updates.len(), make).await
}

fn holdings(answer: Vec<u8>) -> Result<Vec<Holding>, Failure> {
    let one = |answer: u8| match answer {
        b'H' => Ok(Holding::Held),
        b'C' => Ok(Holding::CancelRequested),
        b'S' => Ok(Holding::Stale),
        _ => Err(unexpected()),
    };
    answer.into_iter().map(one).collect()
}
