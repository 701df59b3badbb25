//! The conformance suite through a PgBouncer in transaction mode: four server
//! connections for all handles of all cases, so that a statement which relied on
//! anything kept on its connection would meet another's.

mod common;

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::servers::PgBouncer;
use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::sqlx::postgres::PgConnectOptions;
use anyqueue_postgres::{Pooler, PostgresBackend, PostgresConfig, Schema};

struct Pooled(Option<PgBouncer>);

fn direct() -> PgConnectOptions {
    common::config("direct").expect("the test's URL").connect
}

impl Pooled {
    fn config(&self, store: &str) -> Result<PostgresConfig, Error> {
        let bouncer = self.0.as_ref().expect("it runs where the suite does");
        // Read from a URL, as an application gives it.
        let database = direct().get_database().unwrap_or_default().to_owned();
        let mut config = PostgresConfig::from_url(&format!(
            "postgres://application@127.0.0.1:{}/{database}?pooler=transaction&pool=4",
            bouncer.port()
        ))?;
        assert_eq!(config.pooler, Pooler::Transaction);
        config.schema = Schema::new(store)?;
        Ok(config)
    }
}

#[async_trait]
impl Fixture for Pooled {
    fn name(&self) -> &str {
        "postgres through pgbouncer"
    }

    fn requirement(&self) -> Requirement {
        Requirement::where_set_or_in_ci(common::URL)
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(PostgresBackend::open(self.config(store)?)))
    }

    async fn remove(&self, store: &str) {
        common::remove(store).await;
    }
}

fn main() -> ExitCode {
    let there = std::env::var_os(common::URL).is_some();
    let bouncer = there.then(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let server = common::connection_string(&direct());
        let bouncer = runtime.block_on(PgBouncer::to(&server, 4));
        bouncer.expect("a PgBouncer")
    });
    run(Pooled(bouncer))
}
