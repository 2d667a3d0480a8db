//! The pages: the fleet, a device, the event log; rendered here, kept current by a small script that follows the event
//! stream and fetches the page's content anew.
//!
//! Everything is embedded and nothing is fetched from elsewhere. [`session`] signs people in; [`pages`] reads what a page
//! shows; [`acts`] is what its buttons do; [`view`], [`held`] and [`event`] put it into words.

mod acts;
mod event;
mod held;
mod pages;
mod session;
mod view;

use askama::Template;
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};

use crate::{App, problem::ApiProblem};

/// The pages' routes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(pages::fleet))
        .route("/stop", post(acts::stop_fleet))
        .route("/start", post(acts::start_fleet))
        .route("/devices/{uuid}", get(pages::device))
        .route("/devices/{uuid}/stop", post(acts::stop_device))
        .route("/devices/{uuid}/start", post(acts::start_device))
        .route("/devices/{uuid}/pauses/{id}/lift", post(acts::lift))
        .route("/events", get(pages::events))
        .route("/sign-in", get(session::form).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/assets/style.css", get(style))
        .route("/assets/app.js", get(script))
        .layer(axum::middleware::map_response(guarded))
}

/// What the browser may do with a page: nothing but what came from here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

async fn style() -> impl IntoResponse {
    asset(
        "text/css; charset=utf-8",
        include_str!("../../assets/style.css"),
    )
}

async fn script() -> impl IntoResponse {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../../assets/app.js"),
    )
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "public, max-age=300"),
        ],
        text,
    )
}

/// What all pages have around their content.
#[derive(Template)]
#[template(path = "layout.html")]
struct Layout<'a> {
    title: &'a str,
    section: &'a str,
    user: Option<&'a str>,
    content: &'a str,
}

/// The page, or only its content where the script asks for that.
fn page(headers: &HeaderMap, layout: &Layout<'_>) -> Response {
    const FRAGMENT: HeaderName = HeaderName::from_static("x-fragment");
    if headers.contains_key(FRAGMENT) {
        return Html(layout.content.to_owned()).into_response();
    }
    Html(rendered(layout)).into_response()
}

/// A template's text.
fn rendered(template: &impl Template) -> String {
    template.render().expect("templates write into memory only")
}

/// Why a page can't be shown; people get a page that says so, or the way to sign in.
struct PageError(Response);

impl PageError {
    fn new(problem: &ApiProblem, uri: &Uri) -> Self {
        let wanted = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::at(problem, wanted)
    }

    /// The same, where the page to come back to is another one.
    fn at(problem: &ApiProblem, wanted: &str) -> Self {
        if problem.status() == StatusCode::UNAUTHORIZED {
            return Self(Redirect::to(&session::sign_in_path(wanted)).into_response());
        }
        let content = rendered(&Failed {
            detail: problem.detail(),
            back: wanted,
        });
        let layout = Layout {
            title: "Not done",
            section: "",
            user: None,
            content: &content,
        };
        Self((problem.status(), Html(rendered(&layout))).into_response())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.0
    }
}

#[derive(Template)]
#[template(path = "failed.html")]
struct Failed<'a> {
    detail: &'a str,
    /// The page to go back to.
    back: &'a str,
}
