//! Enqueues of more jobs than one statement takes: loaded in bulk, and otherwise
//! no different. What small calls make of the same jobs is what they are compared
//! with.

use std::time::Duration;

use anyqueue_conformance_tests::faults::Way;
use anyqueue_core::{
    Backend as _, Enqueued, ErrorKind, JobRecord, NewJob, Payload, Priority, RetryPolicy, Schedule,
    State, Tag, Timestamp, TraceContext, Unique, UniqueKey, UniquePolicy,
};
use anyqueue_sqlserver::SqlServerBackend;

use crate::common::{
    HANG, Place, claim, complete, count, counts, created, dropped_after, jobs, tests,
};

tests! {
    every_size_is_stored_as_small_ones_are
    keys_and_ids_are_answered_as_in_small_calls
    payloads_of_any_length_come_back_whole
    a_load_that_is_dropped_leaves_nothing_behind
    a_load_that_is_cut_is_unknown_and_a_repetition_makes_no_second_job
}

/// What one statement surely takes.
const SMALL: usize = 400;

fn payload(text: &str) -> Payload {
    Payload::parse(text, 2 << 20).unwrap()
}

fn unique(name: &str, policy: UniquePolicy) -> Option<Unique> {
    let key = UniqueKey::new(name).unwrap();
    Some(Unique { key, policy })
}

