//! Proves that the suite can fail: backends that each break one law, and the
//! cases that must notice.

#[macro_use]
mod common;

use std::sync::Arc;
use std::time::Duration;

use anyqueue_conformance_tests::{CaseOutcome, Delegate, check, wrap};
use anyqueue_core::{
    Backend, Cancelled, ClaimRequest, ClaimedJob, Enqueued, Error, ErrorKind, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Operation, Outcome,
    Page, QueueCounts, QueueName, Retention, Settled, Settlement, State, Timestamp, Token,
    WaitRequest, async_trait,
};
#[cfg(feature = "faults")]
mod checker;

use common::{Memory, with_current_counters};

caught! {
    gives_held_jobs: GivesHeldJobs by "claim_exclusive__a_held";
    exceeds_the_limit: ExceedsTheLimit by "claim_limit__takes_no_more";
    inverts_priority: InvertsPriority by "claim_order__priority";
    repeats_the_counter: RepeatsTheCounter by "claim_counter__";
    settles_with_any_counter: SettlesWithAnyCounter by "stale__after";
    holds_what_is_lost: HoldsWhatIsLost by "stale__";
    hides_the_flag: HidesTheFlag by "cancel_running__is_flagged";
    forgets_delayed_jobs: ForgetsDelayedJobs by "schedule__a";
    drops_the_last_of_a_batch: DropsTheLastOfABatch by "enqueue__a";
    enqueues_a_repetition: EnqueuesARepetition by "enqueue_repeat__makes_no";
    ignores_unique_keys: IgnoresUniqueKeys by "unique__a_held_key";
    stores_one_by_one: StoresOneByOne by "cancel_safety__of_an_enqueue";
    reverses_answers: ReversesAnswers by "settle_batch__one_stale";
    reverses_holdings: ReversesHoldings by "stale__heartbeats_among";
    fails_the_batch: FailsTheBatch by "settle_batch__one_stale";
    drops_results: DropsResults by "settle__complete_keeps";
    charges_releases: ChargesReleases by "attempts__";
    loses_errors: LosesErrors by "settle__errors";
    reverses_records: ReversesRecords by "get__in_the_order";
    stops_the_sequence: StopsTheSequence by "progress__the_sequence";
    cancels_in_words_only: CancelsInWordsOnly by "cancel_waiting__";
    never_pauses: NeverPauses by "pause__";
    purges_too_early: PurgesTooEarly by "purge__not_before";
    lists_a_job_twice: ListsAJobTwice by "list_order__pages";
    ends_after_a_page: EndsAfterAPage by "list_order__pages";
    ignores_tags: IgnoresTags by "list_filter__by_tags";
    miscounts: Miscounts by "counts__of_each";
    sleeps_through_work: SleepsThroughWork by "wait_for_work__notices_an_enqueue";
}

/// Changes nothing.
struct Unbroken(Arc<dyn Backend>);

#[async_trait]
impl Delegate for Unbroken {
    around!();
}

#[test]
fn the_cases_pass_where_nothing_is_broken() {
    for result in check(Memory(|memory| wrap(Unbroken(memory))), "") {
        if let CaseOutcome::Failed(report) = result.outcome {
            panic!("{}: {report}", result.name);
        }
    }
}

/// A held job as the claim of another worker would give it.
fn held(job: JobRecord) -> ClaimedJob {
    ClaimedJob {
        token: Token {
            id: job.id,
            counter: job.counter,
        },
        queue: job.queue,
        kind: job.kind,
        payload: job.payload,
        priority: job.priority,
        attempt: job.attempt,
        retry: job.retry,
        created_at: job.created_at,
        due_at: job.due_at,
        lease_until: job.lease_until.unwrap_or(job.due_at),
        tags: job.tags,
        trace: job.trace,
    }
}

/// A claim that finds nothing gives a job that another worker holds.
struct GivesHeldJobs(Arc<dyn Backend>);

#[async_trait]
impl Delegate for GivesHeldJobs {
    around!();
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let claimed = self.0.claim(request).await?;
        if !claimed.is_empty() || request.limit == 0 {
            return Ok(claimed);
        }
        let running = self
            .0
            .list(&Filter::any().state(State::Running), &Page::first(1))
            .await?;
        Ok(running.jobs.into_iter().map(held).collect())
    }
}

/// A claim takes one job more than it may.
struct ExceedsTheLimit(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ExceedsTheLimit {
    around!();
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let limit = request.limit.saturating_add(1);
        self.0
            .claim(&ClaimRequest {
                limit,
                ..request.clone()
            })
            .await
    }
}

/// A claim gives the least urgent job first.
struct InvertsPriority(Arc<dyn Backend>);

