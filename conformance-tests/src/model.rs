//! Sequences of calls for the model-based cases, and their comparison with the
//! memory backend's [`Machine`].
//!
//! Time is taken out: leases and delays are far or zero, and a pause between
//! two calls keeps their timestamps apart, so that the order of due times is
//! the order of the calls on both sides. Times are compared by presence.
//! Counters and sequences may rise by more than one: they are compared as
//! "the same claim", "has risen".

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyqueue_core::{
    ClaimRequest, ClaimedJob, ErrorText, Filter, Flow, JobId, JobRecord, MaintainLimits, NewJob,
    Outcome, Page, Priority, Progress, ProgressUpdate, QueueName, Retention, RetryPolicy, Schedule,
    Settlement, State, Timestamp, Token, Unique, UniqueKey, UniquePolicy,
};
use anyqueue_memory::{Answer, Command, Machine};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};

use crate::asserts::{Failure, Verdict, same};
use crate::handle::Handle;
use crate::samples::{FAR, LONG, job, payload, percent, tag};

/// How many jobs and queues a sequence uses: few, so that calls meet.
const JOBS: usize = 8;
const QUEUES: usize = 2;
/// Longer than the tick of any store's clock.
const TICK: Duration = Duration::from_millis(2);

/// One call. Numbers name jobs and queues of the sequence.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Enqueue(Vec<Wanted>),
    Claim {
        first: usize,
        queues: usize,
        limit: u32,
    },
    Heartbeat(Vec<Held>),
    Settle(Vec<(Held, End)>),
    Progress(Vec<(Held, u8)>),
    Cancel(Vec<usize>),
    Retry(Vec<usize>),
    Pause(usize),
    Open(usize),
    Maintain,
    Purge,
    List(State),
}

/// A job to enqueue. Its number decides its queue; the same again is a repeat.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    job: usize,
    priority: u8,
    far: bool,
    key: Option<(u8, bool)>,
}

/// Which token: mostly one that holds its job, as its number among those; else
/// one of all that were given, or one that never was.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    Holding(usize),
    Given(usize),
    Never(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Complete,
    Retry,
    RetryFar,
    Fail,
    Snooze,
    SnoozeFar,
    Release,
}

/// Sequences of up to so many steps. From one on, so that they can shrink.
pub(crate) fn steps(longest: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=longest)
}

fn step() -> BoxedStrategy<Step> {
    let job = || 0..JOBS;
    let key = proptest::option::weighted(0.4, (0..2_u8, any::<bool>()));
    let wanted = (job(), 0..4_u8, proptest::bool::weighted(0.2), key).prop_map(
        |(job, priority, far, key)| Wanted {
            job,
            priority,
            far,
            key,
        },
    );
    let held = || {
        prop_oneof![
            9 => (0..JOBS).prop_map(Held::Holding),
            2 => (0..4 * JOBS).prop_map(Held::Given),
            1 => (0..JOBS).prop_map(Held::Never),
        ]
    };
    let end = prop_oneof![
        3 => Just(End::Complete),
        2 => Just(End::Retry),
        1 => Just(End::RetryFar),
        2 => Just(End::Fail),
        1 => Just(End::Snooze),
        1 => Just(End::SnoozeFar),
        2 => Just(End::Release),
    ];
    let claim = (
        0..QUEUES,
        1..=QUEUES,
        prop_oneof![8 => 1..4_u32, 1 => Just(0)],
    )
        .prop_map(|(first, queues, limit)| Step::Claim {
            first,
            queues,
            limit,
        });
    prop_oneof![
        6 => vec(wanted, 1..4).prop_map(Step::Enqueue),
        6 => claim,
        1 => vec(held(), 1..4).prop_map(Step::Heartbeat),
        6 => vec((held(), end), 1..4).prop_map(Step::Settle),
        2 => vec((held(), 0..100_u8), 1..3).prop_map(Step::Progress),
        2 => vec(job(), 1..3).prop_map(Step::Cancel),
        2 => vec(job(), 1..3).prop_map(Step::Retry),
        1 => (0..QUEUES).prop_map(Step::Pause),
        2 => (0..QUEUES).prop_map(Step::Open),
        1 => Just(Step::Maintain),
        1 => Just(Step::Purge),
        1 => proptest::sample::select(&State::ALL[..]).prop_map(Step::List),
    ]
    .boxed()
}

