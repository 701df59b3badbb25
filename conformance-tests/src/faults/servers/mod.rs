//! Servers of a test's own: on free ports of the loopback interface, with
//! their data in temporary directories, gone with the value. Their programs
//! must be installed; as root each runs as its package's own user, since
//! PostgreSQL and RabbitMQ refuse root.
//!
//! Each can be killed with -9, its child processes too, and started again on
//! the same port and data. They have on disk what they acknowledge.

mod postgres;
mod rabbitmq;
mod redis;

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::{Redis, RedisCluster};

/// How long a start may take; RabbitMQ takes ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port of 127.0.0.1 that nobody listens on, nor on the one 10,000 above it,
/// where a node of a Redis Cluster listens too.
fn free_port() -> io::Result<u16> {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return Ok(port);
        }
    }
}

pub(super) fn directory() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("anyqueue-").tempdir()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The program, run as this user where we are root.
fn command_as(user: &str, program: impl AsRef<OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"));
    command.args(["--init-groups", "--"]).arg(program);
    command
}

/// Gives a file, or a directory and what is in it, to the user as whom the
/// server runs.
pub(super) fn give(path: &Path, user: &str) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let id = |flag| -> io::Result<u32> {
        let output = Command::new("id").args([flag, user]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let unknown = |_| io::Error::other(format!("there is no user {user}"));
        text.trim().parse().map_err(unknown)
    };
    let (user, group) = (id("-u")?, id("-g")?);
    chown(path, Some(user), Some(group))?;
    if !path.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        chown(entry?.path(), Some(user), Some(group))?;
    }
    Ok(())
}

/// kill -9 of a process and of those that it started.
fn kill(child: &mut Option<Child>) {
    let Some(mut child) = child.take() else {
        return;
    };
    let parent = child.id();
    let _ = child.kill();
    // Looked for only now: the killed parent starts no more, and keeps them
    // until it is waited for.
    // Some end by themselves meanwhile.
    for id in children(parent) {
        if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::KILL);
        }
    }
    let _ = child.wait();
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // pid (name) state parent …
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest);
        let of = rest.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        of == Some(parent)
    })
    .collect()
}

/// What became of a server that was started.
enum Started {
    Answers,
    /// The process ended by itself.
    Ended,
}

/// Waits until the server answers `hello` with one of these first bytes.
async fn answers(
    child: &mut Option<Child>,
    port: u16,
    hello: &[u8],
    wanted: &[u8],
) -> io::Result<Started> {
    let begun = Instant::now();
    loop {
        let asked = ask(port, hello);
        let first = tokio::time::timeout(Duration::from_secs(5), asked).await;
        if let Ok(Ok(byte)) = first
            && wanted.contains(&byte)
        {
            return Ok(Started::Answers);
        }
        if let Some(child) = child
            && child.try_wait()?.is_some()
        {
            return Ok(Started::Ended);
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other("the server does not answer"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first byte of the answer.
async fn ask(port: u16, hello: &[u8]) -> io::Result<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(hello).await?;
    stream.read_u8().await
}