/// Jobs that differ in all that a job can have.
fn different(size: usize) -> Vec<NewJob> {
    let mut new = jobs(size);
    for (nth, job) in new.iter_mut().enumerate() {
        job.priority = Priority::from_u8(u8::try_from(nth % 4).unwrap()).unwrap();
        job.payload = match nth % 5 {
            0 => payload("null"),
            1 => payload(r#"{"a":[9223372036854775807,-1.5e300,"\u0000","']; DROP TABLE x --"]}"#),
            2 => payload(&format!("\"{}\"", "😀☃é".repeat(nth % 3_000))),
            _ => job.payload.clone(),
        };
        job.schedule = match nth % 7 {
            0 => Schedule::After(Duration::from_secs(3_600)),
            1 => Schedule::At(Timestamp::from_micros(4_102_444_800_000_000 + nth as i64)),
            2 => Schedule::At(Timestamp::from_micros(0)),
            _ => Schedule::Now,
        };
        if nth % 3 == 0 {
            job.retry = RetryPolicy::never();
            job.trace = Some(TraceContext::new(format!("00-{nth:032x}-{nth:016x}-01")).unwrap());
            job.tags = ["my exports", "ÿ☃", "'"]
                .map(|tag| Tag::new(tag).unwrap())
                .into();
            // One that is named twice counts once.
            job.tags.push(job.tags[0].clone());
        }
        job.unique = match nth % 11 {
            0 => unique(&format!("ключ {nth}"), UniquePolicy::WhileUnfinished),
            1 => unique(&format!("period {nth}"), UniquePolicy::ForPeriod(HANG)),
            _ => None,
        };
    }
    new
}

async fn by_small_calls(backend: &SqlServerBackend, new: &[NewJob]) -> Vec<Enqueued> {
    let mut answers = Vec::new();
    for part in new.chunks(SMALL) {
        answers.extend(backend.enqueue(part).await.unwrap());
    }
    answers
}

/// The jobs as they are stored, without the times at which they came and ended.
async fn stored(backend: &SqlServerBackend, new: &[NewJob]) -> Vec<Option<JobRecord>> {
    let mut records = Vec::new();
    for part in new.chunks(SMALL) {
        let ids: Vec<_> = part.iter().map(|job| job.id).collect();
        records.extend(backend.get(&ids).await.unwrap());
    }
    for (record, job) in records.iter_mut().zip(new) {
        let Some(record) = record else { continue };
        let waits = match job.schedule {
            Schedule::After(delay) => delay.as_micros(),
            Schedule::At(at) if at > record.created_at => {
                assert_eq!(record.due_at, at);
                0
            }
            _ => 0,
        };
        if !matches!(job.schedule, Schedule::At(at) if at > record.created_at) {
            let due = record.due_at.since(record.created_at);
            assert_eq!(due.as_micros(), waits, "due when it was said");
            record.due_at = Timestamp::from_micros(0);
        }
        record.created_at = Timestamp::from_micros(0);
        record.finished_at = record.finished_at.map(|_| Timestamp::from_micros(0));
    }
    records
}

/// Names the first difference alone: there are thousands of records.
#[track_caller]
fn same(one: &[Option<JobRecord>], two: &[Option<JobRecord>]) {
    assert_eq!(one.len(), two.len());
    for (at, (one, two)) in one.iter().zip(two).enumerate() {
        assert_eq!(one, two, "at {at}");
    }
}

async fn every_size_is_stored_as_small_ones_are() {
    for size in [999, 1_000, 1_001, 5_000] {
        let places = [Place::new(), Place::new()];
        let (small, large) = (places[0].store().await, places[1].store().await);
        let new = different(size);
        assert_eq!(by_small_calls(&small, &new).await, created(&new), "{size}");
        assert_eq!(large.enqueue(&new).await.unwrap(), created(&new), "{size}");
        let records = stored(&large, &new).await;
        assert!(records.iter().all(Option::is_some), "{size}");
        same(&records, &stored(&small, &new).await);
        let numbers = counts(&large).await;
        assert_eq!(numbers.total(), size as u64);
        assert_eq!(numbers, counts(&small).await, "{size}");
        // In the order of the call: all of the first line that is due, which one look
        // at the index takes.
        let due = |job: &&NewJob| match job.schedule {
            Schedule::At(at) => at.as_micros() == 0,
            schedule => schedule == Schedule::Now,
        };
        let urgent = new.iter().filter(|job| job.priority == Priority::Urgent);
        let order: Vec<_> = urgent.filter(due).map(|job| job.id).collect();
        for backend in [&small, &large] {
            let claimed = claim(backend, u32::try_from(order.len()).unwrap()).await;
            let ids: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
            assert!(ids == order, "{size}");
            backend.settle(&complete(&claimed)).await.unwrap();
            let done = count(backend, State::Completed).await;
            assert_eq!(done, order.len() as u64, "{size}");
        }
    }
}

async fn keys_and_ids_are_answered_as_in_small_calls() {
    let places = [Place::new(), Place::new()];
    let (small, large) = (places[0].store().await, places[1].store().await);
    let mut all = jobs(2_600);
    for (nth, job) in all.iter_mut().enumerate() {
        job.unique = match nth % 4 {
            0 => unique(&format!("key {}", nth % 90), UniquePolicy::WhileUnfinished),
            1 => unique(
                &format!("key {}", nth % 70),
                UniquePolicy::ForPeriod(HANG * 9),
            ),
            _ => None,
        };
    }
    // Some are there before, one of which has ended and outlived its job's key.
    let (before, new) = all.split_at(300);
    for backend in [&small, &large] {
        by_small_calls(backend, before).await;
        let first: Vec<_> = before[..20].iter().map(|job| job.id).collect();
        backend.cancel(&first).await.unwrap();
    }
    // Ids that come again, near and far, after enough others for a load of their own.
    let mut call = new.to_vec();
    call.extend_from_slice(&before[..30]);
    call.extend_from_slice(&new[..10]);
    call.insert(1_300, new[5].clone());
    for round in 0..2 {
        let expected = by_small_calls(&small, &call).await;
        let answers = large.enqueue(&call).await.unwrap();
        let wrong = answers.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "round {round}");
        let existing = |answer: &&Enqueued| matches!(answer, Enqueued::Existing(_));
        let existing = answers.iter().filter(existing).count();
        assert!((500..call.len()).contains(&existing), "{existing}");
        assert_eq!(counts(&large).await, counts(&small).await, "round {round}");
    }
    same(&stored(&large, &all).await, &stored(&small, &all).await);
}

