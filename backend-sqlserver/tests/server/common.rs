//! A schema of one test, and how tests are run.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

pub(crate) use anyqueue_conformance_tests::calls::{
    LONG, claim, complete, count, counts, created, jobs, request, result,
};
use anyqueue_conformance_tests::faults::{Flow, Proxy, Way};
use anyqueue_core::Backend as _;
use anyqueue_sqlserver::tiberius::{Client, Config};
use anyqueue_sqlserver::{Schema, SqlServerBackend, SqlServerConfig};
use libtest_mimic::{Completion, Failed};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

pub(crate) const URL: &str = "ANYQUEUE_TEST_SQLSERVER_URL";

/// A generous bound that only tells a hang from a result.
pub(crate) const HANG: Duration = Duration::from_secs(120);
/// A test that takes longer has failed.
const TIME_LIMIT: Duration = Duration::from_secs(540);

/// The tests of a module, by the names of their functions.
macro_rules! tests {
    ($($name:ident)+) => {
        pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
            vec![$({
                let name = stringify!($name);
                let test = || $crate::common::execute($name());
                let area = module_path!().rsplit("::").next().unwrap_or_default();
                libtest_mimic::Trial::ignorable_test(name, test).with_kind(area)
            },)+]
        }
    };
}
pub(crate) use tests;

/// What a test ends with, unless it panics: nothing, or why it shows nothing here.
pub(crate) trait Verdict {
    fn ignored(self) -> Option<&'static str>;
}

impl Verdict for () {
    fn ignored(self) -> Option<&'static str> {
        None
    }
}

impl Verdict for Option<&'static str> {
    fn ignored(self) -> Option<&'static str> {
        self
    }
}

/// Runs one test on a runtime of its own.
pub(crate) fn execute(test: impl Future<Output: Verdict>) -> Result<Completion, Failed> {
    if std::env::var_os(URL).is_none() {
        let reason = format!("NOT RUN: no SQL Server ({URL} is not set)");
        return Ok(Completion::ignored_with(reason));
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, test).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    match done {
        Ok(verdict) => Ok(match verdict.ignored() {
            Some(reason) => Completion::ignored_with(reason),
            None => Completion::Completed,
        }),
        Err(_) => Err(format!("no end within {TIME_LIMIT:?}").into()),
    }
}

/// The application's own connection.
pub(crate) type Connection = Client<Compat<TcpStream>>;

pub(crate) async fn connect(config: Config) -> Connection {
    let stream = TcpStream::connect(config.get_addr()).await.unwrap();
    let login = Box::pin(Client::connect(config, stream.compat_write()));
    login.await.unwrap()
}

/// Runs statements that answer nothing.
pub(crate) async fn run(conn: &mut Connection, text: &str) {
    let stream = conn.simple_query(text).await.unwrap();
    stream.into_results().await.unwrap();
}

/// The one number that a statement answers.
pub(crate) async fn number(conn: &mut Connection, text: &str) -> i32 {
    let stream = conn.simple_query(text).await.unwrap();
    let row = stream.into_row().await.unwrap().expect("a row");
    row.get(0).expect("a number")
}

/// A schema of one test.
pub(crate) struct Place {
    pub(crate) config: SqlServerConfig,
}

impl Place {
    pub(crate) fn new() -> Self {
        let url = std::env::var(URL).expect("checked before");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut config = SqlServerConfig::from_url(&url).unwrap();
        let name = format!("test_{}_{number}", std::process::id());
        config.schema = Schema::new(name).unwrap();
        config.pool = 4;
        // A server that reads each statement for long is slow, not wrong.
        config.statement_timeout = Some(HANG);
        Self { config }
    }

    /// A prepared store in it.
    pub(crate) async fn store(&self) -> SqlServerBackend {
        let backend = SqlServerBackend::open(self.config.clone());
        backend.prepare().await.unwrap();
        backend
    }

    /// A stretch of network to the server, and the same store by way of it.
    pub(crate) async fn by_proxy(&self) -> (Proxy, SqlServerConfig) {
        let proxy = Proxy::to_address(self.config.connect.get_addr()).await;
        let proxy = proxy.unwrap();
        let mut config = self.config.clone();
        config.connect.host("127.0.0.1");
        config.connect.port(proxy.port());
        (proxy, config)
    }

    pub(crate) async fn connection(&self) -> Connection {
        connect(self.config.connect.clone()).await
    }

    /// Whether the server is Microsoft's, and not another that speaks its language.
    pub(crate) async fn is_microsoft(&self) -> bool {
        let text = "SELECT CASE WHEN @@VERSION LIKE N'Microsoft%' THEN 1 ELSE 0 END";
        number(&mut self.connection().await, text).await == 1
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let config = self.config.clone();
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = connect(config.connect).await;
                let text = include_str!("../remove.sql");
                // What cannot be removed stays behind in a server for tests.
                let _ = conn.execute(text, &[&config.schema.name()]).await;
            });
        });
        let _ = thread.join();
    }
}

/// Answers are lost from now on: what is asked still arrives, and the connection
/// ends where the answer would begin.
pub(crate) fn lose_answers(proxy: &Proxy) {
    proxy.flow(Way::ToClient, Flow::Cut);
}

/// Polls the call this often, each time it asks for it, and drops it.
pub(crate) async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(cx).map(Some)
    })
    .await
}
