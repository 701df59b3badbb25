//! [`SqlServerBackend`]: the contract's methods, as calls on the store.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Operation, Page,
    ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled, Settlement, Token,
    WaitRequest, async_trait,
};

use crate::config::SqlServerConfig;
use crate::store::Store;
use crate::{chores, claim, control, enqueue, read, settle};

pub(crate) const NAME: &str = "sqlserver";

/// A handle on a store. Clones share its connections; each handle that is
/// opened has its own. All handles of a process on one store, once prepared,
/// share one poller.
#[derive(Debug, Clone)]
pub struct SqlServerBackend {
    store: Arc<Store>,
}

impl SqlServerBackend {
    /// The store that a URL or a connection string names, as
    /// [`SqlServerConfig`] reads it. The first call connects, which is
    /// [`prepare`](anyqueue_core::Backend::prepare).
    ///
    /// # Errors
    /// `InvalidInput` as [`SqlServerConfig::from_url`].
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::open(SqlServerConfig::from_url(url)?)))
    }

    /// The store that a configuration names.
    pub fn open(config: SqlServerConfig) -> Self {
        let store = Arc::new(Store::new(config));
        Self { store }
    }
}

#[async_trait]
impl Backend for SqlServerBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything. What other processes change is noticed by a look, at most a
    /// second later; this process's own changes at once. The durability is that
    /// of the database's live setting `DELAYED_DURABILITY`.
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(self.store.durability())
    }

    async fn prepare(&self) -> Result<(), Error> {
        self.store.migrate().await?;
        self.store.judge(Operation::Prepare).await
    }

    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        let config = SqlServerConfig::clone(&self.store.config);
        Ok(Arc::new(Self::open(config)))
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

    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let wait = self.store.await_work(&request.queues, request.timeout);
        wait.await;
        Ok(())
    }

    /// Returns early once, where this process did not know the job.
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        self.store.await_change(ids, timeout).await;
        Ok(())
    }
}
