//! What is refused at the start and with which text; names of schemas; the
//! durability that the live settings give; life without notifications.

mod common;

use std::time::Duration;

use anyqueue_conformance_tests::faults::servers::Postgres;
use anyqueue_core::{
    Backend as _, Capability, Durability, Error, ErrorKind, MaintainLimits, QueueName, State,
    WaitRequest, WorkerId,
};
use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig, Schema, Wake};
use common::{HANG, Place, claim, complete, count, created, jobs, request};

async fn prepare(config: &PostgresConfig) -> Result<(), Error> {
    PostgresBackend::open(config.clone()).prepare().await
}

#[track_caller]
fn refused(answer: Result<(), Error>, kind: ErrorKind, advice: &str) {
    let error = answer.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let place = Place::new();
    drop(place.store().await);
    let name = place.config.schema.name();
    let future = format!("INSERT INTO {name}.migrations VALUES (99, 'future')");
    let mut conn = place.connection().await;
    raw_sql(AssertSqlSafe(future))
        .execute(&mut conn)
        .await
        .unwrap();
    refused(
        prepare(&place.config).await,
        ErrorKind::Corrupt,
        "version 99",
    );
}

#[tokio::test]
async fn calls_before_prepare_say_so() {
    let place = Place::new();
    let backend = PostgresBackend::open(place.config.clone());
    let unread = backend.counts().await.map(|_| ());
    refused(unread, ErrorKind::Unavailable, "call `prepare`");
    let unwritten = backend.enqueue(&jobs(1)).await.map(|_| ());
    refused(unwritten, ErrorKind::Unavailable, "call `prepare`");
    backend.prepare().await.unwrap();
    backend.enqueue(&jobs(1)).await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told_apart() {
    let place = Place::new();
    let mut config = place.config.clone();
    config.connect = place.config.connect.clone().database("no such database");
    refused(
        prepare(&config).await,
        ErrorKind::NotFound,
        "does not exist",
    );
    config.connect = place.config.connect.clone().password("hunter2");
    let error = prepare(&config).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_schema_may_have_any_name() {
    let mut place = Place::new();
    for (number, name) in ["a\"; DROP SCHEMA public; --", "ÿ ☃ {s} $1", "'quoted'"]
        .into_iter()
        .enumerate()
    {
        let name = format!("{name}{}{number}", std::process::id());
        place.config.schema = Schema::new(&name).unwrap();
        let backend = place.store().await;
        let new = jobs(2);
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        let claimed = claim(&backend, 9).await;
        backend.settle(&complete(&claimed)).await.unwrap();
        assert_eq!(count(&backend, State::Completed).await, 2);
        let quoted = name.replace('"', "\"\"");
        let drop = format!("DROP SCHEMA \"{quoted}\" CASCADE");
        let mut conn = place.connection().await;
        while raw_sql(AssertSqlSafe(drop.clone()))
            .execute(&mut conn)
            .await
            .is_err()
        {}
    }
}

#[tokio::test]
async fn the_durability_is_that_of_the_live_settings() {
    let mut server = Postgres::new().unwrap();
    for (setting, expected) in [
        ("fsync=on", Durability::Host),
        ("full_page_writes=off", Durability::Crash),
        ("synchronous_commit=off", Durability::Process),
    ] {
        server.set(setting);
        server.kill();
        server.start().await.unwrap();
        let backend = PostgresBackend::connect(&server.url()).unwrap();
        backend.prepare().await.unwrap();
        assert_eq!(backend.capabilities().durability(), expected, "{setting}");
    }
}

/// A server of one's own after these statements.
async fn server(statements: &[&str]) -> Postgres {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let config = PostgresConfig::from_url(&server.url()).unwrap();
    let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
    for statement in statements {
        let done = raw_sql(AssertSqlSafe(*statement)).execute(&mut conn).await;
        done.unwrap();
    }
    server
}

#[tokio::test]
async fn a_schema_that_is_there_needs_no_right_to_create_one() {
    let server = server(&[
        "CREATE ROLE worker LOGIN",
        "CREATE SCHEMA jobs AUTHORIZATION worker",
    ]);
    let server = server.await;
    let url = server.url().replace("anyqueue@", "worker@");
    let config = |schema| PostgresConfig::from_url(&format!("{url}&schema={schema}")).unwrap();
    prepare(&config("jobs")).await.unwrap();
    refused(
        prepare(&config("other")).await,
        ErrorKind::Denied,
        "may not do it",
    );
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let server = server(&["CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"]);
    let server = server.await;
    let url = server.url().replace("/postgres", "/latin");
    let config = PostgresConfig::from_url(&url).unwrap();
    refused(
        prepare(&config).await,
        ErrorKind::InvalidInput,
        "ENCODING 'UTF8'",
    );
}

#[tokio::test]
async fn all_tables_can_be_published() {
    let server = server(&["CREATE PUBLICATION everything FOR ALL TABLES"]).await;
    let backend = PostgresBackend::connect(&server.url()).unwrap();
    backend.prepare().await.unwrap();
    backend.enqueue(&jobs(2)).await.unwrap();
    let short = request(2, Duration::from_millis(1));
    assert_eq!(backend.claim(&short).await.unwrap().len(), 2);
    let mut limits = MaintainLimits::default();
    limits.retention.completed = Duration::ZERO;
    backend.maintain(&limits).await.unwrap();
    let claimed = claim(&*backend, 1).await;
    backend.settle(&complete(&claimed)).await.unwrap();
    backend.maintain(&limits).await.unwrap();
    assert_eq!(common::counts(&*backend).await.total(), 1);
}

/// As behind a pooler in transaction mode: nothing is kept on a connection.
#[tokio::test]
async fn without_notifications_work_is_found_by_looking() {
    let mut place = Place::new();
    place.config.wake = Wake::Poll;
    let (backend, other) = (place.store().await, place.store().await);
    assert!(!backend.capabilities().has(Capability::Push));
    let request = WaitRequest {
        queues: vec![QueueName::default()],
        timeout: HANG * 2,
        worker: WorkerId::random(),
    };
    let waiting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait_for_work(&request).await })
    };
    other.enqueue(&jobs(1)).await.unwrap();
    let found = tokio::time::timeout(HANG, waiting).await;
    found
        .expect("found before the wait's own end")
        .unwrap()
        .unwrap();
    let claimed = claim(&backend, 1).await;
    let ids = [claimed[0].token.id];
    let change = backend.wait_for_change(&ids, Duration::from_secs(3_600));
    let change = tokio::time::timeout(HANG, change).await;
    change.expect("it looks again before long").unwrap();
}
