//! apalis-amqp for the lab; see the README of the peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use apalis::prelude::*;
use apalis_amqp::{AmqpBackend, Config};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    text: String,
}

async fn noop(job: Noop) -> Result<(), BoxDynError> {
    handled(&job.text);
    Ok(())
}

/// Backends to enqueue by: a clone would declare its queue again.
const SINKS: usize = 8;

#[derive(Clone)]
struct Queue {
    sinks: Arc<Vec<Mutex<AmqpBackend<Noop>>>>,
    next: Arc<AtomicUsize>,
    config: Config,
    url: String,
    best: bool,
}

impl Queue {
    fn backend(url: &str, config: &Config) -> Result<AmqpBackend<Noop>, Failure> {
        Ok(AmqpBackend::new_from_addr(url)
            .map_err(|e| e.to_string())?
            .with_config(config.clone()))
    }

    fn sink(&self) -> &Mutex<AmqpBackend<Noop>> {
        &self.sinks[self.next.fetch_add(1, Ordering::Relaxed) % SINKS]
    }
}

impl Peer for Queue {
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let jobs = texts.into_iter().map(|text| Noop { text }).collect();
        let mut sink = self.sink().lock().await;
        Ok(sink.push_bulk(jobs).await.map_err(|e| e.to_string())?)
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        let mut sink = self.sink().lock().await;
        Ok(sink.push(Noop { text }).await.map_err(|e| e.to_string())?)
    }

    async fn start(&self) -> Result<(), Failure> {
        // One that has not pushed yet has no channel, and its worker panics.
        let mut backend = Self::backend(&self.url, &self.config)?;
        let job = Noop {
            text: String::new(),
        };
        backend.push(job).await.map_err(|e| e.to_string())?;
        let worker = WorkerBuilder::new("lab").backend(backend);
        let ended = match self.best {
            true => tokio::spawn(worker.parallelize(tokio::spawn).build(noop).run()),
            false => tokio::spawn(worker.build(noop).run()),
        };
        tokio::spawn(async move { eprintln!("the worker has ended: {:?}", ended.await) });
        Ok(())
    }

    /// What is neither ready nor unacknowledged: the channel that asks is not
    /// the one that consumes, so the ready ones are all that it sees; the jobs
    /// in the prefetch (at most its size) count as settled.
    async fn settled(&self, enqueued: usize) -> Result<usize, Failure> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("lab".into(), passive, FieldTable::default())
            .await?;
        Ok(enqueued.saturating_sub(queue.message_count() as usize))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let best = args.best();
    let config = Config::default().queue("lab").quorum(true);
    let config = match best {
        true => config.prefetch_count(1_000),
        false => config,
    };
    let sinks = (0..SINKS)
        .map(|_| Queue::backend(&args.url, &config).map(Mutex::new))
        .collect::<Result<_, _>>()?;
    let queue = Queue {
        sinks: Arc::new(sinks),
        next: Arc::default(),
        config,
        url: args.url.clone(),
        best,
    };
    run(&args, &queue).await
}
