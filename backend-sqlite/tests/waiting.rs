//! Who is woken by what. Timeouts are long: a wait that ends was woken.

mod common;

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyqueue_core::{Backend, Error, Flow, QueueName, Schedule, WaitRequest, WorkerId};
use anyqueue_sqlite::{SqliteBackend, SqliteConfig, Threads};
use common::{Directory, HANG, LONG, claim, complete, jobs, store};
use tokio::time::timeout;

fn work() -> WaitRequest {
    WaitRequest {
        queues: vec![QueueName::default()],
        timeout: HANG * 2,
        worker: WorkerId::random(),
    }
}

/// The same file through other threads and connections, as another process.
async fn other(file: &Path) -> SqliteBackend {
    let mut config = SqliteConfig::new(file);
    config.threads = Threads::Own;
    let backend = SqliteBackend::open(config).unwrap();
    backend.prepare().await.unwrap();
    backend
}

/// Begins the wait, then acts, then expects the wait to end. One that ends at
/// once was told of what came before it, late, as it may: it is begun again.
async fn woken<F>(wait: impl Fn() -> F, act: impl AsyncFnOnce())
where
    F: Future<Output = Result<(), Error>>,
{
    let begun = Instant::now();
    let waiting = loop {
        let mut waiting = Box::pin(wait());
        match timeout(Duration::ZERO, &mut waiting).await {
            Ok(told) => told.unwrap(),
            Err(_) => break waiting,
        }
        assert!(begun.elapsed() < HANG, "no wait begins");
    };
    act().await;
    timeout(HANG, waiting).await.expect("woken").unwrap();
}

#[tokio::test]
async fn an_enqueue_wakes_waits_for_work_here_and_elsewhere() {
    let directory = Directory::new();
    let here = store(&directory.file()).await;
    let elsewhere = other(&directory.file()).await;
    let request = work();
    woken(
        || elsewhere.wait_for_work(&request),
        async || {
            woken(
                || here.wait_for_work(&request),
                async || {
                    here.enqueue(&jobs(1)).await.unwrap();
                },
            )
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_job_that_is_there_ends_the_wait_at_once() {
    let directory = Directory::new();
    let here = store(&directory.file()).await;
    here.enqueue(&jobs(1)).await.unwrap();
    let waited = timeout(HANG, here.wait_for_work(&work())).await;
    waited.expect("at once").unwrap();
}

#[tokio::test]
async fn time_wakes_waits_for_work() {
    let directory = Directory::new();
    let here = store(&directory.file()).await;
    let mut later = jobs(1);
    later[0].schedule = Schedule::After(Duration::from_millis(30));
    here.enqueue(&later).await.unwrap();
    let request = work();
    timeout(HANG, here.wait_for_work(&request))
        .await
        .expect("due")
        .unwrap();
    assert_eq!(claim(&here, 9, Duration::from_millis(30)).await.len(), 1);
    let expiry = timeout(HANG, here.wait_for_work(&request)).await;
    expiry.expect("the lease ended").unwrap();
    assert_eq!(claim(&here, 9, LONG).await.len(), 1);
}

#[tokio::test]
async fn an_opened_queue_wakes_waits_for_work() {
    let directory = Directory::new();
    let here = store(&directory.file()).await;
    here.set_flow(&QueueName::default(), Flow::Paused)
        .await
        .unwrap();
    here.enqueue(&jobs(1)).await.unwrap();
    let request = work();
    woken(
        || here.wait_for_work(&request),
        async || {
            here.set_flow(&QueueName::default(), Flow::Open)
                .await
                .unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn a_settle_wakes_waits_for_its_job_here_and_elsewhere() {
    let directory = Directory::new();
    let here = store(&directory.file()).await;
    let elsewhere = other(&directory.file()).await;
    here.enqueue(&jobs(2)).await.unwrap();
    let claimed = claim(&here, 2, LONG).await;
    let ids = [claimed[0].token.id];
    woken(
        || elsewhere.wait_for_change(&ids, HANG * 2),
        async || {
            woken(
                || here.wait_for_change(&ids, HANG * 2),
                async || {
                    here.settle(&complete(&claimed[..1])).await.unwrap();
                },
            )
            .await;
        },
    )
    .await;
}
