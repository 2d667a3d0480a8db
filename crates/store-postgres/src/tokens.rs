//! Tokens and provisioning keys.

use async_trait::async_trait;
use holdfast_domain::DeviceId;
use holdfast_ports::{
    StoreError,
    page::{Listed, Page},
    tokens::{
        Grant, ProvisioningKey, Revocation, RevocationKind, Role, SecretHash, TokenId, TokenRecord,
        TokenStore,
    },
    wakeups::Wake,
};
use jiff::Timestamp;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    PostgresStore,
    columns::{Fault, Time, actor, instant, put, small, take, time, time_opt},
    lists::{after_uuid, limit},
};

#[async_trait]
impl TokenStore for PostgresStore {
    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.answered(async { add(&mut *self.pool.lend().await?, token).await })
            .await
            .map_err(|fault| StoreError::new(format!("adding token {}", token.id), fault))
    }

    async fn find_token(&self, hash: &SecretHash) -> Result<Option<TokenRecord>, StoreError> {
        self.answered(find_token(self, hash))
            .await
            .map_err(|fault| StoreError::new("looking up a token", fault))
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.answered(token(self, id))
            .await
            .map_err(|fault| StoreError::new(format!("looking up token {id}"), fault))
    }

    async fn tokens(&self, page: &Page) -> Result<Listed<TokenRecord>, StoreError> {
        self.answered(tokens(self, page))
            .await
            .map_err(|fault| StoreError::new("listing tokens", fault))
    }

    async fn revoke_token(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        let revoked = sqlx::query_scalar!(
            r#"WITH ended AS (
                UPDATE tokens SET revoked_at = $2, revoked_kind = $3
                WHERE id = $1 AND revoked_at IS NULL
                RETURNING id
            )
            SELECT pg_notify('holdfast', 'tokens') IS NULL AS "woken!" FROM ended"#,
            id.uuid(),
            time(at),
            revocation_word(RevocationKind::Revoked),
        );
        let revoked = self
            .answered(async { revoked.fetch_optional(&mut *self.pool.lend().await?).await })
            .await
            .map_err(|error| StoreError::new(format!("revoking token {id}"), error))?;
        Ok(self.woken(revoked))
    }

    async fn add_key(&self, key: &ProvisioningKey) -> Result<(), StoreError> {
        self.answered(add_key(self, key))
            .await
            .map_err(|fault| StoreError::new(format!("adding provisioning key {}", key.id), fault))
    }

    async fn find_key(&self, hash: &SecretHash) -> Result<Option<ProvisioningKey>, StoreError> {
        self.answered(find_key(self, hash))
            .await
            .map_err(|fault| StoreError::new("looking up a provisioning key", fault))
    }

    async fn keys(&self, page: &Page) -> Result<Listed<ProvisioningKey>, StoreError> {
        self.answered(keys(self, page))
            .await
            .map_err(|fault| StoreError::new("listing provisioning keys", fault))
    }

    async fn revoke_key(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        let revoked = sqlx::query_scalar!(
            r#"WITH ended AS (
                UPDATE provisioning_keys SET revoked_at = $2
                WHERE id = $1 AND revoked_at IS NULL
                RETURNING id
            )
            SELECT pg_notify('holdfast', 'tokens') IS NULL AS "woken!" FROM ended"#,
            id.uuid(),
            time(at),
        );
        let revoked = self
            .answered(async { revoked.fetch_optional(&mut *self.pool.lend().await?).await })
            .await
            .map_err(|error| StoreError::new(format!("revoking provisioning key {id}"), error))?;
        Ok(self.woken(revoked))
    }

    async fn prune_access(&self, before: Timestamp) -> Result<u64, StoreError> {
        let removed = sqlx::query_scalar!(
            r#"WITH old_tokens AS (
                DELETE FROM tokens WHERE role IS NOT NULL AND least(revoked_at, expires_at) < $1 RETURNING id
            ), old_keys AS (
                DELETE FROM provisioning_keys
                WHERE least(revoked_at, expires_at) < $1 OR (uses_left = 0 AND created_at < $1)
                RETURNING id
            )
            SELECT (SELECT count(*) FROM old_tokens) + (SELECT count(*) FROM old_keys) AS "removed!""#,
            time(before),
        );
        let removed = self
            .answered(async { removed.fetch_one(&mut *self.pool.lend().await?).await })
            .await
            .map_err(|error| StoreError::new("removing ended tokens and keys", error))?;
        Ok(removed.unsigned_abs())
    }
}

