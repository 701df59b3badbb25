//! Calls beside rows that another transaction has locked.

use anyqueue_core::{Backend as _, Flow, QueueName, State};

use crate::common::{HANG, Place, claim, complete, count, jobs, run, tests};

tests! {
    claims_pass_by_jobs_that_are_locked
    counts_and_claims_pass_by_an_open_enqueue
    open_enqueues_of_a_known_queue_do_not_meet
    a_queue_that_is_being_added_is_in_no_one_s_way
}

/// Only where locks are passed by: elsewhere a claim waits for them.
async fn claims_pass_by_jobs_that_are_locked() -> Option<&'static str> {
    let place = Place::new();
    if !place.is_microsoft().await {
        return Some("because only Microsoft's server passes by locks");
    }
    let backend = place.store().await;
    backend.enqueue(&jobs(3)).await.unwrap();
    let mut conn = place.connection().await;
    conn.begin_transaction().await.unwrap();
    let table = format!("[{}].jobs", place.config.schema.name());
    let lock = format!("UPDATE {table} SET was = was WHERE seq = (SELECT MIN(seq) FROM {table})");
    run(&mut conn, &lock).await;
    let claimed = tokio::time::timeout(HANG, claim(&backend, 9)).await;
    let claimed = claimed.expect("it does not wait");
    assert_eq!(claimed.len(), 2, "the first is locked");
    let settled = tokio::time::timeout(HANG, backend.settle(&complete(&claimed))).await;
    settled.expect("it does not wait").unwrap();
    conn.rollback_transaction().await.unwrap();
    assert_eq!(claim(&backend, 9).await.len(), 1);
    None
}

async fn counts_and_claims_pass_by_an_open_enqueue() {
    let place = Place::new();
    let backend = place.store().await;
    backend
        .set_flow(&QueueName::default(), Flow::Open)
        .await
        .unwrap();
    backend.enqueue(&jobs(1)).await.unwrap();
    let mut conn = place.connection().await;
    conn.begin_transaction().await.unwrap();
    let schema = &place.config.schema;
    schema.enqueue_in(&mut conn, &jobs(5)).await.unwrap();
    let beside = async {
        assert_eq!(count(&backend, State::Ready).await, 1);
        let claimed = claim(&backend, 9).await;
        assert_eq!(claimed.len(), 1);
        backend.settle(&complete(&claimed)).await.unwrap();
        backend.enqueue(&jobs(1)).await.unwrap();
        assert_eq!(count(&backend, State::Ready).await, 1);
    };
    let done = tokio::time::timeout(HANG, beside).await;
    done.expect("none waits for the open transaction");
    conn.commit_transaction().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 6);
}

async fn open_enqueues_of_a_known_queue_do_not_meet() {
    let place = Place::new();
    let backend = place.store().await;
    let queue = QueueName::default();
    backend.set_flow(&queue, Flow::Open).await.unwrap();
    let (mut first, mut second) = (place.connection().await, place.connection().await);
    first.begin_transaction().await.unwrap();
    second.begin_transaction().await.unwrap();
    let schema = &place.config.schema;
    let beside = async {
        schema.enqueue_in(&mut first, &jobs(2)).await.unwrap();
        schema.enqueue_in(&mut second, &jobs(2)).await.unwrap();
        schema.enqueue_in(&mut first, &jobs(1)).await.unwrap();
        for flow in [Flow::Paused, Flow::Open] {
            backend.set_flow(&queue, flow).await.unwrap();
        }
    };
    let done = tokio::time::timeout(HANG, beside).await;
    done.expect("none waits for an open transaction");
    second.commit_transaction().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 2);
    first.commit_transaction().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 5);
}

async fn a_queue_that_is_being_added_is_in_no_one_s_way() {
    let place = Place::new();
    place.store().await.enqueue(&jobs(1)).await.unwrap();
    let mut conn = place.connection().await;
    conn.begin_transaction().await.unwrap();
    let mut new = jobs(1);
    new[0].queue = QueueName::new("elsewhere").unwrap();
    let schema = &place.config.schema;
    schema.enqueue_in(&mut conn, &new).await.unwrap();
    let beside = async {
        // A handle that knows no queue yet.
        let backend = place.store().await;
        let claimed = claim(&backend, 9).await;
        assert_eq!(claimed.len(), 1);
        backend.settle(&complete(&claimed)).await.unwrap();
        backend.enqueue(&jobs(1)).await.unwrap();
        let found = backend.get(&[claimed[0].token.id]).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().state, State::Completed);
        let queue = QueueName::default();
        backend.set_flow(&queue, Flow::Open).await.unwrap();
    };
    let done = tokio::time::timeout(HANG, beside).await;
    done.expect("none waits for the open transaction");
    conn.rollback_transaction().await.unwrap();
}
