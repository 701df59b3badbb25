//! The laws of a single job.

use anyqueue_core::{Cancelled, Holding, OutcomeKind, Settled, State};

use super::jobs::{Claim, Item, Job, is_end};
use super::{Context, Finding, Law};
use crate::faults::history::{Seen, Settle};

/// Everything that is broken on the job.
pub(super) fn of(job: &Job<'_>, context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    lost(job, context, &mut found);
    counters(job, &mut found);
    overlaps(job, context, &mut found);
    stale_writes(job, &mut found);
    doubled(job, &mut found);
    starts(job, context, &mut found);
    phantom(job, context, &mut found);
    found
}

/// A read, and what it showed.
fn shown<'j>(job: &'j Job<'_>) -> impl Iterator<Item = (&'j Item<(), Option<Seen>>, Option<Seen>)> {
    let reads = job.reads.iter();
    reads.filter_map(|read| Some((read, *read.yes()?)))
}

fn lost(job: &Job<'_>, context: &Context<'_>, found: &mut Vec<Finding>) {
    let mut wrong = |text: &str, calls: &[usize]| found.push(Finding::new(Law::Lost, text, calls));
    let by_hand = job.retried_by_hand();
    for end in job.ends().filter(|_| !by_hand) {
        let state = match end.asked.outcome {
            OutcomeKind::Complete => State::Completed,
            _ => State::Failed,
        };
        let other = shown(job).find(|(read, seen)| {
            read.began > end.ended && seen.is_some_and(|seen| seen.state != state)
        });
        if let Some((read, _)) = other {
            let text = "its end was acknowledged, and a later read shows another state";
            wrong(text, &[end.call, read.call]);
        }
    }
    let Some(stored) = job.stored().min_by_key(|item| item.ended) else {
        return;
    };
    let mut gone = shown(job).filter(|(read, seen)| seen.is_none() && read.began > stored.ended);
    if let Some((read, _)) = gone.next() {
        let text = "it was acknowledged, and a later read does not find it";
        wrong(text, &[stored.call, read.call]);
    }
    let Some(drained) = context.drained else {
        return;
    };
    match shown(job).filter(|(read, _)| read.began > drained).last() {
        Some((read, Some(seen))) if !seen.state.is_finished() => {
            let text = "it was acknowledged, and is not finished though all is drained";
            // Without any sign of an end the drained run alone shows it.
            match job.is_finished() {
                true => wrong(text, &[stored.call, read.call]),
                false => wrong(text, &[stored.call]),
            }
        }
        None if !job.is_finished() => {
            let text = "it was acknowledged, and never finished though all is drained";
            wrong(text, &[stored.call]);
        }
        _ => {}
    }
}

/// A span in which a token certainly holds the job, and the call that shows it.
struct Hold {
    from: u64,
    to: u64,
    call: usize,
}

/// When the claim's token certainly holds the job.
fn holds(job: &Job<'_>, claim: &Claim, context: &Context<'_>) -> Vec<Hold> {
    let of_token = |counter: u64| counter == claim.counter;
    let settles = job.settles.iter().filter(|item| {
        of_token(item.asked.counter)
            && (item.is_unknown() || item.yes() == Some(&Settled::Accepted))
    });
    let settled = settles.map(|item| item.began).min().unwrap_or(u64::MAX);
    let claimed = (
        claim.process,
        claim.began,
        claim.ended,
        claim.lease,
        claim.call,
    );
    let extended = job.heartbeats.iter().filter_map(|item| {
        let (counter, lease) = item.asked;
        let held = matches!(item.yes()?, Holding::Held | Holding::CancelRequested);
        let known = (item.process, item.began, item.ended, lease, item.call);
        (held && of_token(counter)).then_some(known)
    });
    let certain = |(process, began, from, lease, call): (u32, u64, u64, u64, usize)| {
        let over = began.saturating_add(lease);
        let to = over.saturating_sub(context.slack(began, over)).min(settled);
        let to = context.untroubled(process, began, to);
        Hold {
            from,
            to: context.untroubled(claim.process, began, to),
            call,
        }
    };
    let all = std::iter::once(claimed).chain(extended).map(certain);
    all.filter(|hold| hold.from < hold.to).collect()
}

