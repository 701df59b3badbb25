//! The texts of `sql/`, with the schema's name in its places.

use crate::schema::Schema;

macro_rules! statements {
    ($($name:ident $file:literal,)+) => {
        /// One statement, by the name of its file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Statement { $($name,)+ }

        /// The texts, in the order of [`Statement`].
        const TEXTS: &[&str] = &[$(include_str!(concat!("sql/", $file, ".sql")),)+];

        /// The names of the files, in the same order.
        #[cfg(test)]
        const NAMES: &[&str] = &[$($file,)+];
    };
}

statements! {
    Cancel "cancel",
    Claim "claim",
    Due "due",
    Enqueue "enqueue",
    EnqueueMany "enqueue_many",
    Expire "expire",
    Fold "fold",
    Forget "forget",
    Get "get",
    Heartbeat "heartbeat",
    Judge "judge",
    KeysOver "keys_over",
    ListAll "list_all",
    ListFew "list_few",
    ListTagged "list_tagged",
    Load "load",
    Poll "poll",
    Progress "progress",
    Promote "promote",
    Purge "purge",
    QueueAdd "queue_add",
    QueueFind "queue_find",
    Queues "queues",
    Retry "retry",
    SetFlow "set_flow",
    Settle "settle",
    WorkerSeen "worker_seen",
}

impl Statement {
    /// Whether it commits its own transaction before its first result, reads rows for
    /// its answer behind that, and answers otherwise when it is made again. (A settle
    /// and a cancel that are made again answer as before; the others answer from what
    /// they kept.)
    pub(crate) const fn commits_first(self) -> bool {
        matches!(self, Self::Claim | Self::Retry)
    }
}

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements(Vec<String>);

impl Statements {
    /// The statements on the tables of this schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self(TEXTS.iter().map(|text| render(text, schema)).collect())
    }

    pub(crate) fn get(&self, statement: Statement) -> &str {
        &self.0[statement as usize]
    }
}

/// A text of this crate with the schema's quoted name in place of `{s}`: the
/// only thing that is ever spliced. Without the comments, which a server would
/// read and hash with each call.
pub(crate) fn render(text: &str, schema: &Schema) -> String {
    let lines = text
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
        .filter(|line| !line.trim().is_empty());
    let code = lines.collect::<Vec<_>>().join("\n");
    code.replace("{s}", schema.quoted())
}

