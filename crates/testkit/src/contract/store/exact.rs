//! What is loaded is what was committed: every field, odd texts, and random histories against the store in memory.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_domain::{
    CommandId, Fingerprint, Health, HealthStatus, Incarnation, Item, PauseId, PointId, PointValue,
    Protocol, ResetId, SensorId,
    document::{
        command::{Command, CommandOutcome, CommandReport},
        hold::{HoldReport, LocalEnd, LocalStop, LoopState, Scope},
        setpoint::{
            AccountReport, Conformity, HandChange, Hold, Policy, Setpoint, SetpointReport,
            Tolerance,
        },
    },
    drift::DriftKind,
    event::{EventKind, whole_micros},
    row::{Actor, Audit, DeploymentStatus, SensorRow},
    state::{Change, DriftNote, Presence, Reported, Target, TargetChange, TargetChangeKind},
    trouble::{Noted, Trouble, TroubleKind},
    values::{
        Cancelling, CommandRecord, CommandWishes, HoldWish, Interruption, ReportedValues,
        ResetWish, Values, Wish,
    },
};
use holdfast_ports::{page::Page, store::DeviceStore};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};
use uuid::Uuid;

use super::{Fixture, Scene, compare, random};
use crate::{
    builders::{PROTOCOLS, document, item, modbus_sensor, sensor, sensor_of, uuid_of},
    memory::MemoryStore,
    world::FakeAgent,
};

fn micros(text: &str) -> Timestamp {
    whole_micros(text.parse().expect("a time"))
}

/// A row in which every optional field is there.
fn full_row(shown: Arc<holdfast_domain::Sensor>, at: Timestamp) -> SensorRow {
    SensorRow {
        id: shown.id(),
        shown,
        running_since: Some(at),
        config_version: 41,
        synced_to_config: false,
        status: DeploymentStatus::Failed,
        last_deployed_at: Some(at + SignedDuration::from_micros(1)),
        error: Some("no answer".to_owned()),
        attempts: 3,
        health: Some(Health {
            status: HealthStatus::Degraded,
            since: at,
            reason: Some("half".to_owned()),
        }),
        drift: Some(DriftKind::Enabled),
        drifting_since: Some(at + SignedDuration::from_micros(2)),
        audit: Audit {
            created_at: at,
            created_by: Actor::named("anna"),
            updated_at: at + SignedDuration::from_micros(3),
            updated_by: Actor::agent(),
        },
    }
}

/// Setpoints, stops and pauses in which every optional field is there.
fn full_values(at: Timestamp) -> Values {
    let until = Some(at + SignedDuration::from_micros(5));
    let wish =
        |point: &str, value: PointValue, tolerance: Option<Tolerance>, policy: Policy| Wish {
            setpoint: Setpoint {
                point_id: PointId(uuid_of(point)),
                bound_to: Fingerprint::of_bytes(point.as_bytes()),
                value,
                tolerance,
                policy,
                set_by: Actor::named("anna"),
                reason: Some(format!("{point} 'because' \u{7} ␀ ✓")),
                revision: 3,
                valid_for_ms: None,
                extra: Map::from_iter([("ofALaterVersion".to_owned(), json!([1, 2.5, "x\0"]))]),
            },
            set_at: at,
            until,
            revision: u64::from(u32::MAX),
            key: Some("request ✓".to_owned()),
        };
    let number = PointValue::Number(0.1 + 0.2);
    let mut last = wish("d", PointValue::Integer(-1), None, Policy::Enforce);
    (last.until, last.key, last.setpoint.reason) = (None, None, None);
    let wishes = [
        wish(
            "a",
            number,
            Some(Tolerance::Absolute(0.1 + 0.7)),
            Policy::Adopt,
        ),
        wish(
            "b",
            PointValue::Bool(true),
            Some(Tolerance::Exact),
            Policy::Observe,
        ),
        wish(
            "c",
            PointValue::from_u64(u64::MAX),
            Some(Tolerance::Relative(0.01)),
            Policy::Enforce,
        ),
        last,
    ];
    let scopes = [
        Scope::Device,
        Scope::Sensor(SensorId(uuid_of("s"))),
        Scope::Point(PointId(uuid_of("a"))),
    ];
    Values {
        revision: i64::MAX as u64,
        wishes: wishes.map(|wish| (wish.setpoint.point_id, wish)).into(),
        resets: ["a", "pulse"].map(|name| full_reset(name, at)).into(),
        hold: HoldWish {
            revision: i64::MAX as u64,
            shadow: true,
            interval_ms: 3_600_000,
            dynamic: false,
            restores_per_hour: 0,
            interruptions: scopes
                .map(|scope| Interruption {
                    id: PauseId(uuid_of(&format!("{scope:?}"))),
                    scope,
                    by: Actor::named("ben"),
                    reason: (scope != Scope::Device).then(|| "belt \0 change".to_owned()),
                    since: at,
                    until: until.filter(|_| scope == Scope::Device),
                })
                .into(),
        },
        commands: CommandWishes {
            revision: i64::MAX as u64,
            records: ["one", "other"].map(|name| full_command(name, at)).into(),
        },
    }
}

