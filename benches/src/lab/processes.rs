//! CPU time and memory of trees of processes, from `/proc`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::record::Used;

/// Of `/proc/PID/stat`; 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Between two samples of memory.
const EVERY: Duration = Duration::from_millis(100);

/// A process and its descendants. Children belong to the thread that made them.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        let threads = threads.into_iter().flatten().flatten();
        let lists = threads.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
        let children: String = lists.collect();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
        at += 1;
    }
    found
}

/// CPU seconds of a tree, with those of its processes that have ended: whoever
/// waited for them has theirs.
fn cpu(root: u32) -> f64 {
    let of = |pid: u32| -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces; what follows it does not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields
            .get(11..15)?
            .iter()
            .filter_map(|n| n.parse::<f64>().ok());
        Some(ticks.sum::<f64>() / TICKS)
    };
    tree(root).into_iter().filter_map(of).sum()
}

/// Mebibytes: each process's anonymous memory, and the greatest shared memory.
fn memory(root: u32) -> f64 {
    let (mut own, mut shared) = (0.0, 0.0_f64);
    for pid in tree(root) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
        };
        own += kib("RssAnon:");
        shared = shared.max(kib("RssShmem:"));
    }
    (own + shared) / 1_024.0
}

/// Seconds that the machine's processors were not idle.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(1).filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, then idle and iowait, then interrupts and what was stolen.
    let idle = ticks.iter().skip(3).take(2).sum::<f64>();
    (ticks.iter().take(8).sum::<f64>() - idle) / TICKS
}

/// Watches trees from now on.
pub(crate) struct Watch {
    roots: [Option<u32>; 2],
    cpu: [f64; 2],
    busy: f64,
    begun: Instant,
    /// In KiB, the greatest so far.
    peaks: Arc<[AtomicU64; 2]>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Watch {
    /// Of the client's tree and the server's.
    pub(crate) fn new(roots: [Option<u32>; 2]) -> Self {
        let peaks = Arc::<[AtomicU64; 2]>::default();
        let stop = Arc::<AtomicBool>::default();
        let sampler = {
            let (peaks, stop) = (Arc::clone(&peaks), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    sample(roots, &peaks);
                    std::thread::sleep(EVERY);
                }
            })
        };
        Self {
            roots,
            cpu: roots.map(|root| root.map_or(0.0, cpu)),
            busy: busy(),
            begun: Instant::now(),
            peaks,
            stop,
            sampler: Some(sampler),
        }
    }

    /// What each used since, and the share of the machine that others had.
    pub(crate) fn end(mut self) -> ([Used; 2], f64) {
        let cpu_now = self.roots.map(|root| root.map_or(0.0, cpu));
        let busy = busy() - self.busy;
        let seconds = self.begun.elapsed().as_secs_f64();
        sample(self.roots, &self.peaks);
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            sampler.join().expect("the sampler does not panic");
        }
        let used = [0, 1].map(|at| Used {
            cpu_seconds: (cpu_now[at] - self.cpu[at]).max(0.0),
            memory_mib: self.peaks[at].load(Ordering::Relaxed) as f64 / 1_024.0,
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let ours: f64 = used.iter().map(|used| used.cpu_seconds).sum();
        (used, ((busy - ours) / (seconds * cores)).clamp(0.0, 1.0))
    }
}

fn sample(roots: [Option<u32>; 2], peaks: &[AtomicU64; 2]) {
    for (root, peak) in roots.iter().zip(peaks) {
        if let Some(root) = *root {
            // Truncation is meant: whole KiB.
            peak.fetch_max((memory(root) * 1_024.0) as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_is_seen_while_it_runs_and_after() {
        let me = std::process::id();
        let before = cpu(me);
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .expect("there is a shell");
        assert!(tree(me).contains(&child.id()));
        child.wait().expect("it ends");
        assert!(!tree(me).contains(&child.id()));
        assert!(
            cpu(me) > before + 0.01,
            "the child's time is its parent's now"
        );
        let held = vec![1_u8; 8 << 20];
        assert!(memory(me) > 8.0);
        drop(held);
    }
}
