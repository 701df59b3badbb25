//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A web page that exports orders to CSV, with live progress.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The store of the jobs, as a URL [default: sqlite://DIR/jobs.db]
    #[arg(
        long,
        value_name = "URL",
        env = "CSV_EXPORT_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Option<String>,

    /// Where the orders, the exported files and by default the jobs are kept
    #[arg(long, value_name = "DIR", default_value = "csv-export-data")]
    pub(crate) data: PathBuf,

    /// The address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// How many orders to make up on the first start
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) rows: u32,

    /// Rows an export writes in a second, so that there is something to watch;
    /// 0 for as many as it can
    #[arg(long, value_name = "ROWS", default_value_t = 60_000)]
    pub(crate) pace: u32,

    /// What this process does; several processes can share a store
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Serves the page and runs the exports
    All,
    /// Serves the page only
    Web,
    /// Runs the exports only
    Worker,
}

impl Role {
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::All | Self::Web)
    }

    pub(crate) fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

impl Args {
    /// The store's URL. It may hold a password: never print it.
    pub(crate) fn store_url(&self) -> String {
        let in_data = || {
            let path = self.data.join("jobs.db").display().to_string();
            // What means something else in a URL than in a path.
            let path = path.replace('%', "%25").replace('?', "%3F");
            format!("sqlite://{path}")
        };
        self.store.clone().unwrap_or_else(in_data)
    }
}
