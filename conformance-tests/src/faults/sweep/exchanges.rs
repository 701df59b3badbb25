//! The three calls that are swept, and what must be true after each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyqueue_core::{
    ClaimRequest, ClaimedJob, Enqueued, Error, JobId, JobRecord, NewJob, Settled, Settlement,
    State, async_trait,
};

use super::stage::repeated;
use crate::asserts::{Failure, Verdict, eventually, holds, same, same_set};
use crate::handle::Handle;
use crate::samples::{FAR, LONG, complete, job, jobs, queue, retry};

/// The lease of claims whose answer may be lost.
const LEASE: Duration = Duration::from_millis(500);

/// How many jobs may be held by claims whose answer was lost, before they are
/// waited for.
const LOST: usize = 40;

const QUEUE: &str = "q";

/// A call, again and again.
#[async_trait(?Send)]
pub(super) trait Exchange: Sized {
    const NAME: &'static str;
    type Answer;

    async fn begin(near: &Handle, other: &Handle) -> Result<Self, Failure>;

    /// Makes what the next call is about.
    async fn ready(&mut self, near: &Handle, other: &Handle) -> Verdict;

    /// A call of the same form that changes nothing.
    async fn warm(&self, near: &Handle) -> Result<(), Error>;

    /// The call.
    async fn call(&self, near: &Handle) -> Result<Self::Answer, Error>;

    /// Whether the answer, or the error, is true and can be lived with.
    async fn judge(
        &mut self,
        answer: Result<Self::Answer, Error>,
        near: &Handle,
        other: &Handle,
        bytes: u64,
    ) -> Verdict;

    /// What is true after all of them.
    async fn end(&mut self, near: &Handle, other: &Handle) -> Verdict;
}

/// Whether the error says that nothing was done.
fn undone<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(error) if !error.kind().may_have_happened())
}

fn ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

fn created(jobs: &[NewJob]) -> Vec<Enqueued> {
    jobs.iter().map(|job| Enqueued::Created(job.id)).collect()
}

async fn known(other: &Handle, ids: &[JobId]) -> Result<Vec<JobRecord>, Failure> {
    let found = repeated("a read past the proxy", async || other.get(ids).await).await?;
    Ok(found.into_iter().flatten().collect())
}

/// An enqueue of two jobs.
pub(super) struct Enqueue {
    old: Vec<NewJob>,
    new: Vec<NewJob>,
    stored: BTreeSet<JobId>,
    /// Those of calls that said they had done nothing, and were not repeated.
    never: Vec<JobId>,
}

#[async_trait(?Send)]
impl Exchange for Enqueue {
    const NAME: &'static str = "enqueue";
    type Answer = Vec<Enqueued>;

    async fn begin(_: &Handle, other: &Handle) -> Result<Self, Failure> {
        let old = jobs(QUEUE, 2);
        let stored = other.put_all(&old).await?.into_iter().collect();
        Ok(Self {
            old,
            new: Vec::new(),
            stored,
            never: Vec::new(),
        })
    }

    async fn ready(&mut self, _: &Handle, _: &Handle) -> Verdict {
        self.new = jobs(QUEUE, 2);
        Ok(())
    }

    async fn warm(&self, near: &Handle) -> Result<(), Error> {
        near.enqueue(&self.old).await.map(drop)
    }

    async fn call(&self, near: &Handle) -> Result<Vec<Enqueued>, Error> {
        near.enqueue(&self.new).await
    }

    async fn judge(
        &mut self,
        answer: Result<Vec<Enqueued>, Error>,
        near: &Handle,
        other: &Handle,
        bytes: u64,
    ) -> Verdict {
        let (ids, created) = (ids(&self.new), created(&self.new));
        let found = known(other, &ids).await?.len();
        holds(
            "a batch is stored whole or not at all",
            found == 0 || found == 2,
        )?;
        let undone = undone(&answer);
        if let Ok(answer) = answer {
            same("the answers", answer, created.clone())?;
            same("jobs stored by an acknowledged enqueue", found, 2)?;
        } else if undone {
            same("jobs stored by a call that says it did nothing", found, 0)?;
            if bytes.is_multiple_of(2) {
                self.never.extend(ids);
                return Ok(());
            }
        }
        let again = async || near.enqueue(&self.new).await;
        let again = repeated("an enqueue repeated", again).await?;
        same("the answers to a repeated enqueue", again, created)?;
        self.stored.extend(ids);
        Ok(())
    }

