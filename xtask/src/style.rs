//! `cargo xtask style`: what rustfmt and clippy do not check. Reads every file that is or would be committed; each rule
//! is a function over one file's text, so that a test can break it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, bail};

use crate::shell;

/// Files are mostly under 350 lines; past this one nobody finds anything.
const MAX_LINES: usize = 600;

// Put together, so that this file does not find itself.
const UNFINISHED_MACROS: [&str; 2] = [concat!("to", "do!("), concat!("unimple", "mented!(")];
const UNFINISHED_WORDS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const SWITCHED_OFF: &str = concat!("#[ig", "nore");
const SLEEPS: [&str; 2] = [concat!("thread::sl", "eep"), concat!("time::sl", "eep")];
/// Folders of one machine; what follows must look like a path.
const MACHINE_FOLDERS: [&str; 4] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/fa", "rm/"),
    concat!("/wo", "rk/"),
];
const REGISTRY_HOSTS: [&str; 5] = [
    concat!("index.", "crates"),
    concat!("static.", "crates"),
    concat!("files.", "pythonhosted"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian"),
];

/// Checks every file and names all breaches at once.
pub(crate) fn run() -> Result<()> {
    let listed = shell::read(shell::command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut breaches = Vec::new();
    for path in listed.lines().collect::<BTreeSet<_>>() {
        // Deleted but not yet committed, or not text: nothing to check.
        let Ok(text) = fs::read_to_string(shell::root().join(path)) else {
            continue;
        };
        breaches.extend(check(path, &text));
    }
    if !breaches.is_empty() {
        bail!(
            "{} breach(es) of the house style:\n  {}",
            breaches.len(),
            breaches.join("\n  ")
        );
    }
    Ok(())
}

/// The breaches in one file, each with its place.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !path.ends_with(".lock") && !path.ends_with("package-lock.json") {
        found.extend(machine_paths(text));
    }
    if path.ends_with(".rs") {
        found.extend(header(text));
        found.extend(length(text));
        found.extend(unfinished(text));
        found.extend(switched_off(text));
        found.extend(sleeping_tests(path, text));
    }
    found
        .into_iter()
        .map(|(line, what)| format!("{path}:{line}: {what}"))
        .collect()
}

type Breach = (usize, String);

fn header(text: &str) -> Option<Breach> {
    let missing = !text.lines().take(3).any(|line| line.starts_with("//!"));
    missing.then(|| {
        (
            1,
            "opens without a `//!` that says what the file is for".to_owned(),
        )
    })
}

fn length(text: &str) -> Option<Breach> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| {
        (
            lines,
            format!("{lines} lines, at most {MAX_LINES}: split it where it has two subjects"),
        )
    })
}

fn unfinished(text: &str) -> Vec<Breach> {
    lines_with(text, |line| {
        let word = line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .find(|word| UNFINISHED_WORDS.contains(word));
        let found = word.or_else(|| {
            UNFINISHED_MACROS
                .into_iter()
                .find(|name| line.contains(name))
        })?;
        Some(format!("unfinished: `{found}`"))
    })
}

fn switched_off(text: &str) -> Vec<Breach> {
    lines_with(text, |line| {
        line.trim_start()
            .starts_with(SWITCHED_OFF)
            .then(|| "a test that is switched off".to_owned())
    })
}

