//! Tokens and provisioning keys.

use async_trait::async_trait;
use holdfast_domain::{DeviceId, TokenId, row::Actor};
use holdfast_ports::{
    StoreError,
    page::{Listed, Page},
    tokens::{
        Grant, ProvisioningKey, Revocation, RevocationKind, Role, SecretHash, TokenRecord,
        TokenStore,
    },
    wakeups::Wake,
};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::{Fault, instant, instant_opt, micros, micros_opt, parsed, parsed_opt, small},
    open::failed,
};

/// The words of [`RevocationKind`].
const KINDS: [(&str, RevocationKind); 2] = [
    ("revoked", RevocationKind::Revoked),
    ("deviceDeleted", RevocationKind::DeviceDeleted),
];

fn kind_word(kind: RevocationKind) -> &'static str {
    match kind {
        RevocationKind::Revoked => KINDS[0].0,
        RevocationKind::DeviceDeleted => KINDS[1].0,
    }
}

/// A token as a query gives it.
struct TokenColumns {
    id: String,
    name: String,
    hash: Vec<u8>,
    role: Option<String>,
    device_uuid: Option<String>,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    revoked_kind: Option<String>,
}

impl TokenColumns {
    fn into_token(self) -> Result<TokenRecord, Fault> {
        let role = |word: &str| Role::ALL.into_iter().find(|role| role.as_str() == word);
        let grant = match (&self.role, &self.device_uuid) {
            (Some(word), None) => Grant::Operator(
                role(word).ok_or_else(|| format!("expected a role in tokens, found {word:?}"))?,
            ),
            (None, Some(device)) => Grant::Agent(parsed(device)?),
            _ => {
                return Err(
                    format!("token {} has a role and a device, or neither", self.id).into(),
                );
            }
        };
        let kind = |word: &String| {
            KINDS
                .iter()
                .find(|(known, _)| known == word)
                .map(|(_, kind)| *kind)
        };
        let revoked = instant_opt(self.revoked_at)?.zip(self.revoked_kind.as_ref().and_then(kind));
        Ok(TokenRecord {
            id: parsed(&self.id)?,
            name: self.name,
            hash: hash(&self.hash)?,
            grant,
            created_at: instant(self.created_at)?,
            created_by: Actor::named(&self.created_by),
            expires_at: instant_opt(self.expires_at)?,
            revoked: revoked.map(|(at, kind)| Revocation { at, kind }),
        })
    }
}