/// A reset of a write budget; one of them has every optional field.
fn full_reset(name: &str, at: Timestamp) -> (PointId, ResetWish) {
    let point_id = PointId(uuid_of(name));
    let reset = ResetWish {
        point_id,
        id: ResetId(uuid_of("reset")),
        by: Actor::named("anna"),
        reason: "new valve \0 ✓".to_owned(),
        at,
        key: (name == "a").then(|| "request ✓".to_owned()),
    };
    (point_id, reset)
}

/// A command; one of them has every optional field.
fn full_command(name: &str, at: Timestamp) -> CommandRecord {
    let is_full = name == "one";
    CommandRecord {
        command: Command {
            id: CommandId(uuid_of(name)),
            point_id: PointId(uuid_of("pulse")),
            bound_to: Fingerprint::of_bytes(name.as_bytes()),
            value: PointValue::Number(0.1 + 0.2),
            valid_for_ms: 3_600_000,
            set_by: Actor::named("anna"),
            reason: is_full.then(|| "because \u{7} ␀ ✓".to_owned()),
            cancelled: false,
            extra: Map::from_iter([("ofALaterVersion".to_owned(), json!([1, 2.5, "x\0"]))]),
        },
        set_at: at,
        until: at + SignedDuration::from_micros(5),
        revision: i64::MAX as u64,
        event: 12,
        key: is_full.then(|| "request ✓".to_owned()),
        cancelling: is_full.then(|| Cancelling {
            by: Actor::named("ben ✓"),
            reason: Some("not \u{7} now".to_owned()),
            at,
        }),
    }
}

/// What an agent says of a command, with every optional field.
fn full_word(name: &str, at: Timestamp) -> CommandReport {
    CommandReport {
        id: CommandId(uuid_of(name)),
        outcome: CommandOutcome::AcknowledgedUnverified,
        reason: Some("it shows \0 ✓".to_owned()),
        value: Some(PointValue::from_u64(u64::MAX)),
        at,
        took_ms: Some(u64::MAX),
    }
}

