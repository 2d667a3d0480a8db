//! The contract of the `Ledger` port as a test: every implementation passes it, fakes too.
//!
//! The caller gives something that opens the same ledger again: a fake clones its memory, a real one its file.

use std::{future::Future, sync::Arc};

use holdfast_domain::{
    CommandId, DeviceId, Fingerprint, Incarnation, PauseId, PointId, PointValue, ResetId, SensorId,
    TargetState,
    document::{
        command::{CommandOutcome, CommandReport},
        hold::{LocalEnd, LocalStop},
    },
    hold::{Account, DayLeft, How, Learned, Left, LoopMemory},
    limits,
    row::Actor,
};
use holdfast_ports::{
    ledger::{Held, Identity, Ledger, TurnedAway},
    tokens::SecretHash,
};
use uuid::Uuid;

/// An identity made of two numbers.
pub(crate) fn identity(device: u128, incarnation: u128) -> Identity {
    Identity {
        device: DeviceId(Uuid::from_u128(device)),
        incarnation: Incarnation(Uuid::from_u128(incarnation)),
        token: format!("token of {device}"),
        key: Some(SecretHash::of("a key")),
    }
}

/// A target with one sensor, whose content is another with every third version.
pub(crate) fn target(version: u64) -> TargetState {
    let changed_with = version / 3 * 3;
    let document = serde_json::json!({ Uuid::from_u128(1).to_string(): {
        "version": version, "hold": { "revision": version },
        "config": { "protocolAdapterDevices": [{
            "id": Uuid::from_u128(2), "configVersion": changed_with.max(1), "name": "boiler", "protocol": "modbus",
            "pollInterval": 1_000 + changed_with, "connection": { "type": "tcp", "host": "10.0.0.5", "unitId": 1 },
            "dataPoints": [],
        }] } } });
    TargetState::from_json(document).expect("a valid target").1
}

