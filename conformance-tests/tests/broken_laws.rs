//! More backends that each break one law, law by law as the design counts
//! them: those that `broken.rs` has none for, or not this way of breaking it.

#[macro_use]
mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyqueue_conformance_tests::{CaseOutcome, Delegate, check, wrap};
use anyqueue_core::{
    Backend, Cancelled, ClaimRequest, ClaimedJob, Enqueued, Error, ErrorKind, ErrorText, Holding,
    JobId, JobRecord, MaintainLimits, Maintained, NewJob, Operation, Outcome, Payload,
    ProgressUpdate, ProgressValues, QueueName, Retention, Schedule, Settled, Settlement, State,
    Timestamp, Token, UniquePolicy, async_trait,
};
use anyqueue_memory::MemoryBackend;
use common::with_current_counters;
use tokio::sync::Semaphore;

caught! {
    // 1. Leases.
    never_ends_a_lease: NeverEndsALease by "lease_expiry__makes";
    ends_leases_early: EndsLeasesEarly by "claim__the_lease";
    forgives_lost_attempts: ForgivesLostAttempts by "lease_expiry__with_no";
    keeps_no_heartbeat: KeepsNoHeartbeat by "heartbeat__";
    // 2. Tokens.
    writes_what_it_calls_stale: WritesWhatItCallsStale by "stale__";
    accepts_another_outcome: AcceptsAnotherOutcome by "settle_once__another";
    refuses_a_repeated_settle: RefusesARepeatedSettle by "settle_once__the_same";
    // 3. Claims.
    takes_the_last_first: TakesTheLastFirst by "claim_order__enqueue_order";
    takes_from_other_queues: TakesFromOtherQueues by "claim_limit__other";
    // 4. The store's clock.
    trusts_a_clock_that_is_behind: TrustsAClockThatIsBehind by "schedule__after_a_delay";
    trusts_a_clock_that_is_ahead: TrustsAClockThatIsAhead by "schedule__runs";
    leases_by_a_clock_that_is_ahead: LeasesByAClockThatIsAhead by "claim__the_lease";
    // 5. Acknowledged is stored, and seen.
    acknowledges_before_it_stores: AcknowledgesBeforeItStores by "reads_see_writes__";
    reads_what_was: ReadsWhatWas by "reads_see_writes__";
    opens_another_store: OpensAnotherStore by "reopen__";
    // 6. Repetition.
    refuses_a_repeated_enqueue: RefusesARepeatedEnqueue by "enqueue_repeat__";
    // 7. Unique keys.
    frees_a_period_with_its_job: FreesAPeriodWithItsJob by "unique_period__";
    never_frees_a_key: NeverFreesAKey by "unique__is_freed";
    names_the_wrong_holder: NamesTheWrongHolder by "unique__a_held_key";
    // 8. Cancellation.
    flags_in_words_only: FlagsInWordsOnly by "cancel_running__";
    cancels_what_completed: CancelsWhatCompleted by "cancel_running__a_completion";
    // 9. Progress, result, errors.
    loses_progress: LosesProgress by "progress__the_values";
    merges_progress: MergesProgress by "progress__the_values";
    cuts_errors: CutsErrors by "error_text__";
    // 10. Retention.
    never_purges: NeverPurges by "purge__each";
    purges_without_bound: PurgesWithoutBound by "purge__in_bounded";
    // 11. Dropped futures.
    settles_one_by_one: SettlesOneByOne by "cancel_safety__of_a_settle_of_several";
    leaks_connections: LeaksConnections by "cancel_safety__of_every_call";
    // 12. Payloads and names.
    rewrites_payloads: RewritesPayloads by "payload__white_space";
    folds_the_case_of_names: FoldsTheCaseOfNames by "hostile_data__";
    drops_the_trace: DropsTheTrace by "claim__carries";
    // The rules.
    charges_a_snooze: ChargesASnooze by "attempts__given_back";
    sleeps_through_changes: SleepsThroughChanges by "wait_for_change__notices_a_cancel";
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A wrapper that changes one method.
macro_rules! broken {
    ($(#[$doc:meta])* $name:ident: $($method:item)+) => {
        $(#[$doc])*
        struct $name(Arc<dyn Backend>);

        #[async_trait]
        impl Delegate for $name {
            around!();
            $($method)+
        }
    };
}

/// The ids that tokens of settlements name, with the jobs' records.
async fn records(
    backend: &dyn Backend,
    ids: impl IntoIterator<Item = JobId>,
) -> Result<Vec<Option<JobRecord>>, Error> {
    backend.get(&ids.into_iter().collect::<Vec<_>>()).await
}

broken! {
    /// A claim holds its job for ever.
    NeverEndsALease:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(&ClaimRequest { lease: 24 * HOUR, ..request.clone() }).await?;
        for job in &mut claimed {
            job.lease_until = job.lease_until.before(24 * HOUR).after(request.lease);
        }
        Ok(claimed)
    }
}

broken! {
    /// A lease is half as long as was asked for.
    EndsLeasesEarly:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        self.0.claim(&ClaimRequest { lease: request.lease / 2, ..request.clone() }).await
    }
}

broken! {
    /// A job that kills its worker may do so for ever.
    ForgivesLostAttempts:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut jobs = jobs.to_vec();
        jobs.iter_mut().for_each(|job| job.retry.max_attempts = i32::MAX as u32);
        self.0.enqueue(&jobs).await
    }
}

