//! From what can go wrong here to core's [`Error`]. Memory has no native
//! errors: a wrong URL, and a defect of this crate.

use anyqueue_core::{Error, ErrorKind, Operation};

use crate::backend::NAME;

/// The URL names no store in memory. The text never repeats the URL, which
/// may hold a password meant for another backend.
pub(crate) fn invalid_url(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}

/// The machine answered with what belongs to another command.
pub(crate) fn mismatch(operation: Operation) -> Error {
    let message = "the machine gave the answer of another command; please report it";
    Error::new(ErrorKind::Internal, operation, NAME, message)
}
