//! The bytes that scripts and this crate exchange. Numbers are big-endian, in
//! as many bytes as the scripts pack them.

use anyqueue_core::{
    AttemptError, Backoff, ErrorText, JobId, JobRecord, Kind, NewJob, Payload, Priority, Progress,
    ProgressValues, QueueName, RetryPolicy, State, Tag, Timestamp, TraceContext, Unique, UniqueKey,
    UniquePolicy, WorkerId,
};
use std::time::Duration;

use crate::error::Failure;

/// The last moment and the longest span that scripts tell apart: their numbers
/// are doubles. 2255.
const LAST: u64 = (1 << 53) - 1;

/// The flags of a job, as `lib.lua` names them.
const FLAGGED: u8 = 1;

/// Packs what goes to a script.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn uint(&mut self, value: u64, bytes: usize) {
        let all = value.to_be_bytes();
        self.0.extend_from_slice(&all[8 - bytes..]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn id(&mut self, id: JobId) {
        self.bytes(id.as_bytes());
    }

    /// A claim counter in 6 bytes. One that does not fit is nobody's.
    pub(crate) fn counter(&mut self, counter: u64) {
        self.uint(counter.min((1 << 48) - 1), 6);
    }

    pub(crate) fn span(&mut self, span: Duration) {
        self.uint(micros(span), 7);
    }

    /// A text with its length in front.
    pub(crate) fn text(&mut self, text: &str, bytes: usize) {
        self.uint(text.len() as u64, bytes);
        self.bytes(text.as_bytes());
    }
}

/// A span in microseconds, as long as scripts can tell.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).map_or(LAST, |micros| micros.min(LAST))
}

/// Takes apart what a script answered or stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or_else(|| Failure::corrupt("record that is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn uint(&mut self, bytes: usize) -> Result<u64, Failure> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Failure> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, Failure> {
        // Four bytes always fit.
        Ok(self.uint(4)? as u32)
    }

    fn time(&mut self) -> Result<Timestamp, Failure> {
        // Seven bytes always fit.
        Ok(Timestamp::from_micros(self.uint(7)? as i64))
    }

    pub(crate) fn id(&mut self) -> Result<JobId, Failure> {
        let bytes = self.take(16)?.try_into();
        bytes
            .map(JobId::from_bytes)
            .map_err(|_| Failure::corrupt("job id"))
    }

    pub(crate) fn text(&mut self, bytes: usize) -> Result<&'a str, Failure> {
        let length = self.uint(bytes)? as usize;
        utf8(self.take(length)?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::corrupt("text"))
}

/// Where a job is in its life: `STATE` of `lib.lua`, or what `HEAD` says of a
/// job that was not touched since its enqueue.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) state: State,
    pub(crate) priority: Priority,
    flags: u8,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) counter: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) due_at: Timestamp,
    claimed_at: Timestamp,
    pub(crate) ends_at: Timestamp,
}

impl Moving {
    /// Reads a `STATE`; what follows it (the worker) is left in the reader.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Failure> {
        let state = State::from_u8(from.byte()?).ok_or_else(|| Failure::corrupt("state"))?;
        let _settled = from.byte()?;
        let _settled_counter = from.uint(6)?;
        let counter = from.uint(6)?;
        let ends_at = from.time()?;
        let attempt = from.number()?;
        let (due_at, claimed_at) = (from.time()?, from.time()?);
        let fresh = Self::fresh(from)?;
        let never = Timestamp::default();
        Ok(Self {
            state,
            attempt,
            counter,
            due_at: if due_at == never {
                fresh.created_at
            } else {
                due_at
            },
            claimed_at,
            ends_at,
            ..fresh
        })
    }

    /// What the `HEAD` that comes next makes of a job that is claimed for the
    /// first time.
    pub(crate) fn first_claim(mut head: Reader<'_>) -> Result<Self, Failure> {
        Ok(Self {
            state: State::Running,
            attempt: 1,
            counter: 1,
            ..Self::fresh(&mut head)?
        })
    }

    /// Reads a `HEAD`.
    fn fresh(from: &mut Reader<'_>) -> Result<Self, Failure> {
        let _seq = from.uint(6)?;
        let created_at = from.time()?;
        let _queue = from.uint(2)?;
        let priority = priority(from.byte()?)?;
        let flags = from.byte()?;
        let max_attempts = from.number()?;
        let never = Timestamp::default();
        Ok(Self {
            state: State::Ready,
            priority,
            flags,
            attempt: 0,
            max_attempts,
            counter: 0,
            created_at,
            due_at: created_at,
            claimed_at: never,
            ends_at: never,
        })
    }
}

