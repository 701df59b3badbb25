//! The connection cut at bytes of calls, and clients whose clock is wrong, on
//! the broker that `ANYQUEUE_TEST_RABBITMQ_URL` names.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::sweep::{Cuts, Remote, run};
use anyqueue_conformance_tests::{Fixture, Requirement};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_rabbitmq::{RabbitBackend, RabbitConfig, View};

const URL: &str = "ANYQUEUE_TEST_RABBITMQ_URL";

struct Broker;

fn url() -> String {
    std::env::var(URL).unwrap_or_default()
}

fn config(url: &str, store: &str) -> Result<RabbitConfig, Error> {
    let mut config = RabbitConfig::from_url(url)?.with_prefix(&format!("test.{store}"))?;
    config.view = View::Own;
    Ok(config)
}

/// The port in the URL; the last one: a password may look like a port.
fn port(url: &str) -> Option<u16> {
    let authority = url.split_once("://")?.1.rsplit_once('@')?.1;
    let address = authority.split(['/', '?']).next()?;
    address.rsplit_once(':')?.1.parse().ok()
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
        Ok(Arc::new(RabbitBackend::open(&config(&url(), store)?)))
    }

    async fn remove(&self, store: &str) {
        let config = config(&url(), store).expect("it was opened");
        let removed = RabbitBackend::destroy(&config).await;
        removed.expect("the store goes");
    }
}

#[async_trait]
impl Remote for Broker {
    fn port(&self) -> u16 {
        port(&url()).unwrap_or(5672)
    }

    async fn open_by(&self, store: &str, by: u16) -> Result<Arc<dyn Backend>, Error> {
        let url = url();
        let there = format!(":{}", self.port());
        let by = match url.rsplit_once(&there) {
            Some((start, end)) => format!("{start}:{by}{end}"),
            None => url,
        };
        Ok(Arc::new(RabbitBackend::open(&config(&by, store)?)))
    }
}

fn main() -> ExitCode {
    let cuts = Cuts {
        ends: 20,
        stride: 23,
        cold_start: 0,
        cold_stride: 4_001,
    };
    run(Broker, cuts)
}
