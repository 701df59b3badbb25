//! [`Client`]: an application's handle on a store.

mod builder;
mod handle;
mod options;
mod watch;

use std::sync::Arc;

use crate::backend::Backend;
use crate::batcher::{Batcher, each};
use crate::capability::{Capabilities, Capability};
use crate::error::{Error, ErrorKind, Operation};
use crate::id::JobId;
use crate::job::Job;
use crate::maintain::{MaintainLimits, Maintained};
use crate::name::QueueName;
use crate::new_job::{Enqueued, NewJob, Priority};
use crate::query::{Cancelled, Filter, Flow, Listing, Page, QueueCounts, QueueInfo, Retried};
use crate::record::JobRecord;
use crate::telemetry;
use crate::transient::repeat;

pub use builder::JobBuilder;
pub use handle::{JobHandle, WaitError};
pub use options::{ClientOptions, Preparation};
pub use watch::Watch;

/// The most items of one call on a backend; larger calls are split.
const MAX_BATCH: usize = 1_000;

/// An application's handle on a store. Cheap to clone, safe to share; works
/// from any tokio runtime.
///
/// Concurrent calls of [`enqueue`](Self::enqueue) and [`get`](Self::get) share
/// round trips, with no added delay for a lone one. Calls that fail in
/// passing are made again for about a second before the error is returned;
/// ids are made here, so that what is made again stores no second job.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    options: ClientOptions,
    enqueues: Batcher<NewJob, Enqueued>,
    reads: Batcher<JobId, Option<JobRecord>>,
}

