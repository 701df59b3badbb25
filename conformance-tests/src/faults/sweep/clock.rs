//! [`moved_clock`]: a client whose host's clock is wrong.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::{Enqueued, MaintainLimits, Retention, State, Timestamp};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::asserts::{Failure, Verdict, holds, same};
use crate::fixture::Fixture;
use crate::handle::Handle;
use crate::samples::{complete, delayed, job, queue, unique_for};
use crate::store::fresh_name;

/// Leases, delays and periods of these tests: less than clocks are moved by,
/// more than the test takes.
const SPAN: Duration = Duration::from_secs(30 * 60);

/// How far a moment may be from where it should be: the test's own time.
const NEAR: Duration = Duration::from_secs(10 * 60);

/// Says to a program that it is the process with the moved clock, and of which
/// store.
const CHILD: &str = "ANYQUEUE_SWEEP_MOVED_CLOCK";

/// How long that process may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// How a clock is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is an hour ahead.
    Ahead,
    /// It is an hour behind.
    Behind,
}

impl Moved {
    const fn offset(self) -> &'static str {
        match self {
            Self::Ahead => "+3600",
            Self::Behind => "-3600",
        }
    }
}

/// The program that moves a process's clock (Debian's package `faketime`),
/// where it is installed.
pub(super) fn faketime() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("faketime"));
    programs.find(|program| program.is_file())
}

/// The store, where this process is the one with the moved clock.
pub(super) fn child() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// A second process of this program, whose clock is moved, works on a store
/// together with this one. The store's clock alone says what is due, expired
/// or over:
/// - leases, delays, periods of keys and retentions that this process made are
///   not over for the other, and the other's are as long as it asked for;
/// - what is due now, or whose lease has run out, is claimable at once from
///   either side.
pub(super) async fn moved_clock(fixture: &Arc<dyn Fixture>, moved: Moved) -> Verdict {
    let store = fresh_name();
    let done = both(fixture, &store, moved).await;
    fixture.remove(&store).await;
    done
}

async fn both(fixture: &Arc<dyn Fixture>, store: &str, moved: Moved) -> Verdict {
    let here = Handle::new(fixture.open(store).await?, 1);
    here.prepare().await?;
    let held = here.put(&job("held")).await?;
    let held_token = here.take_for("held", SPAN).await?.token;
    let later = here.put(&delayed("later", SPAN)).await?;
    let keyed = here.put(&unique_for("keyed", "key", SPAN)).await?;
    let kept = here.run("kept", complete()).await?.id;
    here.put(&job("now")).await?;
    here.put(&job("lapsed")).await?;
    let lapsed = here.take_for("lapsed", Duration::from_millis(1)).await?;
    here.outlive(&lapsed).await?;

    let other = Other::start(store, moved).await?;
    let moved_by = apart(Timestamp::host_now(), other.clock);
    holds("the other process's clock is moved", moved_by > SPAN)?;

    for name in ["held", "later", "now", "lapsed", "their-later"] {
        here.claims_none(name).await?;
    }
    let now = here.store_now().await?;
    let near = |what: &str, moment: Option<Timestamp>, expected: Timestamp| {
        let moment = moment.ok_or_else(|| Failure::new(format!("there is no {what}")))?;
        let apart = apart(moment, expected);
        holds(&format!("{what} is {apart:?} off"), apart < NEAR)
    };
    let all = here.list_all(&anyqueue_core::Filter::any(), 100).await?;
    let of = |name: &str| {
        let found = all.iter().find(|job| job.queue == queue(name));
        found.ok_or_else(|| Failure::new(format!("there is no job of {name}")))
    };
    for name in ["now", "lapsed"] {
        near("the other's lease", of(name)?.lease_until, now.after(SPAN))?;
        near("the other's claim", of(name)?.claimed_at, now)?;
    }
    let theirs = of("their-later")?;
    near(
        "the other's delayed job",
        Some(theirs.due_at),
        now.after(SPAN),
    )?;
    near("the other's job", Some(theirs.created_at), now)?;
    let waiting = here.record(later).await?.state;
    same("the delayed job", waiting, State::Scheduled)?;
    same("the holder of the key", of("keyed")?.id, keyed)?;
    here.in_state(kept, State::Completed).await?;
    same(
        "the held job",
        here.record(held).await?.counter,
        held_token.counter,
    )?;
    here.accepted(held_token, complete()).await?;
    here.take("their-now").await?;
    other.end().await
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

/// The other process, when it has done its part. It stays with its store until
/// it is told to end: what it holds may be given up at once when it is gone.
struct Other {
    process: Child,
    /// The time there.
    clock: Timestamp,
}

impl Other {
    async fn start(store: &str, moved: Moved) -> Result<Self, Failure> {
        let faketime = faketime().ok_or_else(|| Failure::new("faketime is not installed"))?;
        let own = std::env::current_exe()?;
        let mut command = Command::new(faketime);
        command.args(["--exclude-monotonic", "-m", "-f", moved.offset()]);
        command.arg(own).env(CHILD, store).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let said = process.stdout.as_mut();
        let said = said.ok_or_else(|| Failure::new("no output to read"))?;
        let mut line = String::new();
        let mut said = BufReader::new(said);
        let read = tokio::time::timeout(PATIENCE, said.read_line(&mut line)).await;
        let read = read.map_err(|_| Failure::new("the other process does not get ready"))?;
        read?;
        let clock = line.trim().parse().map_err(|_| {
            let wrong = format!("the other process: {}", line.trim());
            Failure::new(wrong)
        })?;
        let clock = Timestamp::from_micros(clock);
        Ok(Self { process, clock })
    }

    async fn end(mut self) -> Verdict {
        drop(self.process.stdin.take());
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        let status = status.map_err(|_| Failure::new("the other process does not end"))?;
        holds("the other process ends well", status?.success())
    }
}

/// What the process with the moved clock does. It keeps the handle.
pub(super) async fn as_child(fixture: &Arc<dyn Fixture>, store: &str) -> Result<Handle, Failure> {
    let there = Handle::new(fixture.open(store).await?, 2);
    there.prepare().await?;
    let limits = MaintainLimits {
        jobs: 100,
        retention: Retention::all(SPAN),
    };
    there.maintain(&limits).await?;
    for name in ["held", "later"] {
        there.claims_none(name).await?;
    }
    there.take_for("now", SPAN).await?;
    there.take_for("lapsed", SPAN).await?;
    let keyed = unique_for("keyed", "key", SPAN);
    let answer = there.enqueue_one(&keyed).await?;
    holds(
        "a key is held for its period",
        answer != Enqueued::Created(keyed.id),
    )?;
    there.put(&delayed("their-later", SPAN)).await?;
    there.put(&job("their-now")).await?;
    there.maintain(&limits).await?;
    there.claims_none("their-later").await?;
    Ok(there)
}
