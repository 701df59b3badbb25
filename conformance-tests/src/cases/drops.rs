//! Futures dropped at any await.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyqueue_core::{ClaimRequest, NewJob, Settlement, State};

use crate::asserts::{Verdict, eventually, holds, same, same_set};
use crate::case::cases;
use crate::samples::{LONG, complete, job, jobs, percent, queue, retry};
use crate::store::Store;

cases! { "drops";
    law cancel_safety "a future dropped at any await leaves the store consistent and its connection either clean or discarded; the dropped call may have taken effect" {
        of_an_enqueue_stores_all_or_nothing;
        of_a_claim_loses_no_job;
        of_a_settle_happens_once_at_most;
        of_heartbeat_and_progress [Progress];
        of_cancel_and_retry_by_hand [Cancel, Retry];
        of_reads [List, Counts];
        of_many_calls_at_once;
    }
}

/// The most polls that a call is given before it is dropped.
const POLLS: usize = 40;

/// The call's answer, or `None` where it was dropped at its poll number
/// `polls`, each poll made when the call asked for it.
async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn of_an_enqueue_stores_all_or_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut all = Vec::new();
    for polls in 0..POLLS {
        let batch = jobs("q", 3);
        let answer = dropped_after(polls, a.enqueue(&batch)).await;
        let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
        let known = a.get(&ids).await?.into_iter().flatten().count();
        holds(&format!("{known} of 3 jobs are stored: all or none"), known == 0 || known == 3)?;
        // An enqueue whose answer was lost can be asked again.
        a.put_all(&batch).await?;
        all.extend(ids);
        if answer.transpose()?.is_some() {
            break;
        }
    }
    same_set("the claimed jobs", a.claim_ids("q", 1_000).await?, all)
}

async fn of_a_claim_loses_no_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let lease = Duration::from_millis(50);
    let request =
        ClaimRequest { queues: vec![queue("q")], limit: 2, lease, worker: a.worker().clone() };
    let ids = a.put_all(&jobs("q", 20)).await?;
    for polls in 0..POLLS {
        let answer = dropped_after(polls, a.claim(&request)).await;
        if answer.transpose()?.is_some() {
            break;
        }
    }
    let mut claimed = Vec::new();
    eventually("all jobs are claimed again", async || {
        for job in a.claim_many("q", 100).await? {
            claimed.push(job.token.id);
            a.accepted(job.token, complete()).await?;
        }
        Ok((claimed.len() >= ids.len()).then_some(()))
    })
    .await?;
    same_set("the jobs claimed and completed", claimed, ids)
}

async fn of_a_settle_happens_once_at_most(store: Store) -> Verdict {
    let a = store.open().await?;
    for polls in 0..POLLS {
        let token = a.put_and_take("q").await?.token;
        let outcome = retry(LONG);
        let settlement = [Settlement { token, outcome: outcome.clone() }];
        let answer = dropped_after(polls, a.settle(&settlement)).await;
        // A settle whose answer was lost can be asked again.
        a.accepted(token, outcome).await?;
        let record = a.in_state(token.id, State::Scheduled).await?;
        same("the errors kept", record.errors.len(), 1)?;
        if answer.transpose()?.is_some() {
            break;
        }
    }
    Ok(())
}

async fn of_heartbeat_and_progress(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    for polls in 0..POLLS {
        let one = dropped_after(polls, a.beat(token, LONG)).await.transpose()?;
        let two = dropped_after(polls, a.report(token, percent(5))).await.transpose()?;
        if one.is_some() && two.is_some() {
            break;
        }
    }
    a.report(token, percent(9)).await?;
    same("the values", a.record(token.id).await?.progress.values, percent(9))?;
    a.accepted(token, complete()).await
}

async fn of_cancel_and_retry_by_hand(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for polls in 0..POLLS {
        let one = dropped_after(polls, a.cancel_one(id)).await.transpose()?;
        a.cancel_one(id).await?;
        a.in_state(id, State::Cancelled).await?;
        let two = dropped_after(polls, a.retry_one(id)).await.transpose()?;
        a.retry_one(id).await?;
        a.in_state(id, State::Ready).await?;
        if one.is_some() && two.is_some() {
            break;
        }
    }
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![id])
}

async fn of_reads(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for polls in 0..POLLS {
        let one = dropped_after(polls, a.find(id)).await.transpose()?;
        let filter = anyqueue_core::Filter::any();
        let two = dropped_after(polls, a.list_all(&filter, 9)).await.transpose()?;
        let three = dropped_after(polls, a.counts()).await.transpose()?;
        if one.is_some() && two.is_some() && three.is_some() {
            break;
        }
    }
    a.in_state(id, State::Ready).await?;
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn of_many_calls_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut batches: Vec<Vec<NewJob>> = Vec::new();
    for round in 0..20 {
        let some: Vec<_> = (0..8).map(|_| jobs("q", 2)).collect();
        let calls = some
            .iter()
            .enumerate()
            .map(|(place, batch)| dropped_after((round + place) % 8, a.enqueue(batch)));
        for answer in futures::future::join_all(calls).await {
            answer.transpose()?;
        }
        batches.extend(some);
    }
    let all = batches.concat();
    let ids = a.put_all(&all).await?;
    let mut claimed = Vec::new();
    loop {
        let some = a.claim_ids("q", 100).await?;
        if some.is_empty() {
            break;
        }
        claimed.extend(some);
    }
    same_set("the claimed jobs", claimed, ids)
}
