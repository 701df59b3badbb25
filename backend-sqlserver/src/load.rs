//! How many rows come in at once: in bulk, into a table of this connection alone.
//!
//! A bulk load carries rows as the server keeps them. As one JSON text they are
//! written, sent, read and converted before they are rows, which is a good part of
//! what a large enqueue costs.

use std::borrow::Cow;
use std::time::Duration;

use anyqueue_core::NewJob;
use tiberius::{ColumnData, SqlBulkCopyOption, TokenRow};
use tokio::time::timeout;
use uuid::Uuid;

use crate::enqueue::New;
use crate::error::Failure;
use crate::pool::{Connection, rows_of};

/// The table that `load.sql` makes.
const TABLE: &str = "#anyqueue_new";

/// Its columns, in the order of [`Loading::row`].
const COLUMNS: [&str; 15] = [
    "place",
    "id",
    "line",
    "max_attempts",
    "keyed",
    "delay",
    "at",
    "period",
    "kind",
    "backoff",
    "given_key",
    "unique_policy",
    "trace",
    "tags",
    "payload",
];

/// The most UTF-16 units of a text that the driver loads: it takes the 65,535 by
/// which the protocol says "of any length" for a length, in bytes.
const WHOLE: usize = 65_535 / 2;

/// Whether this job can be loaded.
pub(crate) fn takes(job: &NewJob) -> bool {
    // No text has more units than bytes. Only these two are of any length.
    let short = |text: &str| text.len() <= WHOLE || text.encode_utf16().count() <= WHOLE;
    let backoff = job.retry.backoff.to_stored();
    short(job.payload.as_str()) && backoff.is_none_or(|backoff| short(&backoff))
}

/// New jobs that are to be loaded.
#[derive(Debug)]
pub(crate) struct Loading<'a>(Vec<New<'a>>);

impl<'a> Loading<'a> {
    pub(crate) fn new(jobs: Vec<New<'a>>) -> Self {
        Self(jobs)
    }

    fn row<'b>(place: usize, new: &'b New<'a>) -> TokenRow<'b> {
        let mut row = TokenRow::with_capacity(COLUMNS.len());
        let number = |number: i64| ColumnData::I32(i32::try_from(number).ok());
        let id = Uuid::from(new.id).as_bytes().to_vec();
        row.push(ColumnData::I32(i32::try_from(place).ok()));
        row.push(ColumnData::Binary(Some(Cow::Owned(id))));
        row.push(ColumnData::I32(Some(new.line)));
        row.push(number(new.max_attempts.into()));
        row.push(ColumnData::Bit(Some(new.keyed)));
        row.push(ColumnData::I64(new.delay));
        row.push(ColumnData::I64(new.at));
        row.push(ColumnData::I64(new.period));
        row.push(text(Some(new.kind)));
        row.push(text(new.backoff.as_deref()));
        row.push(text(new.unique_key));
        row.push(text(new.unique_policy.as_deref()));
        row.push(text(new.trace));
        row.push(text(new.tags.as_deref()));
        row.push(text(Some(new.payload)));
        row
    }
}

fn text(text: Option<&str>) -> ColumnData<'_> {
    ColumnData::String(text.map(Cow::Borrowed))
}

/// Makes the table (by `load.sql`) and loads it: four round trips. The connection
/// is not to be used further where this fails or is dropped, since the table is
/// there and the server may be in the midst of a load.
///
/// The table's lock is of no one else's concern, and spares the server to lock and
/// log each row.
pub(crate) async fn load(
    conn: &mut Connection,
    table: &str,
    loading: &Loading<'_>,
    statement_timeout: Option<Duration>,
) -> Result<(), Failure> {
    rows_of(conn.simple_query(table).await?).await?;
    let lock = SqlBulkCopyOption::TableLock.into();
    let mut bulk = conn
        .bulk_insert_with_options(TABLE, &COLUMNS, lock, &[])
        .await?;
    for (place, new) in loading.0.iter().enumerate() {
        // The driver bounds how long an answer is waited for, not a write.
        let sent = bulk.send(Loading::row(place, new));
        match statement_timeout {
            Some(limit) => timeout(limit, sent)
                .await
                .map_err(|_| Failure::stalled())??,
            None => sent.await?,
        }
    }
    bulk.finalize().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_the_first_of_the_table() {
        let file = include_str!("sql/load.sql");
        let (_, columns) = file.split_once(&format!("CREATE TABLE {TABLE} (")).unwrap();
        let columns = columns
            .split(',')
            .map(|column| column.split_whitespace().next());
        let columns: Vec<&str> = columns.flatten().take(COLUMNS.len()).collect();
        assert_eq!(columns, COLUMNS);
    }
}
