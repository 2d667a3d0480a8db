//! What is inside the file: six tables, and what each write does to them.
//!
//! `meta`: numbers by name (`format`, `boot`, `worked`). `documents`: JSON by name (`identity`, `registering`,
//! `turnedAway`, `target`, `loop`), in the form of the documents everywhere else; `target` is without its configuration,
//! which stands in `config`, and its identity under `configIdentity`: it is most of a target and seldom another. `established`: a fingerprint by sensor, both as
//! text. `accounts`: writes booked, by point, as JSON. `commands`: by id, the place in their order and what became of it, nothing while
//! it is under way. One write is one change of these tables; `writer.rs` decides which writes share a commit. Who the agent is, is
//! written and read in `who.rs`.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, DeviceId, Fingerprint, PointId, SensorId, TargetDocument, TargetState,
    document::{
        command::CommandReport,
        target::{config_document, config_from_slice},
    },
    hold::{Account, LoopMemory},
    limits, not_json,
};
use holdfast_ports::{
    ledger::{Held, Identity, TurnedAway},
    tokens::SecretHash,
};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::who;

/// The form of the tables that this code reads and writes.
pub(crate) const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("holdfast.meta");
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast.documents");
const TARGET: &str = "target";
const IDENTITY: &str = "identity";
const REGISTERING: &str = "registering";
const TURNED_AWAY: &str = "turnedAway";
const LOOP: &str = "loop";
const ESTABLISHED: TableDefinition<'_, &str, &str> = TableDefinition::new("holdfast.established");
const CONFIG_IDENTITY: &str = "configIdentity";

/// The configuration of the target, alone: what stands beside it in a table would be written with it.
const CONFIG: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast.config");
const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast.accounts");

const COMMANDS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("holdfast.commands");
/// Name of the number of the last place in the order of commands.
const LAST_COMMAND: &str = "commands";

/// One change of the ledger.
#[derive(Debug)]
pub(crate) enum Write {
    /// Count up the boot and read everything.
    BeginBoot,
    /// Read everything.
    Look,
    /// Keep who the agent is.
    Identity(Identity),
    /// Keep the token that a registration with this key is asked for, unless one is kept for it already; read the one
    /// that is kept.
    Registering {
        /// The key.
        key: SecretHash,
        /// The token, if a new one is needed.
        token: String,
    },
    /// Note how the hub turned the agent away, or that it did not.
    TurnedAway(Option<TurnedAway>),
    /// Keep a target.
    Hold(TargetState),
    /// Note a version.
    WorkedThrough(u64),
    /// Note what was established.
    Established(SensorId, Fingerprint),
    /// Book writes of a point.
    BookWrites(PointId, Account),
    /// Note that a command is begun.
    BeginCommand(CommandId),
    /// Note what became of a command.
    EndCommand(CommandReport),
    /// Keep what the value loop knows.
    Remember(Box<LoopMemory>),
    /// Forget what is not in the set.
    KeepEstablished(BTreeSet<SensorId>),
}

/// All that the tables hold, not yet read; empty for writes that ask for nothing.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    identity: Option<Vec<u8>>,
    turned_away: Option<Vec<u8>>,
    /// The token that a registration is asked for.
    pub(crate) registering: Option<String>,
    target: Option<Vec<u8>>,
    config: Option<Vec<u8>>,
    config_identity: Option<Vec<u8>>,
    memory: Option<Vec<u8>>,
    boot: u64,
    worked: u64,
    established: Vec<(String, String)>,
    accounts: Vec<(String, Vec<u8>)>,
    commands: Vec<(u64, String, Vec<u8>)>,
}

