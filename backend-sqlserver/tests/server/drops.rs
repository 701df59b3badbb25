//! Futures dropped at any await leave no connection in a transaction, and the
//! pool usable.

use anyqueue_core::{Backend as _, Filter, MaintainLimits, Outcome, Page, Settlement, State};
use anyqueue_sqlserver::SqlServerBackend;

use crate::common::{
    HANG, LONG, Place, claim, complete, counts, created, dropped_after, jobs, request, tests,
};

tests! {
    no_call_leaves_a_connection_behind
}

async fn no_call_leaves_a_connection_behind() {
    let place = Place::new();
    let other = place.store().await;
    let (_proxy, mut config) = place.by_proxy().await;
    config.pool = 2;
    let backend = SqlServerBackend::open(config);
    let mut acknowledged = 0;
    for polls in (0..16).chain([20, 26, 34]) {
        let new = jobs(3);
        // A batch that names a job twice is a transaction of several statements.
        let twice = [new[0].clone(), new[1].clone(), new[0].clone()];
        let _ = dropped_after(polls, backend.enqueue(&new)).await;
        let _ = dropped_after(polls, backend.enqueue(&twice)).await;
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        acknowledged += new.len() as u64;
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
    // All connections can be used, at the same time and again.
    let calls = (0..8).map(|_| backend.counts());
    let used = tokio::time::timeout(HANG, futures::future::try_join_all(calls));
    used.await.expect("the pool is usable").unwrap();
    // Nothing that a dropped call has locked is still locked, and none is doubled.
    let total = counts(&other).await.total();
    assert_eq!(total, acknowledged);
    let all = async {
        let mut done = 0;
        loop {
            let claimed = claim(&other, 500).await;
            if claimed.is_empty() {
                break done;
            }
            done += claimed.len();
            other.settle(&complete(&claimed)).await.unwrap();
        }
    };
    let waiting = tokio::time::timeout(HANG, all).await;
    waiting.expect("no lock is left");
    let ended = counts(&other).await;
    let waits = ended.get(State::Ready) + ended.get(State::Scheduled);
    assert_eq!((waits, ended.total()), (0, acknowledged));
}
