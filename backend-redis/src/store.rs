//! [`Store`]: what the handles' methods share: connections, shards, settings.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyqueue_core::{Durability, ErrorKind, JobId, QueueName};
use futures::{StreamExt, TryStreamExt, stream};
use redis::Value;

use crate::config::{RedisConfig, Topology};
use crate::connection::{Connections, bytes, list};
use crate::error::Failure;
use crate::script::Script;
use crate::wire::utf8;

/// How many shards a call for all of them asks at once.
const AT_ONCE: usize = 32;

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connections: Connections,
    /// This process's handle among all: 32 digits, in the names of inboxes.
    pub(crate) instance: String,
    durability: AtomicU8,
    /// On a Cluster: the shards that this handle's calls were for.
    used: Mutex<BTreeSet<Shard>>,
}

/// The keys of the queues whose names have the same hash: one hash tag, so
/// that one node of a Cluster has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shard(pub(crate) u16);

impl Shard {
    pub(crate) fn of_queue(queue: &QueueName) -> Self {
        Self(queue.hash14())
    }

    pub(crate) fn of_job(id: JobId) -> Self {
        Self(id.queue_hash())
    }
}

impl Store {
    pub(crate) fn new(config: RedisConfig) -> Arc<Self> {
        Arc::new(Self {
            connections: Connections::new(config),
            instance: uuid::Uuid::now_v7().simple().to_string(),
            durability: AtomicU8::new(0),
            used: Mutex::default(),
        })
    }

    fn prefix(&self) -> &str {
        &self.connections.config.prefix
    }

    /// A shard's key.
    pub(crate) fn key(&self, shard: Shard, last: &str) -> String {
        format!("{}{{{}}}:{last}", self.prefix(), shard.0)
    }

    /// The channel that changes are published on.
    pub(crate) fn channel(&self) -> String {
        format!("{}changes", self.prefix())
    }

    /// The key of what the store is: its version.
    pub(crate) fn version_key(&self) -> String {
        format!("{}version", self.prefix())
    }

    fn shards_key(&self) -> String {
        format!("{}shards", self.prefix())
    }

    /// The inbox of this process for a queue: name and key.
    pub(crate) fn inbox(&self, queue: &QueueName) -> (String, String) {
        let name = format!("{}{queue}", self.instance);
        let key = self.key(Shard::of_queue(queue), &format!("i:{name}"));
        (name, key)
    }

    /// Calls a script on a shard.
    pub(crate) async fn run(
        &self,
        shard: Shard,
        script: &Script,
        arguments: &[&[u8]],
    ) -> Result<Value, Failure> {
        self.run_with(shard, None, script, arguments).await
    }

    /// The same, with a key beside the shard's `m`.
    pub(crate) async fn run_with(
        &self,
        shard: Shard,
        key: Option<String>,
        script: &Script,
        arguments: &[&[u8]],
    ) -> Result<Value, Failure> {
        if self.in_cluster() {
            self.used().insert(shard);
        }
        let keys = self.named(shard, key);
        self.connections.script(script, &keys, arguments).await
    }

    /// The keys that a script on a shard names: its `m`, the one given, and on a
    /// Cluster one that is never there. While a slot moves, a node has some of its
    /// keys and not others, and a script that touches one of those ends midway, its
    /// writes kept. So that none begins: where a key that is named is missing, the
    /// node says TRYAGAIN, or sends the call to the other node, which says it.
    pub(crate) fn named(&self, shard: Shard, key: Option<String>) -> Vec<String> {
        let never = self.in_cluster().then(|| self.key(shard, "-"));
        let first = self.key(shard, "m");
        std::iter::once(first).chain(key).chain(never).collect()
    }

