//! The lab: anyqueue at its defaults, its peers at their best documented
//! settings and at their defaults, and a bare loop, on the same server, round by
//! round; and the report that is made of what was found.

mod child;
mod contestants;
mod goals;
mod machine;
mod place;
mod plot;
mod processes;
mod record;
mod report;
mod run;

use std::time::{Duration, Instant};

use crate::bare::Failure;
use contestants::{ALL, Contestant};
use record::Record;
use run::Asked;

pub(crate) use child::child;

const USAGE: &str = "lab report | lab [--store STORE] [--measure drain|kib|single|pick-up|growth] \
                     [--rounds N] [--seconds N] [--only NAME]";

/// Jobs of a run, where it is not cut for being slow.
const JOBS: usize = 50_000;
const GROWTH_JOBS: usize = 20_000;
const PICKED_UP: usize = 1_000;
const PAYLOAD: usize = 100;

/// What the command line asks for.
struct Options {
    store: Option<String>,
    measure: Option<String>,
    only: Option<String>,
    rounds: usize,
    until: Instant,
}

/// A measure: its name here, what the programs call it, jobs, backlog, payload.
type Measure = (&'static str, &'static str, usize, usize, usize);

const MEASURES: &[Measure] = &[
    ("drain", "drain", JOBS, 0, PAYLOAD),
    ("single", "single", JOBS, 0, PAYLOAD),
    ("pick-up", "pick-up", PICKED_UP, 0, PAYLOAD),
    ("kib", "drain", JOBS, 0, 1_024),
    ("growth", "drain", GROWTH_JOBS, 10_000, PAYLOAD),
    ("growth", "drain", GROWTH_JOBS, 100_000, PAYLOAD),
    ("growth", "drain", GROWTH_JOBS, 1_000_000, PAYLOAD),
];

/// `lab …`: measures what is missing, or makes the report.
pub(crate) async fn lab(args: &[String]) -> Result<(), Failure> {
    if args.first().is_some_and(|arg| arg == "report") {
        return report::write();
    }
    let options = options(args)?;
    machine::remember()?;
    for round in 1..=options.rounds {
        for measure in MEASURES
            .iter()
            .filter(|m| wanted(options.measure.as_deref(), m.0))
        {
            for who in ALL.iter().filter(|who| {
                wanted(options.store.as_deref(), who.store)
                    && wanted(options.only.as_deref(), who.name)
            }) {
                contend(who, measure, round, &options).await?;
            }
        }
    }
    Ok(())
}

fn wanted(asked: Option<&str>, name: &str) -> bool {
    asked.is_none_or(|asked| asked == name)
}

fn options(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        store: None,
        measure: None,
        only: None,
        rounds: 3,
        until: Instant::now() + Duration::from_hours(24),
    };
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err(USAGE.into());
        };
        match name.as_str() {
            "--store" => options.store = Some(value.clone()),
            "--measure" => options.measure = Some(value.clone()),
            "--only" => options.only = Some(value.clone()),
            "--rounds" => options.rounds = value.parse()?,
            "--seconds" => {
                options.until = Instant::now() + Duration::from_secs(value.parse()?);
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Runs a contestant's settings once, where that round is not there yet.
async fn contend(
    who: &Contestant,
    &(name, measure, jobs, backlog, payload): &Measure,
    round: usize,
    options: &Options,
) -> Result<(), Failure> {
    if !who.has(measure) || backlog >= who.most() {
        return Ok(());
    }
    if let Err(why) = who.command() {
        println!("{} {}: not run: {why}", who.store, who.name);
        return Ok(());
    }
    let jobs = jobs.min(who.most());
    for &settings in who.settings() {
        let records = record::load()?;
        let asked = Asked {
            measure,
            settings,
            jobs,
            backlog,
            payload,
            round,
        };
        if Instant::now() >= options.until || is_there(&records, who, &asked) {
            continue;
        }
        // How it grows is asked of each at its best, and not for ever.
        if backlog > 0 && (who.settings().first() != Some(&settings)) {
            continue;
        }
        if let Some(why) = too_slow(&records, who, &asked) {
            println!("{} {} {name}: {why}", who.store, who.name);
            continue;
        }
        for record in &record::tidy(run::run(who, &asked).await?) {
            println!("{}", line(record));
            record::append(std::slice::from_ref(record))?;
        }
    }
    Ok(())
}

fn is_there(records: &[Record], who: &Contestant, asked: &Asked<'_>) -> bool {
    records.iter().any(|record| {
        record.store == who.store
            && record.name == who.name
            && record.settings == asked.settings
            && record.asked == asked.measure
            && record.payload == asked.payload
            && record.backlog == asked.backlog
            && record.round == asked.round
    })
}

/// Whether its backlog would take longer than a minute, by its enqueue so far.
fn too_slow(records: &[Record], who: &Contestant, asked: &Asked<'_>) -> Option<String> {
    let rate = records
        .iter()
        .filter(|r| r.store == who.store && r.name == who.name && r.settings == asked.settings)
        .filter(|r| r.measure == "enqueue" && r.error.is_none())
        .map(Record::rate)
        .reduce(f64::max)?;
    let seconds = asked.backlog as f64 / 1_000.0 / rate;
    (seconds > 60.0).then(|| format!("a backlog of {} takes it {seconds:.0} s", asked.backlog))
}

/// A record as a line for whoever watches.
fn line(record: &Record) -> String {
    let Record {
        store,
        name,
        settings,
        measure,
        round,
        ..
    } = record;
    let found = match (&record.error, record.milliseconds.as_slice()) {
        (Some(error), _) => error.clone(),
        (None, []) => format!("{:.1} k/s", record.rate()),
        (None, points) => format!("{points:.2?} ms"),
    };
    format!("{store} {name} ({settings}) {measure} round {round}: {found}")
}
