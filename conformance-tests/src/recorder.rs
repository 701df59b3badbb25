//! [`Recorder`]: a backend that notes every call and its answer, so that a
//! failed case can show the calls that led there.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyqueue_core::{
    Backend, Cancelled, Capabilities, ClaimRequest, ClaimedJob, Enqueued, Error, Filter, Flow,
    Holding, JobId, JobRecord, Listing, MaintainLimits, Maintained, NewJob, Page, ProgressUpdate,
    QueueCounts, QueueInfo, QueueName, Retried, Settled, Settlement, Token, WaitRequest,
    async_trait,
};

use crate::short::{Short, list};

/// How many calls a report shows.
const SHOWN: usize = 60;

/// The calls of one case, from all its handles.
pub(crate) struct Log {
    start: Instant,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    total: u64,
    last: VecDeque<Call>,
    names: Names,
}

struct Call {
    number: u64,
    at: Duration,
    handle: u32,
    asked: String,
    answer: Option<String>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), calls: Mutex::default() }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn begin(&self, handle: u32, asked: impl FnOnce(&mut Names) -> String) -> u64 {
        let mut calls = self.calls();
        let asked = asked(&mut calls.names);
        calls.total += 1;
        let number = calls.total;
        if calls.last.len() == SHOWN {
            calls.last.pop_front();
        }
        let at = self.start.elapsed();
        calls.last.push_back(Call { number, at, handle, asked, answer: None });
        number
    }

    fn end<T: Short>(&self, number: u64, answer: &Result<T, Error>) {
        let Calls { last, names, .. } = &mut *self.calls();
        if let Some(call) = last.iter_mut().rev().find(|call| call.number == number) {
            call.answer = Some(match answer {
                Ok(answer) => answer.short(names),
                Err(error) => format!("error: {error}"),
            });
        }
    }

    /// The last calls, one a line.
    pub(crate) fn report(&self) -> String {
        let calls = self.calls();
        let mut text = format!("the last {} of {} calls:", calls.last.len(), calls.total);
        for Call { at, handle, asked, answer, .. } in &calls.last {
            let answer = answer.as_deref().unwrap_or("no answer (dropped, or still under way)");
            let at = at.as_secs_f64();
            let _ = write!(text, "\n  {at:>8.3} s  handle {handle}  {asked}  ->  {answer}");
        }
        text
    }

    /// The text with the short names of jobs in place of their ids.
    pub(crate) fn shorten(&self, text: &str) -> String {
        const ID: usize = 36;
        let names = &mut self.calls().names;
        let mut short = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let id = rest.get(..ID).and_then(|word| word.parse::<JobId>().ok());
            match id.filter(|_| c.is_ascii_hexdigit()) {
                Some(id) => {
                    short.push_str(&names.of(id));
                    rest = &rest[ID..];
                }
                None => {
                    short.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        short
    }
}

/// Short names for ids: `j1`, `j2`, in the order of their appearance.
#[derive(Default)]
pub(crate) struct Names(HashMap<JobId, usize>);

impl Names {
    pub(crate) fn of(&mut self, id: JobId) -> String {
        let next = self.0.len() + 1;
        format!("j{}", self.0.entry(id).or_insert(next))
    }
}

/// A backend that notes its calls.
pub(crate) struct Recorder {
    inner: Arc<dyn Backend>,
    log: Arc<Log>,
    handle: u32,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Backend>, log: Arc<Log>, handle: u32) -> Self {
        Self { inner, log, handle }
    }
}

macro_rules! recorded {
    ($self:ident, $names:ident, $asked:expr, $call:expr) => {{
        let number = $self.log.begin($self.handle, |$names| $asked);
        let answer = $call.await;
        $self.log.end(number, &answer);
        answer
    }};
}

#[async_trait]
impl Backend for Recorder {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn prepare(&self) -> Result<(), Error> {
        recorded!(self, _n, "prepare".to_owned(), self.inner.prepare())
    }
    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error> {
        let inner = self.inner.reopen().await?;
        Ok(Arc::new(Self::new(inner, Arc::clone(&self.log), self.handle)))
    }
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        recorded!(self, n, format!("enqueue {}", list(jobs, n)), self.inner.enqueue(jobs))
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        recorded!(self, n, format!("claim {}", request.short(n)), self.inner.claim(request))
    }
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error> {
        recorded!(
            self,
            n,
            format!("heartbeat {} to {lease:?}", list(tokens, n)),
            self.inner.heartbeat(tokens, lease)
        )
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let asked = settlements;
        recorded!(self, n, format!("settle {}", list(asked, n)), self.inner.settle(settlements))
    }
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error> {
        recorded!(self, n, format!("progress {}", list(updates, n)), self.inner.progress(updates))
    }
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error> {
        recorded!(self, n, format!("cancel {}", list(ids, n)), self.inner.cancel(ids))
    }
    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error> {
        recorded!(self, n, format!("retry {}", list(ids, n)), self.inner.retry(ids))
    }
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error> {
        recorded!(self, n, format!("get {}", list(ids, n)), self.inner.get(ids))
    }
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error> {
        recorded!(
            self,
            n,
            format!("list {} {}", filter.short(n), page.short(n)),
            self.inner.list(filter, page)
        )
    }
    async fn counts(&self) -> Result<Vec<QueueCounts>, Error> {
        recorded!(self, _n, "counts".to_owned(), self.inner.counts())
    }
    async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        recorded!(self, _n, "queues".to_owned(), self.inner.queues())
    }
    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error> {
        recorded!(
            self,
            _n,
            format!("set_flow {queue:?} {flow:?}"),
            self.inner.set_flow(queue, flow)
        )
    }
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error> {
        recorded!(self, _n, format!("maintain {} jobs", limits.jobs), self.inner.maintain(limits))
    }
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error> {
        let WaitRequest { queues, timeout, .. } = request;
        recorded!(
            self,
            _n,
            format!("wait_for_work {queues:?} {timeout:?}"),
            self.inner.wait_for_work(request)
        )
    }
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error> {
        recorded!(
            self,
            n,
            format!("wait_for_change {} {timeout:?}", list(ids, n)),
            self.inner.wait_for_change(ids, timeout)
        )
    }
}
