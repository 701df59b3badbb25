//! Unique keys: who holds one, where, and until when.

use std::time::Duration;

use anyqueue_core::{
    Enqueued, JobId, NewJob, Outcome, Retention, Retried, State, Unique, UniquePolicy,
};

use crate::asserts::{Failure, Verdict, eventually, holds, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, SOON, complete, fail, job, retry, snooze, unique, unique_for};
use crate::store::{Store, together};

cases! { "unique";
    law unique "a key that an unfinished or still-in-period job of the same queue holds is answered `Existing` with that job's id, and the job is not stored; atomically" {
        a_held_key_answers_existing [Unique];
        is_held_in_every_unfinished_state [Unique];
        is_freed_by_complete [Unique];
        is_freed_by_fail [Unique];
        is_freed_by_cancel [Unique, Cancel];
        is_freed_by_the_end_of_a_flagged_job [Unique, Cancel];
        is_freed_by_the_last_lease_s_expiry [Unique];
        its_scope_is_the_queue [Unique];
        other_keys_and_no_key_are_free [Unique];
        within_a_batch_the_first_item_wins [Unique];
        a_repeated_enqueue_of_the_holder_is_created [Unique];
        of_eight_at_once_exactly_one_is_created [Unique];
        the_record_shows_key_and_policy [Unique];
    }
    law unique_period "for a period, counted from the enqueue, whatever becomes of the job; purging does not free the key earlier" {
        survives_completion [Unique];
        survives_purge [Unique, Purge];
        a_purged_holder_enqueued_again_is_created_and_not_run [Unique, Purge];
        is_over_in_time_while_the_job_waits [Unique];
        meets_the_other_policy [Unique];
    }
    law retry_by_hand "a key that is held while unfinished is taken again, or answers `Existing` where another job holds it; a key for a period is left as it is, since its period counts from the enqueue" {
        takes_its_key_again [Unique, Retry];
        answers_existing_where_another_holds_it [Unique, Retry];
        leaves_a_key_for_a_period_as_it_is [Unique, Retry];
    }
}

/// The key is held by this job.
async fn is_held(a: &Handle, by: JobId) -> Verdict {
    let other = unique("q", "k");
    same(
        "the answer",
        a.enqueue_one(&other).await?,
        Enqueued::Existing(by),
    )?;
    same(
        "the record of the job not stored",
        a.find(other.id).await?,
        None,
    )
}

/// The key is free; it is taken and the id of its new holder returned.
async fn is_free(a: &Handle) -> Verdict {
    a.put(&unique("q", "k")).await.map(drop)
}

async fn a_held_key_answers_existing(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let id = a.put(&unique("q", "k")).await?;
    is_held(&a, id).await?;
    is_held(&b, id).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![id])
}

async fn is_held_in_every_unfinished_state(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique("q", "k")).await?;
    for outcome in [Outcome::Release, retry(Duration::ZERO), snooze(FAR)] {
        is_held(&a, id).await?;
        let token = a.take("q").await?.token;
        is_held(&a, id).await?;
        a.accepted(token, outcome).await?;
    }
    a.in_state(id, State::Scheduled).await?;
    is_held(&a, id).await
}

async fn is_freed_by_complete(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&unique("q", "k")).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    is_free(&a).await
}

async fn is_freed_by_fail(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&unique("q", "k")).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, fail()).await?;
    is_free(&a).await
}

async fn is_freed_by_cancel(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique("q", "k")).await?;
    a.cancel_one(id).await?;
    is_free(&a).await
}

async fn is_freed_by_the_end_of_a_flagged_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique("q", "k")).await?;
    let token = a.take("q").await?.token;
    a.cancel_one(id).await?;
    is_held(&a, id).await?;
    a.accepted(token, Outcome::Release).await?;
    is_free(&a).await
}

async fn is_freed_by_the_last_lease_s_expiry(store: Store) -> Verdict {
    let a = store.open().await?;
    let retry = crate::samples::attempts("q", 1).retry;
    a.put(&NewJob {
        retry,
        ..unique("q", "k")
    })
    .await?;
    let claimed = a.take_for("q", SOON).await?;
    a.outlive(&claimed).await?;
    a.maintain_all().await?;
    a.in_state(claimed.token.id, State::Failed).await?;
    is_free(&a).await
}

async fn its_scope_is_the_queue(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique("q", "k")).await?;
    a.put(&unique("other", "k")).await?;
    is_held(&a, id).await
}

async fn other_keys_and_no_key_are_free(store: Store) -> Verdict {
    let a = store.open().await?;
    let batch = [
        unique("q", "k"),
        unique("q", "K"),
        unique("q", "k2"),
        job("q"),
        job("q"),
    ];
    a.put_all(&batch).await.map(drop)
}

async fn within_a_batch_the_first_item_wins(store: Store) -> Verdict {
    let a = store.open().await?;
    let batch = [
        unique("q", "a"),
        unique("q", "b"),
        unique("q", "a"),
        unique("q", "a"),
    ];
    let (first, second) = (batch[0].id, batch[1].id);
    let expected = vec![
        Enqueued::Created(first),
        Enqueued::Created(second),
        Enqueued::Existing(first),
        Enqueued::Existing(first),
    ];
    same("the answers", a.enqueue(&batch).await?, expected)?;
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![first, second],
    )
}

