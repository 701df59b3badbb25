//! [`MemoryBackend`]: the machine behind a mutex, with a clock and waits.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyqueue_core::support::Waiters;
use anyqueue_core::{
    Backend, Cancelled, Capabilities, Capability, ClaimRequest, ClaimedJob, Durability, Enqueued,
    Error, Filter, Flow, Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob,
    Operation, Page, ProgressUpdate, QueueCounts, QueueInfo, QueueName, Retried, Settled,
    Settlement, Token, WaitRequest, async_trait,
};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::config::MemoryConfig;
use crate::error;
use crate::machine::{Answer, Command, Machine};

pub(crate) const NAME: &str = "memory";

/// A handle on a store in this process's memory. Clones share the store.
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    store: Arc<Store>,
}

/// The mutex is never held across an await.
#[derive(Debug, Default)]
struct Store {
    clock: Clock,
    machine: Mutex<Machine>,
    waiters: Waiters,
}

/// The stores with a name. They stay until the process ends, as its
/// durability says, also while no handle is open.
static NAMED: Mutex<BTreeMap<String, Arc<Store>>> = Mutex::new(BTreeMap::new());

impl MemoryBackend {
    /// A new store on the host's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new store on this clock: tests move a
    /// [`ManualClock`](crate::ManualClock) instead of waiting.
    pub fn with_clock(clock: impl Into<Clock>) -> Self {
        Self {
            store: Arc::new(Store {
                clock: clock.into(),
                ..Store::default()
            }),
        }
    }

    /// The store that a URL names: `memory:` a new one, `memory:name` the one
    /// that the whole process shares under this name. No I/O.
    ///
    /// # Errors
    /// `InvalidInput` as [`MemoryConfig::from_url`].
    pub fn connect(url: &str) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::open(MemoryConfig::from_url(url)?)))
    }

    /// The store that a configuration names.
    pub fn open(config: MemoryConfig) -> Self {
        match config.store {
            None => Self::new(),
            Some(name) => Self {
                store: Arc::clone(lock(&NAMED).entry(name).or_default()),
            },
        }
    }

    fn apply(&self, command: Command) -> Answer {
        let store = &*self.store;
        let mut machine = lock(&store.machine);
        // Read under the lock, so that time rises from command to command.
        let now = store.clock.now();
        let answer = machine.apply(command, now);
        let changes = machine.changes();
        store.waiters.wake(&changes.queues, &changes.jobs);
        answer
    }

    fn read<T>(&self, read: impl FnOnce(&Machine) -> T) -> T {
        read(&lock(&self.store.machine))
    }
}

