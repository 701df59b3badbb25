//! The conformance suite against the server that `ANYQUEUE_TEST_POSTGRES_URL`
//! names, a schema a case. Each handle has connections of its own.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
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
        // A run of CI without the server must not look like one that passed.
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
        let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {store} CASCADE"));
        raw_sql(drop)
            .execute(&mut conn)
            .await
            .expect("the schema goes");
    }
}

fn main() -> ExitCode {
    run(Server)
}
