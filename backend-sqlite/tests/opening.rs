//! What is refused at the start, and with which text.

mod common;

use std::fs;
use std::path::Path;

use anyqueue_core::{Backend, Durability, Error, ErrorKind, State};
use anyqueue_sqlite::rusqlite::Connection;
use anyqueue_sqlite::{Creation, SqliteBackend, SqliteConfig, Synchronous};
use common::{Directory, count, created, jobs, store};

async fn prepare(config: SqliteConfig) -> Result<(), Error> {
    SqliteBackend::open(config)?.prepare().await
}

#[track_caller]
fn refused(answer: Result<(), Error>, kind: ErrorKind, advice: &str) {
    let error = answer.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = Directory::new();
    let missing = directory.path().join("data");
    let answer = prepare(SqliteConfig::new(missing.join("jobs.db"))).await;
    let advice = format!("{} does not exist; create it", missing.display());
    refused(answer, ErrorKind::NotFound, &advice);
}

#[tokio::test]
async fn a_missing_file_is_made_unless_told_otherwise() {
    let directory = Directory::new();
    let mut config = SqliteConfig::new(directory.file());
    config.creation = Creation::Never;
    let answer = prepare(config.clone()).await;
    refused(answer, ErrorKind::NotFound, "drop `create=false`");
    assert!(!directory.file().exists());
    prepare(SqliteConfig::new(directory.file())).await.unwrap();
    prepare(config).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let directory = Directory::new();
    let text = "no database at all\n".repeat(100);
    fs::write(directory.file(), &text).unwrap();
    let answer = prepare(SqliteConfig::new(directory.file())).await;
    refused(answer, ErrorKind::Corrupt, "no SQLite database");
    assert_eq!(fs::read_to_string(directory.file()).unwrap(), text);
}

#[tokio::test]
async fn a_directory_is_no_file() {
    let directory = Directory::new();
    let answer = prepare(SqliteConfig::new(directory.path())).await;
    refused(answer, ErrorKind::Denied, "cannot be opened");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let directory = Directory::new();
    drop(store(&directory.file()).await);
    let conn = Connection::open(directory.file()).unwrap();
    conn.execute_batch("INSERT INTO anyqueue_migrations VALUES (99, 'future', 0)")
        .unwrap();
    let answer = prepare(SqliteConfig::new(directory.file())).await;
    refused(answer, ErrorKind::Corrupt, "version 99");
}

#[tokio::test]
async fn calls_before_prepare_say_so() {
    let directory = Directory::new();
    let backend = SqliteBackend::open(SqliteConfig::new(directory.file())).unwrap();
    let unread = backend.counts().await.map(|_| ());
    refused(unread, ErrorKind::NotFound, "call `prepare`");
    let unwritten = backend.enqueue(&jobs(1)).await.map(|_| ());
    refused(unwritten, ErrorKind::Unavailable, "call `prepare`");
    backend.prepare().await.unwrap();
    backend.enqueue(&jobs(1)).await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
}

#[tokio::test]
async fn prepare_keeps_the_jobs_and_the_application_s_tables() {
    let directory = Directory::new();
    let conn = Connection::open(directory.file()).unwrap();
    conn.execute_batch("CREATE TABLE orders (number INTEGER); INSERT INTO orders VALUES (7)")
        .unwrap();
    let backend = store(&directory.file()).await;
    let new = jobs(2);
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    backend.prepare().await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 2);
    let kept = conn.query_row("SELECT number FROM orders", [], |row| row.get(0));
    assert_eq!(kept, Ok(7));
}

/// What is written to a file that is gone from its place is acknowledged and lost.
#[tokio::test]
#[cfg(unix)]
async fn a_file_that_is_deleted_or_replaced_is_used_no_more() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let old = jobs(2);
    backend.enqueue(&old).await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 2);
    // A copy as a backup has it.
    let copy = directory.path().join("copy.db");
    let conn = Connection::open(directory.file()).unwrap();
    conn.execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    drop(conn);
    let delete = || {
        for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
            let _ = fs::remove_file(directory.path().join(name));
        }
    };
    delete();
    let unread = backend.counts().await.map(|_| ());
    refused(unread, ErrorKind::NotFound, "does not exist");
    let lost = backend.enqueue(&jobs(1)).await.map(|_| ());
    refused(lost, ErrorKind::Unavailable, "call `prepare`");
    delete();
    fs::rename(&copy, directory.file()).unwrap();
    let new = jobs(1);
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    assert_eq!(count(&backend, State::Ready).await, 3);
    // Another process finds them too.
    let conn = Connection::open(directory.file()).unwrap();
    let all = conn.query_row("SELECT count(*) FROM anyqueue_jobs", [], |row| row.get(0));
    assert_eq!(all, Ok(3));
}

#[tokio::test]
async fn the_durability_is_that_of_the_settings() {
    let directory = Directory::new();
    let url = format!("sqlite://{}", directory.file().display());
    let full = SqliteBackend::connect(&url).unwrap();
    assert_eq!(full.capabilities().durability(), Durability::Host);
    let normal = SqliteBackend::connect(&format!("{url}?synchronous=normal")).unwrap();
    assert_eq!(normal.capabilities().durability(), Durability::Crash);
    let mut config = SqliteConfig::new(directory.file());
    config.synchronous = Synchronous::Normal;
    prepare(config).await.unwrap();
}

/// Runs as a user whom permissions bind, also where the tests run as root.
#[test]
#[cfg(unix)]
fn what_may_not_be_written_is_denied_and_untouched() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { drop(store(&directory.file()).await) });
    // The store's threads close their connections after its last handle.
    let conn = Connection::open(directory.file()).unwrap();
    while conn.pragma_update(None, "journal_mode", "DELETE").is_err() {
        std::thread::yield_now();
    }
    drop(conn);
    let before = fs::read(directory.file()).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&directory.file(), 0o444);
    mode(directory.path(), 0o555);
    let file = denied_child(&directory, "jobs.db");
    let new = denied_child(&directory, "new.db");
    mode(directory.path(), 0o755);
    assert!(
        file.contains("denied") && file.contains("write access"),
        "{file}"
    );
    assert!(
        new.contains("denied") && new.contains("must exist"),
        "{new}"
    );
    assert_eq!(fs::read(directory.file()).unwrap(), before);
    assert!(!directory.path().join("new.db").exists());
}

#[cfg(unix)]
fn denied_child(directory: &Directory, file: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;

    // A copy that the other user can reach, wherever the build directory is.
    let program = std::env::temp_dir().join(format!("anyqueue-opening-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = std::process::Command::new(&program);
    child
        .args(["--ignored", "--exact", "--nocapture", "denied_in_a_child"])
        .env("ANYQUEUE_TEST_FILE", directory.path().join(file))
        .current_dir("/");
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    fs::remove_file(program).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "the child of what_may_not_be_written_is_denied_and_untouched"]
async fn denied_in_a_child() {
    let file = std::env::var_os("ANYQUEUE_TEST_FILE").unwrap();
    let error = prepare(SqliteConfig::new(file)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    #[allow(clippy::print_stdout)] // The parent reads it.
    {
        println!("{error}");
    }
}
