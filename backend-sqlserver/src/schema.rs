//! [`Schema`]: where the tables live, making them, and knowing when they are
//! another version's.

use std::fmt;

use anyqueue_core::{Error, ErrorKind};
use tiberius::Query;

use crate::error::{Failure, invalid_url};
use crate::pool::{Connection, rows_of};
use crate::rows;
use crate::statements::render;

/// All migrations, oldest first; the first is version 1. Forward only: what
/// was released is never edited.
const MIGRATIONS: [(&str, &str); 1] = [("jobs", include_str!("../migrations/0001_jobs.sql"))];

/// Makes the table that tells which migrations were applied.
const TABLE: &str = "CREATE TABLE {s}.migrations (
    version    int NOT NULL PRIMARY KEY,
    name       nvarchar(64) NOT NULL,
    applied_at datetime2 NOT NULL DEFAULT SYSUTCDATETIME()
);";

/// The name of a schema of SQL Server, which holds the tables of one store.
#[derive(Clone, PartialEq, Eq)]
pub struct Schema {
    name: String,
    quoted: String,
}

impl Schema {
    /// The longest name, in UTF-16 units: what SQL Server allows, less what the
    /// names of locks add.
    pub const MAX_LEN: usize = 100;

    /// The schema of this name.
    ///
    /// # Errors
    /// `InvalidInput` where the name is empty, longer than
    /// [`MAX_LEN`](Self::MAX_LEN), or holds a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.trim().is_empty()
            || name.encode_utf16().count() > Self::MAX_LEN
            || name.chars().any(char::is_control)
        {
            let message = "the URL's `schema` is no usable name; give 1 to 100 characters without \
                           control characters";
            return Err(invalid_url(message));
        }
        let quoted = format!("[{}]", name.replace(']', "]]"));
        Ok(Self { name, quoted })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The statements that make the store, for a person who may do what the
    /// application may not: schema, tables, indexes, and the rows that say so.
    /// Afterwards `prepare` finds all done and creates nothing.
    pub fn script(&self) -> String {
        let create = format!("CREATE SCHEMA {};\nGO\n", self.quoted);
        let mut script = create + &TABLE.replace("{s}", &self.quoted) + "\nGO\n";
        for (number, (name, text)) in MIGRATIONS.iter().enumerate() {
            script += &text.replace("{s}", &self.quoted);
            script += &format!(
                "INSERT INTO {}.migrations (version, name) VALUES ({}, N'{name}');\nGO\n",
                self.quoted,
                number + 1
            );
        }
        script
    }

    /// The name as an identifier in a statement.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// The name of an application lock.
    pub(crate) fn lock(&self, purpose: &str) -> String {
        format!("anyqueue {purpose} {}", self.name)
    }
}

/// `anyqueue`.
impl Default for Schema {
    fn default() -> Self {
        let name = "anyqueue".to_owned();
        let quoted = "[anyqueue]".to_owned();
        Self { name, quoted }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted)
    }
}

/// Whether the tables are of this version.
///
/// A store that is ready is only read, so that a user who may not create
/// anything can prepare one that another has made.
pub(crate) async fn is_ready(conn: &mut Connection, schema: &Schema) -> Result<bool, Failure> {
    Ok(version(conn, schema).await? == MIGRATIONS.len())
}

/// Brings the tables to this version, in one transaction under an application
/// lock: of several processes one migrates, and the others find it done. The
/// connection is not to be used further where it fails.
pub(crate) async fn migrate(conn: &mut Connection, schema: &Schema) -> Result<(), Failure> {
    conn.begin_transaction().await?;
    let mut lock = Query::new(
        "SET NOCOUNT ON; SET XACT_ABORT ON; DECLARE @locked int; EXEC @locked = sp_getapplock \
         @Resource = @P1, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = -1; \
         SELECT @locked AS locked;",
    );
    lock.bind(schema.lock("migrate"));
    let locked = rows_of(lock.query(conn).await?).await?;
    let locked = locked.first().and_then(|rows| rows.first());
    if locked.is_none_or(|row| rows::int(row, 0).is_ok_and(|code| code < 0)) {
        let message = "the lock of the migrations was not given";
        return Err(Failure::new(ErrorKind::Unavailable, message));
    }
    let version = version(conn, schema).await?;
    if version == 0 {
        let mut create = Query::new("IF SCHEMA_ID(@P1) IS NULL EXEC (@P2);");
        create.bind(schema.name());
        create.bind(format!("CREATE SCHEMA {}", schema.quoted()));
        rows_of(create.query(conn).await?).await?;
        run(conn, &render(TABLE, schema)).await?;
    }
    for (number, (name, text)) in MIGRATIONS.iter().enumerate().skip(version) {
        run(conn, &render(text, schema)).await?;
        let add = "INSERT INTO {s}.migrations (version, name) VALUES (@P1, @P2);";
        let mut add = Query::new(render(add, schema));
        add.bind(i32::try_from(number + 1).unwrap_or(i32::MAX));
        add.bind(*name);
        rows_of(add.query(conn).await?).await?;
    }
    let done = conn.commit_transaction().await;
    done.map_err(|error| Failure::from(error).after_send())
}

async fn run(conn: &mut Connection, batch: &str) -> Result<(), Failure> {
    rows_of(conn.simple_query(batch).await?).await.map(drop)
}

/// The version of the tables that are there; 0 where there are none.
async fn version(conn: &mut Connection, schema: &Schema) -> Result<usize, Failure> {
    let mut there = Query::new(
        "SELECT COUNT(*) AS there FROM sys.tables AS t \
         WHERE t.schema_id = SCHEMA_ID(@P1) AND t.name = N'migrations';",
    );
    there.bind(schema.name());
    let found = rows_of(there.query(conn).await?).await?;
    let there = found.first().and_then(|rows| rows.first());
    if there.map(|row| rows::int(row, 0)).transpose()?.unwrap_or(0) == 0 {
        return Ok(0);
    }
    let find = "SELECT COALESCE(MAX(m.version), 0) AS version FROM {s}.migrations AS m;";
    let find = Query::new(render(find, schema));
    let found = rows_of(find.query(conn).await?).await?;
    let version = found.first().and_then(|rows| rows.first());
    let version = version.map(|row| rows::int(row, 0)).transpose()?;
    let version = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let message = format!(
            "the schema's tables are of version {version}, this program knows up to {}; update \
             the crate `anyqueue`, or use another schema",
            MIGRATIONS.len()
        );
        return Err(Failure::new(ErrorKind::Corrupt, message));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_holds() {
        let schema = Schema::new("a]; DROP TABLE x --").unwrap();
        assert_eq!(schema.quoted(), "[a]]; DROP TABLE x --]");
        for name in ["", " ", "a\nb", &"x".repeat(101)] {
            assert!(Schema::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_script_is_the_migrations_and_says_so() {
        let script = Schema::new("jobs").unwrap().script();
        assert!(script.starts_with("CREATE SCHEMA [jobs];\nGO\n"));
        assert!(script.contains("CREATE TABLE [jobs].bodies ("));
        assert!(script.contains("VALUES (1, N'jobs')"));
        assert!(!script.contains("{s}"));
    }
}
