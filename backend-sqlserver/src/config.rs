//! [`SqlServerConfig`]: which server and schema, and how, from a `sqlserver:`
//! URL or an ADO connection string.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{Error, async_trait};
use tiberius::{AuthMethod, Config, EncryptionLevel};

use crate::error::{Failure, invalid_url};
use crate::schema::Schema;
use crate::url::{self, Url};

/// Which server, database and schema to use, and how.
///
/// `sqlserver://user:password@host:1433/database?schema=jobs`; `mssql:` is the
/// same. Or a connection string as ADO.NET has it, with `schema`, `pool` and
/// `statement timeout` as further keys:
/// `Server=tcp:host,1433;Database=app;User Id=user;Password=…;Schema=jobs`.
///
/// | Option of the URL | Meaning |
/// |---|---|
/// | `schema=anyqueue` | the schema that holds the store's tables |
/// | `pool=8` | the most connections of a handle |
/// | `statement_timeout=30` | seconds after which a statement is given up; 0: never |
/// | `encrypt=true` (default) | TLS for everything |
/// | `encrypt=strict` | TLS from the first byte (TDS 8: SQL Server 2022, Azure SQL) |
/// | `encrypt=false` | TLS for the login only |
/// | `encrypt=disable` | no TLS, not even for the password |
/// | `trust_server_certificate=false` | whether any certificate will do: protects from nobody who can change packets |
/// | `trust_server_certificate_ca` | a file with the authority that is trusted too |
/// | `host_name_in_certificate` | the name to expect, where it is not the host's |
/// | `application_name=anyqueue` | what the server shows of this program |
///
/// The certificate and the host's name are verified unless it is said
/// otherwise.
#[derive(Clone)]
#[non_exhaustive]
pub struct SqlServerConfig {
    /// Server, database, user and TLS.
    pub connect: Config,
    /// The schema that holds the store's tables.
    pub schema: Schema,
    /// The most connections of a handle.
    pub pool: u32,
    /// When a statement is given up; `None`: never.
    pub statement_timeout: Option<Duration>,
    /// Who gives the access tokens of Microsoft Entra ID (Azure AD), instead of
    /// a user and password.
    pub tokens: Option<Arc<dyn TokenSource>>,
}

/// Gives access tokens for the resource `https://database.windows.net/`.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is good now; asked for at each new connection.
    ///
    /// # Errors
    /// Where there is none; the kind says whether asking again can help.
    async fn access_token(&self) -> Result<String, Error>;
}

impl dyn TokenSource {
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let token = self.access_token().await;
        token.map_err(|error| Failure::new(error.kind(), "no access token for the database"))
    }
}

impl SqlServerConfig {
    /// The default of [`pool`](Self::pool): a worker's claim, settle, progress
    /// and chores, a client's enqueue and reads, and a look for those who wait.
    pub const DEFAULT_POOL: u32 = 8;

    /// This server, with the defaults.
    pub fn new(connect: Config) -> Self {
        Self {
            connect,
            schema: Schema::default(),
            pool: Self::DEFAULT_POOL,
            statement_timeout: Some(Duration::from_secs(30)),
            tokens: None,
        }
    }

    /// The configuration that a URL or a connection string describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is neither, or has an option or a value that is
    /// not known.
    pub fn from_url(text: &str) -> Result<Self, Error> {
        match Url::parse(text)? {
            Some(url) => Self::of_url(url),
            None if url::is_ado(text) => Self::of_ado(text),
            None => {
                let message = "the URL does not start with `sqlserver://`; give \
                               `sqlserver://user:password@host/database` or \
                               `Server=host;Database=…;User Id=…;Password=…`";
                Err(invalid_url(message))
            }
        }
    }

    fn of_url(url: Url) -> Result<Self, Error> {
        let mut connect = Config::new();
        connect.host(&url.host);
        connect.port(url.port.unwrap_or(1433));
        connect.application_name("anyqueue");
        if let Some(database) = &url.database {
            connect.database(database);
        }
        if let Some((user, password)) = &url.user {
            connect.authentication(AuthMethod::sql_server(user, password));
        }
        let mut config = Self::new(connect);
        let (mut any, mut authority) = (false, None);
        for (key, value) in url.options {
            match (key.as_str(), value.as_str()) {
                ("encrypt", "true" | "yes" | "mandatory") => {
                    config.connect.encryption(EncryptionLevel::Required);
                }
                ("encrypt", "strict") => config.connect.encryption(EncryptionLevel::Strict),
                ("encrypt", "false" | "no" | "optional") => {
                    config.connect.encryption(EncryptionLevel::Off);
                }
                ("encrypt", "disable") => config.connect.encryption(EncryptionLevel::NotSupported),
                ("trust_server_certificate", "true" | "yes") => any = true,
                ("trust_server_certificate", "false" | "no") => any = false,
                ("trust_server_certificate_ca", _) => authority = Some(value),
                ("host_name_in_certificate", _) => config.connect.hostname_in_certificate(value),
                ("application_name", _) => config.connect.application_name(value),
                _ => config.set(&key, &value)?,
            }
        }
        match (any, authority) {
            (true, Some(_)) => {
                let message = "the URL trusts any certificate and names an authority; give one";
                return Err(invalid_url(message));
            }
            (true, None) => config.connect.trust_cert(),
            (false, Some(authority)) => config.connect.trust_cert_ca(authority),
            (false, None) => {}
        }
        Ok(config)
    }

