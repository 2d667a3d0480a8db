//! `budget reset`.

use holdfast_hub_client::PointRef;
use holdfast_wire::{BudgetResetCreate, BudgetResetView};

use super::{Session, resolve};
use crate::{
    CliError, Exit,
    args::{BudgetCommand, BudgetResetArgs, PointPath},
    output::harmless,
};

pub(super) async fn budget(
    session: Session<'_, '_>,
    command: BudgetCommand,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let BudgetCommand::Reset(BudgetResetArgs {
        point: PointPath {
            device,
            sensor,
            point,
        },
        reason,
        wait,
    }) = command;
    let point = PointRef {
        device: resolve::device(&hub, &device).await?.id,
        sensor,
        point,
    };
    let view = hub
        .reset_budget(&point, &BudgetResetCreate { reason }, wait)
        .await?;
    if out.is_document() {
        out.document(&view)?;
    } else {
        out.line(&harmless(&told(&view)))?;
    }
    Ok(if view.is_confirmed || wait.is_zero() {
        Exit::Good
    } else {
        Exit::TimedOut
    })
}

fn told(view: &BudgetResetView) -> String {
    if view.is_confirmed {
        return "reset: the agent counts the writes to it anew".to_owned();
    }
    let agent = if view.stale {
        "the agent is silent: it does so when it is back"
    } else {
        "the agent has not confirmed it yet"
    };
    format!("recorded; {agent}")
}
