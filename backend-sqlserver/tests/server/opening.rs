//! URLs and connection strings; what is refused at the start; schemas made by hand.

use anyqueue_core::{Backend as _, Durability, Error, ErrorKind, State};
use anyqueue_sqlserver::{Schema, SqlServerBackend, SqlServerConfig};

use crate::common::{Place, URL, claim, complete, count, created, jobs, number, run, tests};

tests! {
    urls_and_connection_strings_reach_the_same_store
    a_schema_made_by_hand_is_taken_as_it_is
    a_user_with_the_documented_rights_can_work
    tables_of_a_newer_version_are_refused
    calls_before_prepare_say_so
    a_wrong_password_and_a_missing_database_are_told_apart
    a_schema_may_have_any_name
    lock_escalation_is_off
    the_durability_is_the_host_s
}

/// Why some tests show nothing elsewhere.
const NUMBERS: &str = "because only Microsoft's server gives this error its number";
const CATALOG: &str = "because only Microsoft's server shows this setting";

async fn prepare(config: &SqlServerConfig) -> Result<(), Error> {
    SqlServerBackend::open(config.clone()).prepare().await
}

#[track_caller]
fn refused(answer: Result<(), Error>, kind: ErrorKind, advice: &str) {
    let error = answer.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
}

/// User, password, host, port, database and options of the URL for tests, which
/// has them all.
struct Parts {
    user: String,
    password: String,
    address: String,
    database: String,
    options: String,
}

impl Parts {
    fn new() -> Option<Self> {
        let url = std::env::var(URL).ok()?;
        let rest = url.strip_prefix("sqlserver://")?;
        let (user, rest) = rest.split_once('@')?;
        let (user, password) = user.split_once(':')?;
        let (address, rest) = rest.split_once('/')?;
        let (database, options) = rest.split_once('?').unwrap_or((rest, ""));
        let owned = str::to_owned;
        Some(Self {
            user: owned(user),
            password: owned(password),
            address: owned(address),
            database: owned(database),
            options: owned(options),
        })
    }
}

async fn urls_and_connection_strings_reach_the_same_store() {
    let place = Place::new();
    let first = place.store().await;
    let name = place.config.schema.name();
    let new = jobs(4);
    let parts = Parts::new().expect("the URL for tests has user, password and database");
    let Parts {
        user,
        password,
        address,
        database,
        options,
    } = parts;
    let ado = {
        let address = address.replace(':', ",");
        let encrypt = match options.contains("encrypt=disable") {
            true => "Encrypt=DANGER_PLAINTEXT",
            false => "Encrypt=true;TrustServerCertificate=true",
        };
        format!(
            "Server=tcp:{address};Database={database};User Id={user};Password='{password}';\
             {encrypt};Schema={name};Pool=2"
        )
    };
    let urls = [
        format!("sqlserver://{user}:{password}@{address}/{database}?{options}&schema={name}"),
        format!("MSSQL://{user}:{password}@{address}/{database}?{options}&schema={name}&pool=1"),
        ado,
    ];
    for (url, job) in urls.iter().zip(&new) {
        let backend = SqlServerBackend::connect(url).unwrap();
        backend.prepare().await.unwrap();
        let job = std::slice::from_ref(job);
        assert_eq!(backend.enqueue(job).await.unwrap(), created(job));
    }
    assert_eq!(count(&first, State::Ready).await, 3);
}

/// The script that DBA.md tells of, batch by batch as `sqlcmd` sends it.
async fn by_hand(place: &Place) {
    let mut conn = place.connection().await;
    let settings = "SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; SET ANSI_PADDING ON; \
                    SET ANSI_WARNINGS ON; SET ARITHABORT ON; SET CONCAT_NULL_YIELDS_NULL ON;";
    run(&mut conn, settings).await;
    for batch in place.config.schema.script().split("\nGO\n") {
        run(&mut conn, batch).await;
    }
}

async fn a_schema_made_by_hand_is_taken_as_it_is() {
    let place = Place::new();
    by_hand(&place).await;
    let mut conn = place.connection().await;
    let name = place.config.schema.name();
    let objects = format!(
        "SELECT (SELECT COUNT(*) FROM sys.tables WHERE schema_id = SCHEMA_ID(N'{name}')) * 1000 \
         + (SELECT COUNT(*) FROM sys.indexes AS i JOIN sys.tables AS t ON t.object_id = i.object_id \
            WHERE t.schema_id = SCHEMA_ID(N'{name}'))"
    );
    let made = number(&mut conn, &objects).await;
    let backend = place.store().await;
    assert_eq!(
        number(&mut conn, &objects).await,
        made,
        "prepare adds nothing"
    );
    let new = jobs(2);
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    let claimed = claim(&backend, 2).await;
    backend.settle(&complete(&claimed)).await.unwrap();
    assert_eq!(count(&backend, State::Completed).await, 2);
    // And it is what prepare makes.
    let other = Place::new();
    drop(other.store().await);
    let objects = objects.replace(name, other.config.schema.name());
    assert_eq!(number(&mut conn, &objects).await, made);
}

