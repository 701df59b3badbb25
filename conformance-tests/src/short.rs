//! Short forms of arguments and answers for a report's list of calls.

use anyqueue_core::{
    Cancelled, ClaimRequest, ClaimedJob, Enqueued, Filter, Holding, JobId, JobRecord, Listing,
    Maintained, NewJob, Outcome, Page, Payload, Priority, ProgressUpdate, ProgressValues,
    QueueCounts, QueueInfo, Retried, Schedule, Settled, Settlement, State, Token,
};

use crate::recorder::Names;

/// How many items of a batch are shown.
const ITEMS: usize = 6;
/// How many characters of a text are shown.
const CHARS: usize = 40;

pub(crate) trait Short {
    fn short(&self, names: &mut Names) -> String;
}

/// The first items of a batch, and how many follow.
pub(crate) fn list<T: Short>(items: &[T], names: &mut Names) -> String {
    let mut shown: Vec<_> = items.iter().take(ITEMS).map(|item| item.short(names)).collect();
    if items.len() > ITEMS {
        shown.push(format!("and {} more", items.len() - ITEMS));
    }
    format!("[{}]", shown.join(", "))
}

/// The start of a text, quoted, and how long it is.
pub(crate) fn text(text: &str) -> String {
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

fn payload(payload: &Payload) -> String {
    text(payload.as_str())
}

impl<T: Short> Short for Vec<T> {
    fn short(&self, names: &mut Names) -> String {
        list(self, names)
    }
}

impl<T: Short> Short for Option<T> {
    fn short(&self, names: &mut Names) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |item| item.short(names))
    }
}

impl Short for () {
    fn short(&self, _: &mut Names) -> String {
        "done".to_owned()
    }
}

impl Short for JobId {
    fn short(&self, names: &mut Names) -> String {
        names.of(*self)
    }
}

impl Short for Token {
    fn short(&self, names: &mut Names) -> String {
        format!("{}@{}", names.of(self.id), self.counter)
    }
}

impl Short for NewJob {
    fn short(&self, names: &mut Names) -> String {
        let mut short = format!("{} in {:?}", names.of(self.id), self.queue);
        if self.priority != Priority::Normal {
            short += &format!(" {:?}", self.priority);
        }
        if self.schedule != Schedule::Now {
            short += &format!(" {:?}", self.schedule);
        }
        if let Some(unique) = &self.unique {
            short += &format!(" unique {:?} {:?}", unique.key, unique.policy);
        }
        short + " " + &payload(&self.payload)
    }
}

impl Short for Enqueued {
    fn short(&self, names: &mut Names) -> String {
        match self {
            Self::Created(id) => format!("created {}", names.of(*id)),
            Self::Existing(id) => format!("existing {}", names.of(*id)),
        }
    }
}

impl Short for ClaimRequest {
    fn short(&self, _: &mut Names) -> String {
        format!("{} of {:?} for {:?} by {}", self.limit, self.queues, self.lease, self.worker)
    }
}

impl Short for ClaimedJob {
    fn short(&self, names: &mut Names) -> String {
        format!("{} of {:?} attempt {}", self.token.short(names), self.queue, self.attempt)
    }
}

impl Short for Settlement {
    fn short(&self, names: &mut Names) -> String {
        let token = self.token.short(names);
        match &self.outcome {
            Outcome::Complete { result } => format!("{token} complete {}", payload(result)),
            Outcome::Retry { delay, error } => {
                format!("{token} retry {delay:?} {}", text(error.as_str()))
            }
            Outcome::Fail { error } => format!("{token} fail {}", text(error.as_str())),
            Outcome::Snooze { delay, .. } => format!("{token} snooze {delay:?}"),
            Outcome::Release => format!("{token} release"),
        }
    }
}

impl Short for ProgressValues {
    fn short(&self, _: &mut Names) -> String {
        let message = self.message.as_deref().map(text).unwrap_or_default();
        format!("{:?}% step {:?} {message}", self.percent, self.step)
    }
}

impl Short for ProgressUpdate {
    fn short(&self, names: &mut Names) -> String {
        format!("{} {}", self.token.short(names), self.values.short(names))
    }
}

impl Short for JobRecord {
    fn short(&self, names: &mut Names) -> String {
        let mut short = format!(
            "{} of {:?} {} attempt {} counter {} sequence {} errors {}",
            names.of(self.id),
            self.queue,
            self.state,
            self.attempt,
            self.counter,
            self.progress.sequence,
            self.errors.len()
        );
        if self.cancel_requested {
            short += " flagged";
        }
        short
    }
}

impl Short for Listing {
    fn short(&self, names: &mut Names) -> String {
        let next = self.next.map(|cursor| format!(" next behind {}", names.of(cursor.id())));
        list(&self.jobs, names) + &next.unwrap_or_default()
    }
}

impl Short for Filter {
    fn short(&self, _: &mut Names) -> String {
        let Self { states, queue, kind, tags, .. } = self;
        format!("states {states:?} queue {queue:?} kind {kind:?} tags {tags:?}")
    }
}

impl Short for Page {
    fn short(&self, names: &mut Names) -> String {
        let after = self.after.map(|cursor| format!(" behind {}", names.of(cursor.id())));
        format!("limit {}{}", self.limit, after.unwrap_or_default())
    }
}

impl Short for QueueCounts {
    fn short(&self, _: &mut Names) -> String {
        let states = State::ALL.map(|state| self.counts.get(state).to_string());
        format!("{:?} {}", self.queue, states.join("/"))
    }
}

impl Short for QueueInfo {
    fn short(&self, _: &mut Names) -> String {
        format!("{:?} {:?}", self.name, self.flow)
    }
}

impl Short for Retried {
    fn short(&self, names: &mut Names) -> String {
        match self {
            Self::Existing(id) => format!("existing {}", names.of(*id)),
            other => format!("{other:?}"),
        }
    }
}

macro_rules! short_by_debug {
    ($($type:ty),+) => {
        $(impl Short for $type {
            fn short(&self, _: &mut Names) -> String {
                format!("{self:?}")
            }
        })+
    };
}
short_by_debug!(Holding, Settled, Cancelled, Maintained);
