//! kill -9 of a worker's process in the middle of its jobs, again and again:
//! no job is lost.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyqueue::{
    Client, Filter, Job, JobContext, JobError, Page, RetryPolicy, State, StateCounts, Worker,
};
use serde::{Deserialize, Serialize};

/// Set in the worker's process: the store it works on.
const CHILD: &str = "ANYQUEUE_TEST_KILL_CHILD";

const KILLS: usize = 50;
/// How many jobs a worker finds at least; one is killed long before it has
/// done them.
const JOBS: usize = 300;

#[derive(Serialize, Deserialize)]
struct Nap(usize);

impl Job for Nap {
    const KIND: &'static str = "nap";
    type Output = usize;

    fn retry_policy() -> RetryPolicy {
        // Each kill charges an attempt of what was held.
        RetryPolicy::fixed(10_000, Duration::ZERO)
    }
}

async fn nap(job: Nap, _: JobContext) -> Result<usize, JobError> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(job.0)
}

/// The worker's process; in the test's own it has nothing to do.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let client = Client::connect(&url).await.unwrap();
    let worker = Worker::new(&client).register(nap).concurrency(4);
    let worker = worker.lease(Duration::from_millis(300));
    worker.run_until(std::future::pending()).await.unwrap();
}

fn spawn(url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn counts(client: &Client) -> StateCounts {
    client.counts().await.unwrap()[0].counts
}

fn completed(counts: &StateCounts) -> usize {
    usize::try_from(counts.get(State::Completed)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_no_job() {
    fifty_kills(&common::Store::new("sqlite")).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ANYQUEUE_TEST_POSTGRES_URL, and `-- --ignored on_postgres`"]
async fn fifty_kills_lose_no_job_on_postgres() {
    fifty_kills(&common::Store::new("postgres")).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ANYQUEUE_TEST_REDIS_URL, and `-- --ignored on_redis`"]
async fn fifty_kills_lose_no_job_on_redis() {
    fifty_kills(&common::Store::new("redis")).await;
}

async fn fifty_kills(store: &common::Store) {
    let client = store.client().await;
    let mut jobs = Vec::new();
    let mut killed_midway = 0;
    let mut before = 0;
    for _ in 0..KILLS {
        if jobs.len() - before < JOBS {
            let more: Vec<_> = (jobs.len()..jobs.len() + JOBS)
                .map(|n| client.job(Nap(n)).build().unwrap())
                .collect();
            client.enqueue_many(&more).await.unwrap();
            jobs.extend(more);
        }
        let mut child = spawn(&store.url);
        // It has jobs in its hands, and has settled some of its own.
        while completed(&counts(&client).await) == before {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the worker ended by itself"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = counts(&client).await;
        killed_midway += usize::from(now.get(State::Running) > 0);
        assert_eq!(now.total(), jobs.len() as u64);
        before = completed(&now);
    }
    let mut child = spawn(&store.url);
    for (n, job) in jobs.iter().enumerate() {
        assert_eq!(client.handle::<Nap>(job.id).wait().await.unwrap(), n);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(completed(&counts(&client).await), jobs.len());
    assert!(
        killed_midway > KILLS / 2,
        "only {killed_midway} kills hit a running job"
    );
    let all = client
        .list(&Filter::any(), &Page::first(1_000))
        .await
        .unwrap()
        .jobs;
    let again = all.iter().filter(|job| job.attempt > 1).count();
    assert!(again > 0, "no job had to run again");
}
