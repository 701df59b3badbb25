//! apalis-redis for the lab; see the README of the peers.

use std::time::Duration;

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use serde::{Deserialize, Serialize};

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
    conn: ConnectionManager,
    best: bool,
}

impl Queue {
    fn config(&self) -> Config {
        let config = Config::default().queue("lab");
        match self.best {
            // A batch is what one fetch brings and one acknowledgement takes.
            true => config.batch_size(500).emit_events(false).lock_tasks(false),
            false => config,
        }
    }

    fn storage(&self) -> RedisStorage<Noop> {
        RedisStorage::new(self.conn.clone()).with_config(self.config())
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
        let storage = self.storage();
        if self.best {
            // Without a strategy an idle worker looks again at its next heartbeat.
            let storage = storage.poll_with_interval(Duration::from_millis(5));
            let worker = WorkerBuilder::new("lab").backend(storage);
            tokio::spawn(worker.parallelize(tokio::spawn).build(noop).run());
        } else {
            tokio::spawn(WorkerBuilder::new("lab").backend(storage).build(noop).run());
        }
        Ok(())
    }

    async fn settled(&self, _enqueued: usize) -> Result<usize, Failure> {
        let mut scard = redis::cmd("SCARD");
        scard.arg(self.config().done_jobs_set());
        Ok(scard.query_async(&mut self.conn.clone()).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let conn = apalis_redis::connect(&*args.url).await?;
    let best = args.best();
    run(&args, &Queue { conn, best }).await
}