    async fn end(&mut self, _: &Handle, other: &Handle) -> Verdict {
        let never = known(other, &self.never).await?;
        let never: Vec<_> = never.iter().map(|job| job.id).collect();
        same("jobs of calls that said they did nothing", never, vec![])?;
        let mut claimed = Vec::new();
        loop {
            let some = other.claim_ids(QUEUE, 1_000).await?;
            if some.is_empty() {
                break;
            }
            claimed.extend(some);
        }
        let stored = std::mem::take(&mut self.stored);
        same_set("the jobs that there are to claim", claimed, stored)
    }
}

/// A claim of one job.
pub(super) struct Claim {
    /// Jobs not yet completed, and the last counter they were claimed with.
    open: BTreeMap<JobId, u64>,
    completed: BTreeSet<JobId>,
    /// The sum of the counters before the call.
    before: u64,
}

impl Claim {
    /// Completes a job, which must have been there to be claimed.
    async fn complete(&mut self, job: &ClaimedJob, other: &Handle) -> Verdict {
        let id = job.token.id;
        let Some(last) = self.open.remove(&id) else {
            return Err(Failure::new(format!("{id} was claimed once it had ended")));
        };
        holds("the counter rises", job.token.counter > last)?;
        // A lease that is over holds until another claim.
        other.accepted(job.token, complete()).await?;
        self.completed.insert(id);
        Ok(())
    }

    async fn counters(&self, other: &Handle) -> Result<u64, Failure> {
        let ids: Vec<_> = self.open.keys().copied().collect();
        let found = known(other, &ids).await?;
        same("jobs that are there", found.len(), ids.len())?;
        Ok(found.iter().map(|job| job.counter).sum())
    }

    /// Claims and completes what lost claims hold, once their leases are over.
    async fn drain(&mut self, other: &Handle) -> Verdict {
        eventually("jobs of lost claims come back", async || {
            for job in other.claim_from(&[QUEUE], 100, LONG).await? {
                self.complete(&job, other).await?;
            }
            Ok(self.open.is_empty().then_some(()))
        })
        .await
    }
}

fn claim(near: &Handle, name: &str) -> ClaimRequest {
    ClaimRequest {
        queues: vec![queue(name)],
        limit: 1,
        lease: LEASE,
        worker: near.worker().clone(),
    }
}

#[async_trait(?Send)]
impl Exchange for Claim {
    const NAME: &'static str = "claim";
    type Answer = Vec<ClaimedJob>;

    async fn begin(_: &Handle, _: &Handle) -> Result<Self, Failure> {
        Ok(Self {
            open: BTreeMap::new(),
            completed: BTreeSet::new(),
            before: 0,
        })
    }

    async fn ready(&mut self, _: &Handle, other: &Handle) -> Verdict {
        if self.open.len() > LOST {
            self.drain(other).await?;
        }
        let new = job(QUEUE);
        other.put(&new).await?;
        self.open.insert(new.id, 0);
        self.before = self.counters(other).await?;
        Ok(())
    }

    async fn warm(&self, near: &Handle) -> Result<(), Error> {
        near.claim(&claim(near, "none")).await.map(drop)
    }

    async fn call(&self, near: &Handle) -> Result<Vec<ClaimedJob>, Error> {
        near.claim(&claim(near, QUEUE)).await
    }

