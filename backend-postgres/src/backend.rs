//! [`PostgresBackend`]: the contract's methods, as calls on the store.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, Capability, ClaimRequest, ClaimedJob, Enqueued, Error,
    Filter, Flow, Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob,
    Operation, Page, ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled,
    Settlement, Token, WaitRequest, async_trait,
};
use tokio::time::sleep;

use crate::config::{Pooler, PostgresConfig, Wake};
use crate::store::Store;
use crate::wake::queue_hash;
use crate::{chores, claim, control, enqueue, read, settle};

pub(crate) const NAME: &str = "postgres";

/// How often a wait looks for itself while it hears of changes, and while it
/// does not.
const LISTENING_LOOK: Duration = Duration::from_secs(1);
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// How long a wait for a job's change lasts at most where nothing is heard of
/// changes.
const UNHEARD: Duration = Duration::from_millis(250);

/// A handle on a store. Clones share its connections; each handle that is
/// opened has its own.
#[derive(Debug, Clone)]
pub struct PostgresBackend {
    store: Arc<Store>,
}

impl PostgresBackend {
    /// The store that a URL names, as [`PostgresConfig`] reads it. The first
    /// call connects, which is [`prepare`](anyqueue_core::Backend::prepare).
    ///
    /// # Errors
    /// `InvalidInput` as [`PostgresConfig::from_url`].
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::open(PostgresConfig::from_url(url)?)))
    }

    /// The store that a configuration names.
    pub fn open(config: PostgresConfig) -> Self {
        let store = Arc::new(Store::new(config));
        Self { store }
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything; but without LISTEN nothing is pushed. The durability is that
    /// of the live settings `synchronous_commit`, `fsync` and
    /// `full_page_writes`.
    fn capabilities(&self) -> Capabilities {
        let all = Capabilities::all(self.store.durability());
        let config = &self.store.config;
        match config.wake == Wake::Poll || config.pooler == Pooler::Transaction {
            true => all.without(Capability::Push),
            false => all,
        }
    }

    async fn prepare(&self) -> Result<(), Error> {
        self.store.migrate().await?;
        self.store.judge(Operation::Prepare).await
    }

    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(Self::open(self.store.config.clone())))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        enqueue::enqueue(&self.store, jobs).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        if request.limit == 0 || request.queues.is_empty() {
            return Ok(Vec::new());
        }
        claim::claim(&self.store, request).await
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        settle::heartbeat(&self.store, tokens, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        settle::settle(&self.store, settlements).await
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        settle::progress(&self.store, updates).await
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        control::cancel(&self.store, ids).await
    }

    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        control::retry(&self.store, ids).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        read::get(&self.store, Operation::Get, ids).await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        read::list(&self.store, filter, page).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        read::counts(&self.store).await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        read::queues(&self.store).await
    }

    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        control::set_flow(&self.store, queue, flow).await
    }

    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        chores::maintain(&self.store, limits).await
    }

    /// Returns at once where a job is claimable already.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let queues: Vec<_> = request.queues.iter().map(queue_hash).collect();
        let wait = self.store.hub.waiters.begin(&queues, &[]);
        self.store.listen();
        let mut timeout = pin!(sleep(request.timeout));
        let mut look = FIRST_LOOK;
        loop {
            let due = tokio::select! {
                due = read::next_due(&self.store, &request.queues) => due?,
                () = &mut timeout => return Ok(()),
            };
            // Of a lease that nobody can end now, since its job's row is locked, a
            // claim finds nothing: not at once, so that nobody turns in a circle.
            let paused = look > FIRST_LOOK;
            let is_over = |due: Option<Duration>| due.is_some_and(|due| due.is_zero());
            if is_over(due.job) || is_over(due.lease) && paused {
                return Ok(());
            }
            let lease = due.lease.map(|due| due.max(FIRST_LOOK));
            let due = due.job.into_iter().chain(lease).min();
            look = match self.store.hub.is_listening() {
                true => LISTENING_LOOK,
                false => (look * 2).min(LISTENING_LOOK),
            };
            tokio::select! {
                () = wait.woken() => {}
                () = sleep(due.map_or(look, |due| due.min(look))) => {}
                () = &mut timeout => return Ok(()),
            }
        }
    }

    /// Returns early once, where other processes did not know of the wait.
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        let wait = self.store.hub.waiters.begin(&[], ids);
        let timeout = match self.store.listen() {
            true => timeout,
            false => timeout.min(UNHEARD),
        };
        let unknown = self.store.hub.unwatched(ids);
        if self.store.hub.is_listening() && !unknown.is_empty() {
            return self.store.watch(&unknown).await;
        }
        tokio::select! {
            () = wait.woken() => {}
            () = sleep(timeout) => {}
        }
        Ok(())
    }
}
