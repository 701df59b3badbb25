//! Stores on servers: a place of its own for each test, removed with it.

use anyqueue::{JobId, QueueName};

/// A place on the server that `ANYQUEUE_TEST_<STORE>_URL` names. Tests that
/// need one are ignored unless asked for, so its lack is a failure.
pub(super) fn url(store: &str) -> String {
    let variable = format!("ANYQUEUE_TEST_{}_URL", store.to_ascii_uppercase());
    let Ok(server) = std::env::var(&variable) else {
        panic!("{variable} is not set; `scripts/servers up {store}` starts a server");
    };
    let place = JobId::new(&QueueName::default()).to_string();
    match store {
        "postgres" => format!("{server}?schema=test_{}&pool=4", place.replace('-', "")),
        "rabbitmq" => format!("{server}?prefix=test.{place}"),
        "redis" => format!("{server}?prefix={place}:"),
        "sqlserver" => {
            let schema = format!("test_{}", place.replace('-', ""));
            match (server.contains("://"), server.contains('?')) {
                (false, _) => format!("{server};Schema={schema};Pool=4"),
                (true, false) => format!("{server}?schema={schema}&pool=4"),
                (true, true) => format!("{server}&schema={schema}&pool=4"),
            }
        }
        other => panic!("no place on {other}"),
    }
}

/// Removes the place, if it is one on a server. What cannot be removed stays
/// behind in a server for tests.
pub(super) fn remove(url: &str) {
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => postgres::remove(url),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => rabbitmq::remove(url),
        #[cfg(feature = "redis")]
        "redis" => drop(redis::remove(url)),
        #[cfg(feature = "sqlserver")]
        "sqlserver" | "mssql" | "Server=tcp" => sqlserver::remove(url),
        _ => {}
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use anyqueue_postgres::PostgresConfig;
    use anyqueue_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

    /// Removes the URL's schema.
    pub(super) fn remove(url: &str) {
        let Ok(config) = PostgresConfig::from_url(url) else {
            return;
        };
        let work = async move {
            let mut conn = PgConnection::connect_with(&config.connect).await?;
            let name = config.schema.name();
            let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {name} CASCADE"));
            raw_sql(drop).execute(&mut conn).await
        };
        // Off the test's runtime, which a drop may not block.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.ok().map(|runtime| runtime.block_on(work).is_ok())
        });
        let _ = thread.join();
    }
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq {
    use anyqueue_rabbitmq::{RabbitBackend, RabbitConfig};

    /// Removes the queues with the URL's prefix.
    pub(super) fn remove(url: &str) {
        let Ok(config) = RabbitConfig::from_url(url) else {
            return;
        };
        // Off the test's runtime, which a drop may not block.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build();
            let removed = RabbitBackend::destroy(&config);
            runtime
                .ok()
                .map(|runtime| runtime.block_on(removed).is_ok())
        });
        let _ = thread.join();
    }
}

#[cfg(feature = "redis")]
mod redis {
    use anyqueue_redis::redis;

    /// Removes what starts with the URL's prefix.
    pub(super) fn remove(url: &str) -> redis::RedisResult<()> {
        let Some((server, prefix)) = url.split_once("?prefix=") else {
            return Ok(());
        };
        let mut connection = redis::Client::open(server)?.get_connection()?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*"));
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.arg("COUNT").arg(1_000).query(&mut connection)?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec(&mut connection)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[cfg(feature = "sqlserver")]
mod sqlserver {
    use anyqueue_sqlserver::SqlServerConfig;
    use anyqueue_sqlserver::tiberius::{Client, error::Error};
    use tokio_util::compat::TokioAsyncWriteCompatExt as _;

    /// Removes the URL's schema.
    pub(super) fn remove(url: &str) {
        let Ok(config) = SqlServerConfig::from_url(url) else {
            return;
        };
        let work = async move {
            let stream = tokio::net::TcpStream::connect(config.connect.get_addr()).await?;
            let connecting = Client::connect(config.connect.clone(), stream.compat_write());
            let mut client = Box::pin(connecting).await?;
            let text = include_str!("../../../backend-sqlserver/tests/remove.sql");
            client.execute(text, &[&config.schema.name()]).await?;
            Ok::<(), Error>(())
        };
        // Off the test's runtime, which a drop may not block.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.ok().map(|runtime| runtime.block_on(work).is_ok())
        });
        let _ = thread.join();
    }
}
