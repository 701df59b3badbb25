//! The connection cut at every byte, and clients whose clock is wrong, on the
//! server that `ANYQUEUE_TEST_REDIS_URL` names.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::sweep::{Cuts, Remote, run};
use anyqueue_conformance_tests::{Fixture, Requirement};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_redis::redis::ConnectionAddr;
use anyqueue_redis::{RedisBackend, RedisConfig};

mod common;

struct Server;

fn config(store: &str) -> Result<RedisConfig, Error> {
    RedisConfig::from_url(&common::with_prefix(&common::url(), store))
}

#[async_trait]
impl Fixture for Server {
    fn name(&self) -> &str {
        "redis"
    }

    fn requirement(&self) -> Requirement {
        common::requirement()
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(RedisBackend::open(config(store)?)?))
    }

    async fn remove(&self, store: &str) {
        common::remove(&common::url(), store).await;
    }
}

#[async_trait]
impl Remote for Server {
    fn port(&self) -> u16 {
        match config("port").map(|config| config.nodes[0].addr().clone()) {
            Ok(ConnectionAddr::Tcp(_, port)) => port,
            _ => 0,
        }
    }

    async fn open_by(&self, store: &str, port: u16) -> Result<Arc<dyn Backend>, Error> {
        let mut config = config(store)?;
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), port);
        config.nodes[0] = config.nodes[0].clone().set_addr(address);
        Ok(Arc::new(RedisBackend::open(config)?))
    }
}

fn main() -> ExitCode {
    run(Server, Cuts::ALL)
}
