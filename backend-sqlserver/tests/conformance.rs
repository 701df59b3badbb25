//! The conformance suite against the server that `ANYQUEUE_TEST_SQLSERVER_URL`
//! names, a schema a case. Each handle has connections of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_sqlserver::tiberius::Client;
use anyqueue_sqlserver::{Schema, SqlServerBackend, SqlServerConfig};
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

const URL: &str = "ANYQUEUE_TEST_SQLSERVER_URL";

struct Server;

fn config(store: &str) -> Result<SqlServerConfig, Error> {
    let mut config = SqlServerConfig::from_url(&std::env::var(URL).unwrap_or_default())?;
    config.schema = Schema::new(store)?;
    config.pool = 4;
    Ok(config)
}

#[async_trait]
impl Fixture for Server {
    fn name(&self) -> &str {
        "sqlserver"
    }

    /// Not required by CI alone: this one server is not to be had everywhere.
    fn requirement(&self) -> Requirement {
        match std::env::var_os(URL) {
            Some(_) => Requirement::Required,
            None => Requirement::NotRun(format!("no SQL Server ({URL} is not set)")),
        }
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(Arc::new(SqlServerBackend::open(config(store)?)))
    }

    /// The server may be far away, in a cloud.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(900)
    }

    async fn remove(&self, store: &str) {
        let connect = config(store).expect("it was opened").connect;
        let stream = tokio::net::TcpStream::connect(connect.get_addr()).await;
        let stream = stream.expect("a connection").compat_write();
        let login = Box::pin(Client::connect(connect, stream)).await;
        let mut client = login.expect("a login");
        let text = include_str!("remove.sql");
        let removed = client.execute(text, &[&store]).await;
        removed.expect("the schema goes");
    }
}

fn main() -> ExitCode {
    run(Server)
}
