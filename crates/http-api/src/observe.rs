//! What is true: the current state, last values, drift, and asking an agent to look again.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State};
use holdfast_domain::{
    DeviceId, Name, PointId, Protocol, Sensor, SensorId,
    drift::{SensorDrift, of_device},
    row::DeploymentStatus,
    shown::{self, Shown},
    state::DeviceState,
};
use holdfast_ports::{
    page::Page as Wanted,
    store::{PointRecord, SensorFilter},
};
use holdfast_wire::{
    CurrentStateView, DeviceDrift, FleetDrift, Listed, PointQuality, PointView, ReconcileAnswer,
    ReconcileResult, SensorView, Why,
};

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{DevicePath, GivenWhy, Query, Wait},
    paged,
    problem::{ApiProblem, ApiResult},
    rows,
};

/// Get what the agent says is true
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/current-state", tag = "current", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses(
        (status = 200, description = "What was reported, merged", body = CurrentStateView),
        (status = 404, description = "No such device, or it has not reported yet"),
    )
)]
pub(crate) async fn current(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
) -> ApiResult<Json<CurrentStateView>> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let current = CurrentStateView::new(&state);
    current
        .map(Json)
        .ok_or_else(|| ApiProblem::not_found(format!("device {device} has not reported yet")))
}

/// List points
///
/// By point id: every point that is wanted or runs, with its last value; `unread` are those of which the agent has sent none
/// yet. Of a point that has a setpoint, also what is wanted and whether it is held; of one that was ever written to, what is left
/// of its write budget.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/points", tag = "current", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of points", body = Listed<PointView>))
)]
pub(crate) async fn points(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<PointView>>> {
    let page = query.page();
    query.finish()?;
    let state = app.hub.state(device).await?;
    Ok(Json(points_of(&app, &state, &page).await?))
}

/// A page of a device's points, with the names that people know.
pub(crate) async fn points_of(
    app: &App,
    state: &DeviceState,
    page: &Wanted,
) -> ApiResult<Listed<PointView>> {
    let after: Option<PointId> = paged::after(page)?;
    let records = app.hub.parts().devices.points(state.record.id, page);
    let records = records.await?;
    let labels = labels(state);
    // Of the first so many of all, those that have a record are among the first so many records.
    let mut items: BTreeMap<PointId, Option<PointRecord>> = labels
        .keys()
        .filter(|point| after.is_none_or(|after| **point > after))
        .map(|point| (*point, None))
        .collect();
    let records_of = |record: PointRecord| (record.point, Some(record));
    items.extend(records.items.into_iter().map(records_of));
    let set: BTreeMap<PointId, Shown> = shown::of_device(state, app.hub.now())
        .into_iter()
        .map(|shown| (shown.wish.setpoint.point_id, shown))
        .collect();
    let most = page.limit as usize;
    let is_more = items.len() > most || records.next.is_some();
    let shown = items.into_iter().take(most);
    let items: Vec<PointView> = shown
        .filter_map(|(point, record)| {
            point_view(state, point, record, labels.get(&point), set.get(&point))
        })
        .collect();
    let next = items.last().filter(|_| is_more);
    let next = next.map(|item| item.point.to_string());
    Ok(Listed { items, next })
}

/// What people know a point by.
struct Label<'a> {
    sensor: SensorId,
    sensor_name: &'a Name,
    name: &'a Name,
    unit: Option<&'a str>,
}

/// Every point that is wanted or runs; where both, as it runs.
fn labels(state: &DeviceState) -> BTreeMap<PointId, Label<'_>> {
    let wanted = state.target.items.iter().map(|item| &*item.sensor);
    let running = state.rows.values().map(|row| &*row.shown);
    wanted.chain(running).flat_map(labels_of).collect()
}

fn labels_of(sensor: &Sensor) -> impl Iterator<Item = (PointId, Label<'_>)> {
    let labels = sensor.content().binding.point_labels();
    labels.into_iter().map(|(point, name, unit)| {
        let label = Label {
            sensor: sensor.id(),
            sensor_name: sensor.name(),
            name,
            unit,
        };
        (point, label)
    })
}

/// A point; `None`: there is nothing to say of it.
fn point_view(
    state: &DeviceState,
    point: PointId,
    record: Option<PointRecord>,
    label: Option<&Label<'_>>,
    set: Option<&Shown>,
) -> Option<PointView> {
    let said = set.and_then(|set| set.said.as_ref());
    let reported = state.reported.as_ref();
    let account = reported.and_then(|reported| reported.values.account(point));
    let (value, at, reason, quality, of) = match record {
        Some(record) => (
            record.value,
            Some(record.at),
            record.reason,
            record.quality.into(),
            Some(record.sensor),
        ),
        None => (None, None, None, PointQuality::Unread, None),
    };
    let sensor = of.or_else(|| label.map(|label| label.sensor))?;
    let sensor_name = label.map(|label| label.sensor_name.clone());
    Some(PointView {
        sensor,
        point,
        sensor_name: sensor_name.or_else(|| Some(state.rows.get(&sensor)?.shown.name().clone())),
        name: label.map(|label| label.name.clone()),
        unit: label.and_then(|label| label.unit.map(str::to_owned)),
        value,
        quality,
        at,
        reason,
        desired: set.map(|set| set.wish.setpoint.value.clone()),
        conformity: set.map(|set| set.conformity),
        hold: set.map(|set| set.hold),
        since: said
            .filter(|_| set.is_some_and(Shown::is_spoken_of))
            .map(|said| said.since),
        writes: account.map(|account| account.writes),
        budget_left: account.map(|account| account.budget_left),
    })
}

