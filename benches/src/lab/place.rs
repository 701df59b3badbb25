//! A fresh place for each run, and the server that it is on.

use anyqueue_redis::redis;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use crate::bare::Failure;
use crate::servers::{fresh_vhost, servers};

/// The number of Redis's database that the lab empties.
const DATABASE: &str = "9";

pub(crate) struct Place {
    pub(crate) url: String,
    /// The server's first process, where there is a server.
    pub(crate) server: Option<u32>,
    _directory: Option<tempfile::TempDir>,
}

/// The variable that names a store's server, as `scripts/servers env` sets it.
pub(crate) fn variable(store: &str) -> String {
    format!("ANYQUEUE_TEST_{}_URL", store.to_uppercase())
}

pub(crate) async fn fresh(store: &str) -> Result<Place, Failure> {
    if store == "sqlite" {
        let directory = tempfile::tempdir()?;
        return Ok(Place {
            url: format!("sqlite://{}/jobs.db", directory.path().display()),
            server: None,
            _directory: Some(directory),
        });
    }
    let name = variable(store);
    let base = std::env::var(&name).map_err(|_| format!("{name} is not set: scripts/servers"))?;
    let cut = base.rfind('/').ok_or("the URL has no database")?;
    let url = match store {
        "postgres" => {
            let mut conn = PgConnection::connect(&base).await?;
            for statement in [
                "DROP DATABASE IF EXISTS anyqueue_lab WITH (FORCE)",
                "CREATE DATABASE anyqueue_lab",
                "CHECKPOINT",
            ] {
                raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
            }
            format!("{}/anyqueue_lab", &base[..cut])
        }
        "redis" => {
            let url = format!("{}/{DATABASE}", &base[..cut]);
            let mut conn = redis::Client::open(&*url)?.get_connection()?;
            redis::cmd("FLUSHDB").arg("SYNC").exec(&mut conn)?;
            // A run begins with a log of what there is.
            let _ = redis::cmd("BGREWRITEAOF").exec(&mut conn);
            loop {
                let info: String = redis::cmd("INFO").arg("persistence").query(&mut conn)?;
                if info.contains("aof_rewrite_in_progress:0") {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            url
        }
        "rabbitmq" => {
            fresh_vhost("lab")?;
            format!("{}/lab", &base[..cut])
        }
        _ => return Err(format!("no such store: {store:?}").into()),
    };
    Ok(Place {
        url,
        server: Some(server(store)?),
        _directory: None,
    })
}

/// The process of a server that `scripts/servers` started.
fn server(store: &str) -> Result<u32, Failure> {
    let status = servers(&["status", store])?;
    let number = status
        .split("process ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    Ok(number.ok_or("its status names no process")?.parse()?)
}
