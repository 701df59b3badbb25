//! [`JobError`]: what a handler can end with.

use std::fmt;
use std::time::Duration;

use crate::settle::ErrorText;

/// Why a handler did not complete, and what is to become of the job.
///
/// Any error converts with `?` and means "retry as the policy says". It does
/// not implement [`std::error::Error`] itself, so that this conversion can
/// exist (as in `anyhow`).
#[derive(Debug, Clone)]
pub struct JobError {
    pub(crate) verdict: Verdict,
    pub(crate) message: ErrorText,
}

/// What is to become of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry,
    RetryAfter(Duration),
    Fail,
    Snooze(Duration),
    Cancelled,
}

impl JobError {
    /// A failure with this text, retried as the job's policy says.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::with(Verdict::Retry, message)
    }

    /// A failure that another attempt would not mend: the job ends `failed`.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self::with(Verdict::Fail, message)
    }

    /// A failure that is retried after this wait, where an attempt is left.
    pub fn retry_after(delay: Duration, message: impl fmt::Display) -> Self {
        Self::with(Verdict::RetryAfter(delay), message)
    }

    /// Not a failure: it is not the job's time. It runs again after this
    /// wait, and the attempt is not charged. The reason is shown on the job.
    pub fn snooze(delay: Duration, reason: impl fmt::Display) -> Self {
        Self::with(Verdict::Snooze(delay), reason)
    }

    /// The handler stopped because cancellation was requested.
    pub fn cancelled() -> Self {
        Self::with(Verdict::Cancelled, "cancelled on request")
    }

    /// The same failure, made final.
    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.verdict = Verdict::Fail;
        self
    }

    /// The text that is kept with the job.
    pub fn message(&self) -> &str {
        self.message.as_str()
    }

    fn with(verdict: Verdict, message: impl fmt::Display) -> Self {
        Self {
            verdict,
            message: ErrorText::new(message.to_string()),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// The error's text with those of its sources, joined by colons.
impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Many errors repeat their source's text in their own.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = inner.source();
        }
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_converts_with_its_sources() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("row 7")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let failing = || -> Result<(), JobError> { Err(Outer("x".parse::<u8>().unwrap_err()))? };
        let error = failing().unwrap_err();
        assert_eq!(error.message(), "row 7: invalid digit found in string");
        assert_eq!(error.verdict, Verdict::Retry);
        assert_eq!(error.no_retry().verdict, Verdict::Fail);
    }
}
