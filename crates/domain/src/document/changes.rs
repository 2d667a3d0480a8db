//! A target document that leaves out the configuration, for an agent that holds it: what setting a value costs is then the
//! value's, not the device's.
//!
//! In place of `config` such a document has `heldConfig`, the identity of what it leaves out
//! ([`TargetState::config_fingerprint`]). It is a target only onto a configuration that has this very identity, so it says
//! exactly what the whole document would say: absent is not empty. The document itself is in `target.rs`.

use alloc::{string::ToString, vec::Vec};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    canonical::Fingerprint,
    document::{
        report::running_fingerprint,
        sensor::Item,
        target::{CONFIG, Envelope, Members, TargetState, empty_config},
    },
    fields::{Path, Problems},
    ids::DeviceId,
    not_json,
};

/// The member that stands in place of the configuration.
pub(crate) const HELD_CONFIG: &str = "heldConfig";

/// A target without its configuration, which its reader holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetChanges {
    held_config: Fingerprint,
    /// All the rest: it has no items.
    rest: TargetState,
}

/// A target document: all of it, or without the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetDocument {
    /// All of it.
    Whole(TargetState),
    /// Without the configuration.
    Changes(TargetChanges),
}

impl TargetState {
    /// The identity of the configuration: every sensor's id, content and `configVersion`, in whichever order.
    #[must_use]
    pub fn config_fingerprint(&self) -> Fingerprint {
        running_fingerprint(&self.items)
    }

    /// The document for `device`, which must hold this configuration, without it.
    #[must_use]
    pub fn changes(&self, device: DeviceId) -> impl Serialize + '_ {
        Envelope(device, self.without_config())
    }
}

impl TargetChanges {
    /// The identity of the configuration that is left out.
    #[must_use]
    pub const fn held_config(&self) -> Fingerprint {
        self.held_config
    }

    /// The whole target, for who holds these sensors; `None` if they are not those that were left out.
    #[must_use]
    pub fn onto(self, held: &[Item]) -> Option<TargetState> {
        (running_fingerprint(held) == self.held_config).then(|| TargetState {
            items: held.to_vec(),
            ..self.rest
        })
    }

    /// The whole target, with sensors that were noted under `identity` when they were kept together with this; `None` if that is
    /// another identity than the one left out. It is not worked out anew: a later version may do that in another way, and what
    /// an earlier one kept must be read.
    #[must_use]
    pub fn with_kept(self, identity: Fingerprint, kept: Vec<Item>) -> Option<TargetState> {
        (identity == self.held_config).then_some(TargetState {
            items: kept,
            ..self.rest
        })
    }

    /// Takes `ms` that have gone by since the hub said it off everything that ends by itself.
    pub fn age(&mut self, ms: u64) {
        self.rest.age(ms);
    }

    fn read(body: &Members<'_>, device: DeviceId) -> Result<Self, Problems> {
        let key = device.to_string();
        let (root, mut problems) = (Path::ROOT, Problems::default());
        let path = root.key(&key);
        let mut members = Map::new();
        for (name, text) in body {
            let value = serde_json::from_str(text.get()).map_err(|error| not_a_target(&error))?;
            members.insert(name.clone(), value);
        }
        let held_config = members.remove(HELD_CONFIG);
        let held_config = held_config.as_ref().and_then(Value::as_str);
        let held_config = held_config.and_then(|text| text.parse().ok());
        if held_config.is_none() {
            let expected = "the fingerprint of the configuration that is left out";
            problems.add(path.key(HELD_CONFIG), expected, "something else");
        }
        members.insert(CONFIG.to_string(), empty_config());
        let rest = TargetState::read(Value::Object(members), &path, &mut problems);
        problems.check(
            held_config
                .zip(rest)
                .map(|(held_config, rest)| Self { held_config, rest }),
        )
    }
}

impl TargetDocument {
    /// Reads the text of a document and the device that it is for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_slice(text: &[u8]) -> Result<(DeviceId, Self), Problems> {
        match without_config(text) {
            Some((device, body)) => {
                TargetChanges::read(&body, device).map(|read| (device, Self::Changes(read)))
            }
            None => TargetState::from_slice(text).map(|(device, read)| (device, Self::Whole(read))),
        }
    }

    /// Takes `ms` that have gone by since the hub said it off everything that ends by itself.
    pub fn age(&mut self, ms: u64) {
        match self {
            Self::Whole(target) => target.age(ms),
            Self::Changes(changes) => changes.age(ms),
        }
    }
}

/// The device and the members of a document that says that it leaves out the configuration.
fn without_config(text: &[u8]) -> Option<(DeviceId, Members<'_>)> {
    let document: Members<'_> = serde_json::from_slice(text).ok()?;
    let (key, body) = document.first_key_value().filter(|_| document.len() == 1)?;
    let device = DeviceId(uuid::Uuid::parse_str(key).ok()?);
    let body: Members<'_> = serde_json::from_str(body.get()).ok()?;
    (body.contains_key(HELD_CONFIG) && !body.contains_key(CONFIG)).then_some((device, body))
}

fn not_a_target(error: &serde_json::Error) -> Problems {
    Problems::one("", "a target state as a JSON document", not_json(error))
}
