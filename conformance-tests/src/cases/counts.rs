//! Counts by queue and state, and the queues that a store knows.

use std::time::Duration;

use anyqueue_core::{Flow, Outcome, QueueCounts, QueueInfo, Retention, State, StateCounts};

use crate::asserts::{Verdict, eventually, same};
use crate::case::cases;
use crate::samples::{FAR, complete, delayed, fail, job, jobs, queue, retry};
use crate::store::Store;

cases! { "counts";
    law counts "counts are exact while nothing changes, by queue and state, ordered by queue name; queues that hold none are left out" {
        an_empty_store_has_none [Counts];
        of_each_state [Counts, Cancel];
        by_queue_in_order_of_the_names [Counts];
        follow_a_job_through_its_life [Counts];
        leave_out_what_was_purged [Counts, Purge];
        a_repeated_enqueue_counts_once [Counts];
        of_a_thousand_jobs [Counts];
    }
    law queues "the queues that hold a job or are paused, ordered by name" {
        hold_a_job_in_whatever_state;
        or_are_paused [Pause];
        an_empty_store_knows_none;
    }
}

fn counts(name: &str, numbers: [u64; 6]) -> QueueCounts {
    let mut counts = StateCounts::default();
    for (state, number) in State::ALL.into_iter().zip(numbers) {
        *counts.get_mut(state) = number;
    }
    QueueCounts { queue: queue(name), counts }
}

fn info(name: &str, flow: Flow) -> QueueInfo {
    QueueInfo { name: queue(name), flow }
}

async fn an_empty_store_has_none(store: Store) -> Verdict {
    let a = store.open().await?;
    same("the counts", a.counts().await?, vec![])
}

async fn of_each_state(store: Store) -> Verdict {
    let a = store.open().await?;
    a.run("q", complete()).await?;
    for _ in 0..2 {
        a.run("q", fail()).await?;
    }
    for _ in 0..3 {
        a.put_and_take("q").await?;
    }
    for _ in 0..4 {
        let id = a.put(&job("q")).await?;
        a.cancel_one(id).await?;
    }
    a.put_all(&jobs("q", 5)).await?;
    for _ in 0..6 {
        a.put(&delayed("q", FAR)).await?;
    }
    same("the counts", a.counts().await?, vec![counts("q", [6, 5, 3, 1, 2, 4])])
}

async fn by_queue_in_order_of_the_names(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for (name, count) in [("m", 2), ("z", 1), ("a", 3), ("B", 4)] {
        a.put_all(&jobs(name, count)).await?;
    }
    let expected: Vec<_> = [("B", 4), ("a", 3), ("m", 2), ("z", 1)]
        .map(|(name, ready)| counts(name, [0, ready, 0, 0, 0, 0]))
        .into();
    same("the counts", a.counts().await?, expected.clone())?;
    same("the counts of another handle", b.counts().await?, expected)
}

async fn follow_a_job_through_its_life(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    same("enqueued", a.counts().await?, vec![counts("q", [0, 1, 0, 0, 0, 0])])?;
    let token = a.take("q").await?.token;
    same("claimed", a.counts().await?, vec![counts("q", [0, 0, 1, 0, 0, 0])])?;
    a.accepted(token, Outcome::Release).await?;
    same("released", a.counts().await?, vec![counts("q", [0, 1, 0, 0, 0, 0])])?;
    let token = a.take("q").await?.token;
    a.accepted(token, retry(Duration::ZERO)).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    a.accepted(token, complete()).await?;
    same("completed", a.counts().await?, vec![counts("q", [0, 0, 0, 1, 0, 0])])
}

async fn leave_out_what_was_purged(store: Store) -> Verdict {
    let a = store.open().await?;
    a.run("q", complete()).await?;
    a.run("other", complete()).await?;
    a.put(&job("other")).await?;
    eventually("the finished jobs are purged", async || {
        a.maintain_with(100, Retention::all(Duration::ZERO)).await?;
        let expected = vec![counts("other", [0, 1, 0, 0, 0, 0])];
        Ok((a.counts().await? == expected).then_some(()))
    })
    .await
}

async fn a_repeated_enqueue_counts_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let job = job("q");
    for _ in 0..3 {
        a.put(&job).await?;
    }
    same("the counts", a.counts().await?, vec![counts("q", [0, 1, 0, 0, 0, 0])])
}

async fn of_a_thousand_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 1_000)).await?;
    let claimed = a.claim_many("q", 300).await?;
    let batch: Vec<_> = claimed[..100]
        .iter()
        .map(|job| anyqueue_core::Settlement { token: job.token, outcome: complete() })
        .collect();
    a.settle(&batch).await?;
    same("the counts", a.counts().await?, vec![counts("q", [0, 700, 200, 100, 0, 0])])
}

async fn hold_a_job_in_whatever_state(store: Store) -> Verdict {
    let a = store.open().await?;
    a.run("done", complete()).await?;
    a.put_and_take("running").await?;
    a.put(&job("B")).await?;
    a.put(&delayed("a", FAR)).await?;
    let expected = ["B", "a", "done", "running"].map(|name| info(name, Flow::Open)).to_vec();
    same("the queues", a.queues().await?, expected)
}

async fn or_are_paused(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put_all(&[job("b"), job("c")]).await?;
    a.flow("c", Flow::Paused).await?;
    a.flow("a", Flow::Paused).await?;
    let expected = vec![info("a", Flow::Paused), info("b", Flow::Open), info("c", Flow::Paused)];
    same("the queues", b.queues().await?, expected)?;
    b.flow("a", Flow::Open).await?;
    b.flow("c", Flow::Open).await?;
    let expected = vec![info("b", Flow::Open), info("c", Flow::Open)];
    same("the queues once opened", a.queues().await?, expected)
}

async fn an_empty_store_knows_none(store: Store) -> Verdict {
    let a = store.open().await?;
    same("the queues", a.queues().await?, vec![])
}