fn command(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

fn word(number: u128) -> CommandReport {
    CommandReport {
        id: command(number),
        outcome: CommandOutcome::AcknowledgedUnverified,
        reason: Some("it shows false".to_owned()),
        value: Some(PointValue::Bool(false)),
        at: "2026-11-22T12:00:00.123456Z".parse().expect("a time"),
        took_ms: Some(38),
    }
}

/// A value loop's memory with something in each of its fields.
pub(crate) fn memory() -> LoopMemory {
    let (point, pause) = (PointId(Uuid::from_u128(8)), PauseId(Uuid::from_u128(9)));
    LoopMemory {
        local: Some(LocalStop {
            by: Actor::named("technician"),
            reason: "belt change".into(),
            remaining_ms: Some(840_000),
            until: None,
        }),
        local_ended: Some(LocalEnd {
            stopped_by: Actor::named("ben"),
            stop_reason: "cleaning".into(),
            by: None,
            reason: None,
            count: 2,
        }),
        interval_ms: Some(1_000),
        learned: [(
            point,
            Learned {
                revision: 3,
                found: PointValue::Number(80.0),
                how: How::Limited,
            },
        )]
        .into(),
        setpoints: [(
            point,
            Left {
                revision: 3,
                ms: 60_000,
            },
        )]
        .into(),
        pauses: [(pause, 0)].into(),
        hub_silent_ms: 5,
        settled: [pause].into(),
        local_settled: true,
        hub_lost_settled: true,
        days: [(
            point,
            DayLeft {
                day: 2,
                ms: 900_000,
            },
        )]
        .into(),
    }
}

/// Runs the whole contract. `open` opens the ledger; what it gave before is dropped by then.
pub(crate) async fn all<L, F>(open: impl Fn() -> F)
where
    L: Ledger + 'static,
    F: Future<Output = L>,
{
    boots_are_counted(&open).await;
    everything_is_kept(&open).await;
    another_incarnation_starts_its_boots_anew(&open).await;
    being_turned_away_is_kept_until_another_token(&open).await;
    what_was_established_is_replaced_and_forgotten(&open).await;
    so_many_commands_are_remembered(&open).await;
    another_device_keeps_nothing(&open).await;
    notes_made_at_once_are_all_kept(&open).await;
}

async fn boots_are_counted<L: Ledger, F: Future<Output = L>>(open: &impl Fn() -> F) {
    let first = open().await.begin_boot().await.expect("a boot");
    let empty = Held {
        identity: None,
        turned_away: None,
        boot: 1,
        target: None,
        worked_version: 0,
        established: std::collections::BTreeMap::new(),
        booked: std::collections::BTreeMap::new(),
        commands: Vec::new(),
        memory: LoopMemory::default(),
    };
    assert_eq!(first, empty);
    let ledger = open().await;
    assert_eq!(ledger.begin_boot().await.expect("a boot").boot, 2);
    assert_eq!(ledger.begin_boot().await.expect("a boot").boot, 3);
}

fn account(writes: u64) -> Account {
    Account {
        writes,
        day: 3,
        today: 7,
        day_left_ms: 1_000,
        instrument: 1,
        resets: vec![ResetId(Uuid::from_u128(5))],
    }
}

async fn everything_is_kept<L: Ledger, F: Future<Output = L>>(open: &impl Fn() -> F) {
    let (sensor, content) = (
        SensorId(Uuid::from_u128(7)),
        Fingerprint::of_bytes(b"content"),
    );
    let ledger = open().await;
    ledger
        .set_identity(&identity(1, 1))
        .await
        .expect("an identity");
    // Another configuration, and the same with other settings.
    for version in [38, 39, 40, 43] {
        ledger.hold(&target(version)).await.expect("a target");
    }
    ledger.worked_through(42).await.expect("a note");
    ledger.established(sensor, content).await.expect("a note");
    let point = PointId(Uuid::from_u128(8));
    ledger
        .book_writes(point, &account(16))
        .await
        .expect("a note");
    ledger
        .book_writes(point, &account(32))
        .await
        .expect("a note");
    // One that comes late.
    ledger
        .book_writes(point, &account(24))
        .await
        .expect("a note");
    ledger.begin_command(command(1)).await.expect("a note");
    ledger.begin_command(command(2)).await.expect("a note");
    ledger.end_command(&word(1)).await.expect("a note");
    ledger
        .remember(&LoopMemory::default())
        .await
        .expect("a note");
    ledger.remember(&memory()).await.expect("a note");
    drop(ledger);
    let held = open().await.begin_boot().await.expect("a boot");
    let expected = Held {
        identity: Some(identity(1, 1)),
        turned_away: None,
        boot: 1,
        target: Some(target(43)),
        worked_version: 42,
        established: [(sensor, content)].into(),
        booked: [(point, account(32))].into(),
        commands: vec![(command(2), None), (command(1), Some(word(1)))],
        memory: memory(),
    };
    assert_eq!(held, expected);
}

async fn so_many_commands_are_remembered<L: Ledger + 'static, F: Future<Output = L>>(
    open: &impl Fn() -> F,
) {
    let ledger = open().await;
    let most = limits::COMMANDS_REMEMBERED as u128;
    let words: Vec<CommandReport> = (1_000..1_000 + most).map(word).collect();
    let ledger = Arc::new(ledger);
    let mut notes = tokio::task::JoinSet::new();
    for word in words {
        let ledger = ledger.clone();
        notes.spawn(async move { ledger.end_command(&word).await.expect("a note") });
    }
    notes.join_all().await;
    drop(ledger);
    let held = open().await.begin_boot().await.expect("a boot");
    assert_eq!(held.commands.len(), limits::COMMANDS_REMEMBERED + 1);
    assert_eq!(
        held.commands[0],
        (command(2), None),
        "what has no result is never forgotten"
    );
    let oldest = held.commands.iter().find(|(id, _)| *id == command(1));
    assert_eq!(oldest, None, "the oldest that has ended goes");
}

