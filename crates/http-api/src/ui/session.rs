//! Signing in with a token, which becomes the session's cookie: HttpOnly, and sent by pages of this origin only.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use holdfast_ports::tokens::Grant;

use crate::{
    App, SecureCookies,
    auth::{self, COOKIE},
    extract::{Form, Query},
    problem::{ApiProblem, ApiResult},
    ui::{Layout, rendered},
};

/// Where to sign in, and what to show then.
pub(super) fn sign_in_path(wanted: &str) -> String {
    format!("/sign-in?next={}", escaped(wanted))
}

/// A text as the value of a query parameter.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    next: &'a str,
    wrong: Option<&'a str>,
}

pub(super) async fn form(mut query: Query) -> ApiResult<Response> {
    let next = query.one("next", "a path", |next| Some(next.to_owned()));
    query.finish()?;
    Ok(shown(StatusCode::OK, own_path(next.as_deref()), None))
}

fn shown(status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let content = rendered(&SignIn { next, wrong });
    let layout = Layout {
        title: "Sign in",
        section: "",
        user: None,
        content: &content,
    };
    (status, Html(rendered(&layout))).into_response()
}

/// A path of this server, whatever a link said.
fn own_path(next: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
    };
    next.filter(is_own).unwrap_or("/")
}

pub(super) async fn sign_in(
    State(app): State<App>,
    headers: HeaderMap,
    Form(fields): Form,
) -> ApiResult<Response> {
    same_origin(&headers, true)?;
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
    };
    let next = own_path(field("next"));
    let secret = field("token").unwrap_or_default();
    let session = match app.hub.authenticate(secret).await {
        Ok(session) => session,
        Err(error) => {
            let problem = ApiProblem::from(error);
            return Ok(shown(problem.status(), next, Some(problem.detail())));
        }
    };
    if let Grant::Agent(_) = session.grant {
        let wrong = "This token belongs to a device. Sign in with an operator's token.";
        return Ok(shown(StatusCode::FORBIDDEN, next, Some(wrong)));
    }
    // The token is known here, so it consists of what the hub puts into tokens, none of which ends a cookie's value.
    let secure = match app.settings.secure_cookies {
        SecureCookies::Always => "; Secure",
        SecureCookies::Auto if came_over_https(&headers) => "; Secure",
        SecureCookies::Auto | SecureCookies::Never => "",
    };
    let cookie = format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/{secure}");
    let cookie = HeaderValue::try_from(cookie)
        .map_err(|_| ApiProblem::unauthenticated("the token is not known"))?;
    let mut response = Redirect::to(next).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

pub(super) async fn sign_out(headers: HeaderMap) -> ApiResult<Response> {
    same_origin(&headers, true)?;
    let mut response = Redirect::to("/sign-in").into_response();
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let cookie = HeaderValue::try_from(cookie).expect("ASCII");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Did the browser get the form over HTTPS, from a proxy in front? It says so itself, and can harm itself only by a lie.
fn came_over_https(headers: &HeaderMap) -> bool {
    headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn same_origin(headers: &HeaderMap, otherwise: bool) -> ApiResult<()> {
    if auth::is_same_origin(headers, otherwise) {
        Ok(())
    } else {
        Err(ApiProblem::forbidden(
            "the form must come from a page of this server",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_own_path_is_gone_to_after_signing_in() {
        for (given, gone_to) in [
            (None, "/"),
            (Some("/devices/x?after=1"), "/devices/x?after=1"),
            (Some("//elsewhere.example"), "/"),
            (Some("https://elsewhere.example"), "/"),
            (Some("/\\elsewhere.example"), "/"),
        ] {
            assert_eq!(own_path(given), gone_to);
        }
    }

    #[test]
    fn the_wanted_path_survives_the_way_to_the_form() {
        assert_eq!(
            sign_in_path("/events?device=a&b"),
            "/sign-in?next=/events%3Fdevice%3Da%26b"
        );
    }
}
