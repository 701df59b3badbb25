//! A PgBouncer of a test's own, on a free port, in front of the server for tests.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyqueue_postgres::sqlx::postgres::PgConnectOptions;

use super::HANG;
use super::server::{as_user, directory, free_port, give};

pub(crate) struct Bouncer {
    directory: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Bouncer {
    /// In transaction mode, with few connections to the server and no setting
    /// that an application would have to ask its operator for. A missing
    /// PgBouncer is a failure: nothing was shown.
    pub(crate) fn to(server: &PgConnectOptions, password: &str, connections: usize) -> Self {
        let program = program().expect("PgBouncer is installed (Debian's package pgbouncer)");
        let directory = directory();
        let port = free_port();
        let config = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n\
             * = host={} port={} user={} password={password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             max_client_conn = 1000\n",
            server.get_host(),
            server.get_port(),
            server.get_username(),
        );
        std::fs::write(&config, text).unwrap();
        give(&config);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = as_user(&program);
        command.arg(&config).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < HANG, "it starts");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            directory,
            port,
            child,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian's place for it, which is on no user's path.
    folders.push(Path::new("/usr/sbin").to_owned());
    let programs = folders.into_iter().map(|folder| folder.join("pgbouncer"));
    programs.into_iter().find(|program| program.is_file())
}
