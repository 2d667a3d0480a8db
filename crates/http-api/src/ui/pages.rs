//! What each page shows.

use std::collections::{BTreeMap, btree_map::Entry};

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use holdfast_domain::{DeviceId, PointId, SensorId, state::DeviceState};
use holdfast_hub::HubError;
use holdfast_ports::{
    events::EventFilter,
    fleet::{Figures, OVERDUE_AFTER},
    page::Page,
    store::SensorFilter,
    tokens::Role,
};
use holdfast_wire::{Device, Listed, ReconciliationView, SensorView};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    App,
    auth::Viewer,
    devices, events as log,
    extract::{DevicePath, Query},
    observe,
    problem::{ApiProblem, ApiResult},
    reconciliation::look_at_all,
    rows,
    ui::{
        Layout, PageError,
        event::EventLine,
        held::{FleetPanel, LoopPanel, SetpointLine, loop_chip, value_chips},
        page, rendered,
        view::{Chip, PointLine, SensorLine, Stamp, device_chip, sensor_chips},
    },
};

/// Rows of one page: what a browser shows without effort.
const ROWS: u32 = 200;

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    loops: FleetPanel,
    figures: Figures,
    oldest_drift: Option<Stamp>,
    totals: Vec<Chip>,
    devices: Vec<DeviceLine>,
    next: Option<String>,
    filter: Option<&'static str>,
}

impl FleetPage {
    /// On how many devices sensors differ from what is wanted, by kind.
    fn drifting(&self) -> String {
        let kinds: Vec<String> = self
            .figures
            .drifting
            .iter()
            .map(|(kind, count)| format!("{kind} on {count}"))
            .collect();
        if kinds.is_empty() {
            "none".to_owned()
        } else {
            kinds.join(", ")
        }
    }
}

struct DeviceLine {
    device: Device,
    status: Chip,
    sensors: Vec<Chip>,
    last_seen: Option<Stamp>,
    /// How its value loop runs, unless it just holds; and how its setpoints stand.
    values: Vec<Chip>,
}

pub(super) async fn fleet(
    viewer: ApiResult<Viewer>,
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    query: ApiResult<Query>,
) -> Result<Response, PageError> {
    let shown = async {
        let Viewer(caller) = viewer?;
        let mut query = query?;
        let page = Page {
            limit: ROWS,
            ..query.page()
        };
        let filter = devices::filter(&mut query);
        query.finish()?;
        let parts = app.hub.parts();
        let figures = parts
            .fleet
            .figures(parts.clock.now() - OVERDUE_AFTER)
            .await?;
        let Listed { items, next } = devices::page_of(&app, &filter, &page).await?;
        let look = look_at_all(&app, &caller);
        let loops = app.fleet_loops.recent(look).await?;
        let content = FleetPage {
            loops: FleetPanel::of(&loops, caller.may(Role::Admin)),
            oldest_drift: figures.oldest_drift.map(Stamp),
            totals: sensor_chips(
                figures
                    .sensors
                    .iter()
                    .map(|(status, count)| (*status, *count)),
            ),
            figures,
            devices: device_lines(&app, items).await?,
            next: next.map(|next| super::session::escaped(&next)),
            filter: filter.status.map(|status| status.as_str()),
        };
        let content = rendered(&content);
        let user = Some(caller.actor().as_str());
        Ok::<_, ApiProblem>(page_of(&headers, "Fleet", "fleet", user, &content))
    };
    shown
        .await
        .map_err(|problem| PageError::new(&problem, &uri))
}

fn page_of(
    headers: &HeaderMap,
    title: &str,
    section: &str,
    user: Option<&str>,
    content: &str,
) -> Response {
    page(
        headers,
        &Layout {
            title,
            section,
            user,
            content,
        },
    )
}

