//! [`Handle`]: a backend's handle with the short calls that cases are made of.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow, Holding, JobId,
    JobRecord, MaintainLimits, Maintained, NewJob, Outcome, Page, ProgressUpdate, ProgressValues,
    Retention, Retried, Settled, Settlement, State, StateCounts, Timestamp, Token, WorkerId,
};

use crate::asserts::{Failure, Verdict, eventually, holds, same};
use crate::samples::{LONG, job, queue};

/// A handle on a store. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Handle {
    backend: Arc<dyn Backend>,
    worker: WorkerId,
}

impl Deref for Handle {
    type Target = dyn Backend;
    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

impl Handle {
    pub(crate) fn new(backend: Arc<dyn Backend>, number: u32) -> Self {
        let worker = WorkerId::new(format!("worker-{number}")).expect("a valid name");
        Self { backend, worker }
    }

    /// The same store by the backend's own `reopen`.
    pub(crate) async fn reopened(&self) -> Result<Self, Error> {
        Ok(Self { backend: self.backend.reopen().await?, worker: self.worker.clone() })
    }

    /// The name under which this handle claims.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// Enqueues one job.
    pub(crate) async fn enqueue_one(&self, job: &NewJob) -> Result<Enqueued, Failure> {
        only("enqueue", self.backend.enqueue(std::slice::from_ref(job)).await?)
    }

    /// Enqueues one job, which must be `Created`.
    pub(crate) async fn put(&self, job: &NewJob) -> Result<JobId, Failure> {
        same("the answer to enqueue", self.enqueue_one(job).await?, Enqueued::Created(job.id))?;
        Ok(job.id)
    }

    /// Enqueues jobs in one call, which must all be `Created`; gives their ids.
    pub(crate) async fn put_all(&self, jobs: &[NewJob]) -> Result<Vec<JobId>, Failure> {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let expected: Vec<_> = ids.iter().copied().map(Enqueued::Created).collect();
        same("the answers to enqueue", self.backend.enqueue(jobs).await?, expected)?;
        Ok(ids)
    }

