//! Waiting for work and for change.

use std::future::Future;
use std::time::Duration;

use anyqueue_core::{Error, JobId, Outcome, WaitRequest};

use crate::asserts::{Failure, PATIENCE, Verdict, eventually, same, same_set};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{complete, job, jobs, percent, queue, retry};
use crate::store::Store;

cases! { "wait";
    law wait_for_work "returns when a job may be claimable, at the latest after the timeout; what comes after the first poll is noticed where the backend has Push" {
        returns_by_its_timeout;
        notices_an_enqueue_of_another_handle [Push];
        notices_an_enqueue_of_its_own_handle [Push];
        notices_each_of_several_queues [Push];
        notices_a_release [Push];
        notices_a_retry_without_delay [Push];
        notices_a_retry_by_hand [Push, Retry];
        many_workers_take_all_jobs;
        may_be_dropped;
    }
    law wait_for_change "returns when one of the jobs may have changed, at the latest after the timeout" {
        of_jobs_returns_by_its_timeout;
        notices_a_settle_of_another_handle [Push];
        notices_progress [Push, Progress];
        notices_a_cancel [Push, Cancel];
        of_jobs_may_be_dropped;
    }
}

/// A timeout that is not reached within a case.
const NEVER: Duration = Duration::from_secs(3_600);

/// Waits for work in these queues.
async fn work(a: Handle, names: &'static [&'static str], timeout: Duration) -> Result<(), Error> {
    let queues = names.iter().map(|name| queue(name)).collect();
    a.wait_for_work(&WaitRequest { queues, timeout, worker: a.worker().clone() }).await
}

async fn change(a: Handle, id: JobId, timeout: Duration) -> Result<(), Error> {
    a.wait_for_change(&[id], timeout).await
}

/// The wait ends well before its timeout.
async fn ends(what: &str, wait: impl Future<Output = Result<(), Error>>) -> Verdict {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::new(format!("the wait did not end within {PATIENCE:?}: {what}"))),
    }
}

/// The wait, polled for the first time before the event, notices it.
async fn notices(
    what: &str,
    wait: impl Future<Output = Result<(), Error>>,
    event: impl Future<Output = Verdict>,
) -> Verdict {
    let mut wait = Box::pin(wait);
    let early = futures::poll!(&mut wait);
    event.await?;
    match early {
        std::task::Poll::Ready(answer) => Ok(answer?),
        std::task::Poll::Pending => ends(what, wait).await,
    }
}

async fn returns_by_its_timeout(store: Store) -> Verdict {
    let a = store.open().await?;
    for millis in [0, 50, 200] {
        ends("its timeout is over", work(a.clone(), &["q"], Duration::from_millis(millis))).await?;
    }
    Ok(())
}

async fn notices_an_enqueue_of_another_handle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..5 {
        let event = async { b.put(&job("q")).await.map(drop) };
        notices("a job was enqueued", work(a.clone(), &["q"], NEVER), event).await?;
        a.take("q").await?;
    }
    Ok(())
}

async fn notices_an_enqueue_of_its_own_handle(store: Store) -> Verdict {
    let a = store.open().await?;
    let event = async { a.put(&job("q")).await.map(drop) };
    notices("a job was enqueued", work(a.clone(), &["q"], NEVER), event).await
}

async fn notices_each_of_several_queues(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for name in ["x", "y", "z"] {
        let event = async { b.put(&job(name)).await.map(drop) };
        notices("a job was enqueued", work(a.clone(), &["x", "y", "z"], NEVER), event).await?;
        a.take(name).await?;
    }
    Ok(())
}

async fn notices_a_release(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = b.put_and_take("q").await?.token;
    let event = b.accepted(token, Outcome::Release);
    notices("a job was released", work(a, &["q"], NEVER), event).await
}

async fn notices_a_retry_without_delay(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = b.put_and_take("q").await?.token;
    let event = b.accepted(token, retry(Duration::ZERO));
    notices("a job is to run again", work(a, &["q"], NEVER), event).await
}

async fn notices_a_retry_by_hand(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let id = b.run("q", crate::samples::fail()).await?.id;
    let event = async { b.retry_one(id).await.map(drop) };
    notices("a job was retried by hand", work(a, &["q"], NEVER), event).await
}

async fn many_workers_take_all_jobs(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    let a = store.open().await?;
    let workers: Vec<_> =
        handles.into_iter().map(|handle| tokio::spawn(take_all(handle))).collect();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(a.put(&job("q")).await?);
    }
    eventually("all jobs are taken", async || {
        let records = a.records(&ids).await?;
        Ok(records.iter().all(|record| record.counter > 0).then_some(()))
    })
    .await?;
    a.put_all(&jobs("stop", workers.len())).await?;
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await??);
    }
    same_set("the jobs taken", taken, ids)
}

/// What a worker does: it claims, and waits where the claim gave nothing. The
/// timeout covers a job that came in between. Ends with a job of `stop`.
async fn take_all(a: Handle) -> Result<Vec<JobId>, Failure> {
    let mut taken = Vec::new();
    loop {
        let claimed = a.claim_from(&["stop", "q"], 1, NEVER).await?;
        match claimed.first() {
            Some(job) if job.queue.as_str() == "stop" => return Ok(taken),
            Some(job) => taken.push(job.token.id),
            None => work(a.clone(), &["stop", "q"], Duration::from_secs(1)).await?,
        }
    }
}

async fn may_be_dropped(store: Store) -> Verdict {
    let a = store.open().await?;
    for _ in 0..20 {
        let mut wait = Box::pin(work(a.clone(), &["q"], NEVER));
        let _ = futures::poll!(&mut wait);
    }
    let id = a.put(&job("q")).await?;
    same("the claimed job", a.take("q").await?.token.id, id)?;
    ends("its timeout is over", work(a, &["q"], Duration::from_millis(50))).await
}

async fn of_jobs_returns_by_its_timeout(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for id in [id, job("q").id] {
        ends("its timeout is over", change(a.clone(), id, Duration::from_millis(50))).await?;
    }
    Ok(())
}

async fn notices_a_settle_of_another_handle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = b.put_and_take("q").await?.token;
    let event = b.accepted(token, complete());
    notices("the job was completed", change(a, token.id, NEVER), event).await
}

async fn notices_progress(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = b.put_and_take("q").await?.token;
    for n in 1..4 {
        let event = async { b.report(token, percent(n)).await.map(drop) };
        notices("progress was reported", change(a.clone(), token.id, NEVER), event).await?;
    }
    Ok(())
}

async fn notices_a_cancel(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let id = b.put(&job("q")).await?;
    let event = async { b.cancel_one(id).await.map(drop) };
    notices("the job was cancelled", change(a, id, NEVER), event).await
}

async fn of_jobs_may_be_dropped(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    for _ in 0..20 {
        let mut wait = Box::pin(change(a.clone(), token.id, NEVER));
        let _ = futures::poll!(&mut wait);
    }
    a.accepted(token, complete()).await
}
