//! From what SQL Server and tiberius say to core's [`Error`]: the one place that
//! knows their numbers. Messages of the server can hold values of rows and are
//! never shown; its number and state are.

use std::borrow::Cow;
use std::fmt;

use anyqueue_core::{Error, ErrorKind, Operation};
use tiberius::error::TokenError;

use crate::backend::NAME;

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: Option<Cow<'static, str>>,
    source: Option<Native>,
    /// Whether the connection was lost, so that nobody knows how far a call got.
    lost: bool,
    /// Whether the server had begun to answer: to send a first result.
    answered: bool,
    /// Whether the whole call can be made again at once: it was rolled back.
    pub(crate) again: Again,
}

/// Whether making a failed call again at once can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    /// Once, on another connection: a number that is not known here is no answer
    /// of the contract's. It may be of the server's own making (a plan or a table
    /// that changed under the statement), of which a connection that has compiled
    /// nothing yet is free.
    Once,
    /// Several times: calls beside it were in its way.
    Often,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: Some(message.into()),
            source: None,
            lost: false,
            answered: false,
            again: Again::No,
        }
    }

    /// A stored value that this version cannot read.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        let message = format!("the store holds a {what} that this version cannot read");
        Self::new(ErrorKind::Corrupt, message)
    }

    /// What is written could not be encoded.
    pub(crate) fn unencodable() -> Self {
        Self::new(ErrorKind::Internal, "a value could not be written as JSON")
    }

    /// The server was not reached.
    pub(crate) fn unreachable(error: &std::io::Error) -> Self {
        Self {
            source: Some(Native(error.to_string())),
            ..Self::new(ErrorKind::Unavailable, "the server is not reached")
        }
    }

    /// The server took nothing more of what was sent.
    pub(crate) fn stalled() -> Self {
        Self {
            lost: true,
            ..Self::unreachable(&std::io::ErrorKind::TimedOut.into())
        }
    }

    /// No connection became free in time.
    pub(crate) fn busy() -> Self {
        let message = "no connection within the time; the server is not there, or `pool` is too \
                       small";
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The same for a connection that was being made: nothing was asked yet.
    pub(crate) fn before_send(mut self) -> Self {
        self.lost = false;
        self
    }

    /// The same on a handle that has reached its database before: that it is not to
    /// be opened now is a failover, a restore or a move, which pass.
    pub(crate) fn of_known_database(mut self) -> Self {
        if self.kind == ErrorKind::NotFound {
            self.kind = ErrorKind::Unavailable;
        }
        self
    }

    /// The same for a call that writes: where the connection was lost once the
    /// call was on its way, nobody knows whether it took effect.
    pub(crate) fn after_send(mut self) -> Self {
        if self.lost && self.kind == ErrorKind::Unavailable {
            self.kind = ErrorKind::Unknown;
        }
        self
    }

    /// The same where a first result had come.
    pub(crate) fn while_answered(mut self) -> Self {
        self.answered = true;
        self
    }

    /// The same for a transaction that answers once it has committed: what fails
    /// behind its first result (a deadlock, a wait for a lock) undoes nothing of it,
    /// and made again it would answer otherwise.
    pub(crate) fn behind_commit(mut self) -> Self {
        if self.answered && (self.kind == ErrorKind::Conflict || self.again != Again::No) {
            self.kind = ErrorKind::Unknown;
            self.again = Again::No;
        }
        self
    }

    /// Whether other idle connections are likely broken too.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
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

impl From<tiberius::error::Error> for Failure {
    fn from(source: tiberius::error::Error) -> Self {
        use tiberius::error::Error as E;
        let (kind, advice, lost) = match &source {
            E::Server(error) => judge(error.code(), error.class()),
            E::Io { .. } | E::Protocol(_) | E::Routing { .. } => {
                (ErrorKind::Unavailable, None, true)
            }
            E::Tls(_) => {
                let advice = "no trusted TLS connection; check the server's certificate, or give \
                              its authority with `trust_server_certificate_ca`";
                (ErrorKind::Denied, Some(advice), true)
            }
            E::Conversion(_) | E::Encoding(_) | E::Utf8 | E::Utf16 | E::ParseInt(_) => {
                let advice = "the store holds a value that this version cannot read";
                (ErrorKind::Corrupt, Some(advice), false)
            }
            _ => (ErrorKind::Internal, None, true),
        };
        let again = source.code().map_or(Again::No, |code| again(code, kind));
        Self {
            kind,
            message: advice.map(Cow::Borrowed),
            source: Some(Native(describe(&source))),
            lost,
            answered: false,
            again,
        }
    }
}

/// Whether a call that the server refused with this number can be made again here;
/// what takes longer to pass (`Unavailable`) is asked again by core.
fn again(code: u32, kind: ErrorKind) -> Again {
    match code {
        1205 | 2601 | 2627 | 3960 => Again::Often,
        _ if kind == ErrorKind::Internal => Again::Once,
        _ => Again::No,
    }
}

fn describe(error: &tiberius::error::Error) -> String {
    use tiberius::error::Error as E;
    match error {
        E::Server(error) => number(error),
        E::Io { kind, .. } => kind.to_string(),
        E::Protocol(_) => "the connection broke in the middle of an answer".to_owned(),
        E::Tls(text) => text.clone(),
        // Their texts quote what was read or given.
        _ => "refused by the driver".to_owned(),
    }
}

fn number(error: &TokenError) -> String {
    format!("error {} state {}", error.code(), error.state())
}

/// The kind of a server's error by its number ("Database Engine errors" and
/// "Troubleshoot common connection issues to Azure SQL Database" in Microsoft's
/// documentation), what to do, and whether the connection is lost with it.
fn judge(code: u32, class: u8) -> (ErrorKind, Option<&'static str>, bool) {
    use ErrorKind as K;
    // Severities from 20 on end the connection.
    let lost = class >= 20;
    let (kind, advice) = match code {
        // Deadlock victim, lock time-out, snapshot conflict, unique index.
        1205 | 1222 | 3960 | 2601 | 2627 => (K::Conflict, None),
        // Azure: ended in the middle of something, by a failure or a move, or for what
        // the session took (time, locks, space in tempdb, log, memory).
        40197 | 40540 | 40143 | 40166 | 40549..=40553 => return (K::Unavailable, None, true),
        // Azure: throttled, busy, being reconfigured; a replica, a database or a server
        // that is coming up. Nothing was done.
        40501 | 40613 | 49918 | 49919 | 49920 | 4221 | 615 | 10928 | 10929 | 10936 | 922 | 926
        | 976 | 983 | 42108 | 42109 | 18401 => (K::Unavailable, None),
        // Stopping, paused, not up yet, killed, broken pipe, reset, timed out.
        6005 | 17142 | 17187 | 596 | 20 | 64 | 233 | 997 | 10053 | 10054 | 10060 | 121 => {
            return (K::Unavailable, None, true);
        }
        701 | 802 | 1101 | 1105 | 1132 | 1204 | 8628 | 8645 | 8651 | 9002 | 40544 => {
            let advice = "the server is out of memory, locks, disk or log space";
            (K::Unavailable, Some(advice))
        }
        18456 | 18452 | 18470 | 18486 | 18487 | 18488 | 33129 => {
            let advice = "the server refuses the user or password";
            return (K::Denied, Some(advice), true);
        }
        40615 | 40914 | 47073 => {
            let advice = "the server's firewall refuses this address";
            return (K::Denied, Some(advice), true);
        }
        4060 | 4063 | 911 => {
            let advice = "the database does not exist, or this user may not open it";
            return (K::NotFound, Some(advice), true);
        }
        3906 | 3908 => {
            let advice =
                "the database is read-only (a secondary?); give the address of the primary";
            (K::Denied, Some(advice))
        }
        229 | 230 | 262 | 297 | 300 | 916 | 2760 | 15247 | 15151 => {
            let advice = "this user may not do it; grant it the schema and its tables";
            (K::Denied, Some(advice))
        }
        207 | 208 | 308 => {
            let advice = "the store is not prepared; call `prepare` (connect does) first. Where \
                          that is refused so: the database's compatibility level is below 130, \
                          which has no OPENJSON";
            (K::Unavailable, Some(advice))
        }
        1934 => {
            let advice = "the connection's SET options are not those that filtered indexes need: \
                          QUOTED_IDENTIFIER, ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT \
                          and CONCAT_NULL_YIELDS_NULL on, NUMERIC_ROUNDABORT off";
            (K::InvalidInput, Some(advice))
        }
        511 | 1919 | 1946 | 2628 | 8152 => {
            (K::InvalidInput, Some("a value is too large for the store"))
        }
        605 | 823 | 824 | 825 | 5242 | 5243 => {
            (K::Corrupt, Some("the server's data may be damaged"))
        }
        _ if lost => (K::Unavailable, None),
        _ => (K::Internal, None),
    };
    (kind, advice, lost)
}

/// The URL names no store. The text never repeats the URL, which may hold a
/// password.
pub(crate) fn invalid_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Connect, NAME, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_whether_asking_again_can_help() {
        for (code, class, kind) in [
            (1205, 13, ErrorKind::Conflict),
            (2627, 14, ErrorKind::Conflict),
            (40613, 17, ErrorKind::Unavailable),
            (1204, 19, ErrorKind::Unavailable),
            (40544, 17, ErrorKind::Unavailable),
            (4060, 11, ErrorKind::NotFound),
            (49918, 16, ErrorKind::Unavailable),
            (596, 21, ErrorKind::Unavailable),
            (21, 22, ErrorKind::Unavailable),
            (18456, 14, ErrorKind::Denied),
            (229, 14, ErrorKind::Denied),
            (208, 16, ErrorKind::Unavailable),
            (8134, 16, ErrorKind::Internal),
        ] {
            assert_eq!(judge(code, class).0, kind, "{code}");
        }
    }

    #[test]
    fn what_was_rolled_back_is_made_again_and_what_passes_is_transient() {
        let of = |code, class| again(code, judge(code, class).0);
        for code in [1205, 2601, 2627, 3960] {
            assert_eq!(of(code, 13), Again::Often, "{code}");
        }
        // A number that is not known here: once, on a new connection.
        assert_eq!(of(8624, 16), Again::Once);
        for code in [18456, 229, 208, 8152, 1222, 823] {
            assert_eq!(of(code, 16), Again::No, "{code}");
        }
        // Azure's transient errors: core asks again, after a while.
        for code in [
            40197, 40501, 40540, 40613, 40143, 40166, 40549, 40550, 40551, 40552, 40553, 49918,
            49919, 49920, 4221, 615, 10928, 10929, 10936, 42108, 42109,
        ] {
            let (kind, _, lost) = judge(code, 16);
            assert!(kind.is_transient(), "{code}");
            assert_eq!(again(code, kind), Again::No, "{code}");
            let ended = matches!(code, 40197 | 40540 | 40143 | 40166 | 40549..=40553);
            assert_eq!(lost, ended, "{code}: whether a write's effect is unknown");
        }
    }

    #[test]
    fn a_database_that_was_reached_before_is_away_and_not_missing() {
        let missing = || Failure::new(ErrorKind::NotFound, "");
        let known = missing().of_known_database();
        assert_eq!(known.kind, ErrorKind::Unavailable);
        let refused = Failure::new(ErrorKind::Denied, "").of_known_database();
        assert_eq!(refused.kind, ErrorKind::Denied);
    }

    #[test]
    fn a_write_whose_connection_was_lost_is_unknown() {
        let lost = || tiberius::error::Error::Io {
            kind: std::io::ErrorKind::ConnectionReset,
            message: "secret".to_owned(),
        };
        let write = Failure::from(lost()).after_send();
        let write = write.into_error(Operation::Settle);
        assert_eq!(write.kind(), ErrorKind::Unknown);
        assert!(!write.to_string().contains("secret"), "{write}");
        let login = Failure::from(lost()).before_send().after_send();
        let login = login.into_error(Operation::Settle);
        assert_eq!(login.kind(), ErrorKind::Unavailable);
    }

    /// The server's errors are not made outside of the driver: one of the same kind.
    #[test]
    fn what_fails_behind_a_commit_is_unknown_and_not_made_again() {
        let deadlock = || Failure {
            again: Again::Often,
            ..Failure::new(ErrorKind::Conflict, "")
        };
        let before = deadlock().behind_commit();
        assert_eq!(before.kind, ErrorKind::Conflict, "it was rolled back");
        assert_eq!(before.again, Again::Often);
        let behind = deadlock().while_answered().behind_commit();
        assert_eq!(behind.kind, ErrorKind::Unknown);
        assert_eq!(behind.again, Again::No);
        let refused = Failure::new(ErrorKind::Corrupt, "").while_answered();
        assert_eq!(refused.behind_commit().kind, ErrorKind::Corrupt);
    }
}
