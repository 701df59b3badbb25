//! Jobs, outcomes and names that cases are made of.

use std::time::Duration;

use anyqueue_core::{
    DEFAULT_PAYLOAD_LIMIT, ErrorText, JobId, Kind, NewJob, Outcome, Payload, ProgressValues,
    QueueName, RetryPolicy, Schedule, Tag, Token, TraceContext, Unique, UniqueKey, UniquePolicy,
};

/// A lease that does not run out within a case.
pub const LONG: Duration = Duration::from_secs(3_600);
/// A lease that runs out within a case.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
/// A delay that is over within a case.
pub(crate) const SOON: Duration = Duration::from_millis(400);
/// A delay that is not over within a case.
pub(crate) const FAR: Duration = Duration::from_secs(24 * 3_600);

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid queue name")
}

pub(crate) fn kind(name: &str) -> Kind {
    Kind::new(name).expect("a valid kind")
}

pub(crate) fn tag(name: &str) -> Tag {
    Tag::new(name).expect("a valid tag")
}

pub(crate) fn payload(json: impl Into<String>) -> Payload {
    Payload::parse(json, DEFAULT_PAYLOAD_LIMIT).expect("JSON within the limit")
}

/// A plain job: normal priority, due now, many attempts.
pub(crate) fn job(name: &str) -> NewJob {
    let retry = RetryPolicy::attempts(100);
    NewJob {
        retry,
        ..NewJob::new(queue(name), kind("work"), payload(r#"{"n":1}"#))
    }
}

/// Plain jobs, oldest id first.
pub(crate) fn jobs(name: &str, count: usize) -> Vec<NewJob> {
    (0..count).map(|_| job(name)).collect()
}

/// A job due after this delay.
pub(crate) fn delayed(name: &str, delay: Duration) -> NewJob {
    NewJob {
        schedule: Schedule::After(delay),
        ..job(name)
    }
}

/// A job with this many attempts.
pub(crate) fn attempts(name: &str, attempts: u32) -> NewJob {
    NewJob {
        retry: RetryPolicy::fixed(attempts, Duration::ZERO),
        ..job(name)
    }
}

/// A job that holds a key while it is unfinished.
pub(crate) fn unique(name: &str, key: &str) -> NewJob {
    with_key(name, key, UniquePolicy::WhileUnfinished)
}

/// A job that holds a key for a period.
pub(crate) fn unique_for(name: &str, key: &str, period: Duration) -> NewJob {
    with_key(name, key, UniquePolicy::ForPeriod(period))
}

fn with_key(name: &str, key: &str, policy: UniquePolicy) -> NewJob {
    let key = UniqueKey::new(key).expect("a valid key");
    NewJob {
        unique: Some(Unique { key, policy }),
        ..job(name)
    }
}

/// A job with a value in every field.
pub(crate) fn full(name: &str) -> NewJob {
    NewJob {
        kind: kind("export_csv"),
        payload: payload(r#"{"view":"orders","rows":18446744073709551615}"#),
        priority: anyqueue_core::Priority::High,
        retry: RetryPolicy::fixed(7, Duration::from_secs(11)),
        tags: vec![tag("mine"), tag("nightly")],
        trace: TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").ok(),
        ..job(name)
    }
}

pub(crate) fn complete() -> Outcome {
    Outcome::Complete {
        result: payload(r#"{"rows":3}"#),
    }
}

pub(crate) fn retry(delay: Duration) -> Outcome {
    Outcome::Retry {
        delay,
        error: ErrorText::new("try again"),
    }
}

pub(crate) fn fail() -> Outcome {
    Outcome::Fail {
        error: ErrorText::new("no use"),
    }
}

pub(crate) fn snooze(delay: Duration) -> Outcome {
    Outcome::Snooze {
        delay,
        reason: Some(ErrorText::new("not yet")),
    }
}

/// An outcome of each kind; the delays are far.
pub(crate) fn outcomes() -> [Outcome; 5] {
    [
        complete(),
        retry(FAR),
        fail(),
        snooze(FAR),
        Outcome::Release,
    ]
}

pub(crate) fn percent(percent: u8) -> ProgressValues {
    ProgressValues::default().percent(percent)
}

/// A token for a job that no store knows.
pub(crate) fn unknown_token(name: &str) -> Token {
    Token {
        id: JobId::new(&queue(name)),
        counter: 1,
    }
}

/// Names that a careless store would splice, fold or cut. All differ, and all
/// are valid names of at most 128 bytes.
pub(crate) const HOSTILE: [&str; 34] = [
    "'; DROP TABLE jobs; --",
    "\" OR \"1\"=\"1",
    "a'b''c\"d`e",
    "{x}",
    "{}",
    "*?[a-z]",
    "*",
    "%",
    "_",
    "%_%",
    "a%",
    "ab",
    "back\\slash",
    "\\",
    "a:b",
    "a#b",
    "a.b",
    "a/b/../c",
    "a,b",
    "${HOME}",
    "$1",
    "?1",
    "@p1",
    "two words",
    "\u{e9}",
    "e\u{301}",
    "A",
    "a",
    "ß",
    "SS",
    "İ",
    "null",
    // 128 bytes, of which the last characters differ.
    "☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃aa",
    "☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃ab",
];
