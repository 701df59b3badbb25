//! The embedded backend of anyqueue: one SQLite file, shared by any number of
//! processes of one host.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | the `anyqueue_` tables of one file, which may be the application's own |
//! | queue | a row of `anyqueue_queues`: number, name, paused, jobs by state |
//! | job | a row of `anyqueue_jobs`, changed in place, and one of `anyqueue_bodies`, written once |
//! | ready, scheduled, running, finished | an entry of the partial index of that name |
//! | claim | reading the first entries of the index `anyqueue_ready`, and an UPDATE by key for each |
//! | lease | `ends_at` of a running row, sorted by the index `anyqueue_running` |
//! | token | the job's id and `counter` of its row |
//! | settle | an UPDATE by key where the counter is still the token's |
//! | unique key | a row of `anyqueue_keys` |
//! | prepare | the migrations in `migrations/`, in one transaction |
//! | maintain | walks along the starts of the partial indexes, queue by queue |
//! | notification | here: at the commit; from other processes: a look at `PRAGMA data_version` |
//!
//! # Use
//! [`SqliteBackend::connect`] opens what a URL names; [`SqliteConfig`] says
//! which. [`enqueue_in`] enqueues inside the application's own transaction,
//! with the `rusqlite` that this crate re-exports.
//!
//! # How it works
//! A process has one writer thread and two reader threads for each file, which
//! its handles share unless they ask for [their own](Threads::Own). What waits when a transaction begins goes into it,
//! heartbeats first, up to about 4,000 rows; callers are answered after the
//! commit. Jobs are added 16 rows a statement: what a statement costs by itself
//! was a third of an enqueue (the figures below are from before that; beside
//! `benches`' bare insert it took the ratio from 0.60 to 0.71). Readers answer
//! from snapshots and wait for no one.
//!
//! No statement scans jobs or sorts them, but for lists that are counted to be
//! short and lists by kind or creation time, which walk the ids of all jobs: a
//! claim costs the same beside any backlog. A test reads every plan.
//!
//! # What it promises
//! - **Durability**: with `synchronous=full`, the default, an acknowledged
//!   write is on stable storage ([`Durability::Host`]); with `normal` it
//!   survives any process ([`Durability::Crash`]). Either way the file is
//!   whole after a crash, and a killed process holds nothing up but the leases
//!   of its jobs.
//! - **Processes**: any number of one host, in any mix of versions that knows
//!   the tables. Their transactions take turns; while others write, a busy
//!   process leaves gaps for them.
//! - **Time** is the host's clock, read after the file's lock was taken. Where that
//!   is set back by up to 5 s, a process's time stands still until it has caught up;
//!   by more, it goes with it: leases and delays from before end that much later
//!   (a lease that is extended is as long as was asked).
//! - **Local file systems** only: the write-ahead log needs memory that all
//!   processes share. Where it cannot be had, `prepare` refuses.
//! - **A file that is deleted or replaced** (by a backup) is used no more from the
//!   next call on; what takes its place is. On Unix: Windows lets nobody do that to
//!   a file that is open.
//! - **The file is in WAL mode** from `prepare` on, also where it is the
//!   application's.
//! - **SQLite 3.43** or later: that of feature `bundled` (the default), or
//!   with `default-features = false` the system's.
//!
//! # Figures
//! Medians (minimum–maximum) on two cores and a fast local disk; what counts
//! is how they compare.
//!
//! Why `rusqlite` on a thread of its own: cycles of claiming and settling 100
//! jobs, a second, 11 interleaved rounds:
//!
//! | | Cycles/s |
//! |---|---|
//! | rusqlite, a statement a row | 1,252 (1,160–1,305) |
//! | rusqlite, a statement a batch | 1,120 (953–1,139) |
//! | sqlx, its best: a statement a batch | 1,028 (580–1,096) |
//! | sqlx, a statement a row | 90 (76–93) |
//!
//! `rusqlite` stays at 0.39: later ones cannot be in one lock file with sqlx
//! 0.9 and its `sqlite` feature, since only one crate may link `sqlite3`.
//!
//! What the contract costs: thousand jobs a second in batches of 500 beside a
//! backlog of 20,000, through [`Backend`](anyqueue_core::Backend) and by bare
//! statements on the same tables, 11 interleaved rounds:
//!
//! | | Backend | Bare | Ratio |
//! |---|---|---|---|
//! | enqueue | 388 (382–400) | 377 (358–385) | 1.03 |
//! | claim | 410 (391–427) | 477 (407–496) | 0.86 |
//! | settle | 689 (645–719) | 770 (696–811) | 0.90 |
//! | claim and settle | 257 (244–267) | 294 (257–308) | 0.87 |
//!
//! Why the busy handler is not SQLite's: of two processes that write without a
//! pause, the longest wait for the lock was 3.1 s with `busy_timeout` and 0.1 s
//! with short jittered sleeps. With gaps as well, the longest call took 14 ms.
//!
//! [`Durability::Host`]: anyqueue_core::Durability::Host
//! [`Durability::Crash`]: anyqueue_core::Durability::Crash

mod backend;
mod chores;
mod claim;
mod clock;
mod config;
mod connection;
mod control;
mod enqueue;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod job;
mod lane;
#[cfg(test)]
mod plans;
mod read;
mod readers;
mod rows;
mod schema;
mod settle;
mod store;
mod tx;
mod writer;

pub use backend::SqliteBackend;
pub use config::{Creation, SqliteConfig, Synchronous, Threads};
pub use enqueue::enqueue_in;
pub use rusqlite;
