//! The PostgreSQL backend of anyqueue: row locks in a schema of its own, shared
//! by any number of processes and hosts. PostgreSQL 13 or later.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | a schema of a database: `anyqueue`, or what the URL's `schema` says |
//! | queue | a row of `queues`: number, name, paused |
//! | job | a row of `bodies`, written once; beside it a short one of `live` until its end, then one of `finished` |
//! | order of claims | the index `waiting`: line (queue and priority), due time, enqueue |
//! | claim | `SELECT … FOR UPDATE SKIP LOCKED` along that index and an `UPDATE`, in one statement |
//! | lease | `lease_until` of the row, looked at when the claim's row of `held` says so |
//! | token | the job's id and `counter` of its row |
//! | settle | a `DELETE` by primary key where the counter is still the token's, and an `INSERT` into `finished` |
//! | unique key | a row of `keys` |
//! | counts | rows appended to `deltas`, folded into `totals` |
//! | prepare | the migrations in `migrations/`, in one transaction under an advisory lock |
//! | maintain | walks along the starts of `held`, `scheduled`, `ended_at` and `keys_until` |
//! | notification | `NOTIFY` on a channel of the schema, some hundred a second at most |
//!
//! # Use
//! [`PostgresBackend::connect`] opens what a URL names; [`PostgresConfig`] says
//! which, and how TLS, poolers and time-outs are set. [`enqueue_in`] enqueues
//! inside the application's own transaction, and [`complete_in`] ends a job
//! inside its handler's, with the `sqlx` that this crate re-exports.
//!
//! # How it works
//! **One statement a call.** Each is a transaction of its own and is made by a
//! task that goes on to its end when the caller drops its future: no connection
//! goes back to the pool in the middle of anything. Only a call that names a
//! job twice is a transaction of several statements. After a lost connection
//! all that were idle since before are tried before they are used.
//!
//! **Short rows, few index entries.** A claim and a heartbeat change no indexed
//! column and find room on the page: they are HOT, and no index grows. Leases
//! and the purge are found by one row a claim and one a settle instead of an
//! index entry a job. Bodies and finished jobs are elsewhere, so that neither a
//! backlog nor a history makes a claim dearer.
//!
//! **Floors.** Dead index entries cannot be removed while any transaction might
//! see them, and pile up where every claim begins. Each process therefore keeps
//! for each line a due time below which no job waits and begins there; it is
//! exact, see `floors.rs`. (PgQ gets there by rotating and truncating tables,
//! which keeps no order by priority.)
//!
//! **Plans do not depend on statistics**, which say nothing about a table that
//! was empty a moment ago: connections turn off what would walk a table.
//!
//! **Poolers.** Behind a PgBouncer, or another pooler in transaction mode, give
//! `pooler=transaction` in the URL: nothing is kept on a connection, no prepared statement either, so
//! that any version will do, and `ignore_startup_parameters` need not be set.
//! The driver has a statement parsed in one step and executed in another, and
//! between two transactions a pooler may hand the server to another client:
//! each call is therefore a transaction by name there, which begins with the
//! settings of an own connection. It costs two round trips and planning.
//!
//! **Answers are bounded.** A claim takes jobs until their payloads are 16 MiB,
//! so that 500 of 1 MiB come in slices; the rest is found at once.
//!
//! **NOTIFY never delays an enqueue.** It takes a lock of the whole server
//! until its commit, so it is sent afterwards, what came meanwhile together,
//! in a transaction that does not wait for the disk. Jobs are told of only
//! where some process waits for them. A lost notification costs at most a
//! second: those who wait look for themselves.
//!
//! # What it promises
//! - **Durability** is judged from the live settings: [`Durability::Host`] with
//!   `synchronous_commit`, `fsync` and `full_page_writes` on;
//!   [`Durability::Crash`] without one of the latter two;
//!   [`Durability::Process`] with `synchronous_commit` off, since a killed
//!   server then loses its latest commits.
//! - **Time** is the server's clock, read once a statement. Where it is set
//!   back, jobs enqueued since are claimed in the order of the new time; floors
//!   are given up.
//! - **Errors** are mapped by SQLSTATE. A connection lost once a call was on its
//!   way is `Unknown`. Texts of the server, which may quote values, are never
//!   shown: its code and the table or constraint are.
//! - **Users**: all processes should connect as one user, or be granted
//!   `pg_read_all_stats`: one whose transactions cannot be seen holds the floors
//!   down.
//! - **A long transaction of the application that enqueued something** holds
//!   the floors at its beginning until it ends.
//!
//! # Figures
//! PostgreSQL 15 on the same two cores as the program, a fast local disk, fsync
//! and synchronous_commit on. Thousand jobs a second, medians (minimum–maximum)
//! of 5 rounds of 50,000 jobs, each beside one of the bare loop; what counts is how
//! they compare (`scripts/lab`).
//!
//! | | anyqueue | Bare | Ratio |
//! |---|---|---|---|
//! | drain; bare: claim 500 and delete, 4 connections | 77.3 (74.1–81.7) | 94.8 (92.0–96.2) | 0.82 |
//! | enqueue, 1,000 a call, from 2 tasks; bare: unnest of 1,000 | 174.1 (169.0–191.3) | 208.4 (190.9–210.4) | 0.89 |
//! | enqueue, one by one from 64 tasks; bare: a transaction each | 58.6 (55.0–61.6) | 10.4 (10.1–10.8) | 5.65 |
//!
//! From the call of `enqueue` to the handler's start, at 200 jobs/s: median
//! 1.7 ms, 99 % within 3.5 ms. A drain beside 1,000,000 waiting jobs has 0.94 of the
//! speed beside 10,000.
//!
//! WAL without full pages: 575 bytes a job for the enqueue, 213 for the claim,
//! 288 for the settle, in batches of 500. The claim wrote 429 while it was not
//! HOT, and the drain then ran at 50.5 thousand jobs a second.
//!
//! [`Durability::Host`]: anyqueue_core::Durability::Host
//! [`Durability::Crash`]: anyqueue_core::Durability::Crash
//! [`Durability::Process`]: anyqueue_core::Durability::Process

mod args;
mod backend;
mod chores;
mod claim;
mod config;
mod control;
mod enqueue;
mod error;
mod floors;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod plans;
mod read;
mod rows;
mod schema;
mod settle;
mod statements;
mod store;
mod wake;
mod within;

pub use backend::PostgresBackend;
pub use config::{Pooler, PostgresConfig, Wake};
pub use schema::Schema;
pub use sqlx;
pub use within::{complete_in, enqueue_in};
