//! The measures, for any queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::{Args, Failure, HANDLED, Peer, STARTS, begin, end};

/// A phase that is slower than this is cut, and its rate is that of what it did.
const LIMIT: Duration = Duration::from_secs(4);

/// The same where a backlog is built up.
const BACKLOG_LIMIT: Duration = Duration::from_secs(60);

/// What is handled must be settled after this.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Tasks that enqueue batches, and that enqueue one job a call.
const BATCH_TASKS: usize = 2;
const SINGLE_TASKS: usize = 64;

/// Jobs a second, and of a warm-up before the first that counts.
const PER_SECOND: u32 = 200;
const WARM_UP: usize = 50;

/// Enqueues by the batch, then lets a worker settle the jobs.
pub(crate) async fn drain<P: Peer>(args: &Args, peer: &P) -> Result<(), Failure> {
    let wanted = args.jobs + args.backlog;
    let limit = match args.backlog {
        0 => LIMIT,
        _ => BACKLOG_LIMIT,
    };
    begin("enqueue");
    let begun = Instant::now();
    let text = args.text();
    let enqueued = in_tasks(BATCH_TASKS, wanted.div_ceil(P::BATCH), limit, {
        let peer = peer.clone();
        move |_| {
            let (peer, text) = (peer.clone(), text.clone());
            async move { peer.enqueue(vec![text; P::BATCH]).await }
        }
    })
    .await?
        * P::BATCH;
    end("enqueue", enqueued, begun.elapsed().as_secs_f64());
    if args.backlog > 0 && enqueued < wanted {
        return Err(format!("only {enqueued} of {wanted} jobs enqueued in {limit:?}").into());
    }

    let jobs = args.jobs.min(enqueued);
    begin("drain");
    let begun = Instant::now();
    peer.start().await?;
    while HANDLED.load(Ordering::Relaxed) < jobs && begun.elapsed() < LIMIT {
        sleep(Duration::from_millis(1)).await;
    }
    let cut = HANDLED.load(Ordering::Relaxed) < jobs;
    // Whatever the store says now, it held when it was asked.
    let (settled, seconds) = timeout(SETTLED_WITHIN, async {
        loop {
            let asked = begun.elapsed().as_secs_f64();
            let settled = peer.settled(enqueued).await?;
            if settled >= jobs || cut {
                return Ok::<_, Failure>((settled, asked));
            }
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .map_err(|_| "handled jobs were not settled in time")??;
    end("drain", settled, seconds);
    Ok(())
}

/// Enqueues one job a call.
pub(crate) async fn single<P: Peer>(args: &Args, peer: &P) -> Result<(), Failure> {
    begin("single");
    let begun = Instant::now();
    let text = args.text();
    let done = in_tasks(SINGLE_TASKS, args.jobs, LIMIT, {
        let peer = peer.clone();
        move |_| {
            let (peer, text) = (peer.clone(), text.clone());
            async move { peer.enqueue_one(text).await }
        }
    })
    .await?;
    end("single", done, begun.elapsed().as_secs_f64());
    Ok(())
}

/// Enqueues jobs at an even rate to an idle worker: from the call to the handler.
pub(crate) async fn pick_up<P: Peer>(args: &Args, peer: &P) -> Result<(), Failure> {
    let jobs = args.jobs;
    let starts = (0..WARM_UP + jobs).map(|_| Default::default()).collect();
    STARTS.set(starts).map_err(|_| "measured twice")?;
    peer.start().await?;
    sleep(Duration::from_secs(1)).await;
    let mut called = Vec::with_capacity(WARM_UP + jobs);
    let mut calls = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1) / PER_SECOND);
    for number in 0..WARM_UP + jobs {
        tick.tick().await;
        if number == WARM_UP {
            begin("pick-up");
        }
        let (peer, text) = (peer.clone(), format!("{number}-{}", args.text()));
        called.push(Instant::now());
        calls.spawn(async move { peer.enqueue_one(text).await });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    let starts = STARTS.get().ok_or("never set")?;
    timeout(SETTLED_WITHIN, async {
        while starts.iter().any(|start| start.get().is_none()) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .map_err(|_| "some jobs were not picked up within 20 s")?;
    let spans: Vec<String> = std::iter::zip(starts, called)
        .skip(WARM_UP)
        .filter_map(|(start, called)| Some(start.get()?.duration_since(called)))
        .map(|span| format!("{:.3}", span.as_secs_f64() * 1_000.0))
        .collect();
    println!(
        r#"{{"mark":"end","measure":"pick-up","jobs":{jobs},"spans_ms":[{}]}}"#,
        spans.join(",")
    );
    Ok(())
}

/// Makes this many calls, in tasks that make one after the other, until the
/// limit; how many were made.
async fn in_tasks<F>(
    tasks: usize,
    calls: usize,
    limit: Duration,
    call: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<usize, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (call, next) = (call.clone(), next.clone());
        set.spawn(async move {
            let mut done = 0;
            while begun.elapsed() < limit {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    break;
                }
                call(number).await?;
                done += 1;
            }
            Ok::<usize, Failure>(done)
        });
    }
    let mut made = 0;
    while let Some(done) = set.join_next().await {
        made += done??;
    }
    Ok(made)
}
