//! [`Batcher`]: natural batching of concurrent calls.
//!
//! What is asked while a batch is in flight goes into the next one; nothing
//! waits for company, so a lone call has no added delay (the idea is that of
//! a database's group commit).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Operation};

type Answer<A> = Result<A, Error>;
type Flush<I, A> = dyn Fn(Vec<I>) -> BoxFuture<'static, Vec<Answer<A>>> + Send + Sync;

/// Turns single calls into batch calls.
pub(crate) struct Batcher<I, A> {
    shared: Arc<Shared<I, A>>,
    operation: Operation,
    backend: &'static str,
}

struct Shared<I, A> {
    queue: Mutex<Queue<I, A>>,
    flush: Box<Flush<I, A>>,
    max: usize,
}

struct Queue<I, A> {
    waiting: VecDeque<(I, oneshot::Sender<Reply<I, A>>)>,
    flusher: Option<Flusher>,
    /// How many tasks have flushed.
    turns: u64,
}

/// The one task that flushes.
struct Flusher {
    turn: u64,
    /// Its runtime, where it has answered all and waits for more. Nobody may
    /// drive that one any more: calls of another runtime take the turn from it.
    lingers: Option<tokio::runtime::Id>,
}

/// What becomes of an item.
enum Reply<I, A> {
    Answer(Answer<A>),
    /// It was in no batch yet when the runtime that makes them stopped.
    Back(I),
}

impl<I: Send + 'static, A: Send + 'static> Batcher<I, A> {
    /// Batches of at most `max` items, made by `flush`, which answers per
    /// item in order; see [`each`].
    pub(crate) fn new(
        operation: Operation,
        backend: &'static str,
        max: usize,
        flush: impl Fn(Vec<I>) -> BoxFuture<'static, Vec<Answer<A>>> + Send + Sync + 'static,
    ) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            flusher: None,
            turns: 0,
        };
        let shared = Shared {
            queue: Mutex::new(queue),
            flush: Box::new(flush),
            max,
        };
        Self {
            shared: Arc::new(shared),
            operation,
            backend,
        }
    }

    /// Adds an item to the next batch and waits for its answer. Dropping the
    /// future does not take the item back.
    pub(crate) async fn submit(&self, mut item: I) -> Answer<A> {
        let here = Handle::current().id();
        loop {
            let (reply, replied) = oneshot::channel();
            let turn = {
                let mut queue = self.shared.lock();
                queue.waiting.push_back((item, reply));
                queue.next_turn(here)
            };
            if let Some(turn) = turn {
                // A task of its own: a caller that drops its future must not
                // take the others' batch with it.
                let shared = Arc::clone(&self.shared);
                tokio::spawn(drain(Flushing { shared, turn }));
            }
            match replied.await {
                Ok(Reply::Answer(answer)) => return answer,
                // Our own runtime took no task any more.
                Ok(Reply::Back(_)) if turn.is_some() => {
                    let message = "the runtime that was to carry the call has stopped";
                    return Err(self.stopped(ErrorKind::Unavailable, message));
                }
                Ok(Reply::Back(unsent)) => item = unsent,
                Err(_) => {
                    let message = "the runtime that carried the call has stopped";
                    return Err(self.stopped(ErrorKind::Unknown, message));
                }
            }
        }
    }

    fn stopped(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, self.operation, self.backend, message)
    }
}

impl<I, A> Queue<I, A> {
    /// A turn, where a caller on this runtime has to begin one.
    fn next_turn(&mut self, here: tokio::runtime::Id) -> Option<u64> {
        let busy = |flusher: &Flusher| flusher.lingers.is_none_or(|there| there == here);
        if self.flusher.as_ref().is_some_and(busy) {
            return None;
        }
        self.turns += 1;
        let (turn, lingers) = (self.turns, None);
        self.flusher = Some(Flusher { turn, lingers });
        Some(turn)
    }