async fn a_repeated_enqueue_of_the_holder_is_created(store: Store) -> Verdict {
    let a = store.open().await?;
    let holder = unique("q", "k");
    a.put(&holder).await?;
    a.put(&holder).await?;
    let token = a.take("q").await?.token;
    a.put(&holder).await?;
    a.accepted(token, complete()).await?;
    a.put(&holder).await?;
    is_free(&a).await
}

async fn of_eight_at_once_exactly_one_is_created(store: Store) -> Verdict {
    let handles = store.open_many(8).await?;
    for round in 0..10 {
        let key = format!("k{round}");
        let work = handles.iter().map(|handle| {
            let (handle, job) = (handle.clone(), unique("q", &key));
            async move { handle.enqueue_one(&job).await }
        });
        let answers = together(work.collect()).await?;
        let created = answers
            .iter()
            .filter(|answer| matches!(answer, Enqueued::Created(_)));
        same("how many were created", created.count(), 1)?;
        let first = answers[0].id();
        let one = answers.iter().all(|answer| answer.id() == first);
        holds("all answers name the same job", one)?;
        same(
            "the claimed jobs",
            handles[0].claim_ids("q", 9).await?,
            vec![first],
        )?;
    }
    Ok(())
}

async fn the_record_shows_key_and_policy(store: Store) -> Verdict {
    let a = store.open().await?;
    for job in [
        unique("q", "a"),
        unique_for("q", "b", Duration::from_secs(90)),
    ] {
        a.put(&job).await?;
        same(
            "the key of the record",
            a.record(job.id).await?.unique,
            job.unique,
        )?;
    }
    Ok(())
}

async fn survives_completion(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique_for("q", "k", FAR)).await?;
    for outcome in [retry(Duration::ZERO), complete()] {
        is_held(&a, id).await?;
        let token = a.take("q").await?.token;
        a.accepted(token, outcome).await?;
    }
    is_held(&a, id).await
}

async fn survives_purge(store: Store) -> Verdict {
    let a = store.open().await?;
    let holder = purged(&a).await?;
    is_held(&a, holder.id).await
}

async fn a_purged_holder_enqueued_again_is_created_and_not_run(store: Store) -> Verdict {
    let a = store.open().await?;
    let holder = purged(&a).await?;
    a.put(&holder).await?;
    a.claims_none("q").await?;
    is_held(&a, holder.id).await
}

/// A job that holds its key for a long period, completed and purged.
async fn purged(a: &Handle) -> Result<NewJob, Failure> {
    let holder = unique_for("q", "k", FAR);
    a.put(&holder).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    eventually("the job is purged", async || {
        a.maintain_with(1_000, Retention::all(Duration::ZERO))
            .await?;
        Ok(a.find(holder.id).await?.is_none().then_some(()))
    })
    .await?;
    Ok(holder)
}

async fn is_over_in_time_while_the_job_waits(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = a.put(&unique_for("q", "k", SOON)).await?;
    let second = eventually("the key is free again", async || {
        let next = unique_for("q", "k", FAR);
        let answer = a.enqueue_one(&next).await?;
        Ok(match answer {
            Enqueued::Created(id) => Some(id),
            Enqueued::Existing(_) => None,
        })
    })
    .await?;
    let records = a.records(&[first, second]).await?;
    let gap = records[1].created_at.since(records[0].created_at);
    holds(
        "the key was not freed before the period was over",
        gap >= SOON,
    )?;
    is_held(&a, second).await?;
    // The end of the former holder does not free the key of the new one.
    let token = a.take("q").await?.token;
    same("the claimed job", token.id, first)?;
    a.accepted(token, complete()).await?;
    is_held(&a, second).await
}

async fn meets_the_other_policy(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique("q", "k")).await?;
    let other = unique_for("q", "k", FAR);
    same(
        "the answer",
        a.enqueue_one(&other).await?,
        Enqueued::Existing(id),
    )?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    let id = a.put(&other).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, complete()).await?;
    is_held(&a, id).await
}

async fn takes_its_key_again(store: Store) -> Verdict {
    let a = store.open().await?;
    let holder = unique("q", "k");
    a.put(&holder).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, fail()).await?;
    same(
        "the answer to retry",
        a.retry_one(holder.id).await?,
        Retried::Ready,
    )?;
    is_held(&a, holder.id).await
}

async fn answers_existing_where_another_holds_it(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = a.put(&unique("q", "k")).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, fail()).await?;
    let second = a.put(&unique("q", "k")).await?;
    let before = a.record(first).await?;
    same(
        "the answer to retry",
        a.retry_one(first).await?,
        Retried::Existing(second),
    )?;
    same("the record", a.record(first).await?, before)?;
    let Some(Unique { policy, .. }) = a.record(second).await?.unique else {
        return holds("the other job has its key", false);
    };
    same(
        "the policy of the other",
        policy,
        UniquePolicy::WhileUnfinished,
    )?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![second])
}

async fn leaves_a_key_for_a_period_as_it_is(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&unique_for("q", "k", SOON)).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, fail()).await?;
    a.pass(a.record(id).await?.created_at.after(SOON)).await?;
    let next = a.put(&unique("q", "k")).await?;
    same(
        "the answer to retry",
        a.retry_one(id).await?,
        Retried::Ready,
    )?;
    is_held(&a, next).await?;
    a.in_state(id, State::Ready).await.map(drop)
}
