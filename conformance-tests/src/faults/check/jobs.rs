//! [`Job`]: a history as one job saw it.

use std::collections::BTreeMap;

use anyqueue_core::{Cancelled, Holding, OutcomeKind, Retried, Settled};

use crate::faults::history::{Answer, Asked, Call, History, New, Seen, Settle, Stored};

/// One item of a call, with what became of it.
pub(super) struct Item<T, A> {
    /// The call's place in the history.
    pub(super) call: usize,
    pub(super) process: u32,
    pub(super) began: u64,
    /// For ever where there was no answer: it may take effect that late.
    pub(super) ended: u64,
    pub(super) asked: T,
    pub(super) said: Said<A>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<A> {
    Yes(A),
    /// That nothing happened.
    Failed,
    /// Nothing: it may have taken effect.
    Unknown,
}

impl<T, A> Item<T, A> {
    fn new(place: usize, call: &Call, asked: T, answer: Option<A>) -> Self {
        let said = match (answer, &call.answer) {
            (Some(answer), _) => Said::Yes(answer),
            (None, Answer::Failed(_)) => Said::Failed,
            (None, _) => Said::Unknown,
        };
        let ended = match said {
            Said::Unknown => u64::MAX,
            _ => call.ended.unwrap_or(u64::MAX),
        };
        Self {
            call: place,
            process: call.process,
            began: call.began,
            ended,
            asked,
            said,
        }
    }

    pub(super) fn yes(&self) -> Option<&A> {
        match &self.said {
            Said::Yes(answer) => Some(answer),
            _ => None,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.said, Said::Unknown)
    }
}

/// A claim that gave out the job.
pub(super) struct Claim {
    pub(super) call: usize,
    pub(super) process: u32,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) counter: u64,
    pub(super) attempt: u32,
    pub(super) lease: u64,
}

/// What was asked and answered of one job, each in the order of the begin.
#[derive(Default)]
pub(super) struct Job<'h> {
    pub(super) enqueues: Vec<Item<&'h New, &'h Stored>>,
    pub(super) claims: Vec<Claim>,
    /// Counter and lease.
    pub(super) heartbeats: Vec<Item<(u64, u64), Holding>>,
    /// Counter.
    pub(super) reports: Vec<Item<u64, Holding>>,
    pub(super) settles: Vec<Item<&'h Settle, Settled>>,
    pub(super) cancels: Vec<Item<(), Cancelled>>,
    pub(super) retries: Vec<Item<(), Retried>>,
    pub(super) reads: Vec<Item<(), Option<Seen>>>,
}

impl<'h> Job<'h> {
    pub(super) fn all(history: &'h History) -> BTreeMap<&'h str, Self> {
        let mut jobs: BTreeMap<&str, Self> = BTreeMap::new();
        for (place, call) in history.calls.iter().enumerate() {
            add(&mut jobs, place, call);
        }
        jobs
    }

    /// Whether an enqueue of it was acknowledged.
    pub(super) fn acknowledged(&self) -> bool {
        self.stored().next().is_some()
    }

    /// The enqueues that were answered with "created".
    pub(super) fn stored(&self) -> impl Iterator<Item = &Item<&'h New, &'h Stored>> {
        let created =
            |item: &&Item<_, &Stored>| item.yes().is_some_and(|it| **it == Stored::Created);
        self.enqueues.iter().filter(created)
    }

    /// The enqueues that may have stored it: also those without an answer.
    pub(super) fn may_have_stored(&self) -> impl Iterator<Item = &Item<&'h New, &'h Stored>> {
        let may = |item: &&Item<_, &Stored>| {
            item.is_unknown() || item.yes().is_some_and(|it| **it == Stored::Created)
        };
        self.enqueues.iter().filter(may)
    }

    /// The settlements that were accepted.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Item<&'h Settle, Settled>> {
        let settles = self.settles.iter();
        settles.filter(|item| item.yes() == Some(&Settled::Accepted))
    }

