//! kill -9 of the server.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyqueue_core::{Backend, Enqueued, JobId, Settled, State};
use anyqueue_redis::RedisBackend;

use super::{LONG, claim, complete, job, open, queue, until};
use crate::common::Server;

const KILLS: usize = 25;
const LEASE: Duration = Duration::from_millis(1_000);

#[derive(Default)]
struct Books {
    enqueued: Mutex<HashSet<JobId>>,
    /// The counters whose completion was accepted.
    completed: Mutex<HashMap<JobId, HashSet<u64>>>,
    unknown: AtomicUsize,
    over: AtomicBool,
}

pub(crate) async fn twenty_kills_lose_no_acknowledged_job_and_double_none() {
    let mut server = Server::start(&[]).await.expect("a server");
    let url = server.url();
    let books = Arc::new(Books::default());
    let reader = open(&url).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(tokio::spawn(enqueue_on_and_on(
            open(&url).await,
            Arc::clone(&books),
        )));
        tasks.push(tokio::spawn(work_on_and_on(
            open(&url).await,
            Arc::clone(&books),
        )));
    }
    for _ in 0..KILLS {
        let before = books.enqueued.lock().unwrap().len();
        let done = books.completed.lock().unwrap().len();
        until("jobs come and go", async || {
            books.enqueued.lock().unwrap().len() > before + 50
                && books.completed.lock().unwrap().len() > done + 50
        })
        .await;
        server.kill();
        server.run().await.expect("it starts again");
    }
    books.over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no task panics");
    }
    let unknown = books.unknown.load(Ordering::SeqCst);
    assert!(unknown > KILLS, "only {unknown} calls were cut short");

    let ids: Vec<JobId> = books.enqueued.lock().unwrap().iter().copied().collect();
    // Its connection broke when the first server did.
    until("the reader is back", async || reader.counts().await.is_ok()).await;
    let records = reader.get(&ids).await.expect("records");
    let lost = records.iter().filter(|record| record.is_none()).count();
    assert_eq!(lost, 0, "jobs lost of {}", ids.len());
    for record in records.into_iter().flatten() {
        assert_eq!(record.state, State::Completed, "{}", record.id);
    }
    let counts = reader.counts().await.expect("counts");
    let completed = books.completed.lock().unwrap();
    let doubled = completed.values().filter(|by| by.len() > 1).count();
    assert_eq!(doubled, 0, "jobs completed twice");
    // What was unknown and then given up does not exist: all were asked again.
    assert_eq!(counts[0].counts.total(), ids.len() as u64);
    assert_eq!(completed.len(), ids.len());
}

/// Enqueues batches, each again and again until it is acknowledged.
async fn enqueue_on_and_on(a: Arc<RedisBackend>, books: Arc<Books>) {
    while !books.over.load(Ordering::SeqCst) {
        let jobs = [job(), job(), job()];
        loop {
            match a.enqueue(&jobs).await {
                Ok(answers) => {
                    let mut enqueued = books.enqueued.lock().unwrap();
                    enqueued.extend(answers.into_iter().map(Enqueued::id));
                    break;
                }
                Err(error) => pause(&books, &error).await,
            }
        }
    }
}

/// Claims and completes until no job is left.
async fn work_on_and_on(a: Arc<RedisBackend>, books: Arc<Books>) {
    let request = anyqueue_core::ClaimRequest {
        queues: vec![queue()],
        limit: 7,
        lease: LEASE,
        worker: anyqueue_core::WorkerId::random(),
    };
    let mut idle = 0;
    // After the last job was enqueued, leases of lost claims run out.
    while !books.over.load(Ordering::SeqCst) || idle < 300 {
        let claimed = match a.claim(&request).await {
            Ok(claimed) => claimed,
            Err(error) => {
                pause(&books, &error).await;
                continue;
            }
        };
        idle = if claimed.is_empty() { idle + 1 } else { 0 };
        if claimed.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let settlements: Vec<_> = claimed.iter().map(|job| complete(job.token)).collect();
        loop {
            match a.settle(&settlements).await {
                Ok(answers) => {
                    let mut completed = books.completed.lock().unwrap();
                    for (job, answer) in claimed.iter().zip(answers) {
                        if answer == Settled::Accepted {
                            let by = completed.entry(job.token.id).or_default();
                            by.insert(job.token.counter);
                        }
                    }
                    break;
                }
                Err(error) => pause(&books, &error).await,
            }
        }
    }
}

async fn pause(books: &Books, error: &anyqueue_core::Error) {
    assert!(error.kind().is_transient(), "{error}");
    books.unknown.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(5)).await;
}

pub(crate) async fn a_zombie_is_refused_after_a_restart_too() {
    let mut server = Server::start(&[]).await.expect("a server");
    let (a, b) = (open(&server.url()).await, open(&server.url()).await);
    a.enqueue(&[job()]).await.expect("an enqueue");
    let zombie = claim(&a, 1, Duration::from_millis(50)).await[0].token;
    let mut holder = None;
    until("the lease runs out", async || {
        holder = claim(&b, 1, LONG).await.pop();
        holder.is_some()
    })
    .await;
    server.kill();
    server.run().await.expect("it starts again");
    let settle = async |a: &RedisBackend, token| {
        let mut answer = None;
        until("the server is back", async || {
            answer = a.settle(&[complete(token)]).await.ok();
            answer.is_some()
        })
        .await;
        answer.unwrap()[0]
    };
    assert_eq!(settle(&a, zombie).await, Settled::Stale);
    let holder = holder.unwrap().token;
    assert!(holder.counter > zombie.counter);
    assert_eq!(settle(&b, holder).await, Settled::Accepted);
}
