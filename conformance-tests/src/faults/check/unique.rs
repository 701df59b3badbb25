//! The law of unique keys: one unfinished owner.

use std::collections::BTreeMap;

use anyqueue_core::{Cancelled, Settled};

use super::jobs::{Item, Job, is_end};
use super::{Breach, Context, Finding, Law};
use crate::faults::history::{History, Key};

/// A job that certainly held a key for a span.
struct Owner<'h> {
    job: &'h str,
    /// The enqueue that was answered with it.
    call: usize,
    /// When it was first asked for: a call that was lost may have got it, and a
    /// repetition is told so even when the job has ended since.
    asked: u64,
    /// From the answer on.
    from: u64,
    to: u64,
}

/// The breaches, at most one for each job.
pub(super) fn breaches(
    jobs: &BTreeMap<&str, Job<'_>>,
    history: &History,
    context: &Context<'_>,
) -> Vec<Breach> {
    let mut keys: BTreeMap<(&str, &str), Vec<Owner<'_>>> = BTreeMap::new();
    for (name, job) in jobs {
        let stored = job.stored().min_by_key(|item| item.ended);
        let Some((stored, key)) = stored.and_then(|it| Some((it, it.asked.unique.as_ref()?)))
        else {
            continue;
        };
        let asked = job.may_have_stored().map(|item| item.began).min();
        let owner = Owner {
            job: name,
            call: stored.call,
            asked: asked.unwrap_or(stored.began),
            from: stored.ended,
            to: free(job, key, context),
        };
        keys.entry((&key.queue, &key.key)).or_default().push(owner);
    }
    let mut found = Vec::new();
    for mut owners in keys.into_values() {
        owners.sort_by_key(|owner| owner.from);
        // The one of those before that holds it longest.
        let mut longest: Option<&Owner<'_>> = None;
        for other in &owners {
            let Some(one) = longest.replace(other) else {
                continue;
            };
            if one.to > other.to {
                longest = Some(one);
            }
            let within = one.from <= other.asked && other.from <= one.to;
            let at_once = one.from.max(other.from) < one.to.min(other.to);
            if within || at_once {
                let text = "two unfinished jobs hold its key";
                let finding = Finding::new(Law::UniqueBreach, text, [one.call, other.call]);
                found.push(finding.breach(history, &[one.job, other.job]));
            }
        }
    }
    found
}

/// Until when the job certainly holds its key.
fn free(job: &Job<'_>, key: &Key, context: &Context<'_>) -> u64 {
    if let Some(period) = key.period {
        let begun = job.enqueues.iter().map(|item| item.began).min();
        let over = begun.unwrap_or_default().saturating_add(period);
        return over.saturating_sub(context.slack(begun.unwrap_or_default(), over));
    }
    let settles = job.settles.iter().filter(|item| {
        let may = item.is_unknown() || item.yes() == Some(&Settled::Accepted);
        may && is_end(item.asked.outcome)
    });
    // A running job that is flagged ends at its next settle or expiry.
    let cancels = job.cancels.iter().filter(|item: &&Item<(), Cancelled>| {
        item.is_unknown() || matches!(item.yes(), Some(Cancelled::Done | Cancelled::Requested))
    });
    // With its attempts spent it ends as soon as the lease does.
    let attempts = job.enqueues.first().map_or(0, |item| item.asked.attempts);
    let spent = |attempt: u32| attempts > 0 && attempt >= attempts;
    let last = job.claims.iter().filter(|claim| spent(claim.attempt));
    let ends = settles
        .map(|item| item.began)
        .chain(cancels.map(|item| item.began));
    let ends = ends.chain(last.map(|claim| claim.began));
    ends.min().unwrap_or(u64::MAX)
}
