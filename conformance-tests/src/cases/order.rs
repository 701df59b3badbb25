//! The order of claims within a queue.

use std::time::Duration;

use anyqueue_core::{JobId, NewJob, Outcome, Priority, Retention, Retried};

use crate::asserts::{Verdict, same};
use crate::case::cases;
use crate::samples::{SOON, delayed, fail, job, jobs, retry};
use crate::store::Store;

cases! { "order";
    law claim_order "within a queue by priority (highest first), then due time, then enqueue order" {
        priority_first [Priority];
        priority_then_due_then_enqueue [Priority];
        old_low_after_new_urgent [Priority];
        enqueue_order_across_calls;
        enqueue_order_within_a_batch_whatever_the_ids;
        enqueue_order_claimed_one_by_one;
        due_time_before_enqueue_order;
        promoted_jobs_by_due_time;
        a_retried_job_goes_behind_those_due_before;
        a_retried_job_keeps_its_priority [Priority];
        retry_by_hand_is_due_now [Retry];
    }
}

fn with(priority: Priority) -> NewJob {
    NewJob {
        priority,
        ..job("q")
    }
}

async fn priority_first(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut expected = Vec::new();
    for priority in Priority::ALL {
        expected.push(a.put(&with(priority)).await?);
    }
    expected.reverse();
    same("the claimed jobs", a.claim_ids("q", 9).await?, expected)
}

async fn priority_then_due_then_enqueue(store: Store) -> Verdict {
    use Priority::{High, Low, Normal, Urgent};
    let a = store.open().await?;
    let order = [Low, High, Normal, Urgent, High, Low, Urgent, Normal];
    let first = a.put_all(&order.map(with)).await?;
    let second = a.put_all(&order.map(with)).await?;
    let all = [first, second].concat();
    let level = |priority| -> Vec<JobId> {
        let places = (0..all.len()).filter(|place| order[place % order.len()] == priority);
        places.map(|place| all[place]).collect()
    };
    let expected = [level(Urgent), level(High), level(Normal), level(Low)].concat();
    let mut claimed = Vec::new();
    for _ in 0..6 {
        claimed.extend(a.claim_ids("q", 3).await?);
    }
    same("the claimed jobs", claimed, expected)
}

async fn old_low_after_new_urgent(store: Store) -> Verdict {
    let a = store.open().await?;
    let low = a.put(&with(Priority::Low)).await?;
    a.pass(a.record(low).await?.due_at).await?;
    let urgent = a.put(&with(Priority::Urgent)).await?;
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![urgent, low],
    )
}

async fn enqueue_order_across_calls(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(a.put(&job("q")).await?);
        ids.extend(b.put_all(&jobs("q", 2)).await?);
    }
    same("the claimed jobs", a.claim_ids("q", 100).await?, ids)
}

async fn enqueue_order_within_a_batch_whatever_the_ids(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut batch = jobs("q", 50);
    batch.reverse();
    batch.swap(3, 40);
    let ids = a.put_all(&batch).await?;
    same("the claimed jobs", a.claim_ids("q", 100).await?, ids)
}

async fn enqueue_order_claimed_one_by_one(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 20)).await?;
    let mut claimed = Vec::new();
    for _ in 0..20 {
        claimed.push(a.take("q").await?.token.id);
    }
    same("the claimed jobs", claimed, ids)
}

async fn due_time_before_enqueue_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut delay = SOON;
    loop {
        let queue = format!("after {} ms", delay.as_millis());
        let later = a.put(&delayed(&queue, delay)).await?;
        let now = a.put(&job(&queue)).await?;
        let due = a.record(later).await?.due_at;
        // On a slow machine the second call came when the first job was due: that
        // shows nothing, and goes again with more time.
        if a.record(now).await?.due_at < due {
            a.pass(due).await?;
            let claimed = a.claim_ids(&queue, 9).await?;
            return same("the claimed jobs", claimed, vec![now, later]);
        }
        delay *= 2;
    }
}

async fn promoted_jobs_by_due_time(store: Store) -> Verdict {
    let a = store.open().await?;
    let spans = [400, 100, 300, 200].map(Duration::from_millis);
    let ids = a.put_all(&spans.map(|span| delayed("q", span))).await?;
    a.pass(a.record(ids[0]).await?.due_at).await?;
    a.maintain_with(1_000, Retention::default()).await?;
    let expected = [1, 3, 2, 0].map(|place| ids[place]).to_vec();
    same("the claimed jobs", a.claim_ids("q", 9).await?, expected)
}

async fn a_retried_job_goes_behind_those_due_before(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 3)).await?;
    let token = a.take("q").await?.token;
    a.pass(a.record(ids[2]).await?.due_at).await?;
    a.accepted(token, retry(Duration::ZERO)).await?;
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![ids[1], ids[2], ids[0]],
    )
}

async fn a_retried_job_keeps_its_priority(store: Store) -> Verdict {
    let a = store.open().await?;
    let high = a.put(&with(Priority::High)).await?;
    let normal = a.put(&job("q")).await?;
    for outcome in [retry(Duration::ZERO), Outcome::Release] {
        let token = a.take("q").await?.token;
        same("the claimed job", token.id, high)?;
        a.accepted(token, outcome).await?;
    }
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![high, normal],
    )
}

async fn retry_by_hand_is_due_now(store: Store) -> Verdict {
    let a = store.open().await?;
    let failed = a.run("q", fail()).await?.id;
    let waiting = a.put(&job("q")).await?;
    a.pass(a.record(waiting).await?.due_at).await?;
    same(
        "the answer to retry",
        a.retry_one(failed).await?,
        Retried::Ready,
    )?;
    same(
        "the claimed jobs",
        a.claim_ids("q", 9).await?,
        vec![waiting, failed],
    )
}
