//! A PostgreSQL server that a test may crash and start again. Only for a cluster that the test has to itself.

use std::path::PathBuf;

use tokio::process::Command;

use super::{process::Process, tables::psql, wait::eventually};

/// A running server, and how it was started.
pub(crate) struct Restartable {
    url: String,
    folder: PathBuf,
    /// Its program and arguments, as it wrote them down itself.
    words: Vec<String>,
    pid: String,
}

impl Restartable {
    /// The server of the database behind `url`.
    pub(crate) fn of(url: &str) -> Self {
        let folder = PathBuf::from(psql(url, "SHOW data_directory").trim());
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let words = read("postmaster.opts")
            .split_whitespace()
            .map(|word| word.trim_matches('"').to_owned())
            .collect();
        let pid = read("postmaster.pid")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        Self {
            url: url.to_owned(),
            folder,
            words,
            pid,
        }
    }

    /// Ends it as a crash would (immediate shutdown): nothing is written any more, connections break.
    pub(crate) async fn crash(&self) {
        let sent = Command::new("kill")
            .args(["-QUIT", &self.pid])
            .status()
            .await;
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -QUIT {}",
            self.pid
        );
        eventually("the database server ends", async || {
            if self.folder.join("postmaster.pid").exists() {
                Err("it runs".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// Starts it again where it was, as the owner of its files, and waits until it answers.
    pub(crate) async fn start_again(&self) -> Process {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata(&self.folder).expect("the cluster's folder stays");
        let mut server = Command::new(&self.words[0]);
        server
            .args(&self.words[1..])
            .current_dir(&self.folder)
            .env("LC_ALL", "C");
        server.uid(owner.uid()).gid(owner.gid());
        let process = Process::start("postgres", server);
        eventually("the database server answers", async || {
            let mut ready = Command::new("psql");
            let status = ready
                .args(["-X", "-q", "-A", "-t", "-d", &self.url, "-c", "SELECT 1"])
                .output()
                .await;
            match status {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        process
    }
}
