//! The connection cut at every byte, and clients whose clock is wrong, on the
//! server that `ANYQUEUE_TEST_POSTGRES_URL` names.

mod common;

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::sweep::{Cuts, Remote, run};
use anyqueue_conformance_tests::{Fixture, Requirement};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::PostgresBackend;
use common::config;

struct Server;

#[async_trait]
impl Fixture for Server {
    fn name(&self) -> &str {
        "postgres"
    }

    fn requirement(&self) -> Requirement {
        Requirement::where_set_or_in_ci(common::URL)
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(PostgresBackend::open(config(store)?)))
    }

    async fn remove(&self, store: &str) {
        common::remove(store).await;
    }
}

#[async_trait]
impl Remote for Server {
    fn port(&self) -> u16 {
        config("port").map_or(0, |config| config.connect.get_port())
    }

    async fn open_by(&self, store: &str, port: u16) -> Result<Arc<dyn Backend>, Error> {
        let mut config = config(store)?;
        config.connect = config.connect.port(port);
        config.pool = 1;
        Ok(Arc::new(PostgresBackend::open(config)))
    }
}

fn main() -> ExitCode {
    let cuts = Cuts {
        ends: 40,
        stride: 17,
        cold_start: 0,
        cold_stride: 401,
    };
    run(Server, cuts)
}