    async fn judge(
        &mut self,
        answer: Result<Vec<ClaimedJob>, Error>,
        _: &Handle,
        other: &Handle,
        _: u64,
    ) -> Verdict {
        match &answer {
            Ok(claimed) => {
                same("jobs claimed, of one there is", claimed.len(), 1)?;
                self.complete(&claimed[0], other).await
            }
            Err(_) if undone(&answer) => {
                let now = self.counters(other).await?;
                same(
                    "counters after a claim that says it did nothing",
                    now,
                    self.before,
                )
            }
            Err(_) => Ok(()),
        }
    }

    async fn end(&mut self, _: &Handle, other: &Handle) -> Verdict {
        self.drain(other).await?;
        let ended = other.count(QUEUE).await?;
        let all = self.completed.len() as u64;
        same("jobs completed", ended.get(State::Completed), all)?;
        same("jobs in all", ended.total(), all)
    }
}

/// A settle of one job: every second one completes it.
pub(super) struct Settle {
    /// One of each form.
    old: [Settlement; 2],
    new: Settlement,
    count: u64,
}

impl Settle {
    async fn claimed(other: &Handle) -> Result<ClaimedJob, Failure> {
        let new = job(QUEUE);
        other.put(&new).await?;
        other.take(QUEUE).await
    }

    async fn next(other: &Handle, count: u64) -> Result<Settlement, Failure> {
        // Past the proxy: a claim whose answer was lost would hold the job.
        let token = Self::claimed(other).await?.token;
        let outcome = match count % 2 {
            0 => complete(),
            _ => retry(FAR),
        };
        Ok(Settlement { token, outcome })
    }
}

#[async_trait(?Send)]
impl Exchange for Settle {
    const NAME: &'static str = "settle";
    type Answer = Vec<Settled>;

    async fn begin(_: &Handle, other: &Handle) -> Result<Self, Failure> {
        let old = [Self::next(other, 0).await?, Self::next(other, 1).await?];
        for settlement in old.clone() {
            let Settlement { token, outcome } = settlement;
            other.accepted(token, outcome).await?;
        }
        Ok(Self {
            new: old[0].clone(),
            old,
            count: 2,
        })
    }

    async fn ready(&mut self, _: &Handle, other: &Handle) -> Verdict {
        self.count += 1;
        self.new = Self::next(other, self.count).await?;
        Ok(())
    }

    async fn warm(&self, near: &Handle) -> Result<(), Error> {
        // What a form needs to be prepared is made, for each of them.
        for old in &self.old {
            near.settle(std::slice::from_ref(old)).await?;
        }
        Ok(())
    }

    async fn call(&self, near: &Handle) -> Result<Vec<Settled>, Error> {
        near.settle(std::slice::from_ref(&self.new)).await
    }

    async fn judge(
        &mut self,
        answer: Result<Vec<Settled>, Error>,
        near: &Handle,
        other: &Handle,
        _: u64,
    ) -> Verdict {
        let settlement = self.new.clone();
        let record = async || other.record(settlement.token.id).await;
        if undone(&answer) {
            let state = record().await?.state;
            same(
                "after a settle that says it did nothing",
                state,
                State::Running,
            )?;
        } else if let Ok(answer) = answer {
            same("the answer", answer, vec![Settled::Accepted])?;
        }
        let again = std::slice::from_ref(&settlement);
        let again = repeated("a settle repeated", async || near.settle(again).await).await?;
        same(
            "the answer to a repeated settle",
            again,
            vec![Settled::Accepted],
        )?;
        let record = record().await?;
        let (state, errors) = match self.count % 2 {
            0 => (State::Completed, 0),
            _ => (State::Scheduled, 1),
        };
        same("the state after a settle", record.state, state)?;
        same("the errors of one settle", record.errors.len(), errors)
    }

    async fn end(&mut self, _: &Handle, other: &Handle) -> Verdict {
        let counts = other.count(QUEUE).await?;
        let completed = counts.get(State::Completed);
        let settled = completed + counts.get(State::Scheduled);
        same("jobs settled", settled, self.count)?;
        same("jobs in all", counts.total(), self.count)
    }
}
