//! What a store at rest costs the server, and one under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue_core::{
    Backend as _, Client, ClientOptions, Job, JobContext, JobError, QueueName, WaitRequest, Worker,
    WorkerId,
};
use anyqueue_sqlserver::SqlServerBackend;
use serde::{Deserialize, Serialize};

use crate::common::{HANG, LONG, Place, claim, complete, jobs, tests};

tests! {
    an_idle_worker_asks_at_most_twice_a_second
    a_queue_under_load_is_not_polled_more
}

#[derive(Serialize, Deserialize)]
struct Double(u64);

impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u64;
}

async fn double(job: Double, _: JobContext) -> Result<u64, JobError> {
    Ok(2 * job.0)
}

/// Counted over a span, whose end a slow machine puts off: it asks less, not more.
async fn an_idle_worker_asks_at_most_twice_a_second() {
    const SECONDS: u64 = 12;
    let place = Place::new();
    drop(place.store().await);
    let (proxy, config) = place.by_proxy().await;
    let backend = Arc::new(SqlServerBackend::open(config));
    let client = Client::new(backend, ClientOptions::default())
        .await
        .unwrap();
    let worker = Worker::new(&client).register(double).start().unwrap();
    let handle = client.enqueue(Double(21)).await.unwrap();
    let done = tokio::time::timeout(HANG, handle.wait()).await;
    assert_eq!(done.expect("done").unwrap(), 42);
    // What the start asked for has come to its end, and looks are far apart.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = proxy.turns();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let asked = proxy.turns() - before;
    assert!(asked > 0, "it looks for work at all");
    assert!(asked <= 2 * SECONDS, "{asked} in {SECONDS} s");
    // And is still there.
    let handle = client.enqueue(Double(4)).await.unwrap();
    let done = tokio::time::timeout(HANG, handle.wait()).await;
    assert_eq!(done.expect("done").unwrap(), 8);
    worker.shutdown().await;
}

async fn a_queue_under_load_is_not_polled_more() {
    const ROUNDS: u64 = 60;
    let place = Place::new();
    drop(place.store().await);
    let (proxy, mut config) = place.by_proxy().await;
    config.pool = 2;
    let backend = SqlServerBackend::open(config);
    let round = async || {
        backend.enqueue(&jobs(1)).await.unwrap();
        let claimed = claim(&backend, 1).await;
        assert_eq!(claimed.len(), 1);
        backend.settle(&complete(&claimed)).await.unwrap();
    };
    // Queue and worker have their numbers, and there is a second connection.
    round().await;
    futures::future::try_join(backend.counts(), backend.counts())
        .await
        .unwrap();
    let before = proxy.turns();
    for _ in 0..ROUNDS {
        round().await;
    }
    let asked = proxy.turns() - before;
    assert_eq!(asked, 3 * ROUNDS, "nobody waits, nobody looks");
    let waiting = {
        let backend = backend.clone();
        let request = WaitRequest {
            queues: vec![QueueName::new("elsewhere").unwrap()],
            timeout: LONG,
            worker: WorkerId::random(),
        };
        tokio::spawn(async move { backend.wait_for_work(&request).await })
    };
    let (begun, before) = (Instant::now(), proxy.turns());
    for _ in 0..ROUNDS {
        round().await;
    }
    let looks = proxy.turns() - before - 3 * ROUNDS;
    // 20, 40, 80, … ms apart, then a second; each may ask for the queue's number too.
    let most = 2 * (8 + begun.elapsed().as_secs());
    assert!(looks <= most, "{looks} looks, at most {most}");
    waiting.abort();
}
