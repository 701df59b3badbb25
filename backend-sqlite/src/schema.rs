//! Making the tables, and knowing when they are another version's.

use anyqueue_core::ErrorKind;
use rusqlite::{OptionalExtension, params};

use crate::error::Failure;
use crate::tx::Tx;

/// All migrations, oldest first; the first is version 1. Forward only: what
/// was released is never edited.
const MIGRATIONS: [(&str, &str); 1] = [("jobs", include_str!("../migrations/0001_jobs.sql"))];

/// Brings the tables to this version, in the writer's transaction: of several
/// processes one migrates, and the others find it done.
pub(crate) fn migrate(tx: &mut Tx<'_>) -> Result<(), Failure> {
    let migrated = tx
        .sql(include_str!("sql/migrations_table.sql"))?
        .query_row([], |_| Ok(()))
        .optional()?;
    if migrated.is_none() {
        tx.sql(include_str!("sql/migrations_add_table.sql"))?
            .execute([])?;
    }
    let version: usize = tx
        .sql(include_str!("sql/migrations_version.sql"))?
        .query_row([], |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        let message = format!(
            "the file's tables are of version {version}, this program knows up to {}; update \
             the crate `anyqueue`, or use another file",
            MIGRATIONS.len()
        );
        return Err(Failure::new(ErrorKind::Corrupt, message));
    }
    for (number, (name, statements)) in MIGRATIONS.iter().enumerate().skip(version) {
        tx.batch(statements)?;
        tx.sql(include_str!("sql/migrations_add.sql"))?
            .execute(params![number + 1, name, tx.now.as_micros()])?;
    }
    Ok(())
}
