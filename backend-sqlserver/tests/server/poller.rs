//! One poller a process, whatever becomes of the handle that began it.

use std::sync::mpsc;
use std::time::Duration;

use anyqueue_core::{Backend as _, Error, Flow, QueueName, WaitRequest, WorkerId};
use anyqueue_sqlserver::{SqlServerBackend, SqlServerConfig};
use tokio::task::JoinHandle;

use crate::common::{HANG, Place, jobs, tests};

tests! {
    handles_of_a_process_look_together
    a_handle_that_is_dropped_hands_the_looking_over
    a_runtime_that_ends_hands_the_looking_over
    a_runtime_that_stands_still_hands_the_looking_over
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn wait(queue: &QueueName) -> WaitRequest {
    WaitRequest {
        queues: vec![queue.clone()],
        // Far longer than what a test waits for its end.
        timeout: HANG * 3,
        worker: WorkerId::random(),
    }
}

/// A handle that waits for work in a queue.
async fn waiting(config: SqlServerConfig, queue: &QueueName) -> JoinHandle<Result<(), Error>> {
    let backend = SqlServerBackend::open(config);
    backend.prepare().await.unwrap();
    let request = wait(queue);
    tokio::spawn(async move { backend.wait_for_work(&request).await })
}

/// Adds a job by a handle that reaches the store another way, as other processes
/// do.
async fn add(place: &Place, queue: &QueueName) {
    let other = SqlServerBackend::open(place.config.clone());
    let mut new = jobs(1);
    new[0].queue = queue.clone();
    new[0].id = anyqueue_core::JobId::new(queue);
    other.enqueue(&new).await.unwrap();
}

async fn ends(waiting: JoinHandle<Result<(), Error>>) {
    let woken = tokio::time::timeout(HANG, waiting).await;
    woken.expect("woken").unwrap().unwrap();
}

/// The queues are known, so that a look is one round trip.
async fn queues(place: &Place) -> [QueueName; 2] {
    let queues = [queue("one"), queue("two")];
    let store = place.store().await;
    for queue in &queues {
        store.set_flow(queue, Flow::Open).await.unwrap();
    }
    queues
}

/// Counted over a span, as the idle worker's load is.
async fn handles_of_a_process_look_together() {
    const SECONDS: u64 = 12;
    let place = Place::new();
    let [one, two] = queues(&place).await;
    let (proxy, config) = place.by_proxy().await;
    let mut all = Vec::new();
    for queue in [&one, &two, &one, &two] {
        all.push(waiting(config.clone(), queue).await);
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = proxy.turns();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let asked = proxy.turns() - before;
    assert!(asked > 0, "someone looks");
    assert!(asked <= 2 * SECONDS, "{asked} in {SECONDS} s by 4 handles");
    assert!(all.iter().all(|waiting| !waiting.is_finished()));
    // One look wakes all whom it concerns, and the others look on.
    add(&place, &one).await;
    add(&place, &two).await;
    for waiting in all {
        ends(waiting).await;
    }
}

async fn a_handle_that_is_dropped_hands_the_looking_over() {
    let place = Place::new();
    let [one, two] = queues(&place).await;
    let (proxy, config) = place.by_proxy().await;
    let first = waiting(config.clone(), &one).await;
    looked(&proxy).await;
    let second = waiting(config, &two).await;
    first.abort();
    assert!(first.await.is_err(), "its wait and its handle are dropped");
    add(&place, &two).await;
    ends(second).await;
}

/// Returns once someone has looked since the call.
async fn looked(proxy: &anyqueue_conformance_tests::faults::Proxy) {
    let before = proxy.turns();
    let looked = async {
        while proxy.turns() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(HANG, looked).await;
    looked.expect("someone looks");
}

async fn a_runtime_that_ends_hands_the_looking_over() {
    hands_over(|| ()).await;
}

/// As under a handler that blocks.
async fn a_runtime_that_stands_still_hands_the_looking_over() {
    let (goes_on, stands) = mpsc::channel::<()>();
    hands_over(move || {
        let _ = stands.recv_timeout(HANG * 2);
    })
    .await;
    drop(goes_on);
}

/// The first handle looks on a runtime of its own, whose one thread then does this.
async fn hands_over(then: impl FnOnce() + Send + 'static) {
    let place = Place::new();
    let [one, two] = queues(&place).await;
    let (proxy, config) = place.by_proxy().await;
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let first = config.clone();
    let thread = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let kept = runtime.block_on(async {
            let waiting = waiting(first, &one).await;
            tokio::task::yield_now().await;
            tell.send(()).await.unwrap();
            ended.await.unwrap();
            // Kept, not awaited: it ends with the runtime.
            Some(waiting)
        });
        then();
        drop(runtime);
        drop(kept);
    });
    told.recv().await.expect("the first handle waits");
    looked(&proxy).await;
    let second = waiting(config, &two).await;
    end.send(()).unwrap();
    add(&place, &two).await;
    ends(second).await;
    // It stands still until this ends, or has ended.
    drop(thread);
}
