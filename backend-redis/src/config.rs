//! [`RedisConfig`]: which server, and how, from the `redis:` URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyqueue_core::Error;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::invalid_url;

/// Which server to use, and how.
///
/// | URL | Server |
/// |---|---|
/// | `redis://host`, `redis://user:password@host:6379/0` | one server, its database 0 |
/// | `rediss://host` | the same by TLS; the certificate is verified with the system's roots |
/// | `redis-cluster://user:password@one:7000,two:7000` | a Cluster, found by any of these nodes |
/// | `rediss-cluster://one:7000,two:7000` | the same by TLS |
///
/// The server of a `redis:` URL must not be a Cluster's node, not even of a
/// Cluster of one, and a `redis-cluster:` URL must lead to a Cluster: `prepare`
/// refuses what does not fit. The nodes take the same user and password, and are
/// reached by the addresses that they tell of themselves (`CLUSTER SLOTS`), so
/// these must lead there from here.
///
/// User and password are percent-decoded.
///
/// | Option | Meaning |
/// |---|---|
/// | `prefix=anyqueue:` (default) | what all keys start with: 1 to 64 bytes without braces |
/// | `timeout=30` (default) | seconds that an answer may take, 1 to 3600 |
///
/// Stores with different prefixes share a server and nothing else.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The server, or nodes of the Cluster; at least one.
    pub nodes: Vec<ConnectionInfo>,
    /// Whether the nodes are one server or a Cluster's.
    pub topology: Topology,
    /// What all keys and the channel's name start with.
    pub prefix: String,
    /// How long an answer may take; then the call's outcome is unknown and the
    /// connection replaced.
    pub timeout: Duration,
}

/// What the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topology {
    /// One server.
    Single,
    /// Nodes of a Cluster.
    Cluster,
}

/// Says nothing of user and password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.addr().to_string())
            .collect();
        f.debug_struct("RedisConfig")
            .field("nodes", &nodes)
            .field("topology", &self.topology)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl RedisConfig {
    /// The prefix where none is given.
    pub const DEFAULT_PREFIX: &'static str = "anyqueue:";

    /// The configuration that a URL describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is no such URL, names no server, or has an
    /// option that is not known.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (native, topology) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => ("redis", Topology::Single),
            "rediss" => ("rediss", Topology::Single),
            "redis-cluster" => ("redis", Topology::Cluster),
            "rediss-cluster" => ("rediss", Topology::Cluster),
            _ => return Err(invalid_url(NO_SCHEME)),
        };
        let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
        if address.contains('#') || options.contains('#') {
            // The redis crate's `#insecure` would switch verification off.
            return Err(invalid_url(
                "the URL has a fragment; write a `#` of the password as `%23`",
            ));
        }
        let (user, hosts) = match address.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), address),
        };
        let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
        if topology == Topology::Cluster && !matches!(database, "" | "0") {
            return Err(invalid_url("a Cluster has database 0 only; leave it out"));
        }
        if topology == Topology::Single && hosts.contains(',') {
            return Err(invalid_url(
                "the URL names several servers; one that starts with `redis-cluster:` may",
            ));
        }
        let node = |host: &str| {
            if host.is_empty() {
                return Err(invalid_url("the URL names no server; give `redis://host`"));
            }
            let url = format!("{native}://{user}{host}/{database}");
            url.as_str()
                .into_connection_info()
                .map_err(|_| invalid_url(NOT_READ))
        };
        let nodes = hosts.split(',').map(node).collect::<Result<_, _>>()?;
        let mut config = Self {
            nodes,
            topology,
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            timeout: Duration::from_secs(30),
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        match option.split_once('=') {
            Some(("prefix", prefix)) => {
                self.prefix = prefix.to_owned();
                self.check()
            }
            Some(("timeout", seconds)) => {
                let seconds = seconds.parse().ok().filter(|s| (1..=3_600).contains(s));
                let seconds = seconds.ok_or_else(|| {
                    invalid_url("the URL's `timeout` is no number of seconds from 1 to 3600")
                })?;
                self.timeout = Duration::from_secs(seconds);
                Ok(())
            }
            _ => Err(invalid_url(
                "the URL has an unknown option; the known ones are `prefix=anyqueue:` and \
                 `timeout=30`",
            )),
        }
    }

    /// Whether the prefix can be one, and there is a server.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}');
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.chars().all(fits) {
            return Err(invalid_url(
                "the prefix may have 1 to 64 visible ASCII characters, and no braces; give one \
                 such as `prefix=anyqueue:`",
            ));
        }
        if self.nodes.is_empty() {
            return Err(invalid_url("there is no server; give one node at least"));
        }
        Ok(())
    }
}

const NO_SCHEME: &str = "the URL does not start with `redis://`, `rediss://`, `redis-cluster://` \
                         or `rediss-cluster://`; give `redis://host`";
const NOT_READ: &str = "the URL is not understood; give `redis://user:password@host:6379/0`, user \
                        and password percent-encoded";

impl FromStr for RedisConfig {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(url)
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::ErrorKind;

    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let config = RedisConfig::from_url(url).unwrap();
        config.nodes.iter().map(|n| n.addr().to_string()).collect()
    }

    #[test]
    fn urls_name_servers() {
        assert_eq!(addresses("redis://h"), ["h:6379"]);
        assert_eq!(addresses("Redis://u:p@h:1/2?prefix=a:"), ["h:1"]);
        assert_eq!(addresses("redis-cluster://u:p@h:1,i:2"), ["h:1", "i:2"]);
        let config = RedisConfig::from_url("redis://u%40:p%2F@h/3?prefix=jobs.&timeout=5").unwrap();
        let settings = config.nodes[0].redis_settings();
        assert_eq!(
            (settings.username(), settings.password()),
            (Some("u@"), Some("p/"))
        );
        assert_eq!(settings.db(), 3);
        assert_eq!(
            (config.prefix.as_str(), config.timeout.as_secs()),
            ("jobs.", 5)
        );
        assert_eq!(config.topology, Topology::Single);
        let config = RedisConfig::from_url("rediss-cluster://h").unwrap();
        assert_eq!(config.topology, Topology::Cluster);
        assert!(matches!(
            config.nodes[0].addr(),
            redis::ConnectionAddr::TcpTls {
                insecure: false,
                ..
            }
        ));
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for (url, advice) in [
            ("", "give `redis://host`"),
            ("postgres://u:hunter2@h", "give `redis://host`"),
            ("redis://", "names no server"),
            ("redis://u:hunter2@", "names no server"),
            ("redis://u:hunter2@a,b", "redis-cluster"),
            ("redis-cluster://u:hunter2@a/1", "database 0"),
            ("redis://u:hunter2@h:port", "not understood"),
            ("rediss://u:hunter2@h/#insecure", "%23"),
            ("redis://h?mode=hunter2", "known ones are"),
            ("redis://h?prefix={hunter2}", "no braces"),
            ("redis://h?prefix=", "no braces"),
            ("redis://h?timeout=0", "1 to 3600"),
        ] {
            let error = RedisConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(advice), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
        let debug = format!(
            "{:?}",
            RedisConfig::from_url("redis://u:hunter2@h").unwrap()
        );
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
