//! A web page that exports orders to CSV: a job of anyqueue from the click to
//! the downloaded file. See the README beside `Cargo.toml`.

mod args;
mod export;
mod orders;
mod web;

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use anyqueue::{Client, ClientOptions, Retention, Worker};
use clap::Parser;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use args::Args;
use export::{ExportFolder, Exporter, export_csv};
use orders::Orders;

/// How long finished exports, the files included, can be downloaded.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The time after which the work of a killed process is taken up by another.
const LEASE: Duration = Duration::from_secs(3);

/// How long exports may go on after the process was told to end. Others take up
/// what is not done by then.
const GRACE: Duration = Duration::from_secs(2);

/// How many exports one process runs at a time.
const CONCURRENCY: usize = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();

    std::fs::create_dir_all(&args.data)?;
    let folder = ExportFolder::open(&args.data)?;
    let orders = Orders::open_or_generate(&args.data, args.rows)?;
    let client = Client::connect_with(&args.store_url(), options()).await?;
    let shutdown = shutdown_on_signal()?;

    let worker = args.role.works().then(|| {
        let exporter = Exporter {
            orders: orders.clone(),
            folder: folder.clone(),
            pace: args.pace,
        };
        Worker::new(&client)
            .state(exporter)
            .register(export_csv)
            .concurrency(CONCURRENCY)
            .lease(LEASE)
            .grace(GRACE)
            .start()
    });
    let worker = worker.transpose()?;
    if worker.is_some() {
        tokio::spawn(sweep(folder.clone()));
    }

    if args.role.serves() {
        let listener = tokio::net::TcpListener::bind(args.listen).await?;
        say(format_args!("open http://{}/", listener.local_addr()?))?;
        let state = web::State::new(client, orders, folder, shutdown);
        web::serve(listener, state).await?;
    } else {
        say(format_args!("working on exports"))?;
        shutdown.cancelled().await;
    }
    if let Some(worker) = worker {
        worker.shutdown().await;
    }
    Ok(())
}

fn options() -> ClientOptions {
    ClientOptions::default().retention(Retention::all(KEPT))
}

/// Tells the one who started the program, also through a pipe.
fn say(line: std::fmt::Arguments<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Raised by Ctrl-C or a polite kill.
fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let token = CancellationToken::new();
    let raised = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        raised.cancel();
    });
    Ok(token)
}

/// Removes old files, for ever.
async fn sweep(folder: ExportFolder) {
    loop {
        let folder = folder.clone();
        let swept = tokio::task::spawn_blocking(move || folder.sweep(KEPT)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "old exports are not removed");
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
}
