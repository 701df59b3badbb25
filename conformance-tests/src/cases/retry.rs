//! Retrying ended jobs by hand.

use std::time::Duration;

use anyqueue_core::{Cancelled, JobId, Retried, State};

use crate::asserts::{Failure, Verdict, holds, same};
use crate::case::cases;
use crate::samples::{FAR, SHORT, attempts, complete, delayed, fail, job, percent, queue, retry};
use crate::store::{Store, together};

cases! { "retry";
    law retry_by_hand "a failed or cancelled job becomes `ready`, due now, with attempt 0, no flag and no end time; errors stay, the counter is never reset" {
        of_a_failed_job [Retry];
        of_a_cancelled_job [Retry, Cancel];
        of_a_job_whose_lease_expired [Retry];
        has_fresh_attempts_but_not_a_fresh_counter [Retry];
        clears_the_flag [Retry, Cancel];
        of_other_states_changes_nothing [Retry];
        of_an_unknown_job [Retry];
        answers_in_the_order_of_the_ids [Retry];
        twice_is_ready_once [Retry];
        of_one_job_by_many_is_claimed_once [Retry];
        beside_a_cancel_comes_before_or_after [Retry, Cancel];
        keeps_the_sequence_of_progress [Retry, Progress];
    }
}

async fn of_a_failed_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.run("q", fail()).await?.id;
    let before = a.record(id).await?;
    same("the answer", a.retry_one(id).await?, Retried::Ready)?;
    let record = a.in_state(id, State::Ready).await?;
    same("the attempt", record.attempt, 0)?;
    same("the end", record.finished_at, None)?;
    same("the errors", record.errors, before.errors)?;
    same("the counter", record.counter, before.counter)?;
    holds(
        "it is due now",
        record.due_at >= before.finished_at.unwrap_or_default(),
    )?;
    let claimed = a.take("q").await?;
    same("the claimed job", claimed.token.id, id)?;
    same("the attempt claimed", claimed.attempt, 1)?;
    a.accepted(claimed.token, complete()).await
}

async fn of_a_cancelled_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", FAR)).await?;
    a.cancel_one(id).await?;
    same("the answer", a.retry_one(id).await?, Retried::Ready)?;
    let record = a.in_state(id, State::Ready).await?;
    same("the end", record.finished_at, None)?;
    same("the claimed job", a.take("q").await?.token.id, id)
}

async fn of_a_job_whose_lease_expired(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&attempts("q", 1)).await?;
    let first = a.take_for("q", SHORT).await?;
    a.outlive(&first).await?;
    a.maintain_all().await?;
    a.in_state(id, State::Failed).await?;
    same("the answer", a.retry_one(id).await?, Retried::Ready)?;
    let second = a.take("q").await?;
    same("the attempt", second.attempt, 1)?;
    holds(
        "the counter rose",
        second.token.counter > first.token.counter,
    )
}

async fn has_fresh_attempts_but_not_a_fresh_counter(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&attempts("q", 2)).await?;
    let mut last = 0;
    for round in 1..=3_usize {
        for (attempt, outcome) in [(1, retry(Duration::ZERO)), (2, fail())] {
            let claimed = a.take("q").await?;
            same("the attempt", claimed.attempt, attempt)?;
            holds("the counter rose", claimed.token.counter > last)?;
            last = claimed.token.counter;
            a.accepted(claimed.token, outcome).await?;
        }
        same(
            "the errors kept",
            a.record(id).await?.errors.len(),
            2 * round,
        )?;
        same("the answer", a.retry_one(id).await?, Retried::Ready)?;
    }
    Ok(())
}

async fn clears_the_flag(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.cancel_one(token.id).await?;
    a.accepted(token, retry(FAR)).await?;
    holds(
        "the flag was set",
        a.in_state(token.id, State::Cancelled)
            .await?
            .cancel_requested,
    )?;
    same("the answer", a.retry_one(token.id).await?, Retried::Ready)?;
    holds(
        "the flag is cleared",
        !a.record(token.id).await?.cancel_requested,
    )?;
    let token = a.take("q").await?.token;
    a.accepted(token, retry(FAR)).await?;
    a.in_state(token.id, State::Scheduled).await.map(drop)
}

async fn of_other_states_changes_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let completed = a.run("q", complete()).await?.id;
    let running = a.put_and_take("q").await?.token.id;
    let ids = a.put_all(&[job("q"), delayed("q", FAR)]).await?;
    for (id, state) in [
        (completed, State::Completed),
        (running, State::Running),
        (ids[0], State::Ready),
        (ids[1], State::Scheduled),
    ] {
        let before = a.record(id).await?;
        same(
            "the answer",
            a.retry_one(id).await?,
            Retried::NotEnded(state),
        )?;
        same("the record", a.record(id).await?, before)?;
    }
    Ok(())
}

async fn of_an_unknown_job(store: Store) -> Verdict {
    let a = store.open().await?;
    same(
        "the answer",
        a.retry_one(JobId::new(&queue("q"))).await?,
        Retried::NotFound,
    )
}

async fn answers_in_the_order_of_the_ids(store: Store) -> Verdict {
    let a = store.open().await?;
    let failed = a.run("q", fail()).await?.id;
    let completed = a.run("q", complete()).await?.id;
    let unknown = JobId::new(&queue("q"));
    let expected = vec![
        Retried::NotFound,
        Retried::NotEnded(State::Completed),
        Retried::Ready,
        Retried::NotEnded(State::Ready),
    ];
    same(
        "the answers",
        a.retry(&[unknown, completed, failed, failed]).await?,
        expected,
    )?;
    same("the answers to none", a.retry(&[]).await?, vec![])
}

async fn twice_is_ready_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.run("q", fail()).await?.id;
    same("the answer", a.retry_one(id).await?, Retried::Ready)?;
    let before = a.record(id).await?;
    same(
        "the answer again",
        a.retry_one(id).await?,
        Retried::NotEnded(State::Ready),
    )?;
    same("the record", a.record(id).await?, before)?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![id])
}

async fn of_one_job_by_many_is_claimed_once(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    for _ in 0..10 {
        let id = handles[0].run("q", fail()).await?.id;
        let work = handles
            .iter()
            .cloned()
            .map(|a| async move { a.retry_one(id).await });
        let answers = together(work.collect()).await?;
        let ready = answers
            .iter()
            .filter(|answer| **answer == Retried::Ready)
            .count();
        same("how many made it ready", ready, 1)?;
        same(
            "the claimed jobs",
            handles[0].claim_ids("q", 9).await?,
            vec![id],
        )?;
    }
    Ok(())
}

async fn beside_a_cancel_comes_before_or_after(store: Store) -> Verdict {
    let [a, b] = [store.open().await?, store.open().await?];
    for _ in 0..40 {
        let id = a.put(&job("q")).await?;
        let (cancelled, retried) = futures::join!(a.cancel_one(id), b.retry_one(id));
        same("the answer to cancel", cancelled?, Cancelled::Done)?;
        let state = match retried? {
            Retried::NotEnded(State::Ready) => State::Cancelled,
            Retried::Ready => State::Ready,
            other => return Err(Failure::new(format!("the answer to retry: {other:?}"))),
        };
        a.in_state(id, state).await?;
    }
    Ok(())
}

async fn keeps_the_sequence_of_progress(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.report(token, percent(30)).await?;
    let before = a.record(token.id).await?.progress.sequence;
    a.accepted(token, fail()).await?;
    same("the answer", a.retry_one(token.id).await?, Retried::Ready)?;
    let after = a.record(token.id).await?.progress.sequence;
    holds("the sequence did not fall", after >= before && after > 0)
}
