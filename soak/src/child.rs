//! What worker and producer processes share: their orders, and their end.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyqueue_conformance_tests::faults::history::Log;
use anyqueue_conformance_tests::faults::recording;
use anyqueue_core::{Client, ClientOptions};
use tokio::sync::watch;

use crate::{Failure, producer, worker};

/// What a process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Producer,
}

/// What a process is told.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) role: Role,
    pub(crate) process: u32,
    /// The store, through the process's own stretch of network.
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) lease: Duration,
}

/// Where a process notes its calls.
pub(crate) fn history_of(folder: &Path, process: u32) -> PathBuf {
    folder.join(format!("history-{process:04}.jsonl"))
}

impl Orders {
    /// Starts the process. It ends when its input does, so with this one too.
    pub(crate) fn start(&self) -> std::io::Result<Child> {
        let output = self.folder.join(format!("output-{:04}", self.process));
        let output = std::fs::File::create(output)?;
        Command::new(std::env::current_exe()?)
            .args(["child", &format!("{:?}", self.role)])
            .args([self.process.to_string(), self.url.clone()])
            .arg(&self.folder)
            .args([self.seed.to_string(), self.lease.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
    }

    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut next = || words.next().ok_or("too few words for a child");
        Ok(Self {
            role: match next()?.as_str() {
                "Worker" => Role::Worker,
                _ => Role::Producer,
            },
            process: next()?.parse()?,
            url: next()?,
            folder: next()?.into(),
            seed: next()?.parse()?,
            lease: Duration::from_millis(next()?.parse()?),
        })
    }

    /// Does what they say until the end is raised.
    pub(crate) async fn follow(&self, end: End) -> Result<(), Failure> {
        let log = Log::to_file(&history_of(&self.folder, self.process), self.process)?;
        let Some(client) = client(&self.url, &log, &end).await? else {
            return Ok(());
        };
        match self.role {
            Role::Worker => worker::work(&client, self.lease, end).await,
            Role::Producer => producer::produce(&client, self, &log, end).await,
        }
    }
}

/// Told when a process is to come to its end.
#[derive(Debug, Clone)]
pub(crate) struct End(pub(crate) watch::Receiver<bool>);

impl End {
    pub(crate) fn is_near(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn comes(&mut self) {
        let _ = self.0.wait_for(|near| *near).await;
    }
}

pub(crate) async fn main(words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let orders = Orders::read(words)?;
    let (raise, end) = watch::channel(false);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = raise.send(true);
        // Who does not come to an end by then hangs.
        std::thread::sleep(Duration::from_secs(120));
        std::process::exit(3);
    });
    orders.follow(End(end)).await
}

/// A client whose calls are noted; asked for again while the store is away.
async fn client(url: &str, log: &Arc<Log>, end: &End) -> Result<Option<Client>, Failure> {
    while !end.is_near() {
        let backend = recording(anyqueue::open(url).await?, Arc::clone(log));
        match Client::new(backend, ClientOptions::default()).await {
            Ok(client) => return Ok(Some(client)),
            Err(error) if error.kind().is_transient() => println!("not yet: {error}"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}
