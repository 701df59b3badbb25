//! Pausing a queue.

use anyqueue_core::{Flow, Holding, Outcome, State};

use crate::asserts::{Verdict, same};
use crate::case::cases;
use crate::samples::{LONG, SHORT, SOON, complete, delayed, job, jobs};
use crate::store::Store;

cases! { "pause";
    law pause "pause is stored: no claim begun after the answer takes from a paused queue, in any process; enqueues are accepted, running jobs go on, an unknown queue can be paused beforehand" {
        a_paused_queue_gives_none [Pause];
        every_handle_obeys [Pause];
        enqueues_are_accepted [Pause];
        running_jobs_go_on [Pause];
        other_queues_go_on [Pause];
        an_unknown_queue_can_be_paused [Pause];
        nor_are_due_or_expired_jobs_given [Pause];
        resume_gives_all_in_order [Pause];
        twice_is_as_once [Pause];
        a_new_handle_obeys [Pause];
    }
}

async fn a_paused_queue_gives_none(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    a.flow("q", Flow::Paused).await?;
    a.claims_none("q").await?;
    a.in_state(id, State::Ready).await.map(drop)
}

async fn every_handle_obeys(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    handles[0].put_all(&jobs("q", 9)).await?;
    for pausing in &handles {
        pausing.flow("q", Flow::Paused).await?;
        for handle in &handles {
            handle.claims_none("q").await?;
        }
        pausing.flow("q", Flow::Open).await?;
        handles[0].take("q").await?;
    }
    Ok(())
}

async fn enqueues_are_accepted(store: Store) -> Verdict {
    let a = store.open().await?;
    a.flow("q", Flow::Paused).await?;
    let id = a.put(&job("q")).await?;
    a.in_state(id, State::Ready).await?;
    a.claims_none("q").await
}

async fn running_jobs_go_on(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 2)).await?;
    let (first, second) = (a.take("q").await?.token, a.take("q").await?.token);
    a.flow("q", Flow::Paused).await?;
    same("the heartbeat", a.beat(first, LONG).await?, Holding::Held)?;
    a.accepted(first, complete()).await?;
    a.accepted(second, Outcome::Release).await?;
    a.in_state(first.id, State::Completed).await?;
    a.in_state(second.id, State::Ready).await?;
    a.claims_none("q").await
}

async fn other_queues_go_on(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let ids = a.put_all(&jobs("other", 2)).await?;
    a.flow("q", Flow::Paused).await?;
    let claimed = a.claim_from(&["q", "other"], 9, LONG).await?;
    same("the claimed jobs", claimed.iter().map(|job| job.token.id).collect::<Vec<_>>(), ids)
}

async fn an_unknown_queue_can_be_paused(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.flow("q", Flow::Paused).await?;
    b.put(&job("q")).await?;
    b.claims_none("q").await?;
    b.flow("q", Flow::Open).await?;
    b.flow("never seen", Flow::Open).await?;
    a.take("q").await.map(drop)
}

async fn nor_are_due_or_expired_jobs_given(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    let due = a.put(&delayed("q", SOON)).await?;
    a.flow("q", Flow::Paused).await?;
    a.outlive(&claimed).await?;
    a.pass(a.record(due).await?.due_at).await?;
    a.claims_none("q").await?;
    a.maintain_all().await?;
    a.claims_none("q").await
}

async fn resume_gives_all_in_order(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let mut ids = a.put_all(&jobs("q", 3)).await?;
    a.flow("q", Flow::Paused).await?;
    ids.extend(a.put_all(&jobs("q", 3)).await?);
    b.flow("q", Flow::Open).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, ids)
}

async fn twice_is_as_once(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    for _ in 0..2 {
        a.flow("q", Flow::Paused).await?;
    }
    a.claims_none("q").await?;
    for _ in 0..2 {
        a.flow("q", Flow::Open).await?;
    }
    a.take("q").await.map(drop)
}

async fn a_new_handle_obeys(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    a.flow("q", Flow::Paused).await?;
    store.open().await?.claims_none("q").await?;
    a.reopened().await?.claims_none("q").await
}
