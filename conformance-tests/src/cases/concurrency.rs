//! Many handles at once: nothing is lost, nothing held twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyqueue_core::{
    Cancelled, Enqueued, JobId, Outcome, Settled, Settlement, State, StateCounts, Token,
};

use crate::asserts::{Failure, Verdict, holds, same, same_set};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{LONG, complete, fail, job, jobs, retry};
use crate::store::{Store, together};

cases! { "concurrency";
    law claim_exclusive "a job is held by at most one unexpired lease, across processes and hosts" {
        eight_threads_drain_four_thousand_jobs;
        with_leases_that_expire_no_two_overlap;
        sixteen_claim_one_job;
        of_several_queues_in_different_orders;
    }
    law settle_once "a token settles once" {
        of_two_outcomes_at_once_one_is_accepted;
        of_the_same_outcome_at_once_all_are_accepted;
        overlapping_batches_in_opposite_orders;
    }
    law cancel_running "cancel and claim agree on who came first" {
        cancel_against_claim [Cancel];
        cancel_against_complete [Cancel];
    }
    law enqueue_repeat "an id that the store knows is answered `Created` and changes nothing" {
        of_one_id_by_eight_at_once;
    }
    law counts "counts are exact once nothing changes" {
        after_eight_threads_of_everything [Counts, Cancel];
    }
}

const THREADS: usize = 8;

/// Who holds which job, as the holders know it.
#[derive(Clone, Default)]
struct Register(Arc<Mutex<HashMap<JobId, usize>>>);

impl Register {
    fn take(&self, id: JobId, holder: usize) -> Verdict {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.insert(id, holder) {
            None => Ok(()),
            Some(other) => {
                Err(Failure::new(format!("{id} is held by {other} and given to {holder} as well")))
            }
        }
    }

    fn give_back(&self, id: JobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

async fn eight_threads_drain_four_thousand_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.extend(a.put_all(&jobs("q", 1_000)).await?);
    }
    let register = Register::default();
    let done = store
        .on_threads(THREADS, move |number, handle| drain(number, handle, register.clone()))
        .await?;
    same_set("the jobs completed, all threads together", done.into_iter().flatten(), ids)?;
    a.claims_none("q").await
}

/// Claims and settles in batches until nothing is left. Every third job is
/// released once before.
async fn drain(number: usize, a: Handle, register: Register) -> Result<Vec<JobId>, Failure> {
    let mut done = Vec::new();
    loop {
        let claimed = a.claim_many("q", 50).await?;
        if claimed.is_empty() {
            return Ok(done);
        }
        let mut batch = Vec::new();
        for job in claimed {
            let token = job.token;
            register.take(token.id, number)?;
            let again = token.id.as_bytes()[15] % 3 == 0 && token.counter == 1;
            let outcome = if again { Outcome::Release } else { complete() };
            batch.push(Settlement { token, outcome });
        }
        // Given back before the settle: from then on another may hold it.
        batch.iter().for_each(|settlement| register.give_back(settlement.token.id));
        let answers = a.settle(&batch).await?;
        same("the answers to settle", answers, vec![Settled::Accepted; batch.len()])?;
        let completed = batch.iter().filter(|settlement| settlement.outcome != Outcome::Release);
        done.extend(completed.map(|settlement| settlement.token.id));
    }
}

