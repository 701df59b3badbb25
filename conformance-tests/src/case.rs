//! [`Case`]: one proof of one law, and what came of it.

use std::time::Duration;

use anyqueue_core::Capability;
use futures::future::LocalBoxFuture;

use crate::asserts::Verdict;
use crate::store::Store;

/// One proof of one law.
pub(crate) struct Case {
    /// The file it stands in: `claim`.
    pub(crate) area: &'static str,
    /// The law's bold words and what this case shows: `claim_limit__zero`.
    pub(crate) name: String,
    /// The law.
    pub(crate) law: &'static str,
    /// Without these it is ignored.
    pub(crate) needs: &'static [Capability],
    /// The proof.
    pub(crate) run: fn(Store) -> LocalBoxFuture<'static, Verdict>,
}

/// The table of an area: laws, and under each the functions that prove it.
macro_rules! cases {
    ($area:literal; $(law $law:ident $text:literal { $($case:ident $([$($need:ident),+])?;)+ })+) => {
        pub(super) fn cases() -> Vec<$crate::case::Case> {
            vec![$($($crate::case::Case {
                area: $area,
                name: concat!(stringify!($law), "__", stringify!($case)).to_owned(),
                law: $text,
                needs: &[$($(anyqueue_core::Capability::$need),+)?],
                run: |store| Box::pin($case(store)),
            },)+)+]
        }
    };
}
pub(crate) use cases;

/// What came of one case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CaseResult {
    /// The case: `claim_limit__zero_takes_none`.
    pub name: String,
    /// The group it belongs to: `claim`.
    pub area: &'static str,
    /// What came of it.
    pub outcome: CaseOutcome,
    /// How long it took.
    pub duration: Duration,
}

/// What can come of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaseOutcome {
    /// The law held.
    Passed,
    /// It did not; the report tells the law, what was wrong, and the calls.
    Failed(String),
    /// The case was not run, for this reason.
    Ignored(String),
}
