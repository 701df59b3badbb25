//! Random commands, made on a file and on the memory backend: same answers,
//! same jobs. Time is taken out: leases, delays and periods are over at once or
//! last for the whole test, and memory's clock moves with every command.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use anyqueue_core::{
    Backend, ClaimRequest, Cursor, ErrorText, Filter, Flow, JobId, JobRecord, Kind, MaintainLimits,
    NewJob, Outcome, Page, Payload, Priority, ProgressUpdate, ProgressValues, QueueName, Retention,
    RetryPolicy, Schedule, Settlement, State, Tag, Timestamp, Token, Unique, UniqueKey,
    UniquePolicy, WorkerId,
};
use anyqueue_memory::{ManualClock, MemoryBackend};
use common::{Directory, LONG, store};
use proptest::prelude::*;

const QUEUES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Enqueue(Vec<New>),
    Claim {
        queues: Vec<usize>,
        limit: u32,
        lease: Span,
    },
    Heartbeat(Vec<Held>, Span),
    Settle(Vec<(Held, Ending)>),
    Progress(Vec<(Held, u8)>),
    Cancel(Vec<usize>),
    Retry(Vec<usize>),
    SetFlow(usize, Flow),
    Maintain(Span),
    List(Box<Asked>),
}

#[derive(Debug, Clone)]
struct New {
    /// Below the number of jobs: that one again.
    again: usize,
    queue: usize,
    priority: u8,
    later: bool,
    attempts: u32,
    key: Option<(u8, Option<Span>)>,
    tags: Vec<u8>,
}

/// Over at once, or not within the test.
#[derive(Debug, Clone, Copy)]
enum Span {
    Over,
    Lasting,
}

impl Span {
    fn duration(self) -> Duration {
        match self {
            Self::Over => Duration::ZERO,
            Self::Lasting => LONG,
        }
    }
}

/// One of the tokens that were given, or one near it.
#[derive(Debug, Clone, Copy)]
struct Held {
    token: usize,
    shift: i8,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Complete(bool),
    Retry(Span),
    Fail,
    Snooze(Span),
    Release,
}

#[derive(Debug, Clone)]
struct Asked {
    states: Vec<u8>,
    queue: Option<usize>,
    kind: bool,
    tags: Vec<u8>,
    limit: u32,
    after: Option<usize>,
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![Just(Span::Over), Just(Span::Lasting)]
}

fn held() -> impl Strategy<Value = Held> {
    let shift = prop_oneof![8 => Just(0), 1 => Just(-1), 1 => Just(1)];
    (0..40_usize, shift).prop_map(|(token, shift)| Held { token, shift })
}

fn new() -> impl Strategy<Value = New> {
    let key = prop::option::weighted(0.4, (0..2_u8, prop::option::of(span())));
    let tags = prop::collection::vec(0..3_u8, 0..3);
    let parts = (
        0..60_usize,
        0..2_usize,
        0..4_u8,
        any::<bool>(),
        1..3_u32,
        key,
        tags,
    );
    parts.prop_map(|(again, queue, priority, later, attempts, key, tags)| New {
        again,
        queue,
        priority,
        later,
        attempts,
        key,
        tags,
    })
}

fn step() -> impl Strategy<Value = Step> {
    use prop::collection::vec;
    let ending = prop_oneof![
        any::<bool>().prop_map(Ending::Complete),
        span().prop_map(Ending::Retry),
        Just(Ending::Fail),
        span().prop_map(Ending::Snooze),
        Just(Ending::Release),
    ];
    let asked = (
        vec(0..6_u8, 0..3),
        prop::option::of(0..3_usize),
        any::<bool>(),
        vec(0..3_u8, 0..3),
        1..6_u32,
        prop::option::of(0..30_usize),
    );
    let asked = asked.prop_map(|(states, queue, kind, tags, limit, after)| Asked {
        states,
        queue,
        kind,
        tags,
        limit,
        after,
    });
    let ids = || vec(0..30_usize, 0..4);
    let flow = prop_oneof![2 => Just(Flow::Open), 1 => Just(Flow::Paused)];
    prop_oneof![
        4 => vec(new(), 0..5).prop_map(Step::Enqueue),
        4 => (vec(0..3_usize, 0..3), 0..5_u32, span()).prop_map(|(queues, limit, lease)| {
            Step::Claim { queues, limit, lease }
        }),
        1 => (vec(held(), 0..4), span()).prop_map(|(held, span)| Step::Heartbeat(held, span)),
        4 => vec((held(), ending), 0..4).prop_map(Step::Settle),
        2 => vec((held(), 0..101_u8), 0..4).prop_map(Step::Progress),
        2 => ids().prop_map(Step::Cancel),
        2 => ids().prop_map(Step::Retry),
        1 => (0..3_usize, flow).prop_map(|(queue, flow)| Step::SetFlow(queue, flow)),
        1 => span().prop_map(Step::Maintain),
        2 => asked.prop_map(|asked| Step::List(Box::new(asked))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_file_answers_as_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(steps));
    }
}

