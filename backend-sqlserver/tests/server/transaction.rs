//! Enqueue and complete inside the application's own transaction.

use anyqueue_core::{
    Backend as _, Enqueued, ErrorKind, QueueName, Settled, State, Unique, UniqueKey, UniquePolicy,
    WaitRequest, WorkerId,
};
use anyqueue_sqlserver::Schema;

use crate::common::{
    Connection, HANG, LONG, Place, claim, complete, count, created, jobs, number, request, result,
    run, tests,
};

tests! {
    jobs_are_there_when_the_transaction_commits
    jobs_never_were_when_it_rolls_back
    a_connection_that_ends_rolls_back
    the_contract_of_enqueue_holds_inside_a_transaction
    large_enqueues_and_payloads_are_all_or_nothing
    the_commit_is_noticed_by_who_waits_for_work
    two_transactions_may_add_one_queue
    a_store_that_is_not_prepared_is_refused
    a_job_completes_with_its_handler_s_own_writes
    a_handler_that_runs_twice_has_its_effect_once
    a_lost_lease_is_stale_inside_a_transaction
}

/// A connection with a table of the application's own, which it sees alone.
async fn application(place: &Place) -> Connection {
    let mut conn = place.connection().await;
    run(&mut conn, "CREATE TABLE #orders (number int NOT NULL)").await;
    conn
}

async fn order(conn: &mut Connection) {
    run(conn, "INSERT INTO #orders (number) VALUES (1)").await;
}

async fn orders(conn: &mut Connection) -> i32 {
    number(conn, "SELECT COUNT(*) FROM #orders").await
}

/// The depth of the connection's transaction: what the calls opened they closed.
async fn depth(conn: &mut Connection) -> i32 {
    number(conn, "SELECT @@TRANCOUNT").await
}

fn unique() -> Option<Unique> {
    let key = UniqueKey::new("nightly").unwrap();
    let policy = UniquePolicy::WhileUnfinished;
    Some(Unique { key, policy })
}

async fn jobs_are_there_when_the_transaction_commits() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    // The queue is known, so that reads of it do not wait for its row.
    backend
        .set_flow(&QueueName::default(), anyqueue_core::Flow::Open)
        .await
        .unwrap();
    conn.begin_transaction().await.unwrap();
    order(&mut conn).await;
    let new = jobs(3);
    let answers = place
        .config
        .schema
        .enqueue_in(&mut conn, &new)
        .await
        .unwrap();
    assert_eq!(answers, created(&new));
    assert_eq!(depth(&mut conn).await, 1);
    assert_eq!(claim(&backend, 9).await, [], "not committed yet");
    conn.commit_transaction().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 3);
    let claimed = claim(&backend, 9).await;
    let ids: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    assert_eq!(ids, new.iter().map(|job| job.id).collect::<Vec<_>>());
    backend.settle(&complete(&claimed)).await.unwrap();
    assert_eq!(count(&backend, State::Completed).await, 3);
    assert_eq!(orders(&mut conn).await, 1);
}

async fn jobs_never_were_when_it_rolls_back() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let mut new = jobs(2);
    new[0].queue = QueueName::new("elsewhere").unwrap();
    new[1].unique = unique();
    conn.begin_transaction().await.unwrap();
    order(&mut conn).await;
    let answers = place
        .config
        .schema
        .enqueue_in(&mut conn, &new)
        .await
        .unwrap();
    assert_eq!(answers, created(&new));
    conn.rollback_transaction().await.unwrap();
    assert_eq!(depth(&mut conn).await, 0);
    assert_eq!(orders(&mut conn).await, 0);
    assert!(backend.counts().await.unwrap().is_empty());
    assert!(backend.queues().await.unwrap().is_empty());
    let found = backend.get(&[new[0].id, new[1].id]).await.unwrap();
    assert_eq!(found, [None, None]);
    // The key is free, and the ids are not known.
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
}

async fn a_connection_that_ends_rolls_back() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let new = jobs(2);
    conn.begin_transaction().await.unwrap();
    place
        .config
        .schema
        .enqueue_in(&mut conn, &new)
        .await
        .unwrap();
    drop(conn);
    // Waits for the server to notice, where it must.
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    assert_eq!(count(&backend, State::Ready).await, 2);
}