impl Client {
    /// A client of an opened backend: prepares the store (unless the options
    /// say not to) and checks the required durability.
    ///
    /// # Errors
    /// What [`Backend::prepare`] ends with; [`ErrorKind::TooWeak`] where the
    /// live settings are weaker than required.
    pub async fn new(backend: Arc<dyn Backend>, options: ClientOptions) -> Result<Self, Error> {
        let name = backend.name();
        let refused = |kind, message: String| {
            let error = Error::new(kind, Operation::Connect, name, message);
            Err(error)
        };
        match options.preparation {
            Preparation::Run => repeat(|| backend.prepare()).await?,
            Preparation::Skip if options.require_durability.is_some() => {
                let message = "the durability is read where the store is prepared; require none, \
                               or let this process prepare it: of a store that is prepared it only \
                               reads";
                return refused(ErrorKind::InvalidInput, message.to_owned());
            }
            Preparation::Skip => {}
        }
        let offered = backend.capabilities().durability();
        if let Some(required) = options.require_durability
            && offered < required
        {
            let message = format!(
                "durability {required} is required, but as the store is configured now an \
                 acknowledged write has durability {offered}; change the store's settings or the \
                 requirement"
            );
            return refused(ErrorKind::TooWeak, message);
        }
        let enqueues = Batcher::new(Operation::Enqueue, name, MAX_BATCH, {
            let backend = Arc::clone(&backend);
            move |jobs: Vec<NewJob>| {
                let backend = Arc::clone(&backend);
                Box::pin(each(jobs, move |jobs| {
                    let backend = Arc::clone(&backend);
                    async move { enqueue(&*backend, &jobs).await }
                }))
            }
        });
        let reads = Batcher::new(Operation::Get, name, MAX_BATCH, {
            let backend = Arc::clone(&backend);
            move |ids: Vec<JobId>| {
                let backend = Arc::clone(&backend);
                Box::pin(each(ids, move |ids| {
                    let backend = Arc::clone(&backend);
                    async move { repeat(|| backend.get(&ids)).await }
                }))
            }
        });
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                options,
                enqueues,
                reads,
            }),
        })
    }

    /// Enqueues a job with its kind's defaults.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it cannot be a payload or is too
    /// large (nothing was stored); otherwise what the store ends with. After
    /// [`ErrorKind::Unknown`] the job may be stored: another call makes another
    /// job. To be able to repeat it, [`build`](JobBuilder::build) the job and
    /// give it to [`enqueue_many`](Self::enqueue_many).
    pub async fn enqueue<J: Job>(&self, job: J) -> Result<JobHandle<J>, Error> {
        self.job(job).enqueue().await
    }

    /// Starts building a job that is not all defaults.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an enqueued job is given away"
    )]
    pub fn job<J: Job>(&self, job: J) -> JobBuilder<'_, J> {
        JobBuilder::new(self, &job)
    }

    /// Enqueues jobs of any kinds, made by [`JobBuilder::build`]; up to 1,000
    /// a round trip, each such batch all or nothing. Answers in order.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where a job asks for what the backend does
    /// not offer (nothing was stored); otherwise what the store ends with.
    /// Repeating the call with the same jobs is safe.
    pub async fn enqueue_many(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        for job in jobs {
            self.check(job)?;
        }
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(MAX_BATCH) {
            answers.append(&mut enqueue(self.backend(), batch).await?);
        }
        Ok(answers)
    }

    /// The handle of a job by its id, from any process.
    pub fn handle<J: Job>(&self, id: JobId) -> JobHandle<J> {
        JobHandle::new(self.clone(), id)
    }

    /// Reads a job; `None` where the store does not know it (any more).
    ///
    /// # Errors
    /// What the store ends with.
    pub async fn get(&self, id: JobId) -> Result<Option<JobRecord>, Error> {
        self.inner.reads.submit(id).await
    }

    /// A stream of a job's changes, the present record first; it ends when
    /// the job has.
    pub fn watch(&self, id: JobId) -> Watch {
        Watch::new(self.clone(), id)
    }

    /// Lists jobs, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without [`Capability::List`]; what the store
    /// ends with.
    pub async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        self.need(Capability::List, Operation::List)?;
        repeat(|| self.backend().list(filter, page)).await
    }

    /// Counts jobs by queue and state; never scans the store.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without [`Capability::Counts`]; what the
    /// store ends with.
    pub async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        self.need(Capability::Counts, Operation::Counts)?;
        repeat(|| self.backend().counts()).await
    }

    /// The queues that hold a job or are paused.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without [`Capability::Counts`]; what the
    /// store ends with.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.need(Capability::Counts, Operation::Queues)?;
        repeat(|| self.backend().queues()).await
    }

    /// Cancels a job: at once while it waits; a running one is flagged and
    /// its handler told.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without [`Capability::Cancel`]; what the
    /// store ends with.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelled, Error> {
        self.need(Capability::Cancel, Operation::Cancel)?;
        let ids = [id];
        let answers = repeat(|| self.backend().cancel(&ids)).await?;
        self.only(answers, Operation::Cancel)
    }

    /// Runs a failed or cancelled job again, with fresh attempts. Where an
    /// answer is lost the call is made again, and then answers
    /// [`Retried::NotEnded`] for what the first one did.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without [`Capability::Retry`]; what the
    /// store ends with.
    pub async fn retry(&self, id: JobId) -> Result<Retried, Error> {
        self.need(Capability::Retry, Operation::Retry)?;
        let ids = [id];
        let answers = repeat(|| self.backend().retry(&ids)).await?;
        self.only(answers, Operation::Retry)
    }

    /// Pauses a queue for all workers: nothing is claimed from it, enqueues
    /// are accepted, running jobs go on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a bad name; [`ErrorKind::Unsupported`]
    /// without [`Capability::Pause`]; what the store ends with.
    pub async fn pause(&self, queue: impl AsRef<str>) -> Result<(), Error> {
        self.set_flow(queue.as_ref(), Flow::Paused).await
    }

    /// Opens a paused queue again.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self, queue: impl AsRef<str>) -> Result<(), Error> {
        self.set_flow(queue.as_ref(), Flow::Open).await
    }

    /// Does a bounded share of the store's chores, with this client's
    /// retention. Workers do this by themselves.
    ///
    /// # Errors
    /// What the store ends with.
    pub async fn maintain(&self) -> Result<Maintained, Error> {
        let limits = MaintainLimits {
            retention: self.options().retention,
            ..Default::default()
        };
        repeat(|| self.backend().maintain(&limits)).await
    }

    /// What the store can do, as configured.
    pub fn capabilities(&self) -> Capabilities {
        self.backend().capabilities()
    }

    /// The backend under this client, for what only it offers.
    pub fn backend(&self) -> &dyn Backend {
        &*self.inner.backend
    }

    pub(crate) fn shared_backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    async fn enqueue_one(&self, job: NewJob) -> Result<Enqueued, Error> {
        self.check(&job)?;
        self.inner.enqueues.submit(job).await
    }

    async fn set_flow(&self, queue: &str, flow: Flow) -> Result<(), Error> {
        self.need(Capability::Pause, Operation::SetFlow)?;
        let queue = QueueName::new(queue).map_err(|e| self.invalid(Operation::SetFlow, e))?;
        repeat(|| self.backend().set_flow(&queue, flow)).await
    }

    /// Refuses, by name and before any I/O, what the backend does not offer.
    fn check(&self, job: &NewJob) -> Result<(), Error> {
        if job.priority != Priority::Normal {
            self.need(Capability::Priority, Operation::Enqueue)?;
        }
        if job.unique.is_some() {
            self.need(Capability::Unique, Operation::Enqueue)?;
        }
        if job.tags.len() > NewJob::MAX_TAGS {
            let most = NewJob::MAX_TAGS;
            let message = format!("a job has {} tags; use at most {most}", job.tags.len());
            return Err(self.invalid(Operation::Enqueue, message));
        }
        if job.id.queue_hash() != job.queue.hash14() {
            let message = "the id was made for another queue; make it with JobId::new";
            return Err(self.invalid(Operation::Enqueue, message));
        }
        let sized = job.payload.check_size(self.options().payload_limit);
        sized.map_err(|error| self.invalid(Operation::Enqueue, error))
    }

    fn need(&self, capability: Capability, operation: Operation) -> Result<(), Error> {
        if self.capabilities().has(capability) {
            return Ok(());
        }
        Err(Error::unsupported(
            capability,
            operation,
            self.backend().name(),
        ))
    }

    fn invalid(&self, operation: Operation, source: impl Into<crate::Source>) -> Error {
        Error::from_source(
            ErrorKind::InvalidInput,
            operation,
            self.backend().name(),
            source,
        )
    }

    fn only<A>(&self, answers: Vec<A>, operation: Operation) -> Result<A, Error> {
        answers.into_iter().next().ok_or_else(|| {
            let name = self.backend().name();
            Error::new(
                ErrorKind::Internal,
                operation,
                name,
                "no answer to the only item",
            )
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("backend", &self.backend().name())
            .finish_non_exhaustive()
    }
}

/// One round trip, made again while it fails in passing.
async fn enqueue(backend: &dyn Backend, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let answers = repeat(|| backend.enqueue(jobs)).await?;
    telemetry::enqueued(backend.name(), &answers);
    Ok(answers)
}
