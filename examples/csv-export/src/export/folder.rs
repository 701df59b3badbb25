//! [`ExportFolder`]: where finished exports lie, each under its job's id.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use anyqueue::JobId;
use tempfile::NamedTempFile;

/// The folder of exports. With several hosts this would be a shared or an
/// object store: a result must lie where all of them can reach it.
#[derive(Debug, Clone)]
pub(crate) struct ExportFolder(PathBuf);

impl ExportFolder {
    /// The folder in this one; made where there is none.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("exports");
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// The name of a job's file. Ids hold hexadecimal digits and dashes only,
    /// so that no request can lead out of the folder.
    pub(crate) fn file_name(id: JobId) -> String {
        format!("{id}.csv")
    }

    /// The path of a job's file; there is a file once the export is complete.
    pub(crate) fn path(&self, id: JobId) -> PathBuf {
        self.0.join(Self::file_name(id))
    }

    /// A file to write a job's rows to; removed when it is dropped. What an
    /// attempt that was killed left behind is removed first.
    pub(crate) fn begin(&self, id: JobId) -> io::Result<NamedTempFile> {
        let prefix = format!("{id}.");
        self.remove_parts(&prefix)?;
        // Each attempt writes to a file of its own: one that has lost its
        // lease and does not know it yet must not write into its successor's.
        tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".part")
            .tempfile_in(&self.0)
    }

    /// Gives a written file its name, whole and on disk.
    pub(crate) fn finish(&self, id: JobId, file: NamedTempFile) -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(self.path(id))?;
        // The name is on disk once its folder is.
        fs::File::open(&self.0)?.sync_all()
    }

    /// Removes the files of exports that are older than their jobs are kept.
    pub(crate) fn sweep(&self, kept: Duration) -> io::Result<()> {
        let is_old = |file: &fs::Metadata| {
            let age = file
                .modified()
                .map(|time| SystemTime::now().duration_since(time));
            matches!(age, Ok(Ok(age)) if age > kept)
        };
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if is_old(&entry.metadata()?) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn remove_parts(&self, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let is_part = |name: &str| name.starts_with(prefix) && name.ends_with(".part");
            if entry.file_name().to_str().is_some_and(is_part) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file that another process may have removed already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