/// What an agent says of its outputs, with every optional field.
fn full_reported_values(at: Timestamp) -> ReportedValues {
    let item = SetpointReport {
        conformity: Conformity::Deviates,
        hold: Hold::Overridden,
        value: Some(PointValue::Number(0.1 + 0.7)),
        reason: Some("changed \"by hand\" \0".to_owned()),
        since: at + SignedDuration::from_nanos(1),
        revision: 118,
        writes: 1 << 53 | 1,
        budget_left: u64::MAX,
        written: 1 << 53 | 3,
        verified_in_ms: Some(38),
        changes: 3,
        last_change: Some(HandChange {
            before: PointValue::Bool(false),
            after: PointValue::from_u64(u64::MAX),
            at,
        }),
        adopt: Some(PointValue::Text("\0 ✓".to_owned())),
    };
    let bare = SetpointReport {
        value: None,
        reason: None,
        written: 0,
        verified_in_ms: None,
        last_change: None,
        adopt: None,
        ..item.clone()
    };
    let account = AccountReport {
        writes: u64::MAX,
        budget_left: 1 << 53 | 1,
    };
    ReportedValues {
        held_revision: 1 << 52,
        items: BTreeMap::from([(PointId(uuid_of("a")), item), (PointId(uuid_of("b")), bare)]),
        accounts: [(PointId(uuid_of("pulse")), account)].into(),
        resets: [(PointId(uuid_of("a")), ResetId(uuid_of("reset")))].into(),
        hold: Some(HoldReport {
            held_revision: 7,
            state: LoopState::Shadow,
            interval_ms: u32::MAX,
            pass_ms: Some(50),
            recommended_interval_ms: Some(100),
            overruns: 9,
            local: Some(LocalStop {
                by: Actor::named("a technician ✓"),
                reason: "belt change".to_owned(),
                remaining_ms: Some(1 << 52),
                until: Some(at),
            }),
            local_ended: Some(LocalEnd {
                stopped_by: Actor::named("somebody"),
                stop_reason: "why".to_owned(),
                by: None,
                reason: Some("so".to_owned()),
                count: 3,
            }),
            not_kept: Some("the disk is full ✓".to_owned()),
        }),
        held_fingerprint: Some(Fingerprint::of_bytes(b"wishes")),
        held_commands: 1 << 52,
        commands: ["one", "gone"]
            .map(|name| (CommandId(uuid_of(name)), full_word(name, at)))
            .into(),
    }
}

/// Every field of a device comes back as it was, of sensors of every protocol.
pub async fn every_field_comes_back(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let at = micros("2026-11-22T12:00:00.123456Z");
    let items: Vec<Item> = PROTOCOLS
        .iter()
        .zip(1..)
        .map(|(protocol, version)| item(version, sensor(*protocol, protocol.as_str())))
        .collect();
    let mut change = Change::of(&state);
    let mut record = state.record.clone();
    record.incarnation = Some(Incarnation(uuid_of("another life")));
    record.audit = record.audit.touched(at, &Actor::named("ben"));
    change.record = Some(record);
    change.target = Some(TargetChange {
        target: Target {
            version: 1_u64 << 53 | 1,
            items: items.clone(),
            look_revision: 9,
            values: full_values(at),
            event: 1,
            audit: state.target.audit.touched(at, &Actor::named("ben")),
            last_deployed: Some((at, 42)),
        },
        reason: Some("all new".to_owned()),
        kind: TargetChangeKind::NewVersion,
    });
    let mut agent = FakeAgent::of(&state);
    agent.boot = i64::MAX as u64;
    agent.held_version = i64::MAX as u64;
    agent.version = 41;
    agent.running = items.clone();
    let report = agent.full_report();
    let outcome = report.outcome.expect("it is full");
    change.reported = Some(Reported {
        order: report.order,
        held_version: report.held_version,
        worked_version: outcome.version,
        running: outcome.running,
        failures: vec![holdfast_domain::Failure {
            id: SensorId(uuid_of("other")),
            fingerprint: Fingerprint::of_bytes(b"x"),
            error: "refused".to_owned(),
            attempts: 1_000_000_000,
        }],
        health: BTreeMap::from([(
            items[0].sensor.id(),
            Health {
                status: HealthStatus::Offline,
                since: at,
                reason: Some("no answer for 5 s".to_owned()),
            },
        )]),
        running_fingerprint: report.running_fingerprint,
        looked_revision: 9,
        values: full_reported_values(at),
        agent_version: report.agent_version,
        reported_at: at,
    });
    change.presence = Some(Presence {
        last_seen_at: Some(at),
        silent: true,
        drift: Some(DriftNote {
            since: at,
            fingerprint: Fingerprint::of_bytes(b"drift"),
        }),
        troubles: vec![noted_trouble(at)],
    });
    change.upserts = items
        .iter()
        .map(|item| full_row(item.sensor.clone(), at))
        .collect();
    let mut context = scene.world.context("anna");
    change.event(
        &state,
        &context,
        EventKind::DeviceUpdated,
        Some(1),
        json!({ "a": [1.5, null, "x"], "b": true }),
    );
    context.correlation = None;
    change.event(&state, &context, EventKind::DeviceLook, None, json!({}));
    let events = change.events.clone();
    let state = scene.commit(&state, change).await;
    assert_eq!(scene.events(state.record.id).await[1..], events);
    let stored = scene
        .store
        .version(state.record.id, state.target.version)
        .await
        .expect("works");
    assert_eq!(stored, Some(items));
}

