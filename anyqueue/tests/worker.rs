//! What a worker makes of its handlers' answers, on every store.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyqueue::{
    Backoff, Cancelled, Flow, HandlerOptions, Job, JobContext, JobError, JobId, JobRecord, Kind,
    NewJob, Payload, QueueName, RetryPolicy, RunningWorker, State, WaitError, Worker,
};
use common::{until, until_state};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Double(u64);

impl Job for Double {
    const KIND: &'static str = "double";
    const ALIASES: &'static [&'static str] = &["twice"];
    type Output = u64;
}

async fn double(job: Double, _: JobContext) -> Result<u64, JobError> {
    Ok(job.0 * 2)
}

/// Ends as it is told.
#[derive(Serialize, Deserialize)]
struct Ends(How);

#[derive(Serialize, Deserialize)]
enum How {
    Error,
    Fatal,
    RetryAfter,
    SnoozeOnce,
    Panic,
    PanicAtStart,
    PanicInDrop,
    Hang,
    CancelledUnasked,
    LargeResult,
}

impl Job for Ends {
    const KIND: &'static str = "ends";
    type Output = String;

    fn retry_policy() -> RetryPolicy {
        RetryPolicy::fixed(2, Duration::ZERO)
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

fn ends(
    job: Ends,
    ctx: JobContext<AtomicUsize>,
) -> impl Future<Output = Result<String, JobError>> + Send {
    if matches!(job.0, How::PanicAtStart) {
        panic!("at the start of {}", ctx.id());
    }
    async move {
        let run = ctx.state().fetch_add(1, Ordering::SeqCst);
        match job.0 {
            How::Error => Ok("x".parse::<u8>()?.to_string()),
            How::Fatal => Err(JobError::fatal("no such view")),
            How::RetryAfter => Err(JobError::retry_after(Duration::from_secs(3_600), "later")),
            How::SnoozeOnce if run == 0 => Err(JobError::snooze(Duration::ZERO, "not yet")),
            How::SnoozeOnce => Ok("awake".to_owned()),
            How::Panic => panic!("in attempt {}", ctx.attempt()),
            How::Hang => std::future::pending().await,
            How::PanicInDrop => {
                let _bomb = Bomb;
                std::future::pending().await
            }
            How::CancelledUnasked => Err(JobError::cancelled()),
            How::LargeResult => Ok("x".repeat(2_000_000)),
            How::PanicAtStart => unreachable!("above"),
        }
    }
}

async fn ended(store: &common::Store, how: How) -> JobRecord {
    let client = store.client().await;
    let limit = HandlerOptions::new().time_limit(Duration::from_millis(50));
    let worker = Worker::new(&client)
        .state(AtomicUsize::new(0))
        .register_with(ends, limit)
        .start()
        .unwrap();
    let handle = client.enqueue(Ends(how)).await.unwrap();
    let settled = |job: &JobRecord| {
        job.state.is_finished() || (job.state == State::Scheduled && job.attempt > 0)
    };
    let record = until(&handle, "settled", settled).await;
    worker.shutdown().await;
    record
}

fn errors(record: &JobRecord) -> Vec<(u32, &str)> {
    record
        .errors
        .iter()
        .map(|error| (error.attempt, error.message.as_str()))
        .collect()
}

on_every_store! {
    async fn results_are_typed_and_readable_from_any_client(store: &Store) {
        let client = store.client().await;
        let worker = Worker::new(&client).register(double).start().unwrap();
        let id = client.enqueue(Double(21)).await.unwrap().id();
        let other = store.client().await;
        assert_eq!(other.handle::<Double>(id).wait().await.unwrap(), 42);
        worker.shutdown().await;
    }

    async fn a_failure_is_retried_until_the_attempts_are_spent(store: &Store) {
        let record = ended(store, How::Error).await;
        assert_eq!(record.state, State::Failed);
        let text = "invalid digit found in string";
        assert_eq!(errors(&record), [(1, text), (2, text)]);
        let handle = store.client().await.handle::<Ends>(record.id);
        let error = handle.wait().await.unwrap_err();
        assert!(matches!(&error, WaitError::Failed(job) if job.id == record.id));
        assert!(error.to_string().ends_with(&format!("failed after 2 attempts: {text}")));
    }

    async fn a_fatal_failure_is_final(store: &Store) {
        let record = ended(store, How::Fatal).await;
        assert_eq!((record.state, errors(&record)), (State::Failed, vec![(1, "no such view")]));
    }

    async fn a_handler_can_choose_the_wait(store: &Store) {
        let record = ended(store, How::RetryAfter).await;
        assert_eq!((record.state, errors(&record)), (State::Scheduled, vec![(1, "later")]));
        let wait = record.due_at.since(record.claimed_at.unwrap());
        assert!(wait >= Duration::from_secs(3_600), "{wait:?}");
    }

    async fn a_snooze_is_not_charged(store: &Store) {
        let record = ended(store, How::SnoozeOnce).await;
        assert_eq!((record.state, record.attempt, record.counter), (State::Completed, 1, 2));
        assert_eq!(errors(&record), []);
    }

    async fn a_panic_is_a_failure(store: &Store) {
        let record = ended(store, How::Panic).await;
        assert_eq!(record.state, State::Failed);
        assert_eq!(errors(&record), [(1, "panicked: in attempt 1"), (2, "panicked: in attempt 2")]);
    }

    async fn a_panic_before_the_future_is_a_failure(store: &Store) {
        let record = ended(store, How::PanicAtStart).await;
        let text = format!("panicked: at the start of {}", record.id);
        assert_eq!(errors(&record), [(1, text.as_str()), (2, text.as_str())]);
    }

    async fn a_panic_in_a_handler_s_drop_is_a_failure(store: &Store) {
        let record = ended(store, How::PanicInDrop).await;
        let text = "panicked while it was dropped: a bomb";
        assert_eq!((record.state, errors(&record)), (State::Failed, vec![(1, text), (2, text)]));
    }

    async fn a_handler_over_its_time_limit_is_dropped(store: &Store) {
        let record = ended(store, How::Hang).await;
        let text = "timed out after 50ms";
        assert_eq!((record.state, errors(&record)), (State::Failed, vec![(1, text), (2, text)]));
    }

    async fn cancelled_without_a_request_is_a_failure(store: &Store) {
        assert_eq!(ended(store, How::CancelledUnasked).await.state, State::Failed);
    }

    async fn a_result_over_the_limit_fails_the_job_and_says_so(store: &Store) {
        let record = ended(store, How::LargeResult).await;
        assert_eq!((record.state, record.attempt), (State::Failed, 1));
        let text = record.errors[0].message.as_str();
        assert!(text.contains("the result") && text.contains("limit is 1048576"), "{text}");
    }

    async fn an_alias_is_run_by_the_same_handler(store: &Store) {
        let client = store.client().await;
        let payload = Payload::encode(&4, 100).unwrap();
        let job = NewJob::new(QueueName::default(), Kind::new("twice").unwrap(), payload);
        client.enqueue_many(std::slice::from_ref(&job)).await.unwrap();
        let drained = Worker::new(&client).register(double).drain().await.unwrap();
        assert_eq!(drained.completed, 1);
        assert_eq!(client.handle::<Double>(job.id).wait().await.unwrap(), 8);
    }

    async fn what_does_not_decode_fails_and_what_is_unknown_waits(store: &Store) {
        let client = store.client().await;
        let job = |kind: &str, json: &str| {
            let payload = Payload::parse(json, 100).unwrap();
            NewJob::new(QueueName::default(), Kind::new(kind).unwrap(), payload)
        };
        let jobs = [job("double", r#"{"a":"b"}"#), job("nobody_knows", "1"), job("double", "5")];
        client.enqueue_many(&jobs).await.unwrap();
        let drained = Worker::new(&client).register(double).drain().await.unwrap();
        assert_eq!((drained.failed, drained.put_back, drained.completed), (1, 1, 1));
        let record = async |job: &NewJob| client.get(job.id).await.unwrap().unwrap();
        let broken = record(&jobs[0]).await;
        let text = broken.errors[0].message.as_str();
        assert!(text.contains("does not decode") && !text.contains('b'.to_string().repeat(2).as_str()));
        let unknown = record(&jobs[1]).await;
        assert_eq!((unknown.state, unknown.attempt), (State::Scheduled, 0));
        assert!(unknown.snooze_reason.unwrap().as_str().contains("\"nobody_knows\""));
        let wait = unknown.due_at.since(unknown.claimed_at.unwrap());
        assert!(wait >= Duration::from_secs(5) && wait < Duration::from_secs(60), "{wait:?}");
    }

    async fn a_stored_custom_backoff_and_one_in_code(store: &Store) {
        async fn fails(_: Double, _: JobContext) -> Result<u64, JobError> {
            Err(JobError::new("no"))
        }
        let client = store.client().await;
        let delays = vec![Duration::from_secs(100)];
        let policy = RetryPolicy::new(3, Backoff::Custom { delays });
        let enqueue = || client.job(Double(1)).retry(policy.clone()).enqueue();
        let waited = async |options| {
            let handle = enqueue().await.unwrap();
            let worker = Worker::new(&client).register_with(fails, options);
            assert_eq!(worker.drain().await.unwrap().retried, 1);
            let record = handle.record().await.unwrap();
            record.due_at.since(record.claimed_at.unwrap()).as_secs()
        };
        assert_eq!(waited(HandlerOptions::new()).await, 100);
        let code = HandlerOptions::new().backoff(|attempt| Duration::from_secs(500 * u64::from(attempt)));
        assert_eq!(waited(code).await, 500);
        let none = HandlerOptions::new().backoff(|attempt| panic!("none after {attempt}"));
        assert_eq!(waited(none).await, 100);
    }
}

/// Reports progress, and goes on when told.
#[derive(Serialize, Deserialize)]
struct Steps;

impl Job for Steps {
    const KIND: &'static str = "steps";
    const QUEUE: &'static str = "stepping";
    type Output = ();
}

type Gate = tokio::sync::Semaphore;

async fn steps(_: Steps, ctx: JobContext<Gate>) -> Result<(), JobError> {
    for step in 1..=3 {
        ctx.progress(30 * step as u8)
            .step(step)
            .message(format!("step {step}"))
            .await?;
        tokio::select! {
            permit = ctx.state().acquire() => permit.unwrap().forget(),
            () = ctx.cancelled() => {}
        }
    }
    // The last report is made just before the end.
    ctx.progress(100).await
}

fn stepping(client: &anyqueue::Client) -> (Arc<Gate>, RunningWorker) {
    let gate = Arc::new(Gate::new(0));
    let worker = Worker::new(client)
        .shared_state(Arc::clone(&gate))
        .register(steps);
    (
        gate,
        worker.lease(Duration::from_millis(600)).start().unwrap(),
    )
}

on_every_store! {
    async fn progress_is_seen_step_by_step_and_its_end_before_the_settle(store: &Store) {
        let client = store.client().await;
        let (gate, worker) = stepping(&client);
        let handle = client.enqueue(Steps).await.unwrap();
        let mut seen = Vec::new();
        let mut changes = store.client().await.watch(handle.id());
        while let Some(job) = changes.next().await {
            let job = job.unwrap();
            let values = job.progress.values;
            if values.step != seen.last().copied().flatten() {
                assert_eq!(values.message, values.step.map(|n| format!("step {n}")));
                seen.push(values.step);
                gate.add_permits(1);
            }
            if job.state == State::Completed {
                assert_eq!(values.percent, Some(100));
            }
        }
        assert_eq!(seen, [Some(1), Some(2), Some(3)]);
        worker.shutdown().await;
    }

    async fn a_running_job_is_cancelled_through_its_handler(store: &Store) {
        let client = store.client().await;
        let (_gate, worker) = stepping(&client);
        let handle = client.enqueue(Steps).await.unwrap();
        until_state(&handle, State::Running).await;
        assert_eq!(handle.cancel().await.unwrap(), Cancelled::Requested);
        let error = handle.wait().await.unwrap_err();
        assert!(matches!(error, WaitError::Cancelled(_)), "{error}");
        worker.shutdown().await;
    }

    async fn a_handler_that_blocks_its_thread_keeps_its_lease(store: &Store) {
        async fn blocks(_: Double, ctx: JobContext) -> Result<u64, JobError> {
            // Both threads of the runtime, for three leases.
            std::thread::sleep(Duration::from_millis(1_800));
            Ok(u64::from(ctx.attempt()))
        }
        let client = store.client().await;
        let worker = Worker::new(&client).register(blocks).lease(Duration::from_millis(600));
        let worker = worker.start().unwrap();
        let handles = [client.enqueue(Double(0)).await.unwrap(), client.enqueue(Double(0)).await.unwrap()];
        for handle in &handles {
            assert_eq!(handle.wait().await.unwrap(), 1);
            assert_eq!(handle.record().await.unwrap().counter, 1);
        }
        worker.shutdown().await;
    }

    async fn a_kind_runs_no_more_often_than_it_may(store: &Store) {
        #[derive(Default)]
        struct Running { now: AtomicUsize, most: AtomicUsize }
        async fn counted(job: Double, ctx: JobContext<Running>) -> Result<u64, JobError> {
            let now = ctx.state().now.fetch_add(1, Ordering::SeqCst) + 1;
            ctx.state().most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            ctx.state().now.fetch_sub(1, Ordering::SeqCst);
            Ok(job.0)
        }
        let client = store.client().await;
        let running = Arc::new(Running::default());
        let worker = Worker::new(&client)
            .shared_state(Arc::clone(&running))
            .register_with(counted, HandlerOptions::new().concurrency(2))
            .concurrency(4)
            .start()
            .unwrap();
        let enqueues = (0..20).map(|n| client.enqueue(Double(n)));
        let handles = futures::future::try_join_all(enqueues).await.unwrap();
        for handle in handles {
            handle.wait().await.unwrap();
            assert_eq!(handle.record().await.unwrap().counter, 1, "claimed for nothing");
        }
        assert_eq!(running.most.load(Ordering::SeqCst), 2);
        worker.shutdown().await;
    }

    async fn of_a_kind_with_a_limit_the_job_that_panics_fails(store: &Store) {
        async fn second_panics(job: Double, _: JobContext) -> Result<u64, JobError> {
            if job.0 == 0 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                return Ok(0);
            }
            let _bomb = Bomb;
            std::future::pending().await
        }
        let client = store.client().await;
        let limit = HandlerOptions::new().concurrency(1).time_limit(Duration::from_secs(1));
        let worker = Worker::new(&client).register_with(second_panics, limit).start().unwrap();
        let once = RetryPolicy::fixed(1, Duration::ZERO);
        let jobs = [0, 1].map(|n| client.job(Double(n)).retry(once.clone()).build().unwrap());
        client.enqueue_many(&jobs).await.unwrap();
        let [first, second] = jobs.map(|job| client.handle::<Double>(job.id));
        assert_eq!(first.wait().await.unwrap(), 0);
        let record = until_state(&second, State::Failed).await;
        assert_eq!(errors(&record), [(1, "panicked while it was dropped: a bomb")]);
        worker.shutdown().await;
    }

    async fn no_queue_starves_behind_a_full_one(store: &Store) {
        async fn slow(job: Double, _: JobContext) -> Result<u64, JobError> {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(job.0)
        }
        let client = store.client().await;
        let full: Vec<NewJob> =
            (0..400).map(|n| client.job(Double(n)).queue("a-full").build().unwrap()).collect();
        client.enqueue_many(&full).await.unwrap();
        let lone = client.job(Double(1)).queue("b-lone").enqueue().await.unwrap();
        let worker = Worker::new(&client).register(slow).queue("a-full").queue("b-lone");
        let worker = worker.concurrency(1).start().unwrap();
        lone.wait().await.unwrap();
        let counts = client.counts().await.unwrap();
        let full = counts.iter().find(|c| c.queue.as_str() == "a-full").unwrap();
        assert!(full.counts.get(State::Completed) < 400, "the full queue came first");
        worker.shutdown().await;
    }

    async fn a_paused_queue_rests_until_it_is_opened(store: &Store) {
        let client = store.client().await;
        client.pause("default").await.unwrap();
        let handle = client.enqueue(Double(1)).await.unwrap();
        let other = client.job(Double(2)).queue("other").enqueue().await.unwrap();
        let worker = Worker::new(&client).register(double).queue("default").queue("other");
        let worker = worker.start().unwrap();
        other.wait().await.unwrap();
        assert_eq!(handle.record().await.unwrap().state, State::Ready);
        assert_eq!(client.queues().await.unwrap()[0].flow, Flow::Paused);
        client.resume("default").await.unwrap();
        assert_eq!(handle.wait().await.unwrap(), 2);
        worker.shutdown().await;
    }

    async fn shutdown_lets_handlers_finish_and_releases_the_rest(store: &Store) {
        let client = store.client().await;
        let gate = Arc::new(Gate::new(0));
        let worker = Worker::new(&client).shared_state(Arc::clone(&gate)).register(steps);
        let worker = worker.concurrency(1).start().unwrap();
        let runs = client.enqueue(Steps).await.unwrap();
        until_state(&runs, State::Running).await;
        let waits = client.enqueue(Steps).await.unwrap();
        let shutdown = tokio::spawn(worker.shutdown());
        gate.add_permits(3);
        shutdown.await.unwrap();
        assert_eq!(runs.record().await.unwrap().state, State::Completed);
        let record = waits.record().await.unwrap();
        assert_eq!((record.state, record.attempt), (State::Ready, 0));
    }

    async fn what_outlives_the_grace_is_released_uncharged(store: &Store) {
        let client = store.client().await;
        let gate = Arc::new(Gate::new(0));
        let worker = Worker::new(&client).shared_state(gate).register(steps).grace(Duration::ZERO);
        let worker = worker.start().unwrap();
        let handle = client.enqueue(Steps).await.unwrap();
        until(&handle, "at its first step", |job| job.progress.sequence > 0).await;
        worker.shutdown().await;
        let record = handle.record().await.unwrap();
        assert_eq!((record.state, record.attempt, record.counter), (State::Ready, 0, 1));
    }
}

#[tokio::test]
async fn a_worker_that_was_told_wrongly_does_not_start() {
    async fn needs_text(job: Double, _: JobContext<String>) -> Result<u64, JobError> {
        Ok(job.0)
    }
    let store = common::Store::new("memory");
    let client = store.client().await;
    let text = |worker: Worker| worker.start().unwrap_err().to_string();
    let new = || Worker::new(&client);
    assert!(text(new()).contains("no handler; register one"));
    assert!(text(new().register(needs_text)).contains("`.state(…)`"));
    assert!(text(new().register(double).register(double)).contains("two handlers"));
    assert!(text(new().register(double).queue("a\nb")).contains("control character"));
    assert!(text(new().register(double).lease(Duration::ZERO)).contains("100 ms"));
    assert_eq!(
        JobId::new(&QueueName::default()).queue_hash(),
        QueueName::default().hash14()
    );
}
