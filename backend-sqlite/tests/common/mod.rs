//! What the tests share: a directory that goes away, and stores.
#![allow(dead_code, unused_imports)] // Each test file uses its own part.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyqueue_conformance_tests::calls::request;
pub(crate) use anyqueue_conformance_tests::calls::{LONG, complete, count, counts, created, jobs};
use anyqueue_core::{Backend, ClaimedJob};
use anyqueue_sqlite::{SqliteBackend, SqliteConfig};

/// Tells a hang from a result; no test is about how long something takes.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// A directory of one test's own, removed at its end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyqueue-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("jobs.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A prepared store in this file.
pub(crate) async fn store(file: &Path) -> SqliteBackend {
    let backend = SqliteBackend::open(SqliteConfig::new(file)).unwrap();
    backend.prepare().await.unwrap();
    backend
}

pub(crate) async fn claim(backend: &SqliteBackend, limit: u32, lease: Duration) -> Vec<ClaimedJob> {
    backend.claim(&request(limit, lease)).await.unwrap()
}
