//! Servers of a test's own: on free ports of the loopback interface, with
//! their data in temporary directories, gone with the value. Their programs
//! must be installed; as root each runs as its package's own user, since
//! PostgreSQL and RabbitMQ refuse root.
//!
//! Each can be killed with -9, its child processes too, and started again on
//! the same port and data. They have on disk what they acknowledge.

mod pgbouncer;
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

pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::{Redis, RedisCluster};

/// How long a start may take; RabbitMQ takes ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port of 127.0.0.1 that nobody listens on, nor on the one 10,000 above it,
/// where a node of a Redis Cluster listens too. Both lie below the ports that
/// the system gives to outgoing connections (32,768 and up): one of those could
/// take the port of a killed server, even a client's own attempt to reach it,
/// which then talks to itself.
fn free_port() -> io::Result<u16> {
    const TRIES: usize = 1_000;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(12_000..22_000)).take(TRIES);
    let port = ports.find(|&port| free(port) && free(port + 10_000));
    port.ok_or_else(|| io::Error::other("there is no free port"))
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
    // Stopped, it starts no more, and keeps those it has: a dead one's belong
    // to another parent.
    signal(child.id(), Signal::STOP);
    // It may be in the middle of starting one, which would be missed.
    while runs(child.id()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = children(child.id());
    let _ = child.kill();
    // Some end by themselves meanwhile.
    for id in started {
        signal(id, Signal::KILL);
    }
    let _ = child.wait();
}

fn signal(process: u32, signal: Signal) {
    if let Some(id) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, signal);
    }
}

/// The state of a process and its parent.
fn state(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // pid (name) state parent …
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.to_owned(), rest.next()?.parse().ok()?))
}

/// Whether a process is neither stopped nor gone.
fn runs(process: u32) -> bool {
    state(process).is_some_and(|(state, _)| !["T", "t", "Z", "X"].contains(&state.as_str()))
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| state(*id).is_some_and(|(_, of)| of == parent))
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
