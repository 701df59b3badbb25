//! What a server is set to.

use std::time::Duration;

use anyqueue_core::{Backend, Durability, ErrorKind, Payload, QueueName, State};
use anyqueue_redis::{RedisBackend, redis};

use super::{claim, complete, job, open, queue, refusal, wait};
use crate::common::{Server, command};

pub(crate) async fn durability_is_that_of_the_live_settings() {
    let server = Server::start(&[]).await.expect("a server");
    let a = open(&server.url()).await;
    assert_eq!(a.capabilities().durability(), Durability::Host);
    for (name, value, durability) in [
        ("appendfsync", "no", Durability::Crash),
        ("appendfsync", "everysec", Durability::Process),
        ("appendfsync", "always", Durability::Host),
        ("no-appendfsync-on-rewrite", "yes", Durability::Crash),
        ("no-appendfsync-on-rewrite", "no", Durability::Host),
        ("appendonly", "no", Durability::Process),
    ] {
        command(&server, &["CONFIG", "SET", name, value]);
        a.prepare().await.expect("it is prepared again");
        assert_eq!(a.capabilities().durability(), durability, "{name} {value}");
    }
}

pub(crate) async fn an_evicting_policy_is_refused() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"])
        .await
        .expect("a server");
    let (kind, text) = refusal(&server.url()).await;
    assert_eq!(kind, ErrorKind::TooWeak, "{text}");
    assert!(
        text.contains("CONFIG SET maxmemory-policy noeviction"),
        "{text}"
    );
    command(
        &server,
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    );
    open(&server.url()).await;
}

pub(crate) async fn a_newer_store_is_refused() {
    let server = Server::start(&[]).await.expect("a server");
    command(&server, &["SET", "anyqueue:version", "99"]);
    let (kind, text) = refusal(&server.url()).await;
    assert_eq!(kind, ErrorKind::Corrupt, "{text}");
    assert!(
        text.contains("version 99") && text.contains("update"),
        "{text}"
    );
}

/// The rights that the crate's documentation asks for.
pub(crate) async fn a_user_with_few_rights_is_enough() {
    let server = Server::start(&[]).await.expect("a server");
    let rights = "~anyqueue:* &anyqueue:* -@all +@read +@write +@blocking +@scripting +@pubsub \
                  +@connection +info +time";
    let mut words = vec!["ACL", "SETUSER", "worker", "on", ">secret"];
    words.extend(rights.split_whitespace());
    command(&server, &words);
    let url = format!("redis://worker:secret@127.0.0.1:{}", server.port());
    let a = open(&url).await;
    // It may not ask for `appendfsync`: then the weakest is assumed.
    assert_eq!(a.capabilities().durability(), Durability::Process);
    let id = a.enqueue(&[job()]).await.expect("an enqueue")[0].id();
    a.wait_for_work(&wait(Duration::from_secs(10)))
        .await
        .expect("a wait");
    let token = claim(&a, 1, Duration::from_secs(60)).await[0].token;
    a.wait_for_work(&wait(Duration::from_millis(50)))
        .await
        .expect("a wait");
    a.wait_for_change(&[id], Duration::from_millis(50))
        .await
        .expect("a wait");
    a.settle(&[complete(token)]).await.expect("a settle");
    a.maintain(&Default::default()).await.expect("chores");
    assert_eq!(a.counts().await.expect("counts").len(), 1);
    let other = RedisBackend::connect(&format!("{url}?prefix=other:")).expect("a URL");
    let error = other.prepare().await.expect_err("another prefix");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

pub(crate) async fn a_full_memory_refuses_jobs_and_lets_work_go_on() {
    let server = Server::start(&["--appendfsync", "no"])
        .await
        .expect("a server");
    let a = open(&server.url()).await;
    let large = || {
        let mut job = job();
        job.payload = Payload::encode(&"x".repeat(500_000), 1 << 20).expect("JSON");
        job
    };
    let mut stored = Vec::new();
    for _ in 0..8 {
        stored.push(a.enqueue(&[large()]).await.expect("an enqueue")[0].id());
    }
    command(&server, &["CONFIG", "SET", "maxmemory", "2mb"]);
    let refused = large();
    let error = a
        .enqueue(std::slice::from_ref(&refused))
        .await
        .expect_err("memory is full");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    assert_eq!(a.get(&[refused.id]).await.expect("a read"), [None]);
    // What is in can be claimed, settled and purged, until there is room.
    let mut done = 0;
    while done < stored.len() {
        for job in claim(&a, 10, Duration::from_secs(60)).await {
            a.settle(&[complete(job.token)]).await.expect("a settle");
            done += 1;
        }
    }
    let limits = anyqueue_core::MaintainLimits {
        retention: anyqueue_core::Retention::all(Duration::ZERO),
        ..Default::default()
    };
    a.maintain(&limits).await.expect("chores");
    assert_eq!(a.counts().await.expect("counts"), []);
    command(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    a.enqueue(&[refused]).await.expect("there is room");
}

pub(crate) async fn jobs_join_the_applications_transaction() {
    let server = Server::start(&[]).await.expect("a server");
    let a = open(&server.url()).await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let mut other = job();
    other.queue = QueueName::new("other").expect("a name");
    other.id = anyqueue_core::JobId::new(&other.queue);
    let jobs = [job(), job(), other];
    let ids = jobs.each_ref().map(|job| job.id);

    let mut transaction = redis::pipe();
    transaction.atomic().set("application", 1);
    a.enqueue_in(&mut transaction, &jobs)
        .await
        .expect("they are added");
    assert_eq!(a.get(&ids).await.expect("a read"), [None, None, None]);
    drop(transaction);
    assert_eq!(a.counts().await.expect("counts"), []);

    command(&server, &["SCRIPT", "FLUSH"]);
    let mut transaction = redis::pipe();
    transaction.atomic().set("application", 1).ignore();
    a.enqueue_in(&mut transaction, &jobs)
        .await
        .expect("they are added");
    transaction.get("application");
    let request = wait(Duration::from_secs(600));
    let mut waiting = Box::pin(a.wait_for_work(&request));
    let _ = futures::poll!(&mut waiting);
    let (value,): (i32,) = transaction
        .query_async(&mut connection)
        .await
        .expect("it is executed");
    assert_eq!(value, 1);
    tokio::time::timeout(super::PATIENCE, waiting)
        .await
        .expect("it is told")
        .expect("a wait");
    let found = a.get(&ids).await.expect("a read");
    assert!(
        found
            .iter()
            .flatten()
            .all(|record| record.state == State::Ready)
    );
    assert_eq!(found.iter().flatten().count(), 3);
    assert_eq!(a.counts().await.expect("counts").len(), 2);
    assert_eq!(
        RedisBackend::hash_tag(&queue()),
        format!("{{{}}}", queue().hash14())
    );

    // A watched key that has changed: nothing is executed.
    let third = job();
    redis::cmd("WATCH")
        .arg("application")
        .exec_async(&mut connection)
        .await
        .expect("it is watched");
    command(&server, &["SET", "application", "2"]);
    let mut transaction = redis::pipe();
    transaction.atomic().set("application", 3);
    a.enqueue_in(&mut transaction, std::slice::from_ref(&third))
        .await
        .expect("it is added");
    let executed: Option<(String,)> = transaction
        .query_async(&mut connection)
        .await
        .expect("an answer");
    assert_eq!(executed, None);
    assert_eq!(a.get(&[third.id]).await.expect("a read"), [None]);
}