    fn flusher_of(&mut self, turn: u64) -> Option<&mut Flusher> {
        self.flusher.as_mut().filter(|flusher| flusher.turn == turn)
    }
}

impl<I, A> Shared<I, A> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<I, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the one task that flushes. If its runtime drops it midway, callers
/// whose batch was under way are told; the others get their items back, and the
/// first of them starts a new one.
struct Flushing<I, A> {
    shared: Arc<Shared<I, A>>,
    turn: u64,
}

impl<I, A> Drop for Flushing<I, A> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        if queue.flusher_of(self.turn).is_none() {
            return;
        }
        queue.flusher = None;
        for (item, reply) in queue.waiting.drain(..) {
            // Who is gone needs nothing back.
            let _ = reply.send(Reply::Back(item));
        }
    }
}

async fn drain<I, A>(flushing: Flushing<I, A>) {
    let shared = &flushing.shared;
    let here = Handle::current().id();
    loop {
        let (items, answers): (Vec<I>, Vec<_>) = {
            let mut queue = shared.lock();
            let take = queue.waiting.len().min(shared.max);
            let Some(flusher) = queue.flusher_of(flushing.turn) else {
                return;
            };
            flusher.lingers = None;
            if take == 0 {
                queue.flusher = None;
                return;
            }
            queue.waiting.drain(..take).unzip()
        };
        let results = (shared.flush)(items).await;
        {
            // Before anyone is answered: this task may not be polled after that.
            let mut queue = shared.lock();
            let lingers = queue.waiting.is_empty().then_some(here);
            if let Some(flusher) = queue.flusher_of(flushing.turn) {
                flusher.lingers = lingers;
            }
        }
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that is gone needs no answer.
            let _ = answer.send(Reply::Answer(result));
        }
        // Who was answered often asks again at once: then the next batch holds
        // all callers, where without this it would hold those of the other half.
        tokio::task::yield_now().await;
    }
}

