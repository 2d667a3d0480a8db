//! How busy the machine is.

use holdfast_domain::pace::Pressure;

/// Says how busy the machine is.
///
/// # Contract
/// Answers at once, from what the system keeps anyway; `None` where that is not known. It is asked every few seconds.
pub trait MachineLoad: Send + Sync {
    /// The share of the last seconds in which work waited for the processor.
    fn pressure(&self) -> Option<Pressure>;
}
