//! Client and worker on a file, from the enqueue to the typed result.

mod common;

use std::sync::Arc;

use anyqueue_core::{Client, ClientOptions, Durability, Job, JobContext, JobError, State, Worker};
use anyqueue_sqlite::{SqliteBackend, SqliteConfig};
use common::{Directory, HANG};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Double(u64);

impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u64;
}

async fn double(job: Double, ctx: JobContext) -> Result<u64, JobError> {
    ctx.progress(50).message("half way").await?;
    Ok(2 * job.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_what_a_client_enqueues() {
    let directory = Directory::new();
    let backend = SqliteBackend::open(SqliteConfig::new(directory.file())).unwrap();
    let options = ClientOptions::default().require_durability(Durability::Host);
    let client = Client::new(Arc::new(backend), options).await.unwrap();
    let worker = Worker::new(&client).register(double).start().unwrap();
    let mut handles = Vec::new();
    for number in 0..100 {
        handles.push(client.enqueue(Double(number)).await.unwrap());
    }
    for (number, handle) in handles.iter().enumerate() {
        let doubled = tokio::time::timeout(HANG, handle.wait()).await;
        assert_eq!(doubled.expect("done").unwrap(), 2 * number as u64);
    }
    let record = client.get(handles[7].id()).await.unwrap().unwrap();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.progress.values.message.as_deref(), Some("half way"));
    worker.shutdown().await;
}