/// One comparison: the backend by several handles, the machine beside it, on
/// queues that no other comparison uses.
pub(crate) struct Run<'a> {
    handles: &'a [Handle],
    machine: Machine,
    now: Timestamp,
    queues: Vec<QueueName>,
    ids: Vec<JobId>,
    /// The tokens that the claims gave: the backend's, the machine's.
    tokens: Vec<(Token, Token)>,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

impl<'a> Run<'a> {
    pub(crate) fn new(handles: &'a [Handle]) -> Self {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = |n| QueueName::new(format!("run {run} {n}")).expect("a valid queue name");
        let queues: Vec<_> = (0..QUEUES).map(name).collect();
        let ids = (0..JOBS)
            .map(|job| JobId::new(&queues[job % QUEUES]))
            .collect();
        let tokens = Vec::new();
        let now = Timestamp::from_micros(0);
        Self {
            handles,
            machine: Machine::new(),
            now,
            queues,
            ids,
            tokens,
        }
    }

    /// Makes the calls on both sides and compares.
    pub(crate) async fn compare(mut self, steps: &[Step]) -> Verdict {
        for (number, step) in steps.iter().enumerate() {
            tokio::time::sleep(TICK).await;
            let handle = self.handles[number % self.handles.len()].clone();
            let place = |wrong| Failure::new(format!("at step {} ({step:?}): {wrong}", number + 1));
            self.step(&handle, step).await.map_err(place)?;
        }
        let handle = self.handles[steps.len() % self.handles.len()].clone();
        self.compare_all(&handle).await
    }

    fn apply(&mut self, command: Command) -> Answer {
        self.now = self.now.after(Duration::from_secs(1));
        self.machine.apply(command, self.now)
    }

    async fn step(&mut self, a: &Handle, step: &Step) -> Verdict {
        match step {
            Step::Enqueue(wanted) => {
                let jobs: Vec<_> = wanted.iter().map(|wanted| self.job(wanted)).collect();
                let found = Answer::Enqueued(a.enqueue(&jobs).await?);
                same("the answer", found, self.apply(Command::Enqueue(jobs)))
            }
            Step::Claim {
                first,
                queues,
                limit,
            } => self.claim(a, *first, *queues, *limit).await,
            Step::Heartbeat(held) => {
                let (mine, model) = self.tokens(held.iter().copied());
                let found = Answer::Holding(a.heartbeat(&mine, LONG).await?);
                let command = Command::Heartbeat {
                    tokens: model,
                    lease: LONG,
                };
                same("the answer", found, self.apply(command))
            }
            Step::Settle(ends) => {
                let (mine, model) = self.tokens(ends.iter().map(|(held, _)| *held));
                let (mine, model) = (settlements(mine, ends), settlements(model, ends));
                let found = Answer::Settled(a.settle(&mine).await?);
                same("the answer", found, self.apply(Command::Settle(model)))
            }
            Step::Progress(values) => {
                let (mine, model) = self.tokens(values.iter().map(|(held, _)| *held));
                let (mine, model) = (updates(mine, values), updates(model, values));
                let found = Answer::Holding(a.progress(&mine).await?);
                same("the answer", found, self.apply(Command::Progress(model)))
            }
            Step::Cancel(jobs) => {
                let ids = self.ids(jobs);
                let found = Answer::Cancelled(a.cancel(&ids).await?);
                same("the answer", found, self.apply(Command::Cancel(ids)))
            }
            Step::Retry(jobs) => {
                let ids = self.ids(jobs);
                let found = Answer::Retried(a.retry(&ids).await?);
                same("the answer", found, self.apply(Command::Retry(ids)))
            }
            Step::Pause(queue) => self.set_flow(a, *queue, Flow::Paused).await,
            Step::Open(queue) => self.set_flow(a, *queue, Flow::Open).await,
            Step::Maintain => {
                // What it did depends on what the backend did before, unasked.
                a.maintain_all().await?;
                self.apply(Command::Maintain(MaintainLimits::default()));
                Ok(())
            }
            Step::Purge => self.purge(a).await,
            Step::List(state) => self.list(a, Filter::any().state(*state)).await,
        }
    }

