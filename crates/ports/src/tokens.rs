//! Who may do what: tokens and provisioning keys. Secrets are random and stored hashed only.

use std::fmt;

use async_trait::async_trait;
pub use holdfast_domain::TokenId;
use holdfast_domain::{DeviceId, row::Actor};
use jiff::Timestamp;

use crate::{
    StoreError,
    page::{Listed, Page},
};

/// What a secret is kept as: 32 bytes. The secret has 256 random bits, so that a fast hash is enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash (BLAKE3) of a secret's text.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(*blake3::hash(secret.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A new secret: a prefix that tells people (and scanners for leaked secrets) what it is, and 256 random bits.
#[must_use]
pub fn new_secret(prefix: &str, bits: [u8; 32]) -> String {
    use std::fmt::Write as _;
    bits.iter().fold(format!("{prefix}_"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What an operator may do; each role may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Edits sensors, asks devices to reconcile.
    Operator,
    /// Also devices, tokens, provisioning keys.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

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

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// The operators' side, in a role.
    Operator(Role),
    /// The agent's side of one device.
    Agent(DeviceId),
}

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecord {
    /// Its identity.
    pub id: TokenId,
    /// What people call it; the author of what is done with it.
    pub name: String,
    /// Hash of the secret.
    pub hash: SecretHash,
    /// What it opens.
    pub grant: Grant,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When and why it was ended.
    pub revoked: Option<Revocation>,
}

/// The end of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub kind: RevocationKind,
}

/// Why a token was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationKind {
    /// By an operator, or because another agent took over the device.
    Revoked,
    /// With its device.
    DeviceDeleted,
}

/// A key with which agents register.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvisioningKey {
    /// Its identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// Hash of the secret.
    pub hash: SecretHash,
    /// The device that it is bound to; `None`: each use makes a new device.
    pub device: Option<DeviceId>,
    /// How often it can still be used; `None`: without end.
    pub uses_left: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Tokens and provisioning keys.
///
/// # Contract
/// - What is added is durable before the call returns; ids and hashes are unique (adding the same hash again is an error
///   of the store).
/// - Revoking is durable before the call returns, and all processes of the hub get a
///   [`Wake::Tokens`](crate::wakeups::Wake).
/// - Look-ups by hash find revoked and expired ones too: the caller says which it is.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Adds a token.
    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    /// The token with this hash.
    async fn find_token(&self, hash: &SecretHash) -> Result<Option<TokenRecord>, StoreError>;
    /// The token with this id.
    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError>;
    /// Tokens by id, the revoked ones too.
    async fn tokens(&self, page: &Page) -> Result<Listed<TokenRecord>, StoreError>;
    /// Ends a token; false if there is none that is still in force.
    async fn revoke_token(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError>;

    /// Adds a provisioning key.
    async fn add_key(&self, key: &ProvisioningKey) -> Result<(), StoreError>;
    /// The key with this hash.
    async fn find_key(&self, hash: &SecretHash) -> Result<Option<ProvisioningKey>, StoreError>;
    /// Keys by id, the revoked ones too.
    async fn keys(&self, page: &Page) -> Result<Listed<ProvisioningKey>, StoreError>;
    /// Ends a key; false if there is none that is still in force.
    async fn revoke_key(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError>;

    /// Removes operators' tokens and provisioning keys that ended (revoked, expired, or used up) before `before`, and says
    /// how many. Agents' tokens stay: an agent that comes back after years is still told that its device is gone.
    async fn prune_access(&self, before: Timestamp) -> Result<u64, StoreError>;
}
