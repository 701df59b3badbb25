//! Proves that the cases of `late_effect` let a dropped call come as late as
//! it may, and no more often.

#[macro_use]
#[allow(dead_code, unused_macros, reason = "a part of it is used here")]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyqueue_conformance_tests::{CaseOutcome, Delegate, check, wrap};
use anyqueue_core::{
    Backend, Cancelled, ClaimRequest, ClaimedJob, Enqueued, Error, Flow, Holding, JobId, JobRecord,
    NewJob, ProgressUpdate, QueueInfo, QueueName, Retried, Settled, Settlement, Token, async_trait,
};
use common::Memory;

/// A call that was dropped, to be made later.
#[derive(Debug, Clone)]
enum Call {
    Cancel(Vec<JobId>),
    Retry(Vec<JobId>),
    SetFlow(QueueName, Flow),
    Heartbeat(Vec<Token>, Duration),
    Progress(Vec<ProgressUpdate>),
}

/// Dropped calls, and behind how many others each comes.
type Dropped = Arc<Mutex<Vec<(usize, Call)>>>;

/// Makes each dropped call `TIMES` times: the last time behind so many calls,
/// before that at the next one.
struct Late<const AFTER: usize, const TIMES: usize> {
    inner: Arc<dyn Backend>,
    dropped: Dropped,
}

fn late<const AFTER: usize, const TIMES: usize>(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    wrap(Late::<AFTER, TIMES> {
        inner,
        dropped: Dropped::default(),
    })
}

/// Notes its call where it is dropped.
struct UnderWay<'a> {
    call: Option<Call>,
    places: &'a [usize],
    dropped: &'a Dropped,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        for place in self.call.iter().flat_map(|_| self.places) {
            let call = self.call.clone().expect("one that is dropped");
            self.dropped.lock().expect("no panic").push((*place, call));
        }
    }
}

impl<const AFTER: usize, const TIMES: usize> Late<AFTER, TIMES> {
    /// Where a call can be dropped.
    async fn pause(&self, call: Call) {
        let places: &[usize] = if TIMES == 1 { &[AFTER] } else { &[0, AFTER] };
        let mut under_way = UnderWay {
            call: Some(call),
            places,
            dropped: &self.dropped,
        };
        tokio::task::yield_now().await;
        under_way.call = None;
    }

    /// Makes the dropped calls that come before the next one.
    async fn catch_up(&self) -> Result<(), Error> {
        let mut due = Vec::new();
        self.dropped
            .lock()
            .expect("no panic")
            .retain_mut(|(place, call)| {
                let now = *place == 0;
                if now {
                    due.push(call.clone());
                } else {
                    *place -= 1;
                }
                !now
            });
        for call in due {
            match call {
                Call::Cancel(ids) => self.inner.cancel(&ids).await.map(drop)?,
                Call::Retry(ids) => self.inner.retry(&ids).await.map(drop)?,
                Call::SetFlow(queue, flow) => self.inner.set_flow(&queue, flow).await?,
                Call::Heartbeat(tokens, lease) => {
                    self.inner.heartbeat(&tokens, lease).await.map(drop)?;
                }
                Call::Progress(updates) => self.inner.progress(&updates).await.map(drop)?,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<const AFTER: usize, const TIMES: usize> Delegate for Late<AFTER, TIMES> {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        late::<AFTER, TIMES>(inner)
    }
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        self.pause(Call::Cancel(ids.to_vec())).await;
        self.catch_up().await?;
        self.inner.cancel(ids).await
    }
    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        self.pause(Call::Retry(ids.to_vec())).await;
        self.catch_up().await?;
        self.inner.retry(ids).await
    }
    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        self.pause(Call::SetFlow(queue.clone(), flow)).await;
        self.catch_up().await?;
        self.inner.set_flow(queue, flow).await
    }
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        self.pause(Call::Heartbeat(tokens.to_vec(), lease)).await;
        self.catch_up().await?;
        self.inner.heartbeat(tokens, lease).await
    }
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        self.pause(Call::Progress(updates.to_vec())).await;
        self.catch_up().await?;
        self.inner.progress(updates).await
    }
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.catch_up().await?;
        self.inner.enqueue(jobs).await
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        self.catch_up().await?;
        self.inner.claim(request).await
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        self.catch_up().await?;
        self.inner.settle(settlements).await
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        self.catch_up().await?;
        self.inner.get(ids).await
    }
    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.catch_up().await?;
        self.inner.queues().await
    }
}

/// The cases that failed, and what they said.
fn failed(broken: fn(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Vec<(String, String)> {
    let results = check(Memory(broken), "late_effect__");
    assert!(results.len() >= 6, "{results:?}");
    let failed = results
        .into_iter()
        .filter_map(|result| match result.outcome {
            CaseOutcome::Failed(report) => Some((result.name, report)),
            CaseOutcome::Ignored(reason) => panic!("{}: {reason}", result.name),
            _ => None,
        });
    failed.collect()
}

#[test]
fn a_dropped_call_may_come_behind_any_other() {
    for broken in [
        late::<0, 1>,
        late::<1, 1>,
        late::<2, 1>,
        late::<3, 1>,
        late::<4, 1>,
        late::<5, 1>,
        late::<6, 1>,
        late::<7, 1>,
        late::<9, 1>,
        late::<1000, 1>,
    ] {
        assert_eq!(failed(broken), []);
    }
}

#[test]
fn a_dropped_call_may_not_come_twice() {
    let mut caught: Vec<String> = Vec::new();
    for broken in [late::<1, 2>, late::<2, 2>, late::<3, 2>] {
        caught.extend(failed(broken).into_iter().map(|(name, _)| name));
    }
    for name in ["a_cancel_comes", "a_pause_comes", "an_opening_comes"] {
        let found = caught.iter().any(|caught| caught.contains(name));
        assert!(found, "{name} caught nothing: {caught:?}");
    }
}
