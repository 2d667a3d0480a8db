//! Programs as processes: found, put on a core, ended; what they cost, from `/proc`.
//!
//! CPU time is read from `schedstat`, which counts nanoseconds: `utime` and `stime` are sampled by ticks and miss short
//! bursts.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// Where the programs are.
const PROGRAMS_VAR: &str = "HOLDFAST_TEST_BIN_DIR";

/// The core of what is measured, where the other end has one of its own.
pub const MEASURED: u32 = 0;

/// The core of the other end.
pub const OTHER: u32 = 1;

/// A command of a built program, on one core if one is named, without the variables of whoever runs this.
///
/// # Errors
/// If it is not built.
pub fn program(name: &str, core: Option<u32>) -> Result<Command> {
    let folder = env::var_os(PROGRAMS_VAR)
        .with_context(|| format!("{PROGRAMS_VAR} is not set: run `cargo xtask bench`"))?;
    let path = PathBuf::from(folder).join(name);
    if !path.exists() {
        bail!("{} is not there: run `cargo xtask bench`", path.display());
    }
    Ok(on_core(path.as_os_str(), core))
}

/// A command of this very program, in another part.
///
/// # Errors
/// If it can't be found any more.
pub fn self_as(part: &[&str], core: Option<u32>) -> Result<Command> {
    let mut command = on_core(env::current_exe()?.as_os_str(), core);
    command.args(part);
    Ok(command)
}

fn on_core(program: &OsStr, core: Option<u32>) -> Command {
    let mut command = match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
    };
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("HOLDFAST_")) {
            command.env_remove(key);
        }
    }
    command
}

/// Puts this process on a core. To be called before it has more threads than one.
///
/// # Errors
/// If the machine has no such core.
pub fn stay_on(core: u32) -> Result<()> {
    let own = std::process::id().to_string();
    let output = Command::new("taskset")
        .args(["-p", "-c", &core.to_string(), &own])
        .output()
        .context("cannot start taskset")?;
    if !output.status.success() {
        bail!(
            "taskset: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A running process, killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    complaints: fs::File,
}

impl Process {
    /// Starts it. Its standard error goes into a file.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let complaints = tempfile::tempfile()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone()?);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, complaints })
    }

    /// Starts a server and waits until it says where it listens.
    ///
    /// # Errors
    /// If it ends instead; with what it said.
    pub fn server(command: Command) -> Result<(Self, SocketAddr)> {
        let mut process = Self::start(command)?;
        let said = process.line("listening on http://")?;
        let addr = said
            .parse()
            .with_context(|| format!("{said:?} is no address"))?;
        Ok((process, addr))
    }

    /// Waits for a line that begins so, and gives the rest of it. What it prints later is lost.
    ///
    /// # Errors
    /// If it ends instead; with what it said.
    pub fn line(&mut self, beginning: &str) -> Result<String> {
        let out = self.child.stdout.take().context("listened to already")?;
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let found = lines.find_map(|line| {
            line.strip_prefix(beginning)
                .map(|rest| rest.trim().to_owned())
        });
        // Read on, so that it can always print.
        std::thread::spawn(move || lines.for_each(drop));
        found.map_or_else(
            || bail!("it ended before it said {beginning:?}:\n{}", self.said()),
            Ok,
        )
    }

    /// What it complained of.
    pub fn said(&mut self) -> String {
        let mut text = String::new();
        let _ = self.complaints.rewind();
        let _ = self.complaints.read_to_string(&mut text);
        text
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that a process has used so far, all its threads that still live.
pub fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten();
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Which memory of a process.
#[derive(Debug, Clone, Copy)]
pub enum Memory {
    /// What it has now.
    Now,
    /// The most that it ever had.
    Peak,
}

/// Resident memory of a process, in MB of 1,000,000 bytes.
pub fn memory_mb(process: u32, which: Memory) -> f64 {
    let key = match which {
        Memory::Now => "VmRSS:",
        Memory::Peak => "VmHWM:",
    };
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    });
    kib.unwrap_or_default() * 1.024e-3
}

/// The children of a process.
pub fn children(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name, which may hold anything, come the state and the parent.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (parent.parse() == Ok(process)).then_some(id)
    })
    .collect()
}
