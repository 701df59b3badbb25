//! The conformance suite against files of this run's own. Handles of a process
//! share threads where their settings agree; every second one here has others,
//! so that each case crosses from connection to connection too.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_sqlite::{SqliteBackend, SqliteConfig, Synchronous};

struct Files {
    directory: PathBuf,
    opened: AtomicU32,
}

impl Files {
    fn path(&self, store: &str) -> PathBuf {
        self.directory.join(store).with_extension("db")
    }
}

#[async_trait]
impl Fixture for Files {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn requirement(&self) -> Requirement {
        Requirement::Required
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        let mut config = SqliteConfig::new(self.path(store));
        if self.opened.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            config.synchronous = Synchronous::Normal;
        }
        Ok(Arc::new(SqliteBackend::open(config)?))
    }

    async fn remove(&self, store: &str) {
        for extension in ["db", "db-wal", "db-shm"] {
            // SQLite has removed the log and its index where all is closed.
            let _ = std::fs::remove_file(self.path(store).with_extension(extension));
        }
    }
}

fn main() -> ExitCode {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let opened = AtomicU32::new(0);
    run(Files { directory, opened })
}
