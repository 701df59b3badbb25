//! Every test here runs on every store that this build has.
#![allow(dead_code, reason = "each test program uses a part")]

mod servers;

use std::time::Duration;

use anyqueue::{Client, ClientOptions, Job, JobHandle, JobId, JobRecord, State};

/// Tells a hang from a result; nothing here takes as long.
pub(crate) const HANG: Duration = Duration::from_secs(120);

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
            server => servers::url(server),
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

impl Drop for Store {
    fn drop(&mut self) {
        servers::remove(&self.url);
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

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                case(&common::Store::new("sqlite")).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs ANYQUEUE_TEST_POSTGRES_URL, and `-- --ignored on_postgres`"]
            async fn on_postgres() {
                case(&common::Store::new("postgres")).await;
            }

            #[cfg(feature = "rabbitmq")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs ANYQUEUE_TEST_RABBITMQ_URL, and `-- --ignored on_rabbitmq`"]
            async fn on_rabbitmq() {
                case(&common::Store::new("rabbitmq")).await;
            }

            #[cfg(feature = "redis")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs ANYQUEUE_TEST_REDIS_URL, and `-- --ignored on_redis`"]
            async fn on_redis() {
                case(&common::Store::new("redis")).await;
            }

            #[cfg(feature = "sqlserver")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs ANYQUEUE_TEST_SQLSERVER_URL, and `-- --ignored on_sqlserver`"]
            async fn on_sqlserver() {
                case(&common::Store::new("sqlserver")).await;
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
    match tokio::time::timeout(HANG, waiting).await {
        Ok(record) => record,
        Err(_) => panic!("never {what}: {:?}", handle.record().await),
    }
}

pub(crate) async fn until_state<J: Job>(handle: &JobHandle<J>, state: State) -> JobRecord {
    until(handle, state.as_str(), |record| record.state == state).await
}
