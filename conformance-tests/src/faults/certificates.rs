//! [`Authority`]: certificates of a test's own, for its servers.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority that nobody trusts yet, and the files of its certificates, all
/// of them PEM. Gone with the value. Made by the program `openssl`.
#[derive(Debug)]
pub struct Authority(tempfile::TempDir);

/// A server's certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file; who owns the process may read it, and root.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// Where `openssl` is missing or fails.
    pub fn new() -> io::Result<Self> {
        let directory = super::servers::directory()?;
        // A server may run as a user of its own.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let authority = Self(directory);
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -days 2 -subj /CN=authority -keyout root.key -out root.pem"
        ))?;
        Ok(authority)
    }

    /// The file of its own certificate, for who is to trust it.
    pub fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    /// Vouches for a server by this host name, and by no other. A second one
    /// for the same host takes the place of the first.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn certify(&self, host: &str) -> io::Result<Certificate> {
        let extensions = format!("subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:FALSE\n");
        std::fs::write(self.file(&format!("{host}.ext")), extensions)?;
        self.openssl(&format!(
            "req {NEW_KEY} -subj /CN={host} -keyout {host}.key -out {host}.csr"
        ))?;
        self.openssl(&format!(
            "x509 -req -in {host}.csr -extfile {host}.ext -CA root.pem -CAkey root.key \
             -CAcreateserial -days 2 -out {host}.pem"
        ))?;
        let key = self.file(&format!("{host}.key"));
        // PostgreSQL refuses one that others may read.
        std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        Ok(Certificate {
            certificate: self.file(&format!("{host}.pem")),
            key,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, words: &str) -> io::Result<()> {
        let made = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| io::Error::other(format!("openssl: {error}")))?;
        let said = String::from_utf8_lossy(&made.stderr);
        match made.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("openssl {words}: {said}"))),
        }
    }
}

impl Certificate {
    /// Gives the key to the user whom a package made for its server, where we
    /// are root.
    ///
    /// # Errors
    /// Where there is no such user.
    pub fn give(&self, user: &str) -> io::Result<()> {
        super::servers::give(&self.key, user)
    }
}