async fn with_leases_that_expire_no_two_overlap(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 40)).await?;
    // Each thread claims with short leases and lets most of them run out; the
    // intervals, on the store's clock, are compared afterwards.
    let intervals = store
        .on_threads(4, |_, a| async move {
            let mut held = Vec::new();
            for _ in 0..40 {
                for job in a.claim_from(&["q"], 5, Duration::from_millis(60)).await? {
                    let record = a.record(job.token.id).await?;
                    if record.counter == job.token.counter {
                        let from = record.claimed_at.unwrap_or_default();
                        held.push((job.token.id, from, job.lease_until, job.token.counter));
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(held)
        })
        .await?;
    let mut intervals: Vec<_> = intervals.into_iter().flatten().collect();
    intervals.sort();
    holds("leases were taken again", intervals.len() > ids.len())?;
    for pair in intervals.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (first, second) = (pair[0], pair[1]);
        let what = format!("two leases of {} do not overlap: {first:?} {second:?}", first.0);
        holds(&what, second.1 >= first.2 && second.3 > first.3)?;
    }
    Ok(())
}

async fn sixteen_claim_one_job(store: Store) -> Verdict {
    let handles = store.open_many(THREADS).await?;
    for _ in 0..20 {
        let id = handles[0].put(&job("q")).await?;
        let claims = handles.iter().chain(&handles).cloned();
        let work = claims.map(|a| async move { a.claim_ids("q", 1).await });
        let claimed = together(work.collect()).await?;
        same_set("the job claimed, all together", claimed.into_iter().flatten(), [id])?;
    }
    Ok(())
}

async fn of_several_queues_in_different_orders(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.extend(a.put_all(&jobs(name, 100)).await?);
    }
    let claimed = store
        .on_threads(6, |number, a| async move {
            let mut queues = ["a", "b", "c"];
            queues.rotate_left(number % 3);
            let mut claimed = Vec::new();
            loop {
                let some = a.claim_from(&queues, 7, LONG).await?;
                if some.is_empty() {
                    return Ok(claimed);
                }
                claimed.extend(some.iter().map(|job| job.token.id));
                queues.rotate_left(1);
            }
        })
        .await?;
    same_set("the claimed jobs, all threads together", claimed.into_iter().flatten(), ids)
}

async fn of_two_outcomes_at_once_one_is_accepted(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..30 {
        let token = a.put_and_take("q").await?.token;
        let (one, two) = tokio::join!(a.settle_one(token, complete()), b.settle_one(token, fail()));
        let state = match (one?, two?) {
            (Settled::Accepted, Settled::Stale) => State::Completed,
            (Settled::Stale, Settled::Accepted) => State::Failed,
            both => return same("accepted one of two", both, (Settled::Accepted, Settled::Stale)),
        };
        a.in_state(token.id, state).await?;
    }
    Ok(())
}

async fn of_the_same_outcome_at_once_all_are_accepted(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    for _ in 0..15 {
        let token = handles[0].put_and_take("q").await?.token;
        let work =
            handles.iter().cloned().map(|a| async move { a.accepted(token, retry(LONG)).await });
        together(work.collect()).await?;
        let record = handles[0].in_state(token.id, State::Scheduled).await?;
        same("the errors kept", record.errors.len(), 1)?;
    }
    Ok(())
}

async fn overlapping_batches_in_opposite_orders(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    for _ in 0..10 {
        let ids = handles[0].put_all(&jobs("q", 60)).await?;
        let claimed = handles[0].claim_many("q", 60).await?;
        let tokens: Vec<Token> = claimed.iter().map(|job| job.token).collect();
        let work = handles.iter().cloned().enumerate().map(|(place, a)| {
            let mut tokens = tokens.clone();
            if place % 2 == 1 {
                tokens.reverse();
            }
            async move {
                a.heartbeat(&tokens, LONG).await?;
                let settle = |token| Settlement { token, outcome: complete() };
                let batch: Vec<_> = tokens.into_iter().map(settle).collect();
                Ok(a.settle(&batch).await?)
            }
        });
        for answers in together(work.collect()).await? {
            same("the answers", answers, vec![Settled::Accepted; 60])?;
        }
        let records = handles[0].records(&ids).await?;
        holds("all are completed", records.iter().all(|r| r.state == State::Completed))?;
    }
    Ok(())
}