/// A line for each device, with what is known of its values.
async fn device_lines(app: &App, devices: Vec<Device>) -> ApiResult<Vec<DeviceLine>> {
    let mut lines = Vec::with_capacity(devices.len());
    for device in devices {
        let values = match app.hub.state(device.id).await {
            Ok(state) => loop_chips(&state, app.hub.now()),
            Err(HubError::DeviceGone(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        lines.push(device_line(device, values));
    }
    Ok(lines)
}

/// How a device's value loop runs where it does not just hold, and how its setpoints stand.
fn loop_chips(state: &DeviceState, now: Timestamp) -> Vec<Chip> {
    /// The fleet's page looks at so many setpoints of each device every two seconds; of more it says only how many.
    const LOOKED_AT: u32 = 500;
    let view = ReconciliationView::new(state);
    let values = if view.setpoints > LOOKED_AT {
        vec![Chip::new("quiet", "○", format!("{} set", view.setpoints))]
    } else {
        value_chips(state, now)
    };
    let is_plain = view.stops().next().is_none() && (view.is_as_requested() || values.is_empty());
    let mut chips = Vec::new();
    if !is_plain {
        chips.push(loop_chip(&view));
    }
    chips.extend(values);
    chips
}

fn device_line(device: Device, values: Vec<Chip>) -> DeviceLine {
    DeviceLine {
        values,
        status: device_chip(device.status),
        sensors: sensor_chips(
            device
                .sensors
                .iter()
                .map(|(status, count)| (*status, u64::from(*count))),
        ),
        last_seen: device.last_seen_at.map(Stamp),
        device,
    }
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    line: DeviceLine,
    agent_version: Option<String>,
    held_version: Option<u64>,
    values: LoopPanel,
    setpoints: Vec<SetpointLine>,
    /// All that there are.
    setpoint_count: usize,
    sensors: Vec<SensorLine>,
    next: Option<String>,
    points_cut: bool,
    with_device: bool,
    events: Vec<EventLine>,
}

impl DevicePage {
    /// Are there more setpoints than are shown?
    fn is_cut(&self) -> bool {
        self.setpoint_count > self.setpoints.len()
    }
}

pub(super) async fn device(
    viewer: ApiResult<Viewer>,
    State(app): State<App>,
    path: ApiResult<DevicePath>,
    uri: Uri,
    headers: HeaderMap,
    query: ApiResult<Query>,
) -> Result<Response, PageError> {
    let shown = async {
        let Viewer(caller) = viewer?;
        let DevicePath(id) = path?;
        let mut query = query?;
        let page = Page {
            limit: ROWS,
            ..query.page()
        };
        query.finish()?;
        let content = device_content(&app, id, &page, caller.may(Role::Operator)).await?;
        let title = content.line.device.name.as_str().to_owned();
        let content = rendered(&content);
        let user = Some(caller.actor().as_str());
        Ok::<_, ApiProblem>(page_of(&headers, &title, "device", user, &content))
    };
    shown
        .await
        .map_err(|problem| PageError::new(&problem, &uri))
}

async fn device_content(
    app: &App,
    id: DeviceId,
    page: &Page,
    may_act: bool,
) -> ApiResult<DevicePage> {
    /// Last events beside a device's sensors.
    const EVENTS: u32 = 15;
    let state = app.hub.state(id).await?;
    let filter = SensorFilter {
        device: Some(id),
        ..SensorFilter::default()
    };
    let Listed { mut items, next } = rows::page_of(app, &filter, page).await?;
    let values = observe::points_of(app, &state, &Page::first(Page::MOST)).await?;
    let points_cut = values.next.is_some();
    let mut points: BTreeMap<SensorId, Vec<(PointId, PointLine)>> = BTreeMap::new();
    for value in values.items {
        points
            .entry(value.sensor)
            .or_default()
            .push((value.point, PointLine::of(value)));
    }
    // A page that is the whole list is in the order that people look things up in.
    if page.after.is_none() && next.is_none() {
        items.sort_by(|left, right| left.name.cmp(&right.name));
    }
    let wanted = |sensor: &SensorView| state.target.item(sensor.id).map(|item| item.config_version);
    let filter = EventFilter {
        device: Some(id),
        kinds: Vec::new(),
    };
    let latest = log::latest(app, &filter, EVENTS).await?;
    let now = app.hub.now();
    let (setpoints, setpoint_count) = SetpointLine::all(&state, now, ROWS as usize);
    Ok(DevicePage {
        line: device_line(devices::of_state(&state), Vec::new()),
        values: LoopPanel::of(&state, now, may_act),
        setpoints,
        setpoint_count,
        agent_version: state
            .reported
            .as_ref()
            .and_then(|reported| reported.agent_version.clone()),
        held_version: state
            .reported
            .as_ref()
            .map(|reported| reported.held_version),
        sensors: items
            .into_iter()
            .map(|sensor| {
                let mut points = points.remove(&sensor.id).unwrap_or_default();
                points.sort_by_key(|(id, _)| position(&sensor.data_points, *id));
                let points = points.into_iter().map(|(_, line)| line).collect();
                SensorLine::of(wanted(&sensor), &sensor, points)
            })
            .collect(),
        next: next.map(|next| super::session::escaped(&next)),
        points_cut,
        with_device: false,
        events: latest
            .into_iter()
            .map(|event| EventLine::of(&event, None))
            .collect(),
    })
}

/// Where a point stands in its sensor's list; behind all others if it is not there any more.
fn position(points: &Value, id: PointId) -> usize {
    let id = id.to_string();
    let points = points.as_array().map(Vec::as_slice).unwrap_or_default();
    points
        .iter()
        .position(|point| point["id"] == id.as_str())
        .unwrap_or(usize::MAX)
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    with_device: bool,
    events: Vec<EventLine>,
}

pub(super) async fn events(
    viewer: ApiResult<Viewer>,
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    query: ApiResult<Query>,
) -> Result<Response, PageError> {
    let shown = async {
        let Viewer(caller) = viewer?;
        query?.finish()?;
        let mut names: BTreeMap<DeviceId, Option<String>> = BTreeMap::new();
        let mut lines = Vec::new();
        for event in log::latest(&app, &EventFilter::default(), ROWS).await? {
            if let Entry::Vacant(unknown) = names.entry(event.device) {
                let state = app.hub.state(event.device).await.ok();
                unknown.insert(state.map(|state| state.record.name.to_string()));
            }
            lines.push(EventLine::of(&event, names[&event.device].clone()));
        }
        let content = rendered(&EventsPage {
            with_device: true,
            events: lines,
        });
        let user = Some(caller.actor().as_str());
        Ok::<_, ApiProblem>(page_of(&headers, "Events", "events", user, &content))
    };
    shown
        .await
        .map_err(|problem| PageError::new(&problem, &uri))
}