    /// Those that ended the job.
    pub(super) fn ends(&self) -> impl Iterator<Item = &Item<&'h Settle, Settled>> {
        self.accepted().filter(|item| is_end(item.asked.outcome))
    }

    /// Whether it is known to have ended.
    pub(super) fn is_finished(&self) -> bool {
        let shown = |item: &Item<(), Option<Seen>>| {
            let seen = item.yes().copied().flatten();
            seen.is_some_and(|seen| seen.state.is_finished())
        };
        let called_off = |item: &Item<(), Cancelled>| {
            matches!(item.yes(), Some(Cancelled::Done | Cancelled::Finished(_)))
        };
        self.ends().next().is_some()
            || self.reads.iter().any(shown)
            || self.cancels.iter().any(called_off)
    }

    /// Whether it may have been started again by hand.
    pub(super) fn retried_by_hand(&self) -> bool {
        let may = |item: &Item<(), Retried>| {
            item.is_unknown() || matches!(item.yes(), Some(Retried::Ready))
        };
        self.retries.iter().any(may)
    }
}

/// Whether a job that settles so does not run again.
pub(super) const fn is_end(outcome: OutcomeKind) -> bool {
    matches!(outcome, OutcomeKind::Complete | OutcomeKind::Fail)
}

/// The answers of this kind; none where there was another.
macro_rules! told {
    ($call:ident, $kind:ident) => {
        match &$call.answer {
            Answer::$kind(answers) => answers.as_slice(),
            _ => &[],
        }
    };
}

fn add<'h>(jobs: &mut BTreeMap<&'h str, Job<'h>>, place: usize, call: &'h Call) {
    match &call.asked {
        Asked::Enqueue(items) => {
            let answers = told!(call, Enqueued);
            for (at, new) in items.iter().enumerate() {
                let item = Item::new(place, call, new, answers.get(at));
                jobs.entry(&new.job).or_default().enqueues.push(item);
            }
        }
        Asked::Claim { lease } => {
            let answers = told!(call, Claimed);
            for claimed in answers {
                jobs.entry(&claimed.job).or_default().claims.push(Claim {
                    call: place,
                    process: call.process,
                    began: call.began,
                    ended: call.ended.unwrap_or(u64::MAX),
                    counter: claimed.counter,
                    attempt: claimed.attempt,
                    lease: *lease,
                });
            }
        }
        Asked::Heartbeat { lease, tokens } => {
            let answers = told!(call, Held);
            for (at, token) in tokens.iter().enumerate() {
                let asked = (token.counter, *lease);
                let item = Item::new(place, call, asked, answers.get(at).copied());
                jobs.entry(&token.job).or_default().heartbeats.push(item);
            }
        }
        Asked::Progress(tokens) => {
            let answers = told!(call, Held);
            for (at, token) in tokens.iter().enumerate() {
                let item = Item::new(place, call, token.counter, answers.get(at).copied());
                jobs.entry(&token.job).or_default().reports.push(item);
            }
        }
        Asked::Settle(items) => {
            let answers = told!(call, Settled);
            for (at, settle) in items.iter().enumerate() {
                let item = Item::new(place, call, settle, answers.get(at).copied());
                jobs.entry(&settle.job).or_default().settles.push(item);
            }
        }
        Asked::Cancel(ids) => {
            let answers = told!(call, Cancelled);
            for (at, id) in ids.iter().enumerate() {
                let item = Item::new(place, call, (), answers.get(at).copied());
                jobs.entry(id).or_default().cancels.push(item);
            }
        }
        Asked::Retry(ids) => {
            let answers = told!(call, Retried);
            for (at, id) in ids.iter().enumerate() {
                let item = Item::new(place, call, (), answers.get(at).copied());
                jobs.entry(id).or_default().retries.push(item);
            }
        }
        Asked::Read(ids) => {
            let answers = told!(call, Found);
            for (at, id) in ids.iter().enumerate() {
                let item = Item::new(place, call, (), answers.get(at).copied());
                jobs.entry(id).or_default().reads.push(item);
            }
        }
    }
}
