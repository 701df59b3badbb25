//! [`JobBuilder`]: a job that is not all defaults.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use crate::client::{Client, JobHandle};
use crate::error::{Error, Operation, Source};
use crate::id::JobId;
use crate::job::Job;
use crate::name::{Kind, QueueName, Tag, TraceContext, UniqueKey};
use crate::new_job::{NewJob, Priority, Schedule, Unique, UniquePolicy};
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// Builds one job. The first invalid part is reported by
/// [`enqueue`](Self::enqueue) or [`build`](Self::build).
#[must_use = "a job is enqueued by `.enqueue().await`"]
pub struct JobBuilder<'c, J> {
    client: &'c Client,
    job: Result<NewJob, Source>,
    id: Option<JobId>,
    kind: PhantomData<fn() -> J>,
}

impl<'c, J: Job> JobBuilder<'c, J> {
    pub(super) fn new(client: &'c Client, job: &J) -> Self {
        let built = || -> Result<NewJob, Source> {
            let payload = Payload::encode(job, client.options().payload_limit)?;
            let mut new = NewJob::new(QueueName::new(J::QUEUE)?, Kind::new(J::KIND)?, payload);
            new.retry = J::retry_policy();
            Ok(new)
        };
        Self {
            client,
            job: built(),
            id: None,
            kind: PhantomData,
        }
    }

    /// Sends it to this queue.
    pub fn queue(self, queue: impl AsRef<str>) -> Self {
        self.set(|job| {
            job.queue = QueueName::new(queue)?;
            // The id carries its queue's hash.
            job.id = JobId::new(&job.queue);
            Ok(())
        })
    }

    /// Runs it no earlier than this long from now, by the store's clock.
    pub fn delay(self, delay: Duration) -> Self {
        self.schedule(Schedule::After(delay))
    }

    /// Runs it no earlier than this moment, by the store's clock.
    pub fn at(self, time: SystemTime) -> Self {
        self.schedule(Schedule::At(time.into()))
    }

    /// Sets when it may first run.
    pub fn schedule(self, schedule: Schedule) -> Self {
        self.set(|job| {
            job.schedule = schedule;
            Ok(())
        })
    }

    /// Sets its place in the queue's order.
    pub fn priority(self, priority: Priority) -> Self {
        self.set(|job| {
            job.priority = priority;
            Ok(())
        })
    }

    /// Sets how often it runs and how long it waits in between.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        self.set(|job| {
            job.retry = retry;
            Ok(())
        })
    }

    /// Makes it the queue's only unfinished job with this key.
    pub fn unique(self, key: impl AsRef<str>) -> Self {
        self.unique_by(key.as_ref(), UniquePolicy::WhileUnfinished)
    }

    /// Makes it the queue's only job with this key that is enqueued within
    /// the period.
    pub fn unique_for(self, key: impl AsRef<str>, period: Duration) -> Self {
        self.unique_by(key.as_ref(), UniquePolicy::ForPeriod(period))
    }

    fn unique_by(self, key: &str, policy: UniquePolicy) -> Self {
        self.set(|job| {
            job.unique = Some(Unique {
                key: UniqueKey::new(key)?,
                policy,
            });
            Ok(())
        })
    }

    /// Adds a label that lists can be filtered by.
    pub fn tag(self, tag: impl AsRef<str>) -> Self {
        self.set(|job| {
            let tag = Tag::new(tag)?;
            if !job.tags.contains(&tag) {
                job.tags.push(tag);
            }
            Ok(())
        })
    }

    /// Sets the trace it belongs to: a W3C `traceparent`.
    pub fn trace(self, trace: impl AsRef<str>) -> Self {
        self.set(|job| {
            job.trace = Some(TraceContext::new(trace)?);
            Ok(())
        })
    }

    /// Uses this id, made with [`JobId::new`] for the job's queue: an
    /// application that stores the id first can repeat the enqueue safely.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// The job, for [`Client::enqueue_many`] or a transactional enqueue.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with the
    /// first part that is not valid.
    pub fn build(self) -> Result<NewJob, Error> {
        let client = self.client;
        let mut job = self
            .job
            .map_err(|source| client.invalid(Operation::Enqueue, source))?;
        if let Some(id) = self.id {
            job.id = id;
        }
        client.check(&job)?;
        Ok(job)
    }

    /// Enqueues it.
    ///
    /// # Errors
    /// As [`build`](Self::build), with nothing stored; otherwise what the
    /// store ends with. After [`ErrorKind::Unknown`](crate::ErrorKind::Unknown)
    /// the job may be stored; with an [`id`](Self::id) of its own, enqueuing it
    /// again stores no second one.
    pub async fn enqueue(self) -> Result<JobHandle<J>, Error> {
        let client = self.client;
        let enqueued = client.enqueue_one(self.build()?).await?;
        Ok(JobHandle::enqueued(client.clone(), enqueued))
    }

    fn set(mut self, change: impl FnOnce(&mut NewJob) -> Result<(), Source>) -> Self {
        self.job = self.job.and_then(|mut job| change(&mut job).map(|()| job));
        self
    }
}
