//! The RabbitMQ backend of anyqueue: a stream as the ledger, nothing else
//! needed. Tested on RabbitMQ 3.10; made for 4.x too, and not tested there yet.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | the queues of one virtual host whose names begin with a prefix |
//! | job, queue, state | entries of the [fold](anyqueue_memory::Machine) of the stream `P.ledger.…`, in every process's memory |
//! | enqueue, claim, settle, … | a command in that stream; the answer is what it came to when it was folded |
//! | get, list, counts | a barrier in the stream, then a look at the fold |
//! | lease | its end is in the fold, on the clock of the leader's ticks in the stream |
//! | token | the job's id and its claim counter in the fold |
//! | death of a worker's process | its message of the quorum queue `P.tickets` is redelivered to another one |
//! | unique key | an entry of the fold: the first command in the stream wins |
//! | maintain | a command |
//! | notification | folding: every process reads every command |
//! | prepare | declares and checks the queues, reads the stream to its end |
//!
//! # Use
//! [`RabbitBackend::connect`] opens what a URL names; [`RabbitConfig`] says
//! which. The handles of a process share one view of the store, one thread and
//! one connection, unless they ask for [their own](View::Own). With the prefix
//! `P` the user needs the permissions to configure (once, to make the store, and
//! where it leads), write and read `P\..*`, and to write `amq\.default`.
//!
//! # How it works
//! Calls become commands. What waits when a message can be sent goes into it, up
//! to 1 MiB or 4,096 commands, heartbeats first; up to four messages are under
//! way. Every process reads them all and applies them to the same state machine,
//! so every process has all jobs in memory and answers from there. One process
//! leads: it appends the time, and now and then a snapshot into a new stream,
//! where the ledger then goes on. `FOLD.md` beside the sources argues why that is
//! safe: ordering, duplicates, clock, change of leader, generations.
//!
//! | Question | File |
//! |---|---|
//! | What is in a message? | `wire.rs` |
//! | What does a message do? | `fold.rs` |
//! | How does a command get into the ledger, once? | `outbox.rs`, `append.rs` |
//! | How is the ledger read, without a gap? | `follow.rs` |
//! | Who leads, and when does time pass? | `lead.rs` |
//! | How far is the ledger's time behind? | `clock.rs`, `item.rs`, `span.rs` |
//! | How is a dead process told from a slow one? | `ticket.rs` |
//! | How is the ledger kept short? | `snapshot.rs`, `roots.rs` |
//! | What happens when the connection is lost? | `instance.rs`, `session.rs` |
//! | Which queues are there? | `topology.rs` |
//!
//! # What it promises
//! - **Durability** is the stream's: an acknowledged write survives the crash of
//!   any process, the broker's included ([`Durability::Crash`]). Streams are not
//!   synced to disk; in a cluster they have replicas.
//! - **Processes**: any number, on any hosts. A killed process's jobs run again
//!   about half a second after the broker sees its connection end, whatever is
//!   left of their leases; after a lost host that is the heartbeat of the
//!   connection (10 s; option `heartbeat`).
//! - **Time** is the leader's host clock, as ticks in the ledger; it never falls,
//!   and stands still while nobody leads. Leases and delays are exact to 30 ms
//!   while somebody does, and never shorter by more; what begins without a leader
//!   is longer by what the time is behind.
//! - **Memory**: each process that uses the store holds all its jobs, finished
//!   ones until they are purged. Keep retention and payloads small, or use a
//!   store on disk where millions of jobs are kept.
//! - **The outcome of a call is unknown** where the broker is away for more than
//!   3 s. What was under way then takes no effect later.
//! - **Transactional enqueue** is not offered: an AMQP transaction covers one
//!   channel, and no application keeps its data there.
//! - **A store is one prefix.** Whatever else publishes to its queues is passed
//!   over, but keep others away from them.
//!
//! # Figures
//! Medians (minimum–maximum) on two cores that the broker, RabbitMQ 3.10 on one
//! node, shares with the program; what counts is how they compare. Thousand jobs
//! a second, 20,000 jobs a round, 3 interleaved rounds; raw is `lapin` on one
//! quorum queue, with confirms and acknowledgements per 500:
//!
//! | | Jobs, thousand/s | Ratio to raw |
//! |---|---|---|
//! | raw publish | 26 (17–37) | |
//! | `enqueue_many`, 500 a call | 314 (266–379) | 14.8 |
//! | `enqueue` from 64 tasks | 39 (37–46) | 1.8 |
//! | raw consume | 99 (97–107) | |
//! | worker, settled jobs | 247 (235–249) | 2.4 |
//!
//! A batch of 500 is one message of a stream here, and 500 messages of a quorum
//! queue there; streams are not synced to disk, quorum queues are.
//!
//! A process that starts beside finished jobs of 100 bytes, until its first
//! answer, and what its memory grows by:
//!
//! | Finished jobs | Start | Memory | A job |
//! |---|---|---|---|
//! | 1,000 | 0.03 s | 12 MiB | |
//! | 10,000 | 0.06 s | 18 MiB | 1,930 B |
//! | 100,000 | 0.30 s | 84 MiB | 880 B |
//! | 1,000,000 | 4.4 s | 714 MiB | 750 B |
//!
//! It also reads what was said since the latest snapshot: up to 64 MiB, or 16,000
//! messages, or twice the snapshot where that is more. 14,000 messages took 1.0 to
//! 2.6 s, nearly all of it the broker's work.
//!
//! The leader's calls wait while it writes a snapshot into memory: in
//! proportion to the jobs that it holds.
//!
//! [`Durability::Crash`]: anyqueue_core::Durability::Crash

mod append;
mod backend;
mod clock;
mod config;
mod error;
mod fold;
mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod instance;
mod item;
mod lead;
mod outbox;
mod roots;
mod session;
mod shared;
mod snapshot;
mod span;
mod ticket;
mod topology;
mod wire;

pub use backend::RabbitBackend;
pub use config::{RabbitConfig, View};
