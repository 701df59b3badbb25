//! What a worker does while its store fails, and when it loses a lease.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyqueue::{
    Backend, ClaimRequest, ClaimedJob, Client, ClientOptions, Error, ErrorKind, Health, Holding,
    Job, JobContext, JobError, Operation, Settled, Settlement, State, Token, WaitRequest, Worker,
    async_trait,
};
use anyqueue_conformance_tests::{Delegate, wrap};
use common::{until, until_state};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// Which calls fail now.
#[derive(Default)]
struct Faults {
    claims: AtomicBool,
    settles: AtomicBool,
    /// Heartbeats answer that the lease is lost.
    leases: AtomicBool,
    /// Settles are refused.
    denied: AtomicBool,
    /// The next heartbeat is never answered.
    silent_beat: AtomicBool,
    /// Claims are never answered.
    silent_claims: AtomicBool,
}

struct Faulty {
    inner: Arc<dyn Backend>,
    faults: Arc<Faults>,
}

/// All calls but heartbeats share a connection, which has to be waited for in
/// line.
struct InLine {
    inner: Arc<dyn Backend>,
    line: Arc<tokio::sync::Mutex<()>>,
}

#[async_trait]
impl Delegate for InLine {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(Self {
            inner,
            line: Arc::default(),
        })
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let _turn = self.line.lock().await;
        tokio::task::yield_now().await;
        self.inner.claim(request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let _turn = self.line.lock().await;
        tokio::task::yield_now().await;
        self.inner.settle(settlements).await
    }

    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        for _ in 0..10 {
            let _turn = self.line.lock().await;
            tokio::task::yield_now().await;
        }
        self.inner.wait_for_work(request).await
    }
}

fn lost(operation: Operation) -> Error {
    Error::new(ErrorKind::Unknown, operation, "faulty", "connection reset")
}

#[async_trait]
impl Delegate for Faulty {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(Self {
            inner,
            faults: Arc::clone(&self.faults),
        })
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        if self.faults.claims.load(Ordering::SeqCst) {
            return Err(lost(Operation::Claim));
        }
        if self.faults.silent_claims.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.claim(request).await
    }

    /// Takes effect, but its answer is lost.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        if self.faults.denied.load(Ordering::SeqCst) {
            let kind = ErrorKind::Denied;
            return Err(Error::new(kind, Operation::Settle, "faulty", "read-only"));
        }
        let answers = self.inner.settle(settlements).await?;
        if self.faults.settles.load(Ordering::SeqCst) {
            return Err(lost(Operation::Settle));
        }
        Ok(answers)
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        if self.faults.leases.load(Ordering::SeqCst) {
            return Ok(vec![Holding::Stale; tokens.len()]);
        }
        if self.faults.silent_beat.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.heartbeat(tokens, lease).await
    }
}

async fn faulty(store: &common::Store) -> (Client, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let inner = anyqueue::open(&store.url).await.unwrap();
    let backend = wrap(Faulty {
        inner,
        faults: Arc::clone(&faults),
    });
    let client = anyqueue_core::Client::new(backend, ClientOptions::default())
        .await
        .unwrap();
    (client.into(), faults)
}

#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl Job for Echo {
    const KIND: &'static str = "echo";
    type Output = u64;
}

async fn echo(job: Echo, _: JobContext) -> Result<u64, JobError> {
    Ok(job.0)
}

