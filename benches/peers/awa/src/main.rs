//! awa for the lab; see the README of the peers.

use std::time::Duration;

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use awa::{Client, InsertOpts, JobArgs, JobError, JobResult, QueueConfig, migrations};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};

#[derive(Clone, Serialize, Deserialize, JobArgs)]
struct Noop {
    text: String,
}

#[derive(Clone)]
struct Queue {
    pool: PgPool,
    best: bool,
}

fn opts() -> InsertOpts {
    InsertOpts {
        queue: "lab".into(),
        ..InsertOpts::default()
    }
}

impl Peer for Queue {
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let jobs = texts
            .into_iter()
            .map(|text| awa::model::insert::params_with(&Noop { text }, opts()))
            .collect::<Result<Vec<_>, _>>()?;
        match self.best {
            true => awa::insert_many_copy_from_pool(&self.pool, &jobs).await?,
            false => awa::insert_many(&self.pool, &jobs).await?,
        };
        Ok(())
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        awa::insert_with(&self.pool, &Noop { text }, opts()).await?;
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        let config = match self.best {
            true => QueueConfig {
                max_workers: 512,
                claim_batch_size: 512,
                claimers: 2,
                ..QueueConfig::default()
            },
            false => QueueConfig::default(),
        };
        let client = Client::builder(self.pool.clone())
            .queue("lab", config)
            .register::<Noop, _, _>(|job: Noop, _ctx| async move {
                handled(&job.text);
                Ok::<_, JobError>(JobResult::Completed)
            })
            .build()?;
        client.start().await?;
        std::mem::forget(client);
        Ok(())
    }

    async fn settled(&self, _enqueued: usize) -> Result<usize, Failure> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM awa.jobs WHERE state = 'completed'")
                .fetch_one(&self.pool)
                .await?;
        Ok(usize::try_from(count)?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let pool = PgPoolOptions::new()
        .max_connections(20)
        .acquire_timeout(Duration::from_secs(60))
        .connect(&args.url)
        .await?;
    migrations::run(&pool).await?;
    let best = args.best();
    run(&args, &Queue { pool, best }).await
}
