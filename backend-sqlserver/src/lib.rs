//! SQL Server.
mod args;
mod backend;
mod chores;
mod claim;
mod config;
mod control;
mod enqueue;
mod error;
mod pool;
mod read;
mod rows;
mod schema;
mod settle;
mod statements;
mod store;
mod url;
mod wake;

pub use backend::SqlServerBackend;
pub use config::{SqlServerConfig, TokenSource};
pub use enqueue::enqueue_in;
pub use schema::Schema;
pub use settle::complete_in;
pub use tiberius;
