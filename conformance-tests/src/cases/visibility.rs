//! Reads see writes; writes survive their handles.

use anyqueue_core::{Capability, Durability, Filter, State};

use crate::asserts::{Failure, Verdict, same};
use crate::case::cases;
use crate::samples::{FAR, complete, delayed, fail, job, jobs};
use crate::store::Store;

cases! { "visibility";
    law reads_see_writes "a call begun after another was acknowledged sees its effect, in any process" {
        get_and_claim_after_enqueue;
        get_after_claim_and_settle;
        list_and_counts_after_each_step [List, Counts];
        the_same_handle_at_once;
    }
    law durability "an acknowledged enqueue or settle survives what the backend's durability says" {
        of_a_job_when_all_handles_are_gone;
        of_every_state_when_all_handles_are_gone;
        of_a_pause_when_all_handles_are_gone [Pause];
        is_the_same_for_all_handles;
    }
}

async fn get_and_claim_after_enqueue(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..50 {
        let id = a.put(&job("q")).await?;
        b.in_state(id, State::Ready).await?;
        same("the job claimed by the other", b.take("q").await?.token.id, id)?;
    }
    Ok(())
}

async fn get_after_claim_and_settle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for _ in 0..30 {
        let token = a.put_and_take("q").await?.token;
        b.in_state(token.id, State::Running).await?;
        b.claims_none("q").await?;
        a.accepted(token, complete()).await?;
        b.in_state(token.id, State::Completed).await?;
    }
    Ok(())
}

async fn list_and_counts_after_each_step(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for round in 1..=15 {
        let id = a.put(&job("q")).await?;
        let ready = b.list_all(&Filter::any().state(State::Ready), 9).await?;
        let ready: Vec<_> = ready.iter().map(|record| record.id).collect();
        same("the ready jobs listed", ready, vec![id])?;
        let token = a.take("q").await?.token;
        same("the running jobs counted", b.count("q").await?.get(State::Running), 1)?;
        a.accepted(token, complete()).await?;
        let counts = b.count("q").await?;
        same("the running jobs counted", counts.get(State::Running), 0)?;
        same("the completed jobs counted", counts.get(State::Completed), round)?;
    }
    Ok(())
}

async fn the_same_handle_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    for _ in 0..50 {
        let token = a.put_and_take("q").await?.token;
        a.accepted(token, complete()).await?;
        a.in_state(token.id, State::Completed).await?;
    }
    Ok(())
}

/// Ignores the case where the store may end with its handles.
fn outlives_its_handles(durability: Durability) -> Verdict {
    if durability > Durability::Process {
        return Ok(());
    }
    let reason = "because the backend does not offer durability beyond its process";
    Err(Failure::ignored(reason))
}

async fn of_a_job_when_all_handles_are_gone(store: Store) -> Verdict {
    let a = store.open().await?;
    outlives_its_handles(a.capabilities().durability())?;
    let ids = a.put_all(&jobs("q", 3)).await?;
    let before = a.records(&ids).await?;
    drop(a);
    let b = store.open().await?;
    same("the records", b.records(&ids).await?, before)?;
    same("the claimed jobs", b.claim_ids("q", 9).await?, ids)
}

async fn of_every_state_when_all_handles_are_gone(store: Store) -> Verdict {
    let a = store.open().await?;
    outlives_its_handles(a.capabilities().durability())?;
    let running = a.put_and_take("q").await?.token;
    let mut ids = vec![running.id, a.run("q", complete()).await?.id, a.run("q", fail()).await?.id];
    ids.extend(a.put_all(&[job("q"), delayed("q", FAR)]).await?);
    if a.capabilities().has(Capability::Cancel) {
        let id = a.put(&job("q")).await?;
        a.cancel_one(id).await?;
        ids.push(id);
    }
    let before = a.records(&ids).await?;
    drop(a);
    let b = store.open().await?;
    same("the records", b.records(&ids).await?, before)?;
    b.accepted(running, complete()).await
}

async fn of_a_pause_when_all_handles_are_gone(store: Store) -> Verdict {
    let a = store.open().await?;
    outlives_its_handles(a.capabilities().durability())?;
    a.put(&job("q")).await?;
    a.flow("q", anyqueue_core::Flow::Paused).await?;
    drop(a);
    store.open().await?.claims_none("q").await
}

async fn is_the_same_for_all_handles(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let c = a.reopened().await?;
    same("another handle's capabilities", b.capabilities(), a.capabilities())?;
    same("a reopened handle's capabilities", c.capabilities(), a.capabilities())
}
