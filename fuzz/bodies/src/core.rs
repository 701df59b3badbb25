//! Names, ids, payloads, policies, records: what every store hands to core.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use anyqueue_core::{
    Backoff, ClaimRequest, ClaimedJob, Cursor, ErrorText, Filter, JobId, JobRecord, Kind, Listing,
    MaintainLimits, NewJob, Page, Payload, ProgressUpdate, ProgressValues, QueueName, Retention,
    RetryPolicy, Settlement, State, Tag, Token, TraceContext, UniqueKey, WorkerId,
};
use anyqueue_memory::{Command, Machine};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A text is refused, or kept as it is by every way in and out.
fn kept<T>(text: &str, longest: usize)
where
    T: FromStr + AsRef<str> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let json = serde_json::to_string(text).expect("a text is JSON");
    match text.parse::<T>() {
        Ok(name) => {
            assert_eq!(name.as_ref(), text);
            assert!((1..=longest).contains(&text.len()));
            assert!(!text.chars().any(char::is_control) && text.trim() == text);
            assert_eq!(serde_json::to_string(&name).expect("a name is JSON"), json);
            assert_eq!(
                serde_json::from_str::<T>(&json).expect("JSON of a name"),
                name
            );
        }
        Err(_) => assert!(serde_json::from_str::<T>(&json).is_err()),
    }
}

pub(crate) fn names(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    kept::<QueueName>(text, QueueName::MAX_LEN);
    kept::<Kind>(text, Kind::MAX_LEN);
    kept::<UniqueKey>(text, UniqueKey::MAX_LEN);
    kept::<Tag>(text, Tag::MAX_LEN);
    kept::<WorkerId>(text, WorkerId::MAX_LEN);
    kept::<TraceContext>(text, TraceContext::MAX_LEN);
    if let Ok(name) = QueueName::new(text) {
        assert_eq!(JobId::new(&name).queue_hash(), name.hash14());
    }
    if let Ok(id) = text.parse::<JobId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(JobId::from_bytes(*id.as_bytes()), id);
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    if let Ok(state) = text.parse::<State>() {
        assert_eq!(state.as_str(), text);
    }
    let error = ErrorText::new(text);
    assert!(error.as_str().len() <= ErrorText::MAX_LEN && !error.as_str().contains('\0'));
    let message = ProgressValues::default().message(text).message;
    assert!(message.is_some_and(|text| text.len() <= ProgressValues::MAX_MESSAGE_LEN));
}

/// The first two bytes are the limit.
pub(crate) fn payload(bytes: &[u8]) {
    let (limit, text) = bytes.split_at(bytes.len().min(2));
    let limit = limit
        .iter()
        .fold(0, |limit, byte| limit << 8 | usize::from(*byte));
    let text = &*String::from_utf8_lossy(text);
    match Payload::parse(text, limit) {
        Ok(payload) => {
            assert_eq!(payload.as_str(), text);
            assert!(text.len() <= limit);
            // What nests too deeply to be decoded is an error of the job.
            let _ = payload.decode::<serde_json::Value>();
        }
        Err(error) => assert!(!error.to_string().contains("hunter2")),
    }
    let stored = Payload::from_stored(text);
    if let Err(error) = stored.decode::<Vec<Option<u32>>>() {
        assert!(!error.to_string().contains("hunter2"));
    }
}

pub(crate) fn retry_policy(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let stored = Backoff::from_stored(Some(text)).ok();
    let policy = serde_json::from_str::<RetryPolicy>(text).ok();
    for backoff in stored
        .into_iter()
        .chain(policy.map(|policy| policy.backoff))
    {
        for attempt in [0, 1, 2, 31, 32, 33, 64, u32::MAX] {
            let _ = backoff.delay_after(attempt);
        }
        let again = Backoff::from_stored(backoff.to_stored().as_deref());
        assert_eq!(again.expect("what was stored"), backoff);
    }
}

/// What is read is read again the same.
fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let text = serde_json::to_string(&value).expect("what was JSON is JSON");
        assert_eq!(serde_json::from_str::<T>(&text).expect("its JSON"), value);
    }
}

pub(crate) fn records(bytes: &[u8]) {
    stable::<NewJob>(bytes);
    stable::<ClaimRequest>(bytes);
    stable::<ClaimedJob>(bytes);
    stable::<Token>(bytes);
    stable::<Settlement>(bytes);
    stable::<ProgressUpdate>(bytes);
    stable::<JobRecord>(bytes);
    stable::<Filter>(bytes);
    stable::<Page>(bytes);
    stable::<Listing>(bytes);
    if let Ok(machine) = serde_json::from_slice::<Machine>(bytes) {
        let text = serde_json::to_string(&machine).expect("a machine is JSON");
        let again: Machine = serde_json::from_str(&text).expect("its JSON");
        assert_eq!(machine.counts(), again.counts());
        used(again);
    }
}

/// Does with a machine what clients may do with any store.
fn used(mut machine: Machine) {
    let kind = Kind::new("kind").expect("a valid name");
    let job = NewJob::new(QueueName::default(), kind, Payload::from_stored("1"));
    let claim = ClaimRequest {
        queues: machine
            .queues()
            .into_iter()
            .map(|queue| queue.name)
            .collect(),
        limit: 3,
        lease: Duration::from_secs(1),
        worker: WorkerId::new("worker").expect("a valid name"),
    };
    let now = machine.now().after(Duration::from_secs(1));
    let listing = machine.list(&Filter::any(), &Page::first(20));
    let ids: Vec<JobId> = listing.jobs.iter().map(|job| job.id).collect();
    let tokens = listing.jobs.iter().map(|job| Token {
        id: job.id,
        counter: job.counter,
    });
    let updates = tokens.map(|token| ProgressUpdate {
        token,
        values: ProgressValues::default().percent(5),
    });
    machine.apply(Command::Progress(updates.collect()), now);
    machine.apply(Command::Enqueue(vec![job]), now);
    machine.apply(Command::Maintain(MaintainLimits::default()), now);
    for _ in 0..=ids.len() {
        machine.apply(Command::Claim(claim.clone()), now);
    }
    machine.apply(Command::Cancel(ids.clone()), now);
    machine.apply(Command::Retry(ids), now);
    let limits = MaintainLimits {
        jobs: 1_000,
        retention: Retention::all(Duration::ZERO),
    };
    machine.apply(Command::Maintain(limits), now);
}
