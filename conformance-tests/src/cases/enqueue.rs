//! Enqueueing: what is stored, in which order answered, and repeated.

use anyqueue_core::{Enqueued, JobRecord, NewJob, Outcome, Progress, RetryPolicy, Schedule, State};

use crate::asserts::{Verdict, holds, same, same_set};
use crate::case::cases;
use crate::samples::{LONG, complete, full, job, jobs, payload, unique};
use crate::store::Store;

cases! { "enqueue";
    law enqueue "enqueue makes each job `ready`, or `scheduled` where it is due later, and reports `Created`; all of a call's jobs are stored, or none and an error" {
        stores_every_field;
        defaults_are_stored;
        answers_in_the_order_of_the_items;
        an_empty_batch_answers_nothing;
        a_batch_of_a_thousand;
        a_batch_of_two_thousand_five_hundred;
        many_queues_in_one_batch;
    }
    law enqueue_repeat "an id that the store knows is answered `Created` and changes nothing" {
        makes_no_second_job;
        with_other_contents_changes_nothing;
        of_a_running_job_changes_nothing;
        of_a_finished_job_changes_nothing;
        twice_in_one_batch;
        beside_new_jobs;
        amid_a_hundred_new_jobs;
        first_without_a_key_then_with_one [Unique];
    }
    law get "get answers each id with its record, or `None`" {
        in_the_order_of_the_ids;
        an_empty_list_of_ids;
    }
}

/// The record that a store shows of a job just enqueued, times aside.
fn fresh(job: &NewJob, stored: &JobRecord) -> JobRecord {
    let job = job.clone();
    JobRecord {
        id: job.id,
        queue: job.queue,
        kind: job.kind,
        payload: job.payload,
        priority: job.priority,
        state: State::Ready,
        attempt: 0,
        counter: 0,
        retry: job.retry,
        created_at: stored.created_at,
        due_at: stored.created_at,
        claimed_at: None,
        lease_until: None,
        worker: None,
        finished_at: None,
        cancel_requested: false,
        snooze_reason: None,
        progress: Progress::default(),
        result: None,
        errors: vec![],
        unique: job.unique,
        tags: job.tags,
        trace: job.trace,
    }
}

async fn stores_every_field(store: Store) -> Verdict {
    let a = store.open().await?;
    let job = full("q");
    a.put(&job).await?;
    let record = a.record(job.id).await?;
    let expected = fresh(&job, &record);
    same("the record", record, expected)
}

async fn defaults_are_stored(store: Store) -> Verdict {
    let a = store.open().await?;
    let job = NewJob {
        retry: RetryPolicy::default(),
        ..job("q")
    };
    a.put(&job).await?;
    let record = a.record(job.id).await?;
    let expected = fresh(&job, &record);
    same("the record", record, expected)
}

async fn answers_in_the_order_of_the_items(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut batch = jobs("q", 20);
    batch.reverse();
    a.put_all(&batch).await.map(drop)
}

async fn an_empty_batch_answers_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    same("the answers to enqueue", a.enqueue(&[]).await?, vec![])?;
    same(
        "the answers to heartbeat",
        a.heartbeat(&[], LONG).await?,
        vec![],
    )?;
    same("the answers to settle", a.settle(&[]).await?, vec![])?;
    same("the answers to get", a.get(&[]).await?, vec![])
}

async fn a_batch_of_a_thousand(store: Store) -> Verdict {
    every_one_is_claimed(&store, 1_000).await
}

async fn a_batch_of_two_thousand_five_hundred(store: Store) -> Verdict {
    every_one_is_claimed(&store, 2_500).await
}

async fn every_one_is_claimed(store: &Store, count: usize) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", count)).await?;
    same("the records known", a.records(&ids).await?.len(), count)?;
    let mut claimed = Vec::new();
    loop {
        let some = a.claim_ids("q", 1_000).await?;
        if some.is_empty() {
            break;
        }
        claimed.extend(some);
    }
    same_set("the claimed jobs", claimed, ids)
}

