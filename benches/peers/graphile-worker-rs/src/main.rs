//! graphile_worker (Rust) for the lab; see the README of the peers.

use std::time::Duration;

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};

#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    text: String,
}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, _ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        handled(&self.text);
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct Queue {
    pool: PgPool,
    utils: std::sync::Arc<WorkerUtils>,
    best: bool,
}

fn options(pool: &PgPool) -> WorkerOptions {
    WorkerOptions::default()
        .define_job::<Noop>()
        .pg_pool(pool.clone())
}

impl Peer for Queue {
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = texts
            .into_iter()
            .map(|text| (Noop { text }, &spec))
            .collect();
        self.utils.add_jobs::<Noop>(&jobs).await?;
        Ok(())
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        self.utils
            .add_job(Noop { text }, JobSpec::default())
            .await?;
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        let options = options(&self.pool);
        let options = match self.best {
            // As in the documentation's chapter on performance: a local queue
            // and batched completions.
            true => options
                .concurrency(24)
                .local_queue(LocalQueueConfig::default().with_size(500))
                .complete_job_batch_delay(Duration::from_millis(0)),
            false => options,
        };
        let worker = options.init().await?;
        tokio::spawn(async move { worker.run().await.map_err(|e| e.to_string()) });
        Ok(())
    }

    /// A job's row is deleted when it is done.
    async fn settled(&self, enqueued: usize) -> Result<usize, Failure> {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
            .fetch_one(&self.pool)
            .await?;
        Ok(enqueued - usize::try_from(left)?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let best = args.best();
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(60));
    let pool = match best {
        true => pool.max_connections(20),
        false => pool,
    };
    let pool = pool.connect(&args.url).await?;
    // Makes the schema.
    let utils = options(&pool).init().await?.create_utils();
    let utils = std::sync::Arc::new(utils);
    run(&args, &Queue { pool, utils, best }).await
}
