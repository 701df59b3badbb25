//! From the click to the file, in a real browser.
//!
//! `ANYQUEUE_TEST_CHROMEDRIVER` is the path of chromedriver; without it the
//! cases are ignored, and with `CI=true` they fail. Screenshots go to
//! `ANYQUEUE_SCREENSHOTS`, or to cargo's folder for temporary files.

#![allow(missing_docs, clippy::print_stderr)]

mod common;
mod e2e {
    pub(crate) mod browser;
    pub(crate) mod cases;
}

use std::sync::Arc;

use e2e::browser::Driver;
use e2e::cases;
use libtest_mimic::{Arguments, Failed, Trial};

const VARIABLE: &str = "ANYQUEUE_TEST_CHROMEDRIVER";

fn main() {
    let arguments = Arguments::from_args();
    let driver = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if driver.is_none() && !arguments.list {
        eprintln!("the browser's cases are skipped: {VARIABLE} is not set to a chromedriver");
    }
    let driver = driver.map(|path| Arc::new(Driver::new(path)));

    let trials = cases::all().into_iter().map(|case| {
        let name = case.name;
        let ignored = driver.is_none() && !required;
        let driver = driver.clone();
        let run = move || match driver {
            Some(driver) => case.run(&driver),
            None => Err(Failed::from(format!(
                "set {VARIABLE} to the path of chromedriver"
            ))),
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(driver);
    conclusion.exit();
}
