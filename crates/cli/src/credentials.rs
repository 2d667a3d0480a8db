//! The tokens that this user keeps: one file, readable by nobody else, a line for each hub.
//!
//! A token is only ever used with the hub that it was kept for, so that `--hub` can't carry it elsewhere.

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// The file of kept tokens: `HOLDFAST_CREDENTIALS`, or `holdfast/token` in the user's configuration folder. `None` if there
/// is no such folder (no `HOME`).
#[must_use]
pub fn credentials_path() -> Option<PathBuf> {
    let given = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    given("HOLDFAST_CREDENTIALS").or_else(|| {
        let folder =
            given("XDG_CONFIG_HOME").or_else(|| given("HOME").map(|home| home.join(".config")))?;
        Some(folder.join("holdfast").join("token"))
    })
}

/// Keeps `token` for `hub` in the file at `path`, in place of the one that was kept for it.
///
/// The file is made with mode 0600 and replaced as a whole.
///
/// # Errors
/// What the file system says; the file is then as it was.
pub fn save_token(path: &Path, hub: &str, token: &str) -> io::Result<()> {
    let hub = normal(hub);
    let mut lines: Vec<String> = read(path)?
        .into_iter()
        .filter(|(other, _)| *other != hub)
        .map(|(hub, token)| format!("{hub} {token}\n"))
        .collect();
    lines.push(format!("{hub} {token}\n"));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        write_private(&temporary, &lines.concat()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The token that is kept for `hub`.
///
/// # Errors
/// What the file system says, unless there is no such file.
pub fn kept_token(path: &Path, hub: &str) -> io::Result<Option<String>> {
    let hub = normal(hub);
    Ok(read(path)?
        .into_iter()
        .find(|(other, _)| *other == hub)
        .map(|(_, token)| token))
}

fn read(path: &Path) -> io::Result<Vec<(String, String)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
    Ok(pairs
        .map(|(hub, token)| (hub.to_owned(), token.trim().to_owned()))
        .collect())
}

fn normal(hub: &str) -> String {
    hub.trim()
        .trim_end_matches('/')
        .replace("//localhost", "//127.0.0.1")
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_its_hub_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("token");
        assert_eq!(
            kept_token(&path, "http://127.0.0.1:3002").expect("no file"),
            None
        );
        save_token(&path, "http://127.0.0.1:3002", "one").expect("saved");
        save_token(&path, "https://hub.example/", "two").expect("saved");
        save_token(&path, "http://127.0.0.1:3002/", "three").expect("saved");
        let kept = |hub: &str| kept_token(&path, hub).expect("read");
        assert_eq!(kept("http://localhost:3002").as_deref(), Some("three"));
        assert_eq!(kept("https://hub.example").as_deref(), Some("two"));
        assert_eq!(kept("https://hub.example.evil"), None);
        assert_eq!(kept("http://hub.example"), None);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        save_token(&path, "http://127.0.0.1:3002", "one").expect("saved");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "nothing is left behind"
        );
    }
}