    fn job(&self, wanted: &Wanted) -> NewJob {
        let Wanted {
            job: number,
            priority,
            far,
            key,
        } = wanted;
        let name = self.queues[number % QUEUES].as_str();
        let unique = key.map(|(key, period)| Unique {
            key: UniqueKey::new(format!("key {key}")).expect("a valid key"),
            policy: if period {
                UniquePolicy::ForPeriod(FAR)
            } else {
                UniquePolicy::WhileUnfinished
            },
        });
        NewJob {
            id: self.ids[*number],
            payload: payload(number.to_string()),
            priority: Priority::from_u8(*priority).unwrap_or_default(),
            schedule: if *far {
                Schedule::After(FAR)
            } else {
                Schedule::Now
            },
            retry: RetryPolicy::fixed(3, FAR),
            unique,
            tags: vec![tag(&format!("tag {}", number % 3))],
            ..job(name)
        }
    }

    fn ids(&self, jobs: &[usize]) -> Vec<JobId> {
        jobs.iter().map(|job| self.ids[*job]).collect()
    }

    /// Tokens of the same claims, on both sides.
    fn tokens(&self, held: impl Iterator<Item = Held>) -> (Vec<Token>, Vec<Token>) {
        let holding: Vec<_> = self
            .tokens
            .iter()
            .copied()
            .filter(|(_, token)| self.holds(*token))
            .collect();
        held.map(|held| match held {
            Held::Holding(number) => nth(&holding, number).unwrap_or(self.never(number)),
            Held::Given(number) => nth(&self.tokens, number).unwrap_or(self.never(number)),
            Held::Never(number) => self.never(number),
        })
        .unzip()
    }

    fn holds(&self, token: Token) -> bool {
        let job = self.machine.get(&[token.id]).pop().flatten();
        job.is_some_and(|job| job.state == State::Running && job.counter == token.counter)
    }

    fn never(&self, number: usize) -> (Token, Token) {
        let token = Token {
            id: self.ids[number % JOBS],
            counter: 1_000_000,
        };
        (token, token)
    }

    /// The backend's latest counter of a job; 0 where it was not claimed.
    fn counter(&self, id: JobId) -> u64 {
        let last = self.tokens.iter().rev().find(|(token, _)| token.id == id);
        last.map_or(0, |(token, _)| token.counter)
    }

    async fn claim(&mut self, a: &Handle, first: usize, count: usize, limit: u32) -> Verdict {
        let mut queues = self.queues.clone();
        queues.rotate_left(first);
        queues.truncate(count);
        let request = ClaimRequest {
            queues,
            limit,
            lease: LONG,
            worker: a.worker().clone(),
        };
        let found = a.claim(&request).await?;
        let Answer::Claimed(expected) = self.apply(Command::Claim(request)) else {
            return Err(Failure::new("the machine gave no answer to a claim"));
        };
        for (mine, model) in found
            .iter()
            .zip(&expected)
            .filter(|(a, b)| a.token.id == b.token.id)
        {
            let last = self.counter(mine.token.id);
            same(
                "the counter is above the one before",
                mine.token.counter > last,
                true,
            )?;
            self.tokens.push((mine.token, model.token));
        }
        let plain = |claimed: Vec<ClaimedJob>| claimed.into_iter().map(without_times).collect();
        same::<Vec<_>, Vec<_>>("the claimed jobs", plain(found), plain(expected))
    }

    async fn set_flow(&mut self, a: &Handle, queue: usize, flow: Flow) -> Verdict {
        let queue = self.queues[queue].clone();
        a.set_flow(&queue, flow).await?;
        self.apply(Command::SetFlow { queue, flow });
        Ok(())
    }

