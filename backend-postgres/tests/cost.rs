//! What calls cost the server, by its own counters: row versions that no index
//! had to learn of, pages, bytes of the log, bytes of an answer.

mod common;

use std::time::Duration;

use anyqueue_core::{Backend as _, Kind, NewJob, Payload, QueueName, State, WaitRequest, WorkerId};
use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig};
use common::server::Server;
use common::{HANG, LONG, Place, claim, complete, count, created, jobs, request};

/// A server that nobody else uses and that does nothing by itself.
async fn server() -> (Server, PostgresConfig) {
    let mut server = Server::new();
    server.set("full_page_writes=off");
    server.set("autovacuum=off");
    server.start().await;
    let config = PostgresConfig::from_url(&server.url()).unwrap();
    (server, config)
}

/// Updates of `live` so far, and how many of them were HOT.
async fn updates(conn: &mut PgConnection, schema: &str) -> (i64, i64) {
    // Counters of other sessions come in when these are idle.
    let look = format!(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
         WHERE schemaname = '{schema}' AND relname = 'live'"
    );
    let rows = raw_sql(AssertSqlSafe(look)).fetch_all(conn).await.unwrap();
    (rows[0].get(0), rows[0].get(1))
}

/// The same once there are this many.
async fn updates_reach(conn: &mut PgConnection, schema: &str, total: i64) -> (i64, i64) {
    let mut found = (0, 0);
    let reached = async {
        while found.0 < total {
            found = updates(conn, schema).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(HANG, reached).await;
    assert!(reached.is_ok(), "{found:?} of {total}");
    found
}

#[tokio::test]
async fn claims_and_heartbeats_reach_no_index() {
    const JOBS: usize = 400;
    const BEATS: usize = 10;
    // Of its own: a transaction of another test would keep row versions from
    // being removed, and pages full.
    let (_server, config) = server().await;
    let backend = PostgresBackend::open(config.clone());
    backend.prepare().await.unwrap();
    let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
    let schema = config.schema.name().to_owned();
    backend.enqueue(&jobs(JOBS)).await.unwrap();
    let claimed = claim(&backend, JOBS as u32).await;
    assert_eq!(claimed.len(), JOBS);
    let claims = updates_reach(&mut conn, &schema, JOBS as i64).await;
    assert_eq!(claims, (JOBS as i64, JOBS as i64), "all claims are HOT");
    // Faster than any worker beats, so that pages fill up and are cleared.
    let tokens: Vec<_> = claimed.iter().map(|job| job.token).collect();
    for _ in 0..BEATS {
        backend.heartbeat(&tokens, LONG).await.unwrap();
    }
    let total = (JOBS * (1 + BEATS)) as i64;
    let (all, hot) = updates_reach(&mut conn, &schema, total).await;
    assert_eq!(all, total);
    // A look at a page in passing may keep it from being cleared just then.
    assert!(hot * 100 >= all * 98, "{hot} of {all} updates were HOT");
}

#[tokio::test]
async fn an_answer_of_large_jobs_is_bounded_and_the_rest_comes_later() {
    const JOBS: usize = 60;
    const MIB: usize = 1 << 20;
    let place = Place::new();
    let backend = place.store().await;
    // Of letters that are not worth compressing, so that it is not small on disk.
    let mut random = 1_u64;
    let text: String = std::iter::repeat_with(|| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + (random >> 33) as u8 % 26)
    })
    .take(MIB - 2)
    .collect();
    let payload = Payload::parse(&format!("\"{text}\""), MIB).unwrap();
    let kind = Kind::new("kind").unwrap();
    let large: Vec<NewJob> = (0..JOBS)
        .map(|_| NewJob::new(QueueName::default(), kind.clone(), payload.clone()))
        .collect();
    for part in large.chunks(10) {
        assert_eq!(backend.enqueue(part).await.unwrap(), created(part));
    }
    let small = jobs(JOBS);
    backend.enqueue(&small).await.unwrap();

    let mut order = Vec::new();
    let mut answers = 0;
    while order.len() < 2 * JOBS {
        // What is left is not mistaken for nothing: a wait ends at once.
        let wait = WaitRequest {
            queues: vec![QueueName::default()],
            timeout: 2 * HANG,
            worker: WorkerId::new("w").unwrap(),
        };
        let waited = tokio::time::timeout(HANG, backend.wait_for_work(&wait)).await;
        waited.expect("work is there").unwrap();
        let claimed = backend.claim(&request(500, LONG)).await.unwrap();
        assert!(!claimed.is_empty(), "after {} jobs", order.len());
        let bytes: usize = claimed.iter().map(|job| job.payload.as_str().len()).sum();
        assert!(bytes <= 17 * MIB, "{bytes} bytes in one answer");
        order.extend(claimed.iter().map(|job| job.token.id));
        answers += 1;
    }
    let enqueued: Vec<_> = large.iter().chain(&small).map(|job| job.id).collect();
    assert_eq!(order, enqueued, "in their order");
    assert!((4..=8).contains(&answers), "{answers} answers");
    assert_eq!(count(&backend, State::Running).await, 2 * JOBS as u64);
}

/// Bytes of the log that a call writes, whole pages left out: by a statement's
/// own account of it.
async fn wal_bytes(conn: &mut PgConnection) -> i64 {
    let look = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";
    let rows = raw_sql(look).fetch_all(conn).await.unwrap();
    rows[0].get(0)
}

#[tokio::test]
async fn the_log_grows_by_about_a_kibibyte_a_job() {
    const JOBS: usize = 500;
    let (_server, config) = server().await;
    let backend = PostgresBackend::open(config.clone());
    backend.prepare().await.unwrap();
    let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
    // The first call adds the queue and the worker.
    backend.enqueue(&jobs(1)).await.unwrap();
    backend
        .settle(&complete(&claim(&backend, 1).await))
        .await
        .unwrap();
    let begun = wal_bytes(&mut conn).await;
    backend.enqueue(&jobs(JOBS)).await.unwrap();
    let enqueued = wal_bytes(&mut conn).await;
    let claimed = claim(&backend, JOBS as u32).await;
    assert_eq!(claimed.len(), JOBS);
    let taken = wal_bytes(&mut conn).await;
    backend.settle(&complete(&claimed)).await.unwrap();
    let settled = wal_bytes(&mut conn).await;
    let per_job = [enqueued - begun, taken - enqueued, settled - taken].map(|n| n / JOBS as i64);
    // Whoever doubles one of these has added an index or lost HOT.
    let most = [800, 350, 450];
    assert!(
        per_job
            .iter()
            .zip(most)
            .all(|(n, most)| *n > 0 && *n <= most),
        "{per_job:?}"
    );
}
