//! [`SqliteConfig`]: which file, and how, from the `sqlite:` URL.

use std::path::PathBuf;
use std::str::FromStr;

use anyqueue_core::support::percent_decode;
use anyqueue_core::{Durability, Error};

use crate::error::invalid_url;

/// Which file to use, and how.
///
/// | URL | File |
/// |---|---|
/// | `sqlite://jobs.db`, `sqlite:jobs.db` | `jobs.db` in the working directory |
/// | `sqlite:///var/lib/app/jobs.db` | `/var/lib/app/jobs.db` |
/// | `sqlite://my%20jobs.db` | `my jobs.db`: the path is percent-decoded |
///
/// | Option | Meaning |
/// |---|---|
/// | `synchronous=full` (default), `normal` | survives a loss of power, or only a crash of the process |
/// | `create=true` (default), `false` | makes the file where it is missing, or refuses |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteConfig {
    /// The file.
    pub path: PathBuf,
    /// When a commit is on stable storage.
    pub synchronous: Synchronous,
    /// What to do where the file is missing.
    pub creation: Creation,
    /// Whose threads and connections make the calls.
    pub threads: Threads,
}

/// When a commit is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Before it is acknowledged: [`Durability::Host`].
    #[default]
    Full,
    /// At the next checkpoint: [`Durability::Crash`]. A loss of power may take
    /// the latest commits back, and damages nothing.
    Normal,
}

impl Synchronous {
    /// What an acknowledged write survives.
    pub const fn durability(self) -> Durability {
        match self {
            Self::Full => Durability::Host,
            Self::Normal => Durability::Crash,
        }
    }

    /// The number of `PRAGMA synchronous`.
    pub(crate) const fn pragma(self) -> i64 {
        match self {
            Self::Full => 2,
            Self::Normal => 1,
        }
    }
}

/// What to do where the file is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Creation {
    /// Make it. Its directory must exist.
    #[default]
    IfMissing,
    /// Refuse.
    Never,
}

/// Whose threads and connections make the calls of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Threads {
    /// Those of this process for the file: calls of all its handles share
    /// transactions.
    #[default]
    Shared,
    /// Its own, as if it were another process.
    Own,
}

impl SqliteConfig {
    /// This file, with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::default(),
            creation: Creation::default(),
            threads: Threads::default(),
        }
    }

    /// The configuration that a URL describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is not a `sqlite:` URL, names no file, or has
    /// an option that is not known.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let rest = match url.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sqlite") => rest,
            _ => {
                let message = "the URL does not start with `sqlite:`; give `sqlite://jobs.db`";
                return Err(invalid_url(message));
            }
        };
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let path = percent_decode(path.strip_prefix("//").unwrap_or(path)).map_err(invalid_url)?;
        if path.contains('\0') {
            return Err(invalid_url("the URL's path has a NUL; rename the file"));
        }
        if path.is_empty() {
            let message = "the URL names no file; give `sqlite://jobs.db`";
            return Err(invalid_url(message));
        }
        if path == ":memory:" {
            let message = "SQLite's `:memory:` cannot be shared by connections; give `memory:` \
                           (feature `memory`) for jobs that die with the process, or a file";
            return Err(invalid_url(message));
        }
        let mut config = Self::new(path);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        match option {
            "synchronous=full" => self.synchronous = Synchronous::Full,
            "synchronous=normal" => self.synchronous = Synchronous::Normal,
            "create=true" => self.creation = Creation::IfMissing,
            "create=false" => self.creation = Creation::Never,
            _ => {
                let message = "the URL has an unknown option; the known ones are \
                               `synchronous=full`, `synchronous=normal`, `create=true` and \
                               `create=false`";
                return Err(invalid_url(message));
            }
        }
        Ok(())
    }
}

impl FromStr for SqliteConfig {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(url)
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::ErrorKind;

    use super::*;

    #[test]
    fn urls_name_a_file() {
        for (url, path) in [
            ("sqlite://jobs.db", "jobs.db"),
            ("sqlite:jobs.db", "jobs.db"),
            ("SQLite:jobs.db", "jobs.db"),
            ("sqlite:///abs/path.db", "/abs/path.db"),
            ("sqlite:/abs/path.db", "/abs/path.db"),
            ("sqlite://data/my%20jobs%3f%25.db?", "data/my jobs?%.db"),
        ] {
            let config = SqliteConfig::from_url(url).unwrap();
            assert_eq!(config, SqliteConfig::new(path), "{url}");
        }
    }

    #[test]
    fn options_are_read() {
        let config = SqliteConfig::from_url("sqlite://a.db?synchronous=normal&create=false");
        let config = config.unwrap();
        assert_eq!(config.synchronous, Synchronous::Normal);
        assert_eq!(config.synchronous.durability(), Durability::Crash);
        assert_eq!(config.creation, Creation::Never);
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for (url, advice) in [
            ("", "give `sqlite://jobs.db`"),
            ("postgres://u:hunter2@h", "give `sqlite://jobs.db`"),
            ("sqlite:", "names no file"),
            ("sqlite://?create=true", "names no file"),
            ("sqlite::memory:", "give `memory:`"),
            ("sqlite://:memory:", "give `memory:`"),
            ("sqlite://hunter2%2", "%25"),
            ("sqlite://hunter2%zz", "%25"),
            ("sqlite://hunter2%ff", "UTF-8"),
            ("sqlite://hunter2%00", "NUL"),
            ("sqlite://a.db?mode=hunter2", "known ones are"),
            ("sqlite://a.db?synchronous=off", "known ones are"),
        ] {
            let error = SqliteConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(advice), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }
}
