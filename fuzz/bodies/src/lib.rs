//! What the fuzz targets do with their bytes: plain functions, so that each
//! target's seeds and random bytes are tried by ordinary tests too.
//!
//! Each body reads everything that its area reads from a store or a URL. It
//! panics where the read text is not kept, where what was read cannot be used,
//! or where a secret is shown; the readers themselves must never panic, hang or
//! allocate far more than their input.

mod core;
mod rabbitmq;
mod redis;
mod rows;
mod urls;

/// A fuzz target: its name, as cargo-fuzz and the folder of seeds have it, and
/// its body.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// What is done with the bytes.
    pub body: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("names", core::names),
    target("payload", core::payload),
    target("records", core::records),
    target("retry_policy", core::retry_policy),
    target("url_memory", urls::memory),
    target("url_sqlite", urls::sqlite),
    target("url_postgres", urls::postgres),
    target("url_redis", urls::redis),
    target("url_rabbitmq", urls::rabbitmq),
    target("url_sqlserver", urls::sqlserver),
    target("postgres_notification", rows::postgres_notification),
    target("sqlite_rows", rows::sqlite),
    target("redis_records", redis::records),
    target("redis_answers", redis::answers),
    target("rabbitmq_messages", rabbitmq::messages),
    target("rabbitmq_commands", rabbitmq::commands),
    target("rabbitmq_snapshot", rabbitmq::snapshot),
];

const fn target(name: &'static str, body: fn(&[u8])) -> Target {
    Target { name, body }
}

/// Runs the body of this name; for the targets.
///
/// # Panics
/// Where there is none, and where the body finds something.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a known target").body)(bytes);
}

/// The parts of an input: each has its length in front, in two bytes; the last
/// may be cut short.
fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        parts.push(part);
        bytes = rest;
    }
    parts
}
