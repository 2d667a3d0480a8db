//! Scratch.
#![allow(clippy::unwrap_used)]
use holdfast_domain::*;
use holdfast_domain::{edit::Edit, row::Actor};
use holdfast_http_api::{ApiSettings, router};
use holdfast_hub::{Hub, HubParts, HubSettings, agents::RegisterRequest, edits::EditRequest};
use holdfast_ports::{
    store::PointRecord,
    tokens::{Role, SecretHash},
};
use holdfast_testkit::{
    builders,
    memory::MemoryStore,
    world::{FakeAgent, ManualClock, SeededEntropy},
};
use jiff::Timestamp;
use std::sync::Arc;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let store = Arc::new(MemoryStore::new());
    let parts = HubParts {
        devices: store.clone(),
        tokens: store.clone(),
        events: store.clone(),
        fleet: store.clone(),
        wakeups: store,
        clock: Arc::new(ManualClock::new(Timestamp::now())),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let hub = Hub::new(parts, HubSettings::default());
    let by = Actor::named("anna");
    let (admin, _) = hub
        .create_token("anna", Role::Admin, None, &by)
        .await
        .unwrap();
    let (key, _) = hub.create_key("k", None, None, None, &by).await.unwrap();
    let edit = EditRequest {
        actor: &by,
        reason: Some("winter"),
        if_version: None,
        correlation: None,
    };
    for name in ["plant-1", "plant-2", "plant-3 Halle Süd", "test bench"] {
        let r = hub
            .register(
                &key,
                &RegisterRequest {
                    token_hash: SecretHash::of(name),
                    name: Some(Name::new(name).unwrap()),
                    labels: [("site".to_string(), "north".to_string())].into(),
                },
                None,
            )
            .await
            .unwrap();
        if name == "test bench" {
            continue;
        }
        for s in [
            "boiler-1",
            "boiler-2",
            "pump",
            "mixer with a rather long name",
        ] {
            hub.edit(
                r.device,
                &Edit::Add(builders::modbus_document(s, "10.0.0.5", 502)),
                edit,
            )
            .await
            .unwrap();
        }
        if name == "plant-1" {
            hub.edit(
                r.device,
                &Edit::Add(builders::document(Protocol::Opcua, "press")),
                edit,
            )
            .await
            .unwrap();
            let mut d = builders::modbus_document("spare", "10.0.0.8", 502);
            d["enabled"] = false.into();
            hub.edit(r.device, &Edit::Add(d), edit).await.unwrap();
        }
        let state = hub.state(r.device).await.unwrap();
        let mut agent = FakeAgent::of(&state);
        let rows: Vec<_> = state.target.items.iter().map(|i| i.sensor.id()).collect();
        let failing = if name == "plant-1" {
            vec![rows[1]]
        } else {
            vec![]
        };
        agent.establish_but(&state, &failing, Timestamp::now());
        if name == "plant-1" {
            agent.health.insert(
                rows[2],
                Health {
                    status: HealthStatus::Offline,
                    since: Timestamp::now(),
                    reason: Some("no answer for 5 s".into()),
                },
            );
            agent.health.insert(
                rows[3],
                Health {
                    status: HealthStatus::Degraded,
                    since: Timestamp::now(),
                    reason: Some("register 200: illegal data address".into()),
                },
            );
        }
        let body = serde_json::to_vec(&agent.full_report().to_json(r.device)).unwrap();
        hub.report(r.device, &body, None).await.unwrap();
        let mut points = vec![];
        for i in &state.target.items {
            for (n, (p, _)) in i
                .sensor
                .content()
                .binding
                .point_names()
                .into_iter()
                .enumerate()
            {
                let bad = n == 1 && i.sensor.name().as_str().starts_with("mixer");
                points.push(PointRecord {
                    point: p,
                    sensor: i.sensor.id(),
                    value: if bad {
                        None
                    } else {
                        Some(PointValue::Number(21.299_999_2 + n as f64 * 50.0))
                    },
                    quality: if bad { Quality::Bad } else { Quality::Good },
                    at: Timestamp::now(),
                    reason: bad.then(|| "illegal data address".into()),
                });
            }
        }
        hub.readings(r.device, &points).await.unwrap();
        if name == "plant-1" {
            hub.edit(
                r.device,
                &Edit::Patch(rows[0], serde_json::json!({"pollInterval": 500})),
                edit,
            )
            .await
            .unwrap();
            hub.edit(
                r.device,
                &Edit::Add(builders::modbus_document("new one", "10.0.0.9", 502)),
                edit,
            )
            .await
            .unwrap();
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{} {admin}", listener.local_addr().unwrap());
    axum::serve(listener, router(hub, ApiSettings::default()))
        .await
        .unwrap();
}