async fn cancel_against_claim(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..30 {
        let id = a.put(&job("q")).await?;
        let (cancelled, claimed) = tokio::join!(a.cancel_one(id), b.claim_ids("q", 1));
        let (cancelled, claimed) = (cancelled?, claimed?);
        let record = a.record(id).await?;
        let expected = match cancelled {
            Cancelled::Done => (vec![], State::Cancelled, false),
            _ => (vec![id], State::Running, true),
        };
        let found = (claimed, record.state, record.cancel_requested);
        same(&format!("claim and record after cancel answered {cancelled:?}"), found, expected)?;
    }
    a.claims_none("q").await
}

async fn cancel_against_complete(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..30 {
        let token = a.put_and_take("q").await?.token;
        let (cancelled, settled) =
            tokio::join!(a.cancel_one(token.id), b.settle_one(token, complete()));
        let (cancelled, settled) = (cancelled?, settled?);
        same("the completion stands", settled, Settled::Accepted)?;
        let either = [Cancelled::Requested, Cancelled::Finished(State::Completed)];
        holds(&format!("cancel's answer {cancelled:?} fits"), either.contains(&cancelled))?;
        a.in_state(token.id, State::Completed).await?;
    }
    Ok(())
}

async fn of_one_id_by_eight_at_once(store: Store) -> Verdict {
    let handles = store.open_many(THREADS).await?;
    for _ in 0..20 {
        let (one, two) = (job("q"), job("q"));
        let work = handles.iter().cloned().enumerate().map(|(place, a)| {
            let mut batch = [one.clone(), two.clone()];
            batch.rotate_left(place % 2);
            async move { Ok((a.enqueue(&batch).await?, batch.map(|job| Enqueued::Created(job.id)))) }
        });
        for (answers, expected) in together(work.collect()).await? {
            same("the answers", answers, expected.to_vec())?;
        }
        let claimed = handles[0].claim_ids("q", 9).await?;
        same_set("the claimed jobs", claimed, [one.id, two.id])?;
    }
    Ok(())
}

async fn after_eight_threads_of_everything(store: Store) -> Verdict {
    let a = store.open().await?;
    let sums = store.on_threads(THREADS, everything).await?;
    let mut sum = StateCounts::default();
    for thread in sums {
        State::ALL.into_iter().for_each(|state| *sum.get_mut(state) += thread.get(state));
    }
    let found = a.count("q").await?;
    same("all jobs together", found.total(), sum.total())?;
    same("the completed, the failed", of(&found), of(&sum))?;
    let mut by_get = StateCounts::default();
    let listed = match a.capabilities().has(anyqueue_core::Capability::List) {
        true => a.list_all(&anyqueue_core::Filter::any(), 500).await?,
        false => return Ok(()),
    };
    listed.iter().for_each(|record| *by_get.get_mut(record.state) += 1);
    same("the counts and the list", found, by_get)
}

fn of(counts: &StateCounts) -> [u64; 2] {
    [State::Completed, State::Failed].map(|state| counts.get(state))
}

/// Enqueues, claims, settles and cancels, beside others that do the same; what
/// it enqueued is counted as ready, what it ended under its end.
async fn everything(number: usize, a: Handle) -> Result<StateCounts, Failure> {
    let mut sum = StateCounts::default();
    for round in 0..25 {
        let ids = a.put_all(&jobs("q", 4)).await?;
        *sum.get_mut(State::Ready) += 4;
        a.cancel(&ids[..1]).await?;
        for (place, job) in a.claim_many("q", 3).await?.iter().enumerate() {
            let (outcome, end) = match (number + round + place) % 4 {
                0 => (fail(), Some(State::Failed)),
                1 => (Outcome::Release, None),
                2 => (retry(Duration::ZERO), None),
                _ => (complete(), Some(State::Completed)),
            };
            a.accepted(job.token, outcome).await?;
            if let Some(state) = end {
                *sum.get_mut(state) += 1;
                *sum.get_mut(State::Ready) -= 1;
            }
        }
    }
    Ok(sum)
}
