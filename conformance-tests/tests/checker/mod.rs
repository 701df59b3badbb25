//! The broken backends of this program, judged by the histories of a small
//! run on each.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_conformance_tests::faults::history::{History, Log};
use anyqueue_conformance_tests::faults::{Law, Verdict, check, recording};
use anyqueue_conformance_tests::wrap;
use anyqueue_core::{
    Backend, ClaimRequest, ClaimedJob, JobId, Kind, MaintainLimits, NewJob, Outcome, Payload,
    ProgressUpdate, ProgressValues, QueueName, Schedule, Settlement, State, Token, Unique,
    UniqueKey, UniquePolicy, WorkerId,
};
use anyqueue_memory::MemoryBackend;

use super::*;

/// A test for each broken backend: the checker must find this law broken.
macro_rules! caught {
    ($($test:ident: $broken:ident by $law:ident;)+) => {$(
        #[test]
        fn $test() {
            let verdict = judge(|memory| wrap($broken(memory)));
            let found = verdict.count(Law::$law);
            println!("{}: {}", stringify!($broken), verdict.report());
            assert!(found > 0, "not caught: {}", verdict.report());
        }
    )+};
}

caught! {
    gives_held_jobs: GivesHeldJobs by OverlappingLeases;
    repeats_the_counter: RepeatsTheCounter by Counter;
    settles_with_any_counter: SettlesWithAnyCounter by StaleWrite;
    holds_what_is_lost: HoldsWhatIsLost by StaleWrite;
    forgets_delayed_jobs: ForgetsDelayedJobs by Lost;
    drops_the_last_of_a_batch: DropsTheLastOfABatch by Lost;
    enqueues_a_repetition: EnqueuesARepetition by Phantom;
    ignores_unique_keys: IgnoresUniqueKeys by UniqueBreach;
    cancels_in_words_only: CancelsInWordsOnly by UnexplainedStart;
    purges_too_early: PurgesTooEarly by Lost;
}

#[test]
fn the_histories_of_a_whole_backend_break_no_law() {
    let verdict = judge(|memory| wrap(Unbroken(memory)));
    assert!(verdict.breaches.is_empty(), "{}", verdict.report());
    assert_eq!((verdict.acknowledged, verdict.finished), (7, 7));
}

fn judge(broken: fn(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Verdict {
    let memory = MemoryBackend::connect(&format!("memory:{}", JobId::new(&QueueName::default())));
    let backend = broken(memory.expect("memory"));
    let logs = [Log::in_memory(1), Log::in_memory(2)];
    let handle = |at: usize| recording(Arc::clone(&backend), Arc::clone(&logs[at]));
    let (one, other) = (handle(0), handle(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let run = async {
        drive(&*one, &*other).await;
        logs[0].drained();
        let ids: Vec<JobId> = jobs_seen(&*backend).await;
        one.get(&ids).await.expect("memory answers");
    };
    runtime.expect("a runtime").block_on(run);
    let text = logs[0].text() + &logs[1].text();
    check(&History::parse(&text).expect("lines of a history"))
}

/// All that the store knows.
async fn jobs_seen(backend: &dyn Backend) -> Vec<JobId> {
    let listing = backend.list(&Filter::any(), &Page::first(100)).await;
    let jobs = listing.expect("memory answers").jobs;
    jobs.iter().map(|job| job.id).collect()
}

fn new() -> NewJob {
    let kind = Kind::new("kind").expect("a name");
    NewJob::new(
        QueueName::default(),
        kind,
        Payload::parse("1", 9).expect("JSON"),
    )
}

async fn claim(backend: &dyn Backend, limit: u32) -> Vec<ClaimedJob> {
    let request = ClaimRequest {
        queues: vec![QueueName::default()],
        limit,
        lease: Duration::from_secs(60),
        worker: WorkerId::random(),
    };
    backend.claim(&request).await.expect("memory answers")
}

async fn settle(backend: &dyn Backend, token: Token, outcome: Outcome) {
    let answers = backend.settle(&[Settlement { token, outcome }]).await;
    answers.expect("memory answers");
}

fn complete() -> Outcome {
    let result = Payload::parse("{}", 9).expect("JSON");
    Outcome::Complete { result }
}

/// Two processes on one store, and everything a worker and its client do.
async fn drive(one: &dyn Backend, other: &dyn Backend) {
    let plain = [new(), new(), new()];
    one.enqueue(&plain).await.expect("memory answers");
    // As after a lost answer.
    one.enqueue(&plain[..1]).await.expect("memory answers");
    let keyed = |_: usize| {
        let mut job = new();
        job.unique = Some(Unique {
            key: UniqueKey::new("k").expect("a key"),
            policy: UniquePolicy::WhileUnfinished,
        });
        job
    };
    for job in [0, 1].map(keyed) {
        other.enqueue(&[job]).await.expect("memory answers");
    }
    let mut soon = new();
    soon.schedule = Schedule::After(Duration::from_millis(1));
    one.enqueue(&[soon.clone()]).await.expect("memory answers");
    let waiting = new();
    one.enqueue(std::slice::from_ref(&waiting))
        .await
        .expect("memory answers");
    one.cancel(&[waiting.id]).await.expect("memory answers");
    let last = new();
    other
        .enqueue(std::slice::from_ref(&last))
        .await
        .expect("memory answers");

    // One takes a job and gives it back, the other takes it; the first goes on.
    let given = claim(one, 1).await;
    let old = given[0].token;
    settle(one, old, Outcome::Release).await;
    let mut taken = claim(other, 100).await;
    // Nothing is left for the first.
    claim(one, 1).await;
    one.heartbeat(&[old], Duration::from_secs(60))
        .await
        .expect("memory answers");
    let values = ProgressValues::default().percent(5);
    let update = ProgressUpdate { token: old, values };
    one.progress(&[update]).await.expect("memory answers");
    settle(one, old, complete()).await;

    loop {
        for job in &taken {
            settle(other, job.token, complete()).await;
            settle(other, job.token, complete()).await;
        }
        let counts = other.counts().await.expect("memory answers");
        let waits = counts
            .iter()
            .map(|queue| queue.counts.get(State::Scheduled) + queue.counts.get(State::Ready));
        if waits.sum::<u64>() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        taken = claim(other, 100).await;
    }
    one.maintain(&MaintainLimits::default())
        .await
        .expect("memory answers");
    let ids: Vec<JobId> = plain.iter().map(|job| job.id).collect();
    one.get(&ids).await.expect("memory answers");
}
