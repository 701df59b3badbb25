//! Who is measured on which store, with which settings, and what each promises.

use std::path::PathBuf;
use std::process::Command;

/// A queue, or a loop without one.
pub(crate) struct Contestant {
    pub(crate) store: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    program: Program,
    /// What differs from its defaults when it is at its best; none for what has
    /// nothing to set.
    pub(crate) best: Option<&'static str>,
    pub(crate) promises: Promises,
}

enum Program {
    Ours,
    Raw,
    Rust,
    Node,
    Python,
}

/// As its documentation has it (`source`), or its code where that is silent.
pub(crate) struct Promises {
    /// What becomes of a job whose worker is killed with -9.
    pub(crate) killed: &'static str,
    /// Status, progress, result, unique jobs, delayed jobs: `+` or `-` each.
    pub(crate) has: &'static str,
    pub(crate) source: &'static str,
}

const fn promises(killed: &'static str, has: &'static str, source: &'static str) -> Promises {
    Promises {
        killed,
        has,
        source,
    }
}

macro_rules! contestant {
    ($store:literal, $name:literal, $version:literal, $program:ident, $best:expr, $promises:expr) => {
        Contestant {
            store: $store,
            name: $name,
            version: $version,
            program: Program::$program,
            best: $best,
            promises: $promises,
        }
    };
}

const OURS: Promises = promises(
    "runs again when its lease is over (15 s); a stale worker's write is refused",
    "+++++",
    "README.md",
);
const RAW: Promises = promises(
    "is lost, or stays claimed for ever",
    "-----",
    "benches/src/bare",
);

/// In the order of a round.
pub(crate) const ALL: &[Contestant] = &[
    contestant!("redis", "anyqueue", "this commit", Ours, None, OURS),
    contestant!(
        "redis",
        "BullMQ",
        "6.7.0, Node.js",
        Node,
        Some("concurrency 100"),
        promises(
            "runs again once it is found stalled (lock 30 s); at least once",
            "+++++",
            "https://docs.bullmq.io/guide/jobs/stalled",
        )
    ),
    contestant!("redis", "raw loop", "", Raw, None, RAW),
    contestant!(
        "redis",
        "rusty-sidekiq",
        "0.15.2",
        Rust,
        Some("50 workers, a connection each"),
        promises(
            "is lost: BRPOP takes it from the store before it runs; at most once",
            "---++",
            "https://docs.rs/rusty-sidekiq/0.15.2",
        )
    ),
    contestant!(
        "redis",
        "apalis-redis",
        "1.0.0",
        Rust,
        Some("batch_size 500, no locks and events, polled each 5 ms, parallelize(tokio::spawn)"),
        promises(
            "runs again when its worker's heartbeats are missed (10 × 30 s); at least once",
            "+-+++",
            "https://docs.rs/apalis-redis/1.0.0",
        )
    ),
    contestant!(
        "redis",
        "oxana",
        "2.5.0",
        Rust,
        Some("concurrency 512, pool 512, dequeue_timeout 5 ms"),
        promises(
            "runs again when its process's heartbeat is missed; at least once; its record is deleted when it is done",
            "++-++",
            "https://docs.rs/oxana/2.5.0",
        )
    ),
    contestant!("sqlite", "anyqueue", "this commit", Ours, None, OURS),
    contestant!(
        "sqlite",
        "apalis-sqlite",
        "1.0.0",
        Rust,
        Some("batch_size 500, no locks, polled each 5 ms, parallelize(tokio::spawn)"),
        promises(
            "runs again when its worker's heartbeats are missed (2 × 30 s); at least once",
            "+-+++",
            "https://docs.rs/apalis-sqlite/1.0.0",
        )
    ),
    contestant!("sqlite", "raw loop", "", Raw, None, RAW),
    contestant!("rabbitmq", "anyqueue", "this commit", Ours, None, OURS),
    contestant!(
        "rabbitmq",
        "apalis-amqp",
        "1.0.0",
        Rust,
        Some("prefetch 1,000, parallelize(tokio::spawn)"),
        promises(
            "is redelivered: acknowledged after it ran; at least once; but publishes are not confirmed",
            "----+",
            "https://docs.rs/apalis-amqp/1.0.0",
        )
    ),
    contestant!("rabbitmq", "raw loop", "", Raw, None, RAW),
    contestant!(
        "rabbitmq",
        "celery",
        "5.7.0, Python",
        Python,
        Some("prefetch multiplier 128, no results, no gossip, mingle and heartbeat"),
        promises(
            "is lost: acknowledged before it runs (task_acks_late is off); at most once",
            "----+",
            "https://docs.celeryq.dev/en/stable/userguide/tasks.html",
        )
    ),
    contestant!("postgres", "anyqueue", "this commit", Ours, None, OURS),
    contestant!(
        "postgres",
        "graphile-worker",
        "0.18.0, Node.js",
        Node,
        Some("concurrentJobs 24, localQueue 500, batched completions, pool 25"),
        promises(
            "runs again after 4 hours; at least once; its row is deleted when it is done",
            "+--++",
            "https://worker.graphile.org/docs/performance",
        )
    ),
    contestant!("postgres", "raw loop", "", Raw, None, RAW),
    contestant!(
        "postgres",
        "pg-boss",
        "12.38.0, Node.js",
        Node,
        Some("batchSize 500, localConcurrency 4, burstWhenBatchFull, notify"),
        promises(
            "runs again when it expires (15 minutes); at least once",
            "+-+++",
            "https://timgit.github.io/pg-boss/#/./api/workers",
        )
    ),
    contestant!(
        "postgres",
        "graphile-worker-rs",
        "0.14.1",
        Rust,
        Some("concurrency 24, local queue 500, batched completions, pool 20"),
        promises(
            "runs again after 4 hours, sooner with worker recovery on; at least once; its row is deleted when it is done",
            "+--++",
            "https://docs.rs/graphile_worker/0.14.1",
        )
    ),
    contestant!(
        "postgres",
        "apalis-postgres",
        "1.0.0",
        Rust,
        Some("batch_size 500, no locks, polled each 5 ms, parallelize(tokio::spawn), pool 20"),
        promises(
            "runs again when its worker's heartbeats are missed (10 × 30 s); at least once",
            "+-+++",
            "https://docs.rs/apalis-postgres/1.0.0",
        )
    ),
    contestant!(
        "postgres",
        "awa",
        "0.6.9",
        Rust,
        Some("512 workers, 2 claimers of 512, COPY"),
        promises(
            "runs again when its heartbeat is stale; at least once",
            "++-++",
            "https://docs.rs/awa/0.6.9",
        )
    ),
];

