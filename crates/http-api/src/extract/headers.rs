//! Conditions (RFC 9110, section 13) and preferences (RFC 7240).

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, header, request::Parts},
};
use holdfast_domain::Fingerprint;
use holdfast_wire::routes::{self, MAX_WAIT_S};

use crate::{
    App,
    problem::{ApiProblem, ApiResult},
};

/// `If-Match`: the version of the target that an edit was made on; `None`: any.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        /// A tag that is none of ours matches no version.
        const NEVER: u64 = u64::MAX;
        const EXPECTED: &str = "one entity tag such as \"v43\", or *";
        let Some(given) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = given.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let weak = text.starts_with("W/");
        let tag = text
            .trim_start_matches("W/")
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'));
        match tag.filter(|tag| !tag.contains('"')) {
            Some(tag) => {
                let version = tag.strip_prefix('v').and_then(|digits| digits.parse().ok());
                Ok(Self(Some(version.filter(|_| !weak).unwrap_or(NEVER))))
            }
            None => Err(ApiProblem::bad_request(
                "If-Match",
                EXPECTED,
                format!("{:?}", shortened(text)),
            )),
        }
    }
}

/// `If-Match`: the revision that a setpoint must have; `None`: any, or none.
pub(crate) struct IfRevision(pub(crate) Option<u64>);

impl FromRequestParts<App> for IfRevision {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        let Some(given) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = given.to_str().unwrap_or_default().trim();
        let tag = text.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let revision = tag.and_then(|digits| digits.parse().ok());
        match revision {
            Some(revision) => Ok(Self(Some(revision))),
            None => Err(ApiProblem::bad_request(
                "If-Match",
                "the setpoint's revision in quotes, such as \"7\"",
                format!("{:?}", shortened(text)),
            )),
        }
    }
}

/// `Idempotency-Key`: the same request with the same key changes nothing.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl FromRequestParts<App> for IdempotencyKey {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        const MOST: usize = 255;
        let Some(given) = parts.headers.get(routes::IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        let text = given.to_str().unwrap_or_default().trim();
        if (1..=MOST).contains(&text.len()) {
            return Ok(Self(Some(text.to_owned())));
        }
        let expected = format!("1 to {MOST} visible ASCII characters");
        let found = format!("{:?}", shortened(text));
        Err(ApiProblem::bad_request("Idempotency-Key", expected, found))
    }
}

/// `If-None-Match`: the document that the caller holds. `*` does not count: it names no document.
pub(crate) struct IfNoneMatch(pub(crate) Option<HeaderValue>);

impl IfNoneMatch {
    pub(crate) fn tag(&self) -> Option<&str> {
        let text = self.0.as_ref()?.to_str().ok()?.trim();
        Some(text.strip_prefix("W/").unwrap_or(text))
    }
}

impl FromRequestParts<App> for IfNoneMatch {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        Ok(Self(parts.headers.get(header::IF_NONE_MATCH).cloned()))
    }
}

/// `Prefer: wait=N`: how long the answer may be held back, at most [`MAX_WAIT_S`]; zero if nothing is said. A preference
/// that can't be understood is passed over, as RFC 7240 asks.
pub(crate) struct Wait(pub(crate) Duration);

impl FromRequestParts<App> for Wait {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        let wait = preferred(parts, "wait").and_then(|seconds| seconds.parse::<u64>().ok());
        Ok(Self(Duration::from_secs(
            wait.unwrap_or(0).min(u64::from(MAX_WAIT_S)),
        )))
    }
}

/// `Prefer: changes="b3:…"`: the identity of the configuration that an agent holds, which may be left out of its target.
pub(crate) struct HeldConfig(pub(crate) Option<Fingerprint>);

impl FromRequestParts<App> for HeldConfig {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        let held = preferred(parts, routes::CHANGES);
        Ok(Self(held.and_then(|text| text.parse().ok())))
    }
}

/// The value of a preference, without its quotes.
fn preferred<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    const PREFER: HeaderName = HeaderName::from_static("prefer");
    let given = parts.headers.get_all(PREFER);
    given
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.trim().split_once('='))
        .find(|(given, _)| given.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
