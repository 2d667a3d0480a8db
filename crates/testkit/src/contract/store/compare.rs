//! A store beside the model: everything that can be read of both is the same.

use std::collections::BTreeMap;

use holdfast_domain::{DeviceId, Protocol, row::DeploymentStatus};
use holdfast_ports::{
    events::{EventFilter, EventStore},
    fleet::FleetStore,
    page::Page,
    store::{DeviceFilter, DeviceStatus, DeviceStore, SensorFilter},
};
use jiff::Timestamp;

use super::Store;
use crate::{builders::PROTOCOLS, memory::MemoryStore};

/// Compares all.
pub(super) async fn all(store: &dyn Store, model: &MemoryStore) {
    let page = Page::first(Page::MOST);
    for filter in device_filters() {
        let expected = model.devices(&filter, &page).await.expect("works");
        assert_eq!(
            store.devices(&filter, &page).await.expect("works"),
            expected,
            "{filter:?}"
        );
    }
    let devices = model
        .devices(&DeviceFilter::default(), &page)
        .await
        .expect("works")
        .items;
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.record.id).collect();
    for filter in sensor_filters(ids[0]) {
        let expected = model.sensors(&filter, &page).await.expect("works");
        assert_eq!(
            store.sensors(&filter, &page).await.expect("works"),
            expected,
            "{filter:?}"
        );
    }
    let middle = some_time(model, &ids).await;
    for id in ids {
        one(store, model, id, &page).await;
    }
    let mut found = store.figures(middle).await.expect("works");
    let expected = model.figures(middle).await.expect("works");
    found.due = expected.due;
    assert_eq!(found, expected);
}

async fn one(store: &dyn Store, model: &MemoryStore, id: DeviceId, page: &Page) {
    let history = model.history(id, page).await.expect("works");
    assert_eq!(store.history(id, page).await.expect("works"), history);
    for entry in &history.items {
        let items = model.version(id, entry.version).await.expect("works");
        assert_eq!(
            store.version(id, entry.version).await.expect("works"),
            items
        );
    }
    let points = model.points(id, page).await.expect("works");
    assert_eq!(store.points(id, page).await.expect("works"), points);
    let filter = EventFilter {
        device: Some(id),
        kinds: Vec::new(),
    };
    let events = model.latest(&filter, 1_000).await.expect("works");
    assert_eq!(store.latest(&filter, 1_000).await.expect("works"), events);
}

fn device_filters() -> Vec<DeviceFilter> {
    let mut filters = vec![DeviceFilter::default()];
    let labels = [BTreeMap::from([("row".to_owned(), "1".to_owned())])];
    filters.extend(labels.map(|labels| DeviceFilter {
        labels,
        status: None,
    }));
    filters.extend(DeviceStatus::ALL.map(|status| DeviceFilter {
        status: Some(status),
        ..Default::default()
    }));
    filters
}

fn sensor_filters(device: DeviceId) -> Vec<SensorFilter> {
    use DeploymentStatus::{Deployed, Failed, Pending, PendingDeletion, Reconciling};
    let all = SensorFilter::default;
    let mut filters = vec![
        all(),
        SensorFilter {
            device: Some(device),
            ..all()
        },
        SensorFilter {
            running_only: true,
            ..all()
        },
        SensorFilter {
            drifting_only: true,
            ..all()
        },
        SensorFilter {
            name: Some("s-1".to_owned()),
            ..all()
        },
        SensorFilter {
            device: Some(device),
            protocol: Some(Protocol::Can),
            running_only: true,
            ..all()
        },
    ];
    filters.extend(PROTOCOLS.map(|protocol| SensorFilter {
        protocol: Some(protocol),
        ..all()
    }));
    filters.extend([true, false].map(|enabled| SensorFilter {
        enabled: Some(enabled),
        ..all()
    }));
    let statuses = [Pending, Reconciling, Deployed, Failed, PendingDeletion];
    filters.extend(statuses.map(|status| SensorFilter {
        status: Some(status),
        ..all()
    }));
    filters
}

/// A time at which some row began to drift, so that some do and some do not do so before.
async fn some_time(model: &MemoryStore, ids: &[DeviceId]) -> Timestamp {
    let mut times = Vec::new();
    for id in ids {
        let state = model.load(*id).await.expect("works");
        let rows = state.into_iter().flat_map(|state| state.rows);
        times.extend(rows.filter_map(|(_, row)| row.drifting_since));
    }
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
