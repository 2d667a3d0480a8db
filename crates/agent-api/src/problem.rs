//! Errors as problem details (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use holdfast_domain::Problems;
use holdfast_wire::problem::{MEDIA_TYPE, ProblemDetails, types};

/// An error on its way to the caller.
pub(crate) struct Refused(Box<ProblemDetails>);

impl Refused {
    pub(crate) fn new(
        status: StatusCode,
        kind: &str,
        title: &str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(ProblemDetails {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: Some(detail.into()),
            instance: None,
            errors: Vec::new(),
            device: None,
        }))
    }

    pub(crate) fn forbidden(why: impl Into<String>) -> Self {
        let title = "Requests of other origins are not taken";
        Self::new(StatusCode::FORBIDDEN, types::FORBIDDEN, title, why)
    }

    pub(crate) fn unauthenticated(why: impl Into<String>) -> Self {
        let title = "The agent's local token is needed";
        Self::new(StatusCode::UNAUTHORIZED, types::UNAUTHENTICATED, title, why)
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, types::UNAVAILABLE, "Not now", why)
    }

    /// Fields of the body are wrong.
    pub(crate) fn invalid(problems: &Problems) -> Self {
        let title = "The document is not valid";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let mut refused = Self::new(status, types::INVALID, title, problems.to_string());
        refused.0.errors = problems.list().to_vec();
        refused
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).expect("made from a status");
        let body = serde_json::to_vec(&self.0).expect("problem details have text keys");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

pub(crate) async fn not_found() -> Refused {
    let why = "no page and no resource has this path: there are / and /api/v1/reconciliation";
    Refused::new(
        StatusCode::NOT_FOUND,
        types::NOT_FOUND,
        "There is no such thing",
        why,
    )
}

pub(crate) async fn method_not_allowed() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        types::METHOD_NOT_ALLOWED,
        "The path does not take this method",
        "the header Allow lists the methods that it takes",
    )
}
