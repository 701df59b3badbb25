//! From what Redis says to core's [`Error`]: the one place that knows its
//! codes. No text of the server's holds a payload or a password.

use std::borrow::Cow;

use anyqueue_core::{Error, ErrorKind, Operation};
use redis::{ErrorKind as Native, RedisError, ServerErrorKind as Server};

use crate::backend::NAME;

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: Option<Cow<'static, str>>,
    source: Option<RedisError>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let message = Some(message.into());
        Self {
            kind,
            message,
            source: None,
        }
    }

    /// A stored value that this version cannot read.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        let message = format!("the store holds a {what} that this version cannot read");
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The same for a connection that was not made: nothing happened.
    pub(crate) fn of_connect(mut self) -> Self {
        if self.kind == ErrorKind::Unknown {
            self.kind = ErrorKind::Unavailable;
        }
        self
    }

    /// The same where a part of the call had taken effect before: what
    /// failed last does not tell of the whole.
    pub(crate) fn after_a_part(mut self) -> Self {
        self.kind = ErrorKind::Unknown;
        self
    }

    /// Core's error for the call that this ends.
    pub(crate) fn into_error(self, operation: Operation) -> Error {
        let error = match self.source {
            Some(source) => Error::from_source(self.kind, operation, NAME, source),
            None => Error::new(self.kind, operation, NAME, ""),
        };
        match self.message {
            Some(message) => error.with_message(message),
            None => error,
        }
    }
}

impl From<RedisError> for Failure {
    fn from(source: RedisError) -> Self {
        let (kind, advice) = judge(&source);
        Self {
            kind,
            message: advice.map(Cow::Borrowed),
            source: Some(source),
        }
    }
}

/// Whether the connection is of no use after this error. A timeout counts:
/// what the connection is stuck in holds up all that share it.
pub(crate) fn breaks_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            Native::Parse | Native::Server(Server::ReadOnly | Server::MasterDown)
        )
        || matches!(error.code(), Some("NOAUTH" | "UNBLOCKED"))
}

/// The kind of a native error, and what to do where the native text does not
/// say so.
fn judge(error: &RedisError) -> (ErrorKind, Option<&'static str>) {
    match error.kind() {
        // Sent, perhaps executed, and no answer, or the beginning of one.
        Native::Io | Native::Parse => (ErrorKind::Unknown, None),
        Native::AuthenticationFailed => (ErrorKind::Denied, Some(CREDENTIALS)),
        Native::InvalidClientConfig => (ErrorKind::InvalidInput, None),
        Native::ClusterConnectionNotFound => (ErrorKind::Unavailable, None),
        Native::UnexpectedReturnType => (ErrorKind::Corrupt, None),
        Native::Server(kind) => judge_server(kind, error),
        _ => judge_code(error),
    }
}

pub(crate) const IN_CLUSTER: &str =
    "the server is one of a cluster; give a URL that starts with `redis-cluster:`";
const CREDENTIALS: &str = "the server refuses the URL's user and password; correct them";

fn judge_server(kind: Server, error: &RedisError) -> (ErrorKind, Option<&'static str>) {
    match kind {
        Server::BusyLoading | Server::TryAgain | Server::ClusterDown | Server::MasterDown => {
            (ErrorKind::Unavailable, None)
        }
        // A fail-over makes a replica of the server that we were connected to.
        Server::ReadOnly => (
            ErrorKind::Unavailable,
            Some("the server is a read-only replica; give the address of the primary"),
        ),
        Server::Moved | Server::Ask => (ErrorKind::Unavailable, Some(IN_CLUSTER)),
        Server::NoPerm => (
            ErrorKind::Denied,
            Some("the user may not do this; the crate's documentation lists what it needs"),
        ),
        Server::ResponseError => judge_text(error.detail().unwrap_or_default()),
        _ => (ErrorKind::Internal, None),
    }
}

/// What has no code of its own.
fn judge_text(text: &str) -> (ErrorKind, Option<&'static str>) {
    if text.contains("max number") {
        return (ErrorKind::Unavailable, None);
    }
    if text.contains("cluster support disabled") {
        let advice = "the server is not one of a cluster; give a URL that starts with `redis:`";
        return (ErrorKind::InvalidInput, Some(advice));
    }
    (ErrorKind::Internal, None)
}

fn judge_code(error: &RedisError) -> (ErrorKind, Option<&'static str>) {
    match error.code() {
        Some("OOM") => (
            ErrorKind::Unavailable,
            Some("the server's memory is full; raise `maxmemory`, or let finished jobs go earlier"),
        ),
        Some("NOAUTH" | "WRONGPASS") => (ErrorKind::Denied, Some(CREDENTIALS)),
        Some("MISCONF") => (
            ErrorKind::Unavailable,
            Some("the server cannot write to its disk; free space there"),
        ),
        Some("NOREPLICAS" | "BUSY" | "UNBLOCKED") => (ErrorKind::Unavailable, None),
        _ => (ErrorKind::Internal, None),
    }
}

/// The URL names no store. The text never repeats the URL, which may hold a
/// password.
pub(crate) fn invalid_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}
