//! What the figures were found on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::record::directory;
use crate::bare::Failure;
use crate::servers::servers;

fn path() -> std::path::PathBuf {
    directory().join("machine.json")
}

/// Writes the facts of this machine and of the servers that are up beside the runs.
pub(crate) fn remember() -> Result<(), Failure> {
    let mut facts = load().unwrap_or_default();
    let mut add = |name: &str, fact: Option<String>| {
        if let Some(fact) = fact {
            facts.insert(name.to_owned(), fact.trim().to_owned());
        }
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        Some(line.split_once(':')?.1.to_owned())
    };
    add("cpu", field("/proc/cpuinfo", "model name"));
    let cores = std::thread::available_parallelism()?;
    add("cores", Some(cores.to_string()));
    add("memory", field("/proc/meminfo", "MemTotal"));
    add(
        "kernel",
        fs::read_to_string("/proc/sys/kernel/osrelease").ok(),
    );
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| text.lines().next().unwrap_or_default().to_owned())
    };
    add("rust", said("rustc", &["--version"]));
    add("node", said("node", &["--version"]));
    add("python", said("python3", &["--version"]));
    add("redis", said("redis-server", &["--version"]));
    add("sqlite", Some(rusqlite::version().to_owned()));
    let postgres = fs::read_dir("/usr/lib/postgresql").ok().and_then(|all| {
        let newest = all.flatten().map(|entry| entry.path()).max()?;
        said(newest.join("bin/postgres").to_str()?, &["--version"])
    });
    add(
        "postgres",
        postgres.or_else(|| said("postgres", &["--version"])),
    );
    if facts_want_rabbit() {
        add("rabbitmq", servers(&["rabbitmqctl", "version"]).ok());
    }
    fs::create_dir_all(directory())?;
    fs::write(path(), serde_json::to_string_pretty(&facts)? + "\n")?;
    Ok(())
}

/// Asked once: its tool takes seconds to answer.
fn facts_want_rabbit() -> bool {
    load().is_ok_and(|facts| !facts.contains_key("rabbitmq"))
}

pub(crate) fn load() -> Result<BTreeMap<String, String>, Failure> {
    Ok(serde_json::from_str(&fs::read_to_string(path())?)?)
}