    async fn purge(&mut self, a: &Handle) -> Verdict {
        let retention = Retention::all(Duration::ZERO);
        a.maintain_with(1_000, retention).await?;
        self.apply(Command::Maintain(MaintainLimits {
            jobs: 1_000,
            retention,
        }));
        // What becomes of a purged id that is enqueued again is left open.
        let found = a.get(&self.ids).await?;
        for (place, (mine, model)) in found.iter().zip(self.machine.get(&self.ids)).enumerate() {
            same(
                "whether the job is there after the purge",
                mine.is_some(),
                model.is_some(),
            )?;
            if mine.is_none() {
                self.ids[place] = JobId::new(&self.queues[place % QUEUES]);
            }
        }
        Ok(())
    }

    async fn list(&self, a: &Handle, filter: Filter) -> Verdict {
        for queue in &self.queues {
            let filter = filter.clone().queue(queue.clone());
            let found = a.list_all(&filter, 3).await?;
            let expected = self
                .machine
                .list(&filter, &Page::first(Page::MAX_LIMIT))
                .jobs;
            let ids = |jobs: &[JobRecord]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
            same("the listed jobs", ids(&found), ids(&expected))?;
        }
        Ok(())
    }

    /// Records, lists, counts and queues are the same.
    async fn compare_all(&self, a: &Handle) -> Verdict {
        let found = a.get(&self.ids).await?;
        for (mine, model) in found.into_iter().zip(self.machine.get(&self.ids)) {
            if let Some(record) = &mine {
                let counter = self.counter(record.id);
                same(
                    "the record's counter is its latest token's",
                    record.counter,
                    counter,
                )?;
            }
            same("the record", mine.map(comparable), model.map(comparable))?;
        }
        self.list(a, Filter::any()).await?;
        let mine = |queue: &QueueName| self.queues.contains(queue);
        let mut counts = a.counts().await?;
        counts.retain(|counts| mine(&counts.queue));
        same("the counts", counts, self.machine.counts())?;
        let mut queues = a.queues().await?;
        queues.retain(|info| mine(&info.name));
        same("the queues", queues, self.machine.queues())
    }
}

fn nth(tokens: &[(Token, Token)], number: usize) -> Option<(Token, Token)> {
    tokens.get(number.checked_rem(tokens.len())?).copied()
}

fn settlements(tokens: Vec<Token>, ends: &[(Held, End)]) -> Vec<Settlement> {
    let ends = ends.iter().map(|(_, end)| match end {
        End::Complete => crate::samples::complete(),
        End::Retry => crate::samples::retry(Duration::ZERO),
        End::RetryFar => crate::samples::retry(FAR),
        End::Fail => crate::samples::fail(),
        End::Snooze => Outcome::Snooze {
            delay: Duration::ZERO,
            reason: None,
        },
        End::SnoozeFar => Outcome::Snooze {
            delay: FAR,
            reason: Some(ErrorText::new("later")),
        },
        End::Release => Outcome::Release,
    });
    tokens
        .into_iter()
        .zip(ends)
        .map(|(token, outcome)| Settlement { token, outcome })
        .collect()
}

fn updates(tokens: Vec<Token>, values: &[(Held, u8)]) -> Vec<ProgressUpdate> {
    let values = values.iter().map(|(_, n)| percent(*n));
    tokens
        .into_iter()
        .zip(values)
        .map(|(token, values)| ProgressUpdate { token, values })
        .collect()
}

fn without_times(claimed: ClaimedJob) -> ClaimedJob {
    let never = Timestamp::default();
    ClaimedJob {
        token: Token {
            counter: 0,
            ..claimed.token
        },
        created_at: never,
        due_at: never,
        lease_until: never,
        ..claimed
    }
}

/// The record without what may differ: times but for their presence, the
/// counter, and by how much the sequence has risen.
fn comparable(record: JobRecord) -> JobRecord {
    let never = Timestamp::default();
    let mut errors = record.errors;
    errors.iter_mut().for_each(|error| error.at = never);
    let Progress { sequence, values } = record.progress;
    JobRecord {
        counter: 0,
        created_at: never,
        due_at: never,
        claimed_at: record.claimed_at.map(|_| never),
        lease_until: record.lease_until.map(|_| never),
        finished_at: record.finished_at.map(|_| never),
        progress: Progress {
            sequence: sequence.min(1),
            values,
        },
        errors,
        ..record
    }
}
