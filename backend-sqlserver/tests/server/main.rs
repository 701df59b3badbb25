//! What the suite does not ask of every backend, against the server that
//! `ANYQUEUE_TEST_SQLSERVER_URL` names: calls inside the application's own
//! transaction, one poller, lost connections, dropped calls, many processes,
//! idle load, and what is refused at the start. Shown as ignored where it is not
//! set.

mod common;
mod drain;
mod drops;
mod faults;
mod idle;
mod locks;
mod many;
mod opening;
mod poller;
mod transaction;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let tests = [
        transaction::tests(),
        faults::tests(),
        drops::tests(),
        drain::tests(),
        idle::tests(),
        poller::tests(),
        locks::tests(),
        many::tests(),
        opening::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}
