//! [`PostgresConfig`]: which server and schema, and how, from the `postgres:`
//! URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyqueue_core::Error;
use anyqueue_core::support::percent_decode;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::invalid_url;
use crate::schema::Schema;

/// Which server, database and schema to use, and how.
///
/// `postgres://user:password@host:5432/database?schema=jobs&sslmode=require`;
/// `postgresql:` is the same. What the URL leaves out comes from the variables
/// `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE` and from `.pgpass`,
/// as with `psql`.
///
/// | Option | Meaning |
/// |---|---|
/// | `schema=anyqueue` | the schema that holds the store's tables |
/// | `pool=8` | the most connections of a handle, beside the one that listens |
/// | `notify=on`, `off` | whether to listen for other processes' changes, or to look now and then |
/// | `pooler=none`, `transaction` | a PgBouncer (any version and mode), or another pooler in transaction mode, is in between: nothing is kept on a connection, and `notify` is off |
/// | `statement_timeout=30` | seconds after which the server gives a statement up, and 5 s later the client its connection; 0: neither ever does, and a call hangs where the server's host is gone without a word |
/// | `sslmode` | see below |
/// | `sslrootcert`, `sslcert`, `sslkey` | files with the authority's certificate and the client's own |
/// | `host`, `hostaddr`, `port`, `dbname`, `user`, `password`, `application_name` | as in the URL's other parts |
///
/// | `sslmode` | Connection |
/// |---|---|
/// | `disable` | without TLS |
/// | `prefer` (default) | with TLS where the server offers it, its certificate unchecked: protects from nobody who can change packets |
/// | `require`, `verify-full` | with TLS; certificate and host name are verified. The default where `sslrootcert` or `sslcert` is given. (In libpq `require` verifies nothing.) |
/// | `verify-ca` | the same, but for the host name |
/// | `no-verify` | with TLS, unchecked |
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// Server, database, user and TLS.
    pub connect: PgConnectOptions,
    /// The schema that holds the store's tables.
    pub schema: Schema,
    /// The most connections of a handle, beside the one that listens.
    pub pool: u32,
    /// How changes made by other processes are noticed.
    pub wake: Wake,
    /// What stands between this process and the server.
    pub pooler: Pooler,
    /// When the server gives a statement up, and 5 s later the client its
    /// connection; `None`: never.
    pub statement_timeout: Option<Duration>,
}

/// How changes made by other processes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Wake {
    /// By LISTEN on a connection of its own.
    #[default]
    Notify,
    /// By looking, every 20 ms at first and every second at last.
    Poll,
}

/// What stands between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// Nothing, or what hands everything through, as HAProxy does.
    #[default]
    None,
    /// A pooler that may give each transaction another connection: no prepared
    /// statements, no settings and no LISTEN are kept on one. Any PgBouncer
    /// wants it, in session mode too: it refuses the settings that a connection
    /// of ours starts with.
    Transaction,
}

impl PostgresConfig {
    /// The default of [`pool`](Self::pool): a worker's claim, settle, progress
    /// and chores, a client's enqueue and reads, and a notification.
    pub const DEFAULT_POOL: u32 = 8;

    /// This server, with the defaults.
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            schema: Schema::default(),
            pool: Self::DEFAULT_POOL,
            wake: Wake::default(),
            pooler: Pooler::default(),
            statement_timeout: Some(Duration::from_secs(30)),
        }
    }

    /// The configuration that a URL describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is not a `postgres:` URL, or has an option or a
    /// value that is not known.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let known = ["postgres://", "postgresql://"];
        let scheme = known.into_iter().find(|scheme| {
            let start = url.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let Some(scheme) = scheme else {
            let message = "the URL does not start with `postgres://`; give \
                           `postgres://user:password@host/database`";
            return Err(invalid_url(message));
        };
        let rest = &url[scheme.len()..];
        let (server, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut plain = format!("postgres://{server}");
        let (mut own, mut asks_for_tls) = (Vec::new(), false);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "schema" | "pool" | "notify" | "pooler" | "statement_timeout" | "sslmode" => {
                    own.push((key, percent_decode(value).map_err(invalid_url)?));
                }
                "sslrootcert" | "sslcert" | "sslkey" | "host" | "hostaddr" | "port" | "dbname"
                | "user" | "password" | "application_name" => {
                    // Who names an authority or shows a certificate.
                    asks_for_tls |= matches!(key, "sslrootcert" | "sslcert");
                    plain.push(if plain.contains('?') { '&' } else { '?' });
                    plain.push_str(option);
                }
                _ => return Err(unknown_option()),
            }
        }
        // The driver's text could repeat the URL.
        let connect = PgConnectOptions::from_str(&plain)
            .map_err(|_| invalid_url("the URL cannot be read; percent-encode what is special"))?;
        let mut config = Self::new(connect);
        if asks_for_tls {
            config.set("sslmode", "verify-full")?;
        }
        for (key, value) in own {
            config.set(key, &value)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match (key, value) {
            ("schema", name) => self.schema = Schema::new(name)?,
            ("notify", "on") => self.wake = Wake::Notify,
            ("notify", "off") => self.wake = Wake::Poll,
            ("pooler", "none") => self.pooler = Pooler::None,
            ("pooler", "transaction") => self.pooler = Pooler::Transaction,
            ("pool", number) => {
                self.pool = number
                    .parse()
                    .ok()
                    .filter(|pool| *pool > 0)
                    .ok_or_else(|| invalid_url("the URL's `pool` is no number of at least 1"))?;
            }
            ("statement_timeout", number) => {
                let seconds: u32 = number.parse().map_err(|_| {
                    invalid_url("the URL's `statement_timeout` is no number of seconds")
                })?;
                let timeout = Duration::from_secs(seconds.into());
                self.statement_timeout = (seconds > 0).then_some(timeout);
            }
            ("sslmode", mode) => {
                let mode = ssl_mode(mode).ok_or_else(|| {
                    let message = "the URL's `sslmode` is not known; give disable, prefer, \
                                   require, verify-ca, verify-full or no-verify";
                    invalid_url(message)
                })?;
                self.connect = self.connect.clone().ssl_mode(mode);
            }
            _ => return Err(unknown_option()),
        }
        Ok(())
    }
}

