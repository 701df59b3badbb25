//! [`Board`]: the scoreboard.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyqueue::Settled;
use anyqueue_conformance_tests::faults::history::{Answer, Fault, History};
use anyqueue_conformance_tests::faults::{Law, Verdict};

use crate::faults::Kind;
use crate::{Failure, Options};

pub(crate) struct Board {
    backend: String,
    minutes: f64,
    seed: u64,
    acknowledged: usize,
    finished: usize,
    starts: usize,
    calls: usize,
    unknown: usize,
    broken: Vec<(Law, usize)>,
    faults: BTreeMap<&'static str, u32>,
    /// Of each fault, sorted.
    recoveries: Vec<Duration>,
}

impl Board {
    pub(crate) fn new(
        options: &Options,
        time: Duration,
        history: &History,
        verdict: &Verdict,
        done: &BTreeMap<Kind, u32>,
    ) -> Self {
        let mut faults = BTreeMap::new();
        for (kind, times) in done {
            *faults.entry(kind.as_str()).or_default() += times;
        }
        let broken = |law: Law| (law, verdict.count(law));
        Self {
            backend: options.backend.clone(),
            minutes: time.as_secs_f64() / 60.0,
            seed: options.seed,
            acknowledged: verdict.acknowledged,
            finished: verdict.finished,
            starts: verdict.starts,
            calls: verdict.calls,
            unknown: verdict.unknown,
            broken: Law::ALL.map(broken).into(),
            faults,
            recoveries: recoveries(history),
        }
    }

    fn breaches(&self) -> usize {
        self.broken.iter().map(|(_, times)| times).sum()
    }

    /// An error where a promise broke, or where nothing was there to break one.
    pub(crate) fn judge(&self, kinds: &[Kind]) -> Result<(), Failure> {
        if self.breaches() > 0 {
            return Err(format!("{} breaches", self.breaches()).into());
        }
        if self.acknowledged == 0 || self.finished == 0 {
            return Err("no job was worked, so nothing was shown".into());
        }
        for kind in [Kind::KillWorker, Kind::KillServer, Kind::Cut] {
            if kinds.contains(&kind) && !self.faults.contains_key(kind.as_str()) {
                return Err(format!("there were no {}: it was too short", kind.as_str()).into());
            }
        }
        Ok(())
    }
}

/// For each fault the time from its end until a job was settled next: by the
/// process that it met where that one lives on, else by any. The time of
/// further faults that kept it from that does not count.
fn recoveries(history: &History) -> Vec<Duration> {
    let settled: Vec<(u64, u32)> = history
        .calls
        .iter()
        .filter_map(|call| {
            let Answer::Settled(answers) = &call.answer else {
                return None;
            };
            let ended = call
                .ended
                .filter(|_| answers.contains(&Settled::Accepted))?;
            Some((ended, call.process))
        })
        .collect();
    // A producer settles nothing.
    let works = |process: u32| settled.iter().any(|(_, who)| *who == process);
    let next = |fault: &Fault| {
        let killed = fault.what.starts_with("kills");
        let by = fault.process.filter(|&process| !killed && works(process));
        let later = settled
            .iter()
            .filter(|(ended, who)| *ended >= fault.to && by.is_none_or(|process| process == *who));
        let first = later.map(|(ended, _)| *ended).min()?;
        let wait = first - fault.to;
        Some(Duration::from_micros(
            wait - disturbed(fault.to, first, by, &history.faults),
        ))
    };
    let mut all: Vec<Duration> = history.faults.iter().filter_map(next).collect();
    all.sort_unstable();
    all
}

/// For how much of this time there were faults of everything, or of this
/// process. No two happen at once.
fn disturbed(from: u64, to: u64, process: Option<u32>, faults: &[Fault]) -> u64 {
    let meets = |fault: &&Fault| fault.process.is_none() || fault.process == process;
    let shared = |fault: &Fault| fault.to.min(to).saturating_sub(fault.from.max(from));
    faults.iter().filter(meets).map(shared).sum()
}

fn percentile(sorted: &[Duration], percent: usize) -> String {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let value = sorted.get(at);
    value.map_or_else(
        || "-".to_owned(),
        |value| format!("{:.3} s", value.as_secs_f64()),
    )
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<34}{value:>12}");
        line("backend", self.backend.clone())?;
        line("minutes under faults", format!("{:.1}", self.minutes))?;
        line("seed", self.seed.to_string())?;
        line("jobs acknowledged", self.acknowledged.to_string())?;
        line("jobs finished", self.finished.to_string())?;
        line("starts", self.starts.to_string())?;
        line("calls", self.calls.to_string())?;
        line("calls without an answer", self.unknown.to_string())?;
        for (law, times) in &self.broken {
            line(law.as_str(), times.to_string())?;
        }
        for (what, times) in &self.faults {
            line(what, times.to_string())?;
        }
        let faults = self.recoveries.len();
        line("recovery p50", percentile(&self.recoveries, 50))?;
        line("recovery p99", percentile(&self.recoveries, 99))?;
        let verdict = if self.breaches() == 0 { "ok" } else { "BROKEN" };
        // One line for a summary of several.
        write!(
            f,
            "soak {}: {verdict}, {} jobs acknowledged, {} breaches, {} faults, recovery p99 {} of {faults}",
            self.backend,
            self.acknowledged,
            self.breaches(),
            self.faults.values().sum::<u32>(),
            percentile(&self.recoveries, 99)
        )
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_conformance_tests::faults::history::{Asked, Call};

    use super::*;

    fn fault(process: Option<u32>, from: u64, to: u64) -> Fault {
        Fault {
            what: "stalls".to_owned(),
            process,
            from,
            to,
        }
    }

    fn settle(process: u32, ended: u64) -> Call {
        Call {
            process,
            began: ended - 1,
            ended: Some(ended),
            asked: Asked::Settle(Vec::new()),
            answer: Answer::Settled(vec![Settled::Accepted]),
        }
    }

    #[test]
    fn a_recovery_ends_with_the_next_settle_of_who_was_met() {
        let history = History {
            calls: vec![settle(2, 110), settle(1, 130)],
            faults: vec![fault(None, 0, 50), fault(Some(1), 60, 100)],
            ..History::default()
        };
        assert_eq!(recoveries(&history), [30, 60].map(Duration::from_micros));
    }

    #[test]
    fn the_time_of_further_faults_is_no_recovery() {
        let faults = vec![
            fault(Some(1), 0, 100),
            fault(Some(2), 110, 120),
            fault(Some(1), 120, 170),
            fault(None, 175, 180),
        ];
        assert_eq!(disturbed(100, 200, Some(1), &faults), 55);
        assert_eq!(disturbed(100, 150, Some(1), &faults), 30);
        assert_eq!(disturbed(100, 200, None, &faults), 5);
        let history = History {
            calls: vec![settle(1, 200), settle(2, 300)],
            faults: faults.into_iter().take(3).collect(),
            ..History::default()
        };
        assert_eq!(
            recoveries(&history),
            [30, 50, 180].map(Duration::from_micros)
        );
    }
}
