//! The job: an export of a view to a CSV file.

mod csv_file;
mod folder;
mod handler;

use std::time::Duration;

use anyqueue::{Job, RetryPolicy};
use serde::{Deserialize, Serialize};

use crate::orders::{Filters, View};

pub(crate) use folder::ExportFolder;
pub(crate) use handler::{Exporter, STEPS, export_csv};

/// Exports a view to a file. Who asked for it is the job's tag, so that lists
/// can be filtered by it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ExportCsv {
    pub(crate) view: View,
    #[serde(flatten)]
    pub(crate) filters: Filters,
}

/// A finished export: a reference to the file, which is too large for a queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Export {
    /// The file's name in the folder of exports.
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Job for ExportCsv {
    const KIND: &'static str = "export_csv";
    const QUEUE: &'static str = "exports";
    type Output = Export;

    /// Someone waits in front of the page: tell them soon that it failed.
    fn retry_policy() -> RetryPolicy {
        RetryPolicy::fixed(3, Duration::from_secs(1))
    }
}
