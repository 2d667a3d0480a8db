//! Tokens and provisioning keys. A secret is shown once: in the answer that makes it.

use holdfast_domain::{DeviceId, Fields, Name, TokenId, row::Actor};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{Request, name, parsed, timestamp};

/// What an operator may do; each role may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Edits sensors, asks devices to reconcile.
    Operator,
    /// Also devices, tokens, provisioning keys.
    Admin,
}

impl Role {
    /// What is allowed, for error messages.
    pub const EXPECTED: &'static str = "one of viewer, operator, admin";

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or_else(|| format!("expected {}, found {word:?}", Self::EXPECTED))
    }
}

/// Makes an operator's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreate {
    /// What people call it; the author of what is done with it.
    pub name: Name,
    /// What it allows.
    pub role: Role,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub expires_at: Option<Timestamp>,
}

impl Request for TokenCreate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("name", name, Name::EXPECTED);
        let role = fields.required("role", parsed(Role::EXPECTED), Role::EXPECTED);
        let expires_at = fields.optional("expiresAt", timestamp);
        Some(Self {
            name: name?,
            role: role?,
            expires_at: expires_at?,
        })
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// Its identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// The operator's role that it gives; null for an agent's token.
    pub role: Option<Role>,
    /// The device whose agent it belongs to; null for an operator's token.
    pub device: Option<DeviceId>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When it ends by itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub revoked_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
    /// The secret. Shown only here.
    pub secret: String,
}

/// Makes a provisioning key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProvisioningKeyCreate {
    /// What people call it.
    pub name: Name,
    /// The device that it is bound to; left out: each use makes a new device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// How often it can be used (1 to 1,000,000); left out: without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000000))]
    pub uses: Option<u32>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub expires_at: Option<Timestamp>,
}

impl Request for ProvisioningKeyCreate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        const USES: std::ops::RangeInclusive<i64> = 1..=1_000_000;
        let name = fields.required("name", name, Name::EXPECTED);
        let device = fields.optional("device", parsed("a device's UUID"));
        let uses = if fields.has("uses") {
            fields.int("uses", &USES, None).map(Some)
        } else {
            fields.take("uses");
            Some(None)
        };
        let expires_at = fields.optional("expiresAt", timestamp);
        Some(Self {
            name: name?,
            device: device?,
            uses: uses?,
            expires_at: expires_at?,
        })
    }
}

/// A provisioning key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProvisioningKeyView {
    /// Its identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// The device that it is bound to; null: each use makes a new device.
    pub device: Option<DeviceId>,
    /// How often it can still be used; null: without end.
    pub uses_left: Option<u32>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When it ends by itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub revoked_at: Option<Timestamp>,
}

/// A provisioning key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProvisioningKeyCreated {
    /// The key.
    #[serde(flatten)]
    pub key: ProvisioningKeyView,
    /// The secret. Shown only here.
    pub secret: String,
}
