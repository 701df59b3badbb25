//! apalis-postgres for the lab; see the README of the peers.

use std::time::Duration;

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    text: String,
}

async fn noop(job: Noop) -> Result<(), BoxDynError> {
    handled(&job.text);
    Ok(())
}

#[derive(Clone)]
struct Queue {
    pool: PgPool,
    best: bool,
}

impl Queue {
    fn storage(&self) -> PostgresStorage<Noop> {
        let config = Config::default().queue("lab");
        let config = match self.best {
            true => config.batch_size(500).lock_tasks(false),
            false => config,
        };
        PostgresStorage::new(&self.pool).with_config(config)
    }
}

impl Peer for Queue {
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let jobs = texts.into_iter().map(|text| Noop { text }).collect();
        Ok(self
            .storage()
            .push_bulk(jobs)
            .await
            .map_err(|e| e.to_string())?)
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        Ok(self
            .storage()
            .push(Noop { text })
            .await
            .map_err(|e| e.to_string())?)
    }

    async fn start(&self) -> Result<(), Failure> {
        if self.best {
            // Without a strategy an idle worker looks again at its next heartbeat.
            let storage = self.storage().poll_with_interval(Duration::from_millis(5));
            let worker = WorkerBuilder::new("lab").backend(storage);
            tokio::spawn(worker.parallelize(tokio::spawn).build(noop).run());
        } else {
            let worker = WorkerBuilder::new("lab").backend(self.storage());
            tokio::spawn(worker.build(noop).run());
        }
        Ok(())
    }

    async fn settled(&self, _enqueued: usize) -> Result<usize, Failure> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'")
                .fetch_one(&self.pool)
                .await?;
        Ok(usize::try_from(count)?)
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
    PostgresStorage::setup(&pool).await?;
    run(&args, &Queue { pool, best }).await
}
