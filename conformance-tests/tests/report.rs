//! What the suite says of a backend that breaks a law, and of one that lacks a
//! capability.

use std::sync::Arc;

use anyqueue_conformance_tests::{
    CaseOutcome, CaseResult, Delegate, Fixture, Requirement, check, wrap,
};
use anyqueue_core::{
    Backend, Capabilities, Capability, ClaimRequest, ClaimedJob, Error, Outcome, Settled,
    Settlement, async_trait,
};
use anyqueue_memory::MemoryBackend;

/// Memory, changed by a wrapper.
struct Memory(fn(Arc<dyn Backend>) -> Arc<dyn Backend>, Requirement);

#[async_trait]
impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory, changed"
    }
    fn requirement(&self) -> Requirement {
        self.1.clone()
    }
    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        let memory = MemoryBackend::connect(&format!("memory:{store}"))?;
        Ok((self.0)(memory))
    }
    async fn remove(&self, _store: &str) {}
}

/// Gives the jobs of a claim in the wrong order.
struct Reversed(Arc<dyn Backend>);

#[async_trait]
impl Delegate for Reversed {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(Self(inner))
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(request).await?;
        claimed.reverse();
        Ok(claimed)
    }
}

/// Fails what was to run again.
struct Impatient(Arc<dyn Backend>);

#[async_trait]
impl Delegate for Impatient {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(Self(inner))
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().without(Capability::Pause)
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut settlements = settlements.to_vec();
        for Settlement { outcome, .. } in &mut settlements {
            if let Outcome::Retry { error, .. } = outcome {
                *outcome = Outcome::Fail {
                    error: error.clone(),
                };
            }
        }
        self.0.settle(&settlements).await
    }
}

fn one(results: &[CaseResult], name: &str) -> CaseOutcome {
    let found = results.iter().find(|result| result.name == name);
    found
        .map(|result| result.outcome.clone())
        .expect("a case of this name")
}

#[test]
fn a_failure_shows_the_law_the_difference_and_the_calls() {
    let fixture = Memory(|memory| wrap(Reversed(memory)), Requirement::Required);
    let results = check(fixture, "claim_order__priority_first");
    let CaseOutcome::Failed(report) = one(&results, "claim_order__priority_first") else {
        panic!("not noticed: {results:?}");
    };
    for part in [
        "the law: within a queue by priority",
        "what is wrong: the claimed jobs\n  expected [j4, j3, j2, j1]\n  found    [j1, j2, j3, j4]",
        "calls:\n",
        "s  handle 1  prepare  ->  done",
        "enqueue [j4 in \"q\" Urgent",
        "claim 9 of [\"q\"] for 3600s by worker-1  ->  [j1@1 of \"q\" attempt 1, j2@1",
    ] {
        assert!(report.contains(part), "{part:?} is missing in:\n{report}");
    }
}

#[test]
fn the_smallest_sequence_is_shown() {
    let fixture = Memory(
        |memory| {
            // Everything the model needs, Pause included.
            struct Whole(Impatient);
            #[async_trait]
            impl Delegate for Whole {
                fn inner(&self) -> &dyn Backend {
                    self.0.inner()
                }
                fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
                    wrap(Self(Impatient(inner)))
                }
                async fn settle(&self, some: &[Settlement]) -> Result<Vec<Settled>, Error> {
                    self.0.settle(some).await
                }
            }
            wrap(Whole(Impatient(memory)))
        },
        Requirement::Required,
    );
    let results = check(fixture, "model__short");
    let CaseOutcome::Failed(report) = &results[0].outcome else {
        panic!("not noticed: {results:?}");
    };
    let steps = report
        .split("the smallest sequence found:")
        .nth(1)
        .unwrap_or_default();
    let steps: Vec<_> = steps
        .lines()
        .skip(1)
        .take_while(|line| !line.contains("calls:"))
        .collect();
    // Enqueue, claim, settle; a smallest one that shrinks no further may have a
    // step or two more.
    assert!((3..=7).contains(&steps.len()), "{report}");
    assert!(
        steps.last().is_some_and(|step| step.contains("Settle([")),
        "{report}"
    );
}

#[test]
fn a_gap_is_ignored_with_its_reason() {
    let fixture = Memory(|memory| wrap(Impatient(memory)), Requirement::Required);
    let results = check(fixture, "pause__a_paused");
    let reason = "because the backend does not offer pause".to_owned();
    assert_eq!(
        one(&results, "pause__a_paused_queue_gives_none"),
        CaseOutcome::Ignored(reason)
    );
}

#[test]
fn a_missing_server_is_ignored_only_where_the_fixture_says_so() {
    let not_run = Requirement::NotRun("ANYQUEUE_X_URL is not set".to_owned());
    let results = check(Memory(|memory| memory, not_run), "claim_limit");
    let expected = CaseOutcome::Ignored("NOT RUN: ANYQUEUE_X_URL is not set".to_owned());
    assert!(results.len() > 5 && results.iter().all(|result| result.outcome == expected));

    struct Gone;
    #[async_trait]
    impl Fixture for Gone {
        fn name(&self) -> &str {
            "gone"
        }
        fn requirement(&self) -> Requirement {
            Requirement::Required
        }
        async fn open(&self, _store: &str) -> Result<Arc<dyn Backend>, Error> {
            use anyqueue_core::{ErrorKind, Operation};
            Err(Error::new(
                ErrorKind::Unavailable,
                Operation::Connect,
                "gone",
                "refused",
            ))
        }
        async fn remove(&self, _store: &str) {}
    }
    let results = check(Gone, "claim_limit__zero_takes_none");
    let CaseOutcome::Failed(report) = &results[0].outcome else {
        panic!("{results:?}")
    };
    assert!(
        report.contains("connect on gone: unavailable: refused"),
        "{report}"
    );
}

#[test]
fn names_are_unique_and_at_least_ninety() {
    let not_run = Requirement::NotRun("only the names".to_owned());
    let mut names: Vec<_> = check(Memory(|memory| memory, not_run), "")
        .into_iter()
        .map(|r| r.name)
        .collect();
    let count = names.len();
    assert!(count >= 90, "{count}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");
}
