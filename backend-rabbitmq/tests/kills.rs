//! kill -9 of the broker under load, of workers in the middle of their jobs,
//! and of leaders; on a broker of the test's own.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyqueue_conformance_tests::faults::servers::RabbitMq;
use anyqueue_core::{Backend, Filter, JobId, NewJob, Page, Schedule, Settled, Settlement, State};
use anyqueue_rabbitmq::RabbitBackend;
use common::jobs::{LONG, again, claim_of, complete, job, put, record, settle, take};
use common::{config, eventually, fresh, open};

/// In the process of a worker: the store it works on.
const CHILD: &str = "ANYQUEUE_TEST_RABBITMQ_CHILD";

const KILLS: usize = 10;

/// Instances that produce and work.
const INSTANCES: usize = 3;

fn main() -> ExitCode {
    if let Ok(url) = std::env::var(CHILD) {
        child(&url);
    }
    let trials = trials![
        ten_kills_of_the_broker_lose_and_double_nothing,
        a_killed_workers_job_is_taken_over_long_before_its_lease_ends,
        a_leader_that_hangs_is_replaced,
        nothing_is_kept_until_the_broker_minds,
    ];
    common::run(trials, RabbitMq::missing())
}

fn own(url: &str, prefix: &str) -> RabbitBackend {
    let mut config = config(url, prefix);
    // Ledgers end and go on under the kills.
    config.ledger_bytes = 4_000_000;
    RabbitBackend::open(&config)
}

/// What the clients were told.
#[derive(Default)]
struct Told {
    enqueued: Mutex<BTreeSet<JobId>>,
    /// How often a completion was accepted.
    completed: Mutex<BTreeMap<JobId, u32>>,
    /// How many completions each instance's worker was told of.
    by: [AtomicU64; INSTANCES],
    /// No more jobs are to be enqueued.
    stop: AtomicBool,
    /// All that were to be enqueued are.
    stopped: AtomicBool,
}

async fn ten_kills_of_the_broker_lose_and_double_nothing() {
    // Its calls are closures, which are not known to be `Send`.
    tokio::task::LocalSet::new().run_until(ten_kills()).await;
}

async fn ten_kills() {
    let mut broker = RabbitMq::start("").await.unwrap();
    let (url, prefix) = (broker.url(), fresh("kills"));
    let told = Arc::new(Told::default());
    let (mut producers, mut workers) = (Vec::new(), Vec::new());
    for worker in 0..INSTANCES {
        let store = own(&url, &prefix);
        again(async || store.prepare().await).await;
        producers.push(tokio::task::spawn_local(produce(
            store.clone(),
            Arc::clone(&told),
        )));
        workers.push(tokio::task::spawn_local(work(
            store,
            worker,
            Arc::clone(&told),
        )));
    }
    let queues = ["leader", "tickets"].map(|queue| format!("{prefix}.{queue}"));
    broker
        .remembers(&queues.each_ref().map(String::as_str))
        .await
        .unwrap();
    for _ in 0..KILLS {
        // Of every instance: one that is slower to come back than the others
        // would be without the broker from kill to kill.
        let done = || told.by.each_ref().map(|by| by.load(Ordering::SeqCst));
        let before = done();
        eventually("every instance's work goes on", async || {
            let mut pairs = done().into_iter().zip(before);
            pairs.all(|(now, before)| now > before + 30).then_some(())
        })
        .await;
        broker.kill();
        broker.run().await.unwrap();
    }
    told.stop.store(true, Ordering::SeqCst);
    for producer in producers {
        producer.await.unwrap();
    }
    // Only now: a batch that was still being asked again is to be worked too.
    told.stopped.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let enqueued = told.enqueued.lock().unwrap().clone();
    let completed = told.completed.lock().unwrap().clone();
    assert!(enqueued.len() > KILLS * 100);
    let lost: Vec<_> = enqueued
        .iter()
        .filter(|id| !completed.contains_key(id))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let doubled: Vec<_> = completed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "completed twice: {doubled:?}");
    // A new instance reads the same from snapshot and tail.
    let store = own(&url, &prefix);
    store.prepare().await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!(
        counts[0].counts.total(),
        counts[0].counts.get(State::Completed)
    );
    assert!(counts[0].counts.total() >= enqueued.len() as u64);
}

