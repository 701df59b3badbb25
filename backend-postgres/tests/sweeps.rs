//! The connection cut at every byte, and clients whose clock is wrong, on the
//! server that `ANYQUEUE_TEST_POSTGRES_URL` names.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::faults::sweep::{Cuts, Remote, run};
use anyqueue_conformance_tests::{Fixture, Requirement};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig, Schema};

const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

struct Server;

fn config(store: &str) -> Result<PostgresConfig, Error> {
    let mut config = PostgresConfig::from_url(&std::env::var(URL).unwrap_or_default())?;
    config.schema = Schema::new(store)?;
    config.pool = 4;
    Ok(config)
}

#[async_trait]
impl Fixture for Server {
    fn name(&self) -> &str {
        "postgres"
    }

    fn requirement(&self) -> Requirement {
        match std::env::var_os("CI") {
            Some(_) => Requirement::Required,
            None => Requirement::where_set(URL),
        }
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(PostgresBackend::open(config(store)?)))
    }

    async fn remove(&self, store: &str) {
        let connect = config(store).expect("it was opened").connect;
        let mut conn = PgConnection::connect_with(&connect)
            .await
            .expect("a connection");
        let drop = format!("DROP SCHEMA IF EXISTS {store} CASCADE");
        // What cannot be removed stays behind in a server for tests.
        let _ = raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await;
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
        cold_stride: 401,
    };
    run(Server, cuts)
}
