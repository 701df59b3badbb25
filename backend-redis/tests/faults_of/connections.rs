//! Connections that are lost, shared, or not to be trusted.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyqueue_conformance_tests::faults::Authority;
use anyqueue_core::{Backend, ErrorKind};
use anyqueue_redis::RedisBackend;

use super::{claim, complete, job, open, until, wait};
use crate::common::{Server, command};

pub(crate) async fn dropped_calls_give_nobody_a_wrong_answer() {
    let server = Server::start(&["--appendfsync", "no"])
        .await
        .expect("a server");
    let a = open(&server.url()).await;
    let jobs: Vec<_> = (0..20).map(|_| job()).collect();
    a.enqueue(&jobs).await.expect("an enqueue");
    for round in 0..20 {
        // Nothing is answered for a while, so that calls are dropped midway.
        command(&server, &["CLIENT", "PAUSE", "30", "ALL"]);
        let dropped = jobs.iter().map(|job| {
            let ids = [job.id];
            let a = &a;
            async move {
                let _ = tokio::time::timeout(Duration::from_millis(5), a.get(&ids)).await;
            }
        });
        futures::future::join_all(dropped).await;
        for job in &jobs[round % 10..round % 10 + 10] {
            let found = a.get(&[job.id]).await.expect("a record");
            assert_eq!(found[0].as_ref().map(|record| record.id), Some(job.id));
        }
        // A dropped claim holds what it took; a dropped wait holds nothing.
        let wait = wait(Duration::from_secs(60));
        let _ = tokio::time::timeout(Duration::from_millis(1), a.wait_for_work(&wait)).await;
    }
    let claimed = claim(&a, 100, Duration::from_secs(60)).await;
    assert_eq!(claimed.len(), jobs.len());
}

pub(crate) async fn scripts_are_loaded_again() {
    let server = Server::start(&[]).await.expect("a server");
    let a = open(&server.url()).await;
    for _ in 0..3 {
        a.enqueue(&[job()]).await.expect("an enqueue");
        let token = claim(&a, 1, Duration::from_secs(60)).await[0].token;
        command(&server, &["SCRIPT", "FLUSH"]);
        a.settle(&[complete(token)]).await.expect("a settle");
        command(&server, &["SCRIPT", "FLUSH"]);
    }
}

pub(crate) async fn an_idle_handle_comes_back_after_a_restart() {
    let mut server = Server::start(&[]).await.expect("a server");
    let a = open(&server.url()).await;
    let id = a.enqueue(&[job()]).await.expect("an enqueue")[0].id();
    server.kill();
    let error = a.get(&[id]).await.expect_err("the server is away");
    assert!(error.kind().is_transient(), "{error}");
    let error = a.enqueue(&[job()]).await.expect_err("the server is away");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.run().await.expect("it starts again");
    until("it is back", async || a.get(&[id]).await.is_ok()).await;
    assert!(a.get(&[id]).await.expect("a record")[0].is_some());
}

pub(crate) async fn waits_come_back_after_a_restart() {
    let mut server = Server::start(&[]).await.expect("a server");
    let (a, b) = (open(&server.url()).await, open(&server.url()).await);
    // Both ways of waiting have connections that break.
    let _ = tokio::time::timeout(
        Duration::from_millis(200),
        a.wait_for_work(&wait(Duration::from_secs(60))),
    )
    .await;
    let other = b.enqueue(&[job()]).await.expect("an enqueue")[0].id();
    claim(&b, 1, Duration::from_secs(600)).await;
    let _ = a
        .wait_for_change(&[other], Duration::from_millis(200))
        .await;
    server.kill();
    server.run().await.expect("it starts again");
    until("it is back", async || {
        let wait = wait(Duration::from_millis(10));
        a.wait_for_work(&wait).await.is_ok() && b.get(&[other]).await.is_ok()
    })
    .await;
    for _ in 0..3 {
        let request = wait(Duration::from_secs(600));
        let mut work = Box::pin(a.wait_for_work(&request));
        assert!(futures::poll!(&mut work).is_pending());
        tokio::time::sleep(Duration::from_millis(20)).await;
        b.enqueue(&[job()]).await.expect("an enqueue");
        tokio::time::timeout(super::PATIENCE, work)
            .await
            .expect("it is told")
            .expect("a wait");
        claim(&a, 1, Duration::from_secs(600)).await;
    }
    // As core does: waits until it is told, looking again after each wait.
    let watching = async {
        loop {
            let _ = a.wait_for_change(&[other], Duration::from_secs(600)).await;
            let record = a.get(&[other]).await.expect("a record").pop().flatten();
            if record.is_some_and(|record| record.cancel_requested) {
                return;
            }
        }
    };
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        b.cancel(&[other]).await.expect("a cancel");
    };
    let both = futures::future::join(watching, cancel);
    tokio::time::timeout(super::PATIENCE, both)
        .await
        .expect("it is told");
}

/// The child: a TLS connection, with the roots that its environment names.
pub(crate) async fn trust(url: &str) {
    let a = open(url).await;
    a.enqueue(&[job()]).await.expect("an enqueue");
    // Blocking connections are by TLS too.
    a.wait_for_work(&wait(Duration::from_millis(100)))
        .await
        .expect("a wait");
    assert_eq!(claim(&a, 1, Duration::from_secs(60)).await.len(), 1);
}

pub(crate) async fn tls_verifies_the_certificate() {
    let authority = Authority::new().expect("an authority");
    let certified = authority.certify("localhost").expect("a certificate");
    let text = |path: &Path| path.display().to_string();
    let plain = Server::start(&[]).await.expect("a server");
    command(
        &plain,
        &[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &text(&certified.certificate),
            "tls-key-file",
            &text(&certified.key),
            "tls-ca-cert-file",
            &text(&authority.root()),
            "tls-auth-clients",
            "no",
        ],
    );
    // A port of its own, beside the plain one.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = port.expect("a free port").port();
    command(&plain, &["CONFIG", "SET", "tls-port", &port.to_string()]);

    let refused = RedisBackend::connect(&format!("rediss://localhost:{port}")).expect("a URL");
    let error = refused.prepare().await.expect_err("nobody vouches for it");
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );

    let run = |host: &str| {
        let mut child = crate::child("trust", &format!("rediss://{host}:{port}"));
        child
            .env("SSL_CERT_FILE", authority.root())
            .env_remove("SSL_CERT_DIR");
        child
            .stderr(Stdio::null())
            .status()
            .expect("the child runs")
    };
    assert!(run("localhost").success(), "the root vouches for it");
    assert!(!run("127.0.0.1").success(), "but not by that name");
}

pub(crate) async fn a_wrong_password_is_denied_and_not_shown() {
    let server = Server::start(&["--requirepass", "right"])
        .await
        .expect("a server");
    for user in [":hunter2@", "nobody:hunter2@", ""] {
        let url = format!("redis://{user}127.0.0.1:{}", server.port());
        let error = RedisBackend::connect(&url).expect("a URL").prepare().await;
        let error = error.expect_err("the password is wrong");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let right = format!("redis://:right@127.0.0.1:{}", server.port());
    open(&right).await;
}
