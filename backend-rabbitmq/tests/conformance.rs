//! The conformance suite on a broker, with a prefix for each case. Every second
//! handle has a view and a connection of its own, as another process would.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_rabbitmq::{RabbitBackend, RabbitConfig, View};

const URL: &str = "ANYQUEUE_TEST_RABBITMQ_URL";

#[derive(Default)]
struct Broker {
    opened: AtomicU32,
}

impl Broker {
    fn config(store: &str) -> Result<RabbitConfig, Error> {
        let url = std::env::var(URL).unwrap_or_default();
        RabbitConfig::from_url(&url)?.with_prefix(&format!("test.{store}"))
    }
}

#[async_trait]
impl Fixture for Broker {
    fn name(&self) -> &str {
        "rabbitmq"
    }

    fn requirement(&self) -> Requirement {
        Requirement::where_set_or_in_ci(URL)
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        let mut config = Self::config(store)?;
        // So short that ledgers end and go on within a case.
        config.ledger_bytes = 160_000;
        if self.opened.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            config.view = View::Own;
        }
        Ok(Arc::new(RabbitBackend::open(&config)))
    }

    async fn remove(&self, store: &str) {
        let config = Self::config(store).expect("it was opened");
        RabbitBackend::destroy(&config)
            .await
            .expect("the store is removed");
    }
}

fn main() -> ExitCode {
    run(Broker::default())
}
