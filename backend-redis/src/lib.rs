//! The Redis backend of anyqueue: one Redis or Valkey server, or a Cluster,
//! shared by any number of processes and hosts.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | the keys that start with one prefix |
//! | queue | a number in its shard; a shard is the 14-bit hash of the queue's name, which every id carries, and the hash tag of all its keys |
//! | job | a field of the shard's hash `b`, written once, and one of `s` from its first claim on |
//! | ready job | an entry of its queue's list for that priority if it was never touched, else of a sorted set by due time |
//! | scheduled, running job | an entry of a sorted set by due time, by the end of the lease |
//! | finished job | an id in a list by outcome, oldest first |
//! | claim | one Lua script: expiry, promotion, order, counter and lease |
//! | lease | the end in the job's record, and the score in the sorted set |
//! | token | the job's id and the counter in its record |
//! | settle | one Lua script that compares token and record |
//! | unique key | a field of the shard's hash `u` |
//! | prepare | a look at the server's live settings, and a key that says the version |
//! | maintain | a script a shard, walking along the starts of lists and sorted sets |
//! | notification | for work a ticket, moved by `BLMOVE` to the process's inbox; for changes a channel |
//!
//! `lua/lib.lua` describes every key.
//!
//! # Use
//! [`RedisBackend::connect`] opens what a URL names; [`RedisConfig`] says
//! which. [`RedisBackend::enqueue_in`] enqueues inside the application's own
//! `MULTI`, with the `redis` crate that this crate re-exports.
//!
//! Redis 7.0 or later, or Valkey. Set `maxmemory-policy noeviction` (the
//! default), `appendonly yes`, and `appendfsync always` where an acknowledged
//! job must not be lost. A user needs no more than
//! ```text
//! ACL SETUSER worker on >password ~anyqueue:* &anyqueue:* -@all +@read +@write
//!     +@blocking +@scripting +@pubsub +@connection +info +time
//! ```
//! and `+config|get` lets it see what `appendfsync` is.
//!
//! # How it works
//! All changes are Lua scripts in `lua/`, sent by their SHA-1 and in full
//! where a server does not know them. Each works on one shard, is bounded,
//! and argues in its header why it is atomic. A shard is on one node of a
//! Cluster, so that a Cluster scales by queues; `get` finds the shard in the
//! id. Lists, counts, queues and chores of the whole store ask all shards that
//! ever held a job, and merge.
//!
//! A job that was never touched has no record of its own: its body and its
//! place in a list say all there is, so that enqueueing costs a hash field, a
//! list entry and the entry by id that lists walk along. What is cancelled
//! there is dropped when the list comes to it.
//!
//! While a slot of a Cluster moves key by key to another node, calls for its
//! queues are refused before they change anything (`Unavailable`, after some
//! seconds of trying), and go on where it has moved.
//!
//! A ticket in a queue's wake list says that there may be work; there is one
//! at most. A process in which someone waits has a connection a queue (for 16
//! queues; others are looked at every 250 ms) that moves the ticket to an inbox
//! of its own, and the claim that follows uses it up and, where it leaves jobs,
//! makes another. A process killed in between loses nothing but the ticket,
//! which comes back when another has listened for 10 seconds; until then whoever
//! waits looks again after a second, as core sees to.
//!
//! Commands share one connection, whose answers may take 30 seconds (the redis
//! crate's default of half a second makes unknowns of slow successes); calls
//! dropped midway do it no harm. It is replaced when it breaks, and attempts to
//! connect back off. Connections that block are held by tasks that nobody
//! drops midway.
//!
//! # What it promises
//! - **Durability** is judged from the live settings. With `appendonly yes`:
//!   `appendfsync always` is [`Durability::Host`]; `no` is
//!   [`Durability::Crash`], since the append is made before the answer;
//!   `everysec` is [`Durability::Process`], since the append is put off while
//!   the last flush is under way, and a kill then takes what was acknowledged.
//!   Without an append-only file, or where the user may not ask, it is
//!   [`Durability::Process`]. Replication is not part of it: a fail-over to a
//!   replica that lags loses what it lacks.
//! - **Atomicity**: what a call does in one shard is one script up to 5,000
//!   jobs or 8 MiB (1,000 items for other calls): all or nothing, also when the
//!   server is killed. A call with more, or for several shards, is several;
//!   where a later one fails its outcome is `Unknown`, and asking again makes it
//!   whole.
//! - **Memory**: where it is full, enqueues are refused before they change
//!   anything, and claim, settle and the chores go on. Any policy
//!   but `noeviction` is refused by `prepare`.
//! - **Time** is the server's clock, read in the script; times are exact to the
//!   microsecond until the year 2255, which stands for all later ones.
//! - **No key outside the prefix**, and no Redis Cluster key without a hash tag
//!   but the list of shards and the version.
//!
//! # Figures
//! Two cores for server and program, 100-byte payloads, medians; what counts is
//! how they compare. With `appendfsync everysec`, in one run of `benches`:
//!
//! | Thousand jobs a second | Median (min–max) | Ratio |
//! |---|---|---|
//! | bare insert: a script that adds 500 to a hash and a sorted set | 341 (289–349) | |
//! | `enqueue_many`, 500 a call, from two tasks | 281 (231–286) | 0.83 |
//! | `enqueue_many`, 500 a call, from one | 232 (230–237) | 0.70 |
//! | `enqueue`, one a call, from 64 tasks | 123 (94–126) | 0.37 |
//! | bare drain: a script that claims 500, one that settles them | 220 (206–226) | |
//! | a worker at its defaults | 143 (129–146) | 0.64 |
//! | BullMQ's worker at its best concurrency, 100 | 16.7 (16.4–16.9) | |
//!
//! From the call of `enqueue` to the handler's start, at 200 jobs a second:
//! 0.6 ms (median), 1.1 ms (99 of 100). Beside 1,000,000 waiting jobs a worker
//! drains as fast as beside 10,000 (ratio 1.01). With `appendfsync always` all of
//! this waits for the disk, once a script.
//!
//! A waiting job takes about 380 bytes of the server's memory, a finished one
//! about 530, with the 100 of the payload and without a result. Beside a backlog
//! of 1,000,000 the longest script of a drain took 5 ms.
//!
//! [`Durability::Host`]: anyqueue_core::Durability::Host
//! [`Durability::Crash`]: anyqueue_core::Durability::Crash
//! [`Durability::Process`]: anyqueue_core::Durability::Process

mod backend;
mod changes;
mod chores;
mod claim;
mod config;
mod connection;
mod control;
mod enqueue;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod prepare;
mod read;
mod script;
mod settle;
mod store;
mod transaction;
mod wake;
mod wire;

pub use backend::RedisBackend;
pub use config::{RedisConfig, Topology};
pub use redis;
