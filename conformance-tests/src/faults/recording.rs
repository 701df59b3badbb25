//! [`recording`]: a backend that notes every call in a history.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Holding, JobId,
    JobRecord, Listing, NewJob, Outcome, Page, ProgressUpdate, Retried, Schedule, Settled,
    Settlement, Timestamp, Token, UniquePolicy, async_trait,
};

use super::history::{
    Answer, Asked, Claimed, Hold, Key, Log, New, Seen, Settle, Stored, UnderWay, micros,
};
use crate::delegate::{Delegate, wrap};

/// The backend, with its calls noted in the log: those on jobs, but not the
/// waits and counts, of which no law of a history speaks.
pub fn recording(backend: Arc<dyn Backend>, log: Arc<Log>) -> Arc<dyn Backend> {
    wrap(Recording {
        inner: backend,
        log,
    })
}

struct Recording {
    inner: Arc<dyn Backend>,
    log: Arc<Log>,
}

/// A new job as a history tells it.
pub fn new(job: &NewJob) -> New {
    let key = |unique: &anyqueue_core::Unique| Key {
        queue: job.queue.to_string(),
        key: unique.key.to_string(),
        period: match unique.policy {
            UniquePolicy::WhileUnfinished => None,
            UniquePolicy::ForPeriod(period) => Some(micros(period)),
        },
    };
    New {
        job: job.id.to_string(),
        delay: match job.schedule {
            Schedule::Now => 0,
            Schedule::After(delay) => micros(delay),
            Schedule::At(time) => micros(time.since(Timestamp::host_now())),
        },
        attempts: job.retry.max_attempts,
        unique: job.unique.as_ref().map(key),
    }
}

fn hold(token: &Token) -> Hold {
    Hold {
        job: token.id.to_string(),
        counter: token.counter,
    }
}

fn settle(settlement: &Settlement) -> Settle {
    Settle {
        job: settlement.token.id.to_string(),
        counter: settlement.token.counter,
        outcome: settlement.outcome.kind(),
        delay: match settlement.outcome {
            Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } => micros(delay),
            _ => 0,
        },
    }
}

fn seen(record: &JobRecord) -> Seen {
    Seen {
        state: record.state,
        counter: record.counter,
    }
}

fn ids(ids: &[JobId]) -> Vec<String> {
    ids.iter().map(JobId::to_string).collect()
}

/// Notes the answer, and passes it on.
fn ended<T>(
    call: UnderWay,
    answer: Result<Vec<T>, Error>,
    told: impl FnOnce(&[T]) -> Answer,
) -> Result<Vec<T>, Error> {
    call.end(match &answer {
        Ok(items) => told(items),
        Err(error) => Answer::of(error),
    });
    answer
}

#[async_trait]
impl Delegate for Recording {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        recording(inner, Arc::clone(&self.log))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let call = self
            .log
            .begin(Asked::Enqueue(jobs.iter().map(new).collect()));
        ended(call, self.inner.enqueue(jobs).await, |items| {
            Answer::Enqueued(items.iter().map(|item| Stored::of(*item)).collect())
        })
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let lease = micros(request.lease);
        let call = self.log.begin(Asked::Claim { lease });
        ended(call, self.inner.claim(request).await, |items| {
            let claimed = |item: &ClaimedJob| Claimed {
                job: item.token.id.to_string(),
                counter: item.token.counter,
                attempt: item.attempt,
            };
            Answer::Claimed(items.iter().map(claimed).collect())
        })
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let call = self.log.begin(Asked::Heartbeat {
            lease: micros(lease),
            tokens: tokens.iter().map(hold).collect(),
        });
        ended(call, self.inner.heartbeat(tokens, lease).await, |items| {
            Answer::Held(items.to_vec())
        })
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let asked = settlements.iter().map(settle).collect();
        let call = self.log.begin(Asked::Settle(asked));
        ended(call, self.inner.settle(settlements).await, |items| {
            Answer::Settled(items.to_vec())
        })
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        let asked = updates.iter().map(|update| hold(&update.token)).collect();
        let call = self.log.begin(Asked::Progress(asked));
        ended(call, self.inner.progress(updates).await, |items| {
            Answer::Held(items.to_vec())
        })
    }

    async fn cancel(&self, jobs: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        let call = self.log.begin(Asked::Cancel(ids(jobs)));
        ended(call, self.inner.cancel(jobs).await, |items| {
            Answer::Cancelled(items.to_vec())
        })
    }

    async fn retry(&self, jobs: &[JobId]) -> Result<Vec<Retried>, Error> {
        let call = self.log.begin(Asked::Retry(ids(jobs)));
        ended(call, self.inner.retry(jobs).await, |items| {
            Answer::Retried(items.to_vec())
        })
    }

    async fn get(&self, jobs: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let call = self.log.begin(Asked::Read(ids(jobs)));
        ended(call, self.inner.get(jobs).await, |items| {
            Answer::Found(items.iter().map(|item| item.as_ref().map(seen)).collect())
        })
    }

    /// Noted as a read of the jobs that it shows.
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        let began = super::history::now();
        let listing = self.inner.list(filter, page).await?;
        let shown = listing.jobs.iter();
        self.log.whole(
            began,
            Asked::Read(shown.clone().map(|job| job.id.to_string()).collect()),
            Answer::Found(shown.map(|job| Some(seen(job))).collect()),
        );
        Ok(listing)
    }
}
