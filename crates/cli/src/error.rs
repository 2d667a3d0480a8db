//! Why a command could not be carried out, with what to do.

use std::{error::Error, io, path::PathBuf};

use holdfast_domain::without_numbers;
use holdfast_hub_client::{AddressError, CallError, ClientError};

use crate::{manifest::ManifestError, roles::RoleError};

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The hub's address is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no token.
    #[error(
        "expected an operator's token for {hub}, found none. Give it by HOLDFAST_TOKEN or --token; `holdfast up` keeps one for \
         its own hub, and `holdfast token create NAME --bootstrap --save` makes the first one on a hub's store"
    )]
    NoToken {
        /// The hub.
        hub: String,
    },
    /// The file of kept tokens can't be used.
    #[error("could not use the kept tokens in {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// There is no place for kept tokens.
    #[error("expected a place to keep the token (HOME or HOLDFAST_CREDENTIALS), found none")]
    NoCredentialsPath,
    /// The certificate authority can't be read.
    #[error("could not read the certificate authority {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// A call to the hub failed.
    #[error("{error}{}", advice(.error))]
    Call {
        /// How; it tells all that is known.
        error: CallError,
    },
    /// A manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is no such device.
    #[error("expected a device's name or UUID, found {found:?}, which is none{}", known(.devices))]
    NoSuchDevice {
        /// What was given.
        found: String,
        /// Names of the devices that there are.
        devices: Vec<String>,
    },
    /// The device has no such sensor.
    #[error("expected the name or UUID of a sensor of {device}, found {found:?}, which is none{}", known(.sensors))]
    NoSuchSensor {
        /// The device's name.
        device: String,
        /// What was given.
        found: String,
        /// Names of the sensors that it has.
        sensors: Vec<String>,
    },
    /// The sensor has no such point.
    #[error("expected the name or UUID of a point of {sensor}, found {found:?}, which is none{}", known(.points))]
    NoSuchPoint {
        /// The sensor's name.
        sensor: String,
        /// What was given.
        found: String,
        /// Names of the points that it has.
        points: Vec<String>,
    },
    /// A word is a command, and the name of a device.
    #[error(
        "`reconcile {word}` is a command for the whole fleet, and there is a device named {word:?}. For the fleet: holdfast \
         reconcile {word} --fleet. For the device: --device {word}, or holdfast reconcile look {word} to look at it again"
    )]
    AlsoADevice {
        /// The word.
        word: &'static str,
    },
    /// Nothing is paused there.
    #[error("expected a pause of {part} itself, found none{hint}")]
    NotPaused {
        /// What was named.
        part: String,
        /// What else keeps it.
        hint: &'static str,
    },
    /// Others keep changing the target.
    #[error(
        "{device}: the target was changed by someone else {attempts} times in a row while this edit was made; nothing of it was done. Try again"
    )]
    Contended {
        /// The device's name.
        device: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A role of the program failed.
    #[error("{0}")]
    Role(RoleError),
    /// The output can't be written.
    #[error("could not write the output")]
    Output(#[from] io::Error),
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        Self::Call { error }
    }
}

impl CliError {
    /// Did the reader of the output go away? That is no error: `holdfast get events | head`.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The error with all that it came of.
    pub(crate) fn chain(&self) -> String {
        let mut text = format!("error: {self}");
        let mut source = match self {
            Self::Role(error) => error.source(),
            other => other.source(),
        };
        while let Some(error) = source {
            text.push_str(&format!("\n  because: {error}"));
            source = error.source();
        }
        without_numbers(&text)
    }
}

fn advice(error: &CallError) -> &'static str {
    const UNAUTHENTICATED: u16 = 401;
    match error {
        CallError::NoAnswer { .. } => {
            "\nIs the hub running? `holdfast up` starts one on this machine; --hub or HOLDFAST_HUB names another"
        }
        CallError::NotTheHub { .. } => "\nIs --hub the hub's own address?",
        CallError::Refused { problem, .. } if problem.status == UNAUTHENTICATED => {
            "\nThe token comes from --token, HOLDFAST_TOKEN, or the file that `holdfast up` writes"
        }
        CallError::Refused { .. } | CallError::NotUnderstood { .. } => "",
    }
}

fn known(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => ": there are none".to_owned(),
        few if few.len() <= SHOWN => format!(". There are: {}", few.join(", ")),
        many => format!(
            ". There are {}: {}, …",
            many.len(),
            many[..SHOWN].join(", ")
        ),
    }
}
