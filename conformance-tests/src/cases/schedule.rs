//! Jobs that are due later.

use std::time::Duration;

use anyqueue_core::{NewJob, Schedule, State};

use crate::asserts::{Verdict, holds, same};
use crate::case::cases;
use crate::samples::{FAR, SOON, delayed, job};
use crate::store::Store;

cases! { "schedule";
    law schedule "a job that is due later is `scheduled`, and is claimable when it is due, not before" {
        after_a_delay;
        at_a_moment_to_come;
        at_a_moment_past_is_ready;
        after_no_delay_is_ready;
        runs_when_it_is_due;
        in_a_hundred_years;
        does_not_hold_up_others;
        many_come_due_together;
    }
}

async fn after_a_delay(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", FAR)).await?;
    let record = a.in_state(id, State::Scheduled).await?;
    let delay = record.due_at.since(record.created_at);
    holds("it is due that long after its enqueue", delay == FAR)?;
    a.claims_none("q").await?;
    a.maintain_all().await?;
    a.in_state(id, State::Scheduled).await.map(drop)
}

async fn at_a_moment_to_come(store: Store) -> Verdict {
    let a = store.open().await?;
    let moment = a.store_now().await?.after(FAR);
    let id = a.put(&NewJob { schedule: Schedule::At(moment), ..job("q") }).await?;
    same("when it is due", a.in_state(id, State::Scheduled).await?.due_at, moment)?;
    a.claims_none("q").await
}

async fn at_a_moment_past_is_ready(store: Store) -> Verdict {
    let a = store.open().await?;
    let moment = a.store_now().await?.before(FAR);
    let id = a.put(&NewJob { schedule: Schedule::At(moment), ..job("q") }).await?;
    let record = a.in_state(id, State::Ready).await?;
    same("when it was due", record.due_at, record.created_at)?;
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn after_no_delay_is_ready(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", Duration::ZERO)).await?;
    a.in_state(id, State::Ready).await?;
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn runs_when_it_is_due(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", SOON)).await?;
    let due_at = a.record(id).await?.due_at;
    let claimed = a.take_soon("q").await?;
    same("the claimed job", claimed.token.id, id)?;
    same("when it was due", claimed.due_at, due_at)?;
    let claimed_at = a.record(id).await?.claimed_at.unwrap_or_default();
    holds("it was claimed when due", claimed_at >= due_at)
}

async fn in_a_hundred_years(store: Store) -> Verdict {
    let a = store.open().await?;
    let century = Duration::from_secs(100 * 365 * 24 * 3_600);
    let moment = a.store_now().await?.after(century);
    let after = a.put(&delayed("q", century)).await?;
    let at = a.put(&NewJob { schedule: Schedule::At(moment), ..job("q") }).await?;
    let record = a.in_state(after, State::Scheduled).await?;
    same("the delay", record.due_at.since(record.created_at), century)?;
    same("the moment", a.in_state(at, State::Scheduled).await?.due_at, moment)?;
    a.claims_none("q").await
}

async fn does_not_hold_up_others(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&delayed("q", FAR)).await?;
    let id = a.put(&job("q")).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![id])
}

async fn many_come_due_together(store: Store) -> Verdict {
    let a = store.open().await?;
    let batch: Vec<_> = (0..100).map(|_| delayed("q", SOON)).collect();
    let ids = a.put_all(&batch).await?;
    a.pass(a.record(ids[99]).await?.due_at).await?;
    let mut claimed = Vec::new();
    while claimed.len() < 100 {
        claimed.push(a.take_soon("q").await?.token.id);
    }
    crate::asserts::same_set("the claimed jobs", claimed, ids)
}
