//! Why the hub refused or could not do what it was asked.

use holdfast_domain::{DeviceId, Name, Problems, edit::EditError, state::DeviceState};
use holdfast_ports::{StoreError, store::CommitError};

use crate::edits::place_of;

/// Why a use case came to nothing. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// There is no such device (any more).
    #[error("there is no device {0}")]
    DeviceGone(DeviceId),
    /// Somebody speaks for a device that is not theirs.
    #[error("expected the token's own device, {own}, found {found}")]
    OtherDevice {
        /// The token's device.
        own: DeviceId,
        /// The one spoken of.
        found: DeviceId,
    },
    /// The input is not valid.
    #[error("{0}")]
    Invalid(Problems),
    /// The name belongs to another.
    #[error("{0}")]
    NameTaken(Problems),
    /// The document was changed since it was read.
    #[error("the target has version {found} by now: read it again and repeat the change on it")]
    PreconditionFailed {
        /// The version now.
        found: u64,
    },
    /// The setpoint was changed since it was read.
    #[error("the setpoint has {} by now: read it again and repeat the change on it", revision(*found))]
    SetpointChanged {
        /// Its revision now; `None`: nothing is set.
        found: Option<u64>,
    },
    /// The point does not show the value that was expected.
    #[error("{0}")]
    NotShown(Problems),
    /// The point can't be held.
    #[error("{0}")]
    NotHoldable(Problems),
    /// It is not allowed as things stand.
    #[error("{0}")]
    Refused(String),
    /// The provisioning key is not, or no longer, good.
    #[error("{0}")]
    KeyNotAccepted(String),
    /// So many others changed the device at the same time that this change did not get its turn.
    #[error("the device is being changed by too many at once: try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn revision(found: Option<u64>) -> String {
    match found {
        Some(revision) => format!("revision {revision}"),
        None => "been released".to_owned(),
    }
}

impl HubError {
    pub(crate) fn name_taken(name: &Name) -> Self {
        Self::NameTaken(Problems::one(
            "name",
            "a name that no other device has",
            name,
        ))
    }
}

impl HubError {
    pub(crate) fn of_edit(state: &DeviceState, error: EditError) -> Self {
        match error {
            EditError::Invalid(problems) => Self::Invalid(problems),
            EditError::NameTaken(problems) => Self::NameTaken(problems),
            EditError::NoSuchSensor(id) => Self::NotFound(format!("sensor {id} in the target")),
            EditError::HasSetpoint(point) => {
                let name = place_of(state, point);
                Self::Refused(format!(
                    "a value is set on point {name}, which would go: release it first (DELETE its setpoint), so that no \
                     output is left at a value that nobody holds any more"
                ))
            }
        }
    }
}

impl From<CommitError> for HubError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Busy,
            CommitError::NameTaken(name) => Self::name_taken(&name),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

/// Why a token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No such token.
    #[error("the token is not known")]
    Unknown,
    /// It has run out.
    #[error("the token has expired")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked {
        /// The device, if it was an agent's.
        device: Option<DeviceId>,
    },
    /// It ended with its device.
    #[error("the device was deleted")]
    DeviceDeleted {
        /// The device.
        device: DeviceId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
