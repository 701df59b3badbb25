//! Reading a view: a preview of it, or all of it row by row. Blocks.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};
use serde::Serialize;

use super::view::{Country, Filters, Status, View};
use super::{Orders, OrdersError};

/// The first rows of a view.
#[derive(Debug, Serialize)]
pub(crate) struct Preview {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Rows of the whole view.
    total: u64,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Integer(i64),
    /// Money: printed with two decimals.
    Amount(f64),
    Text(String),
}

/// Reads one view at one moment: rows and count agree.
pub(crate) struct Reader {
    connection: Connection,
    view: View,
    filters: Filters,
}

/// How many rows to read; SQLite takes -1 as "all".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(i64);

impl Limit {
    pub(crate) const ALL: Self = Self(-1);

    pub(crate) const fn rows(rows: u16) -> Self {
        Self(rows as i64)
    }
}

impl Orders {
    /// The first rows of a view.
    pub(crate) fn preview(
        &self,
        view: View,
        filters: Filters,
        rows: u16,
    ) -> Result<Preview, OrdersError> {
        let reader = self.reader(view, filters)?;
        let mut preview = Preview {
            columns: reader.columns()?,
            rows: Vec::new(),
            total: reader.count()?,
        };
        reader.for_each(Limit::rows(rows), |row| {
            preview.rows.push(row);
            Ok::<(), OrdersError>(())
        })?;
        Ok(preview)
    }

    /// A reader of a view.
    pub(crate) fn reader(&self, view: View, filters: Filters) -> Result<Reader, OrdersError> {
        let connection = self.connect()?;
        // One transaction, so that all statements see the same orders.
        connection.execute_batch("BEGIN")?;
        Ok(Reader {
            connection,
            view,
            filters,
        })
    }
}

impl Reader {
    /// The names of the columns.
    pub(crate) fn columns(&self) -> Result<Vec<String>, OrdersError> {
        let statement = self.connection.prepare(self.view.sql())?;
        let names = statement.column_names();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> Result<u64, OrdersError> {
        self.with_parameters(Limit::ALL, |parameters| {
            let mut count = self.connection.prepare(self.view.count_sql())?;
            Ok(count.query_row(parameters, |row| row.get(0))?)
        })
    }

    /// Hands out the rows, one by one, until `each` has enough.
    pub(crate) fn for_each<E: From<OrdersError>>(
        &self,
        limit: Limit,
        mut each: impl FnMut(Vec<Cell>) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = |error| E::from(OrdersError::from(error));
        self.with_parameters(limit, |parameters| {
            let mut select = self.connection.prepare(self.view.sql()).map_err(read)?;
            let columns = select.column_count();
            let mut rows = select.query(parameters).map_err(read)?;
            while let Some(row) = rows.next().map_err(read)? {
                each(cells(row, columns).map_err(read)?)?;
            }
            Ok(())
        })
    }

    fn with_parameters<T>(
        &self,
        Limit(limit): Limit,
        run: impl FnOnce(&[(&str, &dyn ToSql)]) -> T,
    ) -> T {
        let status = self.filters.status.map(Status::as_str);
        let country = self.filters.country.map(Country::as_str);
        run(&[
            (":status", &status),
            (":country", &country),
            (":limit", &limit),
        ])
    }
}

fn cells(row: &Row<'_>, columns: usize) -> rusqlite::Result<Vec<Cell>> {
    (0..columns)
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(amount) => Cell::Amount(amount),
                ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Null | ValueRef::Blob(_) => Cell::Text(String::new()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(rows: u32) -> (tempfile::TempDir, Orders) {
        let folder = tempfile::tempdir().unwrap();
        let orders = Orders::open_or_generate(folder.path(), rows).unwrap();
        (folder, orders)
    }

    #[test]
    fn the_same_orders_are_made_up_each_time() {
        let text = || {
            let (_folder, orders) = orders(2_000);
            let preview = orders.preview(View::AllOrders, Filters::default(), 2_000);
            serde_json::to_string(&preview.unwrap()).unwrap()
        };
        let first = text();
        assert!(first.contains("2023-01-01") && first.contains("2025-12-31"));
        assert!(first == text(), "two databases differ");
    }

    #[test]
    fn every_view_has_rows_and_counts_them() {
        let (_folder, orders) = orders(5_000);
        for view in View::ALL {
            let preview = orders.preview(*view, Filters::default(), 5_000).unwrap();
            assert!(preview.total > 0, "{view:?} is empty");
            assert_eq!(preview.total, preview.rows.len() as u64, "{view:?}");
            assert!(
                preview
                    .rows
                    .iter()
                    .all(|row| row.len() == preview.columns.len())
            );
        }
    }

    #[test]
    fn filters_add_up_to_the_whole() {
        let (_folder, orders) = orders(3_000);
        let count = |status, country| {
            let filters = Filters { status, country };
            let reader = orders.reader(View::AllOrders, filters).unwrap();
            reader.count().unwrap()
        };
        let by_status: u64 = Status::ALL.iter().map(|s| count(Some(*s), None)).sum();
        let by_country: u64 = Country::ALL.iter().map(|c| count(None, Some(*c))).sum();
        assert_eq!((by_status, by_country), (3_000, 3_000));
    }
}
