//! The Redis backend of anyqueue.

mod backend;
mod changes;
mod chores;
mod claim;
mod config;
mod connection;
mod control;
mod enqueue;
mod error;
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
