//! Purging finished jobs past their retention.

use std::time::Duration;

use anyqueue_core::{JobId, MaintainLimits, Retention, State};

use crate::asserts::{Failure, Verdict, eventually, holds, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, SOON, complete, delayed, fail, job, jobs, unique};
use crate::store::{Store, together};

cases! { "purge";
    law purge "purge removes a finished job once its retention is over, never another, and never frees a unique key earlier than its policy" {
        each_outcome_by_its_own_retention [Purge, Cancel];
        never_an_unfinished_job [Purge];
        not_before_the_retention_is_over [Purge];
        the_default_keeps_what_just_ended [Purge];
        in_bounded_steps [Purge];
        from_many_workers_counts_each_once [Purge];
        leaves_nothing_to_read_or_list [Purge, List];
        keeps_the_key_of_a_later_job [Purge, Unique];
    }
}

const NOW: Duration = Duration::ZERO;

fn retention(completed: Duration, failed: Duration, cancelled: Duration) -> Retention {
    let mut retention = Retention::all(FAR);
    retention.completed = completed;
    retention.failed = failed;
    retention.cancelled = cancelled;
    retention
}

/// A completed, a failed and a cancelled job.
async fn ended(a: &Handle) -> Result<[JobId; 3], Failure> {
    let (completed, failed) = (a.run("q", complete()).await?.id, a.run("q", fail()).await?.id);
    let cancelled = a.put(&job("q")).await?;
    a.cancel_one(cancelled).await?;
    Ok([completed, failed, cancelled])
}

/// Maintains until this many jobs are purged.
async fn purge(a: &Handle, retention: Retention, count: u64) -> Verdict {
    let mut purged = 0;
    eventually("the jobs are purged", async || {
        purged += a.maintain_with(100, retention).await?.purged;
        Ok((purged >= count).then_some(()))
    })
    .await?;
    same("the jobs purged", purged, count)
}

async fn each_outcome_by_its_own_retention(store: Store) -> Verdict {
    let a = store.open().await?;
    for (gone, retention) in
        [retention(NOW, FAR, FAR), retention(FAR, NOW, FAR), retention(FAR, FAR, NOW)]
            .into_iter()
            .enumerate()
    {
        let ids = ended(&a).await?;
        purge(&a, retention, 1).await?;
        let found = a.get(&ids).await?;
        let there: Vec<_> = found.iter().map(Option::is_some).collect();
        let expected: Vec<_> = (0..3).map(|place| place != gone).collect();
        same("whether the completed, the failed, the cancelled one is there", there, expected)?;
        purge(&a, Retention::all(NOW), 2).await?;
    }
    Ok(())
}

async fn never_an_unfinished_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let running = a.put_and_take("q").await?.token.id;
    let ids = a.put_all(&[job("q"), delayed("q", FAR)]).await?;
    let all = [running, ids[0], ids[1]];
    let before = a.records(&all).await?;
    let done = a.run("other", complete()).await?.id;
    purge(&a, Retention::all(NOW), 1).await?;
    same("the finished job", a.find(done).await?, None)?;
    same("the records of the others", a.records(&all).await?, before)
}

async fn not_before_the_retention_is_over(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.run("q", complete()).await?.id;
    let end = a.record(id).await?.finished_at.unwrap_or_default();
    purge(&a, Retention::all(SOON), 1).await?;
    same("the job", a.find(id).await?, None)?;
    let now = a.store_now().await?;
    holds("its retention was over by then", now.since(end) >= SOON)
}

async fn the_default_keeps_what_just_ended(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = [a.run("q", complete()).await?.id, a.run("q", fail()).await?.id];
    let before = a.records(&ids).await?;
    let did = a.maintain(&MaintainLimits::default()).await?;
    same("the jobs purged", did.purged, 0)?;
    same("the records", a.records(&ids).await?, before)
}

async fn in_bounded_steps(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 7)).await?;
    for job in a.claim_many("q", 7).await? {
        a.accepted(job.token, complete()).await?;
    }
    a.pass(a.store_now().await?).await?;
    let limits = MaintainLimits { jobs: 3, retention: Retention::all(NOW) };
    let first = a.maintain(&limits).await?;
    same("the jobs purged by the first call", first.purged, 3)?;
    holds("it says that there may be more", first.more)?;
    let rest = a.maintain_with(3, Retention::all(NOW)).await?;
    same("the jobs purged by the others", rest.purged, 4)
}

async fn from_many_workers_counts_each_once(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    let a = handles[0].clone();
    a.put_all(&jobs("q", 40)).await?;
    let batch: Vec<_> = a
        .claim_many("q", 40)
        .await?
        .iter()
        .map(|job| anyqueue_core::Settlement { token: job.token, outcome: complete() })
        .collect();
    a.settle(&batch).await?;
    a.pass(a.store_now().await?).await?;
    let work = handles.into_iter().map(|handle| async move {
        Ok(handle.maintain_with(7, Retention::all(NOW)).await?.purged)
    });
    let purged: u64 = together(work.collect()).await?.iter().sum();
    same("the jobs purged, all workers together", purged, 40)
}

async fn leaves_nothing_to_read_or_list(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.run("q", complete()).await?;
    purge(&a, Retention::all(NOW), 1).await?;
    same("its record", a.find(token.id).await?, None)?;
    same("the list", a.list_all(&anyqueue_core::Filter::any(), 9).await?, vec![])?;
    same("its settle again", a.settle_one(token, fail()).await?, anyqueue_core::Settled::Stale)?;
    same("the queues", a.queues().await?, vec![])
}

async fn keeps_the_key_of_a_later_job(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&unique("q", "k")).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    let later = a.put(&unique("q", "k")).await?;
    purge(&a, Retention::all(NOW), 1).await?;
    let answer = a.enqueue_one(&unique("q", "k")).await?;
    same("the answer", answer, anyqueue_core::Enqueued::Existing(later))?;
    a.in_state(later, State::Ready).await.map(drop)
}
