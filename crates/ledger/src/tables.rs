//! What is inside the file: three tables, and what each write does to them.
//!
//! `meta`: numbers by name (`format`, `boot`, `worked`). `documents`: JSON by name (`identity`, `target`), in the form of
//! the documents everywhere else. `established`: a fingerprint by sensor, both as text. One write is one change of these
//! tables; `writer.rs` decides which writes share a commit.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{DeviceId, Fingerprint, SensorId, TargetState};
use holdfast_ports::ledger::{Held, Identity};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde_json::{Value, json};

/// The form of the tables that this code reads and writes.
pub(crate) const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("holdfast.meta");
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast.documents");
const ESTABLISHED: TableDefinition<'_, &str, &str> = TableDefinition::new("holdfast.established");

/// One change of the ledger.
#[derive(Debug)]
pub(crate) enum Write {
    /// Count up the boot and read everything.
    BeginBoot,
    /// Read everything.
    Look,
    /// Keep who the agent is.
    Identity(Identity),
    /// Keep a target.
    Hold(TargetState),
    /// Note a version.
    WorkedThrough(u64),
    /// Note what was established.
    Established(SensorId, Fingerprint),
    /// Forget what is not in the set.
    KeepEstablished(BTreeSet<SensorId>),
}

/// All that the tables hold, not yet read; empty for writes that ask for nothing.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    identity: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    boot: u64,
    worked: u64,
    established: Vec<(String, String)>,
}

/// Makes the tables of a new file.
pub(crate) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(ESTABLISHED)?;
    Ok(())
}

/// The form that a file says it has; `None`: it is not a ledger.
pub(crate) fn format(transaction: &redb::ReadTransaction) -> Result<Option<u64>, redb::Error> {
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(
            redb::TableError::TableDoesNotExist(_) | redb::TableError::TableTypeMismatch { .. },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Carries out one write within a transaction.
pub(crate) fn apply(transaction: &WriteTransaction, write: &Write) -> Result<Raw, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let mut documents = transaction.open_table(DOCUMENTS)?;
    let mut established = transaction.open_table(ESTABLISHED)?;
    match write {
        Write::BeginBoot => {
            let boot = number(&meta, "boot")? + 1;
            meta.insert("boot", boot)?;
            return read_raw(&meta, &documents, &established);
        }
        Write::Look => return read_raw(&meta, &documents, &established),
        Write::Identity(new) => {
            let old = identity(document(&documents, "identity")?.as_deref());
            if old
                .as_ref()
                .is_none_or(|old| old.device != new.device || old.incarnation != new.incarnation)
            {
                meta.insert("boot", 0)?;
            }
            if old.is_none_or(|old| old.device != new.device) {
                documents.remove("target")?;
                meta.remove("worked")?;
                established.retain(|_, _| false)?;
            }
            documents.insert("identity", identity_json(new).to_string().as_bytes())?;
        }
        Write::Hold(target) => {
            let owner = identity(document(&documents, "identity")?.as_deref());
            let device = owner.map_or(DeviceId(uuid::Uuid::nil()), |owner| owner.device);
            documents.insert("target", target.to_json(device).to_string().as_bytes())?;
        }
        Write::WorkedThrough(version) => {
            meta.insert("worked", *version)?;
        }
        Write::Established(sensor, fingerprint) => {
            established.insert(
                sensor.to_string().as_str(),
                fingerprint.to_string().as_str(),
            )?;
        }
        Write::KeepEstablished(keep) => {
            let keep: BTreeSet<String> = keep.iter().map(ToString::to_string).collect();
            established.retain(|sensor, _| keep.contains(sensor))?;
        }
    }
    Ok(Raw::default())
}

fn number(meta: &Table<'_, &str, u64>, key: &str) -> Result<u64, redb::Error> {
    Ok(meta.get(key)?.map_or(0, |value| value.value()))
}

fn document(documents: &Table<'_, &str, &[u8]>, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(documents.get(key)?.map(|value| value.value().to_vec()))
}

fn read_raw(
    meta: &Table<'_, &str, u64>,
    documents: &Table<'_, &str, &[u8]>,
    established: &Table<'_, &str, &str>,
) -> Result<Raw, redb::Error> {
    let mut noted = Vec::new();
    for entry in established.iter()? {
        let (sensor, fingerprint) = entry?;
        noted.push((sensor.value().to_string(), fingerprint.value().to_string()));
    }
    Ok(Raw {
        identity: document(documents, "identity")?,
        target: document(documents, "target")?,
        boot: number(meta, "boot")?,
        worked: number(meta, "worked")?,
        established: noted,
    })
}

/// Reads what the tables hold.
///
/// # Errors
/// Says which part can't be read, and why.
pub(crate) fn read(raw: Raw) -> Result<Held, String> {
    let Raw {
        identity: who,
        target,
        boot,
        worked,
        established,
    } = raw;
    let identity = match who {
        Some(bytes) => {
            Some(identity(Some(&bytes)).ok_or("the agent's identity in it can't be read")?)
        }
        None => None,
    };
    let target = target.map(|bytes| read_target(&bytes)).transpose()?;
    let established = established
        .into_iter()
        .map(read_established)
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Held {
        identity,
        boot,
        target,
        worked_version: worked,
        established,
    })
}

fn read_target(bytes: &[u8]) -> Result<TargetState, String> {
    let invalid = |problem: String| format!("the target in it can't be read: {problem}");
    let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    let (_, target) =
        TargetState::from_json(value).map_err(|problems| invalid(problems.to_string()))?;
    Ok(target)
}

fn read_established(
    (sensor, fingerprint): (String, String),
) -> Result<(SensorId, Fingerprint), String> {
    let invalid = || {
        format!("expected a sensor and a fingerprint in it, found {sensor:?} and {fingerprint:?}")
    };
    Ok((
        sensor.parse().map_err(|_| invalid())?,
        fingerprint.parse().map_err(|_| invalid())?,
    ))
}

fn identity_json(identity: &Identity) -> Value {
    let Identity {
        device,
        incarnation,
        token,
    } = identity;
    json!({ "device": device, "incarnation": incarnation, "token": token })
}

fn identity(bytes: Option<&[u8]>) -> Option<Identity> {
    let value: Value = serde_json::from_slice(bytes?).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    Some(Identity {
        device: text("device")?.parse().ok()?,
        incarnation: text("incarnation")?.parse().ok()?,
        token: text("token")?.to_string(),
    })
}
