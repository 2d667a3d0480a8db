//! Who may do what, and who did: tokens, keys, versions.

use std::collections::BTreeSet;

use comfy_table::Table;
use holdfast_domain::DeviceId;
use holdfast_wire::{HistoryEntry, ProvisioningKeyView, TokenView};
use jiff::Timestamp;

use crate::{
    output::{Tone, cell, table, toned},
    render::time::relative,
};

/// Versions of a target.
#[must_use]
pub fn history(entries: &[HistoryEntry], now: Timestamp) -> Table {
    let mut table = table(&["VERSION", "WHEN", "BY", "SENSORS", "REASON"]);
    for entry in entries {
        table.add_row([
            cell(entry.version.to_string()),
            cell(relative(entry.at, now)),
            cell(entry.author.as_str()),
            cell(entry.sensors.to_string()),
            cell(entry.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// Is it in force? `revoked 3 min ago`, `expired 2 d ago`, `until in 8 h`.
fn force(revoked: Option<Timestamp>, expires: Option<Timestamp>, now: Timestamp) -> (String, Tone) {
    match (revoked, expires) {
        (Some(at), _) => (format!("revoked {}", relative(at, now)), Tone::Quiet),
        (None, Some(at)) if at <= now => (format!("expired {}", relative(at, now)), Tone::Quiet),
        (None, Some(at)) => (format!("ends {}", relative(at, now)), Tone::Good),
        (None, None) => ("in force".to_owned(), Tone::Good),
    }
}

/// Tokens.
#[must_use]
pub fn tokens(tokens: &[TokenView], now: Timestamp) -> Table {
    let mut table = table(&["ID", "NAME", "FOR", "STATE", "MADE", "BY"]);
    for token in tokens {
        let (state, tone) = force(token.revoked_at, token.expires_at, now);
        let grant = match (token.role, token.device) {
            (Some(role), _) => role.as_str().to_owned(),
            (None, Some(device)) => format!("agent of {device}"),
            (None, None) => "-".to_owned(),
        };
        table.add_row([
            cell(token.id.to_string()),
            cell(&token.name),
            cell(grant),
            toned(state, tone),
            cell(relative(token.created_at, now)),
            cell(token.created_by.as_str()),
        ]);
    }
    table
}

/// Can it still be used? As [`force`], and a key that is used up or whose device is deleted opens nothing either.
fn key_state(
    key: &ProvisioningKeyView,
    deleted: &BTreeSet<DeviceId>,
    now: Timestamp,
) -> (String, Tone) {
    let is_over = |ends: Option<Timestamp>| ends.is_some_and(|at| at <= now);
    if key.revoked_at.is_none() && !is_over(key.expires_at) {
        if key.device.is_some_and(|device| deleted.contains(&device)) {
            return ("device deleted".to_owned(), Tone::Quiet);
        }
        if key.uses_left == Some(0) {
            return ("used up".to_owned(), Tone::Quiet);
        }
    }
    force(key.revoked_at, key.expires_at, now)
}

/// Provisioning keys; `deleted` are those of their devices that there are no more.
#[must_use]
pub fn keys(keys: &[ProvisioningKeyView], deleted: &BTreeSet<DeviceId>, now: Timestamp) -> Table {
    let mut table = table(&["ID", "NAME", "DEVICE", "USES LEFT", "STATE", "MADE", "BY"]);
    for key in keys {
        let (state, tone) = key_state(key, deleted, now);
        table.add_row([
            cell(key.id.to_string()),
            cell(&key.name),
            cell(
                key.device
                    .map_or_else(|| "a new one".to_owned(), |device| device.to_string()),
            ),
            cell(
                key.uses_left
                    .map_or_else(|| "any".to_owned(), |uses| uses.to_string()),
            ),
            toned(state, tone),
            cell(relative(key.created_at, now)),
            cell(key.created_by.as_str()),
        ]);
    }
    table
}
