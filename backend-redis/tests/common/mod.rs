//! What the tests share: the server's URL, and stores by prefix.
#![allow(dead_code, reason = "each test program uses a part")]

use anyqueue_conformance_tests::Requirement;
pub(crate) use anyqueue_conformance_tests::faults::servers::Redis as Server;
use anyqueue_redis::redis;

const URL: &str = "ANYQUEUE_TEST_REDIS_URL";

pub(crate) fn requirement() -> Requirement {
    Requirement::where_set_or_in_ci(URL)
}

/// Why there is no server of one's own; in CI its absence is a failure.
pub(crate) fn missing() -> Option<String> {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let missing = Server::missing().filter(|_| !in_ci);
    missing.map(|reason| format!("NOT RUN: {reason}"))
}

/// Makes a command by a connection of its own.
pub(crate) fn command(server: &Server, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(&mut connection).expect("an answer")
}

pub(crate) fn url() -> String {
    std::env::var(URL).unwrap_or_else(|_| format!("redis://{URL}-is-not-set.invalid"))
}

pub(crate) fn with_prefix(url: &str, store: &str) -> String {
    format!("{url}?prefix={store}:")
}

/// Removes a store's keys from a single server.
pub(crate) async fn remove(url: &str, store: &str) {
    let client = redis::Client::open(url).expect("a URL");
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
        return;
    };
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{store}:*"));
        scan.arg("COUNT").arg(1_000);
        let Ok((next, keys)) = scan
            .query_async::<(u64, Vec<Vec<u8>>)>(&mut connection)
            .await
        else {
            return;
        };
        if !keys.is_empty() {
            let _ = redis::cmd("UNLINK")
                .arg(keys)
                .exec_async(&mut connection)
                .await;
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}
