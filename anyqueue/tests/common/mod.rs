//! Every test here runs on every store that this build has.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write as _;
use std::time::Duration;

use anyqueue::{Client, ClientOptions, Job, JobHandle, JobId, JobRecord, State};

/// Names the URL of a RabbitMQ broker.
pub(crate) const RABBITMQ: &str = "ANYQUEUE_TEST_RABBITMQ_URL";

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
            "rabbitmq" => {
                let url = std::env::var(RABBITMQ).expect("the broker's URL is set");
                let prefix = JobId::new(&anyqueue::QueueName::default());
                format!("{url}?prefix=test.{prefix}")
            }
            other => panic!("no store for {other}"),
        };
        Self { url, _dir: dir }
    }

    /// A store on a server, where there is one: says so loudly where there is
    /// none, and fails where CI is set.
    pub(crate) fn on_server(scheme: &str, variable: &str) -> Option<Self> {
        if std::env::var(variable).is_ok() {
            return Some(Self::new(scheme));
        }
        let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!required, "{variable} is not set");
        let _ = writeln!(std::io::stderr(), "NOT RUN: {variable} is not set");
        None
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

#[cfg(feature = "rabbitmq")]
impl Drop for Store {
    /// A server keeps what it was not told to delete.
    fn drop(&mut self) {
        let Ok(config) = anyqueue_rabbitmq::RabbitConfig::from_url(&self.url) else {
            return;
        };
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let removed = anyqueue_rabbitmq::RabbitBackend::destroy(&config);
            Ok::<_, std::io::Error>(runtime.block_on(removed))
        });
        drop(removal.join());
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

            #[cfg(feature = "rabbitmq")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn rabbitmq() {
                if let Some(store) = common::Store::on_server("rabbitmq", common::RABBITMQ) {
                    case(&store).await;
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
