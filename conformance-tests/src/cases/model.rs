//! Random calls, made on the backend and on the memory backend's machine: the
//! same answers call by call, the same jobs in the end.

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tokio::runtime::Handle as Runtime;
use tokio::task::block_in_place;

use crate::asserts::{Failure, Verdict};
use crate::case::cases;
use crate::model::{Run, steps};
use crate::store::Store;

cases! { "model";
    law model "every law at once: whatever the calls, the backend answers as the reference does" {
        short_sequences_answer_as_the_reference
            [Priority, Unique, Progress, Results, Cancel, Retry, List, Counts, Pause, Purge];
        long_sequences_answer_as_the_reference
            [Priority, Unique, Progress, Results, Cancel, Retry, List, Counts, Pause, Purge];
    }
}

/// How many sequences are tried; set higher for a long search.
const SEQUENCES: &str = "ANYQUEUE_CONFORMANCE_SEQUENCES";

async fn short_sequences_answer_as_the_reference(store: Store) -> Verdict {
    search(&store, 20, 48).await
}

async fn long_sequences_answer_as_the_reference(store: Store) -> Verdict {
    search(&store, 70, 32).await
}

/// Tries sequences of up to so many steps and shows the smallest that differs.
async fn search(store: &Store, longest: usize, sequences: u32) -> Verdict {
    let handles = store.open_many(2).await?;
    let asked = std::env::var(SEQUENCES)
        .ok()
        .and_then(|text| text.parse().ok());
    let mut runner = TestRunner::new(Config {
        cases: asked.unwrap_or(sequences),
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..Config::default()
    });
    let found = block_in_place(|| {
        runner.run(&steps(longest), |steps| {
            let run = Run::new(&handles).compare(&steps);
            Runtime::current()
                .block_on(run)
                .map_err(|wrong| TestCaseError::fail(wrong.to_string()))
        })
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(Failure::new(format!("no sequence tried: {reason}"))),
        Err(TestError::Fail(reason, steps)) => {
            // Once more, so that the calls shown last are this sequence's.
            let again = Run::new(&handles).compare(&steps).await;
            let reason = again
                .err()
                .map_or_else(|| reason.to_string(), |wrong| wrong.to_string());
            let steps: Vec<_> = steps.iter().map(|step| format!("\n    {step:?}")).collect();
            let steps = steps.concat();
            Err(Failure::new(format!(
                "{reason}\n  the smallest sequence found:{steps}"
            )))
        }
    }
}
