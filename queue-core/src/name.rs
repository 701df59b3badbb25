//! Validated names: a value of one of these types is fit for every store.
//!
//! The rule is the same for all of them, so that a name accepted with one
//! store is accepted with the next: 1 to `MAX_LEN` bytes of UTF-8, no control
//! characters, no white space at either end (some stores ignore trailing
//! spaces when they compare). Anything else is data: quotes, braces, wild
//! cards and semicolons are allowed and must be bound, never spliced.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    problem: Cow<'static, str>,
}

impl InvalidName {
    fn new(what: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            what,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}: {}", self.what, self.problem)
    }
}

impl std::error::Error for InvalidName {}

fn check(what: &'static str, max: usize, text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new(
            what,
            "it is empty; give at least one character",
        ));
    }
    if text.len() > max {
        let problem = format!("it has {} bytes; use at most {max}", text.len());
        return Err(InvalidName::new(what, problem));
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        let problem = format!(
            "control character U+{:04X} at byte {at}; use printable characters only",
            u32::from(c)
        );
        return Err(InvalidName::new(what, problem));
    }
    if text.trim() != text {
        return Err(InvalidName::new(what, "white space at an end; remove it"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest accepted text, in bytes of UTF-8.
            pub const MAX_LEN: usize = $max;

            /// Parses a text.
            ///
            /// # Errors
            /// [`InvalidName`] where the text breaks the rule of this module.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                check($what, Self::MAX_LEN, text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;
            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name! {
    /// The name of a queue: a line of jobs in one store.
    QueueName, "queue name", 128
}
name! {
    /// The stable name of a kind of job ([`Job::KIND`](crate::Job::KIND)).
    Kind, "kind", 128
}
name! {
    /// A key of which a queue holds one job at a time. Its scope is the queue.
    UniqueKey, "unique key", 256
}
name! {
    /// A short label that lists can be filtered by ("my exports").
    Tag, "tag", 64
}
name! {
    /// The name of one worker in one process, unique among all that run.
    WorkerId, "worker id", 128
}
name! {
    /// A W3C `traceparent` (or any other short trace reference) that travels
    /// with a job.
    TraceContext, "trace context", 256
}

impl QueueName {
    /// The queue used where none is named.
    pub const DEFAULT: &'static str = "default";

    /// A 14-bit hash of the name (FNV-1a, folded), the same in every process
    /// and version. Every [`JobId`](crate::JobId) carries its queue's.
    pub fn hash14(&self) -> u16 {
        let mut hash: u32 = 0x811c_9dc5;
        for byte in self.0.as_bytes() {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        ((hash >> 14) ^ hash) as u16 & 0x3fff
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl WorkerId {
    /// A new name that no other worker has.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_but_printable_names_are_valid() {
        for text in [
            "a",
            "'; DROP TABLE jobs; --",
            "{x}*?[a]",
            "ünïcødé ☃",
            "a b",
        ] {
            assert_eq!(QueueName::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_error_names_what_to_do() {
        let message = |text: &str| QueueName::new(text).unwrap_err().to_string();
        assert!(message("").contains("at least one"));
        assert!(message("a\u{7}b").contains("U+0007 at byte 1; use printable"));
        assert!(message("a\0").contains("U+0000"));
        assert!(message(" a").contains("remove it"));
        assert!(message(&"x".repeat(129)).contains("129 bytes; use at most 128"));
    }

    #[test]
    fn the_hash_is_fixed_for_ever() {
        // Stored in ids: a change would break `get` on sharded stores.
        let hash = |text: &str| QueueName::new(text).unwrap().hash14();
        assert_eq!([hash("default"), hash("reports")], [5_939, 11_655]);
    }
}
