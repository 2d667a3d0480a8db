//! Lists of devices and sensors: their order, their pages, their filters.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Protocol, SensorId,
    edit::Edit,
    row::DeploymentStatus,
    state::{Change, DeviceState, Presence},
};
use holdfast_ports::{
    page::{Listed, Page},
    store::{DeviceFilter, DeviceStatus, DeviceSummary, SensorFilter, SensorRecord},
};
use serde_json::json;

use super::{Fixture, Scene};
use crate::{builders::document, world::FakeAgent};

/// Follows the pages of a list to its end.
macro_rules! every_page {
    ($limit:expr, |$page:ident| $list:expr) => {{
        let mut all = Vec::new();
        let mut page = Page::first($limit);
        loop {
            let $page = &page;
            let Listed { items, next } = $list.await.expect("works");
            assert!(
                items.len() <= $limit as usize,
                "a page has at most as many as it may"
            );
            all.extend(items);
            let Some(next) = next else { break };
            page.after = Some(next);
        }
        all
    }};
}
pub(super) use every_page;

impl Scene {
    async fn names(&self, filter: &DeviceFilter) -> Vec<String> {
        let devices: Vec<DeviceSummary> = every_page!(2, |page| self.store.devices(filter, page));
        devices
            .iter()
            .map(|device| device.record.name.to_string())
            .collect()
    }

    async fn sensor_names(&self, filter: SensorFilter) -> Vec<String> {
        let rows: Vec<SensorRecord> = every_page!(2, |page| self.store.sensors(&filter, page));
        let mut names: Vec<String> = rows
            .iter()
            .map(|record| record.row.shown.name().to_string())
            .collect();
        names.sort_unstable();
        names
    }

    /// A device whose agent runs all of its two sensors.
    async fn deployed(&self, name: &str) -> DeviceState {
        let state = self.device_with(name, 2).await;
        let mut agent = FakeAgent::of(&state);
        agent.establish(&state);
        let change = self
            .world
            .report(&state, agent.full_report())
            .expect("all is new");
        self.commit(&state, change).await
    }
}

/// Devices come by name, in the order of characters, in pages that neither skip nor repeat.
pub async fn devices_are_listed_by_name(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    for name in ["b", "a", "B", "a-1", "ä", "a 1", "Z"] {
        scene.device(name).await;
    }
    let all = scene.names(&DeviceFilter::default()).await;
    assert_eq!(all, ["B", "Z", "a", "a 1", "a-1", "b", "ä"]);
    let whole = scene
        .store
        .devices(&DeviceFilter::default(), &Page::first(7))
        .await
        .expect("works");
    assert_eq!((whole.items.len(), whole.next), (7, None));
}

/// Labels and status filter; a summary says how each device is doing.
pub async fn devices_are_filtered(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    scene.device("new").await;
    let reconciled = scene.deployed("reconciled").await;
    let drifting = scene.deployed("drifting").await;
    let drifting = scene.add(&drifting, "one-more").await;
    let silent = scene.deployed("silent").await;
    let mut change = Change::of(&silent);
    change.presence = Some(Presence {
        silent: true,
        ..silent.presence.clone()
    });
    let mut record = silent.record.clone();
    record.labels = BTreeMap::from([
        ("site".to_owned(), "south".to_owned()),
        ("row".to_owned(), "3".to_owned()),
    ]);
    change.record = Some(record);
    scene.commit(&silent, change).await;

    let with = |labels: &[(&str, &str)]| DeviceFilter {
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        status: None,
    };
    assert_eq!(
        scene.names(&with(&[("site", "north")])).await,
        ["drifting", "new", "reconciled"]
    );
    assert_eq!(
        scene.names(&with(&[("site", "south"), ("row", "3")])).await,
        ["silent"]
    );
    assert_eq!(
        scene.names(&with(&[("site", "north"), ("row", "3")])).await,
        [""; 0]
    );
    for status in DeviceStatus::ALL {
        let filter = DeviceFilter {
            status: Some(status),
            ..DeviceFilter::default()
        };
        assert_eq!(scene.names(&filter).await, [status.as_str()]);
    }
    let all = scene
        .other
        .devices(&DeviceFilter::default(), &Page::first(10))
        .await
        .expect("works")
        .items;
    let expected = DeviceSummary {
        record: drifting.record.clone(),
        target_version: 3,
        worked_version: Some(2),
        last_seen_at: drifting.presence.last_seen_at,
        status: DeviceStatus::Drifting,
        sensors: BTreeMap::from([
            (DeploymentStatus::Deployed, 2),
            (DeploymentStatus::Pending, 1),
        ]),
    };
    assert_eq!(all[0], expected);
    assert_eq!((all[1].worked_version, all[1].sensors.len()), (None, 0));
    assert_eq!(all[2].record, reconciled.record);
}

