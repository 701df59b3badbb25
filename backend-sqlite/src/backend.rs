//! [`SqliteBackend`]: the contract's methods, as calls on the store's threads.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Operation, Page,
    ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled, Settlement, Timestamp,
    Token, WaitRequest, async_trait,
};
use tokio::time::sleep;

use crate::config::SqliteConfig;
use crate::error::Failure;
use crate::lane::Urgency;
use crate::store::Store;
use crate::tx::Tx;
use crate::{chores, claim, clock, control, enqueue, read, schema, settle};

pub(crate) const NAME: &str = "sqlite";

/// How many jobs one transaction of maintenance touches in each chore.
const SHARE: u32 = 1_000;

/// Payload bytes that cost a transaction about as much as a row.
const BYTES_A_ROW: usize = 2_048;

/// A handle on a file. Clones share its threads and connections, as do all
/// handles that this process opens on the same file with the same settings,
/// unless they ask for [their own](crate::Threads::Own).
#[derive(Debug, Clone)]
pub struct SqliteBackend {
    store: Arc<Store>,
}

impl SqliteBackend {
    /// The store that a URL names, as [`SqliteConfig`] reads it. The file is
    /// opened by the first call, which is
    /// [`prepare`](anyqueue_core::Backend::prepare).
    ///
    /// # Errors
    /// `InvalidInput` as [`SqliteConfig::from_url`]; `Unavailable` where no
    /// thread can be started.
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Self::open(SqliteConfig::from_url(url)?).map(Arc::new)
    }

    /// The store that a configuration names.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn open(config: SqliteConfig) -> Result<Self, Error> {
        Store::open(config).map(|store| Self { store })
    }

    /// Makes a write of `rows` rows.
    async fn write<T, F>(&self, operation: Operation, rows: usize, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.store
            .write(operation, Urgency::Normal, rows, work)
            .await
    }

    async fn next_due(&self, queues: &[QueueName]) -> Result<Option<Timestamp>, Error> {
        let queues = queues.to_vec();
        let read = self
            .store
            .read(Operation::Wait, move |conn| read::next_due(conn, &queues));
        read.await
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything. The durability is that of `PRAGMA synchronous`, which every
    /// writing connection of this process sets for itself.
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(self.store.config.synchronous.durability())
    }

    async fn prepare(&self) -> Result<(), Error> {
        self.write(Operation::Prepare, 1, schema::migrate).await
    }

    /// The same threads: they belong to no runtime, and heartbeats overtake
    /// everything that waits for them.
    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(self.clone()))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let jobs = jobs.to_vec();
        let rows = jobs
            .iter()
            .map(|job| 1 + job.payload.as_str().len() / BYTES_A_ROW);
        self.write(Operation::Enqueue, rows.sum(), move |tx| {
            enqueue::enqueue(tx, &jobs)
        })
        .await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        if request.limit == 0 || request.queues.is_empty() {
            return Ok(Vec::new());
        }
        let request = request.clone();
        let rows = request.limit as usize;
        self.write(Operation::Claim, rows, move |tx| claim::claim(tx, &request))
            .await
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let tokens = tokens.to_vec();
        let work = move |tx: &mut Tx<'_>| settle::heartbeat(tx, &tokens, lease);
        let store = &self.store;
        store
            .write(Operation::Heartbeat, Urgency::Urgent, 1, work)
            .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let settlements = settlements.to_vec();
        let rows = settlements.len();
        self.write(Operation::Settle, rows, move |tx| {
            settle::settle(tx, &settlements)
        })
        .await
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let updates = updates.to_vec();
        let rows = updates.len();
        self.write(Operation::Progress, rows, move |tx| {
            settle::progress(tx, &updates)
        })
        .await
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids.to_vec();
        self.write(Operation::Cancel, ids.len(), move |tx| {
            control::cancel(tx, &ids)
        })
        .await
    }

    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids.to_vec();
        self.write(Operation::Retry, ids.len(), move |tx| {
            control::retry(tx, &ids)
        })
        .await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids.to_vec();
        self.store
            .read(Operation::Get, move |conn| read::get(conn, &ids))
            .await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        let (filter, page) = (filter.clone(), *page);
        self.store
            .read(Operation::List, move |conn| {
                read::list(conn, &filter, &page)
            })
            .await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        self.store.read(Operation::Counts, read::counts).await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.store.read(Operation::Queues, read::queues).await
    }

    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        let queue = queue.clone();
        self.write(Operation::SetFlow, 1, move |tx| {
            control::set_flow(tx, &queue, flow)
        })
        .await
    }

    /// In shares, each a transaction of its own.
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        let mut done = Maintained::default();
        let mut left = limits.jobs;
        loop {
            let mut share = *limits;
            share.jobs = left.min(SHARE);
            left -= share.jobs;
            let rows = share.jobs as usize;
            let work = move |tx: &mut Tx<'_>| chores::maintain(tx, &share);
            let part = self.write(Operation::Maintain, rows, work).await?;
            done.expired += part.expired;
            done.promoted += part.promoted;
            done.purged += part.purged;
            done.more = part.more;
            if left == 0 || !part.more {
                return Ok(done);
            }
        }
    }

    /// Returns at once where a job is claimable already.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let wait = self.store.waiters.begin(&request.queues, &[]);
        self.store.look_out();
        let mut timeout = pin!(sleep(request.timeout));
        loop {
            let due = tokio::select! {
                due = self.next_due(&request.queues) => due?,
                () = &mut timeout => return Ok(()),
            };
            let now = clock::now();
            if due.is_some_and(|due| due <= now) {
                return Ok(());
            }
            let until_due = async {
                match due {
                    Some(due) => sleep(due.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait.woken() => {}
                () = until_due => {}
                () = &mut timeout => return Ok(()),
            }
        }
    }

    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        let wait = self.store.waiters.begin(&[], ids);
        self.store.look_out();
        tokio::select! {
            () = wait.woken() => {}
            () = sleep(timeout) => {}
        }
        Ok(())
    }
}