fn priority(number: u8) -> Result<Priority, Failure> {
    Priority::from_u8(number).ok_or_else(|| Failure::corrupt("priority"))
}

/// The bytes of a `HEAD`.
const HEAD: usize = 21;

/// What a job is: written once, after its `HEAD`.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) kind: Kind,
    pub(crate) backoff: Backoff,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) unique: Option<Unique>,
    pub(crate) payload: Payload,
}

impl Body {
    /// Packs what a job is, with its length in front; `list.lua` knows that
    /// the kind comes first.
    pub(crate) fn write(job: &NewJob, to: &mut Writer) -> Result<(), Failure> {
        let start = to.0.len();
        to.uint(0, 4);
        to.text(job.kind.as_str(), 1);
        to.text(&job.retry.backoff.to_stored().unwrap_or_default(), 4);
        to.text(job.trace.as_ref().map_or("", |trace| trace.as_str()), 2);
        to.uint(job.tags.len() as u64, 1);
        for tag in &job.tags {
            to.text(tag.as_str(), 1);
        }
        match &job.unique {
            None => to.uint(0, 1),
            Some(Unique { key, policy }) => {
                let (number, period) = match policy {
                    UniquePolicy::WhileUnfinished => (1, Duration::ZERO),
                    UniquePolicy::ForPeriod(period) => (2, *period),
                };
                to.uint(number, 1);
                to.text(key.as_str(), 2);
                to.uint(period.as_secs(), 8);
                to.uint(u64::from(period.subsec_nanos()), 4);
            }
        }
        to.bytes(job.payload.as_str().as_bytes());
        let length = u32::try_from(to.0.len() - start - 4).map_err(|_| {
            let message = "the job is larger than 4 GiB; enqueue a reference to its data";
            Failure::new(anyqueue_core::ErrorKind::InvalidInput, message)
        })?;
        to.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Reads what `write` packed.
    ///
    /// `last` is the kind of the body read before: jobs of one kind share it.
    pub(crate) fn read(from: &mut Reader<'_>, last: &mut Option<Kind>) -> Result<Self, Failure> {
        let length = from.number()? as usize;
        let mut from = Reader(from.take(length)?);
        let text = from.text(1)?;
        let kind = match last {
            Some(kind) if kind.as_str() == text => kind.clone(),
            _ => {
                let kind = Kind::new(text).map_err(|_| Failure::corrupt("kind"))?;
                last.insert(kind).clone()
            }
        };
        let backoff = Some(from.text(4)?).filter(|text| !text.is_empty());
        let backoff = Backoff::from_stored(backoff).map_err(|_| Failure::corrupt("backoff"))?;
        let trace = Some(from.text(2)?).filter(|text| !text.is_empty());
        let trace = trace.map(TraceContext::new).transpose();
        let tags =
            (0..from.byte()?).map(|_| Tag::new(from.text(1)?).map_err(|_| Failure::corrupt("tag")));
        let tags = tags.collect::<Result<_, _>>()?;
        let unique = match from.byte()? {
            0 => None,
            number => {
                let key = UniqueKey::new(from.text(2)?);
                let (secs, nanos) = (from.uint(8)?, from.number()?);
                if nanos >= 1_000_000_000 {
                    return Err(Failure::corrupt("period"));
                }
                let period = Duration::new(secs, nanos);
                Some(Unique {
                    key: key.map_err(|_| Failure::corrupt("unique key"))?,
                    policy: match number {
                        1 => UniquePolicy::WhileUnfinished,
                        _ => UniquePolicy::ForPeriod(period),
                    },
                })
            }
        };
        Ok(Self {
            kind,
            backoff,
            trace: trace.map_err(|_| Failure::corrupt("trace context"))?,
            tags,
            unique,
            payload: Payload::from_stored(utf8(from.0)?),
        })
    }

    /// Reads a body as stored: after its `HEAD`.
    pub(crate) fn after_head(
        from: &mut Reader<'_>,
        last: &mut Option<Kind>,
    ) -> Result<Self, Failure> {
        from.take(HEAD)?;
        Self::read(from, last)
    }
}

/// The values of a report.
pub(crate) fn write_progress(values: &ProgressValues) -> Vec<u8> {
    let mut to = Writer::default();
    match values.percent {
        None => to.uint(255, 1),
        Some(percent) => to.uint(u64::from(percent), 1),
    }
    to.uint(values.step.map_or(0, |step| u64::from(step) + 1), 5);
    if let Some(message) = &values.message {
        to.text(message, 2);
    }
    to.0
}

/// A sequence and the values of the last report.
fn read_progress(bytes: &[u8]) -> Result<Progress, Failure> {
    let mut from = Reader(bytes);
    if from.is_empty() {
        return Ok(Progress::default());
    }
    let sequence = from.uint(6)?;
    let mut values = ProgressValues::default();
    if !from.is_empty() {
        values.percent = Some(from.byte()?).filter(|percent| *percent != 255);
        values.step = match from.uint(5)? {
            0 => None,
            step => Some(u32::try_from(step - 1).map_err(|_| Failure::corrupt("step"))?),
        };
        if !from.is_empty() {
            values.message = Some(from.text(2)?.to_owned());
        }
    }
    Ok(Progress { sequence, values })
}

fn read_errors(bytes: &[u8]) -> Result<Vec<AttemptError>, Failure> {
    let (mut from, mut errors) = (Reader(bytes), Vec::new());
    while !from.is_empty() {
        errors.push(AttemptError {
            attempt: from.number()?,
            at: from.time()?,
            message: ErrorText::new(from.text(2)?),
        });
    }
    Ok(errors)
}

/// The result that completed jobs without one of their own have.
pub(crate) const NO_RESULT: &str = "null";

/// The parts of a job's record, as `get.lua` answers them.
pub(crate) fn record(id: JobId, parts: [&[u8]; 7]) -> Result<JobRecord, Failure> {
    let [text, body, progress, errors, reason, result, queue] = parts;
    let (mut text, mut body) = (Reader(text), Reader(body));
    let moving = if text.is_empty() {
        Moving::fresh(&mut Reader(body.0))?
    } else {
        Moving::read(&mut text)?
    };
    let Moving {
        state,
        flags,
        ends_at,
        claimed_at,
        ..
    } = moving;
    let body = Body::after_head(&mut body, &mut None)?;
    let worker = if state == State::Running {
        let worker = WorkerId::new(text.text(1)?);
        Some(worker.map_err(|_| Failure::corrupt("worker id"))?)
    } else {
        None
    };
    let result = match (state, result) {
        (State::Completed, []) => Some(Payload::from_stored(NO_RESULT)),
        (State::Completed, result) => Some(Payload::from_stored(utf8(result)?)),
        _ => None,
    };
    // A byte in front: an empty reason is one.
    let reason = reason
        .split_first()
        .map(|(_, reason)| utf8(reason))
        .transpose()?;
    Ok(JobRecord {
        id,
        queue: queue_name(queue)?,
        kind: body.kind,
        payload: body.payload,
        priority: moving.priority,
        state,
        attempt: moving.attempt,
        counter: moving.counter,
        retry: RetryPolicy::new(moving.max_attempts, body.backoff),
        created_at: moving.created_at,
        due_at: moving.due_at,
        claimed_at: (claimed_at != Timestamp::default()).then_some(claimed_at),
        lease_until: (state == State::Running).then_some(ends_at),
        worker,
        finished_at: state.is_finished().then_some(ends_at),
        cancel_requested: flags & FLAGGED != 0,
        snooze_reason: reason.map(ErrorText::new),
        progress: read_progress(progress)?,
        result,
        errors: read_errors(errors)?,
        unique: body.unique,
        tags: body.tags,
        trace: body.trace,
    })
}

pub(crate) fn queue_name(bytes: &[u8]) -> Result<QueueName, Failure> {
    QueueName::new(utf8(bytes)?).map_err(|_| Failure::corrupt("queue name"))
}