async fn the_contract_of_enqueue_holds_inside_a_transaction() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let schema = &place.config.schema;
    let mut new = jobs(2);
    for job in &mut new {
        job.unique = unique();
    }
    conn.begin_transaction().await.unwrap();
    let first = Enqueued::Created(new[0].id);
    let second = Enqueued::Existing(new[0].id);
    let answers = schema.enqueue_in(&mut conn, &new).await.unwrap();
    assert_eq!(answers, [first, second]);
    let again = schema.enqueue_in(&mut conn, &new[..1]).await.unwrap();
    assert_eq!(again, [first], "a repeat");
    assert_eq!(schema.enqueue_in(&mut conn, &[]).await.unwrap(), []);
    conn.commit_transaction().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
}

async fn large_enqueues_and_payloads_are_all_or_nothing() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let schema = &place.config.schema;
    let mut new = jobs(1_500);
    let text = format!("\"{}\"", "☃😀".repeat(20_000));
    new[1_400].payload = anyqueue_core::Payload::parse(&text, 1 << 20).unwrap();
    for commit in [false, true] {
        conn.begin_transaction().await.unwrap();
        let answers = schema.enqueue_in(&mut conn, &new).await.unwrap();
        assert_eq!(answers, created(&new));
        if commit {
            conn.commit_transaction().await.unwrap();
        } else {
            conn.rollback_transaction().await.unwrap();
            assert_eq!(count(&backend, State::Ready).await, 0);
        }
    }
    assert_eq!(count(&backend, State::Ready).await, 1_500);
    let record = backend.get(&[new[1_400].id]).await.unwrap().remove(0);
    assert_eq!(record.unwrap().payload, new[1_400].payload);
}

async fn the_commit_is_noticed_by_who_waits_for_work() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let request = WaitRequest {
        queues: vec![QueueName::default()],
        timeout: HANG * 2,
        worker: WorkerId::random(),
    };
    let waiting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait_for_work(&request).await })
    };
    conn.begin_transaction().await.unwrap();
    place
        .config
        .schema
        .enqueue_in(&mut conn, &jobs(1))
        .await
        .unwrap();
    conn.commit_transaction().await.unwrap();
    let woken = tokio::time::timeout(HANG, waiting).await;
    woken
        .expect("woken before the wait's own end")
        .unwrap()
        .unwrap();
}

async fn two_transactions_may_add_one_queue() {
    let place = Place::new();
    let backend = place.store().await;
    let (mut first, mut second) = (application(&place).await, application(&place).await);
    first.begin_transaction().await.unwrap();
    let new = jobs(2);
    let schema = place.config.schema.clone();
    schema.enqueue_in(&mut first, &new[..1]).await.unwrap();
    let waiting = {
        let (schema, job) = (schema.clone(), new[1..].to_vec());
        tokio::spawn(async move {
            loop {
                second.begin_transaction().await.unwrap();
                match schema.enqueue_in(&mut second, &job).await {
                    Ok(_) => break second.commit_transaction().await.unwrap(),
                    // A server without the lock lets the second one fail.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                        // The server may have rolled it back, and then refuses this.
                        let _ = second.rollback_transaction().await;
                    }
                }
            }
        })
    };
    first.commit_transaction().await.unwrap();
    let done = tokio::time::timeout(HANG, waiting).await;
    done.expect("the second goes on").unwrap();
    assert_eq!(claim(&backend, 9).await.len(), 2, "in one queue");
}

async fn a_store_that_is_not_prepared_is_refused() -> Option<&'static str> {
    let place = Place::new();
    if !place.is_microsoft().await {
        return Some("because only Microsoft's server gives this error its number");
    }
    let mut conn = application(&place).await;
    conn.begin_transaction().await.unwrap();
    let schema = Schema::new(format!("none_{}", std::process::id())).unwrap();
    let error = schema.enqueue_in(&mut conn, &jobs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("call `prepare`"), "{error}");
    None
}

