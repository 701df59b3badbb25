//! Every test here runs on every store that this build has.
#![allow(dead_code, reason = "each test program uses a part")]

use std::time::Duration;

use anyqueue::{Client, ClientOptions, Job, JobHandle, JobId, JobRecord, State};

/// The server that `ANYQUEUE_TEST_POSTGRES_URL` names, a schema a test.
#[cfg(feature = "postgres")]
pub(crate) mod postgres {
    const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

    /// Whether the test runs. Where it does not it says so, and with `CI` set
    /// it fails.
    #[allow(clippy::print_stderr, reason = "a test that is not run must say so")]
    pub(crate) fn is_there() -> bool {
        let there = std::env::var_os(URL).is_some();
        assert!(
            there || std::env::var_os("CI").is_none(),
            "{URL} is not set"
        );
        if !there {
            eprintln!("NOT RUN: {URL} is not set");
        }
        there
    }

    pub(super) fn url() -> String {
        let url = std::env::var(URL).expect("the server's URL");
        let schema = format!("test_{:016x}", fastrand());
        format!("{url}?schema={schema}&pool=4")
    }

    fn fastrand() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    }

    /// Removes a test's schema, if it is one.
    pub(super) fn remove(url: &str) {
        use anyqueue_postgres::PostgresConfig;
        use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
        let Ok(config) = PostgresConfig::from_url(url) else {
            return;
        };
        let work = async move {
            let mut conn = PgConnection::connect_with(&config.connect).await?;
            let name = config.schema.name();
            let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {name} CASCADE"));
            raw_sql(drop).execute(&mut conn).await
        };
        // Off the test's runtime, which a drop may not block.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            // What cannot be removed stays behind in a server for tests.
            runtime.ok().map(|runtime| runtime.block_on(work).is_ok())
        });
        let _ = thread.join();
    }
}

/// The server that `ANYQUEUE_TEST_SQLSERVER_URL` names, a schema a test.
#[cfg(feature = "sqlserver")]
pub(crate) mod sqlserver {
    use anyqueue_sqlserver::SqlServerConfig;
    use anyqueue_sqlserver::tiberius::{Client, error::Error};
    use tokio_util::compat::TokioAsyncWriteCompatExt as _;

    const URL: &str = "ANYQUEUE_TEST_SQLSERVER_URL";

    /// Whether the test runs. Where it does not it says so, in CI too: this one
    /// server is not to be had everywhere.
    #[allow(clippy::print_stderr, reason = "a test that is not run must say so")]
    pub(crate) fn is_there() -> bool {
        let there = std::env::var_os(URL).is_some();
        if !there {
            eprintln!("NOT RUN: no SQL Server ({URL} is not set)");
        }
        there
    }

    pub(super) fn url() -> String {
        use std::hash::{BuildHasher, Hasher};
        let url = std::env::var(URL).expect("the server's URL");
        let random = std::collections::hash_map::RandomState::new();
        let schema = format!("test_{:016x}", random.build_hasher().finish());
        match (url.contains("://"), url.contains('?')) {
            (false, _) => format!("{url};Schema={schema};Pool=4"),
            (true, false) => format!("{url}?schema={schema}&pool=4"),
            (true, true) => format!("{url}&schema={schema}&pool=4"),
        }
    }

    /// Removes a test's schema, if it is one.
    pub(super) fn remove(url: &str) {
        let Ok(config) = SqlServerConfig::from_url(url) else {
            return;
        };
        let work = async move {
            let stream = tokio::net::TcpStream::connect(config.connect.get_addr()).await?;
            let connecting = Client::connect(config.connect.clone(), stream.compat_write());
            let mut client = Box::pin(connecting).await?;
            let text = include_str!("../../../backend-sqlserver/tests/remove.sql");
            client.execute(text, &[&config.schema.name()]).await?;
            Ok::<(), Error>(())
        };
        // Off the test's runtime, which a drop may not block.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            // What cannot be removed stays behind in a server for tests.
            runtime.ok().map(|runtime| runtime.block_on(work).is_ok())
        });
        let _ = thread.join();
    }
}

#[cfg(any(feature = "postgres", feature = "sqlserver"))]
impl Drop for Store {
    fn drop(&mut self) {
        #[cfg(feature = "postgres")]
        postgres::remove(&self.url);
        #[cfg(feature = "sqlserver")]
        sqlserver::remove(&self.url);
    }
}

/// A store of one test, gone with it.
pub(crate) struct Store {
    pub(crate) url: String,
    _dir: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new(scheme: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = match scheme {
            "memory" => {
                format!("memory:{}", JobId::new(&anyqueue::QueueName::default()))
            }
            "sqlite" => format!("sqlite://{}/jobs.db", dir.path().display()),
            #[cfg(feature = "postgres")]
            "postgres" => postgres::url(),
            #[cfg(feature = "sqlserver")]
            "sqlserver" => sqlserver::url(),
            other => panic!("no store for {other}"),
        };
        Self { url, _dir: dir }
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with(ClientOptions::default()).await
    }

    pub(crate) async fn client_with(&self, options: ClientOptions) -> Client {
        Client::connect_with(&self.url, options)
            .await
            .expect("the store opens")
    }
}

/// Defines a test for each store: `on_every_store! { async fn name(store: Store) { … } }`
#[macro_export]
macro_rules! on_every_store {
    ($(async fn $name:ident($store:ident: &Store) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn case($store: &common::Store) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn memory() {
                case(&common::Store::new("memory")).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if common::postgres::is_there() {
                    case(&common::Store::new("postgres")).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                case(&common::Store::new("sqlite")).await;
            }

            #[cfg(feature = "sqlserver")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlserver() {
                if common::sqlserver::is_there() {
                    case(&common::Store::new("sqlserver")).await;
                }
            }
        }
    )*};
}

/// Waits until the job's record is as wanted, and returns it.
pub(crate) async fn until<J: Job>(
    handle: &JobHandle<J>,
    what: &str,
    wanted: impl Fn(&JobRecord) -> bool,
) -> JobRecord {
    let waiting = async {
        loop {
            let record = handle.record().await.expect("the job is there");
            if wanted(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(record) => record,
        Err(_) => panic!("never {what}: {:?}", handle.record().await),
    }
}

pub(crate) async fn until_state<J: Job>(handle: &JobHandle<J>, state: State) -> JobRecord {
    until(handle, state.as_str(), |record| record.state == state).await
}
