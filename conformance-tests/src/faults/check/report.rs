//! Breaches for people to read.

use std::fmt::{self, Write as _};

use super::{Breach, Law, Verdict};
use crate::faults::history::{Answer, Asked, Call};

/// The call with nothing but what concerns these jobs.
pub(super) fn only(call: &Call, jobs: &[&str]) -> Call {
    let ours = |name: &str| jobs.contains(&name);
    let mut call = call.clone();
    let kept: Vec<bool> = match &call.asked {
        Asked::Enqueue(items) => items.iter().map(|it| ours(&it.job)).collect(),
        Asked::Settle(items) => items.iter().map(|it| ours(&it.job)).collect(),
        Asked::Heartbeat { tokens, .. } | Asked::Progress(tokens) => {
            tokens.iter().map(|it| ours(&it.job)).collect()
        }
        Asked::Cancel(ids) | Asked::Retry(ids) | Asked::Read(ids) => {
            ids.iter().map(|id| ours(id)).collect()
        }
        Asked::Claim { .. } => Vec::new(),
    };
    match &mut call.asked {
        Asked::Enqueue(items) => keep(items, &kept),
        Asked::Settle(items) => keep(items, &kept),
        Asked::Heartbeat { tokens, .. } | Asked::Progress(tokens) => keep(tokens, &kept),
        Asked::Cancel(ids) | Asked::Retry(ids) | Asked::Read(ids) => keep(ids, &kept),
        Asked::Claim { .. } => {}
    }
    match &mut call.answer {
        Answer::Unknown | Answer::Failed(_) => {}
        Answer::Claimed(items) => items.retain(|it| ours(&it.job)),
        Answer::Enqueued(items) => keep(items, &kept),
        Answer::Held(items) => keep(items, &kept),
        Answer::Settled(items) => keep(items, &kept),
        Answer::Cancelled(items) => keep(items, &kept),
        Answer::Retried(items) => keep(items, &kept),
        Answer::Found(items) => keep(items, &kept),
    }
    call
}

fn keep<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().is_some_and(|kept| *kept));
}

/// The law, what is wrong, and the calls, as lines that
/// [`History::parse`](crate::faults::history::History::parse) reads.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.history.calls.len();
        writeln!(f, "# {}: {} ({calls} calls)", self.law, self.text)?;
        let all: Vec<usize> = (0..calls).collect();
        f.write_str(&self.history.write(&all))
    }
}

impl Verdict {
    /// The shortest breach of each law that was broken; empty where none was.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for law in Law::ALL {
            if let Some(breach) = self.shortest(law) {
                let _ = write!(
                    text,
                    "{} of {law}; the shortest:\n{breach}",
                    self.count(law)
                );
            }
        }
        text
    }
}
