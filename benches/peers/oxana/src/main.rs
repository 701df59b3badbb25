//! oxana for the lab; see the README of the peers.

use std::time::Duration;

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use oxana::{Queue as _, Storage};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
struct Context;

#[derive(Debug, thiserror::Error)]
enum Never {}

#[derive(Debug, Serialize, Deserialize)]
struct NoopJob {
    text: String,
}

impl oxana::Job for NoopJob {}

#[derive(oxana::Worker)]
#[oxana(context = Context, error = Never, registry = None)]
struct Noop;

impl Noop {
    async fn process(&self, job: NoopJob, _ctx: &oxana::JobContext) -> Result<(), Never> {
        handled(&job.text);
        Ok(())
    }
}

/// A queue has to name its concurrency; 2 is that of the documentation's
/// first example.
#[derive(Serialize)]
struct Lab;

impl oxana::Queue for Lab {
    fn to_config() -> oxana::QueueConfig {
        oxana::QueueConfig {
            kind: oxana::QueueKind::Static {
                key: "lab".to_owned(),
            },
            concurrency: oxana::QueueConcurrency::Fixed(2),
            throttle: None,
        }
    }
}

#[derive(Clone)]
struct Queue {
    storage: Storage,
    best: bool,
}

impl Peer for Queue {
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let jobs = texts.into_iter().map(|text| NoopJob { text });
        self.storage.enqueue_list(Lab, jobs).await?;
        Ok(())
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        self.storage.enqueue(Lab, NoopJob { text }).await?;
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        let runtime = self.storage.runtime(Context).worker::<Noop, NoopJob>();
        let runtime = match self.best {
            // The greatest of its own benchmark; and what bounds the pick-up.
            true => runtime
                .queue_with_concurrency::<Lab>(512)
                .dequeue_timeout(Duration::from_millis(5)),
            false => runtime.queue::<Lab>(),
        };
        tokio::spawn(runtime.run());
        Ok(())
    }

    async fn settled(&self, enqueued: usize) -> Result<usize, Failure> {
        // A job's record is deleted when it is done.
        Ok(enqueued.saturating_sub(self.storage.jobs_count().await?))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let best = args.best();
    let storage = Storage::builder();
    let storage = match best {
        true => storage.max_pool_size(512),
        false => storage,
    };
    let storage = storage.build_from_redis_url(&args.url)?;
    let _ = Lab.key();
    run(&args, &Queue { storage, best }).await
}
