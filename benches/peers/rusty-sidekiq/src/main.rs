//! rusty-sidekiq for the lab; see the README of the peers.

use anyqueue_lab_protocol::{Args, Failure, Peer, handled, run};
use serde::{Deserialize, Serialize};
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};

#[derive(Serialize, Deserialize)]
struct Noop {
    text: String,
}

struct NoopWorker;

#[async_trait::async_trait]
impl Worker<Noop> for NoopWorker {
    fn opts() -> sidekiq::WorkerOpts<Noop, Self> {
        sidekiq::WorkerOpts::new().queue("lab")
    }

    async fn perform(&self, job: Noop) -> sidekiq::Result<()> {
        handled(&job.text);
        Ok(())
    }
}

#[derive(Clone)]
struct Queue {
    /// Apart from the processor's, as the documentation advises.
    enqueueing: RedisPool,
    fetching: RedisPool,
    best: bool,
    url: String,
}

impl Peer for Queue {
    /// There is no batch: 500 calls, one after the other.
    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        for text in texts {
            self.enqueue_one(text).await?;
        }
        Ok(())
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        Ok(NoopWorker::perform_async(&self.enqueueing, Noop { text }).await?)
    }

    async fn start(&self) -> Result<(), Failure> {
        let mut processor = Processor::new(self.fetching.clone(), vec!["lab".to_owned()]);
        if self.best {
            processor = processor.with_config(ProcessorConfig::default().num_workers(WORKERS));
        }
        processor.register(NoopWorker);
        tokio::spawn(processor.run());
        Ok(())
    }

    /// A job is gone from the store once it is fetched: nothing is settled.
    async fn settled(&self, enqueued: usize) -> Result<usize, Failure> {
        let mut conn = redis::Client::open(&*self.url)?
            .get_multiplexed_async_connection()
            .await?;
        let waiting: usize = redis::cmd("LLEN")
            .arg("queue:lab")
            .query_async(&mut conn)
            .await?;
        Ok(enqueued - waiting)
    }
}

/// Fetching tasks, each with a connection of its own.
const WORKERS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::read(0)?;
    let best = args.best();
    let connect = async |connections: Option<u32>| {
        let manager = RedisConnectionManager::new(&*args.url)?;
        let pool = bb8::Pool::builder();
        let pool = match connections {
            Some(connections) => pool.max_size(connections),
            None => pool,
        };
        Ok::<_, Failure>(pool.build(manager).await?)
    };
    let queue = Queue {
        enqueueing: connect(best.then_some(64)).await?,
        fetching: connect(best.then_some(u32::try_from(WORKERS)? + 8)).await?,
        best,
        url: args.url.clone(),
    };
    run(&args, &queue).await
}
