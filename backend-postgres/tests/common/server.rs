//! A server of a test's own, on a free port, to be killed.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyqueue_postgres::sqlx::{Connection as _, PgConnection};
use anyqueue_postgres::{PostgresConfig, sqlx};

/// The user whom the package made for the server; PostgreSQL refuses root.
const USER: &str = "postgres";

pub(crate) struct Server {
    directory: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A missing PostgreSQL is a failure: nothing was shown.
    pub(crate) fn new() -> Self {
        let bin = bin().expect("PostgreSQL is installed: initdb is on the path");
        let directory = directory();
        let port = free_port();
        let server = Self {
            directory,
            bin,
            port,
            settings: vec!["fsync=on".to_owned(), "full_page_writes=on".to_owned()],
            child: None,
        };
        let made = server
            .command("initdb")
            .args([
                "--username=anyqueue",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg("--no-sync")
            .arg(format!("--pgdata={}", server.data().display()))
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        server
    }

    /// A setting from the next start on.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// A directory of its own, for files that it is to read.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program of PostgreSQL, as a user whom it accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = as_user(&self.bin.join(program));
        command.current_dir(self.directory.path());
        command
    }

    /// Starts it, and returns when it answers.
    pub(crate) async fn start(&mut self) {
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
            let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
            self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
            if self.answers().await {
                return;
            }
        }
    }

    /// Waits until it answers; false where it ended by itself.
    async fn answers(&mut self) -> bool {
        let connect = PostgresConfig::from_url(&self.url()).unwrap().connect;
        loop {
            if let Ok(mut conn) = PgConnection::connect_with(&connect).await
                && sqlx::raw_sql("SELECT 1").execute(&mut conn).await.is_ok()
            {
                return true;
            }
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// kill -9 of the server and all its processes.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let parent = child.id();
        child.kill().unwrap();
        // Children first looked for now: the killed parent forks no more.
        for id in children(parent) {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
        child.wait().unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://anyqueue@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes whose parent this is. A killed one keeps them until it is
/// waited for.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // pid (name) state parent …
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned());
        let of = rest.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        of == Some(parent)
    })
    .collect()
}

/// A program, as a user whom it accepts.
pub(crate) fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}")]);
    command.args(["--init-groups", "--"]).arg(program);
    command
}

/// A directory that [`USER`] may use.
pub(crate) fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("anyqueue-").tempdir();
    let directory = directory.unwrap();
    give(directory.path());
    directory
}

/// Gives a file to [`USER`].
pub(crate) fn give(path: &Path) {
    if is_root() {
        let id = |flag| {
            let id = Command::new("id").args([flag, USER]).output().unwrap();
            let id = String::from_utf8(id.stdout).unwrap();
            id.trim().parse().unwrap()
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
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