/// Get a device's drift
///
/// Every difference between what it should run and what it runs, with the fields that differ.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/drift", tag = "drift", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses((status = 200, description = "What differs", body = DeviceDrift))
)]
pub(crate) async fn drift(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
) -> ApiResult<Json<DeviceDrift>> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let sensors = of_device(&state);
    Ok(Json(drift_of(&state, sensors)))
}

fn drift_of(state: &DeviceState, sensors: Vec<SensorDrift>) -> DeviceDrift {
    DeviceDrift {
        device: state.record.id,
        name: state.record.name.clone(),
        target_version: state.target.version,
        current_version: state
            .reported
            .as_ref()
            .map(|reported| reported.worked_version),
        since: sensors.iter().map(|sensor| sensor.since).min(),
        stale: state.presence.silent,
        sensors,
    }
}

/// Ask a device to reconcile
///
/// Asks the agent, now, to look at everything again and report in full. With `Prefer: wait=10` the answer is held back
/// until it has, for at most so many seconds (up to 60); where a hundred wait already, the agent is asked and the answer
/// comes at once. No hardware is written by this.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/reconcile", tag = "drift", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("reason" = Option<String>, Query, description = "Why, for the events"),
        ("Prefer" = Option<String>, Header, description = "`wait=10`: wait so many seconds for the agent"),
    ),
    request_body = Option<Why>,
    responses((status = 200, description = "What drifts then, or that the agent is silent", body = ReconcileAnswer))
)]
pub(crate) async fn reconcile(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    Wait(wait): Wait,
    why: GivenWhy,
) -> ApiResult<Json<ReconcileAnswer>> {
    let reason = why.or_of(&mut query);
    query.finish()?;
    let wait = wait.min(Duration::from_secs(
        holdfast_wire::routes::MAX_WAIT_S.into(),
    ));
    let place = app.bounds.looks.take();
    let wait = if place.is_some() {
        wait
    } else {
        Duration::ZERO
    };
    let looking = app.hub.reconcile(
        device,
        wait,
        reason.as_deref(),
        caller.actor(),
        caller.correlation(),
    );
    let ending = &app.settings.ending;
    let looked = ending
        .run_until_cancelled(looking)
        .await
        .ok_or_else(|| ApiProblem::unavailable("this process of the hub ends: ask again"))??;
    let result = match (looked.answered, looked.silent, looked.drift.is_empty()) {
        (true, _, true) => ReconcileResult::Reconciled,
        (true, _, false) => ReconcileResult::Drifting,
        (false, true, _) => ReconcileResult::Silent,
        (false, false, _) => ReconcileResult::Asked,
    };
    let state = app.hub.state(device).await?;
    Ok(Json(ReconcileAnswer {
        result,
        drift: drift_of(&state, looked.drift),
    }))
}

/// List the fleet's drift
///
/// Every sensor that differs, by id. A device's own drift says where.
#[utoipa::path(
    get, path = "/api/v1/drift", tag = "drift", security(("bearer" = ["viewer"])),
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of sensors that differ", body = Listed<FleetDrift>))
)]
pub(crate) async fn fleet_drift(
    _: Viewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<FleetDrift>>> {
    let page = query.page();
    query.finish()?;
    let filter = SensorFilter {
        drifting_only: true,
        ..SensorFilter::default()
    };
    let rows = app.hub.parts().devices.sensors(&filter, &page).await?;
    let view = |record: holdfast_ports::store::SensorRecord| {
        let row = record.row;
        let (kind, since) = row.drift.zip(row.drifting_since)?;
        Some(FleetDrift {
            device: record.device,
            id: row.id,
            name: row.shown.name().clone(),
            kind,
            since,
            deployment_status: row.status,
            error: row.error,
            attempts: row.attempts,
            stale: record.stale,
        })
    };
    Ok(Json(Listed {
        items: rows.items.into_iter().filter_map(view).collect(),
        next: rows.next,
    }))
}

/// List the fleet's sensors
///
/// What really runs; with `view=all` also what does not. By id.
#[utoipa::path(
    get, path = "/api/v1/sensors", tag = "sensors", security(("bearer" = ["viewer"])),
    params(
        ("view" = Option<String>, Query, description = "`running` (unless stated) or `all`"),
        ("protocol" = Option<Protocol>, Query, description = "Only sensors of this protocol"),
        ("enabled" = Option<bool>, Query, description = "Only sensors that are enabled, or that are not"),
        ("deploymentStatus" = Option<DeploymentStatus>, Query, description = "Only sensors in this status"),
        ("name" = Option<String>, Query, description = "Only sensors of this name"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of sensors", body = Listed<SensorView>))
)]
pub(crate) async fn fleet_sensors(
    _: Viewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<SensorView>>> {
    let page = query.page();
    let filter = rows::fleet_filter(&mut query);
    query.finish()?;
    Ok(Json(rows::page_of(&app, &filter, &page).await?))
}
