//! That no statement walks a table of jobs, whatever is in it and whatever the
//! planner believes of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, raw_sql};

use crate::config::PostgresConfig;
use crate::schema::{Schema, migrate};
use crate::statements::render;
use crate::store::Store;

const URL: &str = "ANYQUEUE_TEST_POSTGRES_URL";

/// What may walk a whole table, and why.
const WALKS: [(&str, &str); 5] = [
    ("queues", ""),           // One row a queue; it is asked for all.
    ("fold", "deltas"),       // What was appended since the last fold.
    ("forget", ""),           // Workers, claims under way and watches: few.
    ("list_few", "held"),     // Claims under way.
    ("list_few", "finished"), // Completed ones, where few are counted.
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

/// How many parameters a statement has.
fn parameters(text: &str) -> usize {
    (1..40)
        .rev()
        .find(|n| text.contains(&format!("${n}")))
        .unwrap_or(0)
}

#[allow(clippy::print_stderr, reason = "a test that is not run must say so")]
fn url() -> Option<String> {
    let url = std::env::var(URL).ok();
    assert!(
        url.is_some() || std::env::var_os("CI").is_none(),
        "{URL} is not set"
    );
    if url.is_none() {
        eprintln!("NOT RUN: {URL} is not set");
    }
    url
}

#[tokio::test]
async fn no_statement_walks_the_jobs() {
    let Some(url) = url() else { return };
    let mut config = PostgresConfig::from_url(&url).unwrap();
    config.schema = Schema::new(format!("plans_{}", std::process::id())).unwrap();
    let schema = config.schema.clone();
    let store = Arc::new(Store::new(config));
    // With the settings of every connection.
    let mut conn = PgConnection::connect_with(&store.connect_options())
        .await
        .unwrap();
    migrate(&mut conn, &schema).await.unwrap();
    let statements = statements();
    assert!(statements.len() > 25, "the statements were found");
    for (name, text) in &statements {
        let prepare = format!(
            "DEALLOCATE ALL; PREPARE p AS {}",
            render(text, &schema).as_str()
        );
        raw_sql(AssertSqlSafe(prepare))
            .execute(&mut conn)
            .await
            .unwrap();
        let nulls = vec!["NULL"; parameters(text)].join(", ");
        let list = if nulls.is_empty() {
            String::new()
        } else {
            format!("({nulls})")
        };
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE p{list}");
        let plan = raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        for step in plan.iter().filter(|step| step.contains("Seq Scan")) {
            let allowed = WALKS
                .iter()
                .any(|(of, table)| of == name && step.contains(table));
            assert!(allowed, "{name}: {step}");
        }
        for (step, next) in plan.iter().zip(plan.iter().skip(1).chain([&String::new()])) {
            let of_jobs = |table: &&str| step.contains(&format!(" on {table} "));
            let whole = step.contains("Index") && step.contains(" using ");
            if whole
                && !next.contains("Index Cond")
                && ["live", "bodies", "finished"].iter().any(of_jobs)
            {
                // Lists end with their page.
                assert_eq!(name, "list_all", "walks an index from its start: {step}");
            }
        }
        if name == "claim" {
            let walks = |step: &String| step.contains("Index Scan using waiting on live");
            assert!(plan.iter().any(walks), "{plan:#?}");
            let sorts = |step: &String| step.contains("Sort");
            assert!(!plan.iter().any(sorts), "{plan:#?}");
        }
    }
    let drop = format!("DROP SCHEMA {} CASCADE", schema.quoted());
    raw_sql(AssertSqlSafe(drop))
        .execute(&mut conn)
        .await
        .unwrap();
}
