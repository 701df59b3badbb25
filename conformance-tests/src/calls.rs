//! Short calls that a backend's own tests are made of, on plain jobs of the
//! default queue. They panic where a call fails.

use std::time::Duration;

use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, Enqueued, Kind, NewJob, Outcome, Payload, QueueName,
    Settlement, State, StateCounts, WorkerId,
};

pub use crate::samples::LONG;

/// New jobs of the default queue.
///
/// # Panics
/// Never.
pub fn jobs(count: usize) -> Vec<NewJob> {
    let kind = Kind::new("kind").expect("a valid kind");
    let payload = Payload::parse("[1]", 9).expect("JSON within the limit");
    let job = |_| NewJob::new(QueueName::default(), kind.clone(), payload.clone());
    (0..count).map(job).collect()
}

/// What an enqueue answers where none of the jobs was there yet.
pub fn created(jobs: &[NewJob]) -> Vec<Enqueued> {
    jobs.iter().map(|job| Enqueued::Created(job.id)).collect()
}

/// A claim by this process in the default queue.
///
/// # Panics
/// Never.
pub fn request(limit: u32, lease: Duration) -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::default()],
        limit,
        lease,
        worker: WorkerId::new(format!("process-{}", std::process::id())).expect("a valid id"),
    }
}

/// Claims so many jobs, with a lease that does not run out within a test.
///
/// # Panics
/// Where the claim fails.
pub async fn claim(backend: &impl Backend, limit: u32) -> Vec<ClaimedJob> {
    let claimed = backend.claim(&request(limit, LONG)).await;
    claimed.expect("a claim")
}

/// What completed jobs give.
///
/// # Panics
/// Never.
pub fn result() -> Payload {
    Payload::parse("{}", 9).expect("JSON within the limit")
}

/// Settlements that complete these jobs.
pub fn complete(claimed: &[ClaimedJob]) -> Vec<Settlement> {
    let settlement = |job: &ClaimedJob| Settlement {
        token: job.token,
        outcome: Outcome::Complete { result: result() },
    };
    claimed.iter().map(settlement).collect()
}

/// The counts of the only queue; all nought where there is none yet.
///
/// # Panics
/// Where they cannot be read.
pub async fn counts(backend: &impl Backend) -> StateCounts {
    let counts = backend.counts().await.expect("counts");
    let first = counts.first();
    first.map_or_else(StateCounts::default, |queue| queue.counts)
}

/// How many jobs of the only queue are in this state.
///
/// # Panics
/// As [`counts`].
pub async fn count(backend: &impl Backend, state: State) -> u64 {
    counts(backend).await.get(state)
}