async fn produce(store: RabbitBackend, told: Arc<Told>) {
    while !told.stop.load(Ordering::SeqCst) {
        let jobs: Vec<NewJob> = (0..5).map(|_| job()).collect();
        // Asked again with the same ids where the answer was lost.
        again(async || store.enqueue(&jobs).await).await;
        told.enqueued
            .lock()
            .unwrap()
            .extend(jobs.iter().map(|job| job.id));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Works until all is done after the end of the load.
async fn work(store: RabbitBackend, worker: usize, told: Arc<Told>) {
    let request = claim_of(20, Duration::from_secs(5));
    loop {
        let stopped = told.stopped.load(Ordering::SeqCst);
        let claimed = again(async || store.claim(&request).await).await;
        if claimed.is_empty() {
            let counts = again(async || store.counts().await).await;
            let all = counts.first().map(|queue| queue.counts).unwrap_or_default();
            if stopped && all.total() == all.get(State::Completed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let settlements: Vec<Settlement> = claimed
            .iter()
            .map(|job| Settlement {
                token: job.token,
                outcome: complete(),
            })
            .collect();
        let answers = again(async || store.settle(&settlements).await).await;
        let mut completed = told.completed.lock().unwrap();
        for (settlement, answer) in settlements.iter().zip(answers) {
            if answer == Settled::Accepted {
                told.by[worker].fetch_add(1, Ordering::SeqCst);
                *completed.entry(settlement.token.id).or_default() += 1;
            }
        }
    }
}

/// The worker's process: claims one job for an hour, says so, and sits on it.
fn child(url: &str) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (url, prefix) = url.split_once(' ').unwrap();
        let store = own(url, prefix);
        again(async || store.prepare().await).await;
        take(&store, LONG).await;
        std::future::pending().await
    })
}

fn spawn(url: &str, prefix: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(CHILD, format!("{url} {prefix}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn a_killed_workers_job_is_taken_over_long_before_its_lease_ends() {
    let broker = RabbitMq::start("").await.unwrap();
    let (url, prefix) = (broker.url(), fresh("worker"));
    let store = own(&url, &prefix);
    store.prepare().await.unwrap();
    // One that claims is given what others lose.
    assert!(store.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    for round in 1..=5 {
        let id = put(&store).await;
        let mut worker = spawn(&url, &prefix);
        let held = eventually("the worker has the job", async || {
            Some(record(&store, id).await).filter(|job| job.state == State::Running)
        })
        .await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        // The lease has an hour left: only the ticket can end it.
        let taken = take(&store, LONG).await;
        assert_eq!(taken.token.id, id);
        assert!(taken.token.counter > held.counter);
        let now = record(&store, id).await;
        assert!(now.claimed_at.unwrap() < held.lease_until.unwrap());
        assert_eq!(now.errors.len(), 1, "{round}: {:?}", now.errors);
        assert_eq!(settle(&store, taken.token).await, Settled::Accepted);
    }
    // A worker that starts after the death is told as well.
    let id = put(&store).await;
    let mut worker = spawn(&url, &prefix);
    eventually("the worker has the job", async || {
        (record(&store, id).await.state == State::Running).then_some(())
    })
    .await;
    drop(store);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let store = own(&url, &prefix);
    store.prepare().await.unwrap();
    assert_eq!(take(&store, LONG).await.token.id, id);
}

async fn a_leader_that_hangs_is_replaced() {
    let broker = RabbitMq::start("").await.unwrap();
    let (url, prefix) = (broker.url(), fresh("hang"));
    // The first instance leads: the worker's.
    let mut worker = spawn(&url, &prefix);
    let store = own(&url, &prefix);
    let first = put(&store).await;
    eventually("the worker has the job", async || {
        (record(&store, first).await.state == State::Running).then_some(())
    })
    .await;
    let stop = Command::new("kill")
        .args(["-STOP", &worker.id().to_string()])
        .status();
    assert!(stop.unwrap().success());
    let mut later = job();
    later.schedule = Schedule::After(Duration::from_millis(500));
    let later = [later];
    again(async || store.enqueue(&later).await).await;
    // It comes due by a leader's tick only.
    assert_eq!(take(&store, LONG).await.token.id, later[0].id);
    // The one that hung holds its job still: its connection is there.
    assert_eq!(record(&store, first).await.state, State::Running);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let page = Page::first(10);
    let all = again(async || store.list(&Filter::any(), &page).await).await;
    assert_eq!(all.jobs.len(), 2);
}

/// The broker closes a channel that keeps a message unacknowledged for too long:
/// half an hour, by default.
async fn nothing_is_kept_until_the_broker_minds() {
    // It looks every minute, unless it is told otherwise.
    let often = "-kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 500";
    let more = [("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", often)];
    let broker = RabbitMq::start_with("consumer_timeout = 3000\n", &more);
    let broker = broker.await.unwrap();
    let mut config = config(&broker.url(), &fresh("kept"));
    config.ticket_age = Duration::from_millis(700);
    let stores = [open(&config).await, open(&config).await];
    let id = put(&stores[0]).await;
    let held = take(&stores[0], LONG).await;
    assert!(
        stores[1]
            .claim(&claim_of(1, LONG))
            .await
            .unwrap()
            .is_empty()
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    let now = record(&stores[1], id).await;
    assert_eq!((now.counter, now.errors.len()), (held.token.counter, 0));
    let log = std::fs::read_to_string(broker.log()).unwrap();
    assert!(
        !log.contains("waiting for delivery acknowledgement"),
        "{log}"
    );
    assert_eq!(settle(&stores[0], held.token).await, Settled::Accepted);
}