async fn another_incarnation_starts_its_boots_anew<L: Ledger, F: Future<Output = L>>(
    open: &impl Fn() -> F,
) {
    let ledger = open().await;
    let before = ledger.begin_boot().await.expect("a boot");
    assert!(before.boot > 1);
    ledger
        .set_identity(&identity(1, 2))
        .await
        .expect("an identity");
    let after = ledger.begin_boot().await.expect("a boot");
    assert_eq!(
        after,
        Held {
            identity: Some(identity(1, 2)),
            boot: 1,
            ..before
        }
    );
    let other_token = Identity {
        token: "another".into(),
        ..identity(1, 2)
    };
    ledger
        .set_identity(&other_token)
        .await
        .expect("an identity");
    let same_life = ledger.begin_boot().await.expect("a boot");
    assert_eq!((same_life.boot, same_life.identity), (2, Some(other_token)));
}

async fn being_turned_away_is_kept_until_another_token<L: Ledger, F: Future<Output = L>>(
    open: &impl Fn() -> F,
) {
    let kept = async || {
        let held = open().await.begin_boot().await.expect("a boot");
        (held.turned_away, held.identity)
    };
    let (before, who) = kept().await;
    let who = who.expect("an identity");
    assert_eq!(before, None);
    for how in [TurnedAway::Deleted, TurnedAway::Revoked] {
        let ledger = open().await;
        ledger.turned_away(Some(how)).await.expect("a note");
        drop(ledger);
        assert_eq!(kept().await, (Some(how), Some(who.clone())));
    }
    // A new life of the same token does not change it.
    let reborn = Identity {
        incarnation: Incarnation(Uuid::from_u128(77)),
        ..who
    };
    let ledger = open().await;
    ledger.set_identity(&reborn).await.expect("an identity");
    drop(ledger);
    assert_eq!(
        kept().await,
        (Some(TurnedAway::Revoked), Some(reborn.clone()))
    );
    let ledger = open().await;
    ledger.turned_away(None).await.expect("a note");
    ledger
        .turned_away(Some(TurnedAway::Revoked))
        .await
        .expect("a note");
    let registered_anew = Identity {
        token: "yet another".into(),
        key: None,
        ..reborn
    };
    ledger
        .set_identity(&registered_anew)
        .await
        .expect("an identity");
    drop(ledger);
    assert_eq!(kept().await, (None, Some(registered_anew)));
}

async fn what_was_established_is_replaced_and_forgotten<L: Ledger, F: Future<Output = L>>(
    open: &impl Fn() -> F,
) {
    let [a, b, c] = [7, 8, 9].map(|number| SensorId(Uuid::from_u128(number)));
    let [old, new] = [b"old".as_slice(), b"new"].map(Fingerprint::of_bytes);
    let ledger = open().await;
    for (sensor, content) in [(a, old), (b, old), (c, old), (b, new)] {
        ledger.established(sensor, content).await.expect("a note");
    }
    assert_eq!(
        ledger.begin_boot().await.expect("a boot").established,
        [(a, old), (b, new), (c, old)].into()
    );
    ledger.keep_established(&[b, c]).await.expect("forgotten");
    assert_eq!(
        ledger.begin_boot().await.expect("a boot").established,
        [(b, new), (c, old)].into()
    );
}

async fn another_device_keeps_nothing<L: Ledger, F: Future<Output = L>>(open: &impl Fn() -> F) {
    let ledger = open().await;
    ledger
        .set_identity(&identity(2, 2))
        .await
        .expect("an identity");
    let held = ledger.begin_boot().await.expect("a boot");
    let expected = Held {
        identity: Some(identity(2, 2)),
        turned_away: None,
        boot: 1,
        target: None,
        worked_version: 0,
        established: std::collections::BTreeMap::new(),
        booked: std::collections::BTreeMap::new(),
        commands: Vec::new(),
        memory: memory().on_another_device(),
    };
    assert_eq!(held, expected);
}

async fn notes_made_at_once_are_all_kept<L: Ledger + 'static, F: Future<Output = L>>(
    open: &impl Fn() -> F,
) {
    let ledger = Arc::new(open().await);
    let content = Fingerprint::of_bytes(b"content");
    let notes: Vec<_> = (0..300)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .established(SensorId(Uuid::from_u128(number)), content)
                    .await
            })
        })
        .collect();
    for note in notes {
        note.await.expect("no panic").expect("a note");
    }
    assert_eq!(
        ledger.begin_boot().await.expect("a boot").established.len(),
        300
    );
}
