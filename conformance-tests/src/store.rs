//! [`Store`]: the fresh store that a case works on.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyqueue_core::{Capabilities, Error};

use crate::asserts::{Failure, eventually};
use crate::fixture::Fixture;
use crate::handle::Handle;
use crate::recorder::{Log, Recorder};

/// A store that was empty when the case began. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    fixture: Arc<dyn Fixture>,
    log: Arc<Log>,
    name: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    handles: AtomicU32,
    first: Mutex<Option<Handle>>,
    names: Mutex<Vec<Arc<str>>>,
}

impl Store {
    pub(crate) fn new(fixture: Arc<dyn Fixture>, log: Arc<Log>) -> Self {
        let shared = Arc::<Shared>::default();
        let name = fresh_name();
        lock(&shared.names).push(Arc::clone(&name));
        Self {
            fixture,
            log,
            name,
            shared,
        }
    }

    /// Opens and prepares the store; `open` gives out the handle.
    pub(crate) async fn probe(&self) -> Result<Capabilities, Failure> {
        let handle = self.open().await?;
        let capabilities = handle.capabilities();
        *lock(&self.shared.first) = Some(handle);
        Ok(capabilities)
    }

    /// A handle with connections of its own, prepared.
    pub(crate) async fn open(&self) -> Result<Handle, Failure> {
        let first = lock(&self.shared.first).take();
        if let Some(handle) = first {
            return Ok(handle);
        }
        let handle = self.open_bare().await?;
        handle.prepare().await?;
        Ok(handle)
    }

    /// A handle with connections of its own; not prepared.
    pub(crate) async fn open_bare(&self) -> Result<Handle, Error> {
        let backend = self.fixture.open(&self.name).await?;
        let number = self.shared.handles.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Handle::new(
            Arc::new(Recorder::new(backend, Arc::clone(&self.log), number)),
            number,
        ))
    }

    /// Several handles, as several processes would have.
    pub(crate) async fn open_many(&self, count: usize) -> Result<Vec<Handle>, Failure> {
        let mut handles = Vec::with_capacity(count);
        for _ in 0..count {
            handles.push(self.open().await?);
        }
        Ok(handles)
    }

    /// Another store, empty and not yet prepared.
    pub(crate) fn sibling(&self) -> Self {
        let name = fresh_name();
        lock(&self.shared.names).push(Arc::clone(&name));
        let shared = Arc::new(Shared {
            handles: AtomicU32::new(100),
            ..Shared::default()
        });
        Self {
            name,
            shared,
            ..self.clone()
        }
    }

    /// Runs the work on `count` OS threads, each with a runtime and a handle
    /// of its own, all at once, and gives what they return.
    pub(crate) async fn on_threads<T, F>(
        &self,
        count: usize,
        work: impl Fn(usize, Handle) -> F + Clone + Send + 'static,
    ) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>>,
    {
        let threads = (0..count).map(|number| {
            let (store, work) = (self.clone(), work.clone());
            let (send, receive) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let done = match runtime {
                    Ok(runtime) => runtime
                        .block_on(async { work(number, store.open_on_thread().await?).await }),
                    Err(error) => Err(Failure::new(format!("no runtime: {error}"))),
                };
                let _ = send.send(done);
            });
            async {
                receive
                    .await
                    .map_err(|_| Failure::new("a thread of the case panicked"))?
            }
        });
        futures::future::try_join_all(threads).await
    }

    /// A handle made on the calling runtime, never the first one, whose
    /// connections belong to another.
    async fn open_on_thread(&self) -> Result<Handle, Failure> {
        let handle = self.open_bare().await?;
        handle.prepare().await?;
        Ok(handle)
    }

    /// Waits until the calls of all handles have left nothing behind.
    pub(crate) async fn at_rest(&self) -> Result<(), Failure> {
        let mut left = None;
        let rest = eventually("calls leave nothing behind", async || {
            left = self.fixture.left_behind(&self.name).await;
            Ok(left.is_none().then_some(()))
        });
        let rest = rest.await;
        rest.map_err(|failure| Failure::new(format!("{failure}: {}", left.unwrap_or_default())))
    }

    /// Drops the handle that was not used, and names the stores to remove.
    pub(crate) fn close(&self) -> Vec<Arc<str>> {
        drop(lock(&self.shared.first).take());
        lock(&self.shared.names).clone()
    }
}

/// Waits for all of the futures on tasks of their own.
pub(crate) async fn together<T, F>(futures: Vec<F>) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await??);
    }
    Ok(answers)
}

pub(crate) fn fresh_name() -> Arc<str> {
    // 62 random bits, enough apart from every other run's.
    let random = uuid::Uuid::now_v7().as_u128() as u64 & (u64::MAX >> 2);
    format!("conf_{random:016x}").into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