/// The two stores, and what was put into them.
struct Pair {
    file: anyqueue_sqlite::SqliteBackend,
    memory: MemoryBackend,
    clock: ManualClock,
    jobs: Vec<NewJob>,
    tokens: Vec<Token>,
}

async fn compare(steps: Vec<Step>) {
    let directory = Directory::new();
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let mut pair = Pair {
        file: store(&directory.file()).await,
        memory: MemoryBackend::with_clock(clock.clone()),
        clock,
        jobs: Vec::new(),
        tokens: Vec::new(),
    };
    for step in steps {
        pair.clock.advance(Duration::from_micros(7));
        pair.make(step).await;
        pair.alike().await;
    }
}

/// Makes a call on both and compares the answers.
macro_rules! both {
    ($pair:ident.$call:ident($($argument:expr),*)) => {{
        let file = $pair.file.$call($($argument),*).await.unwrap();
        let memory = $pair.memory.$call($($argument),*).await.unwrap();
        assert_eq!(file, memory, stringify!($call));
        file
    }};
}

impl Pair {
    async fn make(&mut self, step: Step) {
        match step {
            Step::Enqueue(new) => {
                let jobs: Vec<_> = new.iter().map(|new| self.job(new)).collect();
                both!(self.enqueue(&jobs));
            }
            Step::Claim {
                queues,
                limit,
                lease,
            } => {
                let request = ClaimRequest {
                    queues: queues.into_iter().map(queue).collect(),
                    limit,
                    lease: lease.duration(),
                    worker: WorkerId::new("worker").unwrap(),
                };
                let mut file = self.file.claim(&request).await.unwrap();
                let mut memory = self.memory.claim(&request).await.unwrap();
                self.tokens.extend(file.iter().map(|job| job.token));
                for job in file.iter_mut().chain(&mut memory) {
                    job.created_at = Timestamp::default();
                    job.due_at = Timestamp::default();
                    job.lease_until = Timestamp::default();
                }
                assert_eq!(file, memory, "claim");
            }
            Step::Heartbeat(held, lease) => {
                let tokens = self.tokens(held);
                both!(self.heartbeat(&tokens, lease.duration()));
            }
            Step::Settle(endings) => {
                let (held, endings): (Vec<_>, Vec<_>) = endings.into_iter().unzip();
                let tokens = self.tokens(held).into_iter().zip(endings);
                let settlements: Vec<_> = tokens
                    .map(|(token, ending)| Settlement {
                        token,
                        outcome: outcome(ending),
                    })
                    .collect();
                both!(self.settle(&settlements));
            }
            Step::Progress(updates) => {
                let (held, percents): (Vec<_>, Vec<_>) = updates.into_iter().unzip();
                let tokens = self.tokens(held).into_iter().zip(percents);
                let updates: Vec<_> = tokens
                    .map(|(token, percent)| ProgressUpdate {
                        token,
                        values: ProgressValues::default().percent(percent).message("☃"),
                    })
                    .collect();
                both!(self.progress(&updates));
            }
            Step::Cancel(ids) => {
                let ids = self.ids(ids);
                both!(self.cancel(&ids));
            }
            Step::Retry(ids) => {
                let ids = self.ids(ids);
                both!(self.retry(&ids));
            }
            Step::SetFlow(name, flow) => both!(self.set_flow(&queue(name), flow)),
            Step::Maintain(retention) => {
                let limits = MaintainLimits {
                    retention: Retention::all(retention.duration()),
                    ..MaintainLimits::default()
                };
                both!(self.maintain(&limits));
            }
            Step::List(asked) => self.list(&asked).await,
        }
    }

