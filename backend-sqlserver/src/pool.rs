//! [`Pool`]: connections, and how they are lent. One that a call was dropped on,
//! or that any call failed on, is closed and never lent again: the server rolls
//! back what was open on it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use tiberius::{AuthMethod, Client, QueryStream, Row};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

use crate::config::SqlServerConfig;
use crate::error::Failure;

/// A connection to the server.
pub(crate) type Connection = Client<Compat<TcpStream>>;

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a connection may lie idle before it is tried before it is used.
const TRUSTED: Duration = Duration::from_secs(60);

/// How often a server may send the client elsewhere.
const ROUTES: usize = 3;

/// What every connection is set to.
const SESSION: &str = include_str!("sql/session.sql");

/// The connections of one handle; made when they are first needed, on the runtime
/// that needs them.
#[derive(Debug)]
pub(crate) struct Pool {
    maker: Maker,
    inner: OnceLock<managed::Pool<Maker>>,
}

/// Makes connections, and tells which to try before they are used.
#[derive(Clone)]
pub(crate) struct Maker {
    config: Arc<SqlServerConfig>,
    suspicion: Arc<Suspicion>,
    /// Whether a connection was ever made.
    reached: Arc<AtomicBool>,
}

/// A connection was found broken: those that have been idle since before that
/// are likely broken too, and are tried before they are used.
#[derive(Debug)]
struct Suspicion {
    base: Instant,
    /// Milliseconds after `base`; 0: none.
    at: AtomicU64,
}

impl Suspicion {
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn holds(&self, idle: Duration) -> bool {
        let idle_since = self
            .now()
            .saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(0));
        idle > TRUSTED || idle_since <= self.at.load(Ordering::Relaxed)
    }
}

impl Pool {
    pub(crate) fn new(config: Arc<SqlServerConfig>) -> Self {
        let suspicion = Suspicion {
            base: Instant::now(),
            at: AtomicU64::new(0),
        };
        let maker = Maker {
            config,
            suspicion: Arc::new(suspicion),
            reached: Arc::default(),
        };
        Self {
            maker,
            inner: OnceLock::new(),
        }
    }

    /// A connection, for one call.
    pub(crate) async fn lend(&self) -> Result<Lent, Failure> {
        let pool = self.inner.get_or_init(|| {
            managed::Pool::builder(self.maker.clone())
                .max_size(self.maker.config.pool as usize)
                .build()
                .expect("without time-outs of its own it needs no runtime")
        });
        match timeout(ACQUIRE.max(CONNECT), pool.get()).await {
            Ok(Ok(object)) => Ok(Lent {
                object: Some(object),
                clean: false,
                suspicion: Arc::clone(&self.maker.suspicion),
            }),
            Ok(Err(PoolError::Backend(failure))) => Err(failure.before_send()),
            Ok(Err(_)) | Err(_) => Err(Failure::busy()),
        }
    }

    /// Closes the connections that lie idle: the next one lent is a new one.
    pub(crate) fn renew(&self) {
        if let Some(pool) = self.inner.get() {
            pool.retain(|_, _| false);
        }
    }

    /// A connection that is not of the pool, whose calls may take as long as
    /// they need.
    pub(crate) async fn make_patient(&self) -> Result<Connection, Failure> {
        self.maker.make(None).await.map_err(Failure::before_send)
    }
}

/// A connection that is lent. Closed when it is dropped, unless its call has
/// ended well.
pub(crate) struct Lent {
    object: Option<Object<Maker>>,
    clean: bool,
    suspicion: Arc<Suspicion>,
}

impl Lent {
    /// Gives the connection back, or closes it where the call has failed.
    pub(crate) fn end<T>(mut self, done: &Result<T, Failure>) {
        self.clean = done.is_ok();
        if done.as_ref().is_err_and(Failure::is_lost) {
            let now = self.suspicion.now();
            self.suspicion.at.store(now, Ordering::Relaxed);
        }
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.object.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Connection {
        self.object.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.clean
        {
            drop(Object::take(object));
        }
    }
}

impl managed::Manager for Maker {
    type Type = Connection;
    type Error = Failure;

    async fn create(&self) -> Result<Connection, Failure> {
        self.make(self.config.statement_timeout).await
    }

    async fn recycle(&self, conn: &mut Connection, metrics: &Metrics) -> RecycleResult<Failure> {
        if !self.suspicion.holds(metrics.last_used()) {
            return Ok(());
        }
        let ping = async { rows_of(conn.simple_query("SELECT 1 AS one;").await?).await };
        match timeout(Duration::from_secs(2), ping).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(RecycleError::message("the connection is broken")),
        }
    }
}

impl Maker {
    async fn make(&self, statement_timeout: Option<Duration>) -> Result<Connection, Failure> {
        // Rare and large (a TLS handshake): not to be part of every call's future.
        let making = Box::pin(self.make_now(statement_timeout));
        let made = timeout(CONNECT, making)
            .await
            .unwrap_or_else(|_| Err(Failure::unreachable(&std::io::ErrorKind::TimedOut.into())));
        match made {
            Ok(conn) => {
                self.reached.store(true, Ordering::Relaxed);
                Ok(conn)
            }
            Err(failure) if self.reached.load(Ordering::Relaxed) => {
                Err(failure.of_known_database())
            }
            failed => failed,
        }
    }

    async fn make_now(&self, statement_timeout: Option<Duration>) -> Result<Connection, Failure> {
        let mut config = self.config.connect.clone();
        config.command_timeout(statement_timeout);
        if let Some(tokens) = &self.config.tokens {
            config.authentication(AuthMethod::aad_token(tokens.token().await?));
        }
        let mut routes = 0;
        let mut conn = loop {
            let stream = connect(&config).await;
            let stream = stream.map_err(|error| Failure::unreachable(&error))?;
            stream
                .set_nodelay(true)
                .map_err(|error| Failure::unreachable(&error))?;
            let connecting = Box::pin(Client::connect(config.clone(), stream.compat_write()));
            match connecting.await {
                // Azure sends clients on to the node that has the database.
                Err(tiberius::error::Error::Routing { host, port }) if routes < ROUTES => {
                    routes += 1;
                    config.host(&host);
                    config.port(port);
                }
                made => break made?,
            }
        };
        // How long a lock is waited for: as long as a statement may take, so that
        // the server ends it and not the client.
        let locks = statement_timeout.map_or(-1, |timeout| {
            i64::try_from(timeout.as_millis() * 9 / 10).unwrap_or(-1)
        });
        let session = format!("{SESSION}SET LOCK_TIMEOUT {locks};");
        rows_of(conn.simple_query(session).await?).await?;
        Ok(conn)
    }
}

#[cfg(not(feature = "sql-browser"))]
async fn connect(config: &tiberius::Config) -> std::io::Result<TcpStream> {
    TcpStream::connect(config.get_addr()).await
}

#[cfg(feature = "sql-browser")]
async fn connect(config: &tiberius::Config) -> std::io::Result<TcpStream> {
    use tiberius::SqlBrowser as _;
    let stream = TcpStream::connect_named(config).await;
    stream.map_err(|_| std::io::Error::other("the instance is not reached"))
}

/// All rows of a call, by result.
pub(crate) async fn rows_of(stream: QueryStream<'_>) -> Result<Vec<Vec<Row>>, Failure> {
    Ok(stream.into_results().await?)
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}