impl PostgresStore {
    /// Wakes this process where something was revoked.
    fn woken(&self, revoked: Option<bool>) -> bool {
        if revoked.is_some() {
            self.waker.wake(Wake::Tokens);
        }
        revoked.is_some()
    }
}

/// Adds a token, on its own or in a registration.
pub(crate) async fn add(executor: impl PgExecutor<'_>, token: &TokenRecord) -> Result<(), Fault> {
    let TokenRecord {
        id,
        name,
        hash,
        grant,
        created_at,
        created_by,
        expires_at,
        revoked,
    } = token;
    let (role, device) = match grant {
        Grant::Operator(role) => (Some(role.as_str()), None),
        Grant::Agent(device) => (None, Some(device.uuid())),
    };
    sqlx::query!(
        "INSERT INTO tokens (
            id, name, hash, role, device_uuid, created_at, created_by, expires_at, revoked_at, revoked_kind
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.uuid(),
        &*put(name),
        &hash.0[..],
        role,
        device,
        time(*created_at),
        &*put(created_by.as_str()),
        time_opt(*expires_at) as _,
        time_opt(revoked.as_ref().map(|revoked| revoked.at)) as _,
        revoked.as_ref().map(|revoked| revocation_word(revoked.kind)),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Wakes other processes because of a token, when the transaction commits.
pub(crate) async fn notify(executor: impl PgExecutor<'_>) -> Result<(), Fault> {
    sqlx::query_scalar!(r#"SELECT pg_notify('holdfast', 'tokens') IS NULL AS "woken!""#)
        .fetch_one(executor)
        .await?;
    Ok(())
}

pub(crate) const fn revocation_word(kind: RevocationKind) -> &'static str {
    match kind {
        RevocationKind::Revoked => "revoked",
        RevocationKind::DeviceDeleted => "deviceDeleted",
    }
}

struct TokenColumns {
    id: Uuid,
    name: String,
    hash: Vec<u8>,
    role: Option<String>,
    device_uuid: Option<Uuid>,
    created_at: Time,
    created_by: String,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    revoked_kind: Option<String>,
}

impl TokenColumns {
    fn into_record(self) -> Result<TokenRecord, Fault> {
        let grant = match (self.role.as_deref(), self.device_uuid) {
            (Some(word), None) => Grant::Operator(role(word)?),
            (None, Some(device)) => Grant::Agent(DeviceId(device)),
            _ => {
                return Err(format!(
                    "expected a role or a device of token {}, found both or none",
                    self.id
                )
                .into());
            }
        };
        let revoked = match (instant(self.revoked_at), self.revoked_kind.as_deref()) {
            (None, _) => None,
            (Some(at), Some("deviceDeleted")) => Some(Revocation {
                at,
                kind: RevocationKind::DeviceDeleted,
            }),
            (Some(at), _) => Some(Revocation {
                at,
                kind: RevocationKind::Revoked,
            }),
        };
        Ok(TokenRecord {
            id: TokenId(self.id),
            name: take(self.name),
            hash: secret_hash(&self.hash)?,
            grant,
            created_at: self.created_at.to_jiff(),
            created_by: actor(self.created_by),
            expires_at: instant(self.expires_at),
            revoked,
        })
    }
}

fn role(word: &str) -> Result<Role, Fault> {
    Role::ALL
        .into_iter()
        .find(|role| role.as_str() == word)
        .ok_or_else(|| format!("expected viewer, operator or admin, found {word:?}").into())
}

fn secret_hash(bytes: &[u8]) -> Result<SecretHash, Fault> {
    let hash = bytes
        .try_into()
        .map_err(|_| format!("expected a hash of 32 bytes, found {}", bytes.len()))?;
    Ok(SecretHash(hash))
}

async fn find_token(
    store: &PostgresStore,
    hash: &SecretHash,
) -> Result<Option<TokenRecord>, Fault> {
    let columns = sqlx::query_as!(
        TokenColumns,
        "SELECT id, name, hash, role, device_uuid, created_at, created_by, expires_at, revoked_at, revoked_kind
        FROM tokens WHERE hash = $1",
        &hash.0[..],
    )
    .fetch_optional(&mut *store.pool.lend().await?)
    .await?;
    columns.map(TokenColumns::into_record).transpose()
}

async fn token(store: &PostgresStore, id: TokenId) -> Result<Option<TokenRecord>, Fault> {
    let columns = sqlx::query_as!(
        TokenColumns,
        "SELECT id, name, hash, role, device_uuid, created_at, created_by, expires_at, revoked_at, revoked_kind
        FROM tokens WHERE id = $1",
        id.uuid(),
    )
    .fetch_optional(&mut *store.pool.lend().await?)
    .await?;
    columns.map(TokenColumns::into_record).transpose()
}

async fn tokens(store: &PostgresStore, page: &Page) -> Result<Listed<TokenRecord>, Fault> {
    let columns = sqlx::query_as!(
        TokenColumns,
        "SELECT id, name, hash, role, device_uuid, created_at, created_by, expires_at, revoked_at, revoked_kind
        FROM tokens WHERE id > $1 ORDER BY id LIMIT $2",
        after_uuid(page)?,
        limit(page),
    )
    .fetch_all(&mut *store.pool.lend().await?)
    .await?;
    let records = columns
        .into_iter()
        .map(TokenColumns::into_record)
        .collect::<Result<_, _>>()?;
    Ok(Listed::cut(records, page.limit, |token| {
        token.id.to_string()
    }))
}

struct KeyColumns {
    id: Uuid,
    name: String,
    hash: Vec<u8>,
    device_uuid: Option<Uuid>,
    uses_left: Option<i64>,
    created_at: Time,
    created_by: String,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
}

impl KeyColumns {
    fn into_key(self) -> Result<ProvisioningKey, Fault> {
        Ok(ProvisioningKey {
            id: TokenId(self.id),
            name: take(self.name),
            hash: secret_hash(&self.hash)?,
            device: self.device_uuid.map(DeviceId),
            uses_left: self.uses_left.map(small).transpose()?,
            created_at: self.created_at.to_jiff(),
            created_by: actor(self.created_by),
            expires_at: instant(self.expires_at),
            revoked_at: instant(self.revoked_at),
        })
    }
}

async fn add_key(store: &PostgresStore, key: &ProvisioningKey) -> Result<(), Fault> {
    let ProvisioningKey {
        id,
        name,
        hash,
        device,
        uses_left,
        created_at,
        created_by,
        expires_at,
        revoked_at,
    } = key;
    sqlx::query!(
        "INSERT INTO provisioning_keys (
            id, name, hash, device_uuid, uses_left, created_at, created_by, expires_at, revoked_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id.uuid(),
        &*put(name),
        &hash.0[..],
        device.map(DeviceId::uuid),
        uses_left.map(i64::from),
        time(*created_at),
        &*put(created_by.as_str()),
        time_opt(*expires_at) as _,
        time_opt(*revoked_at) as _,
    )
    .execute(&mut *store.pool.lend().await?)
    .await?;
    Ok(())
}

async fn find_key(
    store: &PostgresStore,
    hash: &SecretHash,
) -> Result<Option<ProvisioningKey>, Fault> {
    let columns = sqlx::query_as!(
        KeyColumns,
        "SELECT id, name, hash, device_uuid, uses_left, created_at, created_by, expires_at, revoked_at
        FROM provisioning_keys WHERE hash = $1",
        &hash.0[..],
    )
    .fetch_optional(&mut *store.pool.lend().await?)
    .await?;
    columns.map(KeyColumns::into_key).transpose()
}

async fn keys(store: &PostgresStore, page: &Page) -> Result<Listed<ProvisioningKey>, Fault> {
    let columns = sqlx::query_as!(
        KeyColumns,
        "SELECT id, name, hash, device_uuid, uses_left, created_at, created_by, expires_at, revoked_at
        FROM provisioning_keys WHERE id > $1 ORDER BY id LIMIT $2",
        after_uuid(page)?,
        limit(page),
    )
    .fetch_all(&mut *store.pool.lend().await?)
    .await?;
    let keys = columns
        .into_iter()
        .map(KeyColumns::into_key)
        .collect::<Result<_, _>>()?;
    Ok(Listed::cut(keys, page.limit, |key: &ProvisioningKey| {
        key.id.to_string()
    }))
}