    fn in_cluster(&self) -> bool {
        self.connections.config.topology == Topology::Cluster
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<Shard>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a script on a shard that must be known before it holds anything:
    /// makes it known where the script answers that it is not.
    pub(crate) async fn run_registered(
        &self,
        shard: Shard,
        script: &Script,
        arguments: &[&[u8]],
    ) -> Result<Vec<u8>, Failure> {
        let mut all = vec![&b""[..]];
        all.extend(arguments);
        let answer = bytes(self.run(shard, script, &all).await?)?;
        if answer != b"U" {
            return Ok(answer);
        }
        self.register([shard]).await?;
        all[0] = b"registered";
        bytes(self.run(shard, script, &all).await?)
    }

    /// Makes shards, one at least, known to lists, counts and chores.
    pub(crate) async fn register(
        &self,
        shards: impl IntoIterator<Item = Shard>,
    ) -> Result<(), Failure> {
        let numbers: Vec<u16> = shards.into_iter().map(|shard| shard.0).collect();
        let mut add = redis::cmd("SADD");
        add.arg(self.shards_key()).arg(numbers);
        self.connections.command(&add).await?;
        Ok(())
    }

    /// Makes known (again) the shards that this handle's calls were for. The list
    /// of shards is on one node of a Cluster and a shard on another: what one of
    /// them forgets in a fail-over the other does not know.
    pub(crate) async fn register_used(&self) -> Result<(), Failure> {
        let used = self.used().clone();
        match used.is_empty() {
            true => Ok(()),
            false => self.register(used).await,
        }
    }

    /// The shards that may hold something, in no order.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.shards_key());
        let members = list(self.connections.command(&members).await?)?;
        let shard = |member| {
            let member = bytes(member)?;
            let number = utf8(&member)?.parse();
            number.map(Shard).map_err(|_| Failure::corrupt("shard"))
        };
        members.into_iter().map(shard).collect()
    }

    /// Asks all of these shards, several at a time.
    pub(crate) async fn each<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        shards: impl IntoIterator<Item = Shard>,
        ask: impl FnMut(Shard) -> F,
    ) -> Result<Vec<T>, Failure> {
        let asks: Vec<F> = shards.into_iter().map(ask).collect();
        stream::iter(asks).buffered(AT_ONCE).try_collect().await
    }

    pub(crate) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            2 => Durability::Host,
            1 => Durability::Crash,
            _ => Durability::Process,
        }
    }

    pub(crate) fn set_durability(&self, durability: Durability) {
        let number = match durability {
            Durability::Process => 0,
            Durability::Crash => 1,
            Durability::Host => 2,
        };
        self.durability.store(number, Ordering::Relaxed);
    }
}

/// Splits items by shard, in order, with the place of each.
pub(crate) fn by_shard<T>(
    items: &[T],
    shard: impl Fn(&T) -> Shard,
) -> Vec<(Shard, Vec<(usize, &T)>)> {
    let mut shards: Vec<(Shard, Vec<(usize, &T)>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (place, item) in items.iter().enumerate() {
        let shard = shard(item);
        let at = *places.entry(shard).or_insert_with(|| {
            shards.push((shard, Vec::new()));
            shards.len() - 1
        });
        shards[at].1.push((place, item));
    }
    shards
}

/// Makes the parts of a call, one after the other, and puts their answers in
/// the places of their items. Each part takes effect as a whole or not at all;
/// where one fails after another took effect, the call's outcome is unknown
/// and it can be asked again.
pub(crate) async fn in_parts<T, P, A, F>(
    parts: Vec<(P, Vec<(usize, T)>)>,
    answers: usize,
    mut make: impl FnMut(P, Vec<T>) -> F,
) -> Result<Vec<A>, Failure>
where
    F: Future<Output = Result<Vec<A>, Failure>>,
{
    let mut all: Vec<Option<A>> = Vec::new();
    all.resize_with(answers, || None);
    for (number, (part, items)) in parts.into_iter().enumerate() {
        let (places, items): (Vec<usize>, Vec<T>) = items.into_iter().unzip();
        let made = make(part, items).await;
        let made = made.map_err(|e| if number > 0 { e.after_a_part() } else { e })?;
        if made.len() != places.len() {
            return Err(crate::connection::unexpected());
        }
        for (place, answer) in places.into_iter().zip(made) {
            all[place] = Some(answer);
        }
    }
    all.into_iter()
        .map(|answer| answer.ok_or_else(|| Failure::new(ErrorKind::Internal, "no answer")))
        .collect()
}

/// Cuts the shards' items into parts of at most `most` items and about
/// `bytes` bytes.
pub(crate) fn cut<T: Copy>(
    shards: Vec<(Shard, Vec<(usize, T)>)>,
    most: usize,
    bytes: usize,
    size: impl Fn(T) -> usize,
) -> Vec<(Shard, Vec<(usize, T)>)> {
    let mut parts = Vec::with_capacity(shards.len());
    for (shard, items) in shards {
        let (mut part, mut filled) = (Vec::new(), 0);
        for item in items {
            let next = size(item.1);
            if !part.is_empty() && (part.len() >= most || filled + next > bytes) {
                parts.push((shard, std::mem::take(&mut part)));
                filled = 0;
            }
            filled += next;
            part.push(item);
        }
        parts.push((shard, part));
    }
    parts
}
