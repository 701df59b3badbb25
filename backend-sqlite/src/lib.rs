//! The embedded backend of anyqueue: one SQLite file, shared by any number of
//! processes of one host.

mod backend;
mod chores;
mod claim;
mod clock;
mod config;
mod connection;
mod control;
mod enqueue;
mod error;
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
mod wake;
mod writer;

pub use backend::SqliteBackend;
pub use config::{Creation, SqliteConfig, Synchronous};
pub use enqueue::enqueue_in;
pub use rusqlite;
