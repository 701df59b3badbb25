//! TLS to a server with an authority of its own: what is verified, what is
//! refused, and that who asks for TLS never gets plain text.

mod common;

use anyqueue_conformance_tests::faults::Authority;
use anyqueue_conformance_tests::faults::servers::Postgres;
use anyqueue_core::{Backend as _, Error, ErrorKind};
use anyqueue_postgres::sqlx::{Connection as _, PgConnection, Row as _, raw_sql};
use anyqueue_postgres::{PostgresBackend, PostgresConfig};
use common::{claim, complete, created, jobs};

fn config(server: &Postgres, host: &str, options: &str) -> PostgresConfig {
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
    let mut server = Postgres::new().unwrap();
    let (right, wrong) = (Authority::new().unwrap(), Authority::new().unwrap());
    let certified = right.certify("localhost").unwrap();
    certified.give("postgres").unwrap();
    server.set("ssl=on");
    let file = certified.certificate.display();
    server.set(&format!("ssl_cert_file={file}"));
    server.set(&format!("ssl_key_file={}", certified.key.display()));
    server.start().await.unwrap();
    let with = |mode: &str, authority: &Authority| {
        format!("{mode}sslrootcert={}", authority.root().display())
    };

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
    let mut server = Postgres::new().unwrap();
    let authority = Authority::new().unwrap();
    server.start().await.unwrap();
    for mode in ["require", "verify-full", "verify-ca", "no-verify"] {
        refused(config(&server, "localhost", &format!("sslmode={mode}"))).await;
    }
    let named = format!("sslrootcert={}", authority.root().display());
    refused(config(&server, "localhost", &named)).await;
    let plain = config(&server, "localhost", "");
    assert!(!encrypted(plain).await.unwrap(), "nobody asked");
}
