//! A browser: Chromium, driven by playwright through a small program of our own (`browser.js` beside this file) that
//! takes one command a line and answers each with one line.

use std::process::Stdio;

use holdfast_testkit::peers::installed;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::wait::in_time;

/// One page in a browser of its own, which ends with it.
pub(crate) struct Page {
    browser: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Page {
    /// Starts a browser with an empty page.
    pub(crate) async fn start() -> Self {
        let mut node = Command::new("node");
        node.arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/support/browser.js"
        ));
        node.env("PLAYWRIGHT", installed("node/node_modules/playwright-core"));
        node.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut browser = node
            .spawn()
            .unwrap_or_else(|error| panic!("node does not start: {error}"));
        let commands = browser.stdin.take().expect("asked for as a pipe");
        let answers = BufReader::new(browser.stdout.take().expect("asked for as a pipe")).lines();
        let mut page = Self {
            browser,
            commands,
            answers,
        };
        page.tell("start", &Value::Null).await;
        page
    }

    /// Opens a URL.
    pub(crate) async fn open(&mut self, url: &str) {
        self.tell("open", &json!(url)).await;
    }

    /// Types a text into the field that `selector` finds.
    pub(crate) async fn fill(&mut self, selector: &str, text: &str) {
        self.tell("fill", &json!([selector, text])).await;
    }

    /// Clicks on what `selector` finds, and waits for the page that comes of it.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.tell("click", &json!(selector)).await;
    }

    /// Waits until a text is to be seen.
    pub(crate) async fn sees(&mut self, text: &str) {
        self.tell("sees", &json!(text)).await;
    }

    /// What an expression comes to in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.tell("evaluate", &json!(expression)).await
    }

    /// Every URL that the browser asked for.
    pub(crate) async fn requests(&mut self) -> Vec<String> {
        let requests = self.tell("requests", &Value::Null).await;
        requests
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|url| url.as_str().map(str::to_owned))
            .collect()
    }

    /// What the page complained of: errors in scripts, dialogues that opened, and things that were refused.
    pub(crate) async fn complaints(&mut self) -> Vec<Value> {
        self.tell("complaints", &Value::Null)
            .await
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Saves what is to be seen as `target/e2e/<name>.png`, for a person to look at.
    pub(crate) async fn picture(&mut self, name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/e2e");
        std::fs::create_dir_all(folder).expect("the target folder can be written");
        self.tell("picture", &json!(format!("{folder}/{name}.png")))
            .await;
    }

    /// Closes the browser and waits until it is gone.
    pub(crate) async fn close(mut self) {
        drop(self.commands);
        let ended = in_time("the browser ends", self.browser.wait()).await;
        assert!(
            ended.is_ok_and(|status| status.success()),
            "the browser's driver ended badly"
        );
    }

    async fn tell(&mut self, command: &str, argument: &Value) -> Value {
        let line = format!("{}\n", json!({ "do": command, "with": argument }));
        self.commands
            .write_all(line.as_bytes())
            .await
            .expect("the browser's driver runs");
        let answer = in_time(command, self.answers.next_line())
            .await
            .expect("the driver's answers can be read");
        let answer = answer.unwrap_or_else(|| panic!("the browser ended at {line}"));
        let answer: Value = serde_json::from_str(&answer).expect("the driver answers in JSON");
        assert!(
            answer["error"].is_null(),
            "{line}{}",
            answer["error"].as_str().unwrap_or_default()
        );
        answer["ok"].clone()
    }
}
