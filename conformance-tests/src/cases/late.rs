//! Calls that were dropped and take effect late, behind a call that undoes
//! them. Whether one does, and when, is up to chance; so each case follows
//! what it finds, and takes no order of the two that could not have been. It
//! ends by ending the job, behind which nothing may come.

use anyqueue_core::{
    Cancelled, ClaimedJob, Enqueued, Flow, Holding, JobId, JobRecord, Retried, State,
};

use super::drops::{all_polls, dropped_after};
use crate::asserts::{Failure, Verdict, eventually, holds, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, LONG, complete, job, percent, queue, retry, unique};
use crate::store::Store;

cases! { "late";
    law late_effect "a call that was dropped takes effect once at most, each item as a whole or not at all, and perhaps behind calls that were made later: as one that is made only then" {
        of_a_cancel_comes_once_at_most [Cancel, Retry];
        of_a_cancel_of_a_running_job_ends_it_or_comes_too_late [Cancel];
        of_a_retry_by_hand_doubles_no_key [Cancel, Retry, Unique];
        of_a_pause_comes_once_at_most [Pause];
        of_an_opening_comes_once_at_most [Pause];
        of_heartbeat_and_progress_ends_with_the_settle [Progress];
    }
}

/// The jobs are as they were left, whatever has come since: all completed.
async fn all_completed(a: &Handle, left: Vec<JobRecord>) -> Verdict {
    let ids: Vec<JobId> = left.iter().map(|job| job.id).collect();
    same("the jobs at last", a.records(&ids).await?, left)
}

/// Completes a job that was claimed; gives what it is then.
async fn ended(a: &Handle, claimed: &ClaimedJob) -> Result<JobRecord, Failure> {
    a.accepted(claimed.token, complete()).await?;
    a.in_state(claimed.token.id, State::Completed).await
}

/// Ready and cancelled jobs are so in all their fields.
fn whole(job: &JobRecord) -> Verdict {
    match job.state {
        State::Ready => holds(
            "a job that is ready has no end and no flag",
            job.finished_at.is_none() && !job.cancel_requested && job.attempt == 0,
        ),
        State::Cancelled => holds("a cancelled job has an end", job.finished_at.is_some()),
        other => Err(Failure::new(format!("a job is {}", other.as_str()))),
    }
}

async fn of_a_cancel_comes_once_at_most(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut left = Vec::new();
    for polls in all_polls() {
        let name = format!("q-{polls}");
        let id = a.put(&job(&name)).await?;
        let cancelled = dropped_after(polls, a.cancel_one(id)).await.transpose()?;
        let retried = a.retry_one(id).await?;
        whole(&a.record(id).await?)?;
        let may_come = match (cancelled, retried) {
            (None | Some(Cancelled::Done), Retried::Ready) => false,
            (None, Retried::NotEnded(State::Ready)) => true,
            other => {
                let text = format!("the answers to cancel, then retry: {other:?}");
                return Err(Failure::new(text));
            }
        };
        // It is claimed, unless the cancel comes first.
        let claimed = eventually("the job is claimed or cancelled", async || {
            let claimed = a.claim_many(&name, 2).await?.pop();
            let is_cancelled = a.record(id).await?.state == State::Cancelled;
            Ok((claimed.is_some() || is_cancelled).then_some(claimed))
        });
        let claimed = match claimed.await? {
            Some(claimed) => claimed,
            None => {
                holds("the cancel comes once", may_come)?;
                whole(&a.record(id).await?)?;
                same("a retry behind it", a.retry_one(id).await?, Retried::Ready)?;
                a.take(&name).await?
            }
        };
        same("the job claimed", claimed.token.id, id)?;
        left.push(ended(&a, &claimed).await?);
        if cancelled.is_some() {
            break;
        }
    }
    // A job that has ended cannot be cancelled, nor flagged.
    all_completed(&a, left).await
}

async fn of_a_cancel_of_a_running_job_ends_it_or_comes_too_late(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut left = Vec::new();
    for polls in all_polls() {
        let token = a.put_and_take("q").await?.token;
        let cancelled = dropped_after(polls, a.cancel_one(token.id)).await;
        let cancelled = cancelled.transpose()?;
        a.accepted(token, retry(FAR)).await?;
        let found = a.record(token.id).await?;
        match (cancelled, found.state) {
            (None | Some(Cancelled::Requested), State::Cancelled) | (None, State::Scheduled) => {}
            other => {
                let text = format!("the answer to cancel, then the state: {other:?}");
                return Err(Failure::new(text));
            }
        }
        same("the errors of one settle", found.errors.len(), 1)?;
        same("a cancel", a.cancel_one(token.id).await?, Cancelled::Done)?;
        let found = a.in_state(token.id, State::Cancelled).await?;
        whole(&found)?;
        left.push(found);
        if cancelled.is_some() {
            break;
        }
    }
    all_completed(&a, left).await
}

