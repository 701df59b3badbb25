//! [`Payload`]: JSON text that travels untouched.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A job's argument or result: JSON text, checked for size and form once, in
/// core, before any I/O. Stores keep the text as it is, so every byte
/// round-trips: Unicode, `\u0000` escapes, 64-bit integers, nesting.
///
/// Typed decoding follows `serde_json`'s limit of 128 levels of nesting; the
/// text itself has none.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Arc<str>);

/// The default limit of a payload's text: 1 MiB.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 1024 * 1024;

impl Payload {
    /// Encodes a value as JSON of at most `limit` bytes.
    ///
    /// # Errors
    /// [`PayloadError`] where the value cannot be JSON (a map whose keys are
    /// not texts, say) or its text is longer than `limit`.
    pub fn encode<T: Serialize + ?Sized>(value: &T, limit: usize) -> Result<Self, PayloadError> {
        let text = serde_json::to_string(value).map_err(|e| PayloadError::Encode(e.into()))?;
        Self::within(text, limit)
    }

    /// Takes JSON text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`PayloadError`] where the text is no JSON or longer than `limit`.
    pub fn parse(text: impl Into<String>, limit: usize) -> Result<Self, PayloadError> {
        let text = text.into();
        serde_json::from_str::<&serde_json::value::RawValue>(&text)
            .map_err(|e| PayloadError::Encode(e.into()))?;
        Self::within(text, limit)
    }

    /// Takes text back from a store that was given it as a payload; not
    /// checked again.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    fn within(text: String, limit: usize) -> Result<Self, PayloadError> {
        let payload = Self(text.into());
        payload.check_size(limit)?;
        Ok(payload)
    }

    /// Refuses text longer than `limit`.
    pub(crate) fn check_size(&self, limit: usize) -> Result<(), PayloadError> {
        let bytes = self.0.len();
        match bytes > limit {
            true => Err(PayloadError::TooLarge { bytes, limit }),
            false => Ok(()),
        }
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Decodes the text.
    ///
    /// # Errors
    /// [`PayloadError::Decode`] where the text does not describe a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_str(&self.0).map_err(|e| PayloadError::Decode(e.into()))
    }
}

/// Payloads are private to the application: only their size is shown.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// Why a value is not a payload, or a payload not a value. Its text tells the
/// place and kind of the problem, never the content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value cannot be written as JSON, or the text is no JSON.
    Encode(JsonProblem),
    /// The JSON does not describe the expected type.
    Decode(JsonProblem),
    /// The text is over the limit.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// What is wrong with JSON, and where; without the content.
#[derive(Debug, Clone)]
pub struct JsonProblem {
    category: serde_json::error::Category,
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for JsonProblem {
    fn from(error: serde_json::Error) -> Self {
        Self {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        }
    }
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use serde_json::error::Category;
        let what = match self.category {
            Category::Io => "not writable",
            Category::Syntax => "not JSON",
            Category::Data => "not of the expected type",
            Category::Eof => "cut short",
        };
        write!(f, "{what}")?;
        if self.line > 0 {
            write!(f, " at line {} column {}", self.line, self.column)?;
        }
        Ok(())
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(problem) => write!(f, "the value cannot be a payload: {problem}"),
            Self::Decode(problem) => write!(f, "the payload does not decode: {problem}"),
            Self::TooLarge { bytes, limit } => write!(
                f,
                "the payload has {bytes} bytes, the limit is {limit}; store large data where all \
                 hosts can reach it and enqueue a reference, or raise `payload_limit`"
            ),
        }
    }
}

impl std::error::Error for PayloadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_byte_for_byte() {
        let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for text in [
            r#"{"a":"\u0000","n":18446744073709551615}"#,
            "\"☃\"",
            &nested,
        ] {
            assert_eq!(Payload::parse(text, 1 << 20).unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        assert!(Payload::encode("aa", 4).is_ok());
        let error = Payload::encode("aa", 3).unwrap_err().to_string();
        assert!(error.contains("4 bytes, the limit is 3"), "{error}");
    }

    #[test]
    fn errors_never_show_content() {
        let error = Payload::from_stored(r#"{"password":"hunter2"}"#).decode::<Vec<u8>>();
        assert!(!format!("{error:?} {}", error.as_ref().unwrap_err()).contains("hunter2"));
    }
}
