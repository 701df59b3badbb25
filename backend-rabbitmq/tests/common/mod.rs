//! Tests that need a broker: run as such, or shown as ignored, never passed
//! over in silence.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod amqp;
pub(crate) mod jobs;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyqueue_core::Backend as _;
use anyqueue_rabbitmq::{RabbitBackend, RabbitConfig, View};
use libtest_mimic::{Arguments, Trial};

/// Names the broker's URL.
pub(crate) const URL: &str = "ANYQUEUE_TEST_RABBITMQ_URL";

/// Whether a missing broker is a failure.
pub(crate) fn must_run() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Runs the tests on a runtime each. Where `missing` says why they cannot, they
/// are ignored, or fail where CI is set.
pub(crate) fn run(trials: Vec<Trial>, missing: Option<String>) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match missing {
        None => trials,
        Some(reason) if must_run() => {
            let fail = move || Err(reason.clone().into());
            vec![Trial::test("the_tests_have_what_they_need", fail)]
        }
        Some(reason) => {
            let _ = writeln!(std::io::stderr(), "NOT RUN: {reason}");
            let ignored = trials
                .into_iter()
                .map(|trial| trial.with_ignored_flag(true));
            ignored.collect()
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How long a test may take. It only tells a hang from a result.
const BOUND: Duration = Duration::from_secs(840);

/// A test: fails where it panics, or hangs.
pub(crate) fn trial<F>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let ended = runtime.block_on(async { tokio::time::timeout(BOUND, test()).await });
        // What a test left behind must not hold up the others.
        runtime.shutdown_background();
        ended.map_err(|_| format!("not done in {BOUND:?}").into())
    })
}

/// A list of tests from their functions.
#[macro_export]
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        vec![$(common::trial(stringify!($name), $name)),*]
    };
}

/// The broker's URL, or why there is none.
pub(crate) fn broker() -> Option<String> {
    std::env::var(URL)
        .is_err()
        .then(|| format!("{URL} is not set"))
}

/// A store of this prefix by an instance of its own, as another process has it.
pub(crate) fn config(url: &str, prefix: &str) -> RabbitConfig {
    let config = RabbitConfig::from_url(url).unwrap();
    let mut config = config.with_prefix(prefix).unwrap();
    config.view = View::Own;
    config
}

/// The store of a configuration, prepared.
pub(crate) async fn open(config: &RabbitConfig) -> RabbitBackend {
    let store = RabbitBackend::open(config);
    store.prepare().await.unwrap();
    store
}

/// A name that no other test has.
pub(crate) fn fresh(what: &str) -> String {
    format!("test.{what}_{}", uuid::Uuid::now_v7().simple())
}

/// Waits for a condition; the bound only tells a hang from a result.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