impl Contestant {
    /// The settings that it is measured with.
    pub(crate) fn settings(&self) -> &'static [&'static str] {
        match self.best {
            Some(_) => &["best", "defaults"],
            None => &["defaults"],
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.program, Program::Ours)
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.program, Program::Raw)
    }

    /// Jobs that it can have waiting at once.
    pub(crate) fn most(&self) -> usize {
        match self.name {
            // Its fetch unpacks all that is due in one call of Lua, which fails above
            // about 8,000: the worker then never gets a job.
            "apalis-redis" => 7_000,
            _ => usize::MAX,
        }
    }

    /// Whether there is such a measure for it.
    pub(crate) fn has(&self, asked: &str) -> bool {
        !self.is_raw() || asked == "drain" || (asked == "single" && self.store == "postgres")
    }

    /// Its program, or why there is none.
    pub(crate) fn command(&self) -> Result<Command, String> {
        let benches = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let peers = benches.join("peers");
        let installed = std::env::var_os("ANYQUEUE_LAB_PEERS")
            .map_or_else(|| benches.join("../target/peers"), PathBuf::from);
        let folder = self.name.to_lowercase();
        let there = |path: PathBuf| match path.exists() {
            true => Ok(path),
            false => Err("not installed: scripts/lab install".to_owned()),
        };
        match self.program {
            Program::Ours | Program::Raw => {
                let own = std::env::current_exe().map_err(|error| error.to_string())?;
                let mut command = Command::new(own);
                match self.program {
                    Program::Ours => command.args(["lab-child", "ours"]),
                    _ => command.args(["lab-child", "raw", self.store]),
                };
                Ok(command)
            }
            Program::Rust => {
                let name = format!("anyqueue-peer-{folder}");
                Ok(Command::new(there(installed.join("release").join(name))?))
            }
            Program::Node => {
                there(peers.join(&folder).join("node_modules"))?;
                let mut command = Command::new("node");
                command.arg(peers.join(&folder).join("lab.js"));
                Ok(command)
            }
            Program::Python => {
                let mut command = Command::new(there(installed.join(&folder).join("bin/python"))?);
                command.arg(peers.join(&folder).join("lab.py"));
                Ok(command)
            }
        }
    }
}
