//! [`check`]: whether a history breaks a law.
//!
//! Only what is certain counts: a lease holds from the answer of its claim
//! until so long after the begin of the last call that extended it, and a call
//! whose answer was lost may take effect at any time after its begin, or
//! never. So a history that breaks no law here may still come of a store that
//! does, but none that is reported comes of a store that keeps them. (The idea
//! of judging recorded histories, and of calls that stay open for ever, is that
//! of Jepsen: K. Kingsbury, "Knossos" and "Elle".)

mod jobs;
mod laws;
mod report;
mod unique;

use std::collections::BTreeMap;
use std::fmt;

use super::history::{Fault, History, Rules};
use jobs::Job;

/// What a store promises, as far as a history can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// An acknowledged job, or its acknowledged outcome, is gone, or it was
    /// never finished though the run drained to the end.
    Lost,
    /// Two unexpired leases on one job.
    OverlappingLeases,
    /// A write with a token that was not the job's any more was accepted.
    StaleWrite,
    /// A job ended twice, or one token settled in two ways.
    DoubledCompletion,
    /// A job was started though it had ended, or before it was due.
    UnexplainedStart,
    /// Two unfinished jobs held a key.
    UniqueBreach,
    /// A job that no enqueue can have stored was there.
    Phantom,
    /// A job's claim counter fell or came again.
    Counter,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::OverlappingLeases,
        Self::StaleWrite,
        Self::DoubledCompletion,
        Self::UnexplainedStart,
        Self::UniqueBreach,
        Self::Phantom,
        Self::Counter,
    ];

    /// The name in reports: what is counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost jobs",
            Self::OverlappingLeases => "overlapping leases",
            Self::StaleWrite => "stale writes accepted",
            Self::DoubledCompletion => "doubled completions",
            Self::UnexplainedStart => "unexplained starts",
            Self::UniqueBreach => "unique breaches",
            Self::Phantom => "phantom jobs",
            Self::Counter => "counters that fell or came again",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A law broken on one job or key. Prints as the calls that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which law.
    pub law: Law,
    /// What is wrong, in words.
    pub text: String,
    /// The calls that show it, and no other: without one of them it would not
    /// be shown. Of each call only what concerns the jobs in question.
    pub history: History,
}

/// What a history shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many jobs were acknowledged.
    pub acknowledged: usize,
    /// How many jobs are known to have ended.
    pub finished: usize,
    /// How many claims were answered, each job of a call counted.
    pub starts: usize,
    /// How many calls there were.
    pub calls: usize,
    /// How many of them got no answer.
    pub unknown: usize,
    /// What was broken: at most one breach of a law for each job.
    pub breaches: Vec<Breach>,
}

impl Verdict {
    /// How many breaches of a law there are.
    pub fn count(&self, law: Law) -> usize {
        self.breaches
            .iter()
            .filter(|found| found.law == law)
            .count()
    }

    /// The breach of a law with the fewest calls.
    pub fn shortest(&self, law: Law) -> Option<&Breach> {
        let all = self.breaches.iter().filter(|found| found.law == law);
        all.min_by_key(|found| found.history.calls.len())
    }
}

/// Judges a history.
pub fn check(history: &History) -> Verdict {
    let context = Context {
        rules: history.rules,
        faults: &history.faults,
        drained: history.drained,
    };
    let jobs = Job::all(history);
    let mut verdict = Verdict {
        acknowledged: jobs.values().filter(|job| job.acknowledged()).count(),
        finished: jobs.values().filter(|job| job.is_finished()).count(),
        starts: jobs.values().map(|job| job.claims.len()).sum(),
        calls: history.calls.len(),
        unknown: history
            .calls
            .iter()
            .filter(|call| call.answer == super::history::Answer::Unknown)
            .count(),
        breaches: Vec::new(),
    };
    for (name, job) in &jobs {
        let mut found: BTreeMap<Law, Finding> = BTreeMap::new();
        for finding in laws::of(job, &context) {
            let known = found.get(&finding.law);
            if known.is_none_or(|known| known.calls.len() > finding.calls.len()) {
                found.insert(finding.law, finding);
            }
        }
        let breaches = found.into_values().map(|it| it.breach(history, &[name]));
        verdict.breaches.extend(breaches);
    }
    verdict
        .breaches
        .extend(unique::breaches(&jobs, history, &context));
    verdict
}

struct Context<'h> {
    rules: Rules,
    faults: &'h [Fault],
    drained: Option<u64>,
}

impl Context<'_> {
    /// By how much something may be over early that began and was to end then.
    fn slack(&self, from: u64, to: u64) -> u64 {
        let Rules {
            slack,
            slack_beside_faults: more,
            ..
        } = self.rules;
        if more <= slack {
            return slack;
        }
        let beside = |fault: &Fault| fault.from <= to && fault.to.saturating_add(more) >= from;
        match self.faults.iter().any(beside) {
            true => more,
            false => slack,
        }
    }

    /// Until when a lease is certain that this process showed to hold then,
    /// where a fault may end it.
    fn untroubled(&self, process: u32, from: u64, to: u64) -> u64 {
        let Some(takeover) = self.rules.takeover else {
            return to;
        };
        let meets = self.faults.iter().filter(|fault| {
            fault.process.is_none_or(|met| met == process)
                && fault.to.saturating_add(takeover) >= from
        });
        meets.map(|fault| fault.from).fold(to, u64::min)
    }
}

/// A law that is broken, and the calls (by their places) that show it.
struct Finding {
    law: Law,
    text: String,
    calls: Vec<usize>,
}

impl Finding {
    fn new(law: Law, text: impl Into<String>, calls: impl Into<Vec<usize>>) -> Self {
        Self {
            law,
            text: text.into(),
            calls: calls.into(),
        }
    }

    fn breach(mut self, history: &History, jobs: &[&str]) -> Breach {
        self.calls.sort_unstable();
        self.calls.dedup();
        let calls = self.calls.iter().map(|&at| &history.calls[at]);
        Breach {
            law: self.law,
            text: self.text,
            history: History {
                rules: history.rules,
                calls: calls.map(|call| report::only(call, jobs)).collect(),
                // They can only take a breach away.
                faults: Vec::new(),
                drained: history
                    .drained
                    .filter(|_| matches!(self.law, Law::Lost | Law::Phantom)),
            },
        }
    }
}