async fn until_failing(worker: &anyqueue::RunningWorker, operation: Operation) {
    let failing = || match worker.health() {
        Health::Degraded(list) => list.iter().any(|(failing, _)| *failing == operation),
        _ => false,
    };
    while !failing() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

on_every_store! {
    async fn a_worker_outlives_a_store_that_does_not_answer(store: &Store) {
        let (client, faults) = faulty(store).await;
        faults.claims.store(true, Ordering::SeqCst);
        let worker = Worker::new(&client).register(echo).start().unwrap();
        let handle = client.enqueue(Echo(7)).await.unwrap();
        until_failing(&worker, Operation::Claim).await;
        faults.claims.store(false, Ordering::SeqCst);
        assert_eq!(handle.wait().await.unwrap(), 7);
        assert_eq!(worker.health(), Health::Healthy);
        worker.shutdown().await;
    }

    async fn a_settle_whose_answer_was_lost_is_asked_again(store: &Store) {
        let (client, faults) = faulty(store).await;
        faults.settles.store(true, Ordering::SeqCst);
        let worker = Worker::new(&client).register(echo).start().unwrap();
        let handle = client.enqueue(Echo(7)).await.unwrap();
        assert_eq!(handle.wait().await.unwrap(), 7);
        until_failing(&worker, Operation::Settle).await;
        assert_eq!(worker.held(), 1, "held until the store has answered");
        faults.settles.store(false, Ordering::SeqCst);
        worker.shutdown().await;
        let record = handle.record().await.unwrap();
        assert_eq!((record.state, record.attempt, record.counter), (State::Completed, 1, 1));
    }

    async fn a_settle_that_is_denied_for_a_while_is_asked_again(store: &Store) {
        let (client, faults) = faulty(store).await;
        faults.denied.store(true, Ordering::SeqCst);
        let worker = Worker::new(&client).register(echo).start().unwrap();
        let handle = client.enqueue(Echo(7)).await.unwrap();
        until_failing(&worker, Operation::Settle).await;
        assert_eq!(worker.held(), 1, "held until the store has taken it");
        faults.denied.store(false, Ordering::SeqCst);
        assert_eq!(handle.wait().await.unwrap(), 7);
        worker.shutdown().await;
        let record = handle.record().await.unwrap();
        assert_eq!((record.attempt, record.counter), (1, 1));
    }

    async fn a_handler_whose_lease_is_lost_is_dropped(store: &Store) {
        struct Dropped(Arc<tokio::sync::Notify>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        async fn hangs(_: Echo, ctx: JobContext<Arc<tokio::sync::Notify>>) -> Result<u64, JobError> {
            let _dropped = Dropped(Arc::clone(ctx.state()));
            std::future::pending().await
        }
        let (client, faults) = faulty(store).await;
        let dropped = Arc::new(tokio::sync::Notify::new());
        let worker = Worker::new(&client).state(Arc::clone(&dropped)).register(hangs);
        let worker = worker.lease(Duration::from_millis(300)).start().unwrap();
        let handle = client.enqueue(Echo(7)).await.unwrap();
        until_state(&handle, State::Running).await;
        faults.leases.store(true, Ordering::SeqCst);
        dropped.notified().await;
        worker.shutdown().await;
        // Its lease ran out, since no heartbeat reached the store.
        let drained = async || {
            Worker::new(&client).register(echo).drain().await.unwrap().completed
        };
        while drained().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(handle.record().await.unwrap().attempt, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_is_not_answered_costs_no_lease() {
    async fn slow(job: Echo, _: JobContext) -> Result<u64, JobError> {
        tokio::time::sleep(Duration::from_secs(8)).await;
        Ok(job.0)
    }
    let (client, faults) = faulty(&common::Store::new("memory")).await;
    faults.silent_beat.store(true, Ordering::SeqCst);
    let worker = Worker::new(&client).register(slow);
    let worker = worker.lease(Duration::from_secs(6)).start().unwrap();
    let handle = client.enqueue(Echo(7)).await.unwrap();
    assert_eq!(handle.wait().await.unwrap(), 7);
    assert!(
        !faults.silent_beat.load(Ordering::SeqCst),
        "no heartbeat came"
    );
    assert_eq!(handle.record().await.unwrap().counter, 1);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_claim_is_not_answered_shuts_down() {
    let (client, faults) = faulty(&common::Store::new("memory")).await;
    faults.silent_claims.store(true, Ordering::SeqCst);
    let worker = Worker::new(&client).register(echo);
    let worker = worker
        .lease(Duration::from_millis(300))
        .grace(Duration::ZERO);
    let worker = worker.start().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ended = tokio::time::timeout(common::HANG, worker.shutdown()).await;
    ended.expect("it shuts down");
}

/// Quick jobs are claimed ahead by the hundred; those behind them may be slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_claimed_ahead_and_finds_no_slot_is_given_back() {
    async fn quick_or_gated(job: Echo, ctx: JobContext<Semaphore>) -> Result<u64, JobError> {
        if job.0 > 0 {
            let _gate = ctx.state().acquire().await?;
        }
        Ok(job.0)
    }
    let client = common::Store::new("memory").client().await;
    let jobs: Vec<_> = (0..6_000_u64)
        .map(|n| client.job(Echo(n.saturating_sub(5_000))).build().unwrap())
        .collect();
    client.enqueue_many(&jobs).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let worker = Worker::new(&client).shared_state(Arc::clone(&gate));
    let worker = worker
        .register(quick_or_gated)
        .concurrency(1)
        .start()
        .unwrap();
    let first = client.handle::<Echo>(jobs[5_001].id);
    until_state(&first, State::Running).await;
    let second = client.handle::<Echo>(jobs[5_002].id);
    until(&second, "given back", |job| {
        job.state == State::Ready && job.counter > 0
    })
    .await;
    gate.add_permits(1);
    worker.shutdown().await;
}

/// Found by a soak of Redis: the worker left its wait for work unpolled while it
/// claimed, and the wait was next in line for the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_work_holds_up_no_other_call() {
    let inner = anyqueue::open("memory:").await.unwrap();
    let line = Arc::default();
    let backend = wrap(InLine { inner, line });
    let client = anyqueue_core::Client::new(backend, ClientOptions::default());
    let client = Client::from(client.await.unwrap());
    let worker = Worker::new(&client).register(echo).concurrency(2);
    let worker = worker.start().unwrap();
    for _ in 0..50 {
        let handle = client.enqueue(Echo(7)).await.unwrap();
        until_state(&handle, State::Completed).await;
    }
    worker.shutdown().await;
}
