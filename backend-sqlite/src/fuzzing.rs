//! What is read of a file's rows, for the fuzz targets: nothing in here
//! panics, whatever the columns hold.

use anyqueue_core::{AttemptError, Error, JobRecord, Operation};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::error::Failure;
use crate::{job, rows};

/// The columns of a record's row.
pub const COLUMNS: usize = 27;

/// Rows of any columns, made by a store in memory.
#[derive(Debug)]
pub struct Rows(Connection);

impl Rows {
    /// A store that holds nothing.
    pub fn new() -> Result<Self, Error> {
        Ok(Self(shown(Connection::open_in_memory())?))
    }

    /// Reads a row of these columns as a record; a column with `true` holds
    /// its bytes as text, UTF-8 or not.
    pub fn record(&self, columns: &[(Value, bool)]) -> Result<JobRecord, Error> {
        self.row(columns, rows::record).map(|(_, record)| record)
    }

    /// As the error of an attempt.
    pub fn attempt_error(&self, columns: &[(Value, bool)]) -> Result<AttemptError, Error> {
        self.row(columns, rows::attempt_error)
    }

    /// As the moving part of a job.
    pub fn moving(&self, columns: &[(Value, bool)]) -> Result<(), Error> {
        self.row(columns, job::Job::read).map(drop)
    }

    fn row<T>(
        &self,
        columns: &[(Value, bool)],
        read: impl Fn(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let select: Vec<_> = (1..=COLUMNS)
            .map(|at| match columns.get(at - 1) {
                Some((_, true)) => format!("CAST(?{at} AS TEXT)"),
                _ => format!("?{at}"),
            })
            .collect();
        let select = format!("SELECT {}", select.join(", "));
        let mut select = shown(self.0.prepare_cached(&select))?;
        let null = (Value::Null, false);
        let columns = (0..COLUMNS).map(|at| &columns.get(at).unwrap_or(&null).0);
        let mut rows = shown(select.query(params_from_iter(columns)))?;
        let row = shown(rows.next())?;
        let row = row.ok_or_else(|| Failure::corrupt("no row").into_error(Operation::Get))?;
        shown(read(row))
    }
}

fn shown<T, E: Into<Failure>>(read: Result<T, E>) -> Result<T, Error> {
    read.map_err(|failure| failure.into().into_error(Operation::Get))
}
