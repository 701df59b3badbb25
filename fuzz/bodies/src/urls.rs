//! URLs and connection strings.

use std::fmt::Debug;

use anyqueue_core::{Error, ErrorKind};
use anyqueue_memory::MemoryConfig;
use anyqueue_postgres::PostgresConfig;
use anyqueue_rabbitmq::RabbitConfig;
use anyqueue_redis::RedisConfig;
use anyqueue_sqlite::SqliteConfig;
use anyqueue_sqlserver::SqlServerConfig;

/// Stands for what must not be shown.
const SECRET: &str = "hunter2";

/// Of a store without passwords: all of its URL may be shown.
fn path<T>(bytes: &[u8], read: fn(&str) -> Result<T, Error>) {
    url(bytes, |text| read(text).map(drop));
}

fn url<T: Debug>(bytes: &[u8], read: impl Fn(&str) -> Result<T, Error>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match read(text) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(SECRET), "{text}: {shown}");
        }
        Ok(config) => {
            if is_password(text) {
                let shown = format!("{config:?}");
                assert!(!shown.contains(SECRET), "{text}: {shown}");
            }
        }
    }
}

/// Whether the secret stands where a password does, and nowhere else: it is a
/// part of no host, path or option.
fn is_password(text: &str) -> bool {
    // As parsers of URLs do: the secret may come together only then.
    let text = text.replace(['\t', '\n', '\r'], "");
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    authority.rsplit_once('@').is_some_and(|(user, host)| {
        user.contains(SECRET) && !host.contains(SECRET) && !after.contains(SECRET)
    })
}

pub(crate) fn memory(bytes: &[u8]) {
    path(bytes, MemoryConfig::from_url);
}

pub(crate) fn sqlite(bytes: &[u8]) {
    path(bytes, SqliteConfig::from_url);
}

pub(crate) fn postgres(bytes: &[u8]) {
    url(bytes, PostgresConfig::from_url);
}

pub(crate) fn redis(bytes: &[u8]) {
    url(bytes, RedisConfig::from_url);
}

pub(crate) fn rabbitmq(bytes: &[u8]) {
    url(bytes, RabbitConfig::from_url);
}

pub(crate) fn sqlserver(bytes: &[u8]) {
    url(bytes, SqlServerConfig::from_url);
}
