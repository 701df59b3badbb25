//! The conformance suite against a Cluster of three nodes, which this program
//! starts on loopback.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::servers::RedisCluster;
use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_redis::RedisBackend;
use tokio::sync::OnceCell;

mod common;

use common::missing;

/// Started by the first case that runs, so that `--list` starts nothing.
#[derive(Default)]
struct Nodes(OnceCell<RedisCluster>);

#[async_trait]
impl Fixture for Nodes {
    fn name(&self) -> &str {
        "redis cluster"
    }

    fn requirement(&self) -> Requirement {
        missing().map_or(Requirement::Required, Requirement::NotRun)
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        let url = self.0.get_or_init(start).await.url();
        Ok(RedisBackend::connect(&common::with_prefix(&url, store))?)
    }

    async fn remove(&self, _store: &str) {
        // It goes with the nodes.
    }
}

async fn start() -> RedisCluster {
    RedisCluster::start().await.expect("a Cluster")
}

fn main() -> ExitCode {
    run(Nodes::default())
}
