//! `command`, `cancel`, `get commands`.

use std::collections::BTreeMap;

use holdfast_domain::document::command::CommandOutcome;
use holdfast_wire::{CommandSend, CommandView};

use super::{
    Session,
    get::{name_of, whole},
    resolve,
};
use crate::{
    CliError, Exit,
    args::{CancelArgs, CommandArgs, PointPath},
    output::harmless,
    render::commands,
};

pub(super) async fn command(session: Session<'_, '_>, args: CommandArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let CommandArgs {
        point: PointPath {
            device,
            sensor,
            point,
        },
        value,
        valid_for,
        only_if,
        wait,
        reason,
    } = args;
    let device = resolve::device(&hub, &device).await?.id;
    let send = CommandSend {
        sensor,
        point,
        value,
        valid_for_ms: valid_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        reason,
        only_if_value: only_if,
    };
    let view = hub.command(device, &send, wait).await?;
    if out.is_document() {
        out.document(&view)?;
    } else {
        out.line(&harmless(&commands::told(&view, wait)))?;
    }
    Ok(match view.outcome {
        Some(CommandOutcome::Verified) => Exit::Good,
        Some(_) => Exit::NotAsWanted,
        None if wait.is_zero() => Exit::Good,
        None => Exit::TimedOut,
    })
}

pub(super) async fn cancel(session: Session<'_, '_>, args: CancelArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let CancelArgs {
        device,
        command,
        wait,
        reason,
    } = args;
    let hub = hub.because(reason.as_deref());
    let device = resolve::device(&hub, &device).await?.id;
    let view = hub.cancel_command(device, command, wait).await?;
    if out.is_document() {
        out.document(&view)?;
    } else {
        let why = view.why.as_deref().unwrap_or("no reason was given");
        out.line(&harmless(&match view.outcome {
            Some(CommandOutcome::Cancelled) => "cancelled: it was not begun".to_owned(),
            Some(other) => format!("not written ({other}): {why}"),
            None => format!("recorded; not answered within {} s: {why}", wait.as_secs()),
        }))?;
    }
    Ok(match view.outcome {
        Some(_) => Exit::Good,
        None => Exit::TimedOut,
    })
}

pub(super) async fn list(session: Session<'_, '_>, device: Option<&str>) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let devices = match device {
        Some(device) => vec![resolve::device(&hub, device).await?],
        None => hub.devices(&BTreeMap::new(), None).await?,
    };
    let mut all: Vec<CommandView> = Vec::new();
    for device in &devices {
        all.append(&mut hub.commands(device.id).await?);
    }
    all.sort_by_key(|command| std::cmp::Reverse(command.set_at));
    if out.is_document() {
        return whole(out, all);
    }
    let names = devices
        .into_iter()
        .map(|device| (device.id, device.name.to_string()))
        .collect();
    let of = |command: &CommandView| device.is_none().then(|| name_of(&names, command.device));
    let table = commands::list(&all, of, out.now());
    let empty = "No commands. `holdfast command DEVICE/SENSOR/POINT VALUE` gives one.";
    out.table(table, empty)?;
    Ok(Exit::Good)
}
