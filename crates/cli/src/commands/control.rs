//! `reconcile status|start|stop|pause|resume`: what was asked of value loops, and what agents have confirmed, apart.

use std::time::Duration;

use holdfast_domain::{DeviceId, Name, document::hold::Scope};
use holdfast_hub_client::Operator;
use holdfast_wire::{Device, FleetReconciliation, LoopCounts, PauseCreate, StartMove, Stop};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Session, get::whole, reconcile, resolve};
use crate::{
    CliError, Exit,
    args::{PartPath, PauseArgs, ReconcileCommand, StartArgs, StopArgs, Whose},
    output::harmless,
    render::control,
};

/// How often the fleet is looked at while agents are waited for: it asks after every device.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn control(
    session: Session<'_, '_>,
    command: ReconcileCommand,
) -> Result<Exit, CliError> {
    match command {
        ReconcileCommand::Look(args) => reconcile::reconcile(session, args).await,
        ReconcileCommand::Status { whose } => status(session, whose).await,
        ReconcileCommand::Start(args) => start(session, args).await,
        ReconcileCommand::Stop(args) => stop(session, args).await,
        ReconcileCommand::Pause(args) => pause(session, args).await,
        ReconcileCommand::Resume { part, reason } => resume(session, part, reason).await,
    }
}

/// The device that is meant; `None`: the fleet. A device that is called like the command is not passed over silently.
async fn meant(
    hub: &Operator,
    whose: &Whose,
    word: &'static str,
) -> Result<Option<Device>, CliError> {
    if let Some(device) = &whose.device {
        return resolve::device(hub, device).await.map(Some);
    }
    if whose.fleet {
        return Ok(None);
    }
    let name = Name::new(word).expect("a command's word is a name");
    match hub.device_named(&name).await? {
        Some(_) => Err(CliError::AlsoADevice { word }),
        None => Ok(None),
    }
}

async fn status(session: Session<'_, '_>, whose: Whose) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    match meant(&hub, &whose, "status").await? {
        Some(device) => {
            let view = hub.reconciliation(device.id).await?;
            if out.is_document() {
                out.document(&view)?;
                return Ok(Exit::Good);
            }
            let setpoints = hub.setpoints(device.id).await?;
            let names = part_names(&hub, device.id).await?;
            let text = control::device(&device.name, &view, &setpoints, &names, out.now());
            out.line(&harmless_lines(&text))?;
        }
        None => {
            let fleet = hub.fleet_reconciliation().await?;
            if out.is_document() {
                out.document(&fleet)?;
            } else {
                out.line(&control::fleet(&fleet))?;
            }
        }
    }
    Ok(Exit::Good)
}

async fn start(session: Session<'_, '_>, args: StartArgs) -> Result<Exit, CliError> {
    let StartArgs {
        whose,
        dry_run,
        wait,
        reason,
    } = args;
    let hub = session.hub.because(reason.as_deref());
    let device = meant(&hub, &whose, "start").await?;
    let session = Session { hub, ..session };
    if dry_run {
        return forecast(session, device).await;
    }
    let Session { hub, out } = session;
    match device {
        Some(device) => {
            let view = hub.start(device.id, wait).await?;
            settled(out, &view, view.is_as_requested(), wait, || {
                control::acted(&device.name, &view, wait)
            })
        }
        None => {
            let fleet = hub.start_fleet().await?;
            of_fleet(&hub, out, fleet, wait).await
        }
    }
}

