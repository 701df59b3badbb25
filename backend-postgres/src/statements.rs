//! [`Statements`]: the texts of `sql/`, with the schema's name in its places.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::schema::Schema;

macro_rules! statements {
    ($($name:ident $file:literal,)+) => {
        /// One statement, by the name of its file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Statement { $($name,)+ }

        /// The texts, in the order of [`Statement`].
        const TEXTS: &[&str] = &[$(include_str!(concat!("sql/", $file, ".sql")),)+];
    };
}

statements! {
    Cancel "cancel",
    Claim "claim",
    Durability "durability",
    End "end",
    Enqueue "enqueue",
    EnqueueAlike "enqueue_alike",
    EnqueueKnown "enqueue_known",
    Expire "expire",
    Fold "fold",
    Forget "forget",
    Get "get",
    Heartbeat "heartbeat",
    KeysOver "keys_over",
    ListAll "list_all",
    ListFew "list_few",
    ListTagged "list_tagged",
    Look "look",
    NextDue "next_due",
    Notify "notify",
    Progress "progress",
    Promote "promote",
    Purge "purge",
    QueueAdd "queue_add",
    QueueFind "queue_find",
    Queues "queues",
    Retry "retry",
    SetFlow "set_flow",
    Settle "settle",
    Settled "settled",
    States "states",
    Watch "watch",
    WorkerSeen "worker_seen",
}

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements(Vec<SqlStr>);

impl Statements {
    /// The statements on the tables of this schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self(TEXTS.iter().map(|text| render(text, schema)).collect())
    }

    pub(crate) fn get(&self, statement: Statement) -> SqlStr {
        self.0[statement as usize].clone()
    }
}

/// One statement on the tables of this schema.
pub(crate) fn text(statement: Statement, schema: &Schema) -> SqlStr {
    render(TEXTS[statement as usize], schema)
}

/// A text of this crate with the schema's quoted name in place of `{s}`: the
/// only thing that is ever spliced.
pub(crate) fn render(text: &str, schema: &Schema) -> SqlStr {
    let text: std::sync::Arc<str> = text.replace("{s}", schema.quoted()).into();
    AssertSqlSafe(text).into_sql_str()
}
