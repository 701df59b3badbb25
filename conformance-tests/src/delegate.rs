//! [`Delegate`]: a wrapper that changes a method or two of a backend.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Page, ProgressUpdate,
    QueueCounts, QueueInfo, QueueName, Retried, Settled, Settlement, Token, WaitRequest,
    async_trait,
};

/// A backend made of another one: every method that is not overridden is the
/// inner backend's. [`wrap`] makes it a [`Backend`].
#[async_trait]
#[allow(missing_docs)]
pub trait Delegate: Send + Sync + 'static {
    /// The backend inside.
    fn inner(&self) -> &dyn Backend;

    /// The same wrapper around a second handle, for `reopen`.
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend>;

    fn capabilities(&self) -> Capabilities {
        self.inner().capabilities()
    }
    async fn prepare(&self) -> Result<(), Error> {
        self.inner().prepare().await
    }
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.inner().enqueue(jobs).await
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        self.inner().claim(request).await
    }
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        self.inner().heartbeat(tokens, lease).await
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        self.inner().settle(settlements).await
    }
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        self.inner().progress(updates).await
    }
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        self.inner().cancel(ids).await
    }
    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        self.inner().retry(ids).await
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        self.inner().get(ids).await
    }
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        self.inner().list(filter, page).await
    }
    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        self.inner().counts().await
    }
    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.inner().queues().await
    }
    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        self.inner().set_flow(queue, flow).await
    }
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        self.inner().maintain(limits).await
    }
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        self.inner().wait_for_work(request).await
    }
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        self.inner().wait_for_change(ids, timeout).await
    }
}

/// The wrapper as a backend.
pub fn wrap(delegate: impl Delegate) -> Arc<dyn Backend> {
    Arc::new(Wrapped(delegate))
}

struct Wrapped<D>(D);

#[async_trait]
impl<D: Delegate> Backend for Wrapped<D> {
    fn name(&self) -> &'static str {
        self.0.inner().name()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn prepare(&self) -> Result<(), Error> {
        self.0.prepare().await
    }
    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        Ok(self.0.around(self.0.inner().reopen().await?))
    }
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.0.enqueue(jobs).await
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        self.0.claim(request).await
    }
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        self.0.heartbeat(tokens, lease).await
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        self.0.settle(settlements).await
    }
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        self.0.progress(updates).await
    }
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        self.0.cancel(ids).await
    }
    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        self.0.retry(ids).await
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        self.0.get(ids).await
    }
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        self.0.list(filter, page).await
    }
    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        self.0.counts().await
    }
    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.0.queues().await
    }
    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        self.0.set_flow(queue, flow).await
    }
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        self.0.maintain(limits).await
    }
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        self.0.wait_for_work(request).await
    }
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        self.0.wait_for_change(ids, timeout).await
    }
}
