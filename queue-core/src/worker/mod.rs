//! [`Worker`]: claims jobs, runs their handlers, settles them.
//!
//! ```text
//!  fetch ──▶ buffer ──▶ slots (handlers) ──▶ settling ──▶ store
//!    ▲ claims room only     │ reports ─▶ progress ─────────▶
//!    └── heartbeat (own thread): everything held ──────────▶
//! ```

mod attempt;
mod chores;
mod fetch;
mod health;
mod heartbeat;
mod held;
mod inline;
mod pace;
mod progress;
mod registry;
pub(crate) mod scope;
mod settling;
mod slot;
mod supervise;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::context::JobContext;
use crate::error::{Error, ErrorKind, Operation};
use crate::job::Job;
use crate::job_error::JobError;
use crate::name::{QueueName, WorkerId};

pub use health::Health;
pub use inline::Drained;
pub use registry::{BackoffFn, HandlerOptions};
pub use supervise::RunningWorker;

use registry::{Handler, Registry, States};
use supervise::Engine;

/// Claims jobs from queues and runs them with the registered handlers.
///
/// The defaults are made to be kept: a worker claims only what it has room
/// for, and prefetches as fast as its handlers prove to be, so that quick
/// jobs are claimed by the hundred and slow ones one by one.
#[must_use = "a worker works once it is run"]
pub struct Worker {
    client: Client,
    states: States,
    handlers: Vec<Handler>,
    settings: Settings,
    /// The first thing that was wrong with what it was given.
    problem: Option<String>,
}

/// What a worker was told.
pub(super) struct Settings {
    id: WorkerId,
    queues: Vec<QueueName>,
    concurrency: usize,
    lease: Duration,
    grace: Duration,
}

impl Worker {
    /// A worker on a client's store, without handlers yet.
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            states: States::default(),
            handlers: Vec::new(),
            settings: Settings {
                id: WorkerId::random(),
                queues: Vec::new(),
                concurrency: 32,
                lease: Duration::from_secs(15),
                grace: Duration::from_secs(20),
            },
            problem: None,
        }
    }

    /// Gives handlers that take `JobContext<S>` their state. One value for
    /// each type; may be called for several types.
    pub fn state<S: Send + Sync + 'static>(self, state: S) -> Self {
        self.shared_state(Arc::new(state))
    }

    /// [`state`](Self::state) for a value that is shared already.
    pub fn shared_state<S: Send + Sync + 'static>(mut self, state: Arc<S>) -> Self {
        self.states.insert(state);
        self
    }

    /// Registers the handler of a kind: a plain async function from the job
    /// and its context to the job's output.
    pub fn register<J, S, F, Fut>(self, handler: F) -> Self
    where
        J: Job,
        S: Send + Sync + 'static,
        F: Fn(J, JobContext<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
    {
        self.register_with(handler, HandlerOptions::new())
    }

    /// Registers a handler with settings that differ from its kind's.
    pub fn register_with<J, S, F, Fut>(mut self, handler: F, options: HandlerOptions) -> Self
    where
        J: Job,
        S: Send + Sync + 'static,
        F: Fn(J, JobContext<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
    {
        match Handler::new(handler, options) {
            Ok(handler) => self.handlers.push(handler),
            Err(error) => self.object(format!("job type {}: {error}", std::any::type_name::<J>())),
        }
        self
    }

    /// Takes from this queue. Where none is named, a worker takes from the
    /// queues of its handlers' kinds ([`Job::QUEUE`]). Several queues are
    /// served in turn.
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        match QueueName::new(queue) {
            Ok(queue) => self.settings.queues.push(queue),
            Err(error) => self.object(error.to_string()),
        }
        self
    }

    /// How many jobs it runs at a time; by default 32, at least 1.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.settings.concurrency = jobs.max(1);
        self
    }

    /// How long a claim holds without a heartbeat; by default 15 s. After a
    /// worker's death, its jobs run again when their leases are over.
    pub fn lease(mut self, lease: Duration) -> Self {
        if lease < Duration::from_millis(100) {
            self.object("a lease under 100 ms cannot be kept; give more".to_owned());
        }
        self.settings.lease = lease;
        self
    }

    /// How long running handlers may go on after shutdown began; by default
    /// 20 s. What runs then is dropped and released, uncharged.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Names the worker, to be read in records while it holds a job; by
    /// default a random name. Must differ from every other's.
    pub fn id(mut self, id: WorkerId) -> Self {
        self.settings.id = id;
        self
    }

    /// Works until the future is ready, then shuts down: stops claiming,
    /// gives handlers their [`grace`](Self::grace), releases the rest, and
    /// settles everything.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the worker was given something wrong
    /// (the text says what). A failing store is no error: the worker waits
    /// for it, see [`RunningWorker::health`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let running = self.start()?;
        shutdown.await;
        running.shutdown().await;
        Ok(())
    }

    /// Starts working in the background of the current tokio runtime.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    pub fn start(self) -> Result<RunningWorker, Error> {
        Ok(RunningWorker::start(self.into_engine()?))
    }

    /// Runs waiting jobs one after the other in this task until none can be
    /// claimed, and returns: for tests and scripts.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until); what the store ends with.
    pub async fn drain(self) -> Result<Drained, Error> {
        inline::drain(self.into_engine()?).await
    }

    fn object(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    fn into_engine(self) -> Result<Engine, Error> {
        let Self {
            client,
            states,
            handlers,
            mut settings,
            problem,
        } = self;
        let wrong = |problem: String| {
            Error::new(
                ErrorKind::InvalidInput,
                Operation::Work,
                client.backend().name(),
                problem,
            )
        };
        if let Some(problem) = problem {
            return Err(wrong(problem));
        }
        if handlers.is_empty() {
            return Err(wrong("the worker has no handler; register one".to_owned()));
        }
        if settings.queues.is_empty() {
            settings.queues = handlers
                .iter()
                .map(|handler| handler.queue.clone())
                .collect();
        }
        settings.queues.sort_unstable();
        settings.queues.dedup();
        let registry = Registry::new(handlers, states).map_err(wrong)?;
        Ok(Engine::new(client, registry, settings))
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.settings.id)
            .finish_non_exhaustive()
    }
}
