//! [`History`]: what the processes of a run asked of a store, and what they
//! were answered, as lines of JSON that outlive a kill -9.
//!
//! A call is noted before it is made and again when it is answered, so that
//! one whose process was killed, or whose future was dropped, is known to have
//! been under way. Times are microseconds of the host's monotonic clock, which
//! all its processes share; the histories of one host can be merged.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyqueue_core::{Cancelled, Enqueued, Error, Holding, OutcomeKind, Retried, Settled, State};
use serde::{Deserialize, Serialize};

/// Everything that is known of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What the store's clock and leases may do.
    pub rules: Rules,
    /// The calls, in the order of their begin.
    pub calls: Vec<Call>,
    /// What was done to processes, server and network.
    pub faults: Vec<Fault>,
    /// Since when nothing was left to do, if the run came so far.
    pub drained: Option<u64>,
}

/// What the store's clock and leases may do without breaking a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// By how much a lease or a delay may be over early: the precision of the
    /// store's clock, in microseconds.
    pub slack: u64,
    /// The same beside a [`Fault`] of any process: where time stands still
    /// while it lacks a leader, and catches up.
    pub slack_beside_faults: u64,
    /// Where the store may end the leases of a holder that it believes to be
    /// gone: for how long after a fault of the holder's it may.
    pub takeover: Option<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            slack: 20_000,
            slack_beside_faults: 20_000,
            takeover: None,
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Which process made it.
    pub process: u32,
    /// When.
    pub began: u64,
    /// When it was answered, or dropped; `None` where its process ended first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// What was asked.
    pub asked: Asked,
    /// The answer.
    #[serde(default, skip_serializing_if = "Answer::is_unknown")]
    pub answer: Answer,
}

/// What was asked: the parts of a call that the laws speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Asked {
    Enqueue(Vec<New>),
    Claim { lease: u64 },
    Heartbeat { lease: u64, tokens: Vec<Hold> },
    Settle(Vec<Settle>),
    Progress(Vec<Hold>),
    Cancel(Vec<String>),
    Retry(Vec<String>),
    Read(Vec<String>),
}

/// An answer, item by item.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Answer {
    /// It may have taken effect, or may take it yet.
    #[default]
    Unknown,
    /// An error that says that nothing happened: its kind.
    Failed(String),
    Enqueued(Vec<Stored>),
    Claimed(Vec<Claimed>),
    Held(Vec<Holding>),
    Settled(Vec<Settled>),
    Cancelled(Vec<Cancelled>),
    Retried(Vec<Retried>),
    Found(Vec<Option<Seen>>),
}

impl Answer {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// The answer that an error is.
    pub fn of(error: &Error) -> Self {
        match error.kind().may_have_happened() {
            true => Self::Unknown,
            false => Self::Failed(error.kind().to_string()),
        }
    }
}

/// A job to be enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct New {
    /// Its id.
    pub job: String,
    /// How long after the enqueue it is due.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay: u64,
    /// How many attempts it has; 0: more than anyone will count.
    #[serde(default, skip_serializing_if = "is_zero_attempts")]
    pub attempts: u32,
    /// The key it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Key>,
}

/// A unique key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its queue, which is its scope.
    pub queue: String,
    /// The key.
    pub key: String,
    /// For how long; `None`: while its job is unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
}

/// What became of an enqueued job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Stored {
    Created,
    Existing(String),
}

impl Stored {
    /// What the store said of the job with this id.
    pub fn of(enqueued: Enqueued) -> Self {
        match enqueued {
            Enqueued::Created(_) => Self::Created,
            Enqueued::Existing(id) => Self::Existing(id.to_string()),
        }
    }
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Hold {
    pub job: String,
    pub counter: u64,
}

/// A job as it was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Claimed {
    pub job: String,
    pub counter: u64,
    pub attempt: u32,
}

/// A settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Settle {
    pub job: String,
    pub counter: u64,
    pub outcome: OutcomeKind,
    /// Of a retry or snooze.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay: u64,
}

/// A job as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Seen {
    pub state: State,
    pub counter: u64,
}

/// Something that was done on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `kill`, `stop`, `cut`, …
    pub what: String,
    /// Which process it met; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// From when.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_zero_attempts(number: &u32) -> bool {
    *number == 0
}

/// A line of a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Rules(Rules),
    /// A whole call.
    Call(Call),
    Begin {
        process: u32,
        call: u64,
        at: u64,
        asked: Asked,
    },
    End {
        process: u32,
        call: u64,
        at: u64,
        answer: Answer,
    },
    Fault(Fault),
    Drained(u64),
}

