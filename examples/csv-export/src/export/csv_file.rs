//! Writing a view's rows as CSV (RFC 4180). Blocks; runs beside the handler.

use std::fmt;
use std::io::{self, BufWriter, Write};

use anyqueue::JobId;
use tokio::sync::mpsc::Sender;

use super::{Export, ExportCsv, ExportFolder};
use crate::orders::{Cell, Limit, Orders, OrdersError};

/// How far the writing is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) total: u64,
}

/// Why no file was written. Shown to the page's user: says what, not where.
#[derive(Debug)]
pub(super) enum WriteError {
    Orders(OrdersError),
    File(io::Error),
    /// Nobody listens any more: the attempt is over.
    Stopped,
}

/// Writes a job's file. After each `batch` of rows it says how far it is, and
/// waits until that was heard: who listens sets the pace, and ends the writing
/// by listening no more. A file that is not complete is removed.
pub(super) fn write(
    orders: &Orders,
    folder: &ExportFolder,
    id: JobId,
    job: ExportCsv,
    batch: u64,
    progress: &Sender<Written>,
) -> Result<Export, WriteError> {
    let reader = orders.reader(job.view, job.filters)?;
    let total = reader.count()?;
    let tell = |rows| {
        let heard = progress.blocking_send(Written { rows, total });
        heard.map_err(|_| WriteError::Stopped)
    };
    tell(0)?;

    let file = folder.begin(id)?;
    let mut csv = csv::Writer::from_writer(BufWriter::new(file));
    csv.write_record(reader.columns()?)?;
    let mut rows = 0;
    reader.for_each(Limit::ALL, |row| {
        csv.write_record(row.iter().map(field))?;
        rows += 1;
        if rows % batch == 0 {
            tell(rows)
        } else {
            Ok(())
        }
    })?;
    tell(rows)?;

    let buffered = csv
        .into_inner()
        .map_err(|e| io::Error::other(e.to_string()))?;
    let mut file = buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.flush()?;
    let bytes = file.as_file().metadata()?.len();
    folder.finish(id, file)?;
    Ok(Export {
        file: ExportFolder::file_name(id),
        rows,
        bytes,
    })
}

/// A value as a field. A text that a spreadsheet would run as a formula gets
/// an apostrophe in front (OWASP, "CSV Injection"); numbers are ours and stay.
fn field(cell: &Cell) -> String {
    match cell {
        Cell::Integer(number) => number.to_string(),
        Cell::Amount(amount) => format!("{amount:.2}"),
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Cell::Text(text) => text.clone(),
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orders(error) => error.fmt(f),
            Self::File(error) => write!(f, "the file cannot be written: {}", error.kind()),
            Self::Stopped => f.write_str("the export was stopped"),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<OrdersError> for WriteError {
    fn from(error: OrdersError) -> Self {
        Self::Orders(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<csv::Error> for WriteError {
    fn from(error: csv::Error) -> Self {
        Self::File(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_formulas_and_numbers_stay_numbers() {
        let text = |text: &str| field(&Cell::Text(text.to_owned()));
        assert_eq!(text("=1+1"), "'=1+1");
        assert_eq!(text("@home Interiors"), "'@home Interiors");
        assert_eq!(text("O'Brien"), "O'Brien");
        assert_eq!(field(&Cell::Integer(-3)), "-3");
        assert_eq!(field(&Cell::Amount(-0.5)), "-0.50");
    }
}
