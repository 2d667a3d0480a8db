//! `reconcile`: asks an agent to look at everything again.

use holdfast_wire::ReconcileResult;

use super::{Session, get::show_drift, resolve};
use crate::{CliError, Exit, args::LookArgs};

pub(super) async fn reconcile(session: Session<'_, '_>, args: LookArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let hub = hub.because(args.reason.as_deref());
    let device = resolve::device(&hub, &args.device).await?;
    let answer = hub.reconcile(device.id, args.wait).await?;
    let exit = match answer.result {
        ReconcileResult::Reconciled => Exit::Good,
        ReconcileResult::Drifting => Exit::NotAsWanted,
        ReconcileResult::Asked | ReconcileResult::Silent => Exit::TimedOut,
    };
    if out.is_document() {
        out.document(&answer)?;
        return Ok(exit);
    }
    let name = &device.name;
    out.line(&match answer.result {
        ReconcileResult::Reconciled => {
            format!("{name} looked at everything again, and runs what is wanted.")
        }
        ReconcileResult::Drifting => {
            format!("{name} looked at everything again, and something differs:")
        }
        ReconcileResult::Asked => {
            format!(
                "{name} was asked, and has not answered within {} s. As last known:",
                args.wait.as_secs()
            )
        }
        ReconcileResult::Silent => {
            format!("The agent of {name} is silent; it looks again once it is back. As last known:")
        }
    })?;
    if answer.result != ReconcileResult::Reconciled {
        show_drift(out, &answer.drift)?;
    }
    Ok(exit)
}