impl History {
    /// Reads files and merges what they hold. The last line of a killed
    /// process may be cut off.
    ///
    /// # Errors
    /// Where a file cannot be read, or another line is none of a history.
    pub fn read<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let mut history = Self::default();
        for file in files {
            history.add(&mut BufReader::new(File::open(file)?).lines())?;
        }
        history.calls.sort_by_key(|call| call.began);
        history.faults.sort_by_key(|fault| fault.from);
        Ok(history)
    }

    /// Reads lines.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> io::Result<Self> {
        let mut history = Self::default();
        history.add(&mut text.lines().map(|line| Ok(line.to_owned())))?;
        history.calls.sort_by_key(|call| call.began);
        Ok(history)
    }

    fn add(&mut self, lines: &mut dyn Iterator<Item = io::Result<String>>) -> io::Result<()> {
        let mut under_way = HashMap::new();
        let mut lines = lines.peekable();
        while let Some(text) = lines.next() {
            let text = text?;
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let line = match serde_json::from_str(&text) {
                Ok(line) => line,
                Err(_) if lines.peek().is_none() => break,
                Err(error) => return Err(io::Error::other(format!("{error}: {text}"))),
            };
            match line {
                Line::Rules(rules) => self.rules = rules,
                Line::Call(call) => self.calls.push(call),
                Line::Fault(fault) => self.faults.push(fault),
                Line::Drained(at) => self.drained = Some(at),
                Line::Begin {
                    process,
                    call,
                    at,
                    asked,
                } => {
                    under_way.insert((process, call), self.calls.len());
                    self.calls.push(Call {
                        process,
                        began: at,
                        ended: None,
                        asked,
                        answer: Answer::Unknown,
                    });
                }
                Line::End {
                    process,
                    call,
                    at,
                    answer,
                } => {
                    let place = under_way.remove(&(process, call));
                    let place =
                        place.ok_or_else(|| io::Error::other(format!("no such: {text}")))?;
                    self.calls[place].ended = Some(at);
                    self.calls[place].answer = answer;
                }
            }
        }
        Ok(())
    }

    /// The lines of a part of it: these calls, and all faults.
    pub fn write(&self, calls: &[usize]) -> String {
        let mut lines = vec![Line::Rules(self.rules)];
        lines.extend(calls.iter().map(|&at| Line::Call(self.calls[at].clone())));
        lines.extend(self.faults.iter().cloned().map(Line::Fault));
        lines.extend(self.drained.map(Line::Drained));
        let line = |line: &Line| serde_json::to_string(line).expect("texts and numbers") + "\n";
        lines.iter().map(line).collect()
    }
}

/// Where one process notes its calls. Each line is written at once, by one
/// call of the system.
#[derive(Debug)]
pub struct Log {
    process: u32,
    next: AtomicU64,
    to: To,
}

#[derive(Debug)]
enum To {
    File(File),
    Memory(Mutex<String>),
}

impl Log {
    /// Notes in a file of its own, which is added to where it exists.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn to_file(path: &Path, process: u32) -> io::Result<Arc<Self>> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self::new(process, To::File(file)))
    }

    /// Notes in memory, for [`History::parse`].
    pub fn in_memory(process: u32) -> Arc<Self> {
        Self::new(process, To::Memory(Mutex::default()))
    }

    fn new(process: u32, to: To) -> Arc<Self> {
        let next = AtomicU64::new(0);
        Arc::new(Self { process, next, to })
    }

    /// What was noted in memory.
    pub fn text(&self) -> String {
        match &self.to {
            To::File(_) => String::new(),
            To::Memory(text) => text.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The first line of a run.
    pub fn rules(&self, rules: Rules) {
        self.line(&Line::Rules(rules));
    }

    /// Notes a fault.
    pub fn fault(&self, fault: Fault) {
        self.line(&Line::Fault(fault));
    }

    /// Notes that nothing is left to do.
    pub fn drained(&self) {
        self.line(&Line::Drained(now()));
    }

    /// Notes that a call begins.
    pub fn begin(self: &Arc<Self>, asked: Asked) -> UnderWay {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let process = self.process;
        self.line(&Line::Begin {
            process,
            call,
            at: now(),
            asked,
        });
        UnderWay {
            log: Arc::clone(self),
            call,
            answer: Answer::Unknown,
        }
    }

    /// Notes a call that began at this time and was just answered.
    pub fn whole(&self, began: u64, asked: Asked, answer: Answer) {
        self.line(&Line::Call(Call {
            process: self.process,
            began,
            ended: Some(now()),
            asked,
            answer,
        }));
    }

    fn line(&self, line: &Line) {
        let mut text = serde_json::to_string(line).expect("texts and numbers");
        text.push('\n');
        let written = match &self.to {
            To::File(file) => (&mut &*file).write_all(text.as_bytes()),
            To::Memory(all) => {
                all.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
                Ok(())
            }
        };
        // A history with holes proves nothing.
        written.expect("the history is written");
    }
}

/// A call that is under way; unknown where it is dropped without an answer.
#[derive(Debug)]
pub struct UnderWay {
    log: Arc<Log>,
    call: u64,
    answer: Answer,
}

impl UnderWay {
    /// Notes the answer.
    pub fn end(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.log.line(&Line::End {
            process: self.log.process,
            call: self.call,
            at: now(),
            answer: std::mem::take(&mut self.answer),
        });
    }
}

/// Microseconds of the clock that all histories of this host are written by.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1_000
}

/// A span in microseconds.
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
