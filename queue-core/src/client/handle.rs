//! [`JobHandle`]: one job, from any process.

use std::fmt;
use std::marker::PhantomData;

use crate::client::{Client, Watch};
use crate::error::{Error, ErrorKind, Operation};
use crate::id::JobId;
use crate::job::Job;
use crate::new_job::Enqueued;
use crate::payload::PayloadError;
use crate::query::{Cancelled, Retried};
use crate::record::{JobRecord, State};

/// A job of a known type.
pub struct JobHandle<J> {
    client: Client,
    id: JobId,
    existing: bool,
    kind: PhantomData<fn() -> J>,
}

impl<J: Job> JobHandle<J> {
    pub(super) fn new(client: Client, id: JobId) -> Self {
        Self {
            client,
            id,
            existing: false,
            kind: PhantomData,
        }
    }

    pub(super) fn enqueued(client: Client, enqueued: Enqueued) -> Self {
        let existing = matches!(enqueued, Enqueued::Existing(_));
        Self {
            existing,
            ..Self::new(client, enqueued.id())
        }
    }

    /// The job's id: all that another process needs.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the enqueue found its unique key held: this is the job that
    /// holds it, and no new one was stored.
    pub fn is_existing(&self) -> bool {
        self.existing
    }

    /// Reads the job.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the store does not know it (any more);
    /// otherwise what the store ends with.
    pub async fn record(&self) -> Result<JobRecord, Error> {
        let found = self.client.get(self.id).await?;
        found.ok_or_else(|| not_found(&self.client, self.id))
    }

    /// A stream of its changes, the present record first.
    pub fn watch(&self) -> Watch {
        self.client.watch(self.id)
    }

    /// Cancels it. See [`Client::cancel`].
    ///
    /// # Errors
    /// As [`Client::cancel`].
    pub async fn cancel(&self) -> Result<Cancelled, Error> {
        self.client.cancel(self.id).await
    }

    /// Runs it again. See [`Client::retry`].
    ///
    /// # Errors
    /// As [`Client::retry`].
    pub async fn retry(&self) -> Result<Retried, Error> {
        self.client.retry(self.id).await
    }

    /// Waits until the job has ended and returns what its handler returned.
    ///
    /// # Errors
    /// [`WaitError`] where it ended otherwise, is not known, or the store
    /// could not be read for half a minute.
    pub async fn wait(&self) -> Result<J::Output, WaitError> {
        let mut changes = self.watch();
        while let Some(change) = changes.next().await {
            let job = match change {
                Ok(job) => job,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(WaitError::NotFound(self.id));
                }
                Err(error) => return Err(WaitError::Store(error)),
            };
            match job.state {
                State::Completed => {
                    // A backend without results still says that it is done.
                    let result = job.result.ok_or(WaitError::NoResult(self.id))?;
                    return result.decode().map_err(WaitError::Output);
                }
                State::Failed => return Err(WaitError::Failed(Box::new(job))),
                State::Cancelled => return Err(WaitError::Cancelled(Box::new(job))),
                State::Scheduled | State::Ready | State::Running => {}
            }
        }
        Err(WaitError::NotFound(self.id))
    }
}

pub(super) fn not_found(client: &Client, id: JobId) -> Error {
    let message = format!("no job {id}: it was never enqueued, or purged after its retention");
    Error::new(
        ErrorKind::NotFound,
        Operation::Get,
        client.backend().name(),
        message,
    )
}

impl<J> Clone for JobHandle<J> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            id: self.id,
            existing: self.existing,
            kind: PhantomData,
        }
    }
}

impl<J: Job> fmt::Debug for JobHandle<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobHandle<{}>({})", J::KIND, self.id)
    }
}

/// Why a wait did not return the job's output.
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The job failed for good; its errors are in the record.
    Failed(Box<JobRecord>),
    /// The job was cancelled.
    Cancelled(Box<JobRecord>),
    /// The store does not know the job (any more).
    NotFound(JobId),
    /// The job completed, but this store keeps no results.
    NoResult(JobId),
    /// The result is not of the expected type.
    Output(PayloadError),
    /// The store could not be read.
    Store(Error),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(job) => {
                let last = job
                    .errors
                    .last()
                    .map_or("no error was kept", |e| e.message.as_str());
                write!(
                    f,
                    "job {} failed after {} attempts: {last}",
                    job.id, job.attempt
                )
            }
            Self::Cancelled(job) => write!(f, "job {} was cancelled", job.id),
            Self::NotFound(id) => write!(f, "no job {id}: never enqueued, or purged"),
            Self::NoResult(id) => write!(f, "job {id} completed, but its store keeps no results"),
            Self::Output(error) => write!(f, "the job's result is of another type: {error}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}
