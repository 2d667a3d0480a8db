//! Rows of the read model, filtered and paged: of a device, of the fleet, and the target in the same form.

use std::sync::Arc;

use holdfast_domain::{row::SensorRow, state::DeviceState};
use holdfast_ports::{
    page::{Listed as Page, Page as Wanted},
    store::SensorFilter,
};
use holdfast_wire::{Listed, SensorView};

use crate::{App, devices::word, extract::Query, problem::ApiResult};

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// What really runs.
    Running,
    /// Every row.
    All,
    /// What is wanted.
    Desired,
}

/// Reads the filters of sensors.
pub(crate) fn filter(query: &mut Query) -> (View, SensorFilter) {
    let view = query.one("view", "one of running, all, desired", |word| match word {
        "running" => Some(View::Running),
        "all" => Some(View::All),
        "desired" => Some(View::Desired),
        _ => None,
    });
    let view = view.unwrap_or(View::Running);
    let filter = SensorFilter {
        device: None,
        running_only: view == View::Running,
        protocol: word(query, "protocol"),
        enabled: query.flag("enabled"),
        status: word(query, "deploymentStatus"),
        drifting_only: false,
        name: query.one("name", "a sensor's name", |name| Some(name.to_owned())),
    };
    (view, filter)
}

/// Reads the filters of sensors of the whole fleet, of which there is no desired view.
pub(crate) fn fleet_filter(query: &mut Query) -> SensorFilter {
    let all = query.one("view", "one of running, all", |word| match word {
        "running" => Some(false),
        "all" => Some(true),
        _ => None,
    });
    SensorFilter {
        running_only: !all.unwrap_or(false),
        protocol: word(query, "protocol"),
        enabled: query.flag("enabled"),
        status: word(query, "deploymentStatus"),
        name: query.one("name", "a sensor's name", |name| Some(name.to_owned())),
        ..SensorFilter::default()
    }
}

/// A page of rows.
pub(crate) async fn page_of(
    app: &App,
    filter: &SensorFilter,
    page: &Wanted,
) -> ApiResult<Listed<SensorView>> {
    let rows = app.hub.parts().devices.sensors(filter, page).await?;
    let items = rows
        .items
        .iter()
        .map(|record| SensorView::new(record.device, &record.row, record.stale))
        .collect();
    Ok(Listed {
        items,
        next: rows.next,
    })
}

/// The target as rows: each sensor with the wanted content, and what else is known of it.
pub(crate) fn desired(
    state: &DeviceState,
    filter: &SensorFilter,
    page: &Wanted,
) -> Listed<SensorView> {
    let after = page.after.as_deref().and_then(|after| after.parse().ok());
    let mut rows: Vec<SensorRow> = state
        .target
        .items
        .iter()
        .filter_map(|item| {
            let row = state.rows.get(&item.sensor.id())?;
            let is_shown = row.shown == item.sensor;
            Some(SensorRow {
                shown: Arc::clone(&item.sensor),
                running_since: row.running_since.filter(|_| is_shown),
                config_version: item.config_version,
                synced_to_config: is_shown && row.synced_to_config,
                ..row.clone()
            })
        })
        .collect();
    rows.retain(|row| {
        after.is_none_or(|after| row.id > after)
            && filter
                .protocol
                .is_none_or(|protocol| row.shown.protocol() == protocol)
            && filter
                .enabled
                .is_none_or(|enabled| row.shown.enabled() == enabled)
            && filter.status.is_none_or(|status| row.status == status)
            && filter
                .name
                .as_ref()
                .is_none_or(|name| row.shown.name().as_str() == name)
    });
    rows.sort_by_key(|row| row.id);
    rows.truncate(page.limit as usize + 1);
    let Page { items, next } = Page::cut(rows, page.limit, |row| row.id.to_string());
    let view = |row: &SensorRow| SensorView::new(state.record.id, row, state.presence.silent);
    Listed {
        items: items.iter().map(view).collect(),
        next,
    }
}
