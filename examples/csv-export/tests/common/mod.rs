//! The program under test, as a process on a folder of its own.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Starts the program on a data folder.
pub(crate) struct Launch<'a> {
    pub(crate) data: &'a Path,
    pub(crate) rows: u32,
    /// Rows a second.
    pub(crate) pace: u32,
    pub(crate) role: &'a str,
    /// 0 for a free one.
    pub(crate) port: u16,
}

/// A running process; killed when dropped.
pub(crate) struct App {
    child: Child,
    /// The line it greets with.
    said: String,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(data: &'a Path) -> Self {
        Self {
            data,
            rows: 2_000,
            pace: 0,
            role: "all",
            port: 0,
        }
    }

    pub(crate) fn rows(self, rows: u32) -> Self {
        Self { rows, ..self }
    }

    pub(crate) fn pace(self, pace: u32) -> Self {
        Self { pace, ..self }
    }

    pub(crate) fn role(self, role: &'a str) -> Self {
        Self { role, ..self }
    }

    pub(crate) fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub(crate) fn start(self) -> App {
        self.start_with(&[])
    }

    /// Returns when the process is ready.
    pub(crate) fn start_with(self, arguments: &[&str]) -> App {
        let mut child = Command::new(env!("CARGO_BIN_EXE_csv-export"))
            .arg("--data")
            .arg(self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--rows", &self.rows.to_string()])
            .args(["--pace", &self.pace.to_string()])
            .args(["--role", self.role])
            .args(arguments)
            .env("RUST_LOG", "off")
            .env_remove("CSV_EXPORT_STORE")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is ours"));
        output.read_line(&mut said).expect("its output is text");
        assert!(!said.is_empty(), "the program ended before it was ready");
        App { child, said }
    }
}

impl App {
    /// The page's address, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        let url = self.said.trim().strip_prefix("open ");
        url.expect("it serves a page").trim_end_matches('/')
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.url().rsplit(':').next().expect("it has a port");
        port.parse().expect("a port is a number")
    }

    /// As `kill -9`: it cannot do anything about it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it has ended");
    }

    /// As `kill`: it shuts down.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let mut kill = Command::new("kill");
        kill.arg(self.child.id().to_string());
        assert!(kill.status().expect("there is a kill").success());
        self.child.wait().expect("it has ended")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files in the folder of exports, finished or not.
pub(crate) fn export_files(data: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(data.join("exports")).expect("there is a folder of exports");
    files
        .map(|file| file.expect("it can be read").path())
        .collect()
}

/// How many rows a CSV file has below its head. Each must have as many fields.
pub(crate) fn count_rows(file: &Path) -> usize {
    let mut reader = csv::Reader::from_path(file).expect("there is a file");
    let rows: Result<Vec<_>, _> = reader.records().collect();
    rows.expect("it is CSV, with as many fields in each row")
        .len()
}
