//! [`Postgres`].

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Started, answers, command_as, directory, free_port, give, kill};

/// The user whom the package made for the server.
const USER: &str = "postgres";

/// A PostgreSQL server of one's own.
#[derive(Debug)]
pub struct Postgres {
    directory: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// A server that is not started yet.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, or `initdb` fails.
    pub fn new() -> io::Result<Self> {
        let missing = "PostgreSQL is not installed: there is no initdb";
        let server = Self {
            directory: directory()?,
            bin: bin().ok_or_else(|| io::Error::other(missing))?,
            port: free_port()?,
            settings: ["fsync=on", "full_page_writes=on"]
                .map(str::to_owned)
                .into(),
            child: None,
        };
        give(server.directory.path(), USER)?;
        let made = server
            .command("initdb")
            .args(["--username=anyqueue", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .arg(format!("--pgdata={}", server.data().display()))
            .stdout(Stdio::null())
            .status()?;
        match made.success() {
            true => Ok(server),
            false => Err(io::Error::other("initdb failed")),
        }
    }

    /// A setting from the next start on: `fsync=off`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = command_as(USER, self.bin.join(program));
        command.current_dir(self.directory.path());
        command
    }

    /// Starts it, also after a kill, and returns when it answers.
    ///
    /// # Errors
    /// Where it cannot be started, or does not answer within two minutes.
    pub async fn start(&mut self) -> io::Result<()> {
        loop {
            // What a killed server left behind ends by itself; until then the
            // next one does not start.
            let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
            let mut command = self.command("postgres");
            command
                .arg("-D")
                .arg(self.data())
                .args(["-p", &self.port.to_string()]);
            let here = ["listen_addresses=127.0.0.1", "unix_socket_directories="];
            for setting in here
                .into_iter()
                .chain(self.settings.iter().map(String::as_str))
            {
                command.args(["-c", setting]);
            }
            let log = std::fs::File::create(self.directory.path().join("log"))?;
            self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn()?);
            // 'R' asks for a password or for none; 'E' tells that it is still
            // starting.
            match answers(&mut self.child, self.port, &startup(), b"R").await? {
                Started::Answers => return Ok(()),
                Started::Ended => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }

    /// kill -9 of the server and all its processes.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The file of what it wrote since its first start.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Its database's URL.
    pub fn url(&self) -> String {
        let port = self.port;
        format!("postgres://anyqueue@127.0.0.1:{port}/postgres?sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The message that opens a connection.
fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0anyqueue\0database\0postgres\0\0";
    let length = body.len() as u32 + 4;
    [&length.to_be_bytes()[..], body].concat()
}

/// Where the newest server's programs are.
fn bin() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions.extend(std::env::split_paths(&path));
    versions
        .into_iter()
        .rev()
        .find(|bin| bin.join("initdb").is_file())
}