async fn of_a_retry_by_hand_doubles_no_key(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut left = Vec::new();
    for polls in all_polls() {
        let name = format!("q-{polls}");
        let [first, second] = [unique(&name, "key"), unique(&name, "key")];
        a.put(&first).await?;
        same("a cancel", a.cancel_one(first.id).await?, Cancelled::Done)?;
        let retried = dropped_after(polls, a.retry_one(first.id)).await;
        let retried = retried.transpose()?;
        // Takes the key, unless the retry has it by now.
        let answer = a.enqueue_one(&second).await?;
        let (owner, may_come) = match (retried, answer) {
            (None | Some(Retried::Ready), Enqueued::Existing(id)) if id == first.id => (id, false),
            (None, Enqueued::Created(id)) if id == second.id => (id, true),
            other => {
                let text = format!("the answers to retry, then enqueue: {other:?}");
                return Err(Failure::new(text));
            }
        };
        let claimed = a.take_soon(&name).await?;
        same("the job claimed", claimed.token.id, owner)?;
        a.claims_none(&name).await?;
        if may_come {
            a.in_state(first.id, State::Cancelled).await?;
        }
        left.push(ended(&a, &claimed).await?);
        if may_come {
            // The key is free: the retry may come now, or this one.
            let again = a.retry_one(first.id).await?;
            let ready = [Retried::Ready, Retried::NotEnded(State::Ready)];
            let text = format!("the answer to a retry once the key is free: {again:?}");
            holds(&text, ready.contains(&again))?;
            whole(&a.record(first.id).await?)?;
            let claimed = a.take_soon(&name).await?;
            same("the job claimed at last", claimed.token.id, first.id)?;
            left.push(ended(&a, &claimed).await?);
        }
        if retried.is_some() {
            break;
        }
    }
    all_completed(&a, left).await
}

async fn flow_of(a: &Handle, name: &str) -> Result<Flow, Failure> {
    let queues = a.queues().await?;
    let found = queues.into_iter().find(|info| info.name == queue(name));
    Ok(found.map_or(Flow::Open, |info| info.flow))
}

async fn of_a_pause_comes_once_at_most(store: Store) -> Verdict {
    let a = store.open().await?;
    for polls in all_polls() {
        let name = format!("q-{polls}");
        let id = a.put(&job(&name)).await?;
        let paused = dropped_after(polls, a.flow(&name, Flow::Paused)).await;
        let paused = paused.transpose()?;
        let has_come = flow_of(&a, &name).await? == Flow::Paused;
        a.flow(&name, Flow::Open).await?;
        let claimed = eventually("a job is claimed or its queue paused", async || {
            let claimed = a.claim_many(&name, 1).await?.pop();
            let is_paused = flow_of(&a, &name).await? == Flow::Paused;
            Ok((claimed.is_some() || is_paused).then_some(claimed))
        });
        let claimed = match claimed.await? {
            Some(claimed) => claimed,
            None => {
                holds("the pause comes once", paused.is_none() && !has_come)?;
                a.flow(&name, Flow::Open).await?;
                a.take(&name).await?
            }
        };
        same("the job claimed", claimed.token.id, id)?;
        if paused.is_some() {
            break;
        }
    }
    Ok(())
}

async fn of_an_opening_comes_once_at_most(store: Store) -> Verdict {
    let a = store.open().await?;
    for polls in all_polls() {
        let name = format!("q-{polls}");
        a.flow(&name, Flow::Paused).await?;
        a.put(&job(&name)).await?;
        let opened = dropped_after(polls, a.flow(&name, Flow::Open)).await;
        let opened = opened.transpose()?;
        let has_come = flow_of(&a, &name).await? == Flow::Open;
        a.flow(&name, Flow::Paused).await?;
        if !a.claim_ids(&name, 1).await?.is_empty() {
            holds("the opening comes once", opened.is_none() && !has_come)?;
            a.put(&job(&name)).await?;
            a.flow(&name, Flow::Paused).await?;
            a.claims_none(&name).await?;
        }
        a.flow(&name, Flow::Open).await?;
        a.take(&name).await?;
        if opened.is_some() {
            break;
        }
    }
    Ok(())
}

async fn of_heartbeat_and_progress_ends_with_the_settle(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut left = Vec::new();
    for polls in all_polls() {
        let claimed = a.put_and_take("q").await?;
        let token = claimed.token;
        let beaten = dropped_after(polls, a.beat(token, LONG)).await;
        let beaten = beaten.transpose()?;
        let reported = dropped_after(polls, a.report(token, percent(5))).await;
        let reported = reported.transpose()?;
        same(
            "a report",
            a.report(token, percent(9)).await?,
            Holding::Held,
        )?;
        let first = a.record(token.id).await?.progress;
        let text = format!("the dropped report or the one behind it is kept: {first:?}");
        let late = reported.is_none() && first.values == percent(5);
        holds(&text, first.values == percent(9) || late)?;
        let job = ended(&a, &claimed).await?;
        let what = "the sequence of progress never falls";
        holds(what, job.progress.sequence >= first.sequence)?;
        left.push(job);
        if beaten.is_some() && reported.is_some() {
            break;
        }
    }
    // Whatever comes behind the settle is stale.
    all_completed(&a, left).await
}