async fn payloads_of_any_length_come_back_whole() {
    let place = Place::new();
    let backend = place.store().await;
    // Too many bytes for one statement; the longest text that is loaded, and a
    // longer one, among others.
    let mut few = jobs(12);
    for (nth, job) in few.iter_mut().enumerate() {
        let text = ["x", "☃😀", "\\u0000é"][nth % 3];
        job.payload = payload(&format!("\"{}\"", text.repeat((1 << 20) / text.len() - 9)));
    }
    let many = |units: usize| {
        let mut many = jobs(1_001);
        many[700].payload = payload(&format!("\"{}\"", "é".repeat(units - 2)));
        many
    };
    for new in [few, many(32_767), many(32_768)] {
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        let claimed = claim(&backend, 2_000).await;
        let payloads: Vec<_> = claimed.iter().map(|job| &job.payload).collect();
        let expected: Vec<_> = new.iter().map(|job| &job.payload).collect();
        assert!(payloads == expected, "each is what it was, in its place");
    }
}

async fn a_load_that_is_dropped_leaves_nothing_behind() {
    const SIZE: usize = 1_100;
    let place = Place::new();
    let other = place.store().await;
    let mut config = place.config.clone();
    config.pool = 1;
    let backend = SqlServerBackend::open(config);
    let mut total = 0;
    for polls in [1, 2, 3, 4, 5, 6, 8, 11, 15, 22, 40] {
        let new = jobs(SIZE);
        let before = dropped_after(polls, backend.enqueue(&new)).await;
        let seen = counts(&other).await.total();
        let (none, all) = (total, total + SIZE as u64);
        assert!(seen == none || seen == all, "{seen} after {polls} polls");
        assert!(before.is_none() || seen == all, "acknowledged");
        // On the one connection of the pool, twice: no table was left on it.
        for _ in 0..2 {
            let call = tokio::time::timeout(HANG, backend.enqueue(&new));
            let answers = call.await.expect("nothing is locked").unwrap();
            assert_eq!(answers, created(&new), "{polls} polls");
        }
        total = all;
        assert_eq!(counts(&other).await.total(), total);
    }
}

async fn a_load_that_is_cut_is_unknown_and_a_repetition_makes_no_second_job() {
    const SIZE: usize = 1_200;
    let place = Place::new();
    let other = place.store().await;
    let (proxy, mut config) = place.by_proxy().await;
    config.pool = 1;
    let backend = SqlServerBackend::open(config);
    // What one call sends.
    let new = jobs(SIZE);
    backend.enqueue(&new[..1]).await.unwrap();
    let before = proxy.carried().to_server;
    backend.enqueue(&new).await.unwrap();
    let bytes = proxy.carried().to_server - before;
    assert!(bytes > 100_000, "{bytes}");
    let mut total = SIZE as u64;
    // In the first statement, in the midst of the rows, and in the last statement.
    for cut in [9, bytes / 9, bytes / 3, bytes / 2, bytes - 3_000, bytes - 9] {
        let new = jobs(SIZE);
        proxy.cut_after(Way::ToServer, cut);
        let error = backend.enqueue(&new).await.expect_err("it is cut");
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        proxy.pass();
        let none = counts(&other).await.total();
        assert_eq!(none, total, "what did not arrive whole is not there");
        let again = async {
            loop {
                match backend.enqueue(&new).await {
                    Ok(answers) => break answers,
                    Err(error) => assert!(error.kind().is_transient(), "{error}"),
                }
            }
        };
        let answers = tokio::time::timeout(HANG, again).await.expect("it heals");
        assert_eq!(answers, created(&new), "cut after {cut}");
        total += SIZE as u64;
        assert_eq!(counts(&other).await.total(), total);
    }
    // Its answer is lost: it has happened, or will have.
    let new = jobs(SIZE);
    proxy.cut_after(Way::ToClient, 1);
    backend.enqueue(&new).await.expect_err("it is cut");
    proxy.pass();
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    assert_eq!(counts(&other).await.total(), total + SIZE as u64);
}