async fn many_queues_in_one_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    let batch: Vec<_> = ["b", "a", "c", "a", "b"].map(job).into();
    let ids = a.put_all(&batch).await?;
    same(
        "the jobs of a",
        a.claim_ids("a", 9).await?,
        vec![ids[1], ids[3]],
    )?;
    same(
        "the jobs of b",
        a.claim_ids("b", 9).await?,
        vec![ids[0], ids[4]],
    )?;
    same("the jobs of c", a.claim_ids("c", 9).await?, vec![ids[2]])
}

async fn makes_no_second_job(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let job = full("q");
    for handle in [&a, &b, &a] {
        handle.put(&job).await?;
    }
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![job.id])?;
    a.claims_none("q").await
}

async fn with_other_contents_changes_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = job("q");
    a.put(&first).await?;
    let before = a.record(first.id).await?;
    let schedule = Schedule::After(LONG);
    a.put(&NewJob {
        payload: payload("[2]"),
        schedule,
        ..first.clone()
    })
    .await?;
    same("the record", a.record(first.id).await?, before)
}

async fn of_a_running_job_changes_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let job = job("q");
    a.put(&job).await?;
    a.take("q").await?;
    let before = a.record(job.id).await?;
    a.put(&job).await?;
    same("the record", a.record(job.id).await?, before)?;
    a.claims_none("q").await
}

async fn of_a_finished_job_changes_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    for outcome in [complete(), crate::samples::fail()] {
        let job = job("q");
        a.put(&job).await?;
        let token = a.take("q").await?.token;
        a.accepted(token, outcome).await?;
        let before = a.record(job.id).await?;
        a.put(&job).await?;
        same("the record", a.record(job.id).await?, before)?;
        a.claims_none("q").await?;
    }
    Ok(())
}

async fn twice_in_one_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    let (one, two) = (job("q"), job("q"));
    let batch = [one.clone(), two.clone(), one.clone()];
    let expected: Vec<_> = batch.iter().map(|job| Enqueued::Created(job.id)).collect();
    same("the answers", a.enqueue(&batch).await?, expected)?;
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![one.id, two.id],
    )
}

async fn beside_new_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let (old, new) = (job("q"), job("q"));
    a.put(&old).await?;
    let token = a.take("q").await?.token;
    a.accepted(token, Outcome::Release).await?;
    a.put_all(&[new.clone(), old.clone()]).await?;
    same_set(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        [old.id, new.id],
    )
}

async fn amid_a_hundred_new_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let new = jobs("q", 100);
    a.put_all(&[new[3].clone(), new[40].clone()]).await?;
    let mut batch = new.clone();
    batch.insert(90, new[60].clone());
    let expected: Vec<_> = batch.iter().map(|job| Enqueued::Created(job.id)).collect();
    same("the answers", a.enqueue(&batch).await?, expected)?;
    same_set(
        "the claimed jobs",
        a.claim_ids("q", 200).await?,
        new.iter().map(|job| job.id),
    )
}

async fn first_without_a_key_then_with_one(store: Store) -> Verdict {
    let a = store.open().await?;
    let plain = job("q");
    let keyed = NewJob {
        id: plain.id,
        ..unique("q", "k")
    };
    let expected = vec![Enqueued::Created(plain.id); 2];
    same("the answers", a.enqueue(&[plain, keyed]).await?, expected)?;
    // The repetition took no key.
    a.put(&unique("q", "k")).await.map(drop)
}

async fn in_the_order_of_the_ids(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 3)).await?;
    let unknown = job("q").id;
    let asked = [ids[2], unknown, ids[0], ids[2], ids[1]];
    let found: Vec<_> = a
        .get(&asked)
        .await?
        .iter()
        .map(|r| r.as_ref().map(|r| r.id))
        .collect();
    let expected = asked.map(|id| (id != unknown).then_some(id)).to_vec();
    same("the ids of the records", found, expected)
}

async fn an_empty_list_of_ids(store: Store) -> Verdict {
    let a = store.open().await?;
    holds(
        "get of nothing answers nothing",
        a.get(&[]).await?.is_empty(),
    )
}