    /// Claims from these queues.
    pub(crate) async fn claim_from(
        &self,
        queues: &[&str],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedJob>, Failure> {
        let queues = queues.iter().map(|name| queue(name)).collect();
        let request = ClaimRequest { queues, limit, lease, worker: self.worker.clone() };
        let claimed = self.backend.claim(&request).await?;
        holds("a claim gives at most `limit` jobs", claimed.len() <= limit as usize)?;
        let ids: BTreeSet<_> = claimed.iter().map(|job| job.token.id).collect();
        holds("a claim gives each job once", ids.len() == claimed.len())?;
        Ok(claimed)
    }

    /// Claims from this queue with a long lease.
    pub(crate) async fn claim_many(
        &self,
        queue: &str,
        limit: u32,
    ) -> Result<Vec<ClaimedJob>, Failure> {
        self.claim_from(&[queue], limit, LONG).await
    }

    /// The ids of the jobs that a claim gives, in its order.
    pub(crate) async fn claim_ids(&self, queue: &str, limit: u32) -> Result<Vec<JobId>, Failure> {
        Ok(self.claim_many(queue, limit).await?.iter().map(|job| job.token.id).collect())
    }

    /// Claims one job with a long lease; there must be one.
    pub(crate) async fn take(&self, queue: &str) -> Result<ClaimedJob, Failure> {
        self.take_for(queue, LONG).await
    }

    /// Claims one job for this long; there must be one.
    pub(crate) async fn take_for(
        &self,
        queue: &str,
        lease: Duration,
    ) -> Result<ClaimedJob, Failure> {
        let claimed = self.claim_from(&[queue], 1, lease).await?;
        claimed.into_iter().next().ok_or_else(|| {
            Failure::new(format!("claim gave nothing, though {queue:?} holds a claimable job"))
        })
    }

    /// Claims one job as soon as there is one.
    pub(crate) async fn take_soon(&self, queue: &str) -> Result<ClaimedJob, Failure> {
        eventually("a job is claimed", async || {
            Ok(self.claim_many(queue, 1).await?.into_iter().next())
        })
        .await
    }

    /// Enqueues a plain job and claims it.
    pub(crate) async fn put_and_take(&self, queue: &str) -> Result<ClaimedJob, Failure> {
        self.put(&job(queue)).await?;
        self.take(queue).await
    }

    /// Enqueues a plain job, claims it and settles it so.
    pub(crate) async fn run(&self, queue: &str, outcome: Outcome) -> Result<Token, Failure> {
        let token = self.put_and_take(queue).await?.token;
        self.accepted(token, outcome).await?;
        Ok(token)
    }

    /// No job of this queue is claimable.
    pub(crate) async fn claims_none(&self, queue: &str) -> Verdict {
        same("claimed, though none is claimable", self.claim_ids(queue, 100).await?, vec![])
    }

    /// Extends one lease.
    pub(crate) async fn beat(&self, token: Token, lease: Duration) -> Result<Holding, Failure> {
        only("heartbeat", self.backend.heartbeat(&[token], lease).await?)
    }

    /// Settles one job.
    pub(crate) async fn settle_one(
        &self,
        token: Token,
        outcome: Outcome,
    ) -> Result<Settled, Failure> {
        only("settle", self.backend.settle(&[Settlement { token, outcome }]).await?)
    }

    /// Settles one job, which must be `Accepted`.
    pub(crate) async fn accepted(&self, token: Token, outcome: Outcome) -> Verdict {
        let what = format!("the answer to settle with {}", outcome.kind().as_str());
        same(&what, self.settle_one(token, outcome).await?, Settled::Accepted)
    }

    /// Reports progress of one job.
    pub(crate) async fn report(
        &self,
        token: Token,
        values: ProgressValues,
    ) -> Result<Holding, Failure> {
        only("progress", self.backend.progress(&[ProgressUpdate { token, values }]).await?)
    }

    /// Cancels one job.
    pub(crate) async fn cancel_one(&self, id: JobId) -> Result<Cancelled, Failure> {
        only("cancel", self.backend.cancel(&[id]).await?)
    }

    /// Retries one job by hand.
    pub(crate) async fn retry_one(&self, id: JobId) -> Result<Retried, Failure> {
        only("retry", self.backend.retry(&[id]).await?)
    }

    /// Reads one job, where the store knows it.
    pub(crate) async fn find(&self, id: JobId) -> Result<Option<JobRecord>, Failure> {
        only("get", self.backend.get(&[id]).await?)
    }

    /// Reads one job, which must be there.
    pub(crate) async fn record(&self, id: JobId) -> Result<JobRecord, Failure> {
        let found = self.find(id).await?;
        found.ok_or_else(|| Failure::new(format!("get does not know the job {id}")))
    }

    /// Reads these jobs, which must all be there.
    pub(crate) async fn records(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Failure> {
        let found: Option<Vec<_>> = self.backend.get(ids).await?.into_iter().collect();
        let found = found.ok_or_else(|| Failure::new("get does not know all of the jobs"))?;
        let order: Vec<_> = found.iter().map(|record| record.id).collect();
        same("the order of the records", order, ids.to_vec())?;
        Ok(found)
    }

    /// The job is in this state.
    pub(crate) async fn in_state(&self, id: JobId, state: State) -> Result<JobRecord, Failure> {
        let record = self.record(id).await?;
        same("the job's state", record.state, state)?;
        Ok(record)
    }

    /// Every job that matches, by pages of this size.
    pub(crate) async fn list_all(
        &self,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<JobRecord>, Failure> {
        let mut jobs = Vec::new();
        let mut page = Page::first(limit);
        loop {
            let listing = self.backend.list(filter, &page).await?;
            holds("a page has at most `limit` jobs", listing.jobs.len() <= limit as usize)?;
            jobs.extend(listing.jobs);
            match listing.next {
                Some(cursor) => page = page.after(cursor),
                None => return Ok(jobs),
            }
        }
    }

    /// The counts of one queue; all zero where it is left out.
    pub(crate) async fn count(&self, name: &str) -> Result<StateCounts, Failure> {
        let all = self.backend.counts().await?;
        let found = all.iter().find(|counts| counts.queue.as_str() == name);
        Ok(found.map(|counts| counts.counts).unwrap_or_default())
    }

    /// Opens or pauses a queue.
    pub(crate) async fn flow(&self, name: &str, flow: Flow) -> Verdict {
        Ok(self.backend.set_flow(&queue(name), flow).await?)
    }

    /// Maintains with the default bounds.
    pub(crate) async fn maintain_all(&self) -> Result<Maintained, Failure> {
        self.maintain_with(MaintainLimits::default().jobs, Retention::default()).await
    }

    /// Maintains until nothing is left to do, and gives the sums.
    pub(crate) async fn maintain_with(
        &self,
        jobs: u32,
        retention: Retention,
    ) -> Result<Maintained, Failure> {
        let mut sum = Maintained::default();
        for _ in 0..1_000 {
            let did = self.backend.maintain(&MaintainLimits { jobs, retention }).await?;
            let each = [did.expired, did.promoted, did.purged];
            holds("a chore touches at most `jobs`", each.iter().all(|n| *n <= u64::from(jobs)))?;
            sum.expired += did.expired;
            sum.promoted += did.promoted;
            sum.purged += did.purged;
            if !did.more {
                return Ok(sum);
            }
        }
        Err(Failure::new("maintain says `more` without end"))
    }

    /// The store's clock, read off a probe job of a queue of its own.
    pub(crate) async fn store_now(&self) -> Result<Timestamp, Failure> {
        let probe = self.put(&job(CLOCK)).await?;
        Ok(self.record(probe).await?.created_at)
    }

    /// Waits until the store's clock is past this moment.
    pub(crate) async fn pass(&self, moment: Timestamp) -> Verdict {
        eventually("the store's clock passes a moment", async || {
            Ok((self.store_now().await? > moment).then_some(()))
        })
        .await
    }

    /// Waits until the lease that this claim got has run out by the store's
    /// clock; nothing is claimed or maintained meanwhile.
    pub(crate) async fn outlive(&self, claimed: &ClaimedJob) -> Verdict {
        self.pass(claimed.lease_until).await
    }
}

/// The queue of the probe jobs that read the store's clock.
pub(crate) const CLOCK: &str = "clock";

fn only<T>(call: &str, answers: Vec<T>) -> Result<T, Failure> {
    let count = answers.len();
    match answers.into_iter().next() {
        Some(answer) if count == 1 => Ok(answer),
        _ => Err(Failure::new(format!("{call} of one item gave {count} answers"))),
    }
}