/// What is wanted of outputs changes alone, and stays where something else changes.
pub async fn setpoints_come_back(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let mut first = scene.world.device("gateway-1");
    let at = first.record.audit.created_at;
    first.target.values = full_values(at);
    scene.create(&first).await.expect("it is new");
    let mut state = scene.load(first.record.id).await;
    assert_eq!(state.target.values, first.target.values);
    for kind in [
        TargetChangeKind::Values,
        TargetChangeKind::Look,
        TargetChangeKind::Deployed,
    ] {
        let mut change = Change::of(&state);
        let mut target = state.target.clone();
        match kind {
            TargetChangeKind::Values => {
                target.values.revision = 4;
                target.values.wishes.remove(&PointId(uuid_of("a")));
                target.values.hold = HoldWish::default();
                target.values.commands.revision = 5;
            }
            TargetChangeKind::Deployed => target.last_deployed = Some((at, 1)),
            TargetChangeKind::Look | TargetChangeKind::NewVersion => {}
        }
        target.look_revision += 1;
        change.target = Some(TargetChange {
            target,
            reason: None,
            kind,
        });
        state = scene.commit(&state, change).await;
    }
    let mut agent = FakeAgent::of(&state);
    let mut said = full_reported_values(at);
    // No later revisions than were given: the hub would go on above them.
    said.held_revision = 4;
    said.hold.as_mut().expect("it is full").held_revision = 0;
    said.held_commands = 5;
    for values in [Some(said), None] {
        agent.values = values;
        agent.looked_revision += 1;
        let change = scene.world.report(&state, agent.full_report());
        state = scene.commit(&state, change.expect("it says more")).await;
    }
    let kept = &state.reported.as_ref().expect("it reported").values;
    assert_eq!(
        kept.items.len(),
        1,
        "of what is not set any more nothing is kept"
    );
    let words: Vec<&CommandReport> = kept.commands.values().collect();
    assert_eq!(words, [&full_word("one", at)]);
}

/// What can be left out and is left out comes back so, also where it was there before.
pub async fn nothing_optional_comes_back_as_nothing(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let at = state.record.audit.created_at;
    let mut change = Change::of(&state);
    let shown = Arc::new(modbus_sensor("boiler-1"));
    change.upserts.push(full_row(shown.clone(), at));
    change.presence = Some(Presence {
        last_seen_at: None,
        silent: false,
        drift: Some(DriftNote {
            since: at,
            fingerprint: Fingerprint::of_bytes(b"drift"),
        }),
        troubles: Vec::new(),
    });
    let state = scene.commit(&state, change).await;
    let mut change = Change::of(&state);
    let mut record = state.record.clone();
    record.incarnation = None;
    record.labels.clear();
    change.record = Some(record);
    change.presence = Some(Presence::default());
    change.upserts.push(SensorRow {
        running_since: None,
        last_deployed_at: None,
        error: None,
        attempts: 0,
        health: None,
        drift: None,
        drifting_since: None,
        ..full_row(shown, at)
    });
    scene.commit(&state, change).await;
}

