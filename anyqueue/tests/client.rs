//! What an application asks of a client, on every store.

mod common;

use std::time::Duration;

use anyqueue::{
    Client, ClientOptions, Durability, ErrorKind, Filter, Job, JobContext, JobError, JobId, NewJob,
    Page, Payload, Preparation, Priority, QueueName, Retried, State, Tag, WaitError, Worker,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Note(String);

impl Job for Note {
    const KIND: &'static str = "note";
    type Output = ();
}

#[derive(Serialize, Deserialize)]
struct Sum(Vec<i64>);

impl Job for Sum {
    const KIND: &'static str = "sum";
    type Output = i64;
}

async fn note(_: Note, _: JobContext) -> Result<(), JobError> {
    Ok(())
}

async fn sum(job: Sum, _: JobContext) -> Result<i64, JobError> {
    Ok(job.0.iter().sum())
}

async fn stored(client: &Client) -> usize {
    client
        .list(&Filter::any(), &Page::first(1_000))
        .await
        .unwrap()
        .jobs
        .len()
}

on_every_store! {
    async fn concurrent_enqueues_each_make_their_own_job(store: &Store) {
        let client = store.client().await;
        let enqueues = (0..200).map(|n| client.enqueue(Note(n.to_string())));
        let handles = futures::future::try_join_all(enqueues).await.unwrap();
        for (n, handle) in handles.iter().enumerate() {
            let payload = handle.record().await.unwrap().payload;
            assert_eq!(payload.as_str(), format!("\"{n}\""));
        }
        assert_eq!(stored(&client).await, 200);
    }

    async fn a_bad_part_is_refused_and_nothing_stored(store: &Store) {
        let client = store.client_with(ClientOptions::default().payload_limit(100)).await;
        let new = || client.job(Note("x".into()));
        let other_queue = JobId::new(&QueueName::new("elsewhere").unwrap());
        let nine_tags = (0..9).fold(new(), |job, n| job.tag(n.to_string()));
        for (job, text) in [
            (client.job(Note("x".repeat(101))), "has 103 bytes, the limit is 100"),
            (new().queue("re\u{1}ports"), "control character U+0001 at byte 2"),
            (new().queue(""), "give at least one character"),
            (new().unique("k".repeat(257)), "use at most 256"),
            (new().tag(" x"), "white space at an end"),
            (new().id(other_queue), "made for another queue"),
            (nine_tags, "9 tags; use at most 8"),
        ] {
            let error = job.enqueue().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        // Of jobs that were made by hand as well.
        let good = new().build().unwrap();
        let mut moved = good.clone();
        moved.queue = QueueName::new("elsewhere").unwrap();
        let mut large = good.clone();
        large.payload = Payload::encode(&"x".repeat(101), 200).unwrap();
        for (job, text) in [
            (moved, "made for another queue"),
            (large, "has 103 bytes, the limit is 100"),
        ] {
            let error = client.enqueue_many(&[good.clone(), job]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(stored(&client).await, 0);
    }

    async fn jobs_of_several_kinds_in_one_call(store: &Store) {
        let client = store.client().await;
        let jobs: Vec<NewJob> = (0..1_500)
            .map(|n| match n % 2 {
                0 => client.job(Note("x".into())).build().unwrap(),
                _ => client.job(Sum(vec![n, 1])).priority(Priority::Low).build().unwrap(),
            })
            .collect();
        let answers = client.enqueue_many(&jobs).await.unwrap();
        assert!(answers.iter().zip(&jobs).all(|(answer, job)| answer.id() == job.id));
        client.enqueue_many(&jobs).await.unwrap();
        let worker = Worker::new(&client).register(note).register(sum).start().unwrap();
        assert_eq!(client.handle::<Sum>(jobs[1_499].id).wait().await.unwrap(), 1_500);
        client.handle::<Note>(jobs[1_498].id).wait().await.unwrap();
        worker.shutdown().await;
        assert_eq!(client.counts().await.unwrap()[0].counts.total(), 1_500);
    }

    async fn a_unique_key_gives_the_handle_of_its_holder(store: &Store) {
        let client = store.client().await;
        let first = client.job(Note("a".into())).unique("nightly").enqueue().await.unwrap();
        let second = client.job(Note("b".into())).unique("nightly").enqueue().await.unwrap();
        assert!(!first.is_existing() && second.is_existing());
        assert_eq!(first.id(), second.id());
        first.cancel().await.unwrap();
        let key = || client.job(Note("c".into())).unique_for("nightly", Duration::from_secs(3_600));
        let third = key().enqueue().await.unwrap();
        assert!(!third.is_existing());
        third.cancel().await.unwrap();
        assert!(key().enqueue().await.unwrap().is_existing());
        assert_eq!(first.retry().await.unwrap(), Retried::Existing(third.id()));
    }

    async fn a_wait_tells_how_it_ended(store: &Store) {
        let client = store.client().await;
        let cancelled = client.enqueue(Note("x".into())).await.unwrap();
        cancelled.cancel().await.unwrap();
        assert!(matches!(cancelled.wait().await, Err(WaitError::Cancelled(_))));
        let unknown = client.handle::<Note>(JobId::new(&QueueName::default()));
        assert!(matches!(unknown.wait().await, Err(WaitError::NotFound(_))));
        assert_eq!(unknown.record().await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(cancelled.retry().await.unwrap(), Retried::Ready);
        Worker::new(&client).register(note).drain().await.unwrap();
        cancelled.wait().await.unwrap();
    }

    async fn my_jobs_are_listed_by_tag(store: &Store) {
        let client = store.client().await;
        let mine = client.job(Note("x".into())).tag("user-7").enqueue().await.unwrap();
        client.job(Note("y".into())).tag("user-70").enqueue().await.unwrap();
        let filter = Filter::any().tag(Tag::new("user-7").unwrap()).state(State::Ready);
        let found = client.list(&filter, &Page::default()).await.unwrap();
        assert_eq!(found.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [mine.id()]);
    }

    async fn delayed_jobs_wait_for_their_time(store: &Store) {
        let client = store.client().await;
        let delayed = |delay| client.job(Note("x".into())).delay(delay).enqueue();
        let soon = delayed(Duration::from_millis(100)).await.unwrap();
        let later = delayed(Duration::from_secs(3_600)).await.unwrap();
        let worker = Worker::new(&client).register(note).start().unwrap();
        soon.wait().await.unwrap();
        let record = soon.record().await.unwrap();
        assert!(record.claimed_at.unwrap() >= record.due_at);
        assert_eq!(later.record().await.unwrap().state, State::Scheduled);
        worker.shutdown().await;
    }

    async fn a_second_client_need_not_prepare(store: &Store) {
        store.client().await.enqueue(Note("x".into())).await.unwrap();
        let options = ClientOptions::default().preparation(Preparation::Skip);
        assert_eq!(stored(&store.client_with(options).await).await, 1);
    }
}

#[tokio::test]
async fn required_durability_is_checked_at_the_start() {
    let options = ClientOptions::default().require_durability(Durability::Host);
    let error = Client::connect_with("memory:", options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooWeak);
    assert!(
        error.to_string().contains("durability host is required"),
        "{error}"
    );
    let store = common::Store::new("sqlite");
    let options = ClientOptions::default().require_durability(Durability::Host);
    store.client_with(options.clone()).await;
    // It is not known of a store that is not prepared.
    let unprepared = options.preparation(Preparation::Skip);
    let error = Client::connect_with(&store.url, unprepared)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn a_url_that_names_no_store_is_refused_without_repeating_it() {
    for url in [
        "",
        "jobs.db",
        "mysql://u:secret@h/d",
        "sqlite",
        "memory:a/b?secret",
    ] {
        let error = Client::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("give") && !text.contains("secret"),
            "{url}: {text}"
        );
    }
}
