//! Tokens and provisioning keys: made, listed, revoked. A secret is shown once.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_domain::TokenId;
use holdfast_ports::tokens::{Grant, ProvisioningKey, Role as Granted, TokenRecord};
use holdfast_wire::{
    Listed, ProvisioningKeyCreate, ProvisioningKeyCreated, ProvisioningKeyView, Request, Role,
    TokenCreate, TokenCreated, TokenView,
};

use crate::{
    App,
    auth::Admin,
    extract::{JsonDocument, NoBody, Query, SmallDocument, TokenPath},
    problem::{ApiProblem, ApiResult},
};

/// List tokens
///
/// Operators' and agents', the revoked ones too; by id.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "access", security(("bearer" = ["admin"])),
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of tokens", body = Listed<TokenView>))
)]
pub(crate) async fn list(
    _: Admin,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<TokenView>>> {
    let page = query.page();
    query.finish()?;
    let tokens = app.hub.parts().tokens.tokens(&page).await?;
    Ok(Json(Listed {
        items: tokens.items.into_iter().map(token_view).collect(),
        next: tokens.next,
    }))
}

/// Make an operator's token
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "access", security(("bearer" = ["admin"])),
    request_body = TokenCreate,
    responses((status = 201, description = "The token, its secret shown once", body = TokenCreated))
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<App>,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<(StatusCode, Json<TokenCreated>)> {
    query.finish()?;
    let TokenCreate {
        name,
        role,
        expires_at,
    } = TokenCreate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let role = match role {
        Role::Viewer => Granted::Viewer,
        Role::Operator => Granted::Operator,
        Role::Admin => Granted::Admin,
    };
    let (secret, token) = app
        .hub
        .create_token(name.as_str(), role, expires_at, caller.actor())
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(TokenCreated {
            token: token_view(token),
            secret,
        }),
    ))
}

/// Revoke a token
///
/// In force within a second everywhere. An agent whose token is revoked stops writing to hardware.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "access", security(("bearer" = ["admin"])),
    params(("id" = TokenId, Path, description = "The token")),
    responses((status = 204, description = "Revoked"))
)]
pub(crate) async fn revoke(
    Admin(caller): Admin,
    State(app): State<App>,
    TokenPath(id): TokenPath,
    query: Query,
    _: NoBody,
) -> ApiResult<StatusCode> {
    query.finish()?;
    app.hub.revoke_token(id, caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List provisioning keys
///
/// The revoked ones too; by id.
#[utoipa::path(
    get, path = "/api/v1/provisioning-keys", tag = "access", security(("bearer" = ["admin"])),
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of keys", body = Listed<ProvisioningKeyView>))
)]
pub(crate) async fn list_keys(
    _: Admin,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<ProvisioningKeyView>>> {
    let page = query.page();
    query.finish()?;
    let keys = app.hub.parts().tokens.keys(&page).await?;
    Ok(Json(Listed {
        items: keys.items.into_iter().map(key_view).collect(),
        next: keys.next,
    }))
}

/// Make a provisioning key
///
/// Agents register with it. One that is bound to a device can be used once.
#[utoipa::path(
    post, path = "/api/v1/provisioning-keys", tag = "access", security(("bearer" = ["admin"])),
    request_body = ProvisioningKeyCreate,
    responses((status = 201, description = "The key, its secret shown once", body = ProvisioningKeyCreated))
)]
pub(crate) async fn create_key(
    Admin(caller): Admin,
    State(app): State<App>,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<(StatusCode, Json<ProvisioningKeyCreated>)> {
    query.finish()?;
    let ProvisioningKeyCreate {
        name,
        device,
        uses,
        expires_at,
    } = ProvisioningKeyCreate::from_json(body)
        .map_err(|problems| ApiProblem::invalid(&problems))?;
    if let Some(device) = device {
        app.hub.state(device).await?;
    }
    let (secret, key) = app
        .hub
        .create_key(name.as_str(), device, uses, expires_at, caller.actor())
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ProvisioningKeyCreated {
            key: key_view(key),
            secret,
        }),
    ))
}

/// Revoke a provisioning key
///
/// Agents that have registered with it are not touched.
#[utoipa::path(
    delete, path = "/api/v1/provisioning-keys/{id}", tag = "access", security(("bearer" = ["admin"])),
    params(("id" = TokenId, Path, description = "The key")),
    responses((status = 204, description = "Revoked"))
)]
pub(crate) async fn revoke_key(
    Admin(caller): Admin,
    State(app): State<App>,
    TokenPath(id): TokenPath,
    query: Query,
    _: NoBody,
) -> ApiResult<StatusCode> {
    query.finish()?;
    app.hub.revoke_key(id, caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn token_view(token: TokenRecord) -> TokenView {
    let TokenRecord {
        id,
        name,
        hash: _,
        grant,
        created_at,
        created_by,
        expires_at,
        revoked,
    } = token;
    let (role, device) = match grant {
        Grant::Operator(Granted::Viewer) => (Some(Role::Viewer), None),
        Grant::Operator(Granted::Operator) => (Some(Role::Operator), None),
        Grant::Operator(Granted::Admin) => (Some(Role::Admin), None),
        Grant::Agent(device) => (None, Some(device)),
    };
    TokenView {
        id,
        name,
        role,
        device,
        created_at,
        created_by,
        expires_at,
        revoked_at: revoked.map(|revocation| revocation.at),
    }
}

pub(crate) fn key_view(key: ProvisioningKey) -> ProvisioningKeyView {
    let ProvisioningKey {
        id,
        name,
        hash: _,
        device,
        uses_left,
        created_at,
        created_by,
        expires_at,
        revoked_at,
    } = key;
    ProvisioningKeyView {
        id,
        name,
        device,
        uses_left,
        created_at,
        created_by,
        expires_at,
        revoked_at,
    }
}
