//! The cases.

use std::fs;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use libtest_mimic::Failed;
use tempfile::TempDir;

use super::browser::{Browser, Driver, Scheme};
use crate::common::{App, Launch, count_rows, export_files};

const ROWS: u32 = 20_000;

/// An export of all orders takes four seconds.
const PACE: u32 = 5_000;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    scheme: Scheme,
    run: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, ()>,
}

/// What a case plays on.
struct Stage<'a> {
    driver: &'a Driver,
    browser: Browser,
    data: TempDir,
}

macro_rules! cases {
    ($($name:ident on $scheme:ident;)*) => {
        pub(crate) fn all() -> Vec<Case> {
            vec![$(Case {
                name: stringify!($name),
                scheme: Scheme::$scheme,
                run: |stage| $name(stage).boxed_local(),
            }),*]
        }
    };
}

cases! {
    a_click_ends_in_a_file_by_events on Light;
    a_click_ends_in_a_file_by_polling on Dark;
    a_cancelled_export_can_be_tried_again on Light;
    an_export_outlives_kill_9 on Light;
    a_failed_export_says_why on Light;
    past_exports_are_the_sessions_own on Dark;
    web_and_worker_can_be_two_processes on Light;
}

impl Case {
    pub(crate) fn run(&self, driver: &Driver) -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let stage = Stage {
                driver,
                browser: driver.browser(self.scheme).await,
                data: tempfile::tempdir()?,
            };
            let played = AssertUnwindSafe((self.run)(&stage)).catch_unwind().await;
            if played.is_err() {
                stage
                    .browser
                    .screenshot(&format!("failed-{}", self.name))
                    .await;
            }
            stage.browser.close().await;
            played.map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Failed::from(text.unwrap_or_else(|| "panicked".to_owned()))
            })
        })
    }
}

impl Stage<'_> {
    fn launch(&self) -> Launch<'_> {
        Launch::new(self.data.path()).rows(ROWS).pace(PACE)
    }

    async fn until_rows_downloaded(&self, rows: usize) {
        let file = self.browser.download().await;
        assert_eq!(count_rows(&file), rows, "{}", file.display());
    }
}

async fn a_click_ends_in_a_file_by_events(stage: &Stage<'_>) {
    let app = stage.launch().start();
    stage.browser.open(app.url()).await;
    stage.browser.screenshot("light-empty").await;
    from_click_to_file(stage, "events", "light").await;
    assert_eq!(polls(&stage.browser).await, 0, "events alone were enough");
}

async fn a_click_ends_in_a_file_by_polling(stage: &Stage<'_>) {
    let app = stage.launch().start();
    stage
        .browser
        .open(&format!("{}/?live=polling", app.url()))
        .await;
    stage.browser.screenshot("dark-empty").await;
    from_click_to_file(stage, "polling", "dark").await;
    assert!(
        polls(&stage.browser).await >= 2,
        "nothing else told of the end"
    );
}

async fn from_click_to_file(stage: &Stage<'_>, live: &str, shots: &str) {
    let browser = &stage.browser;
    // A smaller export before, so that the list has a past.
    browser.export("open_orders").await;
    browser.until_state("completed").await;

    browser.export("all_orders").await;
    browser
        .until("document.querySelectorAll('.export').length === 2")
        .await;
    let mut percents = vec![0];
    let mut messages = Vec::new();
    let state = "document.querySelector('.export').dataset.state";
    while browser.value(state).await != "completed" {
        let percent = browser
            .value("document.querySelector('.export progress').value")
            .await;
        let percent = percent.as_f64().expect("a percentage") as u32;
        if percents.last() != Some(&percent) {
            percents.push(percent);
            messages.push(browser.text(".export .message").await);
        }
        if percents.len() == 3 {
            assert_eq!(
                browser
                    .value("document.querySelector('#live').dataset.live")
                    .await,
                live
            );
            browser.screenshot(&format!("{shots}-running")).await;
        }
    }
    assert!(
        percents.is_sorted() && percents.len() >= 4,
        "no progress was seen: {percents:?}"
    );
    let told =
        |text: &String| text.starts_with("Step 2 of 3 · ") && text.ends_with("of 20,000 rows");
    assert!(messages.iter().any(told), "{messages:?}");
    browser.screenshot(&format!("{shots}-completed")).await;
    assert!(
        browser
            .text(".export .facts")
            .await
            .starts_with("20,000 rows")
    );
    stage.until_rows_downloaded(20_000).await;
}

