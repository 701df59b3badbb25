//! The cases, by what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, ErrorKind, Kind, NewJob, Outcome, Payload, QueueName,
    Settlement, Token, WaitRequest, WorkerId,
};
use anyqueue_redis::RedisBackend;

pub(crate) mod clusters;
pub(crate) mod connections;
pub(crate) mod kills;
pub(crate) mod settings;
pub(crate) mod tickets;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn queue() -> QueueName {
    QueueName::new("q").expect("a name")
}

pub(crate) fn job() -> NewJob {
    let payload = Payload::parse("{\"n\":1}", 100).expect("JSON");
    NewJob::new(queue(), Kind::new("kind").expect("a name"), payload)
}

pub(crate) async fn open(url: &str) -> Arc<RedisBackend> {
    let backend = RedisBackend::connect(url).expect("a URL");
    backend.prepare().await.expect("the store is prepared");
    backend
}

/// How the store refuses to be prepared.
pub(crate) async fn refusal(url: &str) -> (ErrorKind, String) {
    let refused = RedisBackend::connect(url).expect("a URL").prepare().await;
    let error = refused.expect_err("it is refused");
    (error.kind(), error.to_string())
}

pub(crate) async fn claim(a: &RedisBackend, limit: u32, lease: Duration) -> Vec<ClaimedJob> {
    let request = ClaimRequest {
        queues: vec![queue()],
        limit,
        lease,
        worker: WorkerId::new("worker").expect("a name"),
    };
    a.claim(&request).await.expect("a claim")
}

pub(crate) fn wait(timeout: Duration) -> WaitRequest {
    WaitRequest {
        queues: vec![queue()],
        timeout,
        worker: WorkerId::new("worker").expect("a name"),
    }
}

pub(crate) fn complete(token: Token) -> Settlement {
    let result = Payload::parse("\"done\"", 100).expect("JSON");
    Settlement {
        token,
        outcome: Outcome::Complete { result },
    }
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(ended.is_ok(), "did not come to pass: {what}");
}
