//! What `prepare` does: judges the server's live settings and marks the store
//! with its version.

use anyqueue_core::{Durability, ErrorKind};
use redis::Value;

use crate::config::Topology;
use crate::connection::{bytes, list};
use crate::error::{Failure, IN_CLUSTER};
use crate::store::Store;
use crate::wire::utf8;

/// The version of keys and records that this crate reads and writes.
const VERSION: u32 = 1;

/// The first server version with what the scripts need: flags that settle
/// before the start whether memory allows a script to run.
const OLDEST: (u32, u32) = (7, 0);

pub(crate) async fn prepare(store: &Store) -> Result<(), Failure> {
    let settings = Settings::of(store).await?;
    let durability = settings.iter().map(Settings::durability).min();
    for one in &settings {
        one.check(store.connections.config.topology)?;
    }
    mark(store).await?;
    store.set_durability(durability.unwrap_or(Durability::Process));
    Ok(())
}

/// Marks the store, or refuses one that a newer version has marked.
async fn mark(store: &Store) -> Result<(), Failure> {
    let mut set = redis::cmd("SET");
    set.arg(store.version_key())
        .arg(VERSION)
        .arg("NX")
        .arg("GET");
    let found = match store.connections.command(&set).await? {
        Value::Nil => return Ok(()),
        found => bytes(found)?,
    };
    let found: u32 = utf8(&found)?
        .parse()
        .map_err(|_| Failure::corrupt("version"))?;
    if found > VERSION {
        let message = format!(
            "the store is of version {found}, this program knows up to {VERSION}; update the \
             crate `anyqueue`, or use another prefix"
        );
        return Err(Failure::new(ErrorKind::Corrupt, message));
    }
    Ok(())
}

/// What a server says of itself. `None`: it does not say.
#[derive(Debug, Default)]
struct Settings {
    version: Option<(u32, u32)>,
    eviction: Option<String>,
    aof: Option<bool>,
    fsync: Option<String>,
    fsync_on_rewrite: Option<bool>,
    in_cluster: bool,
}

impl Settings {
    /// Of every primary: by `INFO`, which all permit, and by `CONFIG GET`
    /// where the user may.
    async fn of(store: &Store) -> Result<Vec<Self>, Failure> {
        let mut info = redis::cmd("INFO");
        info.arg("server")
            .arg("memory")
            .arg("persistence")
            .arg("cluster");
        let infos = store.connections.everywhere(&info).await?;
        let mut all = Vec::with_capacity(infos.len());
        for info in infos {
            let mut settings = Self::default();
            let info = match info {
                Value::VerbatimString { text, .. } => text,
                other => utf8(&bytes(other)?)?.to_owned(),
            };
            for line in info.lines() {
                settings.note_info(line);
            }
            all.push(settings);
        }
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg("append*").arg("maxmemory-policy");
        config.arg("no-appendfsync-on-rewrite");
        // Refused or unknown to the server: then `INFO` has to do.
        if let Ok(configs) = store.connections.everywhere(&config).await
            && configs.len() == all.len()
        {
            // The answers' order is not the same; the weakest counts anyway.
            let mut strictest = Self::default();
            for config in configs {
                strictest.note_config(config)?;
            }
            for settings in &mut all {
                settings.fsync.clone_from(&strictest.fsync);
                settings.fsync_on_rewrite = strictest.fsync_on_rewrite;
            }
        }
        Ok(all)
    }

    fn note_info(&mut self, line: &str) {
        match line.split_once(':') {
            Some(("redis_version", version)) => {
                let mut numbers = version.split('.').map_while(|part| part.parse().ok());
                self.version = numbers.next().zip(numbers.next());
            }
            Some(("maxmemory_policy", policy)) => self.eviction = Some(policy.trim().to_owned()),
            Some(("aof_enabled", enabled)) => self.aof = Some(enabled.trim() == "1"),
            Some(("cluster_enabled", enabled)) => self.in_cluster = enabled.trim() == "1",
            _ => {}
        }
    }

