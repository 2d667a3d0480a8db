//! The real agent as a process, with a disk of its own.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{
    client::Client,
    device::Device,
    hub::Hub,
    process::{Process, command_with_a_disk},
};

/// An agent: its disk stays when its process ends.
pub(crate) struct Agent {
    hub: String,
    name: String,
    key: String,
    disk: PathBuf,
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl Agent {
    pub(super) fn new(device: &Device, folder: &Path, hub: &str) -> Self {
        let (name, key) = (device.name.clone(), device.key.clone());
        let disk = folder.join(format!("agent-{}", device.id));
        Self {
            hub: hub.to_owned(),
            name,
            key,
            disk,
            settings: Vec::new(),
            process: None,
        }
    }

    /// An agent that no device was made for: with a key that is bound to none, it becomes one of this name.
    pub(crate) fn newcomer(hub: &Hub, name: &str, key: &str) -> Self {
        Self {
            hub: hub.url(),
            name: name.to_owned(),
            key: key.to_owned(),
            disk: hub.folder().join(format!("agent-{name}")),
            settings: Vec::new(),
            process: None,
        }
    }

    /// From its next start on it has another provisioning key.
    pub(crate) fn is_given(&mut self, key: &str) {
        self.key = key.to_owned();
    }

    /// From its next start on it has another name for a new device.
    pub(crate) fn is_called(&mut self, name: &str) {
        self.name = name.to_owned();
    }

    /// Waits until it logs something with this text in it, and gives that line.
    pub(crate) async fn logs(&self, text: &str) -> String {
        self.process.as_ref().expect("it runs").logs(text).await
    }

    /// Somebody on site, who speaks to the agent itself with the token that lies on its disk.
    pub(crate) async fn on_site(&self) -> Client {
        let line = self.logs("people on site find").await;
        let (_, rest) = line.split_once("http://").expect("it says where");
        let addr: String = rest
            .chars()
            .take_while(|char| char.is_ascii_digit() || ".:".contains(*char))
            .collect();
        Client::new(&format!("http://{addr}"), Some(&self.local_token()))
    }

    /// The token that opens it to people on site.
    pub(crate) fn local_token(&self) -> String {
        let token = std::fs::read_to_string(self.disk.join("local-token")).expect("it was made");
        token.trim().to_owned()
    }

    /// The same agent, which reaches its hub at another address.
    pub(crate) fn through(mut self, hub: String) -> Self {
        self.hub = hub;
        self
    }

    /// The same agent with a setting, such as `("HEARTBEAT_S", "1")`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.settings
            .push((format!("HOLDFAST_AGENT_{key}"), value.to_owned()));
        self
    }

    /// Starts its process.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        self.process = Some(Process::start("agent", self.command()));
    }

    /// The same, in one breath.
    pub(crate) fn started(mut self) -> Self {
        self.start();
        self
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut agent = command_with_a_disk("holdfast-agent");
        agent
            .env("HOLDFAST_AGENT_HUB", &self.hub)
            .env("HOLDFAST_AGENT_DATA_DIR", &self.disk);
        agent.env("HOLDFAST_AGENT_LOCAL__LISTEN", "127.0.0.1:0");
        agent
            .env("HOLDFAST_AGENT_PROVISIONING_KEY", &self.key)
            .env("HOLDFAST_AGENT_NAME", &self.name);
        agent.envs(self.settings.iter().map(|(key, value)| (key, value)));
        agent
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        self.process.take().expect("it runs").stop().await;
    }

    /// Kills it.
    pub(crate) async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// Freezes it: nothing happens in it any more, and nobody is told.
    pub(crate) async fn freeze(&self) {
        self.process.as_ref().expect("it runs").freeze().await;
    }

    /// From now on there is no room on its disk, or there is again.
    pub(crate) async fn disk_is_full(&self, is_full: bool) {
        let process = self.process.as_ref().expect("it runs");
        process.disk_is_full(is_full).await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        self.process.as_ref().expect("it runs").thaw().await;
    }

    /// Keeps an image of its disk, as a backup would; it must not run.
    pub(crate) fn image(&self) -> Image {
        assert!(self.process.is_none(), "an image is made of a disk at rest");
        let files = std::fs::read_dir(&self.disk)
            .expect("it has run")
            .map(|entry| {
                let path = entry.expect("the folder can be read").path();
                let content = std::fs::read(&path).expect("the disk holds files");
                (path, content)
            });
        Image(files.collect())
    }

    /// Puts an image back onto its disk.
    pub(crate) fn restore(&mut self, image: &Image) {
        assert!(
            self.process.is_none(),
            "an image is put back onto a disk at rest"
        );
        for (path, content) in &image.0 {
            std::fs::write(path, content).expect("the disk can be written");
        }
    }
}

/// What a disk held.
pub(crate) struct Image(Vec<(PathBuf, Vec<u8>)>);
