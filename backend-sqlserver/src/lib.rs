//! The SQL Server backend of anyqueue: SQL Server 2019 or later, Azure SQL; any
//! number of processes of any number of hosts.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | the tables of one schema of one database |
//! | queue | a row of `queues`; its number stands for it elsewhere |
//! | job | a row of `jobs`, changed in place, and one of `bodies`, written once |
//! | ready, scheduled, running, finished | an entry of a filtered index of `jobs` |
//! | claim | update locks on the first free entries of `waiting` (`READPAST`), and an UPDATE that repeats their state |
//! | lease | `lease_until` of a running row; `running` is sorted by a time no later than that |
//! | token | the job's id and `counter` of its row |
//! | settle | an UPDATE by id where the counter is still the token's |
//! | unique key | a row of `keys` |
//! | progress | columns of the job's row |
//! | counts | `totals`, and the `deltas` that each step appends |
//! | prepare | the migrations in `migrations/`, in one transaction under `sp_getapplock` |
//! | notification | here: at the commit; from other processes: one look a process, at most a second later |
//!
//! # Use
//! [`SqlServerBackend::connect`] opens what a `sqlserver:` URL or an ADO
//! connection string names; [`SqlServerConfig`] says which, and takes access
//! tokens of Microsoft Entra ID ([`TokenSource`]). [`enqueue_in`] and
//! [`complete_in`] work inside the application's own transaction, on its
//! connection of the `tiberius` that this crate re-exports. `DBA.md` beside this
//! crate is for the administrator; [`Schema::script`] prints the tables for one.
//!
//! | Feature | |
//! |---|---|
//! | `rustls` (default) | TLS; certificates are verified |
//! | `sql-browser` | named instances: `Server=host\instance` |
//!
//! For Windows accounts (`Integrated Security=true` in a connection string) or
//! another TLS library depend on `tiberius` too, with its feature
//! `integrated-auth-gssapi`, `winauth` or `native-tls`: features add up.
//!
//! # How it works
//! Each call is one batch: a statement, or a transaction between `BEGIN` and
//! `COMMIT` under `XACT_ABORT`, so that no round trip happens while locks are
//! held. Rows go in as one JSON parameter (`OPENJSON`), at most 1,000 or 8 MiB a
//! statement; larger enqueues are loaded in bulk into a table of the connection's
//! own first, unless a payload is longer than the driver loads (32,767 UTF-16
//! units): then they are several statements of one transaction. What the server
//! rolled back (deadlock 1205, two calls that insert one row) is made again; so is,
//! once and on a new connection, what failed for a reason that is not known here.
//!
//! Where a claim locks nothing it still holds nothing twice: the UPDATE repeats
//! state and counter, and what became of a row is read from it while it is held. So
//! a server that ignores lock hints is slower, not wrong.
//!
//! A call whose future is dropped closes its connection, and so does one that
//! fails: the server rolls back, and no connection is lent again of which nobody
//! knows what is open on it.
//!
//! SQL Server pushes nothing to a plain connection. One task a process looks for
//! all that wait, of all handles that reach one store by the same settings as the
//! same login: 20 ms after something happened, then ever more seldom, at last once
//! a second; while nobody waits, not at all, and not where those who wait have just
//! claimed in vain: an idle worker asks the server little more than once a second.
//! Where the handle that looks is dropped, or its runtime ends or stands still,
//! another one goes on. That is what
//! [`Push`](anyqueue_core::Capability::Push) means here: a wait ends when a job
//! comes, up to a second after another process has committed it.
//!
//! # What it promises
//! - **Durability**: an acknowledged write is on stable storage
//!   ([`Durability::Host`]), unless the database forces delayed durability:
//!   [`Durability::Process`].
//! - **Time** is the server's clock (`SYSUTCDATETIME`).
//! - **Isolation**: `READ COMMITTED` with and without row versions
//!   (`READ_COMMITTED_SNAPSHOT`).
//! - **Names and keys** are compared by their code units (`Latin1_General_100_BIN2`),
//!   whatever the database's collation is.
//!
//! # What is unproven
//! This crate has not yet run on a SQL Server of Microsoft's. Its statements are
//! read by a T-SQL parser in a test, and were held against Microsoft's
//! documentation one by one. The conformance suite and the tests in `tests/server`
//! pass on Babelfish for PostgreSQL 4.3, which takes TDS and T-SQL but ignores every
//! lock hint, index hint and query hint, has no `READPAST`, and keeps row versions.
//! There claims wait for each other, and nothing is held twice all the same. Now and
//! then a statement fails there by a fault of that server's own: an `UPDATE` with
//! `OUTPUT` that runs again in a loop takes a table's name from memory that is free.
//!
//! Until the suite has run where `ANYQUEUE_TEST_SQLSERVER_URL` names a SQL Server,
//! the rest is argued and not measured: that the server takes every hint, that
//! claims pass by locks, plans, readers without row versions, bulk loads, numbers of
//! errors, TLS, Azure, speed. `UNPROVEN.md` beside this crate has the whole list, the
//! most important first, with what would show each, and what each statement relies
//! on in the documentation. On Babelfish `benches/load.rs` stored 2,000 and 10,000
//! jobs by a bulk load 2.2 to 2.8 times as fast as by `OPENJSON`; nothing else of
//! speed was measured.
//!
//! [`Durability::Host`]: anyqueue_core::Durability::Host
//! [`Durability::Process`]: anyqueue_core::Durability::Process

mod args;
mod backend;
mod chores;
mod claim;
mod config;
mod control;
mod enqueue;
mod error;
mod load;
mod poller;
mod pool;
mod read;
mod rows;
mod schema;
mod settle;
mod statements;
mod store;
mod url;
mod wake;
mod within;

pub use backend::SqlServerBackend;
pub use config::{SqlServerConfig, TokenSource};
pub use schema::Schema;
pub use tiberius;
pub use within::{complete_in, enqueue_in};