    fn job(&mut self, new: &New) -> NewJob {
        if let Some(known) = self.jobs.get(new.again) {
            return known.clone();
        }
        let kind = Kind::new(if new.later { "late" } else { "early" }).unwrap();
        let payload = Payload::parse(format!("[{}]", self.jobs.len()), 99).unwrap();
        let mut job = NewJob::new(queue(new.queue), kind, payload);
        job.priority = Priority::from_u8(new.priority).unwrap();
        job.retry = RetryPolicy::fixed(new.attempts, LONG);
        if new.later {
            job.schedule = Schedule::After(LONG);
        }
        job.unique = new.key.map(|(key, period)| Unique {
            key: UniqueKey::new(format!("key {key}")).unwrap(),
            policy: match period {
                None => UniquePolicy::WhileUnfinished,
                Some(period) => UniquePolicy::ForPeriod(period.duration()),
            },
        });
        job.tags = new.tags.iter().map(|number| tag(*number)).collect();
        self.jobs.push(job.clone());
        job
    }

    fn tokens(&self, held: Vec<Held>) -> Vec<Token> {
        let token = |held: Held| {
            let at = held.token.checked_rem(self.tokens.len().min(12))?;
            let mut token = *self.tokens.iter().rev().nth(at)?;
            token.counter = token.counter.saturating_add_signed(held.shift.into());
            Some(token)
        };
        held.into_iter().filter_map(token).collect()
    }

    fn ids(&self, numbers: Vec<usize>) -> Vec<JobId> {
        // The one past the end is known to no store.
        let stranger = || NewJob::new(queue(0), Kind::new("x").unwrap(), payload("0")).id;
        let id = |number: usize| {
            self.jobs
                .get(number % (self.jobs.len() + 1))
                .map_or_else(stranger, |job| job.id)
        };
        numbers.into_iter().map(id).collect()
    }

    async fn list(&self, asked: &Asked) {
        let mut filter = Filter::any();
        for state in &asked.states {
            filter = filter.state(State::from_u8(*state).unwrap());
        }
        if let Some(name) = asked.queue {
            filter = filter.queue(queue(name));
        }
        if asked.kind {
            filter = filter.kind(Kind::new("late").unwrap());
        }
        for number in &asked.tags {
            filter = filter.tag(tag(*number));
        }
        let mut page = Page::first(asked.limit);
        if let Some(job) = asked.after.and_then(|number| self.jobs.get(number)) {
            page = page.after(Cursor::behind(job.id));
        }
        let file = self.file.list(&filter, &page).await.unwrap();
        let memory = self.memory.list(&filter, &page).await.unwrap();
        assert_eq!(file.next, memory.next, "next of {filter:?}");
        let timeless = |jobs: Vec<JobRecord>| jobs.into_iter().map(timeless).collect::<Vec<_>>();
        assert_eq!(timeless(file.jobs), timeless(memory.jobs), "{filter:?}");
    }

    /// Every job, every count, every queue.
    async fn alike(&self) {
        let ids: Vec<JobId> = self.jobs.iter().map(|job| job.id).collect();
        let records = |found: Vec<Option<JobRecord>>| {
            let found = ids.iter().zip(found);
            found
                .map(|(id, record)| (*id, record.map(timeless)))
                .collect::<BTreeMap<_, _>>()
        };
        let file = records(self.file.get(&ids).await.unwrap());
        let memory = records(self.memory.get(&ids).await.unwrap());
        assert_eq!(file, memory);
        both!(self.counts());
        both!(self.queues());
    }
}

fn queue(number: usize) -> QueueName {
    // The last one is never enqueued to.
    QueueName::new(QUEUES.get(number).unwrap_or(&"none")).unwrap()
}

fn tag(number: u8) -> Tag {
    Tag::new(format!("tag {number}")).unwrap()
}

fn payload(text: &str) -> Payload {
    Payload::parse(text, 99).unwrap()
}

fn outcome(ending: Ending) -> Outcome {
    let error = ErrorText::new("boom");
    match ending {
        Ending::Complete(nothing) => Outcome::Complete {
            result: payload(if nothing { "null" } else { "{\"a\":1}" }),
        },
        Ending::Retry(delay) => Outcome::Retry {
            delay: delay.duration(),
            error,
        },
        Ending::Fail => Outcome::Fail { error },
        Ending::Snooze(delay) => Outcome::Snooze {
            delay: delay.duration(),
            reason: Some(error),
        },
        Ending::Release => Outcome::Release,
    }
}

/// A record whose times only tell whether there is one.
fn timeless(mut record: JobRecord) -> JobRecord {
    let none = Timestamp::default();
    record.created_at = none;
    record.due_at = none;
    for time in [
        &mut record.claimed_at,
        &mut record.lease_until,
        &mut record.finished_at,
    ] {
        *time = time.map(|_| none);
    }
    for error in &mut record.errors {
        error.at = none;
    }
    record
}
