//! [`JobContext`]: what a handler is given beside the job.

use std::future::{IntoFuture, Ready, ready};
use std::sync::Arc;

use crate::claim::Token;
use crate::client::Client;
use crate::id::JobId;
use crate::job_error::JobError;
use crate::name::{Kind, QueueName, Tag, TraceContext};
use crate::progress::ProgressValues;
use crate::worker::scope::{JobScope, Reports};

/// What a handler is given beside the job: the application's state, progress,
/// cancellation, and facts about this attempt. Cheap to clone.
pub struct JobContext<S = ()> {
    pub(crate) state: Arc<S>,
    pub(crate) scope: Arc<JobScope>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) client: Client,
}

impl<S> JobContext<S> {
    /// The application's state, as given to
    /// [`Worker::state`](crate::Worker::state).
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.scope.job.token.id
    }

    /// Proof of holding the job: for a store's calls inside the handler's own
    /// transaction. What a handler returns needs none.
    pub fn token(&self) -> Token {
        self.scope.job.token
    }

    /// The job's queue.
    pub fn queue(&self) -> &QueueName {
        &self.scope.job.queue
    }

    /// The job's kind, as stored.
    pub fn kind(&self) -> &Kind {
        &self.scope.job.kind
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.scope.job.attempt
    }

    /// How many attempts the job has.
    pub fn max_attempts(&self) -> u32 {
        self.scope.job.retry.max_attempts
    }

    /// The job's labels.
    pub fn tags(&self) -> &[Tag] {
        &self.scope.job.tags
    }

    /// The trace the job belongs to.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.scope.job.trace.as_ref()
    }

    /// The client the worker was made of, to enqueue further jobs.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reports how much is done, 0 to 100; step and message can follow:
    /// `ctx.progress(40).step(2).message("1,200 of 3,000 rows").await?`.
    ///
    /// Costs no I/O: the latest report of each job is sent to the store at
    /// most five times a second, and before the job is settled. What a report
    /// leaves out keeps its former value.
    ///
    /// # Errors
    /// [`JobError::cancelled`] once the job's cancellation was requested, so
    /// that `?` ends the handler.
    pub fn progress(&self, percent: u8) -> Report<'_> {
        self.report().percent(percent)
    }

    /// A report without a percentage. See [`progress`](Self::progress).
    pub fn report(&self) -> Report<'_> {
        let values = self.scope.latest_report();
        Report {
            scope: &self.scope,
            reports: &self.reports,
            values,
        }
    }

    /// Whether the job's cancellation was requested, or its lease lost.
    pub fn is_cancelled(&self) -> bool {
        self.scope.signal.is_cancelled()
    }

    /// Returns once the job's cancellation was requested, or its lease lost.
    pub async fn cancelled(&self) {
        self.scope.signal.cancelled().await;
    }

    /// Ends the handler, with `?`, once cancellation was requested.
    ///
    /// # Errors
    /// [`JobError::cancelled`].
    pub fn check(&self) -> Result<(), JobError> {
        if self.is_cancelled() {
            Err(JobError::cancelled())
        } else {
            Ok(())
        }
    }
}

impl<S> Clone for JobContext<S> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            scope: Arc::clone(&self.scope),
            reports: Arc::clone(&self.reports),
            client: self.client.clone(),
        }
    }
}

impl<S> std::fmt::Debug for JobContext<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobContext({}, attempt {})", self.id(), self.attempt())
    }
}

/// One report of progress; takes effect when awaited.
#[must_use = "a report takes effect when awaited"]
pub struct Report<'c> {
    scope: &'c Arc<JobScope>,
    reports: &'c Reports,
    values: ProgressValues,
}

impl Report<'_> {
    /// How much is done, 0 to 100.
    pub fn percent(mut self, percent: u8) -> Self {
        self.values = self.values.percent(percent);
        self
    }

    /// Which step is under way.
    pub fn step(mut self, step: u32) -> Self {
        self.values = self.values.step(step);
        self
    }

    /// A line for people to read, cut at 1 KiB.
    pub fn message(mut self, message: impl AsRef<str>) -> Self {
        self.values = self.values.message(message);
        self
    }
}

impl IntoFuture for Report<'_> {
    type Output = Result<(), JobError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.reports.report(self.scope, self.values);
        if self.scope.signal.is_cancelled() {
            return ready(Err(JobError::cancelled()));
        }
        ready(Ok(()))
    }
}