/// A provisioning key as a query gives it.
struct KeyColumns {
    id: String,
    name: String,
    hash: Vec<u8>,
    device_uuid: Option<String>,
    uses_left: Option<i64>,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl KeyColumns {
    fn into_key(self) -> Result<ProvisioningKey, Fault> {
        Ok(ProvisioningKey {
            id: parsed(&self.id)?,
            name: self.name,
            hash: hash(&self.hash)?,
            device: parsed_opt(self.device_uuid.as_deref())?,
            uses_left: self.uses_left.map(small).transpose()?,
            created_at: instant(self.created_at)?,
            created_by: Actor::named(&self.created_by),
            expires_at: instant_opt(self.expires_at)?,
            revoked_at: instant_opt(self.revoked_at)?,
        })
    }
}

fn hash(bytes: &[u8]) -> Result<SecretHash, Fault> {
    Ok(SecretHash(bytes.try_into()?))
}

/// Adds a token.
pub(crate) async fn insert_token(
    connection: &mut SqliteConnection,
    token: &TokenRecord,
) -> Result<(), Fault> {
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
        Grant::Agent(device) => (None, Some(device.to_string())),
    };
    let (id, hash) = (id.to_string(), hash.0.as_slice());
    let (created_at, created_by, expires_at) = (
        micros(*created_at),
        created_by.as_str(),
        micros_opt(*expires_at),
    );
    let revoked_at = revoked.as_ref().map(|revoked| micros(revoked.at));
    let revoked_kind = revoked.as_ref().map(|revoked| kind_word(revoked.kind));
    sqlx::query!(
        "INSERT INTO tokens (id, name, hash, role, device_uuid, created_at, created_by, expires_at, revoked_at,
             revoked_kind)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        name,
        hash,
        role,
        device,
        created_at,
        created_by,
        expires_at,
        revoked_at,
        revoked_kind
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the tokens of a device's agents; says whether there were any.
pub(crate) async fn end_agent_tokens(
    connection: &mut SqliteConnection,
    device: DeviceId,
    at: Timestamp,
    kind: RevocationKind,
) -> Result<bool, Fault> {
    let (device, at, kind) = (device.to_string(), micros(at), kind_word(kind));
    let ended = sqlx::query!(
        "UPDATE tokens SET revoked_at = ?2, revoked_kind = ?3 WHERE device_uuid = ?1 AND revoked_at IS NULL",
        device,
        at,
        kind
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// Takes one use of a key; false if it has none left, or was revoked, or is none.
pub(crate) async fn use_key(
    connection: &mut SqliteConnection,
    key: TokenId,
) -> Result<bool, Fault> {
    let key = key.to_string();
    let used = sqlx::query!(
        "UPDATE provisioning_keys SET uses_left = uses_left - 1
         WHERE id = ? AND revoked_at IS NULL AND (uses_left IS NULL OR uses_left > 0)",
        key
    )
    .execute(connection)
    .await?;
    Ok(used.rows_affected() == 1)
}

impl SqliteStore {
    async fn try_add_key(&self, key: &ProvisioningKey) -> Result<(), Fault> {
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
        let (id, hash, device) = (
            id.to_string(),
            hash.0.as_slice(),
            device.map(|device| device.to_string()),
        );
        let (created_at, created_by) = (micros(*created_at), created_by.as_str());
        let (expires_at, revoked_at) = (micros_opt(*expires_at), micros_opt(*revoked_at));
        sqlx::query!(
            "INSERT INTO provisioning_keys (id, name, hash, device_uuid, uses_left, created_at, created_by, expires_at,
                 revoked_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            id,
            name,
            hash,
            device,
            uses_left,
            created_at,
            created_by,
            expires_at,
            revoked_at
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn list_tokens(&self, page: &Page) -> Result<Listed<TokenRecord>, Fault> {
        let limit = i64::from(page.limit) + 1;
        let found = sqlx::query_as!(
            TokenColumns,
            "SELECT * FROM tokens WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
            page.after,
            limit
        )
        .fetch_all(&self.readers)
        .await?;
        let found = found
            .into_iter()
            .map(TokenColumns::into_token)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Listed::cut(found, page.limit, |token| token.id.to_string()))
    }

    async fn list_keys(&self, page: &Page) -> Result<Listed<ProvisioningKey>, Fault> {
        let limit = i64::from(page.limit) + 1;
        let found = sqlx::query_as!(
            KeyColumns,
            "SELECT * FROM provisioning_keys WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
            page.after,
            limit
        )
        .fetch_all(&self.readers)
        .await?;
        let found = found
            .into_iter()
            .map(KeyColumns::into_key)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Listed::cut(found, page.limit, |key| key.id.to_string()))
    }

    async fn try_revoke_token(&self, id: TokenId, at: Timestamp) -> Result<bool, Fault> {
        let (id, at, kind) = (
            id.to_string(),
            micros(at),
            kind_word(RevocationKind::Revoked),
        );
        let mut transaction = self.begin().await?;
        let ended = sqlx::query!(
            "UPDATE tokens SET revoked_at = ?2, revoked_kind = ?3 WHERE id = ?1 AND revoked_at IS NULL",
            id,
            at,
            kind
        )
        .execute(&mut *transaction)
        .await?;
        self.finish_revoking(transaction, ended.rows_affected())
            .await
    }

    async fn try_revoke_key(&self, id: TokenId, at: Timestamp) -> Result<bool, Fault> {
        let (id, at) = (id.to_string(), micros(at));
        let mut transaction = self.begin().await?;
        let ended = sqlx::query!(
            "UPDATE provisioning_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
            id,
            at
        )
        .execute(&mut *transaction)
        .await?;
        self.finish_revoking(transaction, ended.rows_affected())
            .await
    }

    async fn try_prune_access(&self, before: Timestamp) -> Result<u64, Fault> {
        let before = micros(before);
        let mut transaction = self.begin().await?;
        let tokens = sqlx::query!(
            "DELETE FROM tokens WHERE role IS NOT NULL AND (revoked_at < ?1 OR expires_at < ?1)",
            before
        )
        .execute(&mut *transaction)
        .await?;
        let keys = sqlx::query!(
            "DELETE FROM provisioning_keys
             WHERE revoked_at < ?1 OR expires_at < ?1 OR (uses_left = 0 AND created_at < ?1)",
            before
        )
        .execute(&mut *transaction)
        .await?;
        self.finish(transaction, Vec::new()).await?;
        Ok(tokens.rows_affected() + keys.rows_affected())
    }

    async fn finish_revoking(
        &self,
        transaction: sqlx::Transaction<'static, sqlx::Sqlite>,
        ended: u64,
    ) -> Result<bool, Fault> {
        let wakes = if ended > 0 {
            vec![Wake::Tokens]
        } else {
            Vec::new()
        };
        self.finish(transaction, wakes).await?;
        Ok(ended > 0)
    }
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let added = async {
            let mut connection = self.writer.acquire().await?;
            insert_token(&mut connection, token).await
        };
        added.await.map_err(failed("adding a token"))
    }

    async fn find_token(&self, hash: &SecretHash) -> Result<Option<TokenRecord>, StoreError> {
        let found = async {
            let hash = hash.0.as_slice();
            let found = sqlx::query_as!(TokenColumns, "SELECT * FROM tokens WHERE hash = ?", hash);
            found
                .fetch_optional(&self.readers)
                .await?
                .map(TokenColumns::into_token)
                .transpose()
        };
        found.await.map_err(failed("finding a token"))
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        let found = async {
            let id = id.to_string();
            let found = sqlx::query_as!(TokenColumns, "SELECT * FROM tokens WHERE id = ?", id);
            found
                .fetch_optional(&self.readers)
                .await?
                .map(TokenColumns::into_token)
                .transpose()
        };
        found.await.map_err(failed(format!("finding token {id}")))
    }

    async fn tokens(&self, page: &Page) -> Result<Listed<TokenRecord>, StoreError> {
        self.list_tokens(page)
            .await
            .map_err(failed("listing tokens"))
    }

    async fn revoke_token(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        self.try_revoke_token(id, at)
            .await
            .map_err(failed(format!("revoking token {id}")))
    }

    async fn add_key(&self, key: &ProvisioningKey) -> Result<(), StoreError> {
        self.try_add_key(key)
            .await
            .map_err(failed("adding a provisioning key"))
    }

    async fn find_key(&self, hash: &SecretHash) -> Result<Option<ProvisioningKey>, StoreError> {
        let found = async {
            let hash = hash.0.as_slice();
            let found = sqlx::query_as!(
                KeyColumns,
                "SELECT * FROM provisioning_keys WHERE hash = ?",
                hash
            );
            found
                .fetch_optional(&self.readers)
                .await?
                .map(KeyColumns::into_key)
                .transpose()
        };
        found.await.map_err(failed("finding a provisioning key"))
    }

    async fn keys(&self, page: &Page) -> Result<Listed<ProvisioningKey>, StoreError> {
        self.list_keys(page)
            .await
            .map_err(failed("listing provisioning keys"))
    }

    async fn revoke_key(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        self.try_revoke_key(id, at)
            .await
            .map_err(failed(format!("revoking provisioning key {id}")))
    }

    async fn prune_access(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.try_prune_access(before)
            .await
            .map_err(failed("removing ended tokens and keys"))
    }
}
