//! [`RabbitBackend`]: the contract's methods, as commands in the ledger and
//! looks at the fold.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, Cancelled, Capabilities, Capability, ClaimRequest, ClaimedJob, Durability, Enqueued,
    Error, Filter, Flow, Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob,
    Operation, Page, ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled,
    Settlement, Token, WaitRequest, async_trait,
};
use anyqueue_memory::{Answer, Command, Machine};
use tokio::time::sleep;
use uuid::Uuid;

use crate::config::{RabbitConfig, View};
use crate::error::{Failure, mismatch};
use crate::fold::Reply;
use crate::outbox::Urgency;
use crate::shared::{Handle, Shared};
use crate::wire::Entry;
use crate::{instance, session};

pub(crate) const NAME: &str = "rabbitmq";

/// A handle on a store on a RabbitMQ broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RabbitBackend {
    instance: Arc<Handle>,
}

impl RabbitBackend {
    /// The store that a URL names. No I/O is waited for: the instance connects
    /// on a thread of its own.
    ///
    /// # Errors
    /// `InvalidInput` as [`RabbitConfig::from_url`].
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::open(&RabbitConfig::from_url(url)?)))
    }

    /// The store that a configuration names.
    pub fn open(config: &RabbitConfig) -> Self {
        Self {
            instance: instance::open(config),
        }
    }

    /// Deletes a store with all its jobs. No process may use it any more: one
    /// that does makes it anew, empty.
    ///
    /// # Errors
    /// What the broker ends with; queues that are gone already are no error.
    pub async fn destroy(config: &RabbitConfig) -> Result<(), Error> {
        let failed = |failure: Failure| failure.of(Operation::Prepare);
        if !session::exists(config).await.map_err(failed)? {
            return Ok(());
        }
        // The ledger tells which ledgers there are.
        let mut config = config.clone();
        config.view = View::Own;
        let store = Self::open(&config);
        store.prepare().await?;
        let ledgers = store.shared().view().ledgers();
        drop(store);
        session::destroy(&config, &ledgers).await.map_err(failed)
    }

    /// The ticket that the instance of this handle holds, once it has claimed:
    /// the body of a message of the queue `<prefix>.tickets`.
    pub fn ticket(&self) -> Option<Uuid> {
        *self.shared().ticket.borrow()
    }

    /// How many ledgers have ended before the one that is followed now.
    pub fn generation(&self) -> u64 {
        self.shared().view().generation
    }

    fn shared(&self) -> &Shared {
        &self.instance.0
    }

    async fn apply(&self, operation: Operation, command: Command) -> Result<Answer, Error> {
        let urgency = match operation {
            Operation::Heartbeat => Urgency::First,
            _ => Urgency::InTurn,
        };
        let entry = Some(Entry::Store(command));
        match self.shared().submit(operation, entry, urgency).await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Done => Err(mismatch(operation)),
        }
    }

    /// Reads what every acknowledged write has left, of any process: the place
    /// of the read in the ledger is marked by a barrier, which reads share.
    async fn read<T>(
        &self,
        operation: Operation,
        read: impl FnOnce(&Machine) -> T,
    ) -> Result<T, Error> {
        self.shared()
            .submit(operation, None, Urgency::InTurn)
            .await?;
        Ok(read(&self.shared().view().fold.machine))
    }
}

/// Takes the answer that belongs to the command.
macro_rules! answer {
    ($self:ident, $operation:ident, $command:expr, $variant:ident) => {
        match $self.apply(Operation::$operation, $command).await? {
            Answer::$variant(answer) => Ok(answer),
            _ => Err(mismatch(Operation::$operation)),
        }
    };
}

#[async_trait]
impl Backend for RabbitBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything but transactional enqueue: AMQP's transactions cover one
    /// channel of one broker, and no application has its data there.
    /// What is acknowledged is in the ledger's stream, which the broker writes
    /// without syncing the disk: it survives the broker's crash, and a host's
    /// where the broker has replicas.
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Durability::Crash).without(Capability::TransactionalEnqueue)
    }

    async fn prepare(&self) -> Result<(), Error> {
        instance::ready(self.shared(), Operation::Prepare).await
    }

    /// The same instance: it has a thread and a connection of its own, and
    /// depends on no runtime of the application's.
    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(self.clone()))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        answer!(self, Enqueue, Command::Enqueue(jobs.to_vec()), Enqueued)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        if request.limit == 0 || request.queues.is_empty() {
            return Ok(Vec::new());
        }
        self.shared().have_ticket().await;
        answer!(self, Claim, Command::Claim(request.clone()), Claimed)
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let tokens = tokens.to_vec();
        answer!(
            self,
            Heartbeat,
            Command::Heartbeat { tokens, lease },
            Holding
        )
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        answer!(self, Settle, Command::Settle(settlements.to_vec()), Settled)
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        answer!(self, Progress, Command::Progress(updates.to_vec()), Holding)
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        answer!(self, Cancel, Command::Cancel(ids.to_vec()), Cancelled)
    }

    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        answer!(self, Retry, Command::Retry(ids.to_vec()), Retried)
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(Operation::Get, |machine| machine.get(ids)).await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        self.read(Operation::List, |machine| machine.list(filter, page))
            .await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        self.read(Operation::Counts, Machine::counts).await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.read(Operation::Queues, Machine::queues).await
    }

    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        let queue = queue.clone();
        match self
            .apply(Operation::SetFlow, Command::SetFlow { queue, flow })
            .await?
        {
            Answer::FlowSet => Ok(()),
            _ => Err(mismatch(Operation::SetFlow)),
        }
    }

    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        answer!(self, Maintain, Command::Maintain(*limits), Maintained)
    }

    /// Costs no message: what comes is noticed as it is folded, what becomes
    /// due with the leader's tick.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let shared = self.shared();
        let wait = shared.waiters.begin(&request.queues, &[]);
        let mut clock = shared.clock.subscribe();
        let mut timeout = pin!(sleep(request.timeout));
        loop {
            clock.mark_unchanged();
            let (due, now) = {
                let view = shared.view();
                (
                    view.fold.machine.next_due(&request.queues),
                    view.fold.clock(),
                )
            };
            if due.is_some_and(|due| due <= now) {
                return Ok(());
            }
            let is_due = async {
                match due {
                    Some(due) => drop(clock.wait_for(|seen| seen.time >= due).await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait.woken() => {}
                () = is_due => {}
                () = &mut timeout => return Ok(()),
            }
        }
    }

    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        let wait = self.shared().waiters.begin(&[], ids);
        tokio::select! {
            () = wait.woken() => {}
            () = sleep(timeout) => {}
        }
        Ok(())
    }
}
