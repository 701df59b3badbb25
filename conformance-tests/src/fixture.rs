//! [`Fixture`]: what a backend author writes.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{Backend, Error, async_trait};

/// How the stores of a backend are opened and removed.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// The backend's name, as the summary shows it.
    fn name(&self) -> &str;

    /// Whether the suite runs here.
    fn requirement(&self) -> Requirement;

    /// Opens a store: with connections of its own, as another process would.
    /// A name that was not opened before is an empty store; the same name is
    /// the same store. Names are unique among all runs and at most 24
    /// characters of `a-z`, `0-9` and `_`, a letter first: fit for a file, a
    /// schema or a prefix. The suite calls `prepare`.
    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error>;

    /// Says, in words, what calls have left behind where none is under way any
    /// more: a connection in a transaction, one too many. Asked again until
    /// there is nothing, since dropped calls may still be on their way to
    /// their end. A store whose server cannot tell says nothing.
    async fn left_behind(&self, store: &str) -> Option<String> {
        let _ = store;
        None
    }

    /// How long a case may take before it has failed: three minutes. It only
    /// tells a hang from a result, so a far or slow server may take more.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    /// Removes a store after its case; all handles are dropped by then.
    async fn remove(&self, store: &str);
}

/// Whether the suite runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// It does: a store that does not open fails its case.
    Required,
    /// It does not, for this reason: each case is shown as ignored with
    /// `NOT RUN` and the reason.
    NotRun(String),
}

impl Requirement {
    /// Required where this environment variable (the URL of a server) is set;
    /// otherwise not run.
    pub fn where_set(variable: &str) -> Self {
        match std::env::var_os(variable) {
            Some(_) => Self::Required,
            None => Self::NotRun(format!("{variable} is not set")),
        }
    }

    /// As [`where_set`](Self::where_set), and required wherever `CI` is set: a run
    /// of CI without the server must not look like one that passed.
    pub fn where_set_or_in_ci(variable: &str) -> Self {
        match std::env::var_os("CI") {
            Some(_) => Self::Required,
            None => Self::where_set(variable),
        }
    }
}
