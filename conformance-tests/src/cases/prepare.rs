//! Preparing and opening the storage.

use anyqueue_core::State;

use crate::asserts::{Verdict, same};
use crate::case::cases;
use crate::samples::{FAR, fail};
use crate::samples::{complete, delayed, job};
use crate::store::{Store, together};

cases! { "prepare";
    law prepare "prepare is safe to run from many processes at once and again at any time; it never loses or changes jobs" {
        many_at_once_on_an_empty_store;
        again_keeps_every_job;
        beside_running_work;
        two_stores_do_not_mix;
    }
    law reopen "reopen gives a second handle on the same store with connections of its own" {
        sees_the_same_jobs;
        outlives_the_first_handle;
    }
}

async fn many_at_once_on_an_empty_store(store: Store) -> Verdict {
    let store = store.sibling();
    let mut all = Vec::new();
    for _ in 0..8 {
        let handle = store.open_bare().await?;
        all.push(async move {
            handle.prepare().await?;
            handle.put(&job("q")).await
        });
    }
    let mut ids = together(all).await?;
    let handle = store.open().await?;
    let mut claimed = handle.claim_ids("q", 100).await?;
    ids.sort();
    claimed.sort();
    same("the jobs enqueued by all processes", claimed, ids)
}

async fn again_keeps_every_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut ids = vec![
        a.run("q", complete()).await?.id,
        a.run("q", fail()).await?.id,
        a.put_and_take("q").await?.token.id,
    ];
    ids.push(a.put(&job("q")).await?);
    ids.push(a.put(&delayed("q", FAR)).await?);
    let before = a.records(&ids).await?;
    a.prepare().await?;
    let b = store.open().await?;
    b.prepare().await?;
    same("the records after prepare", b.records(&ids).await?, before)
}

async fn beside_running_work(store: Store) -> Verdict {
    let a = store.open().await?;
    let work = {
        let a = a.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                a.run("q", complete()).await?;
            }
            Ok::<_, crate::asserts::Failure>(())
        })
    };
    let b = store.open_bare().await?;
    for _ in 0..5 {
        b.prepare().await?;
    }
    work.await??;
    b.claims_none("q").await
}

async fn two_stores_do_not_mix(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.sibling().open().await?);
    let id = a.put(&job("q")).await?;
    same("the other store's record", b.find(id).await?, None)?;
    b.claims_none("q").await?;
    a.in_state(id, State::Ready).await.map(drop)
}

async fn sees_the_same_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let b = a.reopened().await?;
    let id = a.put(&job("q")).await?;
    let token = b.take("q").await?.token;
    same("the job claimed by the second handle", token.id, id)?;
    b.accepted(token, complete()).await?;
    a.in_state(id, State::Completed).await.map(drop)
}

async fn outlives_the_first_handle(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    let b = a.reopened().await?;
    drop(a);
    let token = b.take("q").await?.token;
    same("the claimed job", token.id, id)?;
    b.accepted(token, complete()).await
}