/// A test waits for the thing itself. Support code may sleep: it is where the waiting for a condition, with its deadline,
/// is written once, and where a fake instrument takes its time.
fn sleeping_tests(path: &str, text: &str) -> Vec<Breach> {
    if path.contains("/tests/support/") {
        return Vec::new();
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut in_tests =
        path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs");
    let mut after_attribute = false;
    lines_with(text, |line| {
        in_tests |= after_attribute && line.trim_end().ends_with('{');
        after_attribute = line.trim() == "#[cfg(test)]";
        (in_tests && SLEEPS.iter().any(|sleep| line.contains(sleep)))
            .then(|| "a test that sleeps: wait for the thing itself".to_owned())
    })
}

fn machine_paths(text: &str) -> Vec<Breach> {
    lines_with(text, |line| {
        if let Some(host) = REGISTRY_HOSTS.into_iter().find(|host| line.contains(host)) {
            return Some(format!(
                "a registry's host, `{host}`: the user's own settings choose it"
            ));
        }
        let folder = MACHINE_FOLDERS.into_iter().find(|folder| {
            line.match_indices(folder).any(|(at, _)| {
                let is_path = |c: char| c.is_ascii_lowercase() || c == '.';
                // Only where the path begins: inside a longer one the name is nobody's home.
                !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_-.}".contains(c))
                    && line[at + folder.len()..].starts_with(is_path)
            })
        })?;
        Some(format!("a path of one machine, `{folder}…`"))
    })
}

fn lines_with(text: &str, mut breach: impl FnMut(&str) -> Option<String>) -> Vec<Breach> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, breach(line)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "//! A file.\n";

    fn rust(path: &str, body: &str) -> String {
        check(path, &format!("{HEADER}{body}")).join("; ")
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(
            rust("crates/x/src/lib.rs", "fn f() { clock.sleep(1) }\n"),
            ""
        );
    }

    #[test]
    fn a_file_without_header_is_named() {
        assert!(check("a.rs", "fn f() {}\n")[0].starts_with("a.rs:1: opens without"));
    }

    #[test]
    fn a_long_file_is_named() {
        assert!(rust("a.rs", &"\n".repeat(MAX_LINES)).contains("601 lines"));
        assert_eq!(rust("a.rs", &"\n".repeat(MAX_LINES - 1)), "");
    }

    #[test]
    fn unfinished_marks_are_found_but_not_within_words() {
        for mark in UNFINISHED_WORDS.iter().chain(&UNFINISHED_MACROS) {
            assert!(
                rust("a.rs", &format!("// {mark} later\n")).contains("a.rs:2: unfinished"),
                "{mark}"
            );
        }
        assert_eq!(
            rust(
                "a.rs",
                &format!("const {}S: u8 = 1;\n", UNFINISHED_WORDS[0])
            ),
            ""
        );
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        assert!(rust("a.rs", &format!("  {SWITCHED_OFF} = \"slow\"]\n")).contains("switched off"));
    }

    #[test]
    fn only_tests_may_not_sleep() {
        for sleep in SLEEPS {
            let line = format!("tokio::{sleep}(second).await;\n");
            assert_eq!(rust("crates/x/src/lib.rs", &line), "");
            assert!(rust("crates/x/tests/it.rs", &line).contains("sleeps"));
            assert!(rust("crates/x/src/loop/tests.rs", &line).contains("sleeps"));
            assert!(
                rust(
                    "crates/x/src/lib.rs",
                    &format!("#[cfg(test)]\nmod tests {{\n{line}")
                )
                .contains(":4: a test that sleeps")
            );
            assert_eq!(
                rust(
                    "crates/x/src/lib.rs",
                    &format!("#[cfg(test)]\nmod fakes;\n{line}")
                ),
                ""
            );
            assert_eq!(rust("crates/x/tests/support/wait.rs", &line), "");
        }
    }

    #[test]
    fn machine_paths_and_registries_are_found_outside_locks() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(
                check("README.md", &format!("see {folder}me\n")).len(),
                1,
                "{folder}"
            );
            assert_eq!(
                check("README.md", &format!("see docs{folder}me\n")).len(),
                0,
                "{folder}"
            );
        }
        for host in REGISTRY_HOSTS {
            assert_eq!(
                check("x.toml", &format!("https://{host}.org/\n")).len(),
                1,
                "{host}"
            );
            assert_eq!(
                check("peers/package-lock.json", &format!("https://{host}.org/\n")).len(),
                0,
                "{host}"
            );
        }
    }
}
