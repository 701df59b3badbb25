//! How a connection is opened, and what is asked of the file.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyqueue_core::ErrorKind;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::config::{Creation, SqliteConfig};
use crate::error::Failure;

/// How long a connection waits for another process's lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// Opens the file.
fn open(config: &SqliteConfig, role: Role) -> Result<Connection, Failure> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if role == Role::Writer && config.creation == Creation::IfMissing {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = Connection::open_with_flags(&config.path, flags)
        .map_err(|error| missing(config, role).unwrap_or_else(|| error.into()))?;
    conn.busy_handler(Some(wait))?;
    conn.set_prepared_statement_cache_capacity(128);
    // Read here, so that a file that is no database is known before all else.
    let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if conn.is_readonly("main")? {
        let message = "the file is read-only; give this user write access to it and its directory";
        return Err(Failure::new(ErrorKind::Denied, message));
    }
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    match role {
        Role::Writer => {
            if mode != "wal" {
                use_wal(&conn)?;
            }
            conn.pragma_update(None, "synchronous", config.synchronous.pragma())?;
            // macOS alone tells a flushed file from one on stable storage.
            conn.pragma_update(None, "fullfsync", true)?;
            conn.pragma_update(None, "foreign_keys", false)?;
        }
        Role::Reader => conn.pragma_update(None, "query_only", true)?,
    }
    Ok(conn)
}

/// A connection, and the file that it is to.
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    file: Option<FileId>,
}

impl Opened {
    pub(crate) fn new(config: &SqliteConfig, role: Role) -> Result<Self, Failure> {
        let conn = open(config, role)?;
        let file = FileId::of(&config.path).ok();
        Ok(Self { conn, file })
    }

    /// Whether the path still names that file. One that was deleted or replaced is
    /// there for us alone: what is written to it is lost with this process.
    pub(crate) fn is_in_place(&self, config: &SqliteConfig) -> bool {
        match FileId::of(&config.path) {
            Ok(found) => self.file.is_none_or(|file| file == found),
            // Whoever may not look knows no better.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// What tells a file from another of the same name: its device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    /// Of the file of this name.
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path)?;
        Ok(Self(found.dev(), found.ino()))
    }

    /// Windows replaces no file that is open.
    #[cfg(not(unix))]
    fn of(_: &Path) -> io::Result<Self> {
        Ok(Self(0, 0))
    }
}

/// The write-ahead log lets readers and one writer go on side by side. The
/// switch needs the file for itself, and SQLite does not wait for that.
fn use_wal(conn: &Connection) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            Ok::<String, _>(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                let message = "SQLite's write-ahead log cannot be used here, as on network file \
                               systems; put the file on a local disk";
                return Err(Failure::new(ErrorKind::TooWeak, message));
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < PATIENCE =>
            {
                pause();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A short jittered sleep gets a process its turn within about 0.1 s beside
/// one that writes without a pause; SQLite's own growing sleeps starved it for
/// 3 s (measured, see the crate's docs).
fn pause() {
    std::thread::sleep(Duration::from_micros(fastrand::u64(125..=375)));
}

/// SQLite's busy handler: called while another connection holds the lock.
fn wait(calls: i32) -> bool {
    thread_local!(static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) });
    let begun = match BEGUN.get() {
        Some(begun) if calls > 0 => begun,
        _ => {
            let now = Instant::now();
            BEGUN.set(Some(now));
            now
        }
    };
    pause();
    begun.elapsed() < PATIENCE
}

/// What is missing, where that is why the file cannot be opened.
fn missing(config: &SqliteConfig, role: Role) -> Option<Failure> {
    let directory = match config.path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let message = if !directory.try_exists().unwrap_or(true) {
        format!(
            "the directory {} does not exist; create it",
            directory.display()
        )
    } else if config.path.try_exists().unwrap_or(true) {
        return None;
    } else if config.creation == Creation::Never {
        let path = config.path.display();
        format!("the file {path} does not exist; create it, or drop `create=false`")
    } else if role == Role::Reader {
        let path = config.path.display();
        format!("the file {path} does not exist; call `prepare` (connect does) first")
    } else {
        return None;
    };
    Some(Failure::new(ErrorKind::NotFound, message))
}
