//! `cargo xtask openapi` and `cargo xtask schema`: documents that the code prints and the repository keeps, so that a
//! change of the interface is seen in review. With `--check` they only compare.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The API's description.
pub(crate) fn openapi(check: bool) -> Result<()> {
    keep("openapi", "docs/openapi.json", check)
}

/// The JSON Schema of the manifests that `holdfast apply` takes.
pub(crate) fn schema(check: bool) -> Result<()> {
    keep("schema", "docs/manifest.schema.json", check)
}

/// Compares what `holdfast TASK` prints with a committed file, or writes it there.
fn keep(task: &str, path: &str, check: bool) -> Result<()> {
    let mut printed = shell::read(&mut shell::cargo([
        "run", "--quiet", "-p", "holdfast", "--bin", "holdfast", "--", task,
    ]))?;
    if !printed.ends_with('\n') {
        printed.push('\n');
    }
    let file = shell::root().join(path);
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept == printed {
        return Ok(());
    }
    if check {
        bail!(
            "{path} is not what the code says ({}): run `cargo xtask {task}` and commit it",
            difference(&kept, &printed)
        );
    }
    fs::create_dir_all(file.parent().expect("a document lies in a folder"))?;
    fs::write(&file, printed).with_context(|| format!("cannot write {path}"))?;
    println!("{path} written");
    Ok(())
}

/// Where two texts first differ, in words.
fn difference(kept: &str, printed: &str) -> String {
    if kept.is_empty() {
        return "it is missing or empty".to_owned();
    }
    let (mut kept, mut printed) = (kept.lines(), printed.lines());
    let mut number = 1;
    loop {
        match (kept.next(), printed.next()) {
            (None, None) => return "only the end of a line differs".to_owned(),
            (kept, printed) if kept == printed => number += 1,
            (kept, printed) => {
                let words = |line: Option<&str>| {
                    line.map_or("the end".to_owned(), |line| format!("`{}`", line.trim()))
                };
                return format!(
                    "line {number}: kept {}, printed {}",
                    words(kept),
                    words(printed)
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_differing_line_is_named() {
        assert_eq!(
            difference("a\nb\n", "a\nc\n"),
            "line 2: kept `b`, printed `c`"
        );
        assert_eq!(
            difference("a\n", "a\nc\n"),
            "line 2: kept the end, printed `c`"
        );
        assert_eq!(difference("", "a\n"), "it is missing or empty");
    }
}
