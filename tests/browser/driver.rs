//! Chromium, driven through chromedriver. Both die with the test.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum::http::Method;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use crate::support::process::Process;
use crate::support::{patience, tools};

/// A browser on a busy machine.
fn patience() -> Duration {
    patience::seconds(30)
}

/// In a process namespace of its own, whose end takes the browser along.
pub const NEEDS: [&str; 3] = ["chromium", "chromedriver", "unshare"];

pub struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    _driver: Process,
    // Last, because fields are dropped in order: the profile is in use till then.
    _directory: TempDir,
}

impl Browser {
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let port = tools::free_port(Ipv4Addr::LOCALHOST.into());
        let log = directory.path().join("log");
        let driver = Process::start(
            Command::new("unshare")
                .args(["--pid", "--fork", "--kill-child=KILL", "chromedriver"])
                .arg(format!("--port={port}"))
                .env("HOME", directory.path()),
            &log,
        );
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let answers = || TcpStream::connect(address).is_ok();
        assert!(tools::wait_until(patience(), answers), "{}", driver.log());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let connected = runtime.block_on(
            ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities(directory.path()))
                .connect(&format!("http://{address}")),
        );
        let client = connected.unwrap_or_else(|error| panic!("{error}\n{}", driver.log()));
        Self {
            runtime,
            client: Some(client),
            _driver: driver,
            _directory: directory,
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("open until it is dropped")
    }

    pub fn open(&self, url: &str) {
        let went = self.runtime.block_on(self.client().goto(url));
        went.expect("the page loads");
    }

    /// What the body of a function returns in the page.
    pub fn run(&self, body: &str) -> Value {
        let ran = self.client().execute(body, Vec::new());
        let ran = self.runtime.block_on(ran);
        ran.unwrap_or_else(|error| panic!("{body:.200}: {error}"))
    }

    /// The same of one that hands its result to the function `done`.
    pub fn run_async(&self, body: &str) -> Value {
        let body = format!("const done = arguments[arguments.length - 1]; {body}");
        let ran = self.client().execute_async(&body, Vec::new());
        let ran = self.runtime.block_on(ran);
        ran.unwrap_or_else(|error| panic!("{body:.200}: {error}"))
    }

    /// Asks again until the expression is true.
    ///
    /// # Panics
    /// When it never is, with what the page reads then.
    pub fn wait_for(&self, expression: &str) {
        let body = format!("return !!({expression})");
        let is_true = || self.run(&body) == json!(true);
        assert!(
            tools::wait_until(patience(), is_true),
            "never: {expression}\n{}",
            self.run("return document.body.innerText")
        );
    }

    /// A command of the Chrome DevTools Protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
    }

    /// Lines of a log since it was asked for last.
    pub fn log(&self, kind: &str) -> Vec<Value> {
        let found = self.command("se/log", json!({ "type": kind }));
        found.as_array().expect("a list").clone()
    }

    pub fn screenshot(&self) -> Vec<u8> {
        let taken = self.runtime.block_on(self.client().screenshot());
        taken.expect("a picture")
    }

    /// In pixels of the page, whatever the window can be made to.
    pub fn resize(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 0.8, "mobile": width < 600 }),
        );
    }

    pub fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    fn command(&self, path: &'static str, body: Value) -> Value {
        let command = self.client().issue_cmd(Raw { path, body });
        let answer = self.runtime.block_on(command);
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // What does not end so is killed with its driver.
            let end = async { tokio::time::timeout(Duration::from_secs(5), client.close()).await };
            let _ = self.runtime.block_on(end);
        }
    }
}

fn capabilities(profile: &Path) -> Capabilities {
    let options = json!({
        "args": [
            "--headless",
            // Root has no other way, and the pages are ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--lang=en-US",
            format!("--user-data-dir={}", profile.join("profile").display()),
        ],
    });
    let logs = json!({ "browser": "ALL", "performance": "ALL" });
    [
        ("browserName".to_owned(), json!("chrome")),
        ("goog:chromeOptions".to_owned(), options),
        ("goog:loggingPrefs".to_owned(), logs),
    ]
    .into_iter()
    .collect()
}

/// A command that WebDriver has no word for.
#[derive(Debug)]
struct Raw {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Raw {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
