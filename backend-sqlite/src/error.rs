//! From what SQLite says to core's [`Error`]: the one place that knows its
//! codes. No text of SQLite's holds values of rows or parameters.

use std::borrow::Cow;
use std::sync::Arc;

use anyqueue_core::{Error, ErrorKind, Operation};
use rusqlite::ErrorCode;

use crate::backend::NAME;

/// Why a command or a read failed. Cheap to clone: a transaction that fails
/// answers all the calls that shared it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: Option<Cow<'static, str>>,
    source: Option<Arc<rusqlite::Error>>,
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
        let message = format!("the file holds a {what} that this version cannot read");
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The thread that makes the calls is gone: a defect.
    pub(crate) fn gone() -> Self {
        let message = "the call ended without an answer; please report it";
        Self::new(ErrorKind::Unknown, message)
    }

    /// The call panicked: a defect.
    pub(crate) fn panicked() -> Self {
        let message = "the call panicked and was undone; please report it";
        Self::new(ErrorKind::Internal, message)
    }

    /// The same for a commit: an I/O error may have come before or after the
    /// point from which the transaction stands.
    pub(crate) fn of_commit(mut self) -> Self {
        let io = |source: &Arc<rusqlite::Error>| {
            source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
        };
        if self.source.as_ref().is_some_and(io) {
            self.kind = ErrorKind::Unknown;
        }
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

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        let (kind, advice) = judge(&source);
        Self {
            kind,
            message: advice.map(Cow::Borrowed),
            source: Some(Arc::new(source)),
        }
    }
}

/// The kind of a native error, and what to do where the native text does not
/// say so.
fn judge(error: &rusqlite::Error) -> (ErrorKind, Option<&'static str>) {
    use rusqlite::Error as E;
    match error {
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..)
        | E::InvalidColumnType(..) => (
            ErrorKind::Corrupt,
            Some("the file holds a value that this version cannot read"),
        ),
        E::SqliteFailure(_, Some(text)) | E::SqlInputError { msg: text, .. }
            if text.starts_with("no such table") =>
        {
            let advice = "the store is not prepared; call `prepare` (connect does) first";
            (ErrorKind::Unavailable, Some(advice))
        }
        _ => match error.sqlite_error_code() {
            Some(code) => judge_code(code),
            None => (ErrorKind::Internal, None),
        },
    }
}

fn judge_code(code: ErrorCode) -> (ErrorKind, Option<&'static str>) {
    use ErrorCode as C;
    match code {
        C::DatabaseBusy | C::DatabaseLocked => (
            ErrorKind::Conflict,
            Some("another process held the file's lock for long; keep its transactions short"),
        ),
        C::PermissionDenied | C::ReadOnly | C::AuthorizationForStatementDenied => (
            ErrorKind::Denied,
            Some("the file is not writable; give this user write access to it and its directory"),
        ),
        C::CannotOpen => (
            ErrorKind::Denied,
            Some(
                "the file cannot be opened; it and its directory must exist and be readable and \
                 writable by this user",
            ),
        ),
        C::DiskFull => (ErrorKind::Unavailable, Some("the disk is full; free space")),
        C::SystemIoFailure
        | C::OutOfMemory
        | C::OperationInterrupted
        | C::OperationAborted
        | C::FileLockingProtocolFailed
        | C::NoLargeFileSupport
        | C::SchemaChanged => (ErrorKind::Unavailable, None),
        C::NotADatabase => (
            ErrorKind::Corrupt,
            Some("the file is no SQLite database; give the path of another one"),
        ),
        C::DatabaseCorrupt => (
            ErrorKind::Corrupt,
            Some("the file is damaged; restore it from a copy"),
        ),
        C::TooBig => (ErrorKind::InvalidInput, None),
        _ => (ErrorKind::Internal, None),
    }
}

/// The URL names no store. The text never repeats the URL, which may hold a
/// password meant for another backend.
pub(crate) fn invalid_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}