    fn of_ado(text: &str) -> Result<Self, Error> {
        let (plain, own) = url::split_ado(text)?;
        // The driver's text could repeat the string.
        let connect = Config::from_ado_string(&plain).map_err(|_| {
            invalid_url(
                "the connection string cannot be read; put a value with `;` or `=` in quotes",
            )
        })?;
        let mut config = Self::new(connect);
        for (key, value) in own {
            config.set(&key, &value)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "schema" => self.schema = Schema::new(value)?,
            "pool" => {
                let pool = value.parse().ok().filter(|pool| *pool > 0);
                let message = "the URL's `pool` is no number of at least 1";
                self.pool = pool.ok_or_else(|| invalid_url(message))?;
            }
            "statement_timeout" => {
                let message = "the URL's `statement_timeout` is no number of seconds";
                let seconds: u32 = value.parse().map_err(|_| invalid_url(message))?;
                let timeout = Duration::from_secs(seconds.into());
                self.statement_timeout = (seconds > 0).then_some(timeout);
            }
            _ => {
                let message = "the URL has an unknown option or value; the known options are \
                               schema, pool, statement_timeout, encrypt=true|strict|false|disable, \
                               trust_server_certificate=true|false, trust_server_certificate_ca, \
                               host_name_in_certificate and application_name";
                return Err(invalid_url(message));
            }
        }
        Ok(())
    }
}

impl FromStr for SqlServerConfig {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(url)
    }
}

/// Without server and user: they come with a password.
impl fmt::Debug for SqlServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlServerConfig")
            .field("schema", &self.schema)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::ErrorKind;

    use super::*;

    #[test]
    fn urls_name_a_server_and_a_schema() {
        let url = "SqlServer://u:p%40ss@db.example:14330/jobs?schema=a%5Db&pool=3\
                   &statement_timeout=0&encrypt=strict&application_name=x";
        let config = SqlServerConfig::from_url(url).unwrap();
        assert_eq!(config.connect.get_addr(), "db.example:14330");
        assert_eq!(config.schema.quoted(), "[a]]b]");
        assert_eq!((config.pool, config.statement_timeout), (3, None));
        let config = SqlServerConfig::from_url("mssql://[::1]/d").unwrap();
        assert_eq!(config.connect.get_addr(), "[::1]:1433");
        assert_eq!(config.schema, Schema::new("anyqueue").unwrap());
        assert_eq!(config.pool, 8);
    }

    #[test]
    fn connection_strings_too() {
        let text = "Server=tcp:db.example,14330;Database=app;User Id=u;Password='p;w=';\
                    Schema=jobs;Pool=3";
        let config = SqlServerConfig::from_url(text).unwrap();
        assert_eq!(config.connect.get_addr(), "db.example:14330");
        assert_eq!(config.schema, Schema::new("jobs").unwrap());
        assert_eq!(config.pool, 3);
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for (url, advice) in [
            ("", "give `sqlserver://"),
            ("sqlite://hunter2.db", "give `sqlserver://"),
            ("sqlserver:", "give `sqlserver://"),
            ("sqlserver://u:hunter2@/d", "names no host"),
            ("sqlserver://u:hunter2@h:x/d", "port"),
            ("sqlserver://h/d?mode=hunter2", "known options are"),
            ("sqlserver://h/d?encrypt=hunter2", "known options are"),
            ("sqlserver://h/d?schema=", "1 to 100"),
            ("sqlserver://h/d?schema=hunter2%0a", "1 to 100"),
            ("sqlserver://h/d?schema=hunter2%2", "%25"),
            ("sqlserver://h/d?pool=hunter2", "no number"),
            ("Server=h;Pool=hunter2", "no number"),
            ("Server=h;Encrypt=hunter2", "cannot be read"),
            (
                "sqlserver://h/d?trust_server_certificate=true&trust_server_certificate_ca=hunter2",
                "give one",
            ),
        ] {
            let error = SqlServerConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(advice), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[test]
    fn a_configuration_shows_no_password() {
        let config = SqlServerConfig::from_url("sqlserver://u:hunter2@h/d").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
