//! Enqueue and complete inside the application's own transaction.

mod common;

use anyqueue_conformance_tests::faults::servers::PgBouncer;
use anyqueue_core::{
    Backend as _, Enqueued, ErrorKind, Holding, MaintainLimits, QueueName, Settled, State, Unique,
    UniqueKey, UniquePolicy, WaitRequest, WorkerId,
};
use anyqueue_postgres::Pooler;
use anyqueue_postgres::sqlx::{
    Connection as _, PgConnection, Row as _, query, query_scalar, raw_sql,
};
use common::{HANG, Place, claim, complete, connection_string, count, created, jobs, result};

async fn application(place: &Place) -> PgConnection {
    let mut conn = place.connection().await;
    raw_sql("CREATE TEMP TABLE orders (number int4)")
        .execute(&mut conn)
        .await
        .unwrap();
    conn
}

async fn orders(conn: &mut PgConnection) -> i64 {
    let count = query("SELECT count(*) FROM orders")
        .fetch_one(conn)
        .await
        .unwrap();
    count.get(0)
}

const ORDER: &str = "INSERT INTO orders VALUES (1)";

#[tokio::test]
async fn jobs_are_there_when_the_transaction_commits() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let mut tx = conn.begin().await.unwrap();
    raw_sql(ORDER).execute(&mut *tx).await.unwrap();
    let new = jobs(3);
    let answers = place.config.schema.enqueue_in(&mut tx, &new).await.unwrap();
    assert_eq!(answers, created(&new));
    assert_eq!(count(&backend, State::Ready).await, 0, "not committed yet");
    assert_eq!(claim(&backend, 9).await, []);
    tx.commit().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 3);
    let claimed = claim(&backend, 9).await;
    let ids: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    assert_eq!(ids, new.iter().map(|job| job.id).collect::<Vec<_>>());
    backend.settle(&complete(&claimed)).await.unwrap();
    assert_eq!(count(&backend, State::Completed).await, 3);
    assert_eq!(orders(&mut conn).await, 1);
}

#[tokio::test]
async fn jobs_are_there_through_a_pooler_in_transaction_mode() {
    let place = Place::new();
    let done = tokio::time::timeout(HANG, through_a_pooler(&place)).await;
    done.expect("no transaction waits for another");
}

async fn through_a_pooler(place: &Place) {
    let backend = place.store().await;
    // Of two transactions that bring a new queue the second waits for the first.
    backend.enqueue(&jobs(1)).await.unwrap();
    backend
        .settle(&complete(&claim(&backend, 1).await))
        .await
        .unwrap();
    let server = connection_string(&place.config.connect);
    let bouncer = PgBouncer::to(&server, 2).await.unwrap();
    let options = place.config.connect.clone();
    let options = options.host("127.0.0.1").port(bouncer.port());
    let options = options.statement_cache_capacity(0).extra_float_digits(None);
    let schema = place.config.schema.clone().behind(Pooler::Transaction);
    // Two connections of the application take turns on two of the server: a
    // name of a statement that one gave would meet the other's.
    let mut conns = Vec::new();
    for _ in 0..2 {
        conns.push(PgConnection::connect_with(&options).await.unwrap());
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        let [first, second] = conns.as_mut_slice() else {
            unreachable!()
        };
        let (mut one, mut other) = (first.begin().await.unwrap(), second.begin().await.unwrap());
        for tx in [&mut one, &mut other] {
            let new = jobs(2);
            let answers = schema.enqueue_in(tx, &new).await.unwrap();
            assert_eq!(answers, created(&new));
            all.extend(new);
        }
        other.commit().await.unwrap();
        one.commit().await.unwrap();
    }
    let claimed = claim(&backend, 100).await;
    assert_eq!(claimed.len(), all.len(), "{}", bouncer.log());
    for job in &claimed {
        let mut tx = conns[0].begin().await.unwrap();
        let settled = schema.complete_in(&mut tx, job.token, &result()).await;
        assert_eq!(settled.unwrap(), Settled::Accepted);
        tx.commit().await.unwrap();
    }
    let completed = 1 + all.len() as u64;
    assert_eq!(count(&backend, State::Completed).await, completed);
}

#[tokio::test]
async fn jobs_never_were_when_it_rolls_back() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let mut new = jobs(2);
    new[0].queue = QueueName::new("elsewhere").unwrap();
    let key = UniqueKey::new("nightly").unwrap();
    let policy = UniquePolicy::WhileUnfinished;
    new[1].unique = Some(Unique { key, policy });
    let mut tx = conn.begin().await.unwrap();
    raw_sql(ORDER).execute(&mut *tx).await.unwrap();
    let answers = place.config.schema.enqueue_in(&mut tx, &new).await.unwrap();
    assert_eq!(answers, created(&new));
    tx.rollback().await.unwrap();
    assert_eq!(orders(&mut conn).await, 0);
    assert!(backend.counts().await.unwrap().is_empty());
    assert!(backend.queues().await.unwrap().is_empty());
    let found = backend.get(&[new[0].id, new[1].id]).await.unwrap();
    assert_eq!(found, [None, None]);
    // The key is free, and the ids are not known.
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
}

#[tokio::test]
async fn the_contract_of_enqueue_holds_inside_a_transaction() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let schema = &place.config.schema;
    let mut new = jobs(2);
    for job in &mut new {
        let key = UniqueKey::new("nightly").unwrap();
        let policy = UniquePolicy::WhileUnfinished;
        job.unique = Some(Unique { key, policy });
    }
    let mut tx = conn.begin().await.unwrap();
    let first = Enqueued::Created(new[0].id);
    let second = Enqueued::Existing(new[0].id);
    assert_eq!(
        schema.enqueue_in(&mut tx, &new).await.unwrap(),
        [first, second]
    );
    let again = schema.enqueue_in(&mut tx, &new[..1]).await.unwrap();
    assert_eq!(again, [first], "a repeat");
    assert_eq!(schema.enqueue_in(&mut tx, &[]).await.unwrap(), []);
    tx.commit().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
}