/// Rows come by sensor, filtered by everything that was asked for.
pub async fn sensors_are_listed_and_filtered(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let one = scene.deployed("gateway-1").await;
    let mut disabled = document(Protocol::Mqtt, "meter");
    disabled["enabled"] = json!(false);
    let change = scene.world.add(&one, disabled);
    let one = scene.commit(&one, change).await;
    let removed = one.wanted_by_name("s-1").expect("it is wanted").id();
    let edition = scene
        .world
        .edit(&one, Edit::Remove(removed))
        .expect("it exists");
    scene.commit(&one, edition.change.expect("a change")).await;
    let two = scene.device("gateway-2").await;
    let change = scene.world.add(&two, document(Protocol::Can, "motor"));
    scene.commit(&two, change).await;

    let rows: Vec<SensorRecord> = every_page!(1, |page| scene
        .store
        .sensors(&SensorFilter::default(), page));
    assert_eq!(rows.len(), 4);
    assert!(rows.is_sorted_by_key(|record| record.row.id));
    let all = SensorFilter::default;
    let of = |filter| scene.sensor_names(filter);
    assert_eq!(
        of(SensorFilter {
            device: Some(one.record.id),
            ..all()
        })
        .await,
        ["meter", "s-0", "s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            running_only: true,
            ..all()
        })
        .await,
        ["s-0", "s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            protocol: Some(Protocol::Modbus),
            ..all()
        })
        .await,
        ["s-0", "s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            protocol: Some(Protocol::Opcua),
            ..all()
        })
        .await,
        [""; 0]
    );
    assert_eq!(
        of(SensorFilter {
            enabled: Some(false),
            ..all()
        })
        .await,
        ["meter"]
    );
    assert_eq!(
        of(SensorFilter {
            enabled: Some(true),
            ..all()
        })
        .await,
        ["motor", "s-0", "s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            status: Some(DeploymentStatus::Pending),
            ..all()
        })
        .await,
        ["meter", "motor"]
    );
    assert_eq!(
        of(SensorFilter {
            status: Some(DeploymentStatus::PendingDeletion),
            ..all()
        })
        .await,
        ["s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            drifting_only: true,
            ..all()
        })
        .await,
        ["meter", "motor", "s-1"]
    );
    assert_eq!(
        of(SensorFilter {
            name: Some("motor".to_owned()),
            ..all()
        })
        .await,
        ["motor"]
    );
    let several = SensorFilter {
        device: Some(one.record.id),
        running_only: true,
        protocol: Some(Protocol::Modbus),
        enabled: Some(true),
        status: Some(DeploymentStatus::Deployed),
        drifting_only: false,
        name: Some("s-0".to_owned()),
    };
    assert_eq!(of(several).await, ["s-0"]);
}

/// Two agents may run the same sensor (a disk was copied): both rows are there, on whatever page.
pub async fn the_same_sensor_on_two_devices_is_two_rows(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let one = scene.deployed("gateway-1").await;
    let two = scene.device("gateway-2").await;
    let mut copy = FakeAgent::of(&two);
    copy.establish(&one);
    copy.held_version = 0;
    let change = scene
        .world
        .report(&two, copy.full_report())
        .expect("all is new");
    let two = scene.commit(&two, change).await;
    let rows: Vec<SensorRecord> = every_page!(1, |page| scene
        .store
        .sensors(&SensorFilter::default(), page));
    let found: Vec<(SensorId, DeviceId)> = rows
        .iter()
        .map(|record| (record.row.id, record.device))
        .collect();
    let mut expected: Vec<(SensorId, DeviceId)> = one
        .rows
        .keys()
        .flat_map(|sensor| [(*sensor, one.record.id), (*sensor, two.record.id)])
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
