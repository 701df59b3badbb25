//! [`Machine`]: the contract as a pure state machine.
//!
//! A command and a moment go in, an answer comes out. There is no I/O, no
//! clock and no chance in here: the same commands at the same moments give the
//! same answers and the same state, on any host.
//!
//! | Question | File |
//! |---|---|
//! | What can be asked? | `command.rs` |
//! | What is a job, and how does it move from state to state? | `job.rs` |
//! | How is a job found? | `index.rs` |
//! | Who holds a unique key? | `unique.rs` |
//! | How does a job come in? | `enqueue.rs` |
//! | Who gets which job? | `claim.rs` |
//! | What may the holder of a job do? | `settle.rs` |
//! | What may anyone else do? | `control.rs` |
//! | What happens with time alone? | `chores.rs` |
//! | What can be seen? | `read.rs` |
//! | How is it stored and loaded? | `snapshot.rs` |

mod chores;
mod claim;
mod command;
mod control;
mod enqueue;
mod index;
#[cfg(test)]
mod invariants;
mod job;
mod read;
mod settle;
mod snapshot;
#[cfg(test)]
mod testing;
mod unique;

use std::collections::BTreeMap;

use anyqueue_core::{JobId, Timestamp};

pub use command::{Answer, Changes, Command};
use index::Index;
use job::Job;

/// All jobs of a store, and what is needed to find them.
///
/// [`apply`](Self::apply) writes; [`get`](Self::get), [`list`](Self::list),
/// [`counts`](Self::counts) and [`queues`](Self::queues) read. It serialises
/// as its jobs, held keys and paused queues; indexes are built when it is
/// loaded.
///
/// Beside payload and texts, which are shared with the caller's, a job costs
/// about 500 bytes.
///
/// ```
/// use anyqueue_core::{Kind, NewJob, Payload, QueueName, State, Timestamp};
/// use anyqueue_memory::{Answer, Command, Machine};
///
/// let payload = Payload::parse("{}", 1024).unwrap();
/// let job = NewJob::new(QueueName::default(), Kind::new("export").unwrap(), payload);
/// let id = job.id;
///
/// let mut machine = Machine::new();
/// let answer = machine.apply(Command::Enqueue(vec![job]), Timestamp::from_micros(7));
/// assert!(matches!(answer, Answer::Enqueued(_)));
/// assert_eq!(machine.get(&[id])[0].as_ref().unwrap().state, State::Ready);
/// ```
#[derive(Debug, Default)]
pub struct Machine {
    /// The latest moment seen: time never falls in here.
    now: Timestamp,
    /// How many jobs were ever stored: the enqueue order of the next.
    enqueued: u64,
    /// Boxed, so that a growing map moves pointers and not jobs.
    jobs: BTreeMap<JobId, Box<Job>>,
    index: Index,
}

impl Machine {
    /// A store without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest moment that a command came with.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Does what the command says, at this moment; a moment before an earlier
    /// command's counts as that one. Total: every command has an answer.
    ///
    /// Costs O(log n) for each job that the command names or takes, and for
    /// each lease that a claim finds expired and each job it finds due.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Answer {
        self.now = self.now.max(now);
        self.index.changes.clear();
        match command {
            Command::Enqueue(jobs) => Answer::Enqueued(self.enqueue(jobs)),
            Command::Claim(request) => Answer::Claimed(self.claim(&request)),
            Command::Heartbeat { tokens, lease } => Answer::Holding(self.heartbeat(&tokens, lease)),
            Command::Settle(settlements) => Answer::Settled(self.settle(settlements)),
            Command::Progress(updates) => Answer::Holding(self.progress(updates)),
            Command::Cancel(ids) => Answer::Cancelled(self.cancel(&ids)),
            Command::Retry(ids) => Answer::Retried(self.retry(&ids)),
            Command::SetFlow { queue, flow } => {
                self.index.set_flow(&queue, flow);
                Answer::FlowSet
            }
            Command::Maintain(limits) => Answer::Maintained(self.maintain(&limits)),
            Command::EndLeases(tokens) => Answer::LeasesEnded(self.end_leases(&tokens)),
        }
    }

    /// What the latest command changed.
    pub fn changes(&self) -> &Changes {
        &self.index.changes
    }
}

/// A job that an index named. Indexes name stored jobs only, so that this is
/// no look-up that can fail; it takes the map to leave the index free.
fn indexed(jobs: &mut BTreeMap<JobId, Box<Job>>, id: JobId) -> &mut Job {
    jobs.get_mut(&id).expect("indexes name stored jobs only")
}
