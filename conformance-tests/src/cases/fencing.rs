//! Fencing: what a token that does not hold its job cannot do.

use std::time::Duration;

use anyqueue_core::{
    Cancelled, Capability, Holding, Outcome, OutcomeKind, Retried, Settled, State, Token,
};

use crate::asserts::{Verdict, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{
    LONG, SHORT, complete, fail, job, outcomes, percent, retry, snooze, unknown_token,
};
use crate::store::Store;

cases! { "fencing";
    law stale "a token that does not hold its job answers `Stale` to heartbeat, progress and settle, and changes nothing" {
        after_expiry_and_another_claim;
        after_expiry_by_maintain;
        after_release;
        after_release_and_another_claim;
        after_retry_and_another_claim;
        after_snooze;
        after_complete;
        after_fail;
        after_cancellation_by_release [Cancel];
        after_retry_by_hand [Retry];
        with_a_lower_counter;
        with_a_counter_yet_to_come;
        with_the_largest_counter;
        of_a_job_never_claimed;
        of_an_unknown_job;
        of_a_job_cancelled_while_waiting [Cancel];
    }
}

/// Heartbeat, progress and settle with this token are all stale and leave the
/// job as it is; `settled` is what the token did settle, if it did.
async fn is_stale(a: &Handle, token: Token, settled: Option<OutcomeKind>) -> Verdict {
    let before = a.find(token.id).await?;
    same("the answer to heartbeat", a.beat(token, LONG).await?, Holding::Stale)?;
    if a.capabilities().has(Capability::Progress) {
        same("the answer to progress", a.report(token, percent(99)).await?, Holding::Stale)?;
    }
    for outcome in outcomes() {
        let kind = outcome.kind();
        if Some(kind) != settled {
            let what = format!("the answer to settle with {}", kind.as_str());
            same(&what, a.settle_one(token, outcome).await?, Settled::Stale)?;
        }
    }
    same("the record", a.find(token.id).await?, before)
}

async fn after_expiry_and_another_claim(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put(&job("q")).await?;
    let old = a.take_for("q", SHORT).await?.token;
    let new = b.take_soon("q").await?.token;
    is_stale(&a, old, None).await?;
    b.accepted(new, complete()).await?;
    is_stale(&a, old, None).await
}

async fn after_expiry_by_maintain(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    a.maintain_all().await?;
    a.in_state(claimed.token.id, State::Ready).await?;
    is_stale(&a, claimed.token, None).await
}

async fn after_release(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", Outcome::Release).await?;
    is_stale(&a, token, Some(OutcomeKind::Release)).await
}

async fn after_release_and_another_claim(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let old = a.run("q", Outcome::Release).await?;
    let new = b.take("q").await?.token;
    is_stale(&a, old, Some(OutcomeKind::Release)).await?;
    b.accepted(new, complete()).await?;
    is_stale(&a, old, None).await
}

async fn after_retry_and_another_claim(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let old = a.run("q", retry(Duration::ZERO)).await?;
    let new = b.take("q").await?.token;
    is_stale(&a, old, Some(OutcomeKind::Retry)).await?;
    b.accepted(new, fail()).await
}

async fn after_snooze(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", snooze(LONG)).await?;
    is_stale(&a, token, Some(OutcomeKind::Snooze)).await
}

async fn after_complete(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", complete()).await?;
    is_stale(&a, token, Some(OutcomeKind::Complete)).await
}

async fn after_fail(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", fail()).await?;
    is_stale(&a, token, Some(OutcomeKind::Fail)).await
}

async fn after_cancellation_by_release(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.cancel_one(token.id).await?;
    a.accepted(token, Outcome::Release).await?;
    a.in_state(token.id, State::Cancelled).await?;
    is_stale(&a, token, Some(OutcomeKind::Release)).await
}

async fn after_retry_by_hand(store: Store) -> Verdict {
    let a = store.open().await?;
    let old = a.run("q", fail()).await?;
    same("the answer to retry", a.retry_one(old.id).await?, Retried::Ready)?;
    is_stale(&a, old, Some(OutcomeKind::Fail)).await?;
    let new = a.take("q").await?.token;
    is_stale(&a, old, Some(OutcomeKind::Fail)).await?;
    a.accepted(new, complete()).await
}

async fn with_a_lower_counter(store: Store) -> Verdict {
    let a = store.open().await?;
    a.run("q", Outcome::Release).await?;
    let token = a.take("q").await?.token;
    is_stale(&a, Token { counter: 0, ..token }, None).await?;
    a.accepted(token, complete()).await
}

async fn with_a_counter_yet_to_come(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    is_stale(&a, Token { counter: token.counter + 1, ..token }, None).await?;
    a.accepted(token, complete()).await
}

async fn with_the_largest_counter(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    is_stale(&a, Token { counter: i64::MAX as u64, ..token }, None).await?;
    a.accepted(token, complete()).await
}

async fn of_a_job_never_claimed(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for counter in [0, 1] {
        is_stale(&a, Token { id, counter }, None).await?;
    }
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn of_an_unknown_job(store: Store) -> Verdict {
    let a = store.open().await?;
    is_stale(&a, unknown_token("q"), None).await?;
    a.claims_none("q").await
}

async fn of_a_job_cancelled_while_waiting(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", Outcome::Release).await?;
    same("the answer to cancel", a.cancel_one(token.id).await?, Cancelled::Done)?;
    is_stale(&a, token, Some(OutcomeKind::Release)).await
}
