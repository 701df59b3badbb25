//! [`MemoryConfig`]: which store, from the `memory:` URL.

use std::str::FromStr;

use anyqueue_core::Error;

use crate::error;

/// Which store in memory to use.
///
/// | URL | Store |
/// |---|---|
/// | `memory:` | a new one for every connect, private to its handle |
/// | `memory:name` | the one of this name, shared by the whole process |
///
/// A slash pair after the colon, as other URLs have it, is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The store's name; `None` is a new private store.
    pub store: Option<String>,
}

impl MemoryConfig {
    /// The configuration that a URL describes.
    ///
    /// # Errors
    /// `InvalidInput` where it is not a `memory:` URL, or the name has other
    /// characters than ASCII letters, digits, `-`, `_` and `.`.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let Some(rest) = url.strip_prefix("memory:") else {
            return Err(error::invalid_url(
                "the URL does not start with `memory:`; give `memory:` or `memory:name`",
            ));
        };
        let name = rest.strip_prefix("//").unwrap_or(rest);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(fits) {
            return Err(error::invalid_url(
                "the store's name may hold ASCII letters, digits, `-`, `_` and `.` only; \
                 give `memory:name`, without options",
            ));
        }
        Ok(Self {
            store: (!name.is_empty()).then(|| name.to_owned()),
        })
    }
}

impl FromStr for MemoryConfig {
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
    fn urls_name_a_store_or_a_new_one() {
        let store = |url| MemoryConfig::from_url(url).unwrap().store;
        assert_eq!(store("memory:"), None);
        assert_eq!(store("memory://"), None);
        assert_eq!(store("memory:jobs-1"), Some("jobs-1".to_owned()));
        assert_eq!(store("memory://jobs-1"), Some("jobs-1".to_owned()));
    }

    #[test]
    fn other_urls_are_refused_with_what_to_do_and_without_their_text() {
        for url in [
            "",
            "memory",
            "redis://u:hunter2@h",
            "memory:a?hunter2=1",
            "memory:a b",
        ] {
            let error = MemoryConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.contains("give `memory:") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