/// How often the page has asked for an export's status.
async fn polls(browser: &Browser) -> u64 {
    let asked = "performance.getEntriesByType('resource')\
                 .filter((r) => /exports\\/[0-9a-f-]+$/.test(r.name)).length";
    browser.value(asked).await.as_u64().expect("a number")
}

async fn a_cancelled_export_can_be_tried_again(stage: &Stage<'_>) {
    let app = stage.launch().start();
    let browser = &stage.browser;
    browser.open(app.url()).await;
    browser.export("all_orders").await;
    browser.until_percent(5).await;
    assert_eq!(
        export_files(stage.data.path()).len(),
        1,
        "one file is being written"
    );
    browser.click(".export .cancel").await;
    browser.until_state("cancelled").await;
    assert_eq!(
        export_files(stage.data.path()).len(),
        0,
        "nothing is left of it"
    );
    assert!(!browser.is_shown(".export .download").await);

    browser.click(".export .retry").await;
    browser.until_state("completed").await;
    stage.until_rows_downloaded(20_000).await;
}

async fn an_export_outlives_kill_9(stage: &Stage<'_>) {
    let app = stage.launch().start();
    let browser = &stage.browser;
    browser.open(app.url()).await;
    browser.value("window.sameAsBefore = true").await;
    browser.export("all_orders").await;
    browser.until_percent(15).await;
    let port = app.port();
    app.kill();
    browser
        .until("document.querySelector('#live').dataset.live === 'lost'")
        .await;
    browser.screenshot("light-reconnecting").await;

    let _app = stage.launch().port(port).start();
    browser.until_state("completed").await;
    assert_eq!(
        browser.value("window.sameAsBefore").await,
        true,
        "the page was loaded anew"
    );
    assert!(
        browser
            .text(".export .facts")
            .await
            .contains("attempt 2 of 3")
    );
    stage.until_rows_downloaded(20_000).await;
    assert_eq!(
        export_files(stage.data.path()).len(),
        1,
        "the killed attempt's file is gone"
    );
}

async fn a_failed_export_says_why(stage: &Stage<'_>) {
    let app = stage.launch().start();
    let browser = &stage.browser;
    browser.open(app.url()).await;
    let (orders, away) = (
        stage.data.path().join("orders.db"),
        stage.data.path().join("away.db"),
    );
    fs::rename(&orders, &away).expect("the orders are there");
    browser.export("open_orders").await;
    browser.until_state("failed").await;
    let reason = browser.text(".export .reason").await;
    assert!(
        reason.starts_with("Attempt 3 failed: the orders database cannot be read"),
        "{reason}"
    );
    browser.screenshot("light-failed").await;

    fs::rename(&away, &orders).expect("the orders are there");
    browser.click(".export .retry").await;
    browser.until_state("completed").await;
    assert!(browser.is_shown(".export .download").await);
}

async fn past_exports_are_the_sessions_own(stage: &Stage<'_>) {
    let app = stage.launch().pace(0).start();
    let browser = &stage.browser;
    browser.open(app.url()).await;
    browser.export("revenue_2025_by_country").await;
    browser.until_state("completed").await;
    browser.export("open_orders").await;
    browser
        .until("document.querySelectorAll('[data-state=completed]').length === 2")
        .await;
    let names = "[...document.querySelectorAll('.name')].map((n) => n.textContent).join()";
    let before = browser.value(names).await;
    assert_eq!(before, "Open orders,2025 revenue by country");
    browser.reload().await;
    browser
        .until("document.querySelectorAll('.export').length === 2")
        .await;
    assert_eq!(browser.value(names).await, before);
    browser.narrow().await;
    browser.screenshot("dark-narrow").await;

    let other = stage.driver.browser(Scheme::Light).await;
    let played = AssertUnwindSafe(async {
        other.open(app.url()).await;
        other
            .until("!document.querySelector('#empty').hidden")
            .await;
        assert_eq!(
            other
                .value("document.querySelectorAll('.export').length")
                .await,
            0
        );
    });
    let played = played.catch_unwind().await;
    other.close().await;
    played.expect("another session sees nothing");
}

async fn web_and_worker_can_be_two_processes(stage: &Stage<'_>) {
    let web = stage.launch().role("web").start();
    let browser = &stage.browser;
    browser.open(web.url()).await;
    browser.export("all_orders").await;
    browser.until_state("ready").await;
    assert_eq!(
        browser.text(".export .message").await,
        "Waiting for a worker"
    );
    let _worker: App = stage.launch().role("worker").start();
    browser.until_percent(5).await;
    browser.until_state("completed").await;
    stage.until_rows_downloaded(20_000).await;
}
