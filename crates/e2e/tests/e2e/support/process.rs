//! Processes of the built programs: found, started, listened to, frozen, ended. They end with the test at the latest.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::wait::{eventually, in_time};

/// Where the programs are, when that is not beside the tests' own.
const PROGRAMS_VAR: &str = "HOLDFAST_TEST_BIN_DIR";

/// The path of a built program.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os(PROGRAMS_VAR)
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let own = std::env::current_exe().expect("a process knows its program");
            let target = own.parent().and_then(|deps| deps.parent());
            target
                .expect("a test lies in target/<profile>/deps")
                .to_owned()
        });
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --workspace --bins`",
        path.display()
    );
    path
}

/// A command of a built program, without the variables of whoever runs the tests.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    for (key, _) in std::env::vars_os() {
        let ours = key.to_str().is_some_and(|key| key.starts_with("HOLDFAST_"));
        if ours {
            command.env_remove(key);
        }
    }
    command
}

/// The same for a program whose disk may be [full](Process::disk_is_full): writing to it then fails, instead of ending it.
pub(crate) fn command_with_a_disk(name: &str) -> Command {
    let plain = command(name);
    let mut command = Command::new("env");
    command.arg("--ignore-signal=XFSZ").arg(program(name));
    for (key, value) in plain.as_std().get_envs() {
        if value.is_none() {
            command.env_remove(key);
        }
    }
    command
}

/// A running process.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
    stdout: watch::Receiver<Vec<String>>,
    stderr: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`; it is killed when this is dropped. What it says is shown if the test fails.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let (lines, stdout) = watch::channel(Vec::new());
        let out = child.stdout.take().expect("asked for as a pipe");
        let err = child.stderr.take().expect("asked for as a pipe");
        tokio::spawn(listen(out, said.clone(), Some(lines)));
        let stderr = Some(tokio::spawn(listen(err, said.clone(), None)));
        Self {
            name,
            child,
            said,
            stdout,
            stderr,
        }
    }

    /// Waits until it prints a line that begins with `beginning`, and gives the rest of that line; if it ends without,
    /// what it said instead.
    pub(crate) async fn line(&mut self, beginning: &str) -> Result<String, String> {
        let what = format!("{} says {beginning:?}", self.name);
        let rest = |lines: &[String]| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(beginning))
                .map(str::to_owned)
        };
        let said_it = in_time(&what, self.stdout.wait_for(|lines| rest(lines).is_some()))
            .await
            .is_ok();
        if said_it {
            return Ok(rest(&self.stdout.borrow()).expect("it was just found"));
        }
        if let Some(stderr) = self.stderr.take() {
            let _ = in_time(&what, stderr).await;
        }
        Err(self.said())
    }

    /// Waits until it prints a line with this text in it.
    pub(crate) async fn says(&self, text: &str) {
        let mut stdout = self.stdout.clone();
        let said = stdout.wait_for(|lines| lines.iter().any(|line| line.contains(text)));
        let is_said = in_time(&format!("{} says {text:?}", self.name), said)
            .await
            .is_ok();
        assert!(
            is_said,
            "{} ended without saying {text:?}:\n{}",
            self.name,
            self.said()
        );
    }

    /// Waits until it logs something with this text in it, and gives that line.
    pub(crate) async fn logs(&self, text: &str) -> String {
        eventually(&format!("{} logs {text:?}", self.name), async || {
            let said = self.said();
            let line = said.lines().find(|line| line.contains(text));
            line.map(str::to_owned).ok_or(said.clone())
        })
        .await
    }

    /// What it printed on standard output up to now.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.borrow().clone()
    }

    /// What it last said.
    pub(crate) fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter()
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Asks it to end (SIGTERM) and waits until it has, in good order.
    pub(crate) async fn stop(self) {
        self.end_with("TERM").await;
    }

    /// The same as if somebody had typed Ctrl-C (SIGINT).
    pub(crate) async fn interrupt(self) {
        self.end_with("INT").await;
    }

    async fn end_with(mut self, signal: &str) {
        self.signal(signal).await;
        let status = in_time(&format!("{} ends", self.name), self.child.wait())
            .await
            .expect("it is our child");
        assert!(
            status.success(),
            "{} ended with {status}:\n{}",
            self.name,
            self.said()
        );
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is our child");
    }

    /// Freezes it (SIGSTOP): its sockets stay open, and nothing happens in it.
    pub(crate) async fn freeze(&self) {
        self.signal("STOP").await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        self.signal("CONT").await;
    }

    /// From now on there is no room on its disk, or there is again. For [`command_with_a_disk`].
    pub(crate) async fn disk_is_full(&self, is_full: bool) {
        let most = if is_full { "0" } else { "unlimited" };
        let limited = Command::new("prlimit")
            .arg(format!("--pid={}", self.id()))
            .arg(format!("--fsize={most}:unlimited"))
            .status()
            .await;
        assert!(
            limited.is_ok_and(|status| status.success()),
            "prlimit --fsize={most} ({})",
            self.name
        );
    }

    fn id(&self) -> u32 {
        self.child
            .id()
            .unwrap_or_else(|| panic!("{} has ended already:\n{}", self.name, self.said()))
    }

    async fn signal(&self, signal: &str) {
        let id = self.id();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(id.to_string())
            .status()
            .await;
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -{signal} {id} ({})",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── what {} last said ──\n{}", self.name, self.said());
        }
    }
}

async fn listen(
    pipe: impl AsyncRead + Unpin,
    said: Arc<Mutex<VecDeque<String>>>,
    lines: Option<watch::Sender<Vec<String>>>,
) {
    /// Lines that are kept to be shown.
    const KEPT: usize = 60;
    let mut pipe = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = pipe.next_line().await {
        {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_back(line.clone());
            if said.len() > KEPT {
                said.pop_front();
            }
        }
        if let Some(lines) = &lines {
            lines.send_modify(|lines| lines.push(line));
        }
    }
}

/// What a command that ran to its end said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) out: String,
    /// What it complained of.
    pub(crate) err: String,
}

/// Runs a program to its end.
pub(crate) async fn run<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> Ran {
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let what = format!("{:?}", command.as_std());
    let output = in_time(&what, command.output())
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
