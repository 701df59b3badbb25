//! [`PgBouncer`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::{Started, answers, command_as, directory, free_port, give, kill};

/// The user as whom it runs where we are root: that of PostgreSQL's package.
const USER: &str = "postgres";

/// A PgBouncer of one's own, in front of a PostgreSQL server of this host.
#[derive(Debug)]
pub struct PgBouncer {
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl PgBouncer {
    /// One in transaction mode that makes so many connections to the server at
    /// the most, with no setting that an application would have to ask its
    /// operator for. `server` is a connection string of libpq; clients need no
    /// password.
    ///
    /// # Errors
    /// Where PgBouncer is not installed (Debian's package `pgbouncer`), or does
    /// not answer within two minutes.
    pub async fn to(server: &str, connections: usize) -> io::Result<Self> {
        let missing = "PgBouncer is not installed";
        let program = program().ok_or_else(|| io::Error::other(missing))?;
        let directory = directory()?;
        let port = free_port()?;
        let config = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n\
             * = {server}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             max_client_conn = 1000\n"
        );
        std::fs::write(&config, text)?;
        give(directory.path(), USER)?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let child = command_as(USER, program)
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut bouncer = Self {
            directory,
            port,
            child: Some(child),
        };
        // Asked whether it takes TLS it says no.
        match answers(
            &mut bouncer.child,
            port,
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"N",
        )
        .await?
        {
            Started::Answers => Ok(bouncer),
            Started::Ended => Err(io::Error::other(bouncer.log())),
        }
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        kill(&mut self.child);
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