/// One statement on the tables of this schema.
pub(crate) fn sql(statement: Statement, schema: &Schema) -> String {
    render(TEXTS[statement as usize], schema)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use sqlparser::dialect::MsSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn every_file_is_a_statement_that_is_used() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned());
        let files: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
        let known = NAMES.iter().map(|name| (*name).to_owned());
        let known: BTreeSet<String> = known.chain(["session".to_owned()]).collect();
        assert_eq!(files, known);
        let sources = [
            "chores", "claim", "control", "enqueue", "load", "poller", "read", "settle", "store",
            "within",
        ];
        let sources: String = sources
            .iter()
            .map(|name| {
                let file = format!("{}/src/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                std::fs::read_to_string(file).unwrap()
            })
            .collect();
        for name in NAMES {
            let variant: String = name
                .split('_')
                .map(|word| word[..1].to_uppercase() + &word[1..])
                .collect();
            let used = format!("Statement::{variant}");
            assert!(sources.contains(&used), "{used} is not used");
        }
    }

    /// What the parser does not know of T-SQL, what it reads in its place, and why
    /// the server knows it. All else of every statement is read as it stands.
    const UNKNOWN: &[(&str, &str)] = &[
        // Query hints behind a data change ("OPTION clause").
        ("OPTION (FORCE ORDER, LOOP JOIN)", ""),
        ("OPTION (LOOP JOIN)", ""),
        // The end of a loop ("BREAK").
        ("BREAK;", "SET @left = 0;"),
        // A bounded delete, and one that tells what went ("DELETE", arguments TOP
        // and OUTPUT).
        ("DELETE TOP (@P1) k", "DELETE k"),
        ("DELETE TOP (@P2) d", "DELETE d"),
        (
            "OUTPUT deleted.id, deleted.seq, deleted.line INTO @gone (id, seq, line)",
            "",
        ),
        (
            "OUTPUT deleted.queue, deleted.scheduled, deleted.ready, deleted.running, \
             deleted.completed, deleted.failed, deleted.cancelled INTO @gone (queue, scheduled, \
             ready, running, completed, failed, cancelled)",
            "",
        ),
        // A procedure's return value ("EXECUTE", `@return_status =`).
        ("EXEC @locked = sp_getapplock", "EXEC sp_getapplock"),
    ];

    #[test]
    fn every_statement_is_read_by_a_parser() {
        let schema = Schema::default();
        let session = include_str!("sql/session.sql");
        let migration = include_str!("../migrations/0001_jobs.sql");
        let named = NAMES.iter().copied().zip(TEXTS.iter().copied());
        let (mut refused, mut met) = (Vec::new(), BTreeSet::new());
        for (name, text) in named.chain([("session", session), ("0001_jobs", migration)]) {
            let text = render(text, &schema);
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut text = words.join(" ");
            for (nth, (construct, known)) in UNKNOWN.iter().enumerate() {
                if text.contains(construct) {
                    met.insert(nth);
                    text = text.replace(construct, known);
                }
            }
            if let Err(error) = Parser::parse_sql(&MsSqlDialect {}, &text) {
                refused.push(format!("{name}: {error}"));
            }
        }
        assert!(refused.is_empty(), "{refused:#?}");
        assert_eq!(met.len(), UNKNOWN.len(), "a construct is not used any more");
    }

    /// A filtered index serves a statement only where its filter stands there
    /// with the same literals; a hint for another one is an error (8622).
    #[test]
    fn statements_repeat_the_filters_of_the_indexes_they_name() {
        let migration = include_str!("../migrations/0001_jobs.sql");
        let filters: BTreeMap<&str, &str> = migration
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE INDEX ")?.strip_suffix(';'))
            .filter_map(|index| {
                let (name, _) = index.split_once(' ')?;
                Some((name, index.split_once(" WHERE ")?.1))
            })
            .collect();
        assert_eq!(filters.len(), 5, "{filters:?}");
        let mut named = BTreeSet::new();
        for (name, text) in NAMES.iter().zip(TEXTS) {
            let text = render(text, &Schema::default());
            for part in text.split("INDEX(").skip(1) {
                let (index, rest) = part.split_once("))").unwrap();
                let (_, condition) = rest.split_once("WHERE ").unwrap();
                let expected = format!("j.{}", filters[index]);
                assert!(condition.starts_with(&expected), "{name}: {index}");
                named.insert(index.to_owned());
            }
        }
        let named: Vec<_> = named.iter().map(String::as_str).collect();
        assert_eq!(named, ["ended", "running", "scheduled", "waiting"]);
        // By the filter alone.
        let expected = format!("WHERE k.{} AND", filters["keys_until"]);
        for statement in [Statement::Due, Statement::KeysOver] {
            assert!(sql(statement, &Schema::default()).contains(&expected));
        }
    }

    /// What the server demands of hints, or does otherwise than is meant without
    /// them, and a parser does not know.
    #[test]
    fn hints_are_whole() {
        let mut by_id = 0;
        for (name, text) in NAMES.iter().zip(TEXTS) {
            let text = render(text, &Schema::default());
            for part in text.split("WITH (").skip(1) {
                let (hints, _) = part.split_once(')').unwrap();
                // With row versions READPAST alone is an error (650).
                let passes = hints.contains("READPAST");
                assert!(
                    !passes || hints.contains("READCOMMITTEDLOCK"),
                    "{name}: {hints}"
                );
                // It passes by rows: a reader that locks pages waits for them.
                assert!(!passes || hints.contains("ROWLOCK"), "{name}: {hints}");
                // A table has one level of isolation (1047).
                let levels = ["HOLDLOCK", "REPEATABLEREAD", "SERIALIZABLE", "NOLOCK"];
                let levels = levels.iter().filter(|level| hints.contains(**level));
                assert!(levels.count() <= 1, "{name}: {hints}");
                // Only without columns may it stand at what an UPDATE changes.
                assert!(!hints.contains("FORCESEEK ("), "{name}: {hints}");
            }
            // A small table may be read whole for each row, through the locks of
            // others, where it is not said to be sought.
            for part in text.split(".jobs AS ").skip(1) {
                let Some((hints, condition)) = part.split_once(')') else {
                    continue;
                };
                let condition = condition.trim_start();
                let condition = ["ON ", "WHERE "]
                    .iter()
                    .find_map(|word| condition.strip_prefix(word));
                let sought =
                    |text: &str| text.starts_with("j.id = ") || text.starts_with("q.id = ");
                if hints.contains("WITH (") && condition.is_some_and(sought) {
                    assert!(hints.contains("FORCESEEK"), "{name}: {hints}");
                    by_id += 1;
                }
            }
        }
        assert!(by_id > 10, "{by_id}");
    }

    /// A row of `queues` that an open transaction adds is waited for by what reads the
    /// table whole, which only the counts of all queues do.
    #[test]
    fn queues_are_sought() {
        let mut sought = 0;
        for (name, text) in NAMES.iter().zip(TEXTS) {
            let text = render(text, &Schema::default());
            for part in text.split(".queues AS q").skip(1) {
                let hints = part.strip_prefix(" WITH (");
                let hints = hints.and_then(|part| part.split_once(')'));
                match hints.map_or("", |(hints, _)| hints) {
                    hints if hints.contains("FORCESEEK") => sought += 1,
                    hints => assert!(*name == "queues", "{name}: {hints}"),
                }
            }
        }
        assert_eq!(sought, 7);
    }

    #[test]
    fn what_commits_first_answers_nothing_before() {
        for statement in [Statement::Claim, Statement::Retry] {
            assert!(statement.commits_first());
            let text = sql(statement, &Schema::default());
            let (before, answer) = text.split_once("COMMIT TRANSACTION;").unwrap();
            assert!(answer.contains("\nSELECT "));
            // A SELECT at the beginning of a line answers, unless an INSERT takes it or
            // it sets variables.
            let lines: Vec<&str> = before.lines().map(str::trim).collect();
            for pair in lines.windows(2) {
                let taken = pair[0].starts_with("INSERT INTO ") || pair[1].contains(" @n = ");
                let within = pair[0].ends_with('(');
                assert!(
                    !pair[1].starts_with("SELECT ") || taken || within,
                    "{statement:?}: {pair:?}"
                );
            }
        }
    }

    /// An error of the server leaves nothing of the application's transaction.
    #[test]
    fn what_fails_within_a_transaction_rolls_it_back() {
        for (name, text) in NAMES.iter().zip(TEXTS) {
            let within = ["queue_find", "queue_add", "enqueue", "settle"].contains(name);
            let changes = text.contains("BEGIN TRANSACTION");
            let whole = text.contains("\nSET XACT_ABORT ON;\n");
            assert!(whole || !(within || changes), "{name}");
        }
    }

    /// From its first lock to the rows of `jobs`, one text stores few and many.
    #[test]
    fn many_are_stored_as_few_are() {
        let schema = Schema::default();
        let core = |statement| {
            let text = sql(statement, &schema);
            let (_, text) = text.split_once("BEGIN TRANSACTION;").unwrap();
            let (text, _) = text.split_once(".bodies").unwrap();
            text.to_owned()
        };
        let few = core(Statement::Enqueue);
        let few = few.replace("@new", "#anyqueue_new").replace("@P3", "@P1");
        assert_eq!(few, core(Statement::EnqueueMany));
    }
}
