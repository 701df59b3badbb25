//! Progress: what a running job shows to those who wait for it.

use serde::{Deserialize, Serialize};

use crate::claim::Token;
use crate::settle::clean;

/// What a job last reported.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Rises by one or more at every accepted update and never falls, so that
    /// a poller sees every change once; 0 before the first.
    pub sequence: u64,
    /// The values; all empty at the start of an attempt.
    pub values: ProgressValues,
}

/// The values of one report. Each report replaces the one before as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgressValues {
    /// How much is done, 0 to 100.
    pub percent: Option<u8>,
    /// Which step is under way, counted as the application likes; stores keep
    /// it in 31 bits.
    pub step: Option<u32>,
    /// A line for people to read; at most [`Self::MAX_MESSAGE_LEN`] bytes.
    pub message: Option<String>,
}

impl ProgressValues {
    /// The longest message kept: 1 KiB.
    pub const MAX_MESSAGE_LEN: usize = 1024;

    /// Sets the percentage; over 100 is 100.
    #[must_use]
    pub fn percent(mut self, percent: u8) -> Self {
        self.percent = Some(percent.min(100));
        self
    }

    /// Sets the step.
    #[must_use]
    pub fn step(mut self, step: u32) -> Self {
        self.step = Some(step.min(i32::MAX as u32));
        self
    }

    /// Sets the message, cut on a character where it is too long.
    #[must_use]
    pub fn message(mut self, message: impl AsRef<str>) -> Self {
        self.message = Some(clean(message.as_ref(), Self::MAX_MESSAGE_LEN).into_owned());
        self
    }
}

/// A report on one held job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressUpdate {
    /// Proof of holding the job.
    pub token: Token,
    /// What it reports.
    pub values: ProgressValues,
}