/// Makes the tables of a new file.
pub(crate) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(CONFIG)?;
    transaction.open_table(ESTABLISHED)?;
    transaction.open_table(ACCOUNTS)?;
    transaction.open_table(COMMANDS)?;
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
    let mut config = transaction.open_table(CONFIG)?;
    let mut established = transaction.open_table(ESTABLISHED)?;
    let mut accounts = transaction.open_table(ACCOUNTS)?;
    let mut commands = transaction.open_table(COMMANDS)?;
    match write {
        Write::BeginBoot => {
            let boot = number(&meta, "boot")? + 1;
            meta.insert("boot", boot)?;
            return read_raw(
                &meta,
                &documents,
                &config,
                &established,
                &accounts,
                &commands,
            );
        }
        Write::Look => {
            return read_raw(
                &meta,
                &documents,
                &config,
                &established,
                &accounts,
                &commands,
            );
        }
        Write::Identity(new) => {
            let old = who::identity(document(&documents, IDENTITY)?.as_deref());
            if old
                .as_ref()
                .is_none_or(|old| old.device != new.device || old.incarnation != new.incarnation)
            {
                meta.insert("boot", 0)?;
            }
            if old.as_ref().is_none_or(|old| old.device != new.device) {
                documents.remove(TARGET)?;
                documents.remove(CONFIG_IDENTITY)?;
                config.remove(TARGET)?;
                let memory = read_memory(document(&documents, LOOP)?.as_deref());
                // What can't be read counts for nobody.
                let memory = memory.unwrap_or_default().on_another_device();
                documents.insert(LOOP, memory_json(&memory).as_slice())?;
                meta.remove("worked")?;
                established.retain(|_, _| false)?;
                accounts.retain(|_, _| false)?;
                commands.retain(|_, _| false)?;
            }
            if old.is_none_or(|old| old.token != new.token) {
                documents.remove(TURNED_AWAY)?;
            }
            let registering = who::registering(document(&documents, REGISTERING)?.as_deref());
            if registering.is_some_and(|(_, token)| token == new.token) {
                documents.remove(REGISTERING)?;
            }
            documents.insert(IDENTITY, who::identity_json(new).to_string().as_bytes())?;
        }
        Write::Registering { key, token } => {
            let kept = who::registering(document(&documents, REGISTERING)?.as_deref());
            let token = match kept {
                Some((of, kept)) if of == *key => kept,
                _ => {
                    let new = who::registering_json(key, token).to_string();
                    documents.insert(REGISTERING, new.as_bytes())?;
                    token.clone()
                }
            };
            return Ok(Raw {
                registering: Some(token),
                ..Raw::default()
            });
        }
        Write::TurnedAway(how) => {
            let owner = who::identity(document(&documents, IDENTITY)?.as_deref());
            match how.zip(owner) {
                Some((how, owner)) => {
                    let noted = who::turned_away_json(how, owner.device).to_string();
                    documents.insert(TURNED_AWAY, noted.as_bytes())?;
                }
                None => drop(documents.remove(TURNED_AWAY)?),
            }
        }
        Write::Hold(target) => {
            let owner = who::identity(document(&documents, IDENTITY)?.as_deref());
            let device = owner.map_or(DeviceId(uuid::Uuid::nil()), |owner| owner.device);
            let identity = target.config_fingerprint().to_string();
            let kept = document(&documents, CONFIG_IDENTITY)?;
            if kept.as_deref() != Some(identity.as_bytes()) {
                let items = config_document(&target.items);
                config.insert(TARGET, json(&items).as_slice())?;
                documents.insert(CONFIG_IDENTITY, identity.as_bytes())?;
            }
            documents.insert(TARGET, json(&target.changes(device)).as_slice())?;
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
        Write::BookWrites(point, booked) => {
            let key = point.to_string();
            let kept = accounts
                .get(key.as_str())?
                .and_then(|kept| serde_json::from_slice::<Account>(kept.value()).ok());
            // What can't be read was found when the ledger was opened.
            let joined = kept.unwrap_or_default().joined(booked);
            let text = serde_json::to_vec(&joined).expect("numbers and ids");
            accounts.insert(key.as_str(), text.as_slice())?;
        }
        Write::Remember(memory) => {
            documents.insert(LOOP, memory_json(memory).as_slice())?;
        }
        Write::BeginCommand(id) => {
            let place = next_place(&mut meta)?;
            commands.insert(id.to_string().as_str(), (place, &[][..]))?;
        }
        Write::EndCommand(report) => {
            let place = next_place(&mut meta)?;
            let text = serde_json::to_vec(report).expect("documents have finite numbers");
            commands.insert(report.id.to_string().as_str(), (place, text.as_slice()))?;
            forget_oldest(&mut commands)?;
        }
        Write::KeepEstablished(keep) => {
            let keep: BTreeSet<String> = keep.iter().map(ToString::to_string).collect();
            established.retain(|sensor, _| keep.contains(sensor))?;
        }
    }
    Ok(Raw::default())
}

fn json(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and finite numbers")
}

fn next_place(meta: &mut Table<'_, &str, u64>) -> Result<u64, redb::Error> {
    let place = number(meta, LAST_COMMAND)? + 1;
    meta.insert(LAST_COMMAND, place)?;
    Ok(place)
}

