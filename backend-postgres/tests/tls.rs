//! TLS to a server with an authority of its own: what is verified, what is
//! refused, and that who asks for TLS never gets plain text.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyqueue_core::{Backend as _, Error, ErrorKind};
use anyqueue_postgres::sqlx::{Connection as _, PgConnection, Row as _, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig};
use common::server::{Server, give};
use common::{claim, complete, created, jobs};

fn openssl(folder: &Path, args: &str) {
    let mut command = Command::new("openssl");
    command.args(args.split(' ')).current_dir(folder);
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        done.expect("openssl is installed").success(),
        "openssl {args}"
    );
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority; its certificate's file.
fn authority(folder: &Path, name: &str) -> PathBuf {
    let files = format!("-keyout {name}.key -out {name}.pem");
    openssl(
        folder,
        &format!("req -x509 {NEW_KEY} -days 2 {files} -subj /CN={name}"),
    );
    folder.join(format!("{name}.pem"))
}

/// A certificate for `localhost`, and for nothing else, by this authority.
fn certificate(folder: &Path, authority: &str) {
    let files = "-keyout server.key -out server.csr";
    openssl(
        folder,
        &format!("req {NEW_KEY} {files} -subj /CN=localhost"),
    );
    let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n";
    std::fs::write(folder.join("server.ext"), extensions).unwrap();
    let by = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
    let files = "-in server.csr -extfile server.ext -out server.pem";
    openssl(folder, &format!("x509 -req {files} {by} -days 2"));
    let key = folder.join("server.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    give(&key);
    give(&folder.join("server.pem"));
}

fn config(server: &Server, host: &str, options: &str) -> PostgresConfig {
    let url = format!(
        "postgres://anyqueue@{host}:{}/postgres?{options}",
        server.port()
    );
    PostgresConfig::from_url(&url).unwrap()
}

/// Does some work, and says whether the server saw it encrypted.
async fn encrypted(config: PostgresConfig) -> Result<bool, Error> {
    let backend = PostgresBackend::open(config.clone());
    backend.prepare().await?;
    let new = jobs(3);
    assert_eq!(backend.enqueue(&new).await?, created(&new));
    backend.settle(&complete(&claim(&backend, 3).await)).await?;
    let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
    let look = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let rows = raw_sql(look).fetch_all(&mut conn).await.unwrap();
    Ok(rows[0].get(0))
}

async fn refused(config: PostgresConfig) {
    let error = encrypted(config).await.expect_err("refused");
    assert!(
        matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unavailable),
        "{error}"
    );
}

#[tokio::test]
async fn certificates_and_host_names_are_verified() {
    let mut server = Server::new();
    let folder = server.directory().to_owned();
    let right = authority(&folder, "right");
    let wrong = authority(&folder, "wrong");
    certificate(&folder, "right");
    let file = |name: &str| folder.join(name).display().to_string();
    server.set("ssl=on");
    server.set(&format!("ssl_cert_file={}", file("server.pem")));
    server.set(&format!("ssl_key_file={}", file("server.key")));
    server.start().await;
    let with = |mode: &str, authority: &Path| format!("{mode}sslrootcert={}", authority.display());

    // `localhost` is what the certificate names. Who names an authority asks for TLS.
    for mode in [
        "sslmode=verify-full&",
        "sslmode=require&",
        "sslmode=verify-ca&",
        "",
    ] {
        let config = config(&server, "localhost", &with(mode, &right));
        assert!(encrypted(config).await.unwrap(), "{mode}");
    }
    for mode in [
        "sslmode=verify-full&",
        "sslmode=require&",
        "sslmode=verify-ca&",
        "",
    ] {
        refused(config(&server, "localhost", &with(mode, &wrong))).await;
    }
    // The public authorities know nothing of this server.
    refused(config(&server, "localhost", "sslmode=verify-full")).await;
    // The same server under a name that its certificate does not have.
    for mode in ["sslmode=verify-full&", "sslmode=require&", ""] {
        refused(config(&server, "127.0.0.1", &with(mode, &right))).await;
    }
    let by_authority = config(&server, "127.0.0.1", &with("sslmode=verify-ca&", &right));
    assert!(encrypted(by_authority).await.unwrap(), "but for the name");
    let unchecked = config(&server, "127.0.0.1", "sslmode=no-verify");
    assert!(encrypted(unchecked).await.unwrap());
    let offered = config(&server, "127.0.0.1", "");
    assert!(encrypted(offered).await.unwrap(), "taken where offered");
    let plain = config(&server, "127.0.0.1", "sslmode=disable");
    assert!(!encrypted(plain).await.unwrap());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_was_asked_for() {
    let mut server = Server::new();
    let authority = authority(server.directory(), "any");
    server.start().await;
    for mode in ["require", "verify-full", "verify-ca", "no-verify"] {
        refused(config(&server, "localhost", &format!("sslmode={mode}"))).await;
    }
    let named = format!("sslrootcert={}", authority.display());
    refused(config(&server, "localhost", &named)).await;
    let plain = config(&server, "localhost", "");
    assert!(!encrypted(plain).await.unwrap(), "nobody asked");
}
