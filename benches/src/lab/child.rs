//! anyqueue and the bare loops as programs of the lab.

use anyqueue::{Client, Job, JobContext, JobError, NewJob, State, Worker};
use anyqueue_lab_protocol::{Args, Peer, begin, end, handled, run};
use serde::{Deserialize, Serialize};
use std::time::Instant;

use crate::bare::{self, Failure};

#[derive(Serialize, Deserialize)]
struct Noop {
    text: String,
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    type Output = ();
}

async fn noop(job: Noop, _: JobContext) -> Result<(), JobError> {
    handled(&job.text);
    Ok(())
}

/// Enqueues this many jobs a call.
#[derive(Clone)]
struct Ours<const BATCH: usize>(Client);

impl<const BATCH: usize> Peer for Ours<BATCH> {
    const BATCH: usize = BATCH;

    async fn enqueue(&self, texts: Vec<String>) -> Result<(), Failure> {
        let jobs: Vec<NewJob> = texts
            .into_iter()
            .map(|text| self.0.job(Noop { text }).build())
            .collect::<Result<_, _>>()?;
        self.0.enqueue_many(&jobs).await?;
        Ok(())
    }

    async fn enqueue_one(&self, text: String) -> Result<(), Failure> {
        self.0.enqueue(Noop { text }).await?;
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        // It ends with the process.
        std::mem::forget(Worker::new(&self.0).register(noop).start()?);
        Ok(())
    }

    async fn settled(&self, _enqueued: usize) -> Result<usize, Failure> {
        let counts = self.0.counts().await?;
        let settled: u64 = counts.iter().map(|q| q.counts.get(State::Completed)).sum();
        Ok(usize::try_from(settled)?)
    }
}

/// `lab-child ours …` or `lab-child raw STORE …`.
pub(crate) async fn child(kind: &str) -> Result<(), Failure> {
    if kind == "ours" {
        let args = Args::read(2)?;
        let client = Client::connect(&args.url).await?;
        // As many as the bare loop of the same store.
        return match args.url.starts_with("postgres") {
            true => run(&args, &Ours::<{ bare::INSERTED }>(client)).await,
            false => run(&args, &Ours::<{ bare::BATCH }>(client)).await,
        };
    }
    let store = std::env::args().nth(3).ok_or("raw of which store?")?;
    let args = Args::read(3)?;
    bare::set_payload(args.payload);
    let mut round = bare::open(&store).await?;
    match args.measure.as_str() {
        "drain" => {
            let all = args.jobs + args.backlog;
            begin("enqueue");
            let begun = Instant::now();
            round.bare.insert(all).await?;
            end("enqueue", all, begun.elapsed().as_secs_f64());
            begin("drain");
            let begun = Instant::now();
            round.bare.drain(args.jobs).await?;
            end("drain", args.jobs, begun.elapsed().as_secs_f64());
        }
        "single" => {
            begin("single");
            let begun = Instant::now();
            match round.bare.insert_singly(args.jobs, 64).await {
                Some(done) => done?,
                None => return Err("this store's loop has no single insert".into()),
            }
            end("single", args.jobs, begun.elapsed().as_secs_f64());
        }
        other => return Err(format!("the loop has no {other}").into()),
    }
    // The place is the lab's, who clears it away.
    std::process::exit(0)
}
