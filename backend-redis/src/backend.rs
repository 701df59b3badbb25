//! [`RedisBackend`]: the contract's methods, as scripts on shards.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Operation, Page,
    ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled, Settlement, Token,
    WaitRequest, async_trait,
};
use tokio::time::sleep;

use crate::changes::{self, Watchers};
use crate::config::RedisConfig;
use crate::error::Failure;
use crate::store::Store;
use crate::wake::{LOOK_AGAIN, Listeners};
use crate::{chores, claim, control, enqueue, prepare, read, settle};

pub(crate) const NAME: &str = "redis";

/// A handle on a store, with connections of its own. Clones share them.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    pub(crate) store: Arc<Store>,
    listeners: Arc<Listeners>,
    watchers: Arc<Watchers>,
}

impl RedisBackend {
    /// The store that a URL names, as [`RedisConfig`] reads it. The first call
    /// connects, which is [`prepare`](anyqueue_core::Backend::prepare).
    ///
    /// # Errors
    /// `InvalidInput` as [`RedisConfig::from_url`].
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Self::open(RedisConfig::from_url(url)?).map(Arc::new)
    }

    /// The store that a configuration names.
    ///
    /// # Errors
    /// `InvalidInput` where it has no node, or a prefix that cannot be one.
    pub fn open(config: RedisConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self {
            store: Store::new(config),
            listeners: Arc::default(),
            watchers: Arc::default(),
        })
    }
}

fn judged<T>(operation: Operation, answer: Result<T, Failure>) -> Result<T, Error> {
    answer.map_err(|failure| failure.into_error(operation))
}

#[async_trait]
impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything, [`enqueue_in`](RedisBackend::enqueue_in) included.
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(self.store.durability())
    }

    async fn prepare(&self) -> Result<(), Error> {
        judged(Operation::Prepare, prepare::prepare(&self.store).await)
    }

    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        let config = self.store.connections.config.clone();
        let other = Self::open(config)?;
        other.store.set_durability(self.store.durability());
        Ok(Arc::new(other))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        judged(
            Operation::Enqueue,
            enqueue::enqueue(&self.store, jobs).await,
        )
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        judged(Operation::Claim, claim::claim(&self.store, request).await)
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let answer = settle::heartbeat(&self.store, tokens, lease).await;
        judged(Operation::Heartbeat, answer)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        judged(
            Operation::Settle,
            settle::settle(&self.store, settlements).await,
        )
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        judged(
            Operation::Progress,
            settle::progress(&self.store, updates).await,
        )
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        judged(Operation::Cancel, control::cancel(&self.store, ids).await)
    }

    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        judged(Operation::Retry, control::retry(&self.store, ids).await)
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        judged(Operation::Get, read::get(&self.store, ids).await)
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        judged(Operation::List, read::page(&self.store, filter, page).await)
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        judged(Operation::Counts, read::counts(&self.store).await)
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        judged(Operation::Queues, read::queues(&self.store).await)
    }

    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        judged(
            Operation::SetFlow,
            control::set_flow(&self.store, queue, flow).await,
        )
    }

    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        judged(
            Operation::Maintain,
            chores::maintain(&self.store, limits).await,
        )
    }

    /// Returns at once where a job is claimable already.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let wait = self.listeners.begin(&self.store, &request.queues);
        let mut timeout = pin!(sleep(request.timeout));
        loop {
            let due = tokio::select! {
                due = read::next_due(&self.store, &request.queues) => judged(Operation::Wait, due)?,
                () = &mut timeout => return Ok(()),
            };
            let look_again = (!wait.covered).then_some(LOOK_AGAIN);
            let span = due.into_iter().chain(look_again).min();
            if due.is_some_and(|due| due.is_zero()) {
                return Ok(());
            }
            let until = async {
                match span {
                    Some(span) => sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait.notify.notified() => return Ok(()),
                () = until => {}
                () = &mut timeout => return Ok(()),
            }
        }
    }

    /// Ends early where it was not yet known at its first poll that every
    /// change is told.
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        let watch = self.watchers.begin(ids);
        let reliable = watch.reliable;
        let watching = async {
            loop {
                let tuned = self.watchers.tune_in(&self.store, ids).await;
                if let Err(failure) = tuned {
                    return judged(Operation::Wait, Err(failure));
                }
                if !reliable {
                    return Ok(());
                }
                sleep(changes::RENEWAL).await;
            }
        };
        tokio::select! {
            () = watch.notify.notified() => Ok(()),
            ended = watching => ended,
            () = sleep(timeout) => Ok(()),
        }
    }
}
