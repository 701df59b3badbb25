//! Which handler runs which kind, and with which state.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::client::Client;
use crate::context::JobContext;
use crate::job::Job;
use crate::job_error::JobError;
use crate::name::{InvalidName, Kind, QueueName};
use crate::payload::Payload;
use crate::telemetry::KindMetrics;
use crate::worker::scope::{JobScope, Reports};
use crate::worker::slot::KindLimit;

/// What differs from the kind's own settings for one handler.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// Overrides [`Job::TIME_LIMIT`].
    pub time_limit: Option<Duration>,
    /// Overrides [`Job::CONCURRENCY`].
    pub concurrency: Option<usize>,
    /// Overrides the stored backoff: from the number of the failed attempt
    /// (from 1) to the wait.
    pub backoff: Option<Arc<BackoffFn>>,
}

/// A backoff decided by the worker's code.
pub type BackoffFn = dyn Fn(u32) -> Duration + Send + Sync;

impl HandlerOptions {
    /// No overrides.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long one attempt may run.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Sets how many jobs of the kind one worker runs at a time. Jobs over it
    /// that were claimed already go back for a few seconds, uncharged: give a
    /// kind with a tight limit a queue of its own.
    #[must_use]
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = Some(jobs.max(1));
        self
    }

    /// Sets a backoff decided by code rather than stored with the job.
    #[must_use]
    pub fn backoff(mut self, wait: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        self.backoff = Some(Arc::new(wait));
        self
    }
}

impl std::fmt::Debug for HandlerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerOptions")
            .field("time_limit", &self.time_limit)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// What an attempt ends with.
pub(super) type Finished = Result<Payload, JobError>;

type Run = dyn Fn(&States, Surroundings) -> BoxFuture<'static, Finished> + Send + Sync;

/// What a handler runs in.
pub(super) struct Surroundings {
    pub(super) scope: Arc<JobScope>,
    pub(super) reports: Arc<Reports>,
    pub(super) client: Client,
}

/// A handler with its settings; its types are erased.
pub(super) struct Handler {
    pub(super) kinds: Vec<Kind>,
    pub(super) queue: QueueName,
    pub(super) time_limit: Option<Duration>,
    pub(super) backoff: Option<Arc<BackoffFn>>,
    /// Where the kind has a concurrency of its own.
    pub(super) limit: Option<KindLimit>,
    pub(super) metrics: KindMetrics,
    state: (TypeId, &'static str),
    run: Box<Run>,
}

impl Handler {
    pub(super) fn new<J, S, F, Fut>(run: F, options: HandlerOptions) -> Result<Self, InvalidName>
    where
        J: Job,
        S: Send + Sync + 'static,
        F: Fn(J, JobContext<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
    {
        let names = std::iter::once(&J::KIND).chain(J::ALIASES);
        let run = move |states: &States, around: Surroundings| {
            let limit = around.client.options().payload_limit;
            let job = match around.scope.job.payload.decode::<J>() {
                Ok(job) => job,
                Err(error) => return failed(JobError::fatal(error)),
            };
            let Some(state) = states.get::<S>() else {
                return failed(JobError::new("the worker lost its state"));
            };
            let Surroundings {
                scope,
                reports,
                client,
            } = around;
            let running = run(
                job,
                JobContext {
                    state,
                    scope,
                    reports,
                    client,
                },
            );
            async move {
                let output = running.await?;
                Payload::encode(&output, limit)
                    .map_err(|error| JobError::fatal(format_args!("the result: {error}")))
            }
            .boxed()
        };
        let concurrency = options.concurrency.or(J::CONCURRENCY);
        Ok(Self {
            kinds: names.map(Kind::new).collect::<Result<_, _>>()?,
            queue: QueueName::new(J::QUEUE)?,
            time_limit: options.time_limit.or(J::TIME_LIMIT),
            backoff: options.backoff,
            limit: concurrency.map(KindLimit::new),
            metrics: KindMetrics::new(J::KIND),
            state: (TypeId::of::<S>(), type_name::<S>()),
            run: Box::new(run),
        })
    }

    /// Starts an attempt. The handler's code runs when the future is polled,
    /// except its synchronous start, which may panic here.
    pub(super) fn start(
        &self,
        states: &States,
        around: Surroundings,
    ) -> BoxFuture<'static, Finished> {
        (self.run)(states, around)
    }
}

fn failed(error: JobError) -> BoxFuture<'static, Finished> {
    futures::future::ready(Err(error)).boxed()
}

/// The application's state, by type.
pub(super) struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    pub(super) fn insert<S: Send + Sync + 'static>(&mut self, state: Arc<S>) {
        self.0.insert(TypeId::of::<S>(), state);
    }

    fn get<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        Arc::clone(self.0.get(&TypeId::of::<S>())?).downcast().ok()
    }
}

impl Default for States {
    fn default() -> Self {
        let mut states = Self(HashMap::new());
        // Handlers that need no state take `JobContext<()>`.
        states.insert(Arc::new(()));
        states
    }
}

/// All handlers of a worker, by kind and alias.
pub(super) struct Registry {
    pub(super) states: States,
    handlers: Vec<Arc<Handler>>,
    by_kind: HashMap<Kind, Arc<Handler>>,
    /// Whether each kind has a concurrency of its own.
    all_limited: bool,
}

impl Registry {
    /// Checks that every kind has one handler and every handler its state.
    pub(super) fn new(handlers: Vec<Handler>, states: States) -> Result<Self, String> {
        let handlers: Vec<_> = handlers.into_iter().map(Arc::new).collect();
        let mut by_kind = HashMap::new();
        for handler in &handlers {
            let (id, name) = handler.state;
            if !states.0.contains_key(&id) {
                let kind = &handler.kinds[0];
                return Err(format!(
                    "the handler of {kind:?} takes JobContext<{name}>; give the worker that state \
                     with `.state(…)`"
                ));
            }
            for kind in &handler.kinds {
                if by_kind.insert(kind.clone(), Arc::clone(handler)).is_some() {
                    return Err(format!("kind {kind:?} has two handlers; register it once"));
                }
            }
        }
        Ok(Self {
            states,
            all_limited: handlers.iter().all(|handler| handler.limit.is_some()),
            handlers,
            by_kind,
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Handler>> {
        self.handlers.iter()
    }

    pub(super) fn get(&self, kind: &Kind) -> Option<&Arc<Handler>> {
        self.by_kind.get(kind)
    }

    /// How many jobs may be in slots or on their way there, where each handler
    /// has a limit.
    pub(super) fn room(&self) -> Option<usize> {
        let limits = self
            .handlers
            .iter()
            .filter_map(|handler| handler.limit.as_ref());
        self.all_limited.then(|| limits.map(KindLimit::room).sum())
    }
}