/// Texts and numbers that trip up careless encoders.
pub async fn odd_texts_come_back(fixture: &dyn Fixture) {
    let odd = "a \"b\" \\ 'c' \u{7}\0 ✓ 𝄞 %_ ?1 $1 :x {v} \t\r\n -- ; ]]>";
    let scene = Scene::of(fixture);
    let mut state = scene.world.device("Kessel 'Süd' \"2\" ✓");
    state.record.labels = BTreeMap::from([
        (odd.to_owned(), odd.to_owned()),
        (String::new(), String::new()),
    ]);
    scene.create(&state).await.expect("it is new");
    let state = scene.load(state.record.id).await;
    let mut document = document(Protocol::Modbus, "Pumpe \\ 'Süd' \"1\" ✓ 𝄞");
    document["metadata"] = json!({
        odd: odd, "big": u64::MAX, "small": i64::MIN, "float": 0.1 + 0.2, "tiny": 5e-324, "whole": 1.0,
        "exact": 9_007_199_254_740_993_u64, "deep": [[[{ "x": null }]], []], "digits": 2.225_073_858_507_201_4e-308,
    });
    document["dataPoints"][0]["scale"] = json!(0.1 + 0.7);
    document["ofALaterVersion"] = json!({ odd: [1, 2.5, odd] });
    document["connection"]["unknown"] = json!(odd);
    let mut change = Change::of(&state);
    let mut row = full_row(Arc::new(sensor_of(document)), state.record.audit.created_at);
    row.error = Some(odd.to_owned());
    row.health.as_mut().expect("a full row").reason = Some(odd.to_owned());
    row.audit.created_by = Actor::named(odd);
    let items = vec![Item {
        config_version: 1,
        sensor: row.shown.clone(),
    }];
    change.upserts.push(row);
    let mut target = state.target.clone();
    (target.version, target.items) = (1, items.clone());
    change.target = Some(TargetChange {
        target,
        reason: Some(odd.to_owned()),
        kind: TargetChangeKind::NewVersion,
    });
    let context = scene.world.context(odd).during(odd);
    change.event(
        &state,
        &context,
        EventKind::TargetUpdated,
        None,
        json!({ odd: odd, "number": 0.1 + 0.2 }),
    );
    let events = change.events.clone();
    let state = scene.commit(&state, change).await;
    assert_eq!(scene.events(state.record.id).await[1..], events);
    assert_eq!(
        scene
            .store
            .version(state.record.id, 1)
            .await
            .expect("works"),
        Some(items)
    );
    let entry = &scene
        .store
        .history(state.record.id, &Page::first(1))
        .await
        .expect("works")
        .items[0];
    assert_eq!(entry.reason.as_deref(), Some(odd));
}

/// Random edits, reports and passing time, on several devices: the store and the model always agree.
pub async fn random_histories_match_the_model(fixture: &dyn Fixture) {
    const STEPS: usize = 120;
    let scene = Scene::of(fixture);
    let model = MemoryStore::new();
    let mut players = Vec::new();
    for name in ["gateway-1", "Gateway-2", "a"] {
        let state = scene.world.device(name);
        let event = scene.world.event(&state, EventKind::DeviceCreated);
        scene
            .store
            .create(&state, std::slice::from_ref(&event))
            .await
            .expect("it is new");
        model
            .create(&state, std::slice::from_ref(&event))
            .await
            .expect("it is new");
        let state = scene.load(state.record.id).await;
        players.push((FakeAgent::of(&state), state));
    }
    for step in 0..STEPS {
        let which = scene.world.entropy.below(players.len());
        let (agent, state) = &mut players[which];
        if scene.world.entropy.chance(10) {
            random::save_points(&scene.world, state, scene.store.as_ref(), &model).await;
        }
        let Some(change) = random::change(&scene.world, agent, state, &model).await else {
            continue;
        };
        model.commit(&change).await.expect("nobody else changes it");
        scene
            .store
            .commit(&change)
            .await
            .unwrap_or_else(|error| panic!("step {step}: {error:?}"));
        *state = state.after(change);
        assert_eq!(scene.load(state.record.id).await, *state, "step {step}");
    }
    compare::all(scene.other.as_ref(), &model).await;
}

fn noted_trouble(since: Timestamp) -> Noted {
    Noted {
        trouble: Trouble {
            kind: TroubleKind::SetpointNotHeld,
            id: Uuid::from_u128(7),
            name: "boiler-1/flow \"x\"".to_owned(),
            since,
            reason: "the instrument said no: \u{0} illegal data value".to_owned(),
        },
        told: true,
    }
}