    /// Notes the weaker of what was known and what this server says.
    fn note_config(&mut self, config: Value) -> Result<(), Failure> {
        let fields = list(config)?.into_iter().map(bytes);
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        for pair in fields.chunks_exact(2) {
            match (utf8(&pair[0])?, utf8(&pair[1])?) {
                ("appendfsync", fsync) => {
                    let rank = |fsync: &str| match fsync {
                        "always" => 2,
                        "no" => 1,
                        _ => 0,
                    };
                    if self
                        .fsync
                        .as_deref()
                        .is_none_or(|known| rank(fsync) < rank(known))
                    {
                        self.fsync = Some(fsync.to_owned());
                    }
                }
                ("no-appendfsync-on-rewrite", no) => {
                    let known = self.fsync_on_rewrite.unwrap_or(true);
                    self.fsync_on_rewrite = Some(known && no == "no");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What an acknowledged write survives.
    ///
    /// With `appendfsync no` the append to the file is made before the
    /// answer, and left to the host. With `everysec` it is put off for up to
    /// two seconds while the last second's flush is under way
    /// (`flushAppendOnlyFile`), so that a kill may take acknowledged writes.
    fn durability(&self) -> Durability {
        match (self.aof, self.fsync.as_deref(), self.fsync_on_rewrite) {
            (Some(true), Some("always"), Some(true)) => Durability::Host,
            (Some(true), Some("always" | "no"), _) => Durability::Crash,
            _ => Durability::Process,
        }
    }

    fn check(&self, topology: Topology) -> Result<(), Failure> {
        // It would serve the queues whose slots it has, and refuse all others.
        if self.in_cluster && topology == Topology::Single {
            return Err(Failure::new(ErrorKind::InvalidInput, IN_CLUSTER));
        }
        if self.version.is_some_and(|version| version < OLDEST) {
            let message = "the server is older than Redis 7.0; update it";
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        // Also the `volatile` policies: whether they spare jobs would hang on no
        // key of theirs ever getting an expiry, from whatever hand.
        if let Some(policy) = self.eviction.as_deref()
            && policy != "noeviction"
        {
            let message = format!(
                "the server evicts keys when its memory is full (maxmemory-policy {policy}): jobs \
                 would be lost; set it to noeviction: CONFIG SET maxmemory-policy noeviction, and \
                 the same in its configuration file"
            );
            return Err(Failure::new(ErrorKind::TooWeak, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lines: &[&str], fsync: Option<&str>) -> Settings {
        let mut settings = Settings::default();
        lines.iter().for_each(|line| settings.note_info(line));
        settings.fsync = fsync.map(str::to_owned);
        settings.fsync_on_rewrite = fsync.map(|_| true);
        settings
    }

    #[test]
    fn durability_is_judged_from_what_the_server_says() {
        let of = |lines: &[&str], fsync| settings(lines, fsync).durability();
        assert_eq!(of(&["aof_enabled:1\r"], Some("always")), Durability::Host);
        assert_eq!(of(&["aof_enabled:1"], Some("no")), Durability::Crash);
        assert_eq!(
            of(&["aof_enabled:1"], Some("everysec")),
            Durability::Process
        );
        assert_eq!(of(&["aof_enabled:1"], None), Durability::Process);
        assert_eq!(of(&["aof_enabled:0"], Some("always")), Durability::Process);
        assert_eq!(of(&[], Some("always")), Durability::Process);
    }

    #[test]
    fn old_servers_and_evicting_ones_are_refused_with_what_to_do() {
        let refusal = |lines: &[&str]| {
            let refused = settings(lines, None)
                .check(Topology::Single)
                .map_err(|failure| {
                    failure
                        .into_error(anyqueue_core::Operation::Prepare)
                        .to_string()
                });
            refused.err().unwrap_or_default()
        };
        assert!(refusal(&["redis_version:6.2.14"]).contains("older than Redis 7.0"));
        for policy in ["allkeys-lru", "volatile-lru"] {
            let refused = refusal(&[&format!("maxmemory_policy:{policy}")]);
            assert!(
                refused.contains("set it to noeviction"),
                "{policy}: {refused}"
            );
        }
        for fine in [
            "redis_version:7.0.0",
            "redis_version:10.1",
            "maxmemory_policy:noeviction",
        ] {
            assert_eq!(refusal(&[fine]), "", "{fine}");
        }
    }
}
