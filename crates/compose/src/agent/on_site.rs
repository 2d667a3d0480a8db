//! The agent's API and page for people on site: where it listens, and its token's file.
//!
//! A port that is taken does not stop the agent: the plant comes first. It is said in the log, and tried again, so that the
//! page is there as soon as the port is free.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdfast_agent_api::{LocalSettings, LocalToken, router};
use holdfast_edge::LocalLoop;
use holdfast_ports::{clock::Entropy as _, tokens::new_secret};
use holdfast_runtime::{
    clock::SystemEntropy,
    config::ConfigError,
    serve::{self, ServeSettings},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The token's file in the agent's data folder.
const TOKEN_FILE: &str = "local-token";

/// How long until a port that is taken is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// For a handful of people and scripts on one machine.
const SERVING: ServeSettings = ServeSettings {
    name: "on site",
    connections: 32,
    first_head: Duration::from_secs(5),
    idle: Duration::from_secs(75),
};

/// The API and page for people on site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// Is it served at all?
    pub enabled: bool,
    /// Where: an address of loopback.
    pub listen: SocketAddr,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 3334)),
        }
    }
}

impl LocalConfig {
    /// It is for this machine alone: it speaks plain HTTP, and whoever has its token stops the plant.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.enabled && !self.listen.ip().is_loopback() {
            let expected = "an address of loopback, such as 127.0.0.1:3334";
            return Err(ConfigError::key("local.listen", expected, &self.listen));
        }
        Ok(())
    }
}

/// The API and page, ready to be served.
pub(super) struct OnSite {
    listen: SocketAddr,
    token: LocalToken,
}

impl OnSite {
    /// With its token, which is made if there is none. `None`: it is switched off.
    pub(super) fn prepare(config: &LocalConfig, folder: &Path) -> anyhow::Result<Option<Self>> {
        if !config.enabled {
            return Ok(None);
        }
        let path: PathBuf = folder.join(TOKEN_FILE);
        let fresh = new_secret("hfl", SystemEntropy.secret());
        Ok(Some(Self {
            listen: config.listen,
            token: LocalToken::in_file(&path, &fresh)?,
        }))
    }

    pub(super) fn page(&self) -> (SocketAddr, &Path) {
        (self.listen, self.token.path())
    }

    /// Serves until `cancel` is.
    pub(super) async fn serve(self, local: LocalLoop, cancel: CancellationToken) {
        let Some(listener) = cancel.run_until_cancelled(self.listener()).await else {
            return;
        };
        let address = listener.local_addr().map_or(self.listen, |address| address);
        tracing::info!(
            page = format!("http://{address}/"),
            token_file = %self.token.path().display(),
            "people on site find the agent's page here"
        );
        let router = router(
            local,
            self.token,
            Arc::new(SystemEntropy),
            LocalSettings::default(),
        );
        serve::serve(listener, router, SERVING, cancel).await;
    }

    async fn listener(&self) -> TcpListener {
        let mut is_said = false;
        loop {
            match serve::bind(self.listen).await {
                Ok(listener) => return listener,
                Err(error) if !is_said => {
                    is_said = true;
                    tracing::warn!(
                        %error,
                        "the page for people on site can't be served: free the port, or set local.listen \
                         (HOLDFAST_AGENT_LOCAL__LISTEN) to another one; it is tried again every {} s, and everything \
                         else goes on",
                        AGAIN.as_secs()
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