/// A panic elsewhere does not stop the store: a command that panicked is a
/// defect, and the jobs it did not touch are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the answer that belongs to the command.
macro_rules! answer {
    ($applied:expr, $variant:ident, $operation:ident) => {
        match $applied {
            Answer::$variant(answer) => Ok(answer),
            _ => Err(error::mismatch(Operation::$operation)),
        }
    };
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Everything but transactional enqueue: there is no transaction of the
    /// application's that memory could join.
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Durability::Process).without(Capability::TransactionalEnqueue)
    }

    async fn prepare(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(self.clone()))
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        answer!(
            self.apply(Command::Enqueue(jobs.to_vec())),
            Enqueued,
            Enqueue
        )
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        answer!(self.apply(Command::Claim(request.clone())), Claimed, Claim)
    }

    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let command = Command::Heartbeat {
            tokens: tokens.to_vec(),
            lease,
        };
        answer!(self.apply(command), Holding, Heartbeat)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        answer!(
            self.apply(Command::Settle(settlements.to_vec())),
            Settled,
            Settle
        )
    }

    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        answer!(
            self.apply(Command::Progress(updates.to_vec())),
            Holding,
            Progress
        )
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        answer!(self.apply(Command::Cancel(ids.to_vec())), Cancelled, Cancel)
    }

    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        answer!(self.apply(Command::Retry(ids.to_vec())), Retried, Retry)
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        Ok(self.read(|machine| machine.get(ids)))
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        Ok(self.read(|machine| machine.list(filter, page)))
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        Ok(self.read(Machine::counts))
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        Ok(self.read(Machine::queues))
    }

    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        match self.apply(Command::SetFlow {
            queue: queue.clone(),
            flow,
        }) {
            Answer::FlowSet => Ok(()),
            _ => Err(error::mismatch(Operation::SetFlow)),
        }
    }

    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        answer!(self.apply(Command::Maintain(*limits)), Maintained, Maintain)
    }

    /// Returns at once where a job is claimable already. The timeout is a span
    /// of the caller's time, also on a manual clock; what becomes due does so
    /// on the store's clock.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let store = &*self.store;
        let wait = self.store.waiters.begin(&request.queues, &[]);
        let mut timeout = pin!(sleep(request.timeout));
        loop {
            let (due, now) = self.read(|machine| {
                (
                    machine.next_due(&request.queues),
                    machine.now().max(store.clock.now()),
                )
            });
            if due.is_some_and(|due| due <= now) {
                return Ok(());
            }
            tokio::select! {
                () = wait.woken() => {}
                () = store.clock.sleep_until(due) => {}
                () = &mut timeout => return Ok(()),
            }
        }
    }

    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        let wait = self.store.waiters.begin(&[], ids);
        tokio::select! {
            () = wait.woken() => {}
            () = sleep(timeout) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use anyqueue_core::{Kind, Outcome, Payload, Schedule, Timestamp, WorkerId};
    use futures::poll;

    use super::*;
    use crate::ManualClock;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn job() -> NewJob {
        let kind = Kind::new("kind").unwrap();
        NewJob::new(QueueName::default(), kind, Payload::parse("0", 1).unwrap())
    }

    fn wait() -> WaitRequest {
        let (queues, worker) = (vec![QueueName::default()], WorkerId::random());
        WaitRequest {
            queues,
            timeout: HOUR,
            worker,
        }
    }

    fn claim() -> ClaimRequest {
        let (queues, worker) = (vec![QueueName::default()], WorkerId::random());
        ClaimRequest {
            queues,
            limit: 9,
            lease: HOUR,
            worker,
        }
    }

    /// A store whose clock stands still.
    fn store() -> (MemoryBackend, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_micros(0));
        (MemoryBackend::with_clock(clock.clone()), clock)
    }

    #[tokio::test]
    async fn work_that_comes_after_the_first_poll_wakes_the_wait() {
        let (store, _) = store();
        let request = wait();
        let mut waiting = pin!(store.wait_for_work(&request));
        assert!(poll!(&mut waiting).is_pending());
        let other = NewJob {
            queue: QueueName::new("other").unwrap(),
            ..job()
        };
        store.enqueue(&[other]).await.unwrap();
        assert!(poll!(&mut waiting).is_pending());
        store.enqueue(&[job()]).await.unwrap();
        assert!(matches!(poll!(&mut waiting), Poll::Ready(Ok(()))));
    }

    #[tokio::test]
    async fn a_job_that_is_there_already_ends_the_wait_at_once() {
        let (store, _) = store();
        store.enqueue(&[job()]).await.unwrap();
        assert!(poll!(pin!(store.wait_for_work(&wait()))).is_ready());
    }

    #[tokio::test]
    async fn the_wait_ends_when_a_job_is_due_and_when_a_lease_ends() {
        let (store, clock) = store();
        let request = wait();
        let mut waiting = pin!(store.wait_for_work(&request));
        assert!(poll!(&mut waiting).is_pending());
        let minute = Duration::from_secs(60);
        let later = NewJob {
            schedule: Schedule::After(minute),
            ..job()
        };
        store.enqueue(&[later]).await.unwrap();
        assert!(poll!(&mut waiting).is_pending(), "it is not due");
        clock.advance(minute);
        assert!(poll!(&mut waiting).is_ready());

        assert_eq!(store.claim(&claim()).await.unwrap().len(), 1);
        let mut waiting = pin!(store.wait_for_work(&request));
        assert!(poll!(&mut waiting).is_pending());
        clock.advance(HOUR);
        assert!(poll!(&mut waiting).is_ready());
    }

    #[tokio::test]
    async fn every_way_back_to_ready_wakes_the_wait() {
        let (store, _) = store();
        let id = job().id;
        store.enqueue(&[NewJob { id, ..job() }]).await.unwrap();
        let request = wait();
        for way in 0..3 {
            let token = store.claim(&claim()).await.unwrap()[0].token;
            let mut waiting = pin!(store.wait_for_work(&request));
            assert!(poll!(&mut waiting).is_pending());
            match way {
                0 => {
                    let outcome = Outcome::Release;
                    store
                        .settle(&[Settlement { token, outcome }])
                        .await
                        .unwrap();
                }
                1 => {
                    let outcome = Outcome::Fail { error: "x".into() };
                    store
                        .settle(&[Settlement { token, outcome }])
                        .await
                        .unwrap();
                    assert!(poll!(&mut waiting).is_pending());
                    store.retry(&[id]).await.unwrap();
                }
                _ => {
                    let queue = QueueName::default();
                    store.set_flow(&queue, Flow::Paused).await.unwrap();
                    let outcome = Outcome::Release;
                    store
                        .settle(&[Settlement { token, outcome }])
                        .await
                        .unwrap();
                    assert!(poll!(&mut waiting).is_pending());
                    store.set_flow(&queue, Flow::Open).await.unwrap();
                }
            }
            assert!(poll!(&mut waiting).is_ready(), "{way}");
        }
    }

    #[tokio::test]
    async fn a_change_wakes_those_who_wait_for_that_job() {
        let (store, _) = store();
        let (one, two) = (job(), job());
        store.enqueue(&[one.clone(), two.clone()]).await.unwrap();
        let (one, two) = ([one.id], [two.id]);
        let mut first = pin!(store.wait_for_change(&one, HOUR));
        let mut second = pin!(store.wait_for_change(&two, HOUR));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        store.cancel(&one).await.unwrap();
        assert!(poll!(&mut first).is_ready() && poll!(&mut second).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_timeout() {
        let (store, _) = store();
        store.wait_for_work(&wait()).await.unwrap();
        store.wait_for_change(&[job().id], HOUR).await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_nothing_behind() {
        let (store, _) = store();
        let (request, ids) = (wait(), [job().id]);
        {
            let mut work = pin!(store.wait_for_work(&request));
            let mut change = pin!(store.wait_for_change(&ids, HOUR));
            assert!(poll!(&mut work).is_pending() && poll!(&mut change).is_pending());
            assert!(store.store.waiters.any());
        }
        assert!(!store.store.waiters.any());
    }

    #[tokio::test]
    async fn a_name_is_one_store_and_no_name_a_new_one() {
        let named = MemoryBackend::connect("memory:backend-test").unwrap();
        named.enqueue(&[job()]).await.unwrap();
        drop(named);
        let jobs = async |store: &dyn Backend| store.counts().await.unwrap().len();
        let again = MemoryBackend::connect("memory:backend-test").unwrap();
        assert_eq!(jobs(&*again).await, 1);
        assert_eq!(jobs(&*again.reopen().await.unwrap()).await, 1);
        assert_eq!(jobs(&*MemoryBackend::connect("memory:").unwrap()).await, 0);
    }
}
