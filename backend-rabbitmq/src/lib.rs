//! The RabbitMQ backend of anyqueue.

mod append;
mod backend;
mod config;
mod error;
mod fold;
mod follow;
mod instance;
mod lead;
mod outbox;
mod roots;
mod session;
mod shared;
mod snapshot;
mod ticket;
mod topology;
mod wake;
mod wire;

pub use backend::RabbitBackend;
pub use config::{RabbitConfig, View};
