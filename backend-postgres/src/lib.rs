//! PostgreSQL.
mod args;
mod backend;
mod chores;
mod claim;
mod config;
mod control;
mod enqueue;
mod error;
mod floors;
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
