//! `cargo xtask peers`: what the tests need that cargo does not bring, installed without questions and pinned where
//! the source is ours to pin. Debian's packages by apt-get, the rest into `target/peers/`; quick when all is there.
//!
//! What the peers are and do is in `peers/README.md`; starting them is `holdfast_testkit::peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// How to see that a Debian package, or the same thing from elsewhere, is there.
enum Probe {
    /// A program on the path
    Program(&'static str),
    /// A file
    File(&'static str),
    /// A program, on the path or in a folder `<the second>/<version>/bin`
    Versioned(&'static str, &'static str),
    /// A Python module
    Module(&'static str),
}

/// Debian packages that the tests need, with what shows that they are there.
const DEBIAN: [(&str, Probe); 10] = [
    (
        "postgresql",
        Probe::Versioned("initdb", "/usr/lib/postgresql"),
    ),
    ("mbpoll", Probe::Program("mbpoll")),
    ("libmodbus-dev", Probe::File("/usr/include/modbus/modbus.h")),
    ("gcc", Probe::Program("gcc")),
    ("libc6-dev", Probe::File("/usr/include/stdio.h")),
    ("socat", Probe::Program("socat")),
    ("chromium", Probe::Program("chromium")),
    ("python3-venv", Probe::Module("ensurepip")),
    ("nodejs", Probe::Program("node")),
    ("npm", Probe::Program("npm")),
];

/// Files of `peers/` that decide what is installed: while they are what the stamp says, nothing is done.
const INPUTS: [&str; 4] = [
    "requirements.txt",
    "package.json",
    "package-lock.json",
    "libmodbus_server.c",
];

/// What must be in `target/peers/` for the stamp to count.
const INSTALLED: [(&str, &str); 4] = [
    ("pymodbus (PyPI)", "venv/bin/python"),
    ("modbus-serial (npm)", "node/node_modules/modbus-serial"),
    ("playwright-core (npm)", "node/node_modules/playwright-core"),
    ("libmodbus server (C)", "libmodbus_server"),
];

/// Where things are installed; the tests get it as `HOLDFAST_PEERS_DIR`.
pub(crate) fn folder() -> PathBuf {
    shell::target().join("peers")
}

/// `peers --list`: what is there and what is missing.
pub(crate) fn list() -> Result<()> {
    let mark = |there: bool| if there { "there  " } else { "missing" };
    for (package, probe) in &DEBIAN {
        println!("{}  {package} (Debian)", mark(probe.found()));
    }
    let current = is_current(&folder())?;
    for (name, path) in INSTALLED {
        println!("{}  {name}", mark(folder().join(path).exists()));
    }
    if !current {
        println!("`cargo xtask peers` would install.");
    }
    Ok(())
}

/// `peers`: installs what is missing.
pub(crate) fn install() -> Result<()> {
    install_debian()?;
    let folder = folder();
    if is_current(&folder)? {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    install_python(&folder)?;
    install_node(&folder)?;
    build_libmodbus_server(&folder)?;
    fs::write(folder.join("stamp"), stamp()?)?;
    println!("peers: installed into {}", folder.display());
    Ok(())
}

fn install_debian() -> Result<()> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(_, probe)| !probe.found())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::on_path("apt-get") {
        bail!(
            "these Debian packages, or what they hold, are missing and there is no apt-get: {}",
            missing.join(" ")
        );
    }
    println!("peers: installing Debian packages {}", missing.join(" "));
    if !shell::succeeds(
        apt_get()?
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    ) {
        // Package lists that are old or were never fetched are the usual reason.
        shell::run(apt_get()?.arg("update"))?;
        shell::run(
            apt_get()?
                .args(["install", "--yes", "--no-install-recommends"])
                .args(&missing),
        )?;
    }
    Ok(())
}

/// `apt-get` as root, or through sudo where that needs no password.
fn apt_get() -> Result<Command> {
    let root = shell::read(shell::command("id").arg("-u"))?.trim() == "0";
    let mut command = if root {
        shell::command("apt-get")
    } else if shell::succeeds(shell::command("sudo").args(["-n", "true"])) {
        let mut sudo = shell::command("sudo");
        sudo.args(["-n", "--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        sudo
    } else {
        bail!(
            "Debian packages are missing (`cargo xtask peers --list`): install them as root, sudo asks for a password"
        );
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

fn install_python(folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    shell::run(shell::command("python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(
        shell::command(venv.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(shell::root().join("peers/requirements.txt")),
    )
}

fn install_node(folder: &Path) -> Result<()> {
    let node = folder.join("node");
    fs::create_dir_all(&node)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(shell::root().join("peers").join(name), node.join(name))?;
    }
    // The serial port's native code is not needed, and no package's own script runs.
    let flags = [
        "--omit=optional",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    shell::run(
        shell::command("npm")
            .arg("ci")
            .args(flags)
            .current_dir(&node),
    )
}

fn build_libmodbus_server(folder: &Path) -> Result<()> {
    shell::run(
        shell::command("gcc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(folder.join("libmodbus_server"))
            .arg(shell::root().join("peers/libmodbus_server.c"))
            .args(["-I/usr/include/modbus", "-lmodbus"]),
    )
}

fn is_current(folder: &Path) -> Result<bool> {
    let complete = INSTALLED.iter().all(|(_, path)| folder.join(path).exists());
    Ok(complete
        && fs::read_to_string(folder.join("stamp")).is_ok_and(|found| Some(found) == stamp().ok()))
}

/// The inputs themselves, one after the other: short, and without a hash that could deceive.
fn stamp() -> Result<String> {
    let mut stamp = format!("{}\n", folder().display());
    for name in INPUTS {
        let path = shell::root().join("peers").join(name);
        stamp += &fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(stamp)
}

impl Probe {
    fn found(&self) -> bool {
        match self {
            Self::Program(name) => shell::on_path(name),
            Self::File(path) => Path::new(path).exists(),
            Self::Versioned(program, folder) => {
                shell::on_path(program)
                    || fs::read_dir(folder)
                        .into_iter()
                        .flatten()
                        .flatten()
                        .any(|version| version.path().join("bin").join(program).is_file())
            }
            Self::Module(name) => shell::succeeds(
                shell::command("python3").args(["-c", &format!("import venv, {name}")]),
            ),
        }
    }
}
