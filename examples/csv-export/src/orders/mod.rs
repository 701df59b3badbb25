//! The application's own data: a database of orders, read by views.

mod date;
mod generate;
mod read;
mod view;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

pub(crate) use date::Date;
pub(crate) use read::{Cell, Limit, Preview};
pub(crate) use view::{Country, Filters, Status, View};

/// The database of orders. Opened anew for each use, so that a file that was
/// moved away or put back is noticed.
#[derive(Debug, Clone)]
pub(crate) struct Orders(PathBuf);

/// Why the orders could not be read.
#[derive(Debug)]
pub(crate) struct OrdersError(rusqlite::Error);

impl Orders {
    /// The database in this folder; made up first where there is none.
    pub(crate) fn open_or_generate(folder: &Path, rows: u32) -> std::io::Result<Self> {
        let path = folder.join("orders.db");
        if !path.exists() {
            generate::generate(&path, rows)?;
        }
        Ok(Self(path))
    }

    /// A connection that can only read.
    fn connect(&self) -> Result<Connection, OrdersError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Connection::open_with_flags(&self.0, flags)?)
    }
}

impl From<rusqlite::Error> for OrdersError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

/// Shown to the page's user: says what, not where.
impl std::fmt::Display for OrdersError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the orders database cannot be read")?;
        match self.0.sqlite_error_code() {
            Some(code) => write!(f, " ({code:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OrdersError {}
