//! A schema of one test, and servers of a test's own.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod pooler;
pub(crate) mod proxy;
pub(crate) mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, Enqueued, Kind, NewJob, Outcome, Payload, QueueName,
    Settlement, State, StateCounts, WorkerId,
};
use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig, Schema};

const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

/// A generous bound that only tells a hang from a result.
pub(crate) const HANG: Duration = Duration::from_secs(60);
/// A lease that does not run out within a test.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// A schema of one test on the server for tests.
pub(crate) struct Place {
    pub(crate) config: PostgresConfig,
}

impl Place {
    /// A missing server is a failure: nothing was shown.
    pub(crate) fn new() -> Self {
        let Ok(url) = std::env::var(URL) else {
            panic!("{URL} is not set; `scripts/servers up postgres` starts a server");
        };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut config = PostgresConfig::from_url(&url).unwrap();
        let name = format!("test_{}_{number}", std::process::id());
        config.schema = Schema::new(name).unwrap();
        config.pool = 4;
        Self { config }
    }

    /// A prepared store in it.
    pub(crate) async fn store(&self) -> PostgresBackend {
        let backend = PostgresBackend::open(self.config.clone());
        backend.prepare().await.unwrap();
        backend
    }

    /// The application's own connection.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.config.connect)
            .await
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let config = self.config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
                let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", config.schema.name());
                // What cannot be removed stays behind in a server for tests.
                let _ = raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await;
            });
        });
        let _ = thread.join();
    }
}

/// The password in the URL of the server for tests.
pub(crate) fn password() -> String {
    let url = std::env::var(URL).unwrap_or_default();
    let user = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'));
    let password = user.and_then(|(user, _)| user.split_once(':'));
    password.map_or("", |(_, password)| password).to_owned()
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

pub(crate) fn request(limit: u32, lease: Duration) -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::default()],
        limit,
        lease,
        worker: WorkerId::new(format!("process-{}", std::process::id())).unwrap(),
    }
}

pub(crate) async fn claim(backend: &PostgresBackend, limit: u32) -> Vec<ClaimedJob> {
    backend.claim(&request(limit, LONG)).await.unwrap()
}

pub(crate) fn result() -> Payload {
    Payload::parse("{}", 9).unwrap()
}

/// Settlements that complete these jobs.
pub(crate) fn complete(claimed: &[ClaimedJob]) -> Vec<Settlement> {
    let settlement = |job: &ClaimedJob| Settlement {
        token: job.token,
        outcome: Outcome::Complete { result: result() },
    };
    claimed.iter().map(settlement).collect()
}

pub(crate) async fn counts(backend: &PostgresBackend) -> StateCounts {
    let counts = backend.counts().await.unwrap();
    counts
        .first()
        .map_or_else(StateCounts::default, |queue| queue.counts)
}

pub(crate) async fn count(backend: &PostgresBackend, state: State) -> u64 {
    counts(backend).await.get(state)
}
