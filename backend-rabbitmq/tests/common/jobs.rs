//! Short calls on a backend.

use std::time::{Duration, Instant};

use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, JobId, JobRecord, Kind, NewJob, Outcome, Payload, QueueName,
    RetryPolicy, Settled, Settlement, Token, WorkerId,
};

/// A lease that does not run out.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn job() -> NewJob {
    let kind = Kind::new("kind").unwrap();
    let payload = Payload::parse("\"payload\"", 100).unwrap();
    let mut job = NewJob::new(QueueName::default(), kind, payload);
    job.retry = RetryPolicy::fixed(10_000, Duration::ZERO);
    job
}

pub(crate) fn complete() -> Outcome {
    let result = Payload::parse("1", 1).unwrap();
    Outcome::Complete { result }
}

pub(crate) fn claim_of(limit: u32, lease: Duration) -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::default()],
        limit,
        lease,
        worker: WorkerId::random(),
    }
}

/// Makes a call until it succeeds; what fails must be worth asking again. The
/// bound, far beyond a broker's start, only tells a hang from a result.
pub(crate) async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, anyqueue_core::Error>) -> T {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.kind().is_transient(), "{error}");
                assert!(begun.elapsed() < Duration::from_secs(300), "still {error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn put(store: &dyn Backend) -> JobId {
    let job = [job()];
    again(async || store.enqueue(&job).await).await[0].id()
}

pub(crate) async fn take(store: &dyn Backend, lease: Duration) -> ClaimedJob {
    let request = claim_of(1, lease);
    super::eventually("a job is claimed", async || {
        again(async || store.claim(&request).await).await.pop()
    })
    .await
}

pub(crate) async fn settle(store: &dyn Backend, token: Token) -> Settled {
    let settlement = [Settlement {
        token,
        outcome: complete(),
    }];
    again(async || store.settle(&settlement).await).await[0]
}

pub(crate) async fn record(store: &dyn Backend, id: JobId) -> JobRecord {
    again(async || store.get(&[id]).await)
        .await
        .pop()
        .flatten()
        .expect("the job is there")
}
