//! What anyone may do: cancel a job, run it again by hand, pause a queue.

use anyqueue_core::{Cancelled, Flow, JobId, QueueName, Retried, State};

use crate::connection::{bytes, unexpected};
use crate::error::Failure;
use crate::script::{CANCEL, RETRY, SET_FLOW, Script};
use crate::store::{Shard, Store, by_shard, cut, in_parts};
use crate::wire::Reader;

/// The most ids of one script.
const MOST: usize = 1_000;

/// Cancels jobs; the law is [`Backend::cancel`](anyqueue_core::Backend).
pub(crate) async fn cancel(store: &Store, ids: &[JobId]) -> Result<Vec<Cancelled>, Failure> {
    each(store, ids, &CANCEL, |answer| {
        Ok(match answer.byte()? {
            b'D' => Cancelled::Done,
            b'R' => Cancelled::Requested,
            b'N' => Cancelled::NotFound,
            digit => Cancelled::Finished(state(digit)?),
        })
    })
    .await
}

/// Runs ended jobs again; the law is [`Backend::retry`](anyqueue_core::Backend).
pub(crate) async fn retry(store: &Store, ids: &[JobId]) -> Result<Vec<Retried>, Failure> {
    each(store, ids, &RETRY, |answer| {
        Ok(match answer.byte()? {
            b'R' => Retried::Ready,
            b'N' => Retried::NotFound,
            b'E' => Retried::Existing(answer.id()?),
            digit => Retried::NotEnded(state(digit)?),
        })
    })
    .await
}

async fn each<A>(
    store: &Store,
    ids: &[JobId],
    script: &Script,
    read: impl Fn(&mut Reader<'_>) -> Result<A, Failure>,
) -> Result<Vec<A>, Failure> {
    let parts = cut(
        by_shard(ids, |id| Shard::of_job(*id)),
        MOST,
        usize::MAX,
        |_: &JobId| 0,
    );
    let make = async |shard, ids: Vec<&JobId>| {
        let packed: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let answer = bytes(store.run(shard, script, &[&packed]).await?)?;
        let mut answer = Reader(&answer);
        ids.iter().map(|_| read(&mut answer)).collect()
    };
    in_parts(parts, ids.len(), make).await
}

fn state(digit: u8) -> Result<State, Failure> {
    State::from_u8(digit.wrapping_sub(b'0')).ok_or_else(unexpected)
}

/// Opens or pauses a queue.
pub(crate) async fn set_flow(store: &Store, queue: &QueueName, flow: Flow) -> Result<(), Failure> {
    let flow: &[u8] = match flow {
        Flow::Open => b"open",
        Flow::Paused => b"paused",
    };
    let arguments = [queue.as_str().as_bytes(), flow];
    let shard = Shard::of_queue(queue);
    store.run_registered(shard, &SET_FLOW, &arguments).await?;
    Ok(())
}
