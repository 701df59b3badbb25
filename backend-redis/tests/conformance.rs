//! The conformance suite against a real server: a prefix for each store.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_redis::RedisBackend;

mod common;

struct Server;

#[async_trait]
impl Fixture for Server {
    fn name(&self) -> &str {
        "redis"
    }

    fn requirement(&self) -> Requirement {
        common::requirement()
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(RedisBackend::connect(&common::with_prefix(
            &common::url(),
            store,
        ))?)
    }

    async fn remove(&self, store: &str) {
        common::remove(&common::url(), store).await;
    }
}

fn main() -> ExitCode {
    run(Server)
}