fn overlaps(job: &Job<'_>, context: &Context<'_>, found: &mut Vec<Finding>) {
    if job.claims.len() < 2 {
        return;
    }
    let held: Vec<_> = job
        .claims
        .iter()
        .map(|claim| (claim, holds(job, claim, context)))
        .collect();
    for (at, (one, of_one)) in held.iter().enumerate() {
        for (other, of_other) in &held[at + 1..] {
            let text = format!(
                "counter {} and counter {} held it at once",
                one.counter, other.counter
            );
            let mut wrong = |holds: &[usize]| {
                let calls = [&[one.call, other.call], holds].concat();
                found.push(Finding::new(Law::OverlappingLeases, text.clone(), calls));
            };
            // One took effect while the other certainly held it.
            let within =
                |claim: &Claim, hold: &&Hold| hold.from <= claim.began && claim.ended <= hold.to;
            if let Some(hold) = of_one.iter().find(|hold| within(other, hold)) {
                wrong(&[hold.call]);
            } else if let Some(hold) = of_other.iter().find(|hold| within(one, hold)) {
                wrong(&[hold.call]);
            } else {
                let pairs = of_one
                    .iter()
                    .flat_map(|a| of_other.iter().map(move |b| (a, b)));
                let mut at_once =
                    pairs.filter(|(a, b)| a.call != b.call && a.from.max(b.from) < a.to.min(b.to));
                if let Some((a, b)) = at_once.next() {
                    wrong(&[a.call, b.call]);
                }
            }
        }
    }
}

fn counters(job: &Job<'_>, found: &mut Vec<Finding>) {
    for (at, one) in job.claims.iter().enumerate() {
        for other in &job.claims[at + 1..] {
            let again = one.counter == other.counter;
            let fell = one.ended <= other.began && other.counter < one.counter;
            if again || fell {
                let text = format!("counter {} came after {}", other.counter, one.counter);
                found.push(Finding::new(Law::Counter, text, [one.call, other.call]));
            }
        }
    }
}

fn stale_writes(job: &Job<'_>, found: &mut Vec<Finding>) {
    let beats = job
        .heartbeats
        .iter()
        .map(|it| (it.asked.0, it.began, it.call, it.yes()));
    let reports = job
        .reports
        .iter()
        .map(|it| (it.asked, it.began, it.call, it.yes()));
    let held =
        |answer: Option<&Holding>| matches!(answer, Some(Holding::Held | Holding::CancelRequested));
    let beats =
        beats.map(|(counter, began, call, yes)| (counter, began, call, held(yes), "a heartbeat"));
    let reports =
        reports.map(|(counter, began, call, yes)| (counter, began, call, held(yes), "progress"));
    for (counter, began, call, accepted, what) in beats.chain(reports) {
        if !accepted {
            continue;
        }
        if let Some(later) = newer(job, counter, began) {
            let text = format!(
                "{what} of counter {counter} was accepted after counter {} was given out",
                later.counter
            );
            found.push(Finding::new(Law::StaleWrite, text, [later.call, call]));
        }
        let mut settled = job
            .accepted()
            .filter(|it| it.asked.counter == counter && it.ended <= began);
        if let Some(settled) = settled.next() {
            let text = format!("{what} of counter {counter} was accepted after it was settled");
            found.push(Finding::new(Law::StaleWrite, text, [settled.call, call]));
        }
    }
    for settle in job.accepted() {
        let Some(later) = newer(job, settle.asked.counter, settle.began) else {
            continue;
        };
        // A repetition is answered as the first was, which may be one whose
        // answer was lost.
        let first = |item: &&Item<&Settle, Settled>| {
            item.call != settle.call
                && same(item.asked, settle.asked)
                && item.began < later.ended
                && (item.is_unknown() || item.yes() == Some(&Settled::Accepted))
        };
        if !job.settles.iter().any(|item| first(&item)) {
            let text = format!(
                "an outcome of counter {} was accepted after counter {} was given out",
                settle.asked.counter, later.counter
            );
            found.push(Finding::new(
                Law::StaleWrite,
                text,
                [later.call, settle.call],
            ));
        }
    }
}

/// A claim that gave out a higher counter before this moment.
fn newer<'j>(job: &'j Job<'_>, counter: u64, before: u64) -> Option<&'j Claim> {
    let mut claims = job.claims.iter();
    claims.find(|claim| claim.counter > counter && claim.ended <= before)
}

fn same(one: &Settle, other: &Settle) -> bool {
    (one.counter, one.outcome) == (other.counter, other.outcome)
}

