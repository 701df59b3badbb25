//! What a broker refuses, and what the error says: on a broker of the test's
//! own.

mod common;

use std::process::ExitCode;

use anyqueue_conformance_tests::faults::servers::RabbitMq;
use anyqueue_core::{Backend, Error, ErrorKind};
use anyqueue_rabbitmq::RabbitBackend;
use common::jobs::{again, job, put, record};
use common::{config, eventually, fresh};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

fn main() -> ExitCode {
    let trials = trials![a_broker_says_no, a_broker_without_streams_is_refused];
    common::run(trials, RabbitMq::missing())
}

fn store(url: &str, prefix: &str) -> RabbitBackend {
    RabbitBackend::open(&config(url, prefix))
}

async fn refused(url: &str, prefix: &str) -> Error {
    store(url, prefix).prepare().await.unwrap_err()
}

fn says(error: &Error, kind: ErrorKind, words: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(words), "{text}");
    assert!(
        !text.contains("secret") && !text.contains("hunter2"),
        "{text}"
    );
}

/// One broker for all of them: its start is what takes time.
async fn a_broker_says_no() {
    let broker = RabbitMq::start("").await.unwrap();
    let url = broker.url();

    // Wrong password, unknown virtual host.
    let error = refused(&url.replace("secret", "hunter2"), "p").await;
    says(&error, ErrorKind::Denied, "password");
    let error = refused(&url.replace("%2f", "elsewhere"), "p").await;
    says(&error, ErrorKind::Denied, "virtual host");

    // A user who may do nothing; one who may use what there is.
    let prefix = fresh("rights");
    let owner = store(&url, &prefix);
    owner.prepare().await.unwrap();
    let id = put(&owner).await;
    assert!(
        owner
            .claim(&common::jobs::claim_of(0, common::jobs::LONG))
            .await
            .unwrap()
            .is_empty()
    );
    broker.control(&["add_user", "guest2", "hunter2"]).unwrap();
    broker
        .control(&["set_permissions", "guest2", "^$", "^$", "^$"])
        .unwrap();
    let theirs = url.replace("anyqueue:secret", "guest2:hunter2");
    let error = refused(&theirs, &prefix).await;
    says(&error, ErrorKind::Denied, "read permission");
    broker
        .control(&["set_permissions", "guest2", "^$", ".*", ".*"])
        .unwrap();
    let user = store(&theirs, &prefix);
    user.prepare().await.unwrap();
    assert_eq!(record(&user, id).await.id, id);
    // But not make a new store.
    let error = refused(&theirs, &fresh("new")).await;
    says(&error, ErrorKind::Denied, "configure");
    drop(user);

    // A queue of that name that is something else's.
    let taken = fresh("taken");
    let connection = Connection::connect(&url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let roots = format!("{taken}.roots");
    channel
        .queue_declare(roots.as_str().into(), durable, FieldTable::default())
        .await
        .unwrap();
    let error = refused(&url, &taken).await;
    says(&error, ErrorKind::InvalidInput, "another `prefix`");

    // A message that is no command of ours.
    let spoilt = fresh("spoilt");
    let spoiling = store(&url, &spoilt);
    spoiling.prepare().await.unwrap();
    let ledger = format!("{spoilt}.ledger.0");
    let properties = lapin::BasicProperties::default();
    let options = lapin::options::BasicPublishOptions::default();
    channel
        .basic_publish(
            "".into(),
            ledger.as_str().into(),
            options,
            b"hello",
            properties,
        )
        .await
        .unwrap();
    // It does no harm.
    let id = put(&spoiling).await;
    assert_eq!(record(&store(&url, &spoilt), id).await.id, id);

    // An alarm: told within seconds, and over when it is over.
    broker
        .control(&["set_vm_memory_high_watermark", "0.00001"])
        .unwrap();
    let error = eventually("a call fails", async || owner.enqueue(&[job()]).await.err()).await;
    assert!(error.kind().is_transient(), "{error}");
    let error = eventually("the reason is told", async || {
        let error = owner.enqueue(&[job()]).await.err()?;
        error.to_string().contains("alarm").then_some(error)
    })
    .await;
    says(&error, ErrorKind::Unavailable, "free memory or disk space");
    broker
        .control(&["set_vm_memory_high_watermark", "0.6"])
        .unwrap();
    let last = [job()];
    again(async || owner.enqueue(&last).await).await;
    assert_eq!(record(&owner, last[0].id).await.id, last[0].id);
}

async fn a_broker_without_streams_is_refused() {
    let broker = RabbitMq::start_with("", &[("RABBITMQ_FEATURE_FLAGS", "quorum_queue")])
        .await
        .unwrap();
    let error = refused(&broker.url(), "p").await;
    says(&error, ErrorKind::Unsupported, "stream_queue");
}
