//! Every test here runs on every store that this build has.
#![allow(dead_code, reason = "each test program uses a part")]

use std::time::Duration;

use anyqueue::{Client, ClientOptions, Job, JobHandle, JobId, JobRecord, State};

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
            #[cfg(feature = "redis")]
            "redis" => redis::url(),
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

/// A prefix of its own on the server that `ANYQUEUE_TEST_REDIS_URL` names.
#[cfg(feature = "redis")]
mod redis {
    use anyqueue::{JobId, QueueName};
    use anyqueue_redis::redis;

    pub(super) fn url() -> String {
        let server = std::env::var("ANYQUEUE_TEST_REDIS_URL")
            .expect("ANYQUEUE_TEST_REDIS_URL is set: `scripts/servers up redis`");
        format!("{server}?prefix={}:", JobId::new(&QueueName::default()))
    }

    /// Removes what starts with the URL's prefix.
    pub(super) fn remove(url: &str) -> redis::RedisResult<()> {
        let Some((server, prefix)) = url.split_once("?prefix=") else {
            return Ok(());
        };
        let mut connection = redis::Client::open(server)?.get_connection()?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*"));
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.arg("COUNT").arg(1_000).query(&mut connection)?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec(&mut connection)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[cfg(feature = "redis")]
impl Drop for Store {
    fn drop(&mut self) {
        if self.url.starts_with("redis") {
            let _ = redis::remove(&self.url);
        }
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

            #[cfg(feature = "redis")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs a server: set ANYQUEUE_TEST_REDIS_URL, then `-- --ignored redis`"]
            async fn redis() {
                case(&common::Store::new("redis")).await;
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
