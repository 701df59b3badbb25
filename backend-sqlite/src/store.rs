//! [`Store`]: a file as opened by this process, with its threads. Handles on a
//! file share one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyqueue_core::support::Waiters;
use anyqueue_core::{Error, ErrorKind, Operation};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::backend::NAME;
use crate::config::{SqliteConfig, Synchronous, Threads};
use crate::error::Failure;
use crate::lane::{Lane, Urgency};
use crate::readers::{self, READERS, ReadLane};
use crate::tx::Tx;
use crate::writer::{Call, Write, Writer};

/// A file with a writer and readers. When the last handle is dropped, its
/// threads make the calls that are under way, close their connections and end.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: SqliteConfig,
    pub(crate) waiters: Arc<Waiters>,
    writes: Arc<Lane<Box<dyn Write>>>,
    reads: ReadLane,
}

/// What tells one store from another.
type Key = (PathBuf, Synchronous);

/// The stores that are open.
static OPEN: Mutex<Option<HashMap<Key, Weak<Store>>>> = Mutex::new(None);

impl Store {
    /// The store of this configuration: the one that is open, or a new one.
    /// Starts threads; touches the file at the first call only.
    pub(crate) fn open(mut config: SqliteConfig) -> Result<Arc<Self>, Error> {
        config.path = absolute(&config.path)?;
        if config.threads == Threads::Own {
            return Self::start(config).map(Arc::new);
        }
        let key = (config.path.clone(), config.synchronous);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        if let Some(store) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(store);
        }
        open.retain(|_, store| store.strong_count() > 0);
        let store = Arc::new(Self::start(config)?);
        open.insert(key, Arc::downgrade(&store));
        Ok(store)
    }

    fn start(config: SqliteConfig) -> Result<Self, Error> {
        let store = Self {
            config,
            waiters: Arc::default(),
            writes: Arc::default(),
            reads: Arc::default(),
        };
        let config = store.config.clone();
        let writer = Writer::new(
            config,
            Arc::clone(&store.writes),
            Arc::clone(&store.waiters),
        );
        spawn("anyqueue-write", move || writer.run())?;
        for _ in 0..READERS {
            let (config, lane) = (store.config.clone(), Arc::clone(&store.reads));
            spawn("anyqueue-read", move || readers::run(&config, &lane))?;
        }
        Ok(store)
    }

    /// Makes a write in a transaction, shared with whatever else waits, and
    /// returns after the commit. A caller that drops the future leaves the
    /// write to be made.
    pub(crate) async fn write<T, F>(
        &self,
        operation: Operation,
        urgency: Urgency,
        rows: usize,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let call = Call {
            operation,
            rows,
            work,
            value: None,
            caller,
        };
        self.writes.send(Box::new(call), urgency);
        answered(operation, answer).await
    }

    /// Makes a read in a transaction of its own.
    pub(crate) async fn read<T, F>(&self, operation: Operation, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let read = move |conn: Result<&Connection, Failure>| {
            let answer = conn.and_then(work);
            // A caller that is gone needs no answer.
            let _ = caller.send(answer.map_err(|failure| failure.into_error(operation)));
        };
        self.reads.send(Box::new(read), Urgency::Normal);
        answered(operation, answer).await
    }

    /// Someone waits: the writer looks out for other processes' commits.
    pub(crate) fn look_out(&self) {
        self.writes.nudge();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
    }
}

async fn answered<T>(
    operation: Operation,
    answer: oneshot::Receiver<Result<T, Error>>,
) -> Result<T, Error> {
    let gone = |_| Err(Failure::gone().into_error(operation));
    answer.await.unwrap_or_else(gone)
}

/// The same path for the same file, whatever the working directory becomes.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.map_or_else(std::env::current_dir, |parent| parent.canonicalize());
    match (directory, path.file_name()) {
        (Ok(directory), Some(name)) => Ok(directory.join(name)),
        // A missing directory is reported by the first call, with what to do.
        _ => std::path::absolute(path).map_err(|error| {
            Error::from_source(ErrorKind::InvalidInput, Operation::Connect, NAME, error)
        }),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(work).map(|_| ());
    spawned.map_err(|error| {
        Error::from_source(ErrorKind::Unavailable, Operation::Connect, NAME, error)
    })
}
