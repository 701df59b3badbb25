//! [`Connections`]: one multiplexed connection for commands, replaced when it
//! breaks, and separate ones for what blocks.
//!
//! A dropped call leaves the multiplexed connection clean: its answer is read
//! and thrown away. Blocking commands are made by tasks of this crate's own,
//! which nobody drops midway; with the task, its connection goes too.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyqueue_core::ErrorKind;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind as Native,
    RedisError, RedisResult, ServerErrorKind, Value,
};

use crate::config::{RedisConfig, Topology};
use crate::error::{Failure, breaks_connection};
use crate::script::Script;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The waits between attempts to connect: from, to.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The connection for commands of one handle.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) config: RedisConfig,
    current: Mutex<Current>,
    /// Held while connecting, so that all callers share one attempt.
    connecting: tokio::sync::Mutex<Attempts>,
}

#[derive(Debug, Default)]
struct Current {
    generation: u64,
    link: Option<Link>,
}

#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Instant>,
}

/// A connection for commands. Clones share it.
#[derive(Clone)]
enum Link {
    Single(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(&mut **connection).await,
        }
    }
}

impl Connections {
    pub(crate) fn new(config: RedisConfig) -> Self {
        choose_cryptography(&config);
        Self {
            config,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Makes a command.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value, Failure> {
        Ok(self.send(command).await??)
    }

    /// Calls a script by its SHA-1, or in full where the server does not know
    /// it: it is new to it, or was restarted.
    pub(crate) async fn script(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Value, Failure> {
        match self.send(&script.by_sha1(keys, arguments)).await? {
            Err(error) if error.kind() == Native::Server(ServerErrorKind::NoScript) => {
                Ok(self.send(&script.in_full(keys, arguments)).await??)
            }
            answer => Ok(answer?),
        }
    }

    /// Makes a command on every primary, and gives all answers.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        let (generation, link) = self.link().await?;
        let answer = match link {
            Link::Single(mut connection) => command
                .query_async(&mut connection)
                .await
                .map(|one| vec![one]),
            Link::Cluster(mut connection) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let answers = connection.route_command(command.clone(), all).await;
                answers.map(|answers| match answers {
                    Value::Map(answers) => answers.into_iter().map(|(_, one)| one).collect(),
                    one => vec![one],
                })
            }
        };
        Ok(self.judged(generation, answer)?)
    }

    async fn send(&self, command: &Cmd) -> Result<RedisResult<Value>, Failure> {
        let (generation, mut link) = self.link().await?;
        let answer = link.send(command).await;
        Ok(self.judged(generation, answer))
    }

    fn judged<T>(&self, generation: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer
            && breaks_connection(error)
        {
            let mut current = self.lock();
            if current.generation == generation {
                current.link = None;
            }
        }
        answer
    }

    /// The connection, made anew where there is none.
    async fn link(&self) -> Result<(u64, Link), Failure> {
        if let Some(found) = self.current() {
            return Ok(found);
        }
        let mut attempts = self.connecting.lock().await;
        if let Some(found) = self.current() {
            return Ok(found);
        }
        if let Some(not_before) = attempts.not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        match Box::pin(self.connect()).await {
            Ok(link) => {
                *attempts = Attempts::default();
                let mut current = self.lock();
                current.generation += 1;
                current.link = Some(link.clone());
                Ok((current.generation, link))
            }
            Err(error) => {
                let wait = backoff(attempts.failed);
                attempts.failed += 1;
                attempts.not_before = Some(Instant::now() + wait);
                Err(Failure::from(error).of_connect())
            }
        }
    }

    fn current(&self) -> Option<(u64, Link)> {
        let current = self.lock();
        current.link.clone().map(|link| (current.generation, link))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> RedisResult<Link> {
        let config = &self.config;
        match config.topology {
            Topology::Single => {
                let connection = open(&config.nodes[0], Some(config.timeout)).await?;
                Ok(Link::Single(connection))
            }
            Topology::Cluster => {
                let client = ClusterClientBuilder::new(config.nodes.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(config.timeout)
                    .overall_response_timeout(Some(config.timeout))
                    .retries(3)
                    .build()?;
                let connecting = client.get_async_connection();
                // Discovery tries node after node.
                let connection = tokio::time::timeout(CONNECT * 2, connecting)
                    .await
                    .map_err(|_| timed_out())??;
                Ok(Link::Cluster(Box::new(connection)))
            }
        }
    }

    /// A connection for commands that block, to the node that has the keys
    /// which the probe (a command that changes nothing) names. Its commands
    /// have no timeout but the caller's.
    pub(crate) async fn blocking(&self, probe: &Cmd) -> RedisResult<MultiplexedConnection> {
        let mut last = None;
        for node in &self.config.nodes {
            let mut node = node.clone();
            // A slot moves while it is asked for once or twice at most.
            for _ in 0..3 {
                let mut connection = match open(&node, None).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        last = Some(error);
                        break;
                    }
                };
                match probe.query_async::<Value>(&mut connection).await {
                    Ok(_) => return Ok(connection),
                    Err(error) => {
                        match error.redirect_node().and_then(|(to, _)| moved(&node, to)) {
                            Some(to) => node = to,
                            None => return Err(error),
                        }
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(timed_out))
    }

    /// A connection for a subscription. Any node of a Cluster will do: what is
    /// published on one is heard on all.
    pub(crate) async fn subscriber(&self) -> RedisResult<PubSub> {
        let mut last = None;
        for node in &self.config.nodes {
            let client = Client::open(node.clone())?;
            match tokio::time::timeout(CONNECT, client.get_async_pubsub()).await {
                Ok(Ok(subscriber)) => return Ok(subscriber),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(timed_out()),
            }
        }
        Err(last.unwrap_or_else(timed_out))
    }
}

/// The driver takes the process's cryptography where it connects by TLS.
fn choose_cryptography(config: &RedisConfig) {
    let tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
    if config.nodes.iter().any(tls) {
        anyqueue_core::support::choose_cryptography();
    }
}

async fn open(
    node: &ConnectionInfo,
    timeout: Option<Duration>,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(timeout);
    let client = Client::open(node.clone())?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// The node at `host:port`, with the settings of another one.
fn moved(from: &ConnectionInfo, to: &str) -> Option<ConnectionInfo> {
    let (host, port) = to.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let mut host = host.trim_matches(['[', ']']).to_owned();
    let addr = match from.addr() {
        ConnectionAddr::Tcp(old, _) => {
            if host.is_empty() {
                host.clone_from(old);
            }
            ConnectionAddr::Tcp(host, port)
        }
        ConnectionAddr::TcpTls {
            host: old,
            tls_params,
            ..
        } => {
            if host.is_empty() {
                host.clone_from(old);
            }
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: tls_params.clone(),
            }
        }
        _ => return None,
    };
    Some(from.clone().set_addr(addr))
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// The wait after so many failures in a row, jittered.
pub(crate) fn backoff(failed: u32) -> Duration {
    let wait = BACKOFF.0.saturating_mul(1 << failed.min(10)).min(BACKOFF.1);
    wait.mul_f64(0.5 + 0.5 * fastrand::f64())
}

/// The bytes of an answer.
pub(crate) fn bytes(answer: Value) -> Result<Vec<u8>, Failure> {
    match answer {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        _ => Err(unexpected()),
    }
}

pub(crate) fn int(answer: &Value) -> Result<i64, Failure> {
    match answer {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected()),
    }
}

pub(crate) fn list(answer: Value) -> Result<Vec<Value>, Failure> {
    match answer {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Map(items) => Ok(items.into_iter().flat_map(|(a, b)| [a, b]).collect()),
        _ => Err(unexpected()),
    }
}

pub(crate) fn unexpected() -> Failure {
    Failure::new(
        ErrorKind::Internal,
        "the server gave an answer of another form than asked for; please report it",
    )
}
