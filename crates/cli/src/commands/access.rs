//! `token` and `key`: who may do what.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_wire::{ProvisioningKeyCreate, TokenCreate};
use jiff::Timestamp;

use super::{Session, device::show_key, get, resolve};
use crate::{
    CliError, Exit,
    args::{Global, KeyCommand, TokenCommand},
    credentials::{credentials_path, save_token},
    output::Out,
    render::access as lists,
};

fn ends(out: &Out<'_>, expires_in: Option<Duration>) -> Option<Timestamp> {
    // Further off than a timestamp reaches is as good as never.
    expires_in.and_then(|time| out.now().checked_add(time).ok())
}

pub(super) async fn token(
    session: Session<'_, '_>,
    global: &Global,
    command: TokenCommand,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    match command {
        TokenCommand::List => {
            let tokens = hub.tokens().await?;
            if out.is_document() {
                return get::whole(out, tokens);
            }
            let table = lists::tokens(&tokens, out.now());
            out.table(table, "No tokens.")?;
        }
        TokenCommand::Create {
            name,
            role,
            expires_in,
            bootstrap: _,
            save,
            store: _,
        } => {
            let expires_at = ends(out, expires_in);
            let made = hub
                .create_token(&TokenCreate {
                    name,
                    role,
                    expires_at,
                })
                .await?;
            if out.is_document() {
                out.document(&made)?;
            } else {
                out.line(&format!(
                    "Token of {} ({}), shown once: {}",
                    made.token.name,
                    role.as_str(),
                    made.secret
                ))?;
            }
            if save {
                keep(out, &global.hub, &made.secret)?;
            }
        }
        TokenCommand::Revoke { id } => {
            hub.revoke_token(id).await?;
            out.progress(&format!("token {id} revoked"))?;
        }
    }
    Ok(Exit::Good)
}

/// Keeps a token as this user's for `hub`.
pub(crate) fn keep(out: &mut Out<'_>, hub: &str, secret: &str) -> Result<(), CliError> {
    let path = credentials_path().ok_or(CliError::NoCredentialsPath)?;
    save_token(&path, hub, secret).map_err(|source| CliError::Credentials {
        path: path.clone(),
        source,
    })?;
    out.note(&format!("kept for {hub} in {}", path.display()))?;
    Ok(())
}

pub(super) async fn key(session: Session<'_, '_>, command: KeyCommand) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    match command {
        KeyCommand::List => {
            let keys = hub.keys().await?;
            if out.is_document() {
                return get::whole(out, keys);
            }
            let mut deleted: BTreeSet<_> = keys.iter().filter_map(|key| key.device).collect();
            if !deleted.is_empty() {
                for device in hub.devices(&BTreeMap::new(), None).await? {
                    deleted.remove(&device.id);
                }
            }
            let table = lists::keys(&keys, &deleted, out.now());
            out.table(table, "No provisioning keys.")?;
        }
        KeyCommand::Create {
            name,
            device,
            uses,
            expires_in,
        } => {
            let device = match device {
                Some(device) => Some(resolve::device(&hub, &device).await?.id),
                None => None,
            };
            let expires_at = ends(out, expires_in);
            let made = hub
                .create_key(&ProvisioningKeyCreate {
                    name,
                    device,
                    uses,
                    expires_at,
                })
                .await?;
            if out.is_document() {
                out.document(&made)?;
            } else {
                show_key(out, &made.secret)?;
            }
        }
        KeyCommand::Revoke { id } => {
            hub.revoke_key(id).await?;
            out.progress(&format!("key {id} revoked"))?;
        }
    }
    Ok(Exit::Good)
}
