//! From a URL to a backend.

use std::ops::Deref;
use std::sync::Arc;

use anyqueue_core::{Backend, ClientOptions, Error, ErrorKind, Operation};

/// An application's handle on a store: [`anyqueue_core::Client`], opened by a
/// URL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(anyqueue_core::Client);

impl Client {
    /// Opens the store that a URL names, and prepares it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a URL that names no store,
    /// [`ErrorKind::Unsupported`] where its feature is not enabled; otherwise
    /// what the store ends with. The text says what to do.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, ClientOptions::default()).await
    }

    /// Opens the store that a URL names, with these options.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and [`ErrorKind::TooWeak`] where the
    /// store's durability is less than the options require.
    pub async fn connect_with(url: &str, options: ClientOptions) -> Result<Self, Error> {
        anyqueue_core::Client::new(open(url).await?, options)
            .await
            .map(Self)
    }
}

impl Deref for Client {
    type Target = anyqueue_core::Client;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<anyqueue_core::Client> for Client {
    fn from(client: anyqueue_core::Client) -> Self {
        Self(client)
    }
}

/// Opens the backend that a URL names, without preparing it.
///
/// # Errors
/// As [`Client::connect`].
pub async fn open(url: &str) -> Result<Arc<dyn Backend>, Error> {
    // Never repeated in a text: what follows the scheme may hold a password.
    let scheme = match is_connection_string(url) {
        true => "sqlserver",
        false => url.split_once(':').map_or("", |(scheme, _)| scheme),
    };
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        #[cfg(feature = "memory")]
        "memory" => Ok(anyqueue_memory::MemoryBackend::connect(url)?),
        #[cfg(not(feature = "memory"))]
        "memory" => Err(missing("memory")),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(anyqueue_postgres::PostgresBackend::connect(url)?),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(missing("postgres")),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => Ok(anyqueue_rabbitmq::RabbitBackend::connect(url)?),
        #[cfg(not(feature = "rabbitmq"))]
        "amqp" | "amqps" => Err(missing("rabbitmq")),
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" => {
            Ok(anyqueue_redis::RedisBackend::connect(url)?)
        }
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" => Err(missing("redis")),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(anyqueue_sqlite::SqliteBackend::connect(url)?),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(missing("sqlite")),
        #[cfg(feature = "sqlserver")]
        "sqlserver" | "mssql" => Ok(anyqueue_sqlserver::SqlServerBackend::connect(url)?),
        #[cfg(not(feature = "sqlserver"))]
        "sqlserver" | "mssql" => Err(missing("sqlserver")),
        _ => {
            let message = "the URL names no known store; give one such as `sqlite://jobs.db`, \
                           `postgres://host/database`, `sqlserver://host/database` or `memory:`";
            Err(Error::new(
                ErrorKind::InvalidInput,
                Operation::Connect,
                "anyqueue",
                message,
            ))
        }
    }
}

/// Whether this is a connection string of SQL Server: `Server=tcp:host;…`.
fn is_connection_string(url: &str) -> bool {
    let key = url.split_once('=').map_or("", |(key, _)| key.trim());
    ["server", "data source"]
        .iter()
        .any(|known| key.eq_ignore_ascii_case(known))
}

#[allow(dead_code, reason = "with every feature, none is missing")]
fn missing(feature: &str) -> Error {
    let message = format!(
        "this build has no such backend; enable feature `{feature}` of crate `anyqueue`: cargo add \
         anyqueue --features {feature}"
    );
    Error::new(
        ErrorKind::Unsupported,
        Operation::Connect,
        "anyqueue",
        message,
    )
}

#[cfg(all(
    test,
    not(any(
        feature = "memory",
        feature = "postgres",
        feature = "rabbitmq",
        feature = "redis",
        feature = "sqlite",
        feature = "sqlserver"
    ))
))]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_is_named() {
        for (url, feature) in [
            ("memory:", "memory"),
            ("postgres://host/database", "postgres"),
            ("postgresql://host/database", "postgres"),
            ("amqp://host", "rabbitmq"),
            ("amqps://host", "rabbitmq"),
            ("redis://host", "redis"),
            ("rediss://host", "redis"),
            ("redis-cluster://one,two", "redis"),
            ("rediss-cluster://one,two", "redis"),
            ("sqlite://jobs.db", "sqlite"),
            ("sqlserver://host/database", "sqlserver"),
            ("mssql://host/database", "sqlserver"),
            ("Server=tcp:host;Database=database", "sqlserver"),
        ] {
            // Refused before any await: no runtime is needed.
            let opened = futures::FutureExt::now_or_never(open(url));
            let error = opened.expect("no I/O").err().expect("no such backend");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let advice = format!("cargo add anyqueue --features {feature}");
            assert!(error.to_string().contains(&advice), "{error}");
        }
    }
}
