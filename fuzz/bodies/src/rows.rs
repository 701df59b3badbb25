//! Rows and notifications of the SQL stores.

use std::cell::OnceCell;

use anyqueue_sqlite::fuzzing::Rows;
use anyqueue_sqlite::rusqlite::types::Value;

use crate::parts;

pub(crate) fn postgres_notification(bytes: &[u8]) {
    if let Ok(payload) = std::str::from_utf8(bytes) {
        anyqueue_postgres::fuzzing::hear(payload);
    }
}

thread_local! {
    static ROWS: OnceCell<Rows> = const { OnceCell::new() };
}

/// Each part is a column: its first byte says of which type.
pub(crate) fn sqlite(bytes: &[u8]) {
    let columns: Vec<_> = parts(bytes).into_iter().map(column).collect();
    ROWS.with(|rows| {
        let rows = rows.get_or_init(|| Rows::new().expect("a store in memory"));
        for start in [0, columns.len().min(1)] {
            let columns = &columns[start..];
            if let Ok(record) = rows.record(columns) {
                let _ = record.retry.backoff.delay_after(record.attempt);
            }
            let _ = rows.attempt_error(columns);
            let _ = rows.moving(columns);
        }
    });
}

fn column(bytes: &[u8]) -> (Value, bool) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return (Value::Null, false);
    };
    let number = bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | i64::from(*byte));
    match kind % 5 {
        0 => (Value::Integer(number), false),
        1 => (Value::Real(f64::from_bits(number.cast_unsigned())), false),
        2 => (Value::Blob(bytes.to_vec()), false),
        3 => (Value::Blob(bytes.to_vec()), true),
        _ => (
            Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            false,
        ),
    }
}