#[tokio::test]
async fn the_commit_wakes_who_waits_for_work() {
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
    let mut tx = conn.begin().await.unwrap();
    place
        .config
        .schema
        .enqueue_in(&mut tx, &jobs(1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let woken = tokio::time::timeout(HANG, waiting).await;
    woken
        .expect("woken before the wait's own end")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_job_committed_late_is_claimed_in_its_place() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    // The queue is known, so that others need not wait for this transaction.
    backend.enqueue(&jobs(1)).await.unwrap();
    backend
        .settle(&complete(&claim(&backend, 1).await))
        .await
        .unwrap();
    let early = jobs(1);
    let mut tx = conn.begin().await.unwrap();
    place
        .config
        .schema
        .enqueue_in(&mut tx, &early)
        .await
        .unwrap();
    common::let_others_through(&backend).await;
    backend.enqueue(&jobs(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claim(&backend, 1).await[0].token.id, early[0].id);
}

#[tokio::test]
async fn a_transaction_may_enqueue_into_very_many_queues() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let mut new = jobs(1_000);
    for (number, job) in new.iter_mut().enumerate() {
        job.queue = QueueName::new(format!("queue-{number}")).unwrap();
    }
    let mut tx = conn.begin().await.unwrap();
    let answers = place.config.schema.enqueue_in(&mut tx, &new).await.unwrap();
    assert_eq!(answers, created(&new));
    tx.commit().await.unwrap();
    assert_eq!(backend.queues().await.unwrap().len(), new.len());
}

#[tokio::test]
async fn a_store_that_is_not_prepared_is_refused() {
    let place = Place::new();
    let mut conn = application(&place).await;
    let mut tx = conn.begin().await.unwrap();
    let error = place
        .config
        .schema
        .enqueue_in(&mut tx, &jobs(1))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("call `prepare`"), "{error}");
}

#[tokio::test]
async fn a_job_completes_with_its_handler_s_own_writes() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    let schema = &place.config.schema;
    backend.enqueue(&jobs(1)).await.unwrap();
    let claimed = claim(&backend, 1).await;
    let token = claimed[0].token;

    let mut tx = conn.begin().await.unwrap();
    raw_sql(ORDER).execute(&mut *tx).await.unwrap();
    let answer = schema.complete_in(&mut tx, token, &result()).await.unwrap();
    assert_eq!(answer, Settled::Accepted);
    tx.rollback().await.unwrap();
    assert_eq!(orders(&mut conn).await, 0);
    assert_eq!(
        count(&backend, State::Running).await,
        1,
        "as if never completed"
    );

    let mut tx = conn.begin().await.unwrap();
    raw_sql(ORDER).execute(&mut *tx).await.unwrap();
    schema.complete_in(&mut tx, token, &result()).await.unwrap();
    assert_eq!(
        count(&backend, State::Running).await,
        1,
        "not committed yet"
    );
    tx.commit().await.unwrap();
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
}

#[tokio::test]
async fn an_open_completion_holds_up_no_heartbeat() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    backend.enqueue(&jobs(3)).await.unwrap();
    let lease = std::time::Duration::from_millis(500);
    let claimed = backend.claim(&common::request(3, lease)).await.unwrap();
    let tokens: Vec<_> = claimed.iter().map(|job| job.token).collect();
    let mut tx = conn.begin().await.unwrap();
    let schema = &place.config.schema;
    for token in &tokens[..2] {
        schema
            .complete_in(&mut tx, *token, &result())
            .await
            .unwrap();
    }
    // Neither waits for the transaction, which ends later than any call.
    let beat = backend.heartbeat(&tokens, common::LONG).await.unwrap();
    assert_eq!(beat, [Holding::Held; 3]);
    let record = backend.get(&[tokens[2].id]).await.unwrap().remove(0);
    let until = record.unwrap().lease_until.unwrap();
    assert!(until > claimed[2].lease_until, "its lease is extended");
    // Those of the others do not end while it is open.
    let mut clock = place.connection().await;
    let over = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
    while query_scalar::<_, i64>(over)
        .fetch_one(&mut clock)
        .await
        .unwrap()
        <= claimed[0].lease_until.as_micros()
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let limits = MaintainLimits::default();
    assert_eq!(backend.maintain(&limits).await.unwrap().expired, 0);
    tx.rollback().await.unwrap();
    let beat = backend.heartbeat(&tokens, common::LONG).await.unwrap();
    assert_eq!(beat, [Holding::Held; 3]);
}

#[tokio::test]
async fn a_lost_lease_is_stale_inside_a_transaction() {
    let place = Place::new();
    let (backend, mut conn) = (place.store().await, application(&place).await);
    backend.enqueue(&jobs(1)).await.unwrap();
    let lease = std::time::Duration::from_millis(1);
    let first = backend.claim(&common::request(1, lease)).await.unwrap();
    let second = loop {
        let claimed = claim(&backend, 1).await;
        if !claimed.is_empty() {
            break claimed;
        }
    };
    let mut tx = conn.begin().await.unwrap();
    let schema = &place.config.schema;
    let answer = schema
        .complete_in(&mut tx, first[0].token, &result())
        .await
        .unwrap();
    assert_eq!(answer, Settled::Stale);
    let answer = schema
        .complete_in(&mut tx, second[0].token, &result())
        .await
        .unwrap();
    assert_eq!(answer, Settled::Accepted);
    tx.commit().await.unwrap();
}
