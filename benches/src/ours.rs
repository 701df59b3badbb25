//! anyqueue, at its defaults.

use std::path::Path;

use anyqueue::{Client, Error, Job, JobContext, JobError, NewJob, State, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Noop(String);

impl Job for Noop {
    const KIND: &'static str = "noop";
    type Output = ();
}

async fn noop(_: Noop, _: JobContext) -> Result<(), JobError> {
    Ok(())
}

pub(crate) async fn open(path: &Path) -> Result<Client, Error> {
    Client::connect(&format!("sqlite://{}", path.display())).await
}

fn job() -> Noop {
    Noop("x".repeat(98))
}

pub(crate) async fn enqueue_many(client: &Client, jobs: usize, batch: usize) -> Result<(), Error> {
    for _ in 0..jobs / batch {
        let built: Vec<NewJob> = (0..batch)
            .map(|_| client.job(job()).build())
            .collect::<Result<_, _>>()?;
        client.enqueue_many(&built).await?;
    }
    Ok(())
}

pub(crate) async fn enqueue_singly(client: &Client, jobs: usize) -> Result<(), Error> {
    const TASKS: usize = 64;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in (task..jobs).step_by(TASKS) {
                    client.enqueue(job()).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics")?;
    }
    Ok(())
}

/// Counts jobs as the store has settled them.
pub(crate) async fn drain(client: &Client, jobs: usize) -> Result<(), Error> {
    let worker = Worker::new(client).register(noop).start()?;
    loop {
        let counts = client.counts().await?;
        let done = counts
            .first()
            .map_or(0, |queue| queue.counts.get(State::Completed));
        if done >= jobs as u64 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    worker.shutdown().await;
    Ok(())
}
