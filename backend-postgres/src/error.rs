//! From what PostgreSQL and sqlx say to core's [`Error`]: the one place that
//! knows their codes. Messages of the server can hold values of rows and are
//! never shown; its code and the table or constraint it names are.

use std::borrow::Cow;
use std::fmt;

use anyqueue_core::{Error, ErrorKind, Operation};
use sqlx::error::DatabaseError;

use crate::backend::NAME;

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: Option<Cow<'static, str>>,
    source: Option<Native>,
    /// Whether the connection is lost.
    pub(crate) broken: bool,
    /// Whether it leads to a server that takes no writes. Nothing happened, and
    /// the address may lead to another one by now.
    pub(crate) read_only: bool,
    /// Whether a unique index refused a row.
    pub(crate) taken: bool,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: Some(message.into()),
            source: None,
            broken: false,
            read_only: false,
            taken: false,
        }
    }

    /// A stored value that this version cannot read.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        let message = format!("the store holds a {what} that this version cannot read");
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The server says nothing, though it should have given the statement up.
    pub(crate) fn silent() -> Self {
        let message = "the server gave no answer; the connection is likely half open";
        let mut failure = Self::new(ErrorKind::Unavailable, message);
        failure.broken = true;
        failure
    }

    /// The task that made the call is gone: its runtime was stopped.
    pub(crate) fn gone() -> Self {
        let message = "the runtime that carried the call has stopped";
        Self::new(ErrorKind::Unknown, message)
    }

    /// The task that made the call panicked: a defect.
    pub(crate) fn panicked() -> Self {
        Self::new(ErrorKind::Internal, "the call panicked; please report it")
    }

    /// The same for a call that writes: where the connection was lost once the
    /// call was on its way, nobody knows whether it took effect.
    pub(crate) fn of_write(source: sqlx::Error) -> Self {
        Self::from(source).after_send()
    }

    /// As [`of_write`](Self::of_write).
    pub(crate) fn after_send(mut self) -> Self {
        if self.broken && self.kind == ErrorKind::Unavailable {
            self.kind = ErrorKind::Unknown;
        }
        self
    }

    /// The same for a call of which a part took effect already.
    pub(crate) fn after_part(mut self) -> Self {
        if self.kind.is_transient() {
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

/// A native error, shown without what it may hold of rows and parameters.
#[derive(Debug)]
struct Native(String);

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Native {}

impl From<sqlx::Error> for Failure {
    fn from(source: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let (kind, advice, broken) = match &source {
            E::Database(error) => judge(error.as_ref()),
            E::PoolTimedOut => {
                let advice = "no connection within the time; the server is not there, or `pool` \
                              is too small";
                (ErrorKind::Unavailable, Some(advice), false)
            }
            E::PoolClosed => (ErrorKind::Unavailable, Some("the store was closed"), false),
            E::Io(_) | E::Protocol(_) | E::WorkerCrashed | E::BeginFailed => {
                (ErrorKind::Unavailable, None, true)
            }
            E::Tls(_) => {
                let advice = "no trusted TLS connection; check the server's certificate, \
                              `sslrootcert` and `sslmode`";
                (ErrorKind::Denied, Some(advice), true)
            }
            E::Configuration(_) => (ErrorKind::InvalidInput, None, true),
            E::ColumnDecode { .. } | E::Decode(_) => {
                let advice = "the store holds a value that this version cannot read";
                (ErrorKind::Corrupt, Some(advice), false)
            }
            _ => (ErrorKind::Internal, None, true),
        };
        let taken = matches!(&source, E::Database(error) if error.is_unique_violation());
        let code = source.as_database_error().and_then(DatabaseError::code);
        let read_only = code.as_deref() == Some(READ_ONLY);
        Self {
            kind,
            message: advice.map(Cow::Borrowed),
            source: Some(Native(describe(&source))),
            broken,
            read_only,
            taken,
        }
    }
}

fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match error.constraint().or_else(|| error.table()) {
                Some(name) => format!("SQLSTATE {code} ({name})"),
                None => format!("SQLSTATE {code}"),
            }
        }
        // Their texts quote what was read or given.
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index}"),
        sqlx::Error::Configuration(_) | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
            "refused by the driver".to_owned()
        }
        other => other.to_string(),
    }
}

/// The SQLSTATE of a write that a server refuses since it is read-only.
const READ_ONLY: &str = "25006";

/// The kind of a server's error by its SQLSTATE (appendix A of PostgreSQL's
/// manual), what to do, and whether the connection is lost with it.
fn judge(error: &dyn DatabaseError) -> (ErrorKind, Option<&'static str>, bool) {
    use ErrorKind as K;
    let code = error.code().unwrap_or_default();
    match &*code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => (K::Conflict, None, false),
        // Of a commit that is being made: nobody knows.
        "40003" => (K::Unknown, None, true),
        "57014" => {
            let advice = "the server ended the statement, which took longer than \
                          `statement_timeout`";
            (K::Unavailable, Some(advice), false)
        }
        // Shutdown, crash, starting up, no such database any more, idle too long.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" => (K::Unavailable, None, true),
        // A failover that is under way ends.
        READ_ONLY => {
            let advice = "the server is read-only (a standby?); give the address of the primary";
            (K::Unavailable, Some(advice), false)
        }
        "3F000" | "42P01" => {
            let advice = "the store is not prepared; call `prepare` (connect does) first";
            (K::Unavailable, Some(advice), false)
        }
        "42501" => {
            let advice = "this user may not do it; grant it the schema and its tables";
            (K::Denied, Some(advice), false)
        }
        "28000" | "28P01" => (
            K::Denied,
            Some("the server refuses the user or password"),
            true,
        ),
        "3D000" => (
            K::NotFound,
            Some("the database does not exist; create it"),
            true,
        ),
        "26000" | "42P05" => {
            let advice = "prepared statements do not hold: with a pooler in transaction mode give \
                          `pooler=transaction` in the URL";
            (K::Unavailable, Some(advice), true)
        }
        "54000" | "22001" => (
            K::InvalidInput,
            Some("a value is too large for the store"),
            false,
        ),
        _ => match code.get(..2).unwrap_or_default() {
            // Connection, insufficient resources, operator intervention, system error.
            "08" | "58" => (K::Unavailable, None, true),
            "53" => {
                let advice = "the server is out of connections, memory or disk";
                (K::Unavailable, Some(advice), false)
            }
            "57" => (K::Unavailable, None, true),
            "40" => (K::Conflict, None, false),
            "XX" => (K::Corrupt, Some("the server's data may be damaged"), false),
            _ => (K::Internal, None, false),
        },
    }
}

/// The URL names no store. The text never repeats the URL, which may hold a
/// password.
pub(crate) fn invalid_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}
