//! What the tests share: a directory that goes away, and short calls.
#![allow(dead_code)] // Each test file uses its own part.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, Enqueued, Kind, NewJob, Outcome, Payload, QueueName,
    Settlement, State, StateCounts, WorkerId,
};
use anyqueue_sqlite::{SqliteBackend, SqliteConfig};

/// Tells a hang from a result; no test is about how long something takes.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// A lease that does not run out.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// A directory of one test's own, removed at its end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyqueue-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("jobs.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A prepared store in this file.
pub(crate) async fn store(file: &Path) -> SqliteBackend {
    let backend = SqliteBackend::open(SqliteConfig::new(file)).unwrap();
    backend.prepare().await.unwrap();
    backend
}

/// New jobs of the default queue.
pub(crate) fn jobs(count: usize) -> Vec<NewJob> {
    let kind = Kind::new("kind").unwrap();
    let payload = Payload::parse("[1]", 9).unwrap();
    let job = |_| NewJob::new(QueueName::default(), kind.clone(), payload.clone());
    (0..count).map(job).collect()
}

pub(crate) fn created(jobs: &[NewJob]) -> Vec<Enqueued> {
    jobs.iter().map(|job| Enqueued::Created(job.id)).collect()
}

pub(crate) async fn claim(backend: &SqliteBackend, limit: u32, lease: Duration) -> Vec<ClaimedJob> {
    let request = ClaimRequest {
        queues: vec![QueueName::default()],
        limit,
        lease,
        worker: WorkerId::new(format!("process-{}", std::process::id())).unwrap(),
    };
    backend.claim(&request).await.unwrap()
}

/// Settlements that complete these jobs.
pub(crate) fn complete(claimed: &[ClaimedJob]) -> Vec<Settlement> {
    let result = Payload::parse("{}", 9).unwrap();
    let settlement = |job: &ClaimedJob| Settlement {
        token: job.token,
        outcome: Outcome::Complete {
            result: result.clone(),
        },
    };
    claimed.iter().map(settlement).collect()
}

pub(crate) async fn counts(backend: &SqliteBackend) -> StateCounts {
    let counts = backend.counts().await.unwrap();
    counts
        .first()
        .map_or_else(StateCounts::default, |queue| queue.counts)
}

pub(crate) async fn count(backend: &SqliteBackend, state: State) -> u64 {
    counts(backend).await.get(state)
}