#[async_trait]
impl Delegate for InvertsPriority {
    around!();
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(request).await?;
        claimed.sort_by_key(|job| job.priority);
        Ok(claimed)
    }
}

/// Every claim of a job has the same counter, which settles it.
struct RepeatsTheCounter(Arc<dyn Backend>);

#[async_trait]
impl Delegate for RepeatsTheCounter {
    around!();
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(request).await?;
        claimed.iter_mut().for_each(|job| job.token.counter = 1);
        Ok(claimed)
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let settlements = with_current_counters(&*self.0, settlements).await?;
        self.0.settle(&settlements).await
    }
}

/// A token settles its job whatever its counter.
struct SettlesWithAnyCounter(Arc<dyn Backend>);

#[async_trait]
impl Delegate for SettlesWithAnyCounter {
    around!();
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let settlements = with_current_counters(&*self.0, settlements).await?;
        self.0.settle(&settlements).await
    }
}

/// A heartbeat calls every job held.
struct HoldsWhatIsLost(Arc<dyn Backend>);

#[async_trait]
impl Delegate for HoldsWhatIsLost {
    around!();
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let mut answers = self.0.heartbeat(tokens, lease).await?;
        for answer in &mut answers {
            if *answer == Holding::Stale {
                *answer = Holding::Held;
            }
        }
        Ok(answers)
    }
}

/// A heartbeat does not tell that its job is to be cancelled.
struct HidesTheFlag(Arc<dyn Backend>);

#[async_trait]
impl Delegate for HidesTheFlag {
    around!();
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let mut answers = self.0.heartbeat(tokens, lease).await?;
        for answer in &mut answers {
            if *answer == Holding::CancelRequested {
                *answer = Holding::Held;
            }
        }
        Ok(answers)
    }
}

/// The answers of a heartbeat are in the wrong order.
struct ReversesHoldings(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ReversesHoldings {
    around!();
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        let mut answers = self.0.heartbeat(tokens, lease).await?;
        answers.reverse();
        Ok(answers)
    }
}

/// A job that is due later is acknowledged and forgotten.
struct ForgetsDelayedJobs(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ForgetsDelayedJobs {
    around!();
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let now = Timestamp::host_now();
        let mut kept = jobs.to_vec();
        kept.retain(|job| job.schedule.due_at(now) == now);
        self.0.enqueue(&kept).await?;
        Ok(jobs.iter().map(|job| Enqueued::Created(job.id)).collect())
    }
}

/// The last job of a batch is acknowledged and not stored.
struct DropsTheLastOfABatch(Arc<dyn Backend>);

#[async_trait]
impl Delegate for DropsTheLastOfABatch {
    around!();
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let [first @ .., last] = jobs else {
            return Ok(Vec::new());
        };
        if first.is_empty() {
            return self.0.enqueue(jobs).await;
        }
        let mut answers = self.0.enqueue(first).await?;
        answers.push(Enqueued::Created(last.id));
        Ok(answers)
    }
}

/// A repeated enqueue makes a second job.
struct EnqueuesARepetition(Arc<dyn Backend>);

#[async_trait]
impl Delegate for EnqueuesARepetition {
    around!();
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let known = self
            .0
            .get(&jobs.iter().map(|job| job.id).collect::<Vec<_>>())
            .await?;
        let mut jobs = jobs.to_vec();
        for (job, known) in jobs.iter_mut().zip(known) {
            if known.is_some() {
                job.id = JobId::new(&job.queue);
            }
        }
        self.0.enqueue(&jobs).await
    }
}

/// A unique key keeps no other job out.
struct IgnoresUniqueKeys(Arc<dyn Backend>);

#[async_trait]
impl Delegate for IgnoresUniqueKeys {
    around!();
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut jobs = jobs.to_vec();
        jobs.iter_mut().for_each(|job| job.unique = None);
        self.0.enqueue(&jobs).await
    }
}

/// A dropped enqueue leaves half of its batch behind.
struct StoresOneByOne(Arc<dyn Backend>);

#[async_trait]
impl Delegate for StoresOneByOne {
    around!();
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut answers = Vec::new();
        for job in jobs {
            answers.extend(self.0.enqueue(std::slice::from_ref(job)).await?);
            tokio::task::yield_now().await;
        }
        Ok(answers)
    }
}

/// The answers of a settle are in the wrong order.
struct ReversesAnswers(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ReversesAnswers {
    around!();
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut answers = self.0.settle(settlements).await?;
        answers.reverse();
        Ok(answers)
    }
}

/// One stale item is an error of its whole batch.
struct FailsTheBatch(Arc<dyn Backend>);

