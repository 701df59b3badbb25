//! The conformance suite against the server that `ANYQUEUE_TEST_POSTGRES_URL`
//! names, a schema a case. Each handle has connections of its own.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, Row as _, SqlSafeStr as _, query, raw_sql,
};
use anyqueue_postgres::{PostgresBackend, PostgresConfig, Schema};

const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

/// The most connections of a handle, and one that listens beside them.
const POOL: u32 = 4;

struct Server;

fn config(store: &str) -> Result<PostgresConfig, Error> {
    let mut config = PostgresConfig::from_url(&std::env::var(URL).unwrap_or_default())?;
    config.schema = Schema::new(store)?;
    config.pool = POOL;
    // By which the server tells whose its connections are.
    config.connect = config.connect.application_name(store);
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

    async fn left_behind(&self, store: &str) -> Option<String> {
        let connect = config(store).expect("it was opened").connect;
        let look = connect.application_name("conformance");
        let mut conn = PgConnection::connect_with(&look)
            .await
            .expect("a connection");
        let sql = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle'),
                          count(*) FILTER (WHERE state LIKE 'idle in%')
                   FROM pg_stat_activity
                   WHERE application_name = $1 AND backend_type = 'client backend'";
        let found = query(sql).bind(store).fetch_one(&mut conn).await;
        let found = found.expect("the server's view of its connections");
        let (all, busy, open): (i64, i64, i64) = (found.get(0), found.get(1), found.get(2));
        let most = i64::from(POOL) + 1;
        (busy > 0 || all > most).then(|| {
            format!("{all} connections, {busy} of them busy, {open} idle in a transaction")
        })
    }

    async fn remove(&self, store: &str) {
        let connect = config(store).expect("it was opened").connect;
        let mut conn = PgConnection::connect_with(&connect)
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
    run(Server)
}
