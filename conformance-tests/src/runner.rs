//! Runs the cases: as a test binary ([`run`]) or as data ([`check`]).

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Trial};

use crate::case::{Case, CaseOutcome, CaseResult};
use crate::cases;
use crate::fixture::{Fixture, Requirement};
use crate::recorder::Log;
use crate::store::Store;

/// Runs the suite as a test binary with the usual arguments, and prints what
/// was not run and why.
pub fn run(fixture: impl Fixture) -> ExitCode {
    let arguments = Arguments::from_args();
    let fixture: Arc<dyn Fixture> = Arc::new(fixture);
    let ignored = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let trials = cases::all().into_iter().map(|case| {
        let (fixture, ignored) = (Arc::clone(&fixture), Arc::clone(&ignored));
        let (name, area) = (case.name.clone(), case.area);
        let trial = Trial::ignorable_test(name, move || match execute(&fixture, &case) {
            CaseOutcome::Passed => Ok(Completion::Completed),
            CaseOutcome::Failed(report) => Err(report.into()),
            CaseOutcome::Ignored(reason) => {
                let mut ignored = ignored.lock().unwrap_or_else(PoisonError::into_inner);
                *ignored.entry(reason.clone()).or_default() += 1;
                Ok(Completion::ignored_with(reason))
            }
        });
        trial.with_kind(area)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let mut out = std::io::stdout().lock();
    for (reason, count) in &*ignored.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = writeln!(out, "{}: {count} cases ignored, {reason}", fixture.name());
    }
    conclusion.exit_code()
}

/// Runs the cases whose name contains `filter` (all where it is empty), as
/// many at once as there are processors, and returns what came of them in the
/// suite's order. Blocks; not to be called from an asynchronous task.
pub fn check(fixture: impl Fixture, filter: &str) -> Vec<CaseResult> {
    let fixture: Arc<dyn Fixture> = Arc::new(fixture);
    let chosen = cases::all()
        .into_iter()
        .filter(|case| case.name.contains(filter));
    let waiting: Mutex<VecDeque<(usize, Case)>> = Mutex::new(chosen.enumerate().collect());
    let done = Mutex::new(BTreeMap::new());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((place, case)) = next() {
                    let start = Instant::now();
                    let outcome = execute(&fixture, &case);
                    let Case { name, area, .. } = case;
                    let result = CaseResult {
                        name,
                        area,
                        outcome,
                        duration: start.elapsed(),
                    };
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(place, result);
                }
            });
        }
    });
    done.into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_values()
        .collect()
}

/// Runs one case on a store and a runtime of its own.
fn execute(fixture: &Arc<dyn Fixture>, case: &Case) -> CaseOutcome {
    if let Requirement::NotRun(reason) = fixture.requirement() {
        return CaseOutcome::Ignored(format!("NOT RUN: {reason}"));
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CaseOutcome::Failed(format!("no runtime: {error}")),
    };
    let log = Arc::new(Log::new());
    let store = Store::new(Arc::clone(fixture), Arc::clone(&log));
    let limit = fixture.time_limit();
    let outcome = runtime.block_on(async {
        let attempt = AssertUnwindSafe(attempt(case, &store)).catch_unwind();
        match tokio::time::timeout(limit, attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => CaseOutcome::Failed(format!("a panic: {}", message(&*panic))),
            Err(_) => CaseOutcome::Failed(format!("no end within {limit:?}")),
        }
    });
    runtime.block_on(async {
        for name in store.close() {
            let _ = tokio::time::timeout(limit, fixture.remove(&name)).await;
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    match outcome {
        CaseOutcome::Failed(wrong) => CaseOutcome::Failed(format!(
            "the law: {}\nwhat is wrong: {}\n{}",
            case.law,
            log.shorten(&wrong),
            log.report()
        )),
        outcome => outcome,
    }
}

async fn attempt(case: &Case, store: &Store) -> CaseOutcome {
    let capabilities = match store.probe().await {
        Ok(capabilities) => capabilities,
        Err(failure) => return CaseOutcome::Failed(format!("no store to test: {failure}")),
    };
    if let Some(gap) = case.needs.iter().find(|need| !capabilities.has(**need)) {
        return CaseOutcome::Ignored(format!("because the backend does not offer {gap}"));
    }
    match (case.run)(store.clone()).await {
        Ok(()) => CaseOutcome::Passed,
        Err(failure) if failure.is_ignored() => CaseOutcome::Ignored(failure.to_string()),
        Err(failure) => CaseOutcome::Failed(failure.to_string()),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
