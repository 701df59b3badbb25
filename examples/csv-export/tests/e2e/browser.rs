//! [`Browser`]: a headless Chromium with a profile of its own, and what a
//! person sees on the page.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::components::SelectElement;
use thirtyfour::{By, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WebElement};

/// Tells a hang from a result; nothing here takes as long.
const BOUND: Duration = Duration::from_secs(120);

/// Quiet and headless, without calls home.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1150",
];

/// A chromedriver on a free port; started by the first who needs it.
pub(crate) struct Driver {
    path: OsString,
    started: OnceLock<(Child, u16)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

pub(crate) struct Browser {
    page: WebDriver,
    profile: TempDir,
}

impl Driver {
    pub(crate) fn new(path: OsString) -> Self {
        Self {
            path,
            started: OnceLock::new(),
        }
    }

    fn port(&self) -> u16 {
        self.started.get_or_init(|| self.start()).1
    }

    fn start(&self) -> (Child, u16) {
        let mut child = Command::new(&self.path)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver starts");
        let output = BufReader::new(child.stdout.take().expect("its output is ours"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        (child, port.expect("chromedriver tells its port"))
    }

    pub(crate) async fn browser(&self, scheme: Scheme) -> Browser {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        fs::create_dir(profile.path().join("downloads")).expect("a folder for downloads");
        let mut capabilities = DesiredCapabilities::chrome();
        let mut add = |argument: &str| capabilities.add_arg(argument).expect(argument);
        ARGUMENTS.iter().copied().for_each(&mut add);
        add(&format!("--user-data-dir={}", profile.path().display()));
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            // Chromium's sandbox refuses to start for root.
            add("--no-sandbox");
        }
        add(match scheme {
            Scheme::Dark => "--blink-settings=preferredColorScheme=0",
            Scheme::Light => "--blink-settings=preferredColorScheme=1",
        });
        let preferences = json!({
            "download.default_directory": profile.path().join("downloads"),
            "download.prompt_for_download": false,
        });
        capabilities
            .add_experimental_option("prefs", preferences)
            .expect("preferences are JSON");
        let address = format!("http://127.0.0.1:{}", self.port());
        let page = WebDriver::new(address, capabilities).await;
        let page = page.expect("chromium starts");
        Browser { page, profile }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some((child, _)) = self.started.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Browser {
    /// Ends the browser. Without it, it would outlive the tests.
    pub(crate) async fn close(self) {
        let _ = self.page.quit().await;
    }

    pub(crate) async fn open(&self, url: &str) {
        self.page.goto(url).await.expect("the page opens");
        let note = "document.querySelector('#preview-note').textContent.includes('row')";
        self.until(note).await;
    }

    pub(crate) async fn reload(&self) {
        self.page.refresh().await.expect("the page opens");
    }

    /// What a script's expression is now.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let value = self.page.execute(script, Vec::new()).await;
        value.expect(expression).json().clone()
    }

    /// Waits until a script's expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.value(expression).await != json!(true) {
            if begun.elapsed() > BOUND {
                let text = self.value("document.body.innerText").await;
                panic!(
                    "never so: {expression}\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the newest export is in this state.
    pub(crate) async fn until_state(&self, state: &str) {
        let shown = "document.querySelector('.export')?.dataset.state";
        self.until(&format!("{shown} === '{state}'")).await;
    }

    /// Waits until the newest export is over this percentage, still running.
    pub(crate) async fn until_percent(&self, percent: u8) {
        let shown = "document.querySelector('.export progress')?.value";
        self.until(&format!("{shown} > {percent}")).await;
        self.until_state("running").await;
    }

    async fn find(&self, selector: &str) -> WebElement {
        let found = self.page.find(By::Css(selector)).await;
        found.expect(selector)
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        element.click().await.expect(selector);
    }

    pub(crate) async fn is_shown(&self, selector: &str) -> bool {
        let element = self.find(selector).await;
        element.is_displayed().await.expect(selector)
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        element.text().await.expect(selector)
    }

    /// Picks a view and clicks on "Export to CSV".
    pub(crate) async fn export(&self, view: &str) {
        let select = SelectElement::new(&self.find("#view").await).await;
        let select = select.expect("a choice of views");
        select.select_by_value(view).await.expect(view);
        self.click("#export").await;
    }

    /// Clicks on the newest export's "Download"; returns when the file is there.
    pub(crate) async fn download(&self) -> PathBuf {
        self.click(".export .download").await;
        let folder = self.profile.path().join("downloads");
        let begun = Instant::now();
        loop {
            if let Some(file) = finished_download(&folder) {
                return file;
            }
            assert!(begun.elapsed() < BOUND, "no file was downloaded");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As wide as a telephone, nearly: Chromium has a smallest window.
    pub(crate) async fn narrow(&self) {
        let resized = self.page.set_window_rect(0, 0, 500, 1_100).await;
        resized.expect("the window has another size");
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = std::env::var_os("ANYQUEUE_SCREENSHOTS")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        fs::create_dir_all(&folder).expect("a folder for screenshots");
        let image = self.page.screenshot_as_png().await.expect("a screenshot");
        fs::write(folder.join(format!("{name}.png")), image).expect("it is written");
    }
}

/// Chromium reserves the name with an empty file, writes under another one, and
/// renames the complete file.
fn finished_download(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).expect("it is there");
    let is_complete = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "csv")
            && fs::metadata(path).is_ok_and(|file| file.len() > 0)
    };
    files.flatten().map(|file| file.path()).find(is_complete)
}
