//! [`Error`]: what a call on a client or backend can end with. What a handler
//! can end with is another type, [`JobError`](crate::JobError).

use std::fmt;

use crate::capability::Capability;

/// The source of an error, whatever it was.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failed call: which operation, on which backend, what kind of failure,
/// and why. Prints as `claim on postgres: unavailable: connection reset`.
/// Never holds a payload, a result or a password.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    operation: Operation,
    backend: &'static str,
    kind: ErrorKind,
    message: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// An error with a text that names what to do.
    pub fn new(
        kind: ErrorKind,
        operation: Operation,
        backend: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            operation,
            backend,
            kind,
            message: Some(message.into()),
            source: None,
        }))
    }

    /// An error that another one caused.
    pub fn from_source(
        kind: ErrorKind,
        operation: Operation,
        backend: &'static str,
        source: impl Into<Source>,
    ) -> Self {
        Self(Box::new(Parts {
            operation,
            backend,
            kind,
            message: None,
            source: Some(source.into()),
        }))
    }

    /// Adds a text that names what to do.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// The error for a call that needs what the backend does not offer.
    pub fn unsupported(
        capability: Capability,
        operation: Operation,
        backend: &'static str,
    ) -> Self {
        let message = format!("this backend does not offer {capability}; choose one that does");
        Self::new(ErrorKind::Unsupported, operation, backend, message)
    }

    /// What kind of failure it was.
    pub const fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was tried.
    pub const fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The backend's name.
    pub const fn backend(&self) -> &'static str {
        self.0.backend
    }

    /// The same error once more, for another caller of a shared batch: the
    /// source becomes text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let parts = &self.0;
        Self(Box::new(Parts {
            operation: parts.operation,
            backend: parts.backend,
            kind: parts.kind,
            message: Some(self.reason()),
            source: None,
        }))
    }

    fn reason(&self) -> String {
        let parts = &self.0;
        match (&parts.message, &parts.source) {
            (Some(message), Some(source)) => format!("{message}: {source}"),
            (Some(message), None) => message.clone(),
            (None, Some(source)) => source.to_string(),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        let (operation, backend, kind) = (parts.operation, parts.backend, parts.kind);
        write!(f, "{operation} on {backend}: {kind}: {}", self.reason())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The source's text is part of this error's own.
        self.0.source.as_ref().and_then(|source| source.source())
    }
}

/// What kind of failure: what can be said of the call's effect, and whether
/// asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, a URL or a setting is wrong. Nothing happened.
    InvalidInput,
    /// The backend does not offer what was asked. Nothing happened.
    Unsupported,
    /// The store's live settings are weaker than what was required. Nothing
    /// happened.
    TooWeak,
    /// The store refuses: credentials, permissions, read-only. Nothing
    /// happened.
    Denied,
    /// The store was not reached, or is starting, stopping or full. Nothing
    /// happened; asking again can help.
    Unavailable,
    /// The store could not do it beside other calls: deadlock, busy,
    /// serialisation. Nothing happened; asking again helps.
    Conflict,
    /// The connection was lost in the middle of the call: it may or may not
    /// have taken effect. Every call of the contract can be asked again safely.
    Unknown,
    /// The store holds what this version cannot read.
    Corrupt,
    /// What was named does not exist.
    NotFound,
    /// A defect in a backend or in core.
    Internal,
}

impl ErrorKind {
    /// Whether the same call, asked again, may succeed.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Conflict | Self::Unknown)
    }

    /// Whether the call may have taken effect.
    pub const fn may_have_happened(self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidInput => "invalid input",
            Self::Unsupported => "unsupported",
            Self::TooWeak => "too weak",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Unknown => "outcome unknown",
            Self::Corrupt => "corrupt",
            Self::NotFound => "not found",
            Self::Internal => "internal",
        })
    }
}

/// What was tried: the methods of [`Backend`](crate::Backend), and opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Operation {
    Connect,
    Prepare,
    Enqueue,
    Claim,
    Heartbeat,
    Settle,
    Progress,
    Cancel,
    Retry,
    Get,
    List,
    Counts,
    Queues,
    SetFlow,
    Maintain,
    Wait,
    Work,
}

impl Operation {
    /// The stable lower-case name, as used in errors and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Prepare => "prepare",
            Self::Enqueue => "enqueue",
            Self::Claim => "claim",
            Self::Heartbeat => "heartbeat",
            Self::Settle => "settle",
            Self::Progress => "progress",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Get => "get",
            Self::List => "list",
            Self::Counts => "counts",
            Self::Queues => "queues",
            Self::SetFlow => "set flow",
            Self::Maintain => "maintain",
            Self::Wait => "wait",
            Self::Work => "work",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
