//! The whole target of a device: read, replace, plan, history, rollback.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use holdfast_domain::{DeviceId, Fields, Path, Problems, edit::Edit};
use holdfast_hub::edits::{Action, Planned};
use holdfast_wire::{
    EditAnswer, HistoryEntry, Listed, PlanAction, PlanView, PlannedSensor, Request, Rollback,
    TargetStateView, target::schemas::TargetInput,
};
use serde_json::Value;

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{DevicePath, IfMatch, IfNoneMatch, JsonDocument, Query, SmallDocument},
    problem::{ApiProblem, ApiResult},
    sensors::{answer, etag},
};

/// Get the target
///
/// Its entity tag names the version: give it as `If-Match` to change exactly this document.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/target-state", tag = "target", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("If-None-Match" = Option<String>, Header, description = "The version that the caller has: `\"v43\"`"),
    ),
    responses(
        (status = 200, description = "The target", body = TargetStateView, headers(("ETag" = String))),
        (status = 304, description = "The caller has this version; whether it is deployed is not looked at"),
    )
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    held: IfNoneMatch,
) -> ApiResult<Response> {
    query.finish()?;
    let target = TargetStateView::new(&*app.hub.state(device).await?);
    let tag = target.etag();
    let same = held.tag() == Some(&tag);
    let tag = [(
        header::ETAG,
        HeaderValue::try_from(tag).expect("a letter, digits and quotes"),
    )];
    Ok(if same {
        (StatusCode::NOT_MODIFIED, tag).into_response()
    } else {
        (tag, Json(target)).into_response()
    })
}

/// Replace the target
///
/// The document's list of sensors becomes the target's. Items without an id are those of the same name; a new name is a
/// new sensor; what is not in the list goes. What else a target shows may stand in the body and has no effect.
#[utoipa::path(
    put, path = "/api/v1/devices/{uuid}/target-state", tag = "target", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("reason" = Option<String>, Query, description = "Why, for the history and the events"),
        ("If-Match" = Option<String>, Header, description = "The version that the document was made from: `\"v43\"`"),
    ),
    request_body = TargetInput,
    responses((status = 200, description = "Replaced, or the same already", body = EditAnswer,
        headers(("ETag" = String))))
)]
pub(crate) async fn put(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    IfMatch(version): IfMatch,
    JsonDocument(body): JsonDocument,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<EditAnswer>)> {
    let reason = query.reason();
    query.finish()?;
    let edit = Edit::ReplaceAll(list_of(body)?);
    let edited = app
        .hub
        .edit(device, &edit, caller.edit(reason.as_deref(), version))
        .await?;
    Ok((etag(&edited), answer(&app, device, edited).await))
}

/// See what a new target would change
///
/// Nothing is done.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/target-state/plan", tag = "target", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    request_body = TargetInput,
    responses((status = 200, description = "What would change", body = PlanView))
)]
pub(crate) async fn plan(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    JsonDocument(body): JsonDocument,
) -> ApiResult<Json<PlanView>> {
    query.finish()?;
    let Planned {
        version,
        sensors,
        doubts,
    } = app.hub.plan(device, list_of(body)?).await?;
    let sensors: Vec<PlannedSensor> = sensors
        .into_iter()
        .map(|sensor| PlannedSensor {
            id: sensor.id,
            name: sensor.name,
            action: match sensor.action {
                Action::Add => PlanAction::Add,
                Action::Update => PlanAction::Update,
                Action::Remove => PlanAction::Remove,
                Action::Keep => PlanAction::Unchanged,
            },
            paths: sensor.paths,
        })
        .collect();
    let changes = sensors
        .iter()
        .any(|sensor| sensor.action != PlanAction::Unchanged);
    Ok(Json(PlanView {
        base_version: version,
        changes,
        sensors,
        doubts,
    }))
}

/// The list of sensors in a target document. Fields that a target shows are passed over; others are refused.
fn list_of(document: Value) -> ApiResult<Value> {
    const CONFIG: &str = "{\"protocolAdapterDevices\": [ … ]}";
    const SHOWN: [&str; 9] = [
        "schemaVersion",
        "version",
        "needsDeployment",
        "lastDeployedAt",
        "lastDeployedVersion",
        "createdAt",
        "createdBy",
        "updatedAt",
        "updatedBy",
    ];
    let mut problems = Problems::default();
    let list = Fields::open(document, &Path::ROOT, &mut problems).and_then(|mut fields| {
        for shown in SHOWN {
            fields.take(shown);
        }
        let read = |config: Value, path: &Path<'_>, problems: &mut Problems| {
            let mut fields = Fields::open(config, path, problems)?;
            let list = fields.required(
                "protocolAdapterDevices",
                |list, _, _| Some(list),
                "the list of sensors",
            );
            fields.rest();
            list
        };
        let list = fields.required("config", read, CONFIG);
        fields.rest();
        list
    });
    problems.refuse_unknown();
    problems
        .check(list)
        .map_err(|problems| ApiProblem::invalid(&problems))
}

/// List the target's versions
///
/// The newest first.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/target-state/history", tag = "target", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of versions", body = Listed<HistoryEntry>))
)]
pub(crate) async fn history(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<HistoryEntry>>> {
    let page = query.page();
    query.finish()?;
    app.hub.state(device).await?;
    let history = app.hub.parts().devices.history(device, &page).await?;
    let items = history
        .items
        .into_iter()
        .map(|entry| HistoryEntry {
            version: entry.version,
            at: entry.at,
            author: entry.author,
            reason: entry.reason,
            sensors: entry.sensors,
        })
        .collect();
    Ok(Json(Listed {
        items,
        next: history.next,
    }))
}

/// Go back to an earlier version
///
/// Its sensors become the target again, as a new version. No output is moved by that.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/target-state/rollback", tag = "target", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("reason" = Option<String>, Query, description = "Why, if the body does not say"),
        ("If-Match" = Option<String>, Header, description = "The version that it must be now: `\"v43\"`"),
    ),
    request_body = Rollback,
    responses((status = 200, description = "Done, or the same already", body = EditAnswer, headers(("ETag" = String))))
)]
pub(crate) async fn rollback(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    IfMatch(if_version): IfMatch,
    JsonDocument(body): SmallDocument,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<EditAnswer>)> {
    let stated = query.reason();
    query.finish()?;
    let Rollback { version, reason } =
        Rollback::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let reason = reason.or(stated);
    app.hub.state(device).await?;
    let edited = app
        .hub
        .rollback(device, version, caller.edit(reason.as_deref(), if_version))
        .await?;
    Ok((etag(&edited), answer(&app, device, edited).await))
}
