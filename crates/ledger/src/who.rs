//! Who the agent is, as JSON: its identity, a registration that was begun, and that the hub turned it away.
//!
//! What cannot be read is as if it were not there; whether that is an error, `tables.rs` says.

use holdfast_domain::DeviceId;
use holdfast_ports::{
    ledger::{Identity, TurnedAway},
    tokens::SecretHash,
};
use serde_json::{Value, json};

/// The problems with which a hub turns an agent away, in its own words.
const PROBLEMS: [(&str, TurnedAway); 2] = [
    ("device-deleted", TurnedAway::Deleted),
    ("device-revoked", TurnedAway::Revoked),
];

pub(crate) fn identity_json(identity: &Identity) -> Value {
    let Identity {
        device,
        incarnation,
        token,
        key,
    } = identity;
    json!({
        "device": device, "incarnation": incarnation, "token": token, "key": key.as_ref().map(hash_text),
    })
}

pub(crate) fn identity(bytes: Option<&[u8]>) -> Option<Identity> {
    let value: Value = serde_json::from_slice(bytes?).ok()?;
    Some(Identity {
        device: text(&value, "device")?.parse().ok()?,
        incarnation: text(&value, "incarnation")?.parse().ok()?,
        token: text(&value, "token")?.to_string(),
        key: text(&value, "key").and_then(hash),
    })
}

pub(crate) fn registering_json(key: &SecretHash, token: &str) -> Value {
    json!({ "key": hash_text(key), "token": token })
}

/// The key of a registration that was begun, and the token that it is asked for.
pub(crate) fn registering(bytes: Option<&[u8]>) -> Option<(SecretHash, String)> {
    let value: Value = serde_json::from_slice(bytes?).ok()?;
    Some((
        hash(text(&value, "key")?)?,
        text(&value, "token")?.to_string(),
    ))
}

pub(crate) fn turned_away_json(how: TurnedAway, device: DeviceId) -> Value {
    let (problem, _) = PROBLEMS
        .into_iter()
        .find(|(_, of)| *of == how)
        .expect("every way has its problem");
    json!({ "problem": problem, "device": device })
}

/// How `device` was turned away; what was said of another one does not count.
pub(crate) fn turned_away(bytes: Option<&[u8]>, device: Option<DeviceId>) -> Option<TurnedAway> {
    let value: Value = serde_json::from_slice(bytes?).ok()?;
    let of: DeviceId = text(&value, "device")?.parse().ok()?;
    let problem = text(&value, "problem")?;
    let (_, how) = PROBLEMS.into_iter().find(|(word, _)| *word == problem)?;
    (device == Some(of)).then_some(how)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn hash_text(hash: &SecretHash) -> String {
    use std::fmt::Write as _;
    hash.0.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash(text: &str) -> Option<SecretHash> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(SecretHash(bytes))
}
