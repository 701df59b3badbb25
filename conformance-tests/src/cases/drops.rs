//! Futures dropped at any await: each call is dropped at its first poll, at its
//! second, and so on, until it is answered before that.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyqueue_core::{
    ClaimRequest, Filter, JobId, MaintainLimits, NewJob, Page, Retention, Settlement, State,
    WaitRequest,
};

use crate::asserts::{Failure, PATIENCE, Verdict, eventually, holds, same, same_set};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{LONG, SOON, complete, delayed, job, jobs, percent, queue, retry};
use crate::store::Store;

cases! { "drops";
    law cancel_safety "a future dropped at any await leaves the store consistent and its connection either clean or discarded" {
        of_an_enqueue_stores_all_or_nothing;
        of_a_claim_loses_no_job;
        of_a_settle_happens_once_at_most;
        of_a_settle_of_several_does_all_or_nothing;
        of_reads [List, Counts];
        of_maintain_does_each_chore_once [Counts, Purge];
        of_a_wait_loses_no_job;
        of_a_wait_for_a_change;
        of_every_call_leaves_every_connection_usable [Cancel, Retry, List, Counts, Progress];
        of_many_calls_at_once;
    }
}

/// A call that is not answered within so many polls has no end.
const POLLS: usize = 2_000;

/// How many polls a call is given before it is dropped: each number in turn.
/// The case ends them, once the call is answered.
pub(super) fn all_polls() -> impl Iterator<Item = usize> {
    (0..=POLLS).inspect(|polls| assert!(*polls < POLLS, "a call has no end"))
}

/// The call's answer, or `None` where it was dropped at its poll number
/// `polls`, each poll made when the call asked for it.
pub(super) async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    let dropped = std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let in_time = tokio::time::timeout(PATIENCE, dropped).await;
    in_time.expect("a call asks for its next poll")
}