#[async_trait]
impl Delegate for FailsTheBatch {
    around!();
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let answers = self.0.settle(settlements).await?;
        if answers.len() > 1 && answers.contains(&Settled::Stale) {
            return Err(Error::new(
                ErrorKind::Conflict,
                Operation::Settle,
                "memory",
                "one is stale",
            ));
        }
        Ok(answers)
    }
}

/// A completion drops its result.
struct DropsResults(Arc<dyn Backend>);

#[async_trait]
impl Delegate for DropsResults {
    around!();
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let mut records = self.0.get(ids).await?;
        records
            .iter_mut()
            .flatten()
            .for_each(|job| job.result = None);
        Ok(records)
    }
}

/// A release costs an attempt.
struct ChargesReleases(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ChargesReleases {
    around!();
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut settlements = settlements.to_vec();
        for Settlement { outcome, .. } in &mut settlements {
            if *outcome == Outcome::Release {
                *outcome = Outcome::Retry {
                    delay: Duration::ZERO,
                    error: "released".into(),
                };
            }
        }
        self.0.settle(&settlements).await
    }
}

/// The errors of earlier attempts are lost.
struct LosesErrors(Arc<dyn Backend>);

#[async_trait]
impl Delegate for LosesErrors {
    around!();
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let mut records = self.0.get(ids).await?;
        for job in records.iter_mut().flatten() {
            job.errors = job.errors.pop().into_iter().collect();
        }
        Ok(records)
    }
}

/// The records are not in the order of the ids.
struct ReversesRecords(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ReversesRecords {
    around!();
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let mut records = self.0.get(ids).await?;
        records.reverse();
        Ok(records)
    }
}

/// The sequence of progress stands still.
struct StopsTheSequence(Arc<dyn Backend>);

#[async_trait]
impl Delegate for StopsTheSequence {
    around!();
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let mut records = self.0.get(ids).await?;
        for job in records.iter_mut().flatten() {
            job.progress.sequence = job.progress.sequence.min(1);
        }
        Ok(records)
    }
}

/// A cancelled job that waits is called cancelled and stays.
struct CancelsInWordsOnly(Arc<dyn Backend>);

#[async_trait]
impl Delegate for CancelsInWordsOnly {
    around!();
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        let mut answers = Vec::new();
        for (id, job) in ids.iter().zip(self.0.get(ids).await?) {
            match job.map(|job| job.state) {
                Some(State::Ready | State::Scheduled) => answers.push(Cancelled::Done),
                _ => answers.extend(self.0.cancel(&[*id]).await?),
            }
        }
        Ok(answers)
    }
}

/// A pause is acknowledged and not stored.
struct NeverPauses(Arc<dyn Backend>);

#[async_trait]
impl Delegate for NeverPauses {
    around!();
    async fn set_flow(&self, _queue: &QueueName, _flow: Flow) -> Result<(), Error> {
        Ok(())
    }
}

/// A purge does not wait for the end of the retention.
struct PurgesTooEarly(Arc<dyn Backend>);

#[async_trait]
impl Delegate for PurgesTooEarly {
    around!();
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        let retention = Retention::all(Duration::ZERO);
        self.0
            .maintain(&MaintainLimits {
                retention,
                ..*limits
            })
            .await
    }
}

/// A page shows its last job twice.
struct ListsAJobTwice(Arc<dyn Backend>);

#[async_trait]
impl Delegate for ListsAJobTwice {
    around!();
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        let mut listing = self.0.list(filter, page).await?;
        listing.jobs.extend(listing.jobs.last().cloned());
        Ok(listing)
    }
}

/// A listing ends after its first page.
struct EndsAfterAPage(Arc<dyn Backend>);

#[async_trait]
impl Delegate for EndsAfterAPage {
    around!();
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        let listing = self.0.list(filter, page).await?;
        Ok(Listing {
            next: None,
            ..listing
        })
    }
}

/// A listing does not look at the tags.
struct IgnoresTags(Arc<dyn Backend>);

#[async_trait]
impl Delegate for IgnoresTags {
    around!();
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        let mut filter = filter.clone();
        filter.tags.clear();
        self.0.list(&filter, page).await
    }
}

/// The counts are one too high.
struct Miscounts(Arc<dyn Backend>);

#[async_trait]
impl Delegate for Miscounts {
    around!();
    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        let mut queues = self.0.counts().await?;
        queues
            .iter_mut()
            .for_each(|queue| *queue.counts.get_mut(State::Ready) += 1);
        Ok(queues)
    }
}

/// A worker that waits is not woken.
struct SleepsThroughWork(Arc<dyn Backend>);

#[async_trait]
impl Delegate for SleepsThroughWork {
    around!();
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        tokio::time::sleep(request.timeout).await;
        Ok(())
    }
}
