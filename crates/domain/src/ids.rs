//! Typed identifiers and names.
//!
//! Identifiers are UUIDs handed out by the hub (version 7, so that they sort by age); this crate never makes one,
//! because that would need a clock. Names are for people: they can change, and nothing refers to them.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "uuid"))]
        pub struct $name(pub Uuid);

        impl $name {
            /// The UUID inside.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

uuid_id! {
    /// An edge computer that runs one agent.
    DeviceId
}
uuid_id! {
    /// One field instrument that a device talks to.
    SensorId
}
uuid_id! {
    /// One value of a sensor.
    PointId
}
uuid_id! {
    /// One life of an agent's disk, given by the hub at registration. Only a device's current incarnation counts, so
    /// that a disk restored from an image cannot speak for the device that went on without it.
    Incarnation
}
uuid_id! {
    /// One access token (its identity, not its secret).
    TokenId
}
uuid_id! {
    /// A stop or pause of the value loop.
    PauseId
}
uuid_id! {
    /// A command: something that happens once.
    CommandId
}
uuid_id! {
    /// A reset of a point's write budget, because its instrument was replaced.
    ResetId
}
uuid_id! {
    /// One event of the log.
    EventId
}

/// What people call a device, a sensor or a point.
///
/// 1 to [`limits::NAME_CHARS`] characters without control characters, `/` (it separates names in paths) or white
/// space at the ends, not `.` or `..` (they are no segment of a path), and not in the form of a UUID, so that a place that
/// takes an id or a name is never ambiguous.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, min_length = 1, max_length = 128, pattern = "^[^/]+$"))]
pub struct Name(String);

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    /// Says what a name must look like when `text` does not.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let chars = text.chars().count();
        let fits = (1..=limits::NAME_CHARS).contains(&chars)
            && text.trim() == text
            && !matches!(text, "." | "..")
            && !text.contains(|c: char| c == '/' || c.is_control())
            && Uuid::parse_str(text).is_err();
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                found: shorten(text),
            })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that can't be a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {}, found {found:?}", Name::EXPECTED)]
pub struct InvalidName {
    /// The beginning of what was given.
    pub found: String,
}

impl Name {
    /// What a name must look like, for error messages.
    pub const EXPECTED: &'static str = "a name of 1 to 128 characters, without '/', control characters or white space at its ends, not '.' or '..', and not a UUID";
}

/// The first characters of `text`, for messages: an input is never echoed whole.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        None => text.to_string(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Name {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_people_write() {
        for good in ["boiler-1", "Kessel Süd", "a", "°C sensor"] {
            assert_eq!(Name::new(good).expect(good).as_str(), good);
        }
    }

    #[test]
    fn a_name_that_could_be_mistaken_is_refused() {
        for bad in [
            "",
            " a",
            "a/b",
            ".",
            "..",
            "a\nb",
            "0192b3a4-0000-7000-8000-000000000000",
            &"x".repeat(129),
        ] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}