fn doubled(job: &Job<'_>, found: &mut Vec<Finding>) {
    let accepted: Vec<_> = job.accepted().collect();
    let by_hand = job.retried_by_hand();
    for (at, one) in accepted.iter().enumerate() {
        for other in &accepted[at + 1..] {
            let text = if one.asked.counter == other.asked.counter {
                if one.asked.outcome == other.asked.outcome {
                    continue;
                }
                format!("counter {} settled in two ways", one.asked.counter)
            } else if is_end(one.asked.outcome) && is_end(other.asked.outcome) && !by_hand {
                let (one, other) = (one.asked.counter, other.asked.counter);
                format!("it ended with counter {one} and with counter {other}")
            } else {
                continue;
            };
            let calls = [one.call, other.call];
            found.push(Finding::new(Law::DoubledCompletion, text, calls));
        }
    }
}

fn starts(job: &Job<'_>, context: &Context<'_>, found: &mut Vec<Finding>) {
    if job.retried_by_hand() {
        return;
    }
    for claim in &job.claims {
        let mut wrong = |text: &str, calls: &[usize]| {
            let calls = [calls, &[claim.call]].concat();
            found.push(Finding::new(Law::UnexplainedStart, text, calls));
        };
        if let Some(end) = job.ends().find(|end| end.asked.counter < claim.counter) {
            wrong("it was started after its end was accepted", &[end.call]);
        }
        let ended = shown(job).find(|(_, seen)| {
            seen.is_some_and(|seen| seen.state.is_finished() && seen.counter < claim.counter)
        });
        if let Some((read, _)) = ended {
            wrong("it was started after a read showed its end", &[read.call]);
        }
        let done = |cancel: &&Item<(), Cancelled>| {
            matches!(cancel.yes(), Some(Cancelled::Done | Cancelled::Finished(_)))
                && cancel.ended <= claim.began
        };
        if let Some(cancel) = job.cancels.iter().find(done) {
            wrong("it was started after it was cancelled", &[cancel.call]);
        }
        for settle in job.accepted() {
            let settled = settle.asked;
            if is_end(settled.outcome) || settled.counter >= claim.counter {
                continue;
            }
            let began = first_asked(job, settled);
            let flagged = |cancel: &&Item<(), Cancelled>| {
                cancel.yes() == Some(&Cancelled::Requested) && cancel.ended <= began
            };
            if let Some(cancel) = job.cancels.iter().find(flagged) {
                let text = "it was started again though its cancellation was requested";
                wrong(text, &[cancel.call, settle.call]);
            }
            if early(context, began, settled.delay, claim) {
                wrong(
                    "it was started again before its wait was over",
                    &[settle.call],
                );
            }
        }
        if let Some(first) = job.may_have_stored().min_by_key(|item| item.began)
            && early(context, first.began, first.asked.delay, claim)
        {
            wrong("it was started before it was due", &[first.call]);
        }
    }
}

/// When this settlement was first asked: it may have taken effect then, its
/// answer lost, and every later one be a repetition.
fn first_asked(job: &Job<'_>, settle: &Settle) -> u64 {
    let may = |item: &&Item<&Settle, Settled>| {
        same(item.asked, settle) && (item.is_unknown() || item.yes() == Some(&Settled::Accepted))
    };
    let asked = job.settles.iter().filter(may).map(|item| item.began);
    asked.min().unwrap_or_default()
}

/// Whether the claim was answered before a wait was over that began no earlier
/// than this.
fn early(context: &Context<'_>, began: u64, delay: u64, claim: &Claim) -> bool {
    if delay == 0 {
        return false;
    }
    let due = began.saturating_add(delay);
    claim.ended < due.saturating_sub(context.slack(began, due))
}

fn phantom(job: &Job<'_>, context: &Context<'_>, found: &mut Vec<Finding>) {
    let asked = job.enqueues.first().map(|item| item.call);
    if asked.is_none() && context.drained.is_none() {
        // A part of a history.
        return;
    }
    if job.may_have_stored().next().is_some() {
        return;
    }
    let there = shown(job).find(|(_, seen)| seen.is_some());
    let place = job.claims.first().map(|claim| claim.call);
    if let Some(place) = place.or_else(|| there.map(|(read, _)| read.call)) {
        let text = "no enqueue stored it, and it is there";
        let calls: Vec<usize> = asked.into_iter().chain([place]).collect();
        found.push(Finding::new(Law::Phantom, text, calls));
    }
}
