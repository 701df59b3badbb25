//! That no statement scans a table or sorts, whatever is in it: a claim costs
//! the same beside any backlog.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

/// What may walk a whole table or index, and why.
const WALKS: [(&str, &str); 8] = [
    ("queues", "SCAN anyqueue_queues"), // One row a queue; it is asked for all.
    ("list_tagged", "SCAN also VIRTUAL TABLE"), // The filter's own labels.
    // Running jobs only, and once for each worker that is forgotten.
    (
        "workers_forget",
        "SCAN anyqueue_jobs USING INDEX anyqueue_running",
    ),
    // The statement's own rows.
    ("bodies_add", "SCAN 16-ROW VALUES CLAUSE"),
    ("jobs_add", "SCAN 16-ROW VALUES CLAUSE"),
    ("sequence_last", "SCAN anyqueue_sequence"), // One row.
    ("sequence_save", "SCAN anyqueue_sequence"), // The same.
    ("migrations_table", "SCAN sqlite_schema"),  // SQLite's, one row a table.
];

/// What sorts: lists of states that are counted to be few.
const SORTS: [&str; 4] = [
    "list_scheduled",
    "list_ready",
    "list_running",
    "list_finished",
];

fn statements() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql");
    let files = fs::read_dir(folder).unwrap();
    let mut statements: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    statements.sort();
    statements
}

fn plan(conn: &Connection, statement: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let mut explain = conn.prepare(&explain).unwrap();
    let mut rows = explain.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push(row.get(3).unwrap());
    }
    plan
}

#[test]
fn every_statement_is_served_by_an_index() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(include_str!("../migrations/0001_jobs.sql"))
        .unwrap();
    conn.execute_batch(include_str!("sql/migrations_add_table.sql"))
        .unwrap();
    let statements = statements();
    assert!(statements.len() > 40, "the statements were found");
    for (name, statement) in &statements {
        if name == "migrations_add_table" {
            continue; // It made the table above.
        }
        for step in plan(&conn, statement) {
            let walks = WALKS
                .iter()
                .any(|(allowed, start)| allowed == name && step.starts_with(start));
            assert!(!step.starts_with("SCAN") || walks, "{name}: {step}");
            let sorts = SORTS.contains(&name.as_str());
            assert!(!step.contains("TEMP B-TREE") || sorts, "{name}: {step}");
        }
    }
}

#[test]
fn claims_walk_the_index_of_their_order() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(include_str!("../migrations/0001_jobs.sql"))
        .unwrap();
    let seeks = |statement: &str, index: &str| {
        let plan = plan(&conn, statement);
        assert!(plan[0].contains(index), "{plan:?}");
    };
    seeks(
        include_str!("sql/ready_find.sql"),
        "INDEX anyqueue_ready (queue=?)",
    );
    seeks(
        include_str!("sql/due_find.sql"),
        "INDEX anyqueue_scheduled (queue=? AND due_at<?)",
    );
    seeks(
        include_str!("sql/expired_find.sql"),
        "INDEX anyqueue_running (queue=? AND ends_at<?)",
    );
    seeks(
        include_str!("sql/purgeable_find.sql"),
        "INDEX anyqueue_finished (queue=? AND state=? AND ends_at<?)",
    );
    seeks(include_str!("sql/list_all.sql"), "(id<?)");
    seeks(include_str!("sql/list_tagged.sql"), "(tag=? AND id<?)");
}
