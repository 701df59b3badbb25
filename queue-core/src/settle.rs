//! Settling: a worker's report of what became of a claimed job.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claim::Token;
use crate::payload::Payload;

/// The report on one claimed job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Proof of holding the job.
    pub token: Token,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded. Ends `completed`, also where cancellation was requested.
    Complete {
        /// What the handler returned.
        result: Payload,
    },
    /// It failed and is to run again: `scheduled` after the delay, `ready` at
    /// once where that is zero. Ends `cancelled` where that was requested.
    Retry {
        /// The wait.
        delay: Duration,
        /// Why it failed.
        error: ErrorText,
    },
    /// It failed for good. Ends `failed`.
    Fail {
        /// Why it failed.
        error: ErrorText,
    },
    /// It was not its time: `scheduled` after the delay, the attempt given
    /// back. Ends `cancelled` where that was requested.
    Snooze {
        /// The wait.
        delay: Duration,
        /// Why it waits, for people to read.
        reason: Option<ErrorText>,
    },
    /// It was not run, or not to its end: `ready` at once, the attempt given
    /// back. Ends `cancelled` where that was requested.
    Release,
}

impl Outcome {
    /// The outcome without its contents.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Complete { .. } => OutcomeKind::Complete,
            Self::Retry { .. } => OutcomeKind::Retry,
            Self::Fail { .. } => OutcomeKind::Fail,
            Self::Snooze { .. } => OutcomeKind::Snooze,
            Self::Release => OutcomeKind::Release,
        }
    }
}

/// An [`Outcome`] without its contents. A job keeps that of its last settle,
/// with the counter, so that a settle whose answer was lost can be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[allow(missing_docs)]
pub enum OutcomeKind {
    Complete = 1,
    Retry = 2,
    Fail = 3,
    Snooze = 4,
    Release = 5,
}

impl OutcomeKind {
    /// The stored number.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The stable lower-case name, as used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Snooze => "snooze",
            Self::Release => "release",
        }
    }
}

/// A backend's answer to one settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// It took effect, now or when it was first asked.
    Accepted,
    /// The token does not hold the job; nothing was changed.
    Stale,
}

/// An error's text or a reason: at most [`ErrorText::MAX_LEN`] bytes, cut on a
/// character. NUL characters, which some stores cannot hold in text, become
/// U+FFFD.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ErrorText(Arc<str>);

impl ErrorText {
    /// The longest text kept: 8 KiB.
    pub const MAX_LEN: usize = 8 * 1024;

    /// The error kept of an attempt whose lease ran out.
    pub const LEASE_EXPIRED: &'static str = "lease expired";

    /// Takes a text, cut where it is too long.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(clean(text.as_ref(), Self::MAX_LEN).into())
    }

    /// [`Self::LEASE_EXPIRED`] as an error's text.
    pub fn lease_expired() -> Self {
        Self(Self::LEASE_EXPIRED.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest start of `text` that has at most `max` bytes, NUL replaced.
pub(crate) fn clean(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    let cut = |text: &str| text.floor_char_boundary(max.min(text.len()));
    if text.contains('\0') {
        let mut clean = text.replace('\0', "\u{fffd}");
        clean.truncate(cut(&clean));
        clean.into()
    } else {
        text[..cut(text)].into()
    }
}

impl From<String> for ErrorText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for ErrorText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<ErrorText> for String {
    fn from(text: ErrorText) -> Self {
        text.0.as_ref().to_owned()
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_a_character_and_freed_of_nul() {
        assert_eq!(clean("a☃b", 3), "a");
        assert_eq!(clean("a☃b", 4), "a☃");
        assert_eq!(clean("a\0b", 9), "a\u{fffd}b");
        assert_eq!(ErrorText::new("x".repeat(9_000)).as_str().len(), 8_192);
    }
}
