//! Errors as problem details (RFC 9457). A handler gives the problem; [`crate::finish`] writes it into the answer.

use std::{error::Error, fmt::Display};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use holdfast_domain::{DeviceId, Problems};
use holdfast_hub::{AuthError, HubError};
use holdfast_ports::{StoreError, events::ReadError};
use holdfast_wire::problem::{ProblemDetails, types};

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct ApiProblem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    details: ProblemDetails,
    headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) type ApiResult<T> = Result<T, ApiProblem>;

impl ApiProblem {
    pub(crate) fn new(status: StatusCode, kind: &str, title: &str) -> Self {
        let details = ProblemDetails {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            instance: None,
            errors: Vec::new(),
            device: None,
        };
        Self(Box::new(Inner {
            details,
            headers: Vec::new(),
        }))
    }

    /// Says what is wrong this time.
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.0.details.detail = Some(detail.into());
        self
    }

    /// Names a field that is wrong.
    pub(crate) fn field(
        mut self,
        field: &str,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        self.0
            .details
            .errors
            .extend_from_slice(Problems::one(field, expected, found).list());
        self
    }

    fn device(mut self, device: DeviceId) -> Self {
        self.0.details.device = Some(device);
        self
    }

    fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    fn problems(mut self, problems: &Problems) -> Self {
        self.0.details.detail = Some(problems.to_string());
        self.0.details.errors = problems.list().to_vec();
        self
    }

    /// A parameter or header is wrong.
    pub(crate) fn bad_request(field: &str, expected: impl Display, found: impl Display) -> Self {
        Self::bad_parameters(&Problems::one(field, expected, found))
    }

    /// Parameters are wrong.
    pub(crate) fn bad_parameters(problems: &Problems) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            types::INVALID,
            "The request is not valid",
        )
        .problems(problems)
    }

    /// Fields of the body are wrong.
    pub(crate) fn invalid(problems: &Problems) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            types::INVALID,
            "The document is not valid",
        )
        .problems(problems)
    }

    pub(crate) fn unauthenticated(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            types::UNAUTHENTICATED,
            "A valid token is needed",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer")
        .because(why)
    }

    pub(crate) fn forbidden(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            types::FORBIDDEN,
            "The token does not allow this",
        )
        .because(why)
    }

    /// Somebody speaks for a device that is not theirs.
    pub(crate) fn other_device(field: &str, own: DeviceId, found: DeviceId) -> Self {
        Self::forbidden("a device's token opens its own device only").field(field, own, found)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            types::NOT_FOUND,
            "There is no such thing",
        )
        .because(what)
    }

    pub(crate) fn deleted(device: DeviceId) -> Self {
        Self::new(
            StatusCode::GONE,
            types::DEVICE_DELETED,
            "The device was deleted",
        )
        .because(format!(
            "device {device} was deleted: its agent has nothing more to do"
        ))
        .device(device)
    }

    fn revoked(device: DeviceId) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            types::DEVICE_REVOKED,
            "The device's access was revoked",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer")
        .because(format!(
            "this token of device {device} was revoked: register again with a new provisioning key"
        ))
        .device(device)
    }

    /// What an agent's token opens nothing for. That it is not known is a kind of its own: the agent can do something for it.
    pub(crate) fn of_agent(error: AuthError) -> Self {
        if matches!(error, AuthError::Unknown) {
            return Self::new(
                StatusCode::UNAUTHORIZED,
                types::TOKEN_UNKNOWN,
                "The token is not known",
            )
            .header(header::WWW_AUTHENTICATE, "Bearer")
            .because(
                "this hub has no such token of an agent: it was perhaps restored from a backup that is older than the \
                 agent's registration. A provisioning key that is good registers the agent again",
            );
        }
        error.into()
    }

    pub(crate) fn conflict(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            types::CONFLICT,
            "It can't be done as things stand",
        )
        .because(why)
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            types::UNAVAILABLE,
            "Not now",
        )
        .header(header::RETRY_AFTER, "1")
        .because(why)
    }

    /// So many ask for the same that this one can't have it now.
    pub(crate) fn full(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            types::UNAVAILABLE,
            "Not now",
        )
        .header(header::RETRY_AFTER, "10")
        .because(why)
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            types::INTERNAL,
            "An error of the hub",
        )
        .because("a bug: the hub's log has more under this answer's x-request-id")
    }

    /// What stands behind a bare status that a library answered with.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("An error");
        match status {
            StatusCode::NOT_FOUND => {
                Self::not_found("no page and no resource has this path: see /docs")
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                types::METHOD_NOT_ALLOWED,
                "The path does not take this method",
            )
            .because("the header Allow lists the methods that it takes"),
            status if status.is_client_error() => Self::new(status, types::INVALID, title),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable("the hub is not ready"),
            _ => Self::internal(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.details.status).expect("made from a status")
    }

    pub(crate) fn detail(&self) -> &str {
        self.0
            .details
            .detail
            .as_deref()
            .unwrap_or(&self.0.details.title)
    }

    /// The details of a request to `path`.
    pub(crate) fn details(&self, path: &str) -> ProblemDetails {
        ProblemDetails {
            instance: Some(path.to_owned()),
            ..self.0.details.clone()
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response
            .headers_mut()
            .extend(self.0.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn Error, "the store failed");
        Self::unavailable(
            "the hub's store is out of reach or failed: try again; the hub's log says why",
        )
    }
}

impl From<HubError> for ApiProblem {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Invalid(problems) => Self::invalid(&problems),
            HubError::NameTaken(problems) => Self::conflict("").problems(&problems),
            HubError::OtherDevice { own, found } => Self::other_device(DOCUMENT_KEY, own, found),
            HubError::PreconditionFailed { found } => {
                let title = "The document was changed meanwhile";
                Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    types::PRECONDITION_FAILED,
                    title,
                )
                .because(error.to_string())
                .field(
                    "If-Match",
                    holdfast_wire::target::etag(found),
                    "another version",
                )
            }
            HubError::SetpointChanged { found } => {
                let title = "The setpoint was changed meanwhile";
                let expected = found.map_or("no setpoint at all".to_owned(), |revision| {
                    format!("\"{revision}\"")
                });
                Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    types::PRECONDITION_FAILED,
                    title,
                )
                .because(error.to_string())
                .field("If-Match", expected, "another revision")
            }
            HubError::NotShown(problems) => {
                let title = "The point shows another value";
                Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    types::PRECONDITION_FAILED,
                    title,
                )
                .problems(&problems)
            }
            HubError::NotHoldable(problems) => Self::conflict("").problems(&problems),
            HubError::KeyNotAccepted(why) => Self::unauthenticated(why),
            HubError::Refused(why) => Self::conflict(why),
            HubError::NotFound(_) | HubError::DeviceGone(_) => Self::not_found(error.to_string()),
            HubError::Busy => Self::unavailable(error.to_string()),
            HubError::Store(error) => error.into(),
        }
    }
}

/// What the one key of a report or target is called in errors.
pub(crate) const DOCUMENT_KEY: &str = "the document's key";

impl From<AuthError> for ApiProblem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unknown | AuthError::Expired | AuthError::Revoked { device: None } => {
                Self::unauthenticated(error.to_string())
            }
            AuthError::Revoked {
                device: Some(device),
            } => Self::revoked(device),
            AuthError::DeviceDeleted { device } => Self::deleted(device),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<ReadError> for ApiProblem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoSuchCursor(found) => Self::bad_request(
                "after",
                "a cursor that an earlier answer gave",
                format!("{found:?}"),
            ),
            ReadError::Store(error) => error.into(),
        }
    }
}
