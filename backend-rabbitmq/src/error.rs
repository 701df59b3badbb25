//! From what can go wrong here to core's [`Error`].

use std::sync::Arc;

use anyqueue_core::{Error, ErrorKind, Operation};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::backend::NAME;
use crate::wire::Unreadable;

/// Why something failed, before it is known for which call. Shared by the
/// calls that fail with it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Arc<str>,
    /// The instance's place in the ledger is not there (any more): the fold is
    /// to be loaded anew.
    pub(crate) displaced: bool,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            displaced: false,
        }
    }

    /// What the instance has folded is not what the ledger has. Calls may come
    /// again: the newest snapshot mends it.
    pub(crate) fn displaced(message: impl Into<Arc<str>>) -> Self {
        Self {
            displaced: true,
            ..Self::new(ErrorKind::Unavailable, message)
        }
    }

    /// The error of a call that failed so.
    pub(crate) fn of(&self, operation: Operation) -> Error {
        Error::new(self.kind, operation, NAME, &*self.message)
    }

    /// The same for a call whose command may have been accepted.
    pub(crate) fn unknown(&self) -> Self {
        let message = format!("sent, and not seen in the ledger: {}", self.message);
        Self::new(ErrorKind::Unknown, message)
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        let message = match unreadable {
            Unreadable::Newer => {
                "the ledger holds messages of a newer version of this crate; use that version in \
                 every process"
            }
            Unreadable::Garbled => {
                "the ledger holds a message that cannot be read; something else publishes to the \
                 store's queues: give the store a `prefix` of its own"
            }
        };
        Self::new(ErrorKind::Corrupt, message)
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        let (kind, advice) = classify(&error);
        let text = text_of(&error);
        match advice {
            Some(advice) => Self::new(kind, format!("{advice}: {text}")),
            None => Self::new(kind, text),
        }
    }
}

/// The broker's words. They hold names of queues, users and hosts; the client
/// sends the broker no payload that it would repeat.
fn text_of(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().as_str().to_owned(),
        _ => error.to_string(),
    }
}

fn classify(error: &lapin::Error) -> (ErrorKind, Option<&'static str>) {
    use AMQPErrorKind::{Hard, Soft};
    let lapin::ErrorKind::ProtocolError(native) = error.kind() else {
        return match error.kind() {
            lapin::ErrorKind::IOError(error) if is_tls(error) => (
                ErrorKind::Denied,
                Some("TLS failed; check the broker's certificate, or trust its CA with `ca=`"),
            ),
            _ => (ErrorKind::Unavailable, None),
        };
    };
    match native.kind() {
        Soft(AMQPSoftError::ACCESSREFUSED) => (
            ErrorKind::Denied,
            Some(
                "the broker refuses; the user needs the right password and configure, write and \
                 read permission for names that begin with the store's prefix, and write \
                 permission for `amq.default`",
            ),
        ),
        Soft(AMQPSoftError::PRECONDITIONFAILED) => precondition(native.get_message().as_str()),
        Soft(AMQPSoftError::RESOURCELOCKED) => (
            ErrorKind::InvalidInput,
            Some("a queue of that name belongs to something else; use another `prefix`"),
        ),
        Soft(_) => (ErrorKind::Unavailable, None),
        Hard(AMQPHardError::NOTALLOWED) => (
            ErrorKind::Denied,
            Some("check the virtual host of the URL and the user's access to it"),
        ),
        Hard(AMQPHardError::NOTIMPLEMENTED) => (ErrorKind::Unsupported, Some(NO_STREAMS)),
        // So says 3.10 where the flag is off.
        Hard(AMQPHardError::INTERNALERROR)
            if native.get_message().as_str().contains("feature flag") =>
        {
            (ErrorKind::Unsupported, Some(NO_STREAMS))
        }
        Hard(_) => (ErrorKind::Unavailable, None),
    }
}

const NO_STREAMS: &str = "this broker has no streams; RabbitMQ 3.9 or later with the feature \
                          flags `stream_queue` and `quorum_queue` enabled is needed";

fn precondition(message: &str) -> (ErrorKind, Option<&'static str>) {
    if message.contains("inequivalent arg") {
        let advice = "a queue of that name is there with other settings; use another `prefix`, or \
                      delete that queue where nobody needs it";
        (ErrorKind::InvalidInput, Some(advice))
    } else if message.contains("feature flag") || message.contains("queue-type") {
        (ErrorKind::Unsupported, Some(NO_STREAMS))
    } else {
        (ErrorKind::Unavailable, None)
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData || error.to_string().contains("ertificate")
}

/// The broker stopped reading from publishers.
pub(crate) fn alarm(reason: &str) -> Failure {
    let message = format!(
        "the broker accepts nothing because of an alarm ({reason}); free memory or disk space there"
    );
    Failure::new(ErrorKind::Unavailable, message)
}

/// The URL names no store. The text never repeats the URL, which may hold a
/// password meant for another backend.
pub(crate) fn invalid_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}

/// The fold gave the answer of another command.
pub(crate) fn mismatch(operation: Operation) -> Error {
    let message = "the fold gave the answer of another command; please report it";
    Error::new(ErrorKind::Internal, operation, NAME, message)
}
