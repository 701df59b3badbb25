//! anyqueue, at its defaults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue::{Client, Error, Job, JobContext, JobError, NewJob, State, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::bare::{BATCH, Failure, at_rate, spans};
use crate::table::percentile;

#[derive(Serialize, Deserialize)]
struct Noop(String);

impl Job for Noop {
    const KIND: &'static str = "noop";
    type Output = ();
}

async fn noop(_: Noop, _: JobContext) -> Result<(), JobError> {
    Ok(())
}

fn job() -> Noop {
    Noop("x".repeat(98))
}

/// Enqueues by calls of [`BATCH`] jobs, from this many tasks.
pub(crate) async fn enqueue_many(client: &Client, jobs: usize, tasks: usize) -> Result<(), Error> {
    enqueue_batches(client, jobs, BATCH, tasks).await
}

/// Enqueues by calls of this many jobs, from this many tasks.
pub(crate) async fn enqueue_batches(
    client: &Client,
    jobs: usize,
    batch: usize,
    tasks: usize,
) -> Result<(), Error> {
    in_tasks(client, jobs / batch, tasks, move |client| async move {
        let built: Vec<NewJob> = (0..batch)
            .map(|_| client.job(job()).build())
            .collect::<Result<_, _>>()?;
        client.enqueue_many(&built).await.map(drop)
    })
    .await
}

/// Enqueues one job a call, from this many tasks.
pub(crate) async fn enqueue_singly(
    client: &Client,
    jobs: usize,
    tasks: usize,
) -> Result<(), Error> {
    in_tasks(client, jobs, tasks, |client| async move {
        client.enqueue(job()).await.map(drop)
    })
    .await
}

/// Shares calls out among tasks that make one after the other.
async fn in_tasks<F>(
    client: &Client,
    calls: usize,
    tasks: usize,
    call: impl Fn(Client) -> F + Copy + Send + 'static,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in (task..calls).step_by(tasks) {
                    call(client.clone()).await?;
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

/// Runs a worker until the store has settled this many jobs more.
pub(crate) async fn drain(client: &Client, jobs: usize) -> Result<(), Error> {
    let settled = async || {
        let counts = client.counts().await?;
        Ok::<u64, Error>(counts.iter().map(|q| q.counts.get(State::Completed)).sum())
    };
    let before = settled().await?;
    let worker = Worker::new(client).register(noop).start()?;
    let begun = Instant::now();
    // Seldom while much is left: each look costs the store something. The last
    // ones come a millisecond apart.
    loop {
        let done = settled().await? - before;
        if done >= jobs as u64 {
            break;
        }
        let left = begun.elapsed().as_secs_f64() * (jobs as f64 / done.max(1) as f64 - 1.0);
        tokio::time::sleep(Duration::from_secs_f64((left / 2.0).clamp(0.001, 0.05))).await;
    }
    worker.shutdown().await;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Ping(usize);

impl Job for Ping {
    const KIND: &'static str = "ping";
    const QUEUE: &'static str = "pings";
    type Output = ();
}

type Started = mpsc::UnboundedSender<(usize, Instant)>;

async fn ping(job: Ping, ctx: JobContext<Started>) -> Result<(), JobError> {
    // Closed only once the measurement has ended.
    let _ = ctx.state().send((job.0, Instant::now()));
    Ok(())
}

/// What became of jobs that were enqueued at an even rate to an idle worker, in
/// milliseconds from the call of `enqueue`.
pub(crate) struct PickUp {
    /// To its answer.
    pub(crate) answered: Vec<f64>,
    /// To the start of the handler.
    pub(crate) started: Vec<f64>,
}

/// Enqueues jobs at an even rate to an idle worker.
pub(crate) async fn pick_up(
    client: &Client,
    jobs: usize,
    per_second: u32,
) -> Result<PickUp, Failure> {
    let (started, mut starts) = mpsc::unbounded_channel::<(usize, Instant)>();
    let worker = Worker::new(client)
        .shared_state(Arc::new(started))
        .register(ping)
        .start()?;
    let (answer, mut answers) = mpsc::unbounded_channel::<(usize, Instant)>();
    let called = at_rate(jobs, per_second, |number| {
        let (client, answer) = (client.clone(), answer.clone());
        async move {
            client.enqueue(Ping(number)).await?;
            Ok(answer.send((number, Instant::now()))?)
        }
    })
    .await?;
    let answered = spans(&called, &received(&mut answers, jobs).await?)?;
    let started = spans(&called, &received(&mut starts, jobs).await?)?;
    worker.shutdown().await;
    Ok(PickUp { answered, started })
}

/// When each of these jobs was heard of.
async fn received(
    heard: &mut mpsc::UnboundedReceiver<(usize, Instant)>,
    jobs: usize,
) -> Result<Vec<Option<Instant>>, Failure> {
    let mut all = vec![None; jobs];
    for _ in 0..jobs {
        let (number, at) = heard.recv().await.ok_or("the worker has stopped")?;
        all[number] = Some(at);
    }
    Ok(all)
}

/// Enqueues at an even rate to a worker, and prints each ten seconds how many
/// jobs started and how long after their enqueue.
pub(crate) async fn steadily(
    client: &Client,
    per_second: usize,
    seconds: usize,
) -> Result<(), Failure> {
    const EVERY: usize = 10;
    let (started, mut starts) = mpsc::unbounded_channel::<(usize, Instant)>();
    let worker = Worker::new(client)
        .shared_state(Arc::new(started))
        .register(ping)
        .start()?;
    let begun = Instant::now();
    let due =
        move |number: usize| begun + Duration::from_secs_f64(number as f64 / per_second as f64);
    let supply = {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..per_second * seconds {
                tokio::time::sleep_until(due(number).into()).await;
                let client = client.clone();
                tokio::spawn(async move { client.enqueue(Ping(number)).await });
            }
        })
    };
    let mut end = 0;
    let mut spans = Vec::new();
    while end < seconds {
        end += EVERY;
        let until = begun + Duration::from_secs(end as u64);
        while let Ok(Some((number, start))) =
            tokio::time::timeout_at(until.into(), starts.recv()).await
        {
            spans.push(start.saturating_duration_since(due(number)).as_secs_f64() * 1_000.0);
        }
        spans.sort_by(f64::total_cmp);
        let (p50, p99) = (percentile(&spans, 0.5), percentile(&spans, 0.99));
        let rate = spans.len() / EVERY;
        println!("| {end} | {rate} | {p50:.1} | {p99:.1} |");
        spans.clear();
    }
    supply.await?;
    worker.shutdown().await;
    Ok(())
}