fn unknown_option() -> Error {
    invalid_url(
        "the URL has an unknown option or value; the known options are schema, pool, notify=on|off, \
         pooler=none|transaction, statement_timeout, sslmode, sslrootcert, sslcert, sslkey, host, \
         hostaddr, port, dbname, user, password and application_name",
    )
}

fn ssl_mode(text: &str) -> Option<PgSslMode> {
    Some(match text {
        "disable" => PgSslMode::Disable,
        "prefer" => PgSslMode::Prefer,
        // Who asks for TLS is to get what TLS is for.
        "require" | "verify-full" => PgSslMode::VerifyFull,
        "verify-ca" => PgSslMode::VerifyCa,
        "no-verify" => PgSslMode::Require,
        _ => return None,
    })
}

impl FromStr for PostgresConfig {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(url)
    }
}

/// Without server and user: they come with a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("schema", &self.schema)
            .field("pool", &self.pool)
            .field("wake", &self.wake)
            .field("pooler", &self.pooler)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::ErrorKind;

    use super::*;

    #[test]
    fn urls_name_a_server_and_a_schema() {
        let url = "PostgreSQL://u:p%40ss@db.example:6432/jobs?schema=a%22b&pool=3&notify=off\
                   &pooler=transaction&statement_timeout=0&sslmode=require&application_name=x";
        let config = PostgresConfig::from_url(url).unwrap();
        assert_eq!(config.connect.get_host(), "db.example");
        assert_eq!(config.connect.get_port(), 6432);
        assert_eq!(config.connect.get_database(), Some("jobs"));
        assert_eq!(config.connect.get_application_name(), Some("x"));
        assert!(matches!(
            config.connect.get_ssl_mode(),
            PgSslMode::VerifyFull
        ));
        assert_eq!(config.schema.quoted(), "\"a\"\"b\"");
        assert_eq!((config.pool, config.wake), (3, Wake::Poll));
        assert_eq!(config.pooler, Pooler::Transaction);
        assert_eq!(config.statement_timeout, None);
    }

    #[test]
    fn the_defaults() {
        let config = PostgresConfig::from_url("postgres://h/d").unwrap();
        assert_eq!(config.schema, Schema::new("anyqueue").unwrap());
        assert_eq!((config.pool, config.wake), (8, Wake::Notify));
        assert!(matches!(config.connect.get_ssl_mode(), PgSslMode::Prefer));
        let mode = |options: &str| {
            let url = format!("postgres://u:sslcert=x@h/d{options}");
            let config = PostgresConfig::from_url(&url).unwrap();
            config.connect.get_ssl_mode()
        };
        assert!(matches!(mode(""), PgSslMode::Prefer));
        assert!(matches!(mode("?sslrootcert=a.pem"), PgSslMode::VerifyFull));
        let given = mode("?sslmode=verify-ca&sslrootcert=a.pem");
        assert!(matches!(given, PgSslMode::VerifyCa));
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for (url, advice) in [
            ("", "give `postgres://"),
            ("sqlite://hunter2.db", "give `postgres://"),
            ("postgres:", "give `postgres://"),
            ("postgres://hunter2:x:y@/%zz", "cannot be read"),
            ("postgres://h/d?mode=hunter2", "known options are"),
            ("postgres://h/d?schema=", "1 to 63 bytes"),
            ("postgres://h/d?schema=pg_hunter2", "1 to 63 bytes"),
            ("postgres://h/d?schema=hunter2%0a", "1 to 63 bytes"),
            ("postgres://h/d?schema=hunter2%2", "%25"),
            ("postgres://h/d?pool=hunter2", "no number"),
            ("postgres://h/d?pool=0", "no number"),
            ("postgres://h/d?notify=hunter2", "known options are"),
            ("postgres://h/d?sslmode=hunter2", "sslmode"),
        ] {
            let error = PostgresConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(advice), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[test]
    fn a_configuration_shows_no_password() {
        let config = PostgresConfig::from_url("postgres://u:hunter2@h/d").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
