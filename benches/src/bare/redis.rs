//! Redis: a hash of payloads, a sorted set of waiting jobs and one of leases,
//! two Lua scripts of variadic commands.

use std::time::Instant;

use anyqueue::async_trait;
use anyqueue_redis::redis::{self, AsyncConnectionConfig, Script, aio::MultiplexedConnection};

use super::{BATCH, Bare, Failure, Round, Spans, at_rate, payload, spans};

/// KEYS: payloads, waiting, a counter. ARGV: id, payload, and so on.
const INSERT: &str = "
    local seq = redis.call('INCRBY', KEYS[3], #ARGV / 2)
    local waiting = {}
    for i = 1, #ARGV, 2 do
        waiting[i], waiting[i + 1] = seq + i, ARGV[i]
    end
    redis.call('HSET', KEYS[1], unpack(ARGV))
    redis.call('ZADD', KEYS[2], unpack(waiting))";

/// KEYS: payloads, waiting, leases. ARGV: how many, the lease's end.
const CLAIM: &str = "
    local popped = redis.call('ZPOPMIN', KEYS[2], ARGV[1])
    local ids, leases = {}, {}
    for i = 1, #popped, 2 do
        ids[#ids + 1] = popped[i]
        leases[i], leases[i + 1] = ARGV[2], popped[i]
    end
    if #ids == 0 then return {{}, {}} end
    redis.call('ZADD', KEYS[3], unpack(leases))
    return {ids, redis.call('HMGET', KEYS[1], unpack(ids))}";

/// KEYS: payloads, leases. ARGV: ids. What is not leased any more is not
/// settled.
const SETTLE: &str = "
    local settled = redis.call('ZREM', KEYS[2], unpack(ARGV))
    redis.call('HDEL', KEYS[1], unpack(ARGV))
    return settled";

struct Store {
    client: redis::Client,
    connection: MultiplexedConnection,
    payloads: String,
    waiting: String,
    leases: String,
    counter: String,
    scripts: [Script; 3],
}

/// Removes a round's keys.
struct Place {
    server: String,
    prefix: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = (|| {
            let mut connection = redis::Client::open(&*self.server)?.get_connection()?;
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor)
                    .arg("MATCH")
                    .arg(format!("{}*", self.prefix));
                let (next, keys): (u64, Vec<Vec<u8>>) =
                    scan.arg("COUNT").arg(1_000).query(&mut connection)?;
                if !keys.is_empty() {
                    redis::cmd("DEL").arg(keys).exec(&mut connection)?;
                }
                if next == 0 {
                    return Ok::<_, redis::RedisError>(());
                }
                cursor = next;
            }
        })();
        removed.expect("the round's keys are removed");
    }
}

async fn pick_up(store: &Store, jobs: usize, per_second: u32) -> Spans {
    let (list, inbox) = (
        format!("{}:list", store.waiting),
        format!("{}:inbox", store.waiting),
    );
    let mut blocking = store.client.get_multiplexed_async_connection().await?;
    let from = list.clone();
    let receiver = tokio::spawn(async move {
        let mut received = vec![None; jobs];
        for _ in 0..jobs {
            let mut take = redis::cmd("BLMOVE");
            take.arg(&from).arg(&inbox).arg("RIGHT").arg("LEFT").arg(0);
            let number: usize = take.query_async(&mut blocking).await?;
            received[number] = Some(Instant::now());
        }
        Ok::<_, redis::RedisError>(received)
    });
    let called = at_rate(jobs, per_second, |number| {
        let (mut connection, list) = (store.connection.clone(), list.clone());
        async move {
            let mut push = redis::cmd("LPUSH");
            push.arg(&list).arg(number);
            Ok(push.exec_async(&mut connection).await?)
        }
    })
    .await?;
    spans(&called, &receiver.await??)
}

pub(super) async fn open() -> Result<Round, Failure> {
    let server = std::env::var("ANYQUEUE_TEST_REDIS_URL")
        .map_err(|_| "ANYQUEUE_TEST_REDIS_URL is not set: scripts/servers up redis")?;
    let prefix = format!("bench-{}:", uuid::Uuid::now_v7().simple());
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(&*server)?;
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let key = |last: &str| format!("{prefix}{{bare}}:{last}");
    let store = Store {
        client,
        connection,
        payloads: key("payloads"),
        waiting: key("waiting"),
        leases: key("leases"),
        counter: key("counter"),
        scripts: [INSERT, CLAIM, SETTLE].map(Script::new),
    };
    Ok(Round {
        url: format!("{server}?prefix={prefix}"),
        bare: Box::new(store),
        _place: Box::new(Place { server, prefix }),
    })
}

#[async_trait]
impl Bare for Store {
    /// LPUSH to one BLMOVE after the other on a connection of its own.
    async fn pick_up(&mut self, jobs: usize, per_second: u32) -> Option<Spans> {
        Some(pick_up(self, jobs, per_second).await)
    }

    async fn insert(&mut self, jobs: usize) -> Result<(), Failure> {
        for _ in 0..jobs / BATCH {
            let mut insert = self.scripts[0].key(&self.payloads);
            insert.key(&self.waiting).key(&self.counter);
            for _ in 0..BATCH {
                insert.arg(&uuid::Uuid::now_v7().as_bytes()[..]);
                insert.arg(payload());
            }
            insert.invoke_async::<()>(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn drain(&mut self, jobs: usize) -> Result<(), Failure> {
        let mut done = 0;
        while done < jobs {
            let mut claim = self.scripts[1].key(&self.payloads);
            claim.key(&self.waiting).key(&self.leases);
            claim.arg(BATCH).arg(u64::MAX >> 12);
            let (ids, payloads): (Vec<Vec<u8>>, Vec<String>) =
                claim.invoke_async(&mut self.connection).await?;
            assert_eq!(ids.len(), payloads.len());
            let mut settle = self.scripts[2].key(&self.payloads);
            settle.key(&self.leases);
            for id in &ids {
                settle.arg(id);
            }
            let settled: usize = settle.invoke_async(&mut self.connection).await?;
            assert_eq!(settled, ids.len());
            done += settled;
        }
        Ok(())
    }
}
