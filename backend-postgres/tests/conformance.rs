//! The conformance suite against the server that `ANYQUEUE_TEST_POSTGRES_URL`
//! names, a schema a case. Each handle has connections of its own.

mod common;

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_postgres::sqlx::{Connection as _, PgConnection, Row as _, query};
use anyqueue_postgres::{PostgresBackend, PostgresConfig};

struct Server;

fn config(store: &str) -> Result<PostgresConfig, Error> {
    let mut config = common::config(store)?;
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
        Requirement::where_set_or_in_ci(common::URL)
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
        // And one that listens beside them.
        let most = i64::from(common::POOL) + 1;
        (busy > 0 || all > most).then(|| {
            format!("{all} connections, {busy} of them busy, {open} idle in a transaction")
        })
    }

    async fn remove(&self, store: &str) {
        common::remove(store).await;
    }
}

fn main() -> ExitCode {
    run(Server)
}
