//! Sweeps: one fault, at every place where it can happen.
//!
//! The connection is cut at every byte of a call, or falls silent in the
//! middle of it, and a client's clock is moved by an hour. The drop of a call's future at every poll needs no server:
//! it is a part of the suite, the cases whose names begin with `cancel_safety`.

mod bytes;
mod clock;
mod exchanges;
mod silence;
mod stage;

use std::fmt;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_core::{Backend, Error, Timestamp, async_trait};
use libtest_mimic::{Arguments, Failed, Trial};

pub use bytes::{Cuts, every_byte};
pub use silence::silence;

use super::Way;
use crate::asserts::Failure;
use crate::fixture::{Fixture, Requirement};
use clock::Moved;

/// A fixture whose server can be reached through a [`Proxy`](super::Proxy).
#[async_trait]
pub trait Remote: Fixture {
    /// Where the server listens, on 127.0.0.1.
    fn port(&self) -> u16;

    /// Opens a store by this port of 127.0.0.1, with connections of its own
    /// and as few of them as can be.
    async fn open_by(&self, store: &str, port: u16) -> Result<Arc<dyn Backend>, Error>;
}

/// The sweeps of a backend, as a test binary with the usual arguments: each
/// cut of `cuts`, connections that fall silent, and clients whose clock is an
/// hour ahead and behind. The sweeps print what they did.
///
/// With `ANYQUEUE_SWEEP=all` connections are cut at every byte; with a number
/// there, exchanges that make their connection are at each of the first 2,000
/// and at one of so many after that.
///
/// Clocks are moved by Debian's `faketime`; where it is missing those tests are
/// ignored, or fail where `CI` is set.
pub fn run(remote: impl Remote, cuts: Cuts) -> ExitCode {
    let remote: Arc<dyn Remote> = Arc::new(remote);
    let fixture: Arc<dyn Fixture> = Arc::clone(&remote) as _;
    if let Some(store) = clock::child() {
        return as_child(&fixture, &store);
    }
    let arguments = Arguments::from_args();
    let cuts = cuts.or_as_told();
    let missing = match remote.requirement() {
        Requirement::Required => None,
        Requirement::NotRun(reason) => Some(reason),
    };
    let no_clock = match (&missing, clock::faketime()) {
        (None, None) if std::env::var_os("CI").is_none() => {
            Some("faketime is not installed".to_owned())
        }
        _ => missing.clone(),
    };
    let swept = {
        let remote = Arc::clone(&remote);
        test(
            "the_connection_cut_at_every_byte",
            missing.as_deref(),
            async move || {
                let _ = writeln!(std::io::stdout(), "{cuts}");
                let told = |swept: &Swept| {
                    let _ = writeln!(std::io::stdout(), "{swept}");
                };
                every_byte(remote, cuts, told).await
            },
        )
    };
    let silent = {
        let remote = Arc::clone(&remote);
        let name = "a_connection_that_falls_silent";
        test(name, missing.as_deref(), async move || {
            silence(remote).await
        })
    };
    let clocks = [
        ("a_clients_clock_an_hour_ahead", Moved::Ahead),
        ("a_clients_clock_an_hour_behind", Moved::Behind),
    ];
    let clocks = clocks.map(|(name, moved)| {
        let fixture = Arc::clone(&fixture);
        test(name, no_clock.as_deref(), async move || {
            let done = clock::moved_clock(&fixture, moved).await;
            done.map_err(|failure| failure.to_string())
        })
    });
    let trials = [swept, silent].into_iter().chain(clocks).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn test<F>(name: &str, missing: Option<&str>, body: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = Result<(), String>>,
{
    if let Some(reason) = missing {
        let _ = writeln!(std::io::stderr(), "{name}: NOT RUN: {reason}");
    }
    let trial = Trial::test(name, move || {
        runtime()?.block_on(body()).map_err(Failed::from)
    });
    trial.with_ignored_flag(missing.is_some())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()
}

/// The other process of a test: says in a line what time it has, or what is
/// wrong, and stays until its input ends.
fn as_child(fixture: &Arc<dyn Fixture>, store: &str) -> ExitCode {
    let done = runtime().map(|runtime| {
        runtime.block_on(async {
            let handle = clock::as_child(fixture, store).await?;
            let clock = Timestamp::host_now().as_micros();
            let _ = writeln!(std::io::stdout(), "{clock}");
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(handle);
            Ok::<_, Failure>(())
        })
    });
    let wrong = match done {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.to_string(),
        Err(error) => format!("no runtime: {error}"),
    };
    let _ = writeln!(std::io::stdout(), "{}", wrong.replace('\n', "; "));
    ExitCode::FAILURE
}

/// What a sweep did, all of it without a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Which call: `enqueue`, `claim` or `settle`.
    pub exchange: &'static str,
    /// Which bytes were counted.
    pub way: Way,
    /// Whether the connection was there, or was made by the call.
    pub start: Start,
    /// After how many bytes that way the last cut was made: those of the
    /// exchange.
    pub length: u64,
    /// How many calls were made, each with a cut at a byte of its own.
    pub calls: u64,
    /// How many of the cuts came to pass.
    pub cuts: u64,
    /// Calls that were answered all the same, from another connection or
    /// since the cut came too late.
    pub answered: u64,
    /// Calls whose outcome was unknown.
    pub unknown: u64,
    /// Calls that failed and had done nothing.
    pub undone: u64,
}

/// Whether a call finds a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It was used before.
    Warm,
    /// The call makes it.
    Cold,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exchange,
            length,
            calls,
            cuts,
            answered,
            unknown,
            undone,
            ..
        } = self;
        let way = match self.way {
            Way::ToServer => "to the server",
            Way::ToClient => "to the client",
        };
        let start = match self.start {
            Start::Warm => "",
            Start::Cold => ", connection and all",
        };
        write!(
            f,
            "{exchange}{start}: {length} bytes {way}, {calls} calls, {cuts} cuts: {answered} \
             answered, {unknown} unknown, {undone} not done"
        )
    }
}
