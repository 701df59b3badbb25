//! One run of one contestant: a fresh place, its program, its lines.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::contestants::Contestant;
use super::place::{self, Place};
use super::processes::Watch;
use super::record::{Record, Used};
use crate::bare::Failure;
use crate::table::percentile;

/// Longer than any program is to take.
const BOUND: Duration = Duration::from_secs(150);

/// What a program is asked.
pub(crate) struct Asked<'a> {
    pub(crate) measure: &'a str,
    pub(crate) settings: &'a str,
    pub(crate) jobs: usize,
    pub(crate) backlog: usize,
    pub(crate) payload: usize,
    pub(crate) round: usize,
}

/// The records of a run; one with an error where it has failed.
pub(crate) async fn run(who: &Contestant, asked: &Asked<'_>) -> Result<Vec<Record>, Failure> {
    let blank = Record {
        store: who.store.to_owned(),
        name: who.name.to_owned(),
        settings: asked.settings.to_owned(),
        measure: asked.measure.to_owned(),
        asked: asked.measure.to_owned(),
        payload: asked.payload,
        backlog: asked.backlog,
        round: asked.round,
        jobs: 0,
        seconds: 0.0,
        milliseconds: Vec::new(),
        client: Used::default(),
        server: Used::default(),
        others: 0.0,
        error: None,
    };
    let mut command = match who.command() {
        Ok(command) => command,
        Err(error) => return Ok(vec![failed(&blank, error)]),
    };
    let place = place::fresh(who.store).await?;
    let child = command
        .arg(&place.url)
        .arg(asked.measure)
        .args([asked.jobs, asked.backlog, asked.payload].map(|n| n.to_string()))
        .arg(asked.settings)
        // The bare loops read where they are from here.
        .env(place::variable(who.store), &place.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(read(child, &place, &blank))
}

fn failed(blank: &Record, error: String) -> Record {
    Record {
        error: Some(error),
        ..blank.clone()
    }
}

/// Reads what the program says until it ends or its time is over.
fn read(mut child: Child, place: &Place, blank: &Record) -> Vec<Record> {
    let (lines, said) = mpsc::channel();
    let stdout = child.stdout.take().expect("it is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let stderr = child.stderr.take().expect("it is piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        // What is not text is not shown.
        let _ = BufReader::new(stderr).read_to_string(&mut text);
        text
    });
    let until = Instant::now() + BOUND;
    let mut records = Vec::new();
    let mut watch = None;
    let mut timed_out = false;
    loop {
        match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let Ok(line) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if line["mark"] == "begin" {
                    watch = Some(Watch::new([Some(child.id()), place.server]));
                } else if let Some(watch) = watch.take() {
                    records.push(record(&line, watch, blank));
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                timed_out = true;
                // It may have ended by itself meanwhile.
                let _ = child.kill();
                break;
            }
        }
    }
    let ended = child.wait();
    if timed_out {
        let error = format!("not done after {} s", BOUND.as_secs());
        records.push(failed(blank, error));
    } else if !ended.is_ok_and(|status| status.success()) {
        let text = errors.join().unwrap_or_default();
        // Not every program ends with the error that ended it.
        let mut lines = text.lines().rev();
        let named = lines.clone().find(|line| line.contains("rror"));
        let last = named.or_else(|| lines.find(|line| !line.trim().is_empty()));
        let last = last.unwrap_or("it failed without a word");
        // No URL may get out: it holds the password.
        let shown = last.replace(&place.url, "URL").chars().take(300).collect();
        records.push(failed(blank, shown));
    }
    records
}

fn record(line: &Value, watch: Watch, blank: &Record) -> Record {
    let ([client, server], others) = watch.end();
    let spans = line["spans_ms"].as_array().cloned().unwrap_or_default();
    let mut spans: Vec<f64> = spans.iter().filter_map(Value::as_f64).collect();
    spans.sort_by(f64::total_cmp);
    let points = [0.5, 0.95, 0.99, 0.999, 1.0].map(|share| percentile(&spans, share));
    Record {
        measure: line["measure"].as_str().unwrap_or_default().to_owned(),
        jobs: line["jobs"]
            .as_u64()
            .map_or(0, |n| usize::try_from(n).unwrap_or(0)),
        seconds: line["seconds"].as_f64().unwrap_or(0.0),
        milliseconds: match spans.is_empty() {
            true => Vec::new(),
            false => points.to_vec(),
        },
        client,
        server,
        others,
        ..blank.clone()
    }
}
