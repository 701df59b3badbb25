//! TLS to a broker whose authority is of the test's own: what is verified, and
//! what is refused.

mod common;

use std::net::TcpListener;
use std::process::ExitCode;

use anyqueue_conformance_tests::faults::Authority;
use anyqueue_conformance_tests::faults::servers::RabbitMq;
use anyqueue_core::{Backend, ErrorKind, Settled, State};
use anyqueue_rabbitmq::RabbitBackend;
use common::jobs::{LONG, put, record, settle, take};
use common::{config, fresh};

fn main() -> ExitCode {
    let trials = trials![the_brokers_certificate_is_verified];
    common::run(trials, RabbitMq::missing())
}

fn store(url: &str, prefix: &str) -> RabbitBackend {
    RabbitBackend::open(&config(url, prefix))
}

async fn the_brokers_certificate_is_verified() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let certified = authority.certify("localhost").unwrap();
    certified.give("rabbitmq").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    // The only port that serves this store; the plain one tells when it runs.
    let broker = RabbitMq::start(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n",
        certified.certificate.display(),
        certified.key.display(),
    ))
    .await
    .unwrap();
    let prefix = fresh("tls");
    let trusting = |host: &str, authority: &Authority| {
        let ca = authority.root().display().to_string();
        format!("amqps://anyqueue:secret@{host}:{port}/%2f?ca={ca}")
    };

    let store_here = store(&trusting("localhost", &authority), &prefix);
    store_here.prepare().await.unwrap();
    let id = put(&store_here).await;
    let held = take(&store_here, LONG).await;
    assert_eq!(settle(&store_here, held.token).await, Settled::Accepted);
    assert_eq!(record(&store_here, id).await.state, State::Completed);
    let connections = broker.control(&["list_connections", "ssl", "--no-table-headers"]);
    let connections = String::from_utf8(connections.unwrap().stdout).unwrap();
    assert!(connections.contains("true"), "{connections}");
    assert!(!connections.contains("false"), "{connections}");

    let refused = [
        // Nobody whom this host trusts vouches for it.
        format!("amqps://anyqueue:secret@localhost:{port}/%2f"),
        trusting("localhost", &stranger),
        // Not by that name.
        trusting("127.0.0.1", &authority),
    ];
    for url in refused {
        let error = store(&url, &prefix).prepare().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        let text = error.to_string();
        assert!(text.contains("certificate"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