broken! {
    /// A heartbeat is answered and extends nothing.
    KeepsNoHeartbeat:
    async fn heartbeat(&self, tokens: &[Token], _: Duration) -> Result<Vec<Holding>, Error> {
        let found = records(&*self.0, tokens.iter().map(|token| token.id)).await?;
        let answer = |(token, job): (&Token, Option<JobRecord>)| match job {
            Some(job) if job.state == State::Running && job.counter == token.counter => {
                if job.cancel_requested { Holding::CancelRequested } else { Holding::Held }
            }
            _ => Holding::Stale,
        };
        Ok(tokens.iter().zip(found).map(answer).collect())
    }
}

broken! {
    /// A stale settle is called stale and takes effect.
    WritesWhatItCallsStale:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let answers = self.0.settle(settlements).await?;
        let stale = settlements.iter().zip(&answers);
        let stale = stale.filter(|(_, answer)| **answer == Settled::Stale);
        let stale: Vec<_> = stale.map(|(settlement, _)| settlement.clone()).collect();
        let stale = with_current_counters(&*self.0, &stale).await?;
        self.0.settle(&stale).await?;
        Ok(answers)
    }
}

broken! {
    /// A job that has ended takes any other outcome, in words.
    AcceptsAnotherOutcome:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut answers = self.0.settle(settlements).await?;
        let found = records(&*self.0, settlements.iter().map(|one| one.token.id)).await?;
        for ((answer, one), job) in answers.iter_mut().zip(settlements).zip(found) {
            if job.is_some_and(|job| job.counter == one.token.counter) {
                *answer = Settled::Accepted;
            }
        }
        Ok(answers)
    }
}

broken! {
    /// A settle asked again is stale.
    RefusesARepeatedSettle:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let found = records(&*self.0, settlements.iter().map(|one| one.token.id)).await?;
        let mut answers = self.0.settle(settlements).await?;
        for (answer, job) in answers.iter_mut().zip(found) {
            if job.is_none_or(|job| job.state != State::Running) {
                *answer = Settled::Stale;
            }
        }
        Ok(answers)
    }
}

broken! {
    /// A claim takes the jobs that came last.
    TakesTheLastFirst:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(request).await?;
        claimed.reverse();
        Ok(claimed)
    }
}

broken! {
    /// A claim that finds nothing looks into all queues.
    TakesFromOtherQueues:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let claimed = self.0.claim(request).await?;
        if !claimed.is_empty() {
            return Ok(claimed);
        }
        let queues: Vec<QueueName> = self.0.queues().await?.into_iter().map(|q| q.name).collect();
        self.0.claim(&ClaimRequest { queues, ..request.clone() }).await
    }
}

/// The jobs, due by a client's clock that differs from the store's.
fn due_by(jobs: &[NewJob], clock: fn(Timestamp) -> Timestamp) -> Vec<NewJob> {
    let mut jobs = jobs.to_vec();
    for job in &mut jobs {
        if let Schedule::After(delay) = job.schedule {
            job.schedule = Schedule::At(clock(Timestamp::host_now()).after(delay));
        }
    }
    jobs
}

broken! {
    /// A delay counts from a client's clock, which is an hour behind.
    TrustsAClockThatIsBehind:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.0.enqueue(&due_by(jobs, |now| now.before(HOUR))).await
    }
}

