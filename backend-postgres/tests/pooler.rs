//! The conformance suite through a PgBouncer in transaction mode: four server
//! connections for all handles of all cases, so that a statement which relied on
//! anything kept on its connection would meet another's.

mod common;

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _, raw_sql,
};
use anyqueue_postgres::{Pooler, PostgresBackend, PostgresConfig, Schema};
use common::pooler::Bouncer;

const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

struct Pooled(Option<Bouncer>);

fn direct() -> PostgresConfig {
    PostgresConfig::from_url(&std::env::var(URL).unwrap_or_default()).expect("the test's URL")
}

impl Pooled {
    fn config(&self, store: &str) -> Result<PostgresConfig, Error> {
        let bouncer = self.0.as_ref().expect("it runs where the suite does");
        // Read from a URL, as an application gives it.
        let database = direct()
            .connect
            .get_database()
            .unwrap_or_default()
            .to_owned();
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
        match std::env::var_os("CI") {
            Some(_) => Requirement::Required,
            None => Requirement::where_set(URL),
        }
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(PostgresBackend::open(self.config(store)?)))
    }

    async fn remove(&self, store: &str) {
        let mut conn = PgConnection::connect_with(&direct().connect)
            .await
            .expect("a connection");
        let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {store} CASCADE")).into_sql_str();
        // A handle's last look, made in the background, may be under way.
        while let Err(error) = raw_sql(drop.clone()).execute(&mut conn).await {
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("40P01"), "the schema goes: {error}");
        }
    }
}

fn main() -> ExitCode {
    let there = std::env::var_os(URL).is_some();
    let bouncer = there.then(|| Bouncer::to(&direct().connect, &common::password(), 4));
    run(Pooled(bouncer))
}