/// Forgets the commands that ended first, but for so many as are remembered.
fn forget_oldest(commands: &mut Table<'_, &str, (u64, &[u8])>) -> Result<(), redb::Error> {
    let mut ended = Vec::new();
    for entry in commands.iter()? {
        let (id, kept) = entry?;
        let (place, word) = kept.value();
        if !word.is_empty() {
            ended.push((place, id.value().to_owned()));
        }
    }
    ended.sort_unstable();
    let excess = ended.len().saturating_sub(limits::COMMANDS_REMEMBERED);
    for (_, id) in ended.drain(..excess) {
        commands.remove(id.as_str())?;
    }
    Ok(())
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
    config: &Table<'_, &str, &[u8]>,
    established: &Table<'_, &str, &str>,
    accounts: &Table<'_, &str, &[u8]>,
    commands: &Table<'_, &str, (u64, &[u8])>,
) -> Result<Raw, redb::Error> {
    let mut noted = Vec::new();
    for entry in established.iter()? {
        let (sensor, fingerprint) = entry?;
        noted.push((sensor.value().to_string(), fingerprint.value().to_string()));
    }
    let mut booked = Vec::new();
    for entry in accounts.iter()? {
        let (point, account) = entry?;
        booked.push((point.value().to_string(), account.value().to_vec()));
    }
    let mut known = Vec::new();
    for entry in commands.iter()? {
        let (id, kept) = entry?;
        let (place, word) = kept.value();
        known.push((place, id.value().to_owned(), word.to_vec()));
    }
    known.sort_unstable();
    Ok(Raw {
        identity: document(documents, IDENTITY)?,
        turned_away: document(documents, TURNED_AWAY)?,
        registering: None,
        target: document(documents, TARGET)?,
        config: document(config, TARGET)?,
        config_identity: document(documents, CONFIG_IDENTITY)?,
        memory: document(documents, LOOP)?,
        boot: number(meta, "boot")?,
        worked: number(meta, "worked")?,
        established: noted,
        accounts: booked,
        commands: known,
    })
}

/// Reads what the tables hold.
///
/// # Errors
/// Says which part can't be read, and why.
pub(crate) fn read(raw: Raw) -> Result<Held, String> {
    let Raw {
        identity,
        turned_away,
        registering: _,
        target,
        config,
        config_identity,
        memory,
        boot,
        worked,
        established,
        accounts,
        commands,
    } = raw;
    let identity = match identity {
        Some(bytes) => {
            Some(who::identity(Some(&bytes)).ok_or("the agent's identity in it can't be read")?)
        }
        None => None,
    };
    let device = identity.as_ref().map(|identity| identity.device);
    let turned_away = who::turned_away(turned_away.as_deref(), device);
    let target = target
        .map(|bytes| read_target(&bytes, config.as_deref().zip(config_identity.as_deref())))
        .transpose()?;
    let established = established
        .into_iter()
        .map(read_established)
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    let booked = accounts
        .into_iter()
        .map(|(point, account)| read_account(&point, &account))
        .collect::<Result<BTreeMap<PointId, Account>, _>>()?;
    Ok(Held {
        identity,
        turned_away,
        boot,
        target,
        worked_version: worked,
        established,
        booked,
        commands: commands
            .into_iter()
            .map(|(_, id, word)| read_command(&id, &word))
            .collect::<Result<_, _>>()?,
        memory: read_memory(memory.as_deref())?,
    })
}

fn memory_json(memory: &LoopMemory) -> Vec<u8> {
    serde_json::to_vec(memory).expect("what the value loop knows has text keys")
}

fn read_memory(bytes: Option<&[u8]>) -> Result<LoopMemory, String> {
    let Some(bytes) = bytes else {
        return Ok(LoopMemory::default());
    };
    serde_json::from_slice(bytes).map_err(|error| {
        format!(
            "what the value loop knows can't be read in it: found {}",
            not_json(&error)
        )
    })
}

fn read_account(point: &str, account: &[u8]) -> Result<(PointId, Account), String> {
    let invalid =
        |why: String| format!("the account of writes in it can't be read: {point:?}: {why}");
    let id = point
        .parse()
        .map_err(|_| invalid("its point is no UUID".to_owned()))?;
    let account = serde_json::from_slice(account)
        .map_err(|error| invalid(format!("found {}", not_json(&error))))?;
    Ok((id, account))
}

fn read_command(id: &str, word: &[u8]) -> Result<(CommandId, Option<CommandReport>), String> {
    let invalid = |why: String| format!("what it says of command {id:?} can't be read: {why}");
    let parsed = id
        .parse()
        .map_err(|_| invalid("its id is no UUID".to_owned()))?;
    let word = (!word.is_empty())
        .then(|| serde_json::from_slice(word).map_err(|error| invalid(not_json(&error))))
        .transpose()?;
    Ok((parsed, word))
}

/// The target, with the configuration that was kept beside it under its identity.
fn read_target(bytes: &[u8], config: Option<(&[u8], &[u8])>) -> Result<TargetState, String> {
    let invalid = |problem: String| format!("the target in it can't be read: {problem}");
    let (_, target) =
        TargetDocument::from_slice(bytes).map_err(|problems| invalid(problems.to_string()))?;
    let changes = match target {
        // As it was written before the configuration stood apart.
        TargetDocument::Whole(target) => return Ok(target),
        TargetDocument::Changes(changes) => changes,
    };
    let (config, identity) =
        config.ok_or_else(|| invalid("its configuration is missing".to_owned()))?;
    let items = config_from_slice(config).map_err(|problems| invalid(problems.to_string()))?;
    let identity = std::str::from_utf8(identity).ok();
    let identity = identity.and_then(|identity| identity.parse::<Fingerprint>().ok());
    let whole = identity.and_then(|identity| changes.with_kept(identity, items));
    whole.ok_or_else(|| invalid("the configuration beside it is another one's".to_owned()))
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
