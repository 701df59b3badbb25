//! The readers: threads that answer reads beside the writer, each from a
//! snapshot of its own, begun after every commit acknowledged so far.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Connection;

use crate::config::SqliteConfig;
use crate::connection::{Opened, Role};
use crate::error::Failure;
use crate::lane::{Lane, Next};

/// A read on its way: given a connection in a read transaction, or why there
/// is none, it answers its caller.
pub(crate) type Read = Box<dyn FnOnce(Result<&Connection, Failure>) + Send>;

/// Makes the reads that come, until the lane is closed and empty.
pub(crate) fn run(config: &SqliteConfig, lane: &Lane<Read>) {
    let mut conn = None;
    loop {
        // One at a time, so that the other reader gets the next.
        match lane.next(|| None, |_| false) {
            Next::Calls(reads) => {
                for read in reads {
                    make(config, &mut conn, read);
                }
            }
            Next::Idle => {}
            Next::Closed => return,
        }
    }
}

fn make(config: &SqliteConfig, conn: &mut Option<Opened>, read: Read) {
    // A read that panics is a defect: its caller is told so by the lost answer.
    let done = catch_unwind(AssertUnwindSafe(|| read(begin(config, conn))));
    if done.is_err() {
        *conn = None;
    }
    if let Some(open) = conn
        && !open.conn.is_autocommit()
        && open.conn.execute_batch("COMMIT").is_err()
    {
        *conn = None;
    }
}

fn begin<'a>(
    config: &SqliteConfig,
    conn: &'a mut Option<Opened>,
) -> Result<&'a Connection, Failure> {
    conn.take_if(|open| !open.is_in_place(config));
    let Opened { conn, .. } = match conn {
        Some(open) => open,
        none => none.insert(Opened::new(config, Role::Reader)?),
    };
    conn.prepare_cached("BEGIN")?.execute([])?;
    Ok(conn)
}

/// How many there are in a process for each store.
pub(crate) const READERS: usize = 2;

/// The lane to the readers of a store.
pub(crate) type ReadLane = Arc<Lane<Read>>;