async fn of_an_enqueue_stores_all_or_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut all = Vec::new();
    for polls in all_polls() {
        let batch = jobs("q", 3);
        let answer = dropped_after(polls, a.enqueue(&batch)).await;
        let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
        let known = a.get(&ids).await?.into_iter().flatten().count();
        holds(
            &format!("{known} of 3 jobs are stored: all or none"),
            known == 0 || known == 3,
        )?;
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
    let request = ClaimRequest {
        queues: vec![queue("q")],
        limit: 2,
        lease,
        worker: a.worker().clone(),
    };
    let ids = a.put_all(&jobs("q", 20)).await?;
    for polls in all_polls() {
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
    for polls in all_polls() {
        let token = a.put_and_take("q").await?.token;
        let outcome = retry(LONG);
        let settlement = [Settlement {
            token,
            outcome: outcome.clone(),
        }];
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

async fn of_a_settle_of_several_does_all_or_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    for polls in all_polls() {
        a.put_all(&jobs("q", 3)).await?;
        let claimed = a.claim_many("q", 3).await?;
        let ids: Vec<JobId> = claimed.iter().map(|job| job.token.id).collect();
        same("jobs claimed", ids.len(), 3)?;
        let settlements: Vec<_> = claimed
            .iter()
            .map(|job| Settlement {
                token: job.token,
                outcome: complete(),
            })
            .collect();
        let answer = dropped_after(polls, a.settle(&settlements)).await;
        let records = a.records(&ids).await?;
        let ended = records.iter().filter(|job| job.state == State::Completed);
        let ended = ended.count();
        holds(
            &format!("{ended} of 3 jobs are settled: all or none"),
            ended == 0 || ended == 3,
        )?;
        for settlement in settlements {
            a.accepted(settlement.token, settlement.outcome).await?;
        }
        if answer.transpose()?.is_some() {
            break;
        }
    }
    Ok(())
}

async fn of_reads(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for polls in all_polls() {
        let one = dropped_after(polls, a.find(id)).await.transpose()?;
        let two = dropped_after(polls, a.list_all(&Filter::any(), 9))
            .await
            .transpose()?;
        let three = dropped_after(polls, a.counts()).await.transpose()?;
        let four = dropped_after(polls, a.queues()).await.transpose()?;
        if one.is_some() && two.is_some() && three.is_some() && four.is_some() {
            break;
        }
    }
    a.in_state(id, State::Ready).await?;
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn of_maintain_does_each_chore_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let retention = Retention::all(Duration::ZERO);
    let limits = MaintainLimits {
        jobs: 100,
        retention,
    };
    for polls in all_polls() {
        // One of each: a lease to end, a job to promote, one to purge.
        let id = a.put(&job("lapses")).await?;
        let lapsed = a.take_for("lapses", Duration::from_millis(1)).await?;
        let due = a.put(&delayed("due", Duration::from_millis(1))).await?;
        a.run("ends", complete()).await?;
        let after = a.record(due).await?.due_at.max(lapsed.lease_until);
        a.pass(after).await?;
        let answer = dropped_after(polls, a.maintain(&limits)).await;
        // Beside the dropped one, which may be at it still, a call may find
        // nothing left that it can do.
        eventually("each chore is done", async || {
            a.maintain_with(100, retention).await?;
            let states = [a.record(id).await?.state, a.record(due).await?.state];
            let is_purged = a.count("ends").await?.total() == 0;
            Ok((states == [State::Ready; 2] && is_purged).then_some(()))
        })
        .await?;
        let record = a.in_state(id, State::Ready).await?;
        same("the errors of one lease", record.errors.len(), 1)?;
        for queue in ["lapses", "due"] {
            let token = a.take(queue).await?.token;
            a.accepted(token, complete()).await?;
        }
        eventually("what ended is purged", async || {
            a.maintain_with(100, retention).await?;
            Ok((a.count("lapses").await?.total() == 0).then_some(()))
        })
        .await?;
        if answer.transpose()?.is_some() {
            break;
        }
    }
    Ok(())
}

fn work(a: &Handle, timeout: Duration) -> WaitRequest {
    WaitRequest {
        queues: vec![queue("q")],
        timeout,
        worker: a.worker().clone(),
    }
}

async fn of_a_wait_loses_no_job(store: Store) -> Verdict {
    let [a, b] = [store.open().await?, store.open().await?];
    for polls in all_polls() {
        // What wakes the wait may come to it, before it is dropped or after.
        let request = work(&a, SOON / 4);
        let wait = dropped_after(polls, a.wait_for_work(&request));
        let new = job("q");
        let (answer, put) = futures::join!(wait, b.put(&new));
        let id = put?;
        let token = a.take("q").await?.token;
        same("the job claimed", token.id, id)?;
        a.accepted(token, complete()).await?;
        if answer.transpose()?.is_some() {
            break;
        }
    }
    // A wait that is not dropped is still told, in time or by the deadline.
    let request = work(&a, PATIENCE / 10);
    let new = job("q");
    let (told, put) = futures::join!(a.wait_for_work(&request), b.put(&new));
    told?;
    put?;
    a.take_soon("q").await.map(drop)
}

async fn of_a_wait_for_a_change(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for polls in all_polls() {
        let ids = [id];
        let wait = dropped_after(polls, a.wait_for_change(&ids, SOON / 8));
        let answer = wait.await.transpose()?;
        a.in_state(id, State::Ready).await?;
        if answer.is_some() {
            break;
        }
    }
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn of_every_call_leaves_every_connection_usable(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut ids = Vec::new();
    // Several times each: one connection less would not be noticed.
    for polls in (0..16).cycle().take(6 * 16) {
        let new = jobs("q", 3);
        // A batch that names a job twice may be more than one statement.
        let twice = [new[0].clone(), new[1].clone(), new[0].clone()];
        let _ = dropped_after(polls, a.enqueue(&new)).await;
        let _ = dropped_after(polls, a.enqueue(&twice)).await;
        ids = a.put_all(&new).await?;
        let _ = dropped_after(polls, a.claim_from(&["q"], 1, LONG)).await;
        let claimed = a.claim_many("q", 2).await?;
        let tokens: Vec<_> = claimed.iter().map(|job| job.token).collect();
        let settled = |outcome: fn() -> anyqueue_core::Outcome| {
            tokens.iter().map(move |token| Settlement {
                token: *token,
                outcome: outcome(),
            })
        };
        let batch: Vec<_> = settled(|| retry(LONG)).chain(settled(complete)).collect();
        let _ = dropped_after(polls, a.heartbeat(&tokens, LONG)).await;
        if let Some(token) = tokens.first() {
            let _ = dropped_after(polls, a.report(*token, percent(1))).await;
        }
        let _ = dropped_after(polls, a.settle(&batch)).await;
        let _ = dropped_after(polls, a.cancel(&ids)).await;
        let _ = dropped_after(polls, a.retry(&ids)).await;
        let _ = dropped_after(polls, a.get(&ids)).await;
        let _ = dropped_after(polls, a.list(&Filter::any(), &Page::default())).await;
        let _ = dropped_after(polls, a.counts()).await;
        let _ = dropped_after(polls, a.queues()).await;
        let _ = dropped_after(polls, a.maintain(&MaintainLimits::default())).await;
        let request = work(&a, SOON / 80);
        let _ = dropped_after(polls, a.wait_for_work(&request)).await;
        let _ = dropped_after(polls, a.wait_for_change(&ids, SOON / 80)).await;
        let _ = dropped_after(polls, a.prepare()).await;
    }
    let calls = (0..32).map(|_| a.records(&ids));
    let calls = tokio::time::timeout(PATIENCE, futures::future::try_join_all(calls));
    let late = |_| Failure::new("calls wait for connections that are not given back");
    calls.await.map_err(late)??;
    store.at_rest().await
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