broken! {
    /// A delay counts from a client's clock, which is an hour ahead.
    TrustsAClockThatIsAhead:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.0.enqueue(&due_by(jobs, |now| now.after(HOUR))).await
    }
}

broken! {
    /// A lease ends by a client's clock, which is an hour ahead.
    LeasesByAClockThatIsAhead:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        self.0.claim(&ClaimRequest { lease: request.lease + HOUR, ..request.clone() }).await
    }
}

broken! {
    /// An enqueue is acknowledged and stored a little later.
    AcknowledgesBeforeItStores:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let (inner, later) = (Arc::clone(&self.0), jobs.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = inner.enqueue(&later).await;
        });
        Ok(jobs.iter().map(|job| Enqueued::Created(job.id)).collect())
    }
}

/// A record is read once and then remembered.
struct ReadsWhatWas {
    inner: Arc<dyn Backend>,
    known: Mutex<HashMap<JobId, JobRecord>>,
}

#[allow(non_snake_case)]
fn ReadsWhatWas(inner: Arc<dyn Backend>) -> ReadsWhatWas {
    ReadsWhatWas {
        inner,
        known: Mutex::default(),
    }
}

#[async_trait]
impl Delegate for ReadsWhatWas {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(ReadsWhatWas(inner))
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let found = self.inner.get(ids).await?;
        let mut known = self.known.lock().expect("no panic holds it");
        let mut remembered = |job: JobRecord| known.entry(job.id).or_insert(job).clone();
        Ok(found
            .into_iter()
            .map(|job| job.map(&mut remembered))
            .collect())
    }
}

/// A second handle is on a store of its own.
struct OpensAnotherStore(Arc<dyn Backend>);

#[async_trait]
impl Delegate for OpensAnotherStore {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }
    fn around(&self, _: Arc<dyn Backend>) -> Arc<dyn Backend> {
        MemoryBackend::connect("memory:another").expect("a store")
    }
}

broken! {
    /// An enqueue asked again is a conflict.
    RefusesARepeatedEnqueue:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let found = records(&*self.0, jobs.iter().map(|job| job.id)).await?;
        if found.iter().any(Option::is_some) {
            let text = "the id is taken";
            return Err(Error::new(ErrorKind::Conflict, Operation::Enqueue, "memory", text));
        }
        self.0.enqueue(jobs).await
    }
}

/// The jobs with other policies of their keys.
fn with_policy(jobs: &[NewJob], policy: UniquePolicy) -> Vec<NewJob> {
    let mut jobs = jobs.to_vec();
    for unique in jobs.iter_mut().filter_map(|job| job.unique.as_mut()) {
        unique.policy = policy;
    }
    jobs
}

broken! {
    /// A key is free once its job has ended, though its period is not over.
    FreesAPeriodWithItsJob:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.0.enqueue(&with_policy(jobs, UniquePolicy::WhileUnfinished)).await
    }
}

broken! {
    /// A key is held on though its job has ended.
    NeverFreesAKey:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        self.0.enqueue(&with_policy(jobs, UniquePolicy::ForPeriod(24 * HOUR))).await
    }
}

broken! {
    /// A duplicate is told its own id.
    NamesTheWrongHolder:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let answers = self.0.enqueue(jobs).await?.into_iter().zip(jobs);
        let wrong = |(answer, job): (Enqueued, &NewJob)| match answer {
            Enqueued::Existing(_) => Enqueued::Existing(job.id),
            created => created,
        };
        Ok(answers.map(wrong).collect())
    }
}

broken! {
    /// A cancel of a running job is answered and not stored.
    FlagsInWordsOnly:
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        let mut answers = Vec::new();
        for (id, job) in ids.iter().zip(self.0.get(ids).await?) {
            match job.map(|job| job.state) {
                Some(State::Running) => answers.push(Cancelled::Requested),
                _ => answers.extend(self.0.cancel(&[*id]).await?),
            }
        }
        Ok(answers)
    }
}

broken! {
    /// A completion of a flagged job ends it cancelled.
    CancelsWhatCompleted:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let found = records(&*self.0, settlements.iter().map(|one| one.token.id)).await?;
        let mut settlements = settlements.to_vec();
        for (one, job) in settlements.iter_mut().zip(found) {
            if job.is_some_and(|job| job.cancel_requested) {
                one.outcome = Outcome::Release;
            }
        }
        self.0.settle(&settlements).await
    }
}