async fn a_job_completes_with_its_handler_s_own_writes() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let schema = &place.config.schema;
    backend.enqueue(&jobs(1)).await.unwrap();
    let claimed = claim(&backend, 1).await;
    let token = claimed[0].token;

    conn.begin_transaction().await.unwrap();
    order(&mut conn).await;
    let answer = schema
        .complete_in(&mut conn, token, &result())
        .await
        .unwrap();
    assert_eq!(answer, Settled::Accepted);
    assert_eq!(depth(&mut conn).await, 1);
    conn.rollback_transaction().await.unwrap();
    assert_eq!(orders(&mut conn).await, 0);
    assert_eq!(
        count(&backend, State::Running).await,
        1,
        "as if never completed"
    );

    conn.begin_transaction().await.unwrap();
    order(&mut conn).await;
    schema
        .complete_in(&mut conn, token, &result())
        .await
        .unwrap();
    conn.commit_transaction().await.unwrap();
    assert_eq!(orders(&mut conn).await, 1);
    let record = backend.get(&[token.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(
        (record.state, record.result),
        (State::Completed, Some(result()))
    );

    // What the worker settles afterwards is a repetition.
    let answers = backend.settle(&complete(&claimed)).await.unwrap();
    assert_eq!(answers, [Settled::Accepted]);
    let again = schema
        .complete_in(&mut conn, token, &result())
        .await
        .unwrap();
    assert_eq!(again, Settled::Accepted);
    assert_eq!(count(&backend, State::Completed).await, 1);
}

/// Two workers run one job, since the first one's lease ran out; each writes and
/// completes in a transaction, and commits where it was accepted.
async fn a_handler_that_runs_twice_has_its_effect_once() {
    let place = Place::new();
    let backend = place.store().await;
    let schema = &place.config.schema;
    let table = format!("[{}].effects", schema.name());
    let mut conn = place.connection().await;
    run(
        &mut conn,
        &format!("CREATE TABLE {table} (token bigint NOT NULL PRIMARY KEY)"),
    )
    .await;
    for _ in 0..10 {
        backend.enqueue(&jobs(1)).await.unwrap();
        let lease = std::time::Duration::from_millis(1);
        let first = backend.claim(&request(1, lease)).await.unwrap()[0].token;
        let second = loop {
            if let Some(job) = claim(&backend, 1).await.first() {
                break job.token;
            }
        };
        let effect = async |token: anyqueue_core::Token| {
            let mut conn = place.connection().await;
            conn.begin_transaction().await.unwrap();
            let write = format!(
                "INSERT INTO {table} (token) SELECT COUNT(*) * 2 + {} FROM {table}",
                token.counter % 2
            );
            run(&mut conn, &write).await;
            match schema.complete_in(&mut conn, token, &result()).await {
                Ok(Settled::Accepted) => conn.commit_transaction().await.unwrap(),
                Ok(Settled::Stale) => conn.rollback_transaction().await.unwrap(),
                // Rolled back by the server: this attempt has no effect.
                other => assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict),
            }
        };
        effect(first).await;
        effect(second).await;
    }
    let text = format!("SELECT COUNT(*) FROM {table}");
    assert_eq!(number(&mut conn, &text).await, 10, "one effect a job");
    assert_eq!(count(&backend, State::Completed).await, 10);
    run(&mut conn, &format!("DROP TABLE {table}")).await;
}

async fn a_lost_lease_is_stale_inside_a_transaction() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    backend.enqueue(&jobs(1)).await.unwrap();
    let lease = std::time::Duration::from_millis(1);
    let first = backend.claim(&request(1, lease)).await.unwrap();
    let second = loop {
        let claimed = backend.claim(&request(1, LONG)).await.unwrap();
        if !claimed.is_empty() {
            break claimed;
        }
    };
    conn.begin_transaction().await.unwrap();
    let schema = &place.config.schema;
    for (token, expected) in [
        (first[0].token, Settled::Stale),
        (second[0].token, Settled::Accepted),
    ] {
        let answer = schema
            .complete_in(&mut conn, token, &result())
            .await
            .unwrap();
        assert_eq!(answer, expected);
    }
    conn.commit_transaction().await.unwrap();
}
