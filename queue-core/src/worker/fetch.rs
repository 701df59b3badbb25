//! Fetching: claims what the worker has room for, and waits for work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::capability::Capability;
use crate::claim::{ClaimRequest, WaitRequest};
use crate::error::{Error, Operation};
use crate::transient::Waits;
use crate::worker::pace::Pace;
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// The most jobs of one claim.
const MAX_CLAIM: usize = 1_000;

/// The longest wait for work before looking again: what a lost notification
/// costs at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The first wait for work on a store that does not push.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// The pause after a claim most of whose jobs were over their kinds' limits.
const OVER_LIMIT_PAUSE: Duration = Duration::from_millis(100);

/// The most outcomes that may wait for the store before claiming stops.
const MAX_UNSETTLED: usize = 4_000;

type Waiting = BoxFuture<'static, Result<(), Error>>;

/// Claims until `stopping` is raised.
pub(super) async fn run(engine: Arc<Engine>) {
    let mut pace = Pace::new(Instant::now());
    let mut errors = error_waits();
    let mut idle_wait = SHORTEST_WAIT;
    let mut turn = 0;
    let mut waiting: Option<Waiting> = None;
    let mut last_claimed = 0;
    while !engine.stopping.is_cancelled() {
        let refused = engine.refused.swap(0, Ordering::Relaxed);
        if refused > last_claimed / 2 {
            pause(&engine, OVER_LIMIT_PAUSE).await;
        }
        let prefetch = pace.prefetch(engine.ended.load(Ordering::Relaxed), Instant::now());
        let limit = limit(&engine, prefetch);
        if limit == 0 {
            // A wait that is not polled may hold what other calls need: a
            // place in a line for the backend's connection.
            tokio::select! {
                () = engine.room.notified() => {}
                () = engine.stopping.cancelled() => {}
                _ = under_way(&mut waiting) => waiting = None,
            }
            continue;
        }
        // Begun before the claim, so that a job that comes after it is noticed.
        let mut wait = waiting
            .take()
            .unwrap_or_else(|| wait_for_work(&engine, idle_wait));
        let mut noticed = (&mut wait).now_or_never();
        let request = ClaimRequest {
            queues: in_turn(&engine, &mut turn),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            lease: engine.settings.lease,
            worker: engine.settings.id.clone(),
        };
        // Never dropped midway: what it claims must come into our hands. The
        // wait is polled beside it, for the reason given above.
        let mut claim = engine.client.backend().claim(&request);
        let claimed = loop {
            tokio::select! {
                biased;
                claimed = &mut claim => break claimed,
                done = &mut wait, if noticed.is_none() => noticed = Some(done),
            }
        };
        drop(claim);
        match claimed {
            Ok(jobs) => {
                engine.succeeded(Operation::Claim);
                errors = error_waits();
                let claimed = jobs.len();
                last_claimed = claimed;
                hand_over(&engine, jobs);
                if claimed > 0 {
                    idle_wait = SHORTEST_WAIT;
                }
                if claimed == limit {
                    waiting = noticed.is_none().then_some(wait);
                    continue;
                }
            }
            Err(error) => {
                engine.failed(Operation::Claim, &error);
                pause(&engine, errors.next()).await;
                continue;
            }
        }
        // The queues had less than we asked for: wait for more.
        match noticed {
            Some(Ok(())) => engine.succeeded(Operation::Wait),
            Some(Err(error)) => {
                engine.failed(Operation::Wait, &error);
                pause(&engine, errors.next()).await;
            }
            None => tokio::select! {
                done = &mut wait => match done {
                    Ok(()) => {
                        engine.succeeded(Operation::Wait);
                        idle_wait = (idle_wait * 2).min(LONGEST_WAIT);
                    }
                    Err(error) => {
                        engine.failed(Operation::Wait, &error);
                        pause(&engine, errors.next()).await;
                    }
                },
                () = engine.stopping.cancelled() => {}
            },
        }
    }
}

/// Ends when the wait does; never where there is none.
async fn under_way(waiting: &mut Option<Waiting>) -> Result<(), Error> {
    match waiting {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

fn error_waits() -> Waits {
    Waits::new(Duration::from_millis(50), Duration::from_secs(3))
}

/// How many jobs to claim now; 0 while it is better to wait for more room.
fn limit(engine: &Engine, prefetch: usize) -> usize {
    if engine.settling.len() > MAX_UNSETTLED {
        return 0;
    }
    let (buffered, spare) = (engine.buffer.pop.len(), engine.spare(prefetch));
    // With jobs in hand, wait until a claim is worth its round trip.
    if buffered > 0 && buffered > prefetch / 2 {
        0
    } else {
        spare.min(MAX_CLAIM)
    }
}

/// The worker's queues, starting with another one each time, so that none
/// starves behind a full one.
fn in_turn(engine: &Engine, turn: &mut usize) -> Vec<crate::QueueName> {
    let mut queues = engine.settings.queues.clone();
    let first = *turn % queues.len();
    *turn = turn.wrapping_add(1);
    queues.rotate_left(first);
    queues
}

fn wait_for_work(engine: &Engine, idle_wait: Duration) -> Waiting {
    let backend = Arc::clone(engine.client.shared_backend());
    let push = backend.capabilities().has(Capability::Push);
    let request = WaitRequest {
        queues: engine.settings.queues.clone(),
        timeout: if push { LONGEST_WAIT } else { idle_wait },
        worker: engine.settings.id.clone(),
    };
    async move { backend.wait_for_work(&request).await }.boxed()
}

fn hand_over(engine: &Engine, jobs: Vec<crate::ClaimedJob>) {
    let scopes: Vec<_> = jobs
        .into_iter()
        .map(|job| Arc::new(JobScope::new(job)))
        .collect();
    // Held before any slot sees it: the heartbeat covers it from now on.
    engine.held.add(&scopes);
    for scope in scopes {
        // Closed only after this task has ended.
        let _ = engine.buffer.push.try_send(scope);
    }
}

async fn pause(engine: &Engine, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = engine.stopping.cancelled() => {}
    }
}