broken! {
    /// Progress is acknowledged and not stored.
    LosesProgress:
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        let mut updates = updates.to_vec();
        updates.iter_mut().for_each(|one| one.values = ProgressValues::default());
        self.0.progress(&updates).await
    }
}

broken! {
    /// A report leaves what it does not name as it was.
    MergesProgress:
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        let found = records(&*self.0, updates.iter().map(|one| one.token.id)).await?;
        let mut updates = updates.to_vec();
        for (one, job) in updates.iter_mut().zip(found) {
            let Some(old) = job.map(|job| job.progress.values) else { continue };
            one.values.percent = one.values.percent.or(old.percent);
            one.values.step = one.values.step.or(old.step);
            one.values.message = one.values.message.take().or(old.message);
        }
        self.0.progress(&updates).await
    }
}

broken! {
    /// An error's text is cut after its first KiB.
    CutsErrors:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut settlements = settlements.to_vec();
        for one in &mut settlements {
            if let Outcome::Retry { error, .. } | Outcome::Fail { error } = &mut one.outcome {
                let text = error.as_str();
                *error = ErrorText::new(&text[..text.floor_char_boundary(1_024)]);
            }
        }
        self.0.settle(&settlements).await
    }
}

broken! {
    /// What has ended stays for ever.
    NeverPurges:
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        let retention = Retention::all(Duration::MAX);
        self.0.maintain(&MaintainLimits { retention, ..*limits }).await
    }
}

broken! {
    /// Maintenance does all there is to do in one call.
    PurgesWithoutBound:
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        self.0.maintain(&MaintainLimits { jobs: u32::MAX, ..*limits }).await
    }
}

broken! {
    /// A dropped settle leaves half of its batch settled.
    SettlesOneByOne:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut answers = Vec::new();
        for one in settlements {
            answers.extend(self.0.settle(std::slice::from_ref(one)).await?);
            tokio::task::yield_now().await;
        }
        Ok(answers)
    }
}

/// A dropped call does not give its connection back; there are four.
struct LeaksConnections {
    inner: Arc<dyn Backend>,
    free: Semaphore,
}

#[allow(non_snake_case)]
fn LeaksConnections(inner: Arc<dyn Backend>) -> LeaksConnections {
    LeaksConnections {
        inner,
        free: Semaphore::new(4),
    }
}

#[async_trait]
impl Delegate for LeaksConnections {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }
    fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        wrap(LeaksConnections(inner))
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        let connection =
            tokio::time::timeout(Duration::from_millis(100), self.free.acquire()).await;
        let Ok(Ok(connection)) = connection else {
            let text = "no connection is free";
            return Err(Error::new(
                ErrorKind::Unavailable,
                Operation::Get,
                "memory",
                text,
            ));
        };
        connection.forget();
        tokio::task::yield_now().await;
        let found = self.inner.get(ids).await;
        self.free.add_permits(1);
        found
    }
}

broken! {
    /// A payload loses its white space.
    RewritesPayloads:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut jobs = jobs.to_vec();
        for job in &mut jobs {
            let words: Vec<&str> = job.payload.as_str().split_whitespace().collect();
            job.payload = Payload::from_stored(words.concat());
        }
        self.0.enqueue(&jobs).await
    }
}

broken! {
    /// Names that differ in case only are one.
    FoldsTheCaseOfNames:
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut jobs = jobs.to_vec();
        for job in &mut jobs {
            let folded = job.queue.as_str().to_ascii_lowercase();
            job.queue = QueueName::new(folded).expect("as valid as before");
        }
        self.0.enqueue(&jobs).await
    }
}

broken! {
    /// A claimed job has lost the trace it belongs to.
    DropsTheTrace:
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let mut claimed = self.0.claim(request).await?;
        claimed.iter_mut().for_each(|job| job.trace = None);
        Ok(claimed)
    }
}

broken! {
    /// A snooze costs an attempt.
    ChargesASnooze:
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut settlements = settlements.to_vec();
        for one in &mut settlements {
            if let Outcome::Snooze { delay, .. } = one.outcome {
                let error = ErrorText::new("snoozed");
                one.outcome = Outcome::Retry { delay, error };
            }
        }
        self.0.settle(&settlements).await
    }
}

broken! {
    /// Who waits for a change is not woken.
    SleepsThroughChanges:
    async fn wait_for_change(&self, _: &[JobId], timeout: Duration) -> Result<(), Error> {
        tokio::time::sleep(timeout).await;
        Ok(())
    }
}
