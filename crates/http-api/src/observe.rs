//! What is true: the current state, last values, drift, and asking an agent to look again.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State};
use holdfast_domain::{
    DeviceId, Name, PointId, Protocol, SensorId,
    drift::{SensorDrift, of_device},
    row::DeploymentStatus,
    shown::{self, Shown},
    state::DeviceState,
};
use holdfast_ports::{page::Page as Wanted, store::SensorFilter};
use holdfast_wire::{
    CurrentStateView, DeviceDrift, FleetDrift, Listed, PointView, ReconcileAnswer, ReconcileResult,
    SensorView, Why,
};
use serde_json::Value;

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{DevicePath, GivenWhy, Query, Wait},
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

/// List last values
///
/// By point id. Of a point that has a setpoint, also what is wanted and whether it is held.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/points", tag = "current", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of values", body = Listed<PointView>))
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

/// A page of a device's last values, with the names that people know.
pub(crate) async fn points_of(
    app: &App,
    state: &DeviceState,
    page: &Wanted,
) -> ApiResult<Listed<PointView>> {
    let records = app
        .hub
        .parts()
        .devices
        .points(state.record.id, page)
        .await?;
    let mut known: BTreeMap<SensorId, BTreeMap<PointId, (Name, Option<String>)>> = BTreeMap::new();
    let set: BTreeMap<PointId, Shown> = shown::of_device(state, app.hub.now())
        .into_iter()
        .map(|shown| (shown.wish.setpoint.point_id, shown))
        .collect();
    let view = |record: holdfast_ports::store::PointRecord| {
        let row = state.rows.get(&record.sensor);
        let points = known.entry(record.sensor).or_insert_with(|| {
            row.map(|row| point_names(&row.shown.content().data_points_json()))
                .unwrap_or_default()
        });
        let (name, unit) = points.get(&record.point).cloned().unzip();
        let set = set.get(&record.point);
        let said = set.and_then(|set| set.said.as_ref());
        PointView {
            sensor: record.sensor,
            point: record.point,
            sensor_name: row.map(|row| row.shown.name().clone()),
            name,
            unit: unit.flatten(),
            value: record.value,
            quality: record.quality,
            at: record.at,
            reason: record.reason,
            desired: set.map(|set| set.wish.setpoint.value.clone()),
            conformity: set.map(|set| set.conformity),
            hold: set.map(|set| set.hold),
            since: said
                .filter(|_| set.is_some_and(Shown::is_spoken_of))
                .map(|said| said.since),
            writes: said.map(|said| said.writes),
            budget_left: said.map(|said| said.budget_left),
        }
    };
    Ok(Listed {
        items: records.items.into_iter().map(view).collect(),
        next: records.next,
    })
}

/// Name and unit of every point of a list.
fn point_names(points: &Value) -> BTreeMap<PointId, (Name, Option<String>)> {
    let text = |point: &Value, key: &str| point.get(key).and_then(Value::as_str).map(str::to_owned);
    let entry = |point: &Value| {
        let id = text(point, "id")?.parse().ok()?;
        let name = Name::new(&text(point, "name")?).ok()?;
        Some((id, (name, text(point, "unit"))))
    };
    points
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(entry)
        .collect()
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
