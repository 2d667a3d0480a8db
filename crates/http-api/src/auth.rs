//! Who asks, and may they?
//!
//! A token comes as `Authorization: Bearer`, or in the pages' session cookie; a cookie changes things only if the request
//! comes from the same origin. An extractor for each role: a handler that takes [`Operator`] is only reached by one.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
};
use holdfast_domain::{DeviceId, row::Actor};
use holdfast_hub::{auth::Session, edits::EditRequest, values::Asked};
use holdfast_ports::tokens::{Grant, Role};

use crate::{
    App,
    finish::RequestId,
    problem::{ApiProblem, ApiResult},
};

/// Name of the pages' session cookie.
pub(crate) const COOKIE: &str = "holdfast_session";

/// Somebody with an operator's token.
pub(crate) struct Caller {
    pub(crate) session: Arc<Session>,
    pub(crate) request: RequestId,
    secret: String,
}

impl Caller {
    /// What is asked by this caller.
    pub(crate) fn asks<'a>(&'a self, reason: Option<&'a str>) -> Asked<'a> {
        Asked {
            actor: self.actor(),
            reason,
            correlation: self.correlation(),
        }
    }

    pub(crate) fn actor(&self) -> &Actor {
        &self.session.actor
    }

    /// May this caller do what needs `role`?
    pub(crate) fn may(&self, role: Role) -> bool {
        matches!(self.session.grant, Grant::Operator(has) if has >= role)
    }

    pub(crate) fn correlation(&self) -> Option<&str> {
        Some(self.request.as_str())
    }

    /// Is the token still in force?
    pub(crate) async fn is_in_force(&self, app: &App) -> bool {
        app.hub.authenticate(&self.secret).await.is_ok()
    }

    /// An edit by this caller.
    pub(crate) fn edit<'a>(
        &'a self,
        reason: Option<&'a str>,
        if_version: Option<u64>,
    ) -> EditRequest<'a> {
        EditRequest {
            actor: self.actor(),
            reason,
            if_version,
            correlation: self.correlation(),
        }
    }
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<App> for $name {
            type Rejection = ApiProblem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
                operator(parts, app, Role::$name).await.map(Self)
            }
        }
    };
}

role! {
    /// Somebody who may read.
    Viewer
}
role! {
    /// Somebody who may edit sensors, set values, stop a device's value loop and ask devices to reconcile.
    Operator
}
role! {
    /// Somebody who may also manage devices, tokens and provisioning keys, and stop the whole fleet.
    Admin
}

/// The agent of a device.
pub(crate) struct Agent {
    pub(crate) device: DeviceId,
    pub(crate) request: RequestId,
    authorization: Option<HeaderValue>,
}

impl Agent {
    /// Refuses to speak for another device.
    pub(crate) fn must_be(&self, device: DeviceId, field: &str) -> ApiResult<()> {
        if device == self.device {
            Ok(())
        } else {
            Err(ApiProblem::other_device(field, self.device, device))
        }
    }

    /// Is the token still in force, after a wait during which it may have been revoked?
    pub(crate) async fn still_may(&self, app: &App) -> ApiResult<()> {
        let given = self.authorization.as_ref().ok_or_else(no_token)?;
        let session = app.hub.authenticate(secret_in(given)?).await;
        session.map(drop).map_err(ApiProblem::of_agent)
    }
}

impl FromRequestParts<App> for Agent {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let secret = bearer(&parts.headers)?.ok_or_else(no_token)?;
        let session = app.hub.authenticate(secret).await;
        let session = session.map_err(ApiProblem::of_agent)?;
        match session.grant {
            Grant::Agent(device) => Ok(Self {
                device,
                request: request_id(parts),
                authorization: parts.headers.get(header::AUTHORIZATION).cloned(),
            }),
            Grant::Operator(_) => Err(ApiProblem::forbidden("only a device's agent may do this")),
        }
    }
}

/// The provisioning key of a registration.
pub(crate) struct Key {
    pub(crate) secret: String,
    pub(crate) request: RequestId,
}

impl FromRequestParts<App> for Key {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let secret = bearer(&parts.headers)?.map(str::to_owned).ok_or_else(|| {
            ApiProblem::unauthenticated(
                "expected a provisioning key as `Authorization: Bearer …`, found nothing",
            )
        })?;
        app.hub.knows_key(&secret).await?;
        Ok(Self {
            secret,
            request: request_id(parts),
        })
    }
}

async fn operator(parts: &mut Parts, app: &App, wanted: Role) -> ApiResult<Caller> {
    let secret = match bearer(&parts.headers)? {
        Some(secret) => secret,
        None => {
            let secret = cookie(&parts.headers).ok_or_else(no_token)?;
            let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
            if !reads && !is_same_origin(&parts.headers, false) {
                return Err(ApiProblem::forbidden(
                    "a session's cookie counts for requests of the same origin only",
                ));
            }
            secret
        }
    };
    let session = app.hub.authenticate(secret).await?;
    match session.grant {
        Grant::Operator(role) if role >= wanted => Ok(Caller {
            session,
            request: request_id(parts),
            secret: secret.to_owned(),
        }),
        Grant::Operator(role) => {
            let why = format!(
                "this needs the role {}, the token has the role {}",
                wanted.as_str(),
                role.as_str()
            );
            Err(ApiProblem::forbidden(why))
        }
        Grant::Agent(_) => Err(ApiProblem::forbidden(
            "a device's token opens the agent's side of its device only",
        )),
    }
}

fn no_token() -> ApiProblem {
    ApiProblem::unauthenticated("expected a token as `Authorization: Bearer …`, found nothing")
}

fn request_id(parts: &Parts) -> RequestId {
    parts
        .extensions
        .get::<RequestId>()
        .cloned()
        .expect("the outermost layer gives every request an id")
}

fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    headers
        .get(header::AUTHORIZATION)
        .map(secret_in)
        .transpose()
}

fn secret_in(given: &HeaderValue) -> ApiResult<&str> {
    let words = given
        .to_str()
        .ok()
        .and_then(|text| text.trim().split_once(' '));
    match words {
        Some((scheme, secret))
            if scheme.eq_ignore_ascii_case("bearer") && !secret.trim().is_empty() =>
        {
            Ok(secret.trim())
        }
        _ => Err(ApiProblem::unauthenticated(
            "Authorization: expected `Bearer` and a token, found something else",
        )),
    }
}

/// The secret in the session's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let given = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
        .filter(|secret| !secret.is_empty())
}

/// Does the request come from a page of this server? Browsers say so; `otherwise` is for callers that say nothing.
pub(crate) fn is_same_origin(headers: &HeaderMap, otherwise: bool) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if let Some(site) = headers.get(SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
    else {
        return otherwise;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    origin.split_once("://").map(|(_, origin)| origin) == host
}
