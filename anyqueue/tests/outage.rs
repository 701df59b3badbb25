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
use common::until_state;
use serde::{Deserialize, Serialize};

/// Which calls fail now.
#[derive(Default)]
struct Faults {
    claims: AtomicBool,
    settles: AtomicBool,
    /// Heartbeats answer that the lease is lost.
    leases: AtomicBool,
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
        self.inner.claim(request).await
    }

    /// Takes effect, but its answer is lost.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
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
