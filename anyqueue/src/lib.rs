//! A storage-agnostic job queue. An application enqueues a job, gets an id,
//! and forgets it; workers on any number of machines run it; anyone polls its
//! status, progress and typed result, from any process. The store is picked by
//! a Cargo feature and a URL, and swapped with no change to the application.
//!
//! ```no_run
//! use anyqueue::{Client, Job, JobContext, JobError, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct ExportCsv { view: String }
//!
//! impl Job for ExportCsv {
//!     const KIND: &'static str = "export_csv";
//!     type Output = u64;
//! }
//!
//! async fn export_csv(job: ExportCsv, ctx: JobContext) -> Result<u64, JobError> {
//!     ctx.progress(50).message(format!("exporting {}", job.view)).await?;
//!     Ok(3_000)
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("sqlite://jobs.db").await?;
//! let handle = client.enqueue(ExportCsv { view: "orders".into() }).await?;
//! let worker = Worker::new(&client).register(export_csv).start()?;
//! println!("{} rows", handle.wait().await?);
//! worker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | Feature | URL | Store |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite://jobs.db`, `sqlite:///var/lib/app/jobs.db` | one file, any number of processes of one host |
//! | `postgres` | `postgres://user:password@host/database` | a schema of a PostgreSQL database, any number of hosts |
//! | `sqlserver` | `sqlserver://user:password@host/database`, `Server=tcp:host;Database=…` | a schema of a SQL Server or Azure SQL database, any number of hosts |
//! | `redis` | `redis://host`, `rediss://user:password@host`, `redis-cluster://one,two` | a Redis or Valkey server, or a Cluster |
//! | `rabbitmq` | `amqp://user:password@host/vhost`, `amqps://…?prefix=billing` | a RabbitMQ broker with streams |
//! | `memory` | `memory:`, `memory:name` | this process |
//!
//! Everything but [`Client::connect`] comes from `anyqueue-core`.

mod connect;

pub use anyqueue_core::*;
pub use connect::{Client, open};
