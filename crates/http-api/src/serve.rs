//! Serving: until it is asked to end, and then for a short while longer, so that what is being answered is answered.

use std::{io, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long answers under way may take after the end was asked for. Long polls and event streams do not end by themselves:
/// their clients come back and go on.
const GRACE: Duration = Duration::from_secs(2);

/// Serves `router` until `cancel` is, and up to two seconds more.
///
/// # Errors
/// If connections can't be accepted any more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    let over = async {
        cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    // Small answers go out at once. Where that can't be set they only come a little later.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let served =
        axum::serve(listener, router).with_graceful_shutdown(cancel.clone().cancelled_owned());
    tokio::select! {
        ended = served.into_future() => ended,
        () = over => Ok(()),
    }
}
