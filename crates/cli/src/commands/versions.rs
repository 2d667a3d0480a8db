//! `history` and `rollback`: the versions of a target.

use super::{Session, get, resolve};
use crate::{
    CliError, Exit,
    args::{HistoryArgs, RollbackArgs},
    render::access as lists,
};

pub(super) async fn history(session: Session<'_, '_>, args: HistoryArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let device = resolve::device(&hub, &args.device).await?;
    let entries = hub.history(device.id, args.limit as usize).await?;
    if out.is_document() {
        return get::whole(out, entries);
    }
    let table = lists::history(&entries, out.now());
    out.table(
        table,
        &format!(
            "{} has no versions: nothing was ever asked of it.",
            device.name
        ),
    )?;
    Ok(Exit::Good)
}

pub(super) async fn rollback(
    session: Session<'_, '_>,
    args: RollbackArgs,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let hub = hub.because(args.reason.as_deref());
    let device = resolve::device(&hub, &args.device).await?;
    let answer = hub.rollback(device.id, args.version).await?;
    if out.is_document() {
        out.document(&answer)?;
    } else if answer.changed {
        out.line(&format!(
            "{}: the sensors of version {} are wanted again, as version {}",
            device.name, args.version, answer.version
        ))?;
    } else {
        out.line(&format!(
            "{}: version {} has the same sensors already",
            device.name, answer.version
        ))?;
    }
    Ok(Exit::Good)
}
