//! Futures dropped at any await leave no connection in a transaction, and the
//! pool usable.

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use anyqueue_core::{Backend as _, Filter, MaintainLimits, Outcome, Page, Settlement};
use anyqueue_postgres::sqlx::{Row as _, query};
use common::{HANG, LONG, Place, claim, complete, created, jobs, request};

/// Polls the call this often, each time it asks for it, and drops it.
async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_leaves_a_transaction_open() {
    let mut place = Place::new();
    place.config.pool = 3;
    let name = format!("drops-{}", std::process::id());
    place.config.connect = place.config.connect.clone().application_name(&name);
    let backend = place.store().await;
    for polls in 0..24 {
        let new = jobs(3);
        // A batch that names a job twice is a transaction of several statements.
        let twice = [new[0].clone(), new[1].clone(), new[0].clone()];
        let _ = dropped_after(polls, backend.enqueue(&new)).await;
        let _ = dropped_after(polls, backend.enqueue(&twice)).await;
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        let _ = dropped_after(polls, backend.claim(&request(1, LONG))).await;
        let claimed = claim(&backend, 2).await;
        let tokens: Vec<_> = claimed.iter().map(|job| job.token).collect();
        let _ = dropped_after(polls, backend.heartbeat(&tokens, LONG)).await;
        let release = |job: &anyqueue_core::ClaimedJob| Settlement {
            token: job.token,
            outcome: Outcome::Release,
        };
        let mut batch: Vec<_> = claimed.iter().map(release).collect();
        batch.extend(complete(&claimed));
        let _ = dropped_after(polls, backend.settle(&batch)).await;
        let _ = dropped_after(polls, backend.cancel(&[new[0].id])).await;
        let _ = dropped_after(polls, backend.retry(&[new[0].id])).await;
        let _ = dropped_after(polls, backend.get(&[new[0].id])).await;
        let _ = dropped_after(polls, backend.list(&Filter::any(), &Page::default())).await;
        let _ = dropped_after(polls, backend.counts()).await;
        let _ = dropped_after(polls, backend.maintain(&MaintainLimits::default())).await;
        let _ = dropped_after(polls, backend.wait_for_change(&[new[0].id], LONG)).await;
        let _ = dropped_after(polls, backend.prepare()).await;
    }
    // All connections can be used, and none is left in a transaction: calls
    // whose future was dropped may still be on their way to their end.
    let calls = (0..12).map(|_| backend.counts());
    let counts = tokio::time::timeout(HANG, futures::future::try_join_all(calls));
    counts.await.expect("the pool is usable").unwrap();
    let mut conn = place.connection().await;
    let open = "SELECT count(*) FILTER (WHERE state <> 'idle'), count(*),
                       count(*) FILTER (WHERE state LIKE 'idle in%')
                FROM pg_stat_activity
                WHERE application_name = $1 AND pid <> pg_backend_pid()
                  AND backend_type = 'client backend'";
    let quiet = async {
        loop {
            let row = query(open).bind(&name).fetch_one(&mut conn).await.unwrap();
            let (busy, all, open): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            if busy == 0 {
                return (all, open);
            }
            tokio::task::yield_now().await;
        }
    };
    let (all, open) = tokio::time::timeout(HANG, quiet)
        .await
        .expect("all come to their end");
    assert_eq!(open, 0, "idle in transaction");
    assert!((1..=4).contains(&all), "{all} connections");
}
