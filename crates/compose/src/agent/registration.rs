//! An agent's registration, which may be cut off at any moment: the token is on disk before the hub hears of it, so that
//! asking again is the same request and gets the same answer.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use holdfast_domain::backoff::Backoff;
use holdfast_hub_client::{Connection, register as ask};
use holdfast_ports::{
    clock::Entropy as _,
    ledger::Identity,
    tokens::{SecretHash, new_secret},
};
use holdfast_runtime::clock::SystemEntropy;
use holdfast_wire::RegisterRequest;

use crate::agent::AgentConfig;

/// Registers, for as long as it takes; an answer that asking again can't change is an error.
pub(super) async fn register(
    config: &AgentConfig,
    connection: &Connection,
    key: Option<String>,
) -> anyhow::Result<Identity> {
    let Some(key) = key else {
        bail!(
            "this agent has not registered yet: set provisioning_key (HOLDFAST_AGENT_PROVISIONING_KEY) to a key that \
             `holdfast device add` or `holdfast key create` printed"
        );
    };
    let token = pending_token(&config.data_dir)?;
    let request = RegisterRequest {
        name: config.name.clone(),
        token_hash: RegisterRequest::hash_text(&SecretHash::of(&token).0),
        labels: config.labels.clone(),
    };
    let mut failures = 0;
    loop {
        match ask(connection, &key, &request).await {
            Ok(answer) => {
                return Ok(Identity {
                    device: answer.device,
                    incarnation: answer.incarnation,
                    token,
                });
            }
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => {
                failures += 1;
                let wait_ms = Backoff::HUB.delay_ms(failures, SystemEntropy.jitter());
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    wait_ms,
                    "not registered yet"
                );
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        }
    }
}

/// The token that this agent will have: made once, kept until the ledger has it.
fn pending_token(folder: &Path) -> anyhow::Result<String> {
    let path = pending(folder);
    let say = || format!("keeping the new token in {}", path.display());
    match fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(say),
    }
    let token = new_secret("hfa", SystemEntropy.secret());
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(say)?;
    file.write_all(token.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(say)?;
    fs::rename(&unfinished, &path).with_context(say)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(say)?;
    Ok(token)
}

/// The ledger has the token now.
pub(super) fn forget_pending(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_file(pending(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context("removing the pending token")
        }
        _ => Ok(()),
    }
}

fn pending(folder: &Path) -> PathBuf {
    folder.join("pending-token")
}
