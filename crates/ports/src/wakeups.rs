//! Wake-ups between processes of the hub: they carry no data, only what to look at again.

use holdfast_domain::DeviceId;
use tokio::sync::broadcast;

/// What to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// What a device should do was changed, or it is gone.
    Desired(DeviceId),
    /// A token or key was revoked.
    Tokens,
    /// Wake-ups may have been lost (a connection was cut): everything.
    Everything,
}

/// Wake-ups.
///
/// # Contract
/// - Each commit that calls for one reaches every subscriber of every process of the hub, after it is visible.
/// - Where some may have been lost, [`Wake::Everything`] comes instead. A subscriber that lags
///   ([`broadcast::error::RecvError::Lagged`]) takes that for the same.
pub trait Wakeups: Send + Sync {
    /// Wake-ups from now on.
    fn subscribe(&self) -> broadcast::Receiver<Wake>;

    /// Do wake-ups of other processes arrive now? While they don't, nothing may be answered from a cache.
    fn is_connected(&self) -> bool;
}
