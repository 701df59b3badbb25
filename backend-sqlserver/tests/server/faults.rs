//! Connections that are cut in the middle of a call.

use anyqueue_conformance_tests::faults::Proxy;
use anyqueue_core::{Backend as _, Error, ErrorKind, Settled, State};
use anyqueue_sqlserver::SqlServerBackend;

use crate::common::{
    HANG, Place, claim, complete, count, counts, created, jobs, lose_answers, tests,
};

tests! {
    a_lost_answer_is_unknown_and_a_repetition_makes_no_second_job
    a_server_that_is_gone_is_unavailable_and_comes_back
    a_connection_that_was_cut_while_idle_is_replaced
}

async fn a_lost_answer_is_unknown_and_a_repetition_makes_no_second_job() {
    let place = Place::new();
    let other = place.store().await;
    let (proxy, mut config) = place.by_proxy().await;
    config.pool = 1;
    let backend = SqlServerBackend::open(config);
    let old = jobs(1);
    backend.enqueue(&old).await.unwrap();
    let settled = complete(&claim(&backend, 9).await);
    backend.settle(&settled).await.unwrap();

    // One statement, and a transaction of several.
    for (before, size) in [(0, 3), (3, 1_500)] {
        let new = jobs(size);
        lost(
            &proxy,
            async || backend.enqueue(&old).await.map(drop),
            async || backend.enqueue(&new).await.map(drop),
            async || count(&other, State::Ready).await == before + size as u64,
        )
        .await;
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        assert_eq!(count(&other, State::Ready).await, before + size as u64);
    }

    let claimed = claim(&backend, 9).await;
    assert_eq!(claimed.len(), 9);
    let batch = complete(&claimed);
    lost(
        &proxy,
        async || backend.settle(&settled).await.map(drop),
        async || backend.settle(&batch).await.map(drop),
        async || count(&other, State::Completed).await == 10,
    )
    .await;
    let answers = backend.settle(&batch).await.unwrap();
    assert_eq!(answers, [Settled::Accepted; 9]);
    assert_eq!(count(&other, State::Completed).await, 10);
    assert_eq!(counts(&other).await.total(), 1_504);
}

/// Makes a call whose answer is lost, until one of them has taken effect: then its
/// error must be *unknown*. A call before it makes the connection.
async fn lost(
    proxy: &Proxy,
    earlier: impl AsyncFn() -> Result<(), Error>,
    call: impl AsyncFn() -> Result<(), Error>,
    happened: impl AsyncFn() -> bool,
) {
    let losing = async {
        loop {
            while let Err(error) = earlier().await {
                assert!(error.kind().is_transient(), "{error}");
            }
            lose_answers(proxy);
            let error = call().await.expect_err("the answer is lost");
            proxy.pass();
            if happened().await {
                break assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
            }
            // Of a transaction the answer to its beginning was lost: unknown too.
            assert!(error.kind().is_transient(), "{error}");
            // Makes the whole call, so that it has happened.
            if call().await.is_ok() && happened().await {
                break;
            }
        }
    };
    let done = tokio::time::timeout(HANG, losing).await;
    done.expect("a call takes effect without its answer");
}

async fn a_server_that_is_gone_is_unavailable_and_comes_back() {
    let place = Place::new();
    drop(place.store().await);
    let mut config = place.config.clone();
    // A port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    config.connect.host("127.0.0.1");
    config.connect.port(port);
    let backend = SqlServerBackend::open(config);
    let error = backend.enqueue(&jobs(1)).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable,
        "nothing was asked: {error}"
    );

    let (proxy, config) = place.by_proxy().await;
    let backend = SqlServerBackend::open(config);
    lose_answers(&proxy);
    let error = backend.enqueue(&jobs(1)).await.unwrap_err();
    assert!(error.kind().is_transient(), "{error}");
    proxy.pass();
    let new = jobs(2);
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
}

async fn a_connection_that_was_cut_while_idle_is_replaced() {
    let place = Place::new();
    let (proxy, mut config) = place.by_proxy().await;
    config.pool = 3;
    let backend = SqlServerBackend::open(config.clone());
    backend.prepare().await.unwrap();
    let calls = (0..3).map(|_| backend.counts());
    futures::future::try_join_all(calls).await.unwrap();
    // All of the pool's connections break.
    lose_answers(&proxy);
    let calls = (0..3).map(|_| backend.counts());
    for answer in futures::future::join_all(calls).await {
        let error = answer.expect_err("the answer is lost");
        assert!(error.kind().is_transient(), "{error}");
    }
    proxy.pass();
    let before = proxy.accepted();
    let new = jobs(3);
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    assert!(proxy.accepted() > before, "none that broke is used again");
    assert_eq!(count(&backend, State::Ready).await, 3);
}
