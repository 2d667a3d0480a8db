//! `set`, `release`, `get setpoints`.

use std::collections::BTreeMap;

use holdfast_domain::document::setpoint::{Conformity, Hold};
use holdfast_hub_client::{Operator, PointRef};
use holdfast_wire::{SetpointSet, SetpointView};

use super::{
    Session,
    get::{name_of, whole},
    resolve,
};
use crate::{
    CliError, Exit,
    args::{PointPath, ReleaseArgs, SetArgs},
    output::harmless,
    render::setpoints,
};

async fn point(hub: &Operator, path: PointPath) -> Result<PointRef, CliError> {
    let PointPath {
        device,
        sensor,
        point,
    } = path;
    Ok(PointRef {
        device: resolve::device(hub, &device).await?.id,
        sensor,
        point,
    })
}

pub(super) async fn set(session: Session<'_, '_>, args: SetArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let SetArgs {
        point: path,
        value,
        tolerance,
        policy,
        valid_for,
        wait,
        reason,
    } = args;
    let point = point(&hub, path).await?;
    let set = SetpointSet {
        value,
        tolerance,
        policy: policy.into(),
        reason,
        only_if_value: None,
        valid_for_ms: valid_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let view = hub.set_setpoint(&point, &set, wait).await?;
    let exit = match settled(&view) {
        Exit::TimedOut if wait.is_zero() => Exit::Good,
        other => other,
    };
    if out.is_document() {
        out.document(&view)?;
    } else {
        out.line(&harmless(&setpoints::told(&view, wait)))?;
    }
    Ok(exit)
}

/// How a command that asked for this ends.
fn settled(view: &SetpointView) -> Exit {
    match (view.hold, view.conformity) {
        _ if view.is_verified() => Exit::Good,
        (Hold::Pending | Hold::Writing, _) | (Hold::Active, Conformity::Unknown) => Exit::TimedOut,
        _ => Exit::NotAsWanted,
    }
}

pub(super) async fn release(session: Session<'_, '_>, args: ReleaseArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let hub = hub.because(args.reason.as_deref());
    let point = point(&hub, args.point).await?;
    hub.release_setpoint(&point).await?;
    out.progress("released: nothing acts on it any more; the output keeps what it has")?;
    Ok(Exit::Good)
}

pub(super) async fn list(session: Session<'_, '_>, device: Option<&str>) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let devices = match device {
        Some(device) => vec![resolve::device(&hub, device).await?],
        None => hub.devices(&BTreeMap::new(), None).await?,
    };
    let mut all = Vec::new();
    for device in &devices {
        let mut of_one = hub.setpoints(device.id).await?;
        of_one
            .sort_by(|left, right| (&left.sensor, &left.point).cmp(&(&right.sensor, &right.point)));
        all.append(&mut of_one);
    }
    if out.is_document() {
        return whole(out, all);
    }
    let names = devices
        .into_iter()
        .map(|device| (device.id, device.name.to_string()))
        .collect();
    let of = |setpoint: &SetpointView| device.is_none().then(|| name_of(&names, setpoint.device));
    let table = setpoints::list(&all, of, out.now());
    out.table(
        table,
        "No setpoints. `holdfast set DEVICE/SENSOR/POINT VALUE` sets one.",
    )?;
    Ok(Exit::Good)
}
