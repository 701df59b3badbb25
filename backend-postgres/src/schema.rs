//! [`Schema`]: where the tables live, making them, and knowing when they are
//! another version's.

use std::fmt;

use anyqueue_core::{Error, ErrorKind, InvalidName};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::config::Pooler;
use crate::error::{Failure, invalid_url};
use crate::statements::render;
use crate::store::BEGIN;

/// All migrations, oldest first; the first is version 1. Forward only: what
/// was released is never edited.
const MIGRATIONS: [(&str, &str); 1] = [("jobs", include_str!("../migrations/0001_jobs.sql"))];

/// The name of a schema of PostgreSQL, which holds the tables of one store.
#[derive(Clone, PartialEq, Eq)]
pub struct Schema {
    name: String,
    quoted: String,
    pooler: Pooler,
}

impl Schema {
    /// The longest name, in bytes; longer ones PostgreSQL would cut.
    pub const MAX_LEN: usize = 63;

    /// The schema of this name.
    ///
    /// # Errors
    /// `InvalidInput` where the name is empty, longer than
    /// [`MAX_LEN`](Self::MAX_LEN), holds a control character, or begins with
    /// `pg_`, which PostgreSQL keeps for itself.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty()
            || name.len() > Self::MAX_LEN
            || name.starts_with("pg_")
            || name.chars().any(char::is_control)
        {
            let message = "the URL's `schema` is no usable name; give 1 to 63 bytes without \
                           control characters that do not begin with `pg_`";
            return Err(invalid_url(message));
        }
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let pooler = Pooler::None;
        Ok(Self {
            name,
            quoted,
            pooler,
        })
    }

    /// The same, for transactions of the application on connections through
    /// this pooler: [`enqueue_in`](Self::enqueue_in) and
    /// [`complete_in`](Self::complete_in) then prepare nothing on them.
    #[must_use]
    pub fn behind(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// What stands between the application's connections and the server.
    pub(crate) fn pooler(&self) -> Pooler {
        self.pooler
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as an identifier in a statement.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// A number for this schema: for advisory locks and the channel's name.
    /// FNV-1a, so that all versions of this crate agree.
    pub(crate) fn number(&self) -> i64 {
        let hash = self
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        i64::from_ne_bytes(hash.to_ne_bytes())
    }

    /// The channel of NOTIFY.
    pub(crate) fn channel(&self) -> String {
        format!("anyqueue_{:016x}", self.number())
    }
}

/// `anyqueue`.
impl Default for Schema {
    fn default() -> Self {
        let name = "anyqueue".to_owned();
        let quoted = "\"anyqueue\"".to_owned();
        let pooler = Pooler::None;
        Self {
            name,
            quoted,
            pooler,
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted)
    }
}

impl From<InvalidName> for Failure {
    fn from(_: InvalidName) -> Self {
        Self::corrupt("name")
    }
}

/// Brings the tables to this version, in one transaction under an advisory
/// lock: of several processes one migrates, and the others find it done.
///
/// A store that is ready is only read, so that a user who may not create
/// anything can prepare one that another has made.
pub(crate) async fn migrate(conn: &mut PgConnection, schema: &Schema) -> Result<(), Failure> {
    // Behind a pooler a statement is safe in a transaction only.
    let mut tx = conn.begin_with(BEGIN).await?;
    if version(&mut tx, schema).await? == MIGRATIONS.len() {
        return tx.commit().await.map_err(Failure::from);
    }
    // Migrations may take long, and so may those of another process.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .execute(&mut *tx)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(schema.number())
        .persistent(false)
        .execute(&mut *tx)
        .await?;
    let version = version(&mut tx, schema).await?;
    if version == 0 {
        let there = sqlx::query(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1),
                    current_setting('server_encoding') = 'UTF8'",
        )
        .bind(schema.name())
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
        if !there.try_get::<bool, _>(1)? {
            let message = "the database cannot hold every text; create one with `TEMPLATE \
                           template0 ENCODING 'UTF8'`";
            return Err(Failure::new(ErrorKind::InvalidInput, message));
        }
        // Also IF NOT EXISTS wants the right to create one.
        if !there.try_get::<bool, _>(0)? {
            sqlx::raw_sql(render("CREATE SCHEMA IF NOT EXISTS {s}", schema))
                .execute(&mut *tx)
                .await?;
        }
        let statement = "CREATE TABLE {s}.migrations (
                 version int4 PRIMARY KEY,
                 name text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now()
             )";
        sqlx::raw_sql(render(statement, schema))
            .execute(&mut *tx)
            .await?;
    }
    for (number, (name, statements)) in MIGRATIONS.iter().enumerate().skip(version) {
        sqlx::raw_sql(render(statements, schema))
            .execute(&mut *tx)
            .await?;
        let add = "INSERT INTO {s}.migrations (version, name) VALUES ($1, $2)";
        sqlx::query(render(add, schema))
            .bind(i32::try_from(number + 1).unwrap_or(i32::MAX))
            .bind(name)
            .persistent(false)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await.map_err(Failure::of_write)
}

/// The version of the tables that are there; 0 where there are none.
async fn version(conn: &mut PgConnection, schema: &Schema) -> Result<usize, Failure> {
    let there = sqlx::query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
                        WHERE schemaname = $1 AND tablename = 'migrations')",
    )
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *conn)
    .await?;
    if !there.try_get::<bool, _>(0)? {
        return Ok(0);
    }
    let find = format!(
        "SELECT coalesce(max(version), 0) FROM {}.migrations",
        schema.quoted()
    );
    let found = sqlx::query(AssertSqlSafe(find))
        .persistent(false)
        .fetch_one(conn)
        .await?;
    let version = usize::try_from(found.try_get::<i32, _>(0)?).unwrap_or(usize::MAX);
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