async fn stop(session: Session<'_, '_>, args: StopArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let StopArgs {
        whose,
        reason,
        lasting,
        wait,
    } = args;
    let stop = Stop {
        reason,
        for_ms: lasting.map(ms),
    };
    match meant(&hub, &whose, "stop").await? {
        Some(device) => {
            let view = hub.stop(device.id, &stop, wait).await?;
            settled(out, &view, view.is_as_requested(), wait, || {
                control::acted(&device.name, &view, wait)
            })
        }
        None => {
            let fleet = hub.stop_fleet(&stop).await?;
            of_fleet(&hub, out, fleet, wait).await
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Shows how it ended: recorded in any case, and confirmed in time or not.
fn settled(
    out: &mut crate::output::Out<'_>,
    document: &impl Serialize,
    is_confirmed: bool,
    wait: Duration,
    told: impl FnOnce() -> String,
) -> Result<Exit, CliError> {
    if out.is_document() {
        out.document(document)?;
    } else {
        out.line(&harmless_lines(&told()))?;
    }
    Ok(if is_confirmed || wait.is_zero() {
        Exit::Good
    } else {
        Exit::TimedOut
    })
}

/// Waits for the fleet's agents, and says how many have confirmed.
async fn of_fleet(
    hub: &Operator,
    out: &mut crate::output::Out<'_>,
    mut fleet: FleetReconciliation,
    wait: Duration,
) -> Result<Exit, CliError> {
    let until = Instant::now() + wait;
    while !is_done(&fleet) && Instant::now() < until {
        sleep(LOOK_EVERY.min(until.duration_since(Instant::now()))).await;
        fleet = FleetReconciliation {
            failed: fleet.failed,
            ..hub.fleet_reconciliation().await?
        };
    }
    if fleet.failed > 0 && !out.is_document() {
        out.line(&control::fleet(&fleet))?;
        return Ok(Exit::NotAsWanted);
    }
    settled(out, &fleet, is_done(&fleet), wait, || {
        control::fleet(&fleet)
    })
}

/// Does every loop run as was asked?
fn is_done(fleet: &FleetReconciliation) -> bool {
    let idle = fleet.idle;
    LoopCounts {
        active: fleet.as_requested.active + idle,
        ..fleet.as_requested
    } == fleet.requested
}

/// What a start would move.
async fn forecast(session: Session<'_, '_>, device: Option<Device>) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let is_fleet = device.is_none();
    let (devices, stopped): (Vec<(DeviceId, Name)>, usize) = match device {
        Some(device) => {
            let active = hub.reconciliation(device.id).await?.active;
            (vec![(device.id, device.name)], usize::from(!active))
        }
        None => {
            let plans = hub.start_plans().await?;
            let stopped = plans.len();
            let is_some = |plan: &holdfast_wire::StartPlan| {
                plan.write + plan.adopt + plan.nothing + plan.held + plan.unknown > 0
            };
            let devices = plans.into_iter().filter(is_some);
            (
                devices.map(|plan| (plan.device, plan.name)).collect(),
                stopped,
            )
        }
    };
    let mut moves: Vec<(Name, StartMove)> = Vec::new();
    for (id, name) in devices {
        let mut of_one = hub.start_moves(id).await?;
        of_one
            .sort_by(|left, right| (&left.sensor, &left.point).cmp(&(&right.sensor, &right.point)));
        moves.extend(of_one.into_iter().map(|one| (name.clone(), one)));
    }
    if out.is_document() {
        return whole(out, moves.into_iter().map(|(_, one)| one).collect());
    }
    if stopped == 0 {
        out.line("Nothing is stopped: a start changes nothing.")?;
        return Ok(Exit::Good);
    }
    let table = control::forecast(&moves, is_fleet);
    out.table(table, "Nothing is set there: a start moves nothing.")?;
    out.line(&control::summed_up(&moves))?;
    Ok(Exit::Good)
}

/// Sensors and points of a device's target, by what a pause can be on.
async fn part_names(hub: &Operator, device: DeviceId) -> Result<Vec<(Scope, String)>, CliError> {
    let target = hub.target(device).await?.target;
    let mut names = Vec::new();
    for item in &target.config.protocol_adapter_devices {
        let sensor = item.sensor.name();
        names.push((Scope::Sensor(item.sensor.id()), sensor.to_string()));
        for (id, point) in item.sensor.content().binding.point_names() {
            names.push((Scope::Point(id), format!("{sensor}/{point}")));
        }
    }
    Ok(names)
}

/// What the path names, and its name.
async fn part(
    hub: &Operator,
    device: &Device,
    path: &PartPath,
) -> Result<(Scope, String), CliError> {
    let sensors = hub
        .target(device.id)
        .await?
        .target
        .config
        .protocol_adapter_devices;
    let found = sensors.iter().find(|item| {
        item.sensor.name().as_str() == path.sensor || item.sensor.id().to_string() == path.sensor
    });
    let item = found.ok_or_else(|| CliError::NoSuchSensor {
        device: device.name.to_string(),
        found: path.sensor.clone(),
        sensors: sensors
            .iter()
            .map(|item| item.sensor.name().to_string())
            .collect(),
    })?;
    let sensor = item.sensor.name();
    let Some(wanted) = &path.point else {
        let name = format!("{sensor} of {}", device.name);
        return Ok((Scope::Sensor(item.sensor.id()), name));
    };
    let points = item.sensor.content().binding.point_names();
    let is_meant = |(id, name): &&(_, &Name)| name.as_str() == wanted || named(id, wanted);
    match points.iter().find(is_meant) {
        Some((id, point)) => Ok((
            Scope::Point(*id),
            format!("{sensor}/{point} of {}", device.name),
        )),
        None => Err(CliError::NoSuchPoint {
            sensor: sensor.to_string(),
            found: wanted.clone(),
            points: points.iter().map(|(_, name)| name.to_string()).collect(),
        }),
    }
}

fn named(id: &holdfast_domain::PointId, text: &str) -> bool {
    id.to_string() == text
}

async fn pause(session: Session<'_, '_>, args: PauseArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let PauseArgs {
        part: path,
        reason,
        lasting,
    } = args;
    let device = resolve::device(&hub, &path.device).await?;
    let (scope, name) = part(&hub, &device, &path).await?;
    let (sensor_id, point_id) = match scope {
        Scope::Sensor(sensor) => (Some(sensor), None),
        Scope::Point(point) => (None, Some(point)),
        Scope::Device => (None, None),
    };
    let pause = PauseCreate {
        sensor_id,
        point_id,
        reason,
        for_ms: lasting.map(ms),
    };
    let made = hub.pause(device.id, &pause).await?;
    if out.is_document() {
        out.document(&made)?;
    } else {
        let until = control::until(&made, out.now());
        let told =
            format!("{name} is paused{until}: nothing is written there; it is still looked at");
        out.line(&harmless(&told))?;
    }
    Ok(Exit::Good)
}

async fn resume(
    session: Session<'_, '_>,
    path: PartPath,
    reason: Option<String>,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let hub = hub.because(reason.as_deref());
    let device = resolve::device(&hub, &path.device).await?;
    let (scope, name) = part(&hub, &device, &path).await?;
    let pauses = hub.reconciliation(device.id).await?.pauses;
    let Some(pause) = pauses.iter().find(|one| one.scope == scope) else {
        let is_stopped = pauses.iter().any(|one| one.scope == Scope::Device);
        return Err(CliError::NotPaused {
            part: name,
            hint: if is_stopped {
                "; the whole device is stopped: `holdfast reconcile start --device DEVICE` starts it"
            } else if pauses.is_empty() {
                ""
            } else {
                "; `holdfast reconcile status --device DEVICE` shows what is paused"
            },
        });
    };
    hub.lift(device.id, pause.id).await?;
    out.progress(&harmless(&format!("{name} is held again")))?;
    Ok(Exit::Good)
}

/// Lines of text, each made harmless.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}
