//! A worker's process: an ordinary [`Worker`].

use std::time::Duration;

use anyqueue_core::{Client, Worker};

use crate::Failure;
use crate::child::End;
use crate::chore::{self, QUEUES};

/// Works until the end is raised.
pub(crate) async fn work(client: &Client, lease: Duration, mut end: End) -> Result<(), Failure> {
    let mut worker = Worker::new(client)
        .register(chore::work)
        .concurrency(8)
        .lease(lease);
    for queue in QUEUES {
        worker = worker.queue(queue);
    }
    worker.run_until(async move { end.comes().await }).await?;
    Ok(())
}