/// Makes a batch call whose items came from different callers. Where the store
/// refuses it for good, each item is asked alone: one that cannot be taken
/// fails its own caller only.
pub(crate) async fn each<I, A, F>(
    items: Vec<I>,
    call: impl Fn(Arc<[I]>) -> F,
) -> Vec<Result<A, Error>>
where
    F: Future<Output = Result<Vec<A>, Error>>,
    I: Clone,
{
    let items: Arc<[I]> = items.into();
    let error = match call(Arc::clone(&items)).await {
        Ok(answers) => return answers.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if items.len() == 1 || error.kind().is_transient() {
        return items.iter().map(|_| Err(error.duplicate())).collect();
    }
    let mut answers: Vec<Result<A, Error>> = Vec::with_capacity(items.len());
    for item in items.iter() {
        // The store fails in passing by now: not asked again for each item.
        if let Some(Err(lost)) = answers.last()
            && lost.kind().is_transient()
        {
            let lost = lost.duplicate();
            answers.push(Err(lost));
            continue;
        }
        let alone = call(Arc::from([item.clone()])).await;
        answers.push(alone.and_then(|answers| {
            let answer = answers.into_iter().next();
            answer.ok_or_else(|| error.duplicate())
        }));
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    fn doubling(max: usize, sizes: Arc<Mutex<Vec<usize>>>) -> Batcher<u32, u32> {
        Batcher::new(Operation::Get, "test", max, move |items| {
            sizes.lock().unwrap().push(items.len());
            Box::pin(async move {
                tokio::task::yield_now().await;
                items.into_iter().map(|n| Ok(2 * n)).collect()
            })
        })
    }

    #[tokio::test]
    async fn concurrent_calls_share_batches_and_get_their_own_answers() {
        let sizes = Arc::default();
        let batcher = doubling(8, Arc::clone(&sizes));
        let calls = (0..20).map(|n| batcher.submit(n));
        let answers = futures::future::try_join_all(calls).await.unwrap();
        assert_eq!(answers, (0..20).map(|n| 2 * n).collect::<Vec<_>>());
        let sizes = sizes.lock().unwrap();
        assert!(
            sizes.len() < 20 && sizes.iter().all(|size| *size <= 8),
            "{sizes:?}"
        );
    }

    #[tokio::test]
    async fn an_item_that_is_refused_fails_alone() {
        let refusing = |kind| {
            move |items: Arc<[u32]>| async move {
                if items.contains(&2) {
                    return Err(Error::new(kind, Operation::Enqueue, "test", "no twos"));
                }
                Ok(items.to_vec())
            }
        };
        let answers = each(vec![1, 2, 3], refusing(ErrorKind::InvalidInput)).await;
        let kinds: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.map_err(|error| error.kind()))
            .collect();
        assert_eq!(kinds, [Ok(1), Err(ErrorKind::InvalidInput), Ok(3)]);
        // In passing, it is the store that fails, and not again for each item.
        let answers = each(vec![1, 2, 3], refusing(ErrorKind::Unavailable)).await;
        assert!(answers.iter().all(Result::is_err));
        // Nor where it goes away while they are asked one by one.
        let asked = AtomicU32::new(0);
        let leaving = |items: Arc<[u32]>| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            let kind = if first {
                ErrorKind::InvalidInput
            } else {
                ErrorKind::Unavailable
            };
            async move {
                Err::<Vec<u32>, _>(Error::new(
                    kind,
                    Operation::Enqueue,
                    "test",
                    items.len().to_string(),
                ))
            }
        };
        let answers = each(vec![1, 2, 3], leaving).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(asked.into_inner(), 2);
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap()
    }

    #[test]
    fn what_was_in_no_batch_yet_goes_into_another_runtimes() {
        let batcher = Arc::new(doubling(8, Arc::default()));
        let (first, second) = (runtime(), runtime());
        let submit = |n| {
            let batcher = Arc::clone(&batcher);
            async move { batcher.submit(n).await }
        };
        // Its task has not begun when its runtime stops.
        let left = first.spawn(submit(1));
        first.block_on(tokio::task::yield_now());
        let call = second.spawn(submit(2));
        second.block_on(tokio::task::yield_now());
        drop((left, first));
        assert_eq!(second.block_on(call).unwrap().unwrap(), 4);
    }

    #[test]
    fn a_runtime_that_nobody_drives_any_more_holds_nobody_up() {
        let batcher = Arc::new(doubling(8, Arc::default()));
        let (first, second) = (runtime(), runtime());
        assert_eq!(first.block_on(batcher.submit(1)).unwrap(), 2);
        assert_eq!(second.block_on(batcher.submit(2)).unwrap(), 4);
        assert_eq!(first.block_on(batcher.submit(3)).unwrap(), 6);
    }

    #[test]
    fn a_call_on_a_runtime_that_has_stopped_ends() {
        let batcher = doubling(8, Arc::default());
        let runtime = runtime();
        let handle = runtime.handle().clone();
        drop(runtime);
        let answer = handle.block_on(batcher.submit(1));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_stopped_runtime_leaves_the_batcher_usable() {
        let hangs = Arc::new(AtomicBool::new(true));
        let hang = Arc::clone(&hangs);
        let batcher = Arc::new(Batcher::<u32, u32>::new(
            Operation::Get,
            "test",
            8,
            move |items| {
                let hang = hang.swap(false, Ordering::SeqCst);
                Box::pin(async move {
                    if hang {
                        std::future::pending::<()>().await;
                    }
                    items.into_iter().map(Ok).collect()
                })
            },
        ));
        let first = runtime();
        let caller = first.spawn({
            let batcher = Arc::clone(&batcher);
            async move { batcher.submit(1).await }
        });
        first.block_on(async {
            while hangs.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        });
        drop(caller);
        drop(first);
        assert_eq!(runtime().block_on(batcher.submit(2)).unwrap(), 2);
    }
}
