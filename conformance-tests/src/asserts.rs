//! Assertions that tell what is missing, extra or doubled.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use anyqueue_core::{Error, Payload};

use crate::short;

/// How long a case waits for a condition before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a case found wrong, or why it proves nothing here.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    ignored: bool,
}

/// What a case ends with.
pub(crate) type Verdict = Result<(), Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ignored: false,
        }
    }

    /// The law asks nothing of this backend, for this reason: the case is
    /// shown as ignored.
    pub(crate) fn ignored(reason: impl Into<String>) -> Self {
        Self {
            text: reason.into(),
            ignored: true,
        }
    }

    pub(crate) const fn is_ignored(&self) -> bool {
        self.ignored
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(format!("a call failed: {error}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(format!("a task of the case panicked: {error}"))
    }
}

/// The two are equal.
#[allow(clippy::needless_pass_by_value)] // Calls read better without `&`.
pub(crate) fn same<A, B>(what: &str, found: A, expected: B) -> Verdict
where
    A: PartialEq<B> + Debug,
    B: Debug,
{
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (cut(&found), cut(&expected));
    Err(Failure::new(format!(
        "{what}\n  expected {expected}\n  found    {found}"
    )))
}

/// The condition holds; `what` says it in words.
pub(crate) fn holds(what: &str, condition: bool) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(format!("does not hold: {what}")))
    }
}

/// The two hold the same items, each as often, in whatever order.
pub(crate) fn same_set<T: Ord + Debug>(
    what: &str,
    found: impl IntoIterator<Item = T>,
    expected: impl IntoIterator<Item = T>,
) -> Verdict {
    let mut balance: BTreeMap<T, (usize, usize)> = BTreeMap::new();
    for item in found {
        balance.entry(item).or_default().0 += 1;
    }
    for item in expected {
        balance.entry(item).or_default().1 += 1;
    }
    let those = |test: fn(usize, usize) -> bool| {
        let items: Vec<&T> = balance
            .iter()
            .filter_map(|(item, (found, expected))| test(*found, *expected).then_some(item))
            .collect();
        format!("{} {}", items.len(), cut(&items))
    };
    if balance.values().all(|(found, expected)| found == expected) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{what}\n  missing {}\n  extra   {}\n  doubled {}",
        those(|found, expected| found < expected),
        those(|found, expected| found > expected && expected == 0),
        those(|found, expected| found > expected && expected > 0),
    )))
}

/// The two texts are equal to the byte; names the first difference.
pub(crate) fn same_payload(what: &str, found: &Payload, expected: &Payload) -> Verdict {
    let (found, expected) = (found.as_str(), expected.as_str());
    if found == expected {
        return Ok(());
    }
    let at = found
        .bytes()
        .zip(expected.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let (found, expected) = (short::text(found), short::text(expected));
    Err(Failure::new(format!(
        "{what}: differs from byte {at}\n  expected {expected}\n  found    {found}"
    )))
}

/// The value of the condition, once it is there; polled, with a generous bound.
pub(crate) async fn eventually<T>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "did not come to pass within {PATIENCE:?}: {what}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn cut(value: &impl Debug) -> String {
    const MOST: usize = 1_500;
    let mut text = format!("{value:?}");
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}
