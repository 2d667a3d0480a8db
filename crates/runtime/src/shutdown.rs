//! An orderly end: Ctrl-C and SIGTERM ask for it; a second one insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first Ctrl-C or SIGTERM. The second one ends the process at once.
///
/// # Errors
/// If the process can't listen to signals.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancel = CancellationToken::new();
    let asked = cancel.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.is_cancelled() {
                tracing::warn!("asked a second time: ending at once");
                std::process::exit(130);
            }
            tracing::info!("ending: finishing what is under way");
            asked.cancel();
        }
    });
    Ok(cancel)
}