async fn a_user_with_the_documented_rights_can_work() {
    let place = Place::new();
    by_hand(&place).await;
    let mut conn = place.connection().await;
    let schema = place.config.schema.name();
    let user = format!("worker_{}", std::process::id());
    let database = Parts::new().expect("a whole URL").database;
    let password = format!("Any-1-{}", place.config.schema.name());
    run(
        &mut conn,
        &format!("CREATE LOGIN [{user}] WITH PASSWORD = '{password}'"),
    )
    .await;
    run(
        &mut conn,
        &format!("USE [{database}]; CREATE USER [{user}] FOR LOGIN [{user}]"),
    )
    .await;
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA::[{schema}] TO [{user}]");
    run(&mut conn, &grant).await;
    let mut config = place.config.clone();
    let login = anyqueue_sqlserver::tiberius::AuthMethod::sql_server(&user, &password);
    config.connect.authentication(login);
    let works = async {
        let backend = SqlServerBackend::open(config);
        backend.prepare().await?;
        let new = jobs(2);
        assert_eq!(backend.enqueue(&new).await?, created(&new));
        let claimed = claim(&backend, 2).await;
        backend.settle(&complete(&claimed)).await?;
        backend
            .maintain(&anyqueue_core::MaintainLimits::default())
            .await?;
        assert_eq!(count(&backend, State::Completed).await, 2);
        // Loaded in bulk, which is no right of its own into a table of one's own.
        let new = jobs(1_100);
        assert_eq!(backend.enqueue(&new).await?, created(&new));
        Ok::<(), Error>(())
    };
    let worked = works.await;
    let revoke = grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ");
    run(&mut conn, &revoke).await;
    run(&mut conn, &format!("DROP USER [{user}]")).await;
    // Its connections were closed; the server may take a moment to see it.
    let text = format!("DROP LOGIN [{user}]");
    let drop = async {
        while let Err(_again) = match conn.simple_query(text.as_str()).await {
            Ok(stream) => stream.into_results().await.map(drop),
            Err(error) => Err(error),
        } {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let dropped = tokio::time::timeout(crate::common::HANG, drop).await;
    dropped.expect("nobody is logged in");
    worked.unwrap();
}

async fn tables_of_a_newer_version_are_refused() {
    let place = Place::new();
    drop(place.store().await);
    let name = place.config.schema.name();
    let mut conn = place.connection().await;
    let future = format!("INSERT INTO [{name}].migrations (version, name) VALUES (99, N'future')");
    run(&mut conn, &future).await;
    refused(
        prepare(&place.config).await,
        ErrorKind::Corrupt,
        "version 99",
    );
}

async fn calls_before_prepare_say_so() -> Option<&'static str> {
    let place = Place::new();
    if !place.is_microsoft().await {
        return Some(NUMBERS);
    }
    let backend = SqlServerBackend::open(place.config.clone());
    let unread = backend.counts().await.map(drop);
    refused(unread, ErrorKind::Unavailable, "call `prepare`");
    let unwritten = backend.enqueue(&jobs(1)).await.map(drop);
    refused(unwritten, ErrorKind::Unavailable, "call `prepare`");
    backend.prepare().await.unwrap();
    backend.enqueue(&jobs(1)).await.unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
    None
}

async fn a_wrong_password_and_a_missing_database_are_told_apart() -> Option<&'static str> {
    let place = Place::new();
    if !place.is_microsoft().await {
        return Some(NUMBERS);
    }
    let mut config = place.config.clone();
    config.connect.database("no such database");
    refused(
        prepare(&config).await,
        ErrorKind::NotFound,
        "does not exist",
    );
    let mut config = place.config.clone();
    let login = anyqueue_sqlserver::tiberius::AuthMethod::sql_server("nobody", "hunter2");
    config.connect.authentication(login);
    let error = prepare(&config).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    None
}

async fn a_schema_may_have_any_name() {
    let mut place = Place::new();
    let plain = place.config.schema.clone();
    let mut names = vec!["ÿ ☃ {s} @P1"];
    if place.is_microsoft().await {
        // Babelfish reads no doubled bracket, and doubles quotes within brackets.
        names.extend(["a]; DROP SCHEMA dbo; --", "'quoted'"]);
    }
    for (nth, name) in names.iter().enumerate() {
        let name = format!("{name}{}{nth}", std::process::id());
        place.config.schema = Schema::new(&name).unwrap();
        let backend = place.store().await;
        let new = jobs(2);
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        let claimed = claim(&backend, 9).await;
        backend.settle(&complete(&claimed)).await.unwrap();
        assert_eq!(count(&backend, State::Completed).await, 2);
        drop(backend);
        let mut conn = place.connection().await;
        let text = include_str!("../remove.sql");
        conn.execute(text, &[&name.as_str()]).await.unwrap();
    }
    place.config.schema = plain;
}

async fn lock_escalation_is_off() -> Option<&'static str> {
    let place = Place::new();
    if !place.is_microsoft().await {
        return Some(CATALOG);
    }
    drop(place.store().await);
    let mut conn = place.connection().await;
    let name = place.config.schema.name();
    let text = format!(
        "SELECT COUNT(*) FROM sys.tables WHERE schema_id = SCHEMA_ID(N'{name}') \
         AND name <> N'migrations' AND lock_escalation_desc <> N'DISABLE'"
    );
    assert_eq!(number(&mut conn, &text).await, 0);
    None
}

/// A database without forced delayed durability, as this one is.
async fn the_durability_is_the_host_s() {
    let place = Place::new();
    let backend = place.store().await;
    assert_eq!(backend.capabilities().durability(), Durability::Host);
}
