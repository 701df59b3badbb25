//! A schema of one test.
#![allow(dead_code, unused_imports, reason = "each test program uses a part")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use anyqueue_conformance_tests::calls::{
    LONG, claim, complete, count, counts, created, jobs, request, result,
};
use anyqueue_core::{Backend as _, Error};
use anyqueue_postgres::sqlx::postgres::PgConnectOptions;
use anyqueue_postgres::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _, raw_sql,
};
use anyqueue_postgres::{PostgresBackend, PostgresConfig, Schema};

pub(crate) const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

/// The most connections of a handle.
pub(crate) const POOL: u32 = 4;

/// A generous bound that only tells a hang from a result.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// A store on the server for tests.
pub(crate) fn config(store: &str) -> Result<PostgresConfig, Error> {
    let mut config = PostgresConfig::from_url(&std::env::var(URL).unwrap_or_default())?;
    config.schema = Schema::new(store)?;
    config.pool = POOL;
    Ok(config)
}

/// Removes a store from it.
pub(crate) async fn remove(store: &str) {
    let connect = config(store).expect("it was opened").connect;
    let mut conn = PgConnection::connect_with(&connect)
        .await
        .expect("a connection");
    let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {store} CASCADE")).into_sql_str();
    // A handle's last look, made in the background, may be under way.
    while let Err(error) = raw_sql(drop.clone()).execute(&mut conn).await {
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("40P01"), "the schema goes: {error}");
    }
}

/// A schema of one test on the server for tests.
pub(crate) struct Place {
    pub(crate) config: PostgresConfig,
}

impl Place {
    /// A missing server is a failure: nothing was shown.
    pub(crate) fn new() -> Self {
        assert!(
            std::env::var_os(URL).is_some(),
            "{URL} is not set; `scripts/servers up postgres` starts a server"
        );
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let store = format!("test_{}_{number}", std::process::id());
        Self {
            config: config(&store).unwrap(),
        }
    }

    /// A prepared store in it.
    pub(crate) async fn store(&self) -> PostgresBackend {
        let backend = PostgresBackend::open(self.config.clone());
        backend.prepare().await.unwrap();
        backend
    }

    /// The application's own connection. It waits for nothing for ever.
    pub(crate) async fn connection(&self) -> PgConnection {
        let bound = [("statement_timeout", HANG.as_millis())];
        let options = self.config.connect.clone().options(bound);
        PgConnection::connect_with(&options).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let config = self.config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
                let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", config.schema.name());
                // What cannot be removed stays behind in a server for tests.
                let _ = raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await;
            });
        });
        let _ = thread.join();
    }
}

/// How a proxy of the test's own gets to the server for tests.
pub(crate) fn connection_string(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    let (user, password) = (options.get_username(), password());
    format!("host={host} port={port} user={user} password={password}")
}

/// The password in the URL of the server for tests.
fn password() -> String {
    let url = std::env::var(URL).unwrap_or_default();
    let user = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'));
    let password = user.and_then(|(user, _)| user.split_once(':'));
    password.map_or("", |(_, password)| password).to_owned()
}

/// Jobs that go through, for longer than floors stay behind.
pub(crate) async fn let_others_through(backend: &PostgresBackend) {
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 2_500 {
        backend.enqueue(&jobs(5)).await.unwrap();
        let claimed = claim(backend, 5).await;
        assert_eq!(claimed.len(), 5);
        backend.settle(&complete(&claimed)).await.unwrap();
    }
}
