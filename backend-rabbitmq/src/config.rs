//! [`RabbitConfig`]: which broker and which store on it, from the `amqp:` URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyqueue_core::Error;
use lapin::uri::AMQPUri;

use crate::error::invalid_url;

/// Which broker to use, and which store on it.
///
/// | URL | Store |
/// |---|---|
/// | `amqp://user:password@host` | the one named `anyqueue` in the virtual host `/` |
/// | `amqp://host:5673/jobs` | the one named `anyqueue` in the virtual host `jobs` |
/// | `amqps://host/?prefix=billing` | the one named `billing`; TLS, certificates verified |
///
/// | Option | Meaning |
/// |---|---|
/// | `prefix=anyqueue` | how the names of the store's queues begin: 1 to 64 of `a-z A-Z 0-9 . _ -` |
/// | `ca=/path/ca.pem` | trusts these certificates too |
/// | `heartbeat=10` | seconds after which a silent connection is given up |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RabbitConfig {
    pub(crate) uri: AMQPUri,
    /// How the names of the store's queues begin: the store's name.
    pub prefix: String,
    /// A file of certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Whose view of the store the handle uses.
    pub view: View,
    /// After how long an instance takes a new ticket: 10 minutes. Must be less
    /// than the broker's limit for acknowledgements (`consumer_timeout`, by
    /// default 30 minutes).
    pub ticket_age: Duration,
    /// After how many bytes of commands the ledger goes on in a new stream,
    /// behind a snapshot, and the stream before the last is deleted: 64 MiB,
    /// and at least twice the latest snapshot. Each message counts as 4 KiB
    /// more, which is what it costs the broker to read: a process that starts
    /// reads up to two such ledgers and the snapshot.
    pub ledger_bytes: u64,
}

/// Whose view of the store, thread and connection a handle uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum View {
    /// Those of this process for the store: it is folded and kept once.
    #[default]
    Shared,
    /// Its own, as if it were another process.
    Own,
}

impl RabbitConfig {
    /// The configuration that a URL describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is not an `amqp:` or `amqps:` URL, or has an
    /// option that is not known.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let wrong = || {
            invalid_url(
                "the URL names no broker; give one such as `amqp://user:password@host/vhost`, \
                 with special characters of user, password and vhost percent-encoded",
            )
        };
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let scheme = base.split_once("://").ok_or_else(wrong)?.0;
        if !["amqp", "amqps"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(wrong());
        }
        // Whatever the parser's error says may hold the URL: it is not kept.
        let mut uri: AMQPUri = base.parse().map_err(|_| wrong())?;
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        uri.query.heartbeat = Some(10);
        uri.query.connection_timeout = Some(10_000);
        let mut config = Self {
            uri,
            prefix: "anyqueue".to_owned(),
            ca: None,
            view: View::default(),
            ticket_age: Duration::from_secs(600),
            ledger_bytes: 64 * 1024 * 1024,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    /// The same for another store of the broker.
    ///
    /// # Errors
    /// `InvalidInput` where the name is not one of 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // The broker keeps names that start with this for itself.
        let reserved = prefix.starts_with("amq.");
        if !(1..=64).contains(&prefix.len()) || !prefix.chars().all(fits) || reserved {
            return Err(invalid_url(
                "the prefix may have 1 to 64 ASCII letters, digits, `-`, `_` and `.`, and not \
                 begin with `amq.`",
            ));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        match option.split_once('=') {
            Some(("prefix", prefix)) => *self = self.clone().with_prefix(prefix)?,
            Some(("ca", path)) if !path.is_empty() => self.ca = Some(path.into()),
            Some(("heartbeat", seconds)) => {
                let seconds = seconds.parse().ok().filter(|seconds| *seconds >= 1);
                let wrong = || invalid_url("`heartbeat` takes a number of seconds, 1 to 65535");
                self.uri.query.heartbeat = Some(seconds.ok_or_else(wrong)?);
            }
            _ => {
                return Err(invalid_url(
                    "the URL has an unknown option; the known ones are `prefix`, `ca` and \
                     `heartbeat`",
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for RabbitConfig {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(url)
    }
}

/// Without user and password.
impl fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitConfig")
            .field("host", &self.uri.authority.host)
            .field("port", &self.uri.authority.port)
            .field("vhost", &self.uri.vhost)
            .field("prefix", &self.prefix)
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::ErrorKind;

    use super::*;

    #[test]
    fn urls_name_a_broker_and_a_store() {
        let config = RabbitConfig::from_url("amqp://u:p%40@h:99/%2fv?prefix=a.b&heartbeat=3");
        let config = config.unwrap();
        let authority = &config.uri.authority;
        assert_eq!((authority.host.as_str(), authority.port), ("h", 99));
        assert_eq!(authority.userinfo.password, "p@");
        assert_eq!(
            (config.uri.vhost.as_str(), config.prefix.as_str()),
            ("/v", "a.b")
        );
        assert_eq!(config.uri.query.heartbeat, Some(3));
        assert!(!format!("{config:?}").contains("p@"));
        let config = RabbitConfig::from_url("AMQPS://h").unwrap();
        assert_eq!(
            (config.uri.vhost.as_str(), config.prefix.as_str()),
            ("/", "anyqueue")
        );
        assert_eq!(config.uri.authority.port, 5671);
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for (url, advice) in [
            ("", "give one such as"),
            ("postgres://u:hunter2@h", "give one such as"),
            ("amqp:hunter2", "give one such as"),
            ("amqp://u:hunter2@h:port", "give one such as"),
            ("amqp://u:hunter2@h?mode=hunter2", "known ones are"),
            ("amqp://u:hunter2@h?prefix=hunter2%20", "1 to 64"),
            ("amqp://u:hunter2@h?prefix=amq.hunter2", "1 to 64"),
            ("amqp://u:hunter2@h?prefix=", "1 to 64"),
            ("amqp://u:hunter2@h?heartbeat=hunter2", "seconds"),
        ] {
            let error = RabbitConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(advice), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }
}
