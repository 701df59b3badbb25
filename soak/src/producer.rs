//! A producer's process: enqueues, repeats what was not answered, drops calls
//! in the middle, cancels now and then.

use std::sync::Arc;
use std::time::Duration;

use anyqueue::{Enqueued, JobId, NewJob, Priority};
use anyqueue_conformance_tests::faults::history::{Answer, Asked, Log, Stored};
use anyqueue_conformance_tests::faults::new;
use anyqueue_core::{Capability, Client, Error};
use anyqueue_postgres::sqlx::{Connection as _, PgConnection};
use anyqueue_postgres::{PostgresConfig, Schema};
use anyqueue_sqlite::rusqlite::{Connection, TransactionBehavior};

use crate::Failure;
use crate::child::{End, Orders};
use crate::chore::{Chore, Fate, QUEUES};

/// The wait between two batches: what a store is given to do in a second is
/// about 60 jobs a producer.
const PAUSE: std::ops::Range<u64> = 20..160;

pub(crate) async fn produce(
    client: &Client,
    orders: &Orders,
    log: &Arc<Log>,
    end: End,
) -> Result<(), Failure> {
    let mut random = fastrand::Rng::with_seed(orders.seed);
    let mut recent: Vec<JobId> = Vec::new();
    while !end.is_near() {
        let jobs: Vec<NewJob> = (0..random.usize(1..9))
            .map(|_| job(client, &mut random))
            .collect::<Result<_, Error>>()?;
        recent.extend(jobs.iter().map(|job| job.id));
        recent.drain(..recent.len().saturating_sub(50));
        match random.u32(..100) {
            0..10 if client.capabilities().has(Capability::TransactionalEnqueue) => {
                transaction(&orders.url, log, &jobs, random.u32(..3) == 0).await;
            }
            10..25 => {
                // Dropped wherever it is by then, and asked again or not.
                let patience = Duration::from_micros(random.u64(..4_000));
                let call = client.enqueue_many(&jobs);
                if tokio::time::timeout(patience, call).await.is_err() && random.bool() {
                    insist(client, &jobs, &end).await?;
                }
            }
            _ => insist(client, &jobs, &end).await?,
        }
        if random.u32(..100) < 15
            && let Some(id) = random.choice(&recent)
            && let Err(error) = client.cancel(*id).await
        {
            println!("cancel: {error}");
        }
        tokio::time::sleep(Duration::from_millis(random.u64(PAUSE))).await;
    }
    Ok(())
}

fn job(client: &Client, random: &mut fastrand::Rng) -> Result<NewJob, Error> {
    let chore = Chore {
        millis: random.choice([0, 0, 5, 20, 50, 100, 400]).unwrap_or(0),
        reports: random.choice([0, 0, 0, 1, 3]).unwrap_or(0),
        fate: match random.u32(..100) {
            0..8 => Fate::Retries(random.u32(1..4)),
            8..12 => Fate::Snoozes,
            12..14 => Fate::Fails,
            _ => Fate::Completes,
        },
    };
    let queue = random.choice(QUEUES).unwrap_or("mail");
    let priority = random.choice(Priority::ALL).unwrap_or_default();
    let mut job = client.job(chore).queue(queue).priority(priority);
    if random.u32(..100) < 10 {
        job = job.delay(Duration::from_millis(random.u64(1..3_000)));
    }
    let key = format!("key-{}", random.u32(..12));
    match random.u32(..100) {
        0..12 => job = job.unique(key),
        12..15 => job = job.unique_for(format!("for-{key}"), Duration::from_secs(3)),
        _ => {}
    }
    job.build()
}

/// Asks until there is an answer, as an application would that must know.
async fn insist(client: &Client, jobs: &[NewJob], end: &End) -> Result<(), Failure> {
    loop {
        match client.enqueue_many(jobs).await {
            Ok(_) => return Ok(()),
            Err(error) if !error.kind().is_transient() => return Err(error.into()),
            Err(error) => println!("enqueue: {error}"),
        }
        if end.is_near() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Enqueues in a transaction of the application's own, and commits it, or rolls
/// it back.
async fn transaction(url: &str, log: &Arc<Log>, jobs: &[NewJob], roll_back: bool) {
    let call = log.begin(Asked::Enqueue(jobs.iter().map(new).collect()));
    let done = if let Some(file) = url.strip_prefix("sqlite://") {
        let (file, jobs) = (file.to_owned(), jobs.to_vec());
        let work = move || in_sqlite(&file, &jobs, roll_back);
        tokio::task::spawn_blocking(work).await.unwrap_or(Done::Not)
    } else if url.starts_with("postgres") {
        in_postgres(url, jobs, roll_back).await
    } else {
        Done::Not
    };
    call.end(match done {
        Done::Committed(answers) => Answer::Enqueued(answers.into_iter().map(Stored::of).collect()),
        Done::Perhaps => Answer::Unknown,
        Done::Not => Answer::Failed("not committed".to_owned()),
    });
}

/// What became of a transaction.
enum Done {
    Committed(Vec<Enqueued>),
    /// The answer to the commit was lost.
    Perhaps,
    Not,
}

fn in_sqlite(file: &str, jobs: &[NewJob], roll_back: bool) -> Done {
    let begun = Connection::open(file).and_then(|conn| {
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    });
    let Ok(mut conn) = begun else {
        return Done::Not;
    };
    let Ok(tx) = conn.transaction_with_behavior(TransactionBehavior::Immediate) else {
        return Done::Not;
    };
    let Ok(answers) = anyqueue_sqlite::enqueue_in(&tx, jobs) else {
        return Done::Not;
    };
    if roll_back {
        return Done::Not;
    }
    match tx.commit() {
        Ok(()) => Done::Committed(answers),
        Err(_) => Done::Perhaps,
    }
}

async fn in_postgres(url: &str, jobs: &[NewJob], roll_back: bool) -> Done {
    let Ok(config) = PostgresConfig::from_url(url) else {
        return Done::Not;
    };
    let enqueue = async {
        let mut conn = PgConnection::connect_with(&config.connect).await.ok()?;
        anyqueue_postgres::sqlx::raw_sql("BEGIN")
            .execute(&mut conn)
            .await
            .ok()?;
        let answers = Schema::default().enqueue_in(&mut conn, jobs).await.ok()?;
        Some((conn, answers))
    };
    // Its connection ends with it where time is up, and so does the transaction.
    let enqueued = tokio::time::timeout(Duration::from_secs(10), enqueue).await;
    let Ok(Some((mut conn, answers))) = enqueued else {
        return Done::Not;
    };
    if roll_back {
        return Done::Not;
    }
    let commit = anyqueue_postgres::sqlx::raw_sql("COMMIT").execute(&mut conn);
    match tokio::time::timeout(Duration::from_secs(10), commit).await {
        Ok(Ok(_)) => Done::Committed(answers),
        _ => Done::Perhaps,
    }
}
