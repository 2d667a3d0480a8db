//! Who may come in.
//!
//! First, every request must be made to this machine by one of its own names: a page that gave the machine another name
//! (DNS rebinding) names that in `Host`. If a browser says which page made the request, it must be one of this server.
//! Then, what is seen and done needs the token, or the cookie of somebody who signed in with it. A cookie is sent to every
//! port of the machine, so it holds a session's secret, which ends with the agent, and never the token.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use holdfast_domain::Fields;
use holdfast_ports::tokens::{SecretHash, new_secret};

use crate::{App, body, problem::Refused, token::is_same};

/// Name of the session's cookie.
const COOKIE: &str = "holdfast_agent_session";

/// Sessions at a time: one more ends the oldest.
const SESSIONS: usize = 16;

/// How long a session lasts: a shift.
const LASTS: Duration = Duration::from_secs(12 * 3_600);

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names by which this machine is called from itself.
fn is_own_name(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    ["127.0.0.1", "[::1]"].contains(&name) || name.eq_ignore_ascii_case("localhost")
}

/// What the request calls this server; `None`: it doesn't say, or says several things.
fn host<'a>(headers: &'a HeaderMap, uri: &Uri) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    let agrees = uri
        .authority()
        .is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
    (hosts.next().is_none() && agrees).then_some(host)
}

/// Was it made by a page of this server? `None`: nothing is said, as programs do that are no browsers.
fn is_same_origin(headers: &HeaderMap, host: &str) -> Option<bool> {
    let site = headers.get(SITE);
    let origin = headers.get(header::ORIGIN);
    let is_own = |origin: &HeaderValue| {
        let text = origin.to_str().unwrap_or_default();
        text.strip_prefix("http://")
            .is_some_and(|of| of.eq_ignore_ascii_case(host))
    };
    match (site, origin) {
        (None, None) => None,
        (site, origin) => Some(
            site.is_none_or(|site| site == "same-origin" || site == "none")
                && origin.is_none_or(is_own),
        ),
    }
}

/// Lets in only what is addressed to this machine, by this machine's pages or by no page.
pub(crate) async fn of_this_machine(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let Some(host) = host(headers, request.uri()).filter(|host| is_own_name(host)) else {
        let why = "Host: expected a name of this machine itself, such as 127.0.0.1 or localhost";
        return closed(Refused::forbidden(why).into_response());
    };
    // Following a link from elsewhere to the page is no harm: it shows nothing without the cookie, which is not sent then.
    let is_a_link = request.method() == Method::GET
        && request.uri().path() == "/"
        && headers.get(header::ORIGIN).is_none();
    if !is_a_link && is_same_origin(headers, host) == Some(false) {
        let why = "Origin: expected a page of this server, or none";
        return closed(Refused::forbidden(why).into_response());
    }
    closed(next.run(request).await)
}

/// No answer is kept, framed, or guessed at.
fn closed(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
        img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets in only who has the token, or has signed in with it.
pub(crate) async fn with_token(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let headers = request.headers();
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        let secret = given
            .to_str()
            .ok()
            .and_then(|text| text.trim().split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret.trim());
        if !secret.is_some_and(|secret| app.token.is(secret)) {
            return Err(wrong_token(&app));
        }
        return Ok(next.run(request).await);
    }
    if !cookie(headers).is_some_and(|secret| app.sessions.has(secret, Instant::now())) {
        return Err(wrong_token(&app));
    }
    let host = host(headers, request.uri()).unwrap_or_default();
    // A cookie comes along by itself: what changes something must say that a page of this server asked for it.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && is_same_origin(headers, host) != Some(true) {
        let why = "a session's cookie counts for requests of this server's own page only";
        return Err(Refused::forbidden(why));
    }
    Ok(next.run(request).await)
}

fn wrong_token(app: &App) -> Refused {
    Refused::unauthenticated(format!(
        "expected the agent's local token as `Authorization: Bearer …`, or a session: it is in the file {}",
        app.token.path().display()
    ))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let given = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
}

/// Who has signed in, the longest ago first.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<(SecretHash, Instant)>>);

impl Sessions {
    fn add(&self, secret: &str, now: Instant) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back((SecretHash::of(secret), now));
    }

    fn has(&self, secret: &str, now: Instant) -> bool {
        let hash = SecretHash::of(secret);
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|(_, since)| now.duration_since(*since) < LASTS);
        sessions.iter().any(|(known, _)| is_same(known, &hash))
    }

    fn end(&self, secret: &str) {
        let hash = SecretHash::of(secret);
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|(known, _)| !is_same(known, &hash));
    }
}

/// Signing in.
struct SignIn {
    token: String,
}

impl holdfast_wire::Request for SignIn {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let token = fields.text("token", "the agent's local token")?;
        Some(Self { token })
    }
}

/// Signs in with the token: the answer is the session's cookie.
pub(crate) async fn sign_in(
    State(app): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refused> {
    let SignIn { token } = body::read(&headers, sent).await?;
    if !app.token.is(token.trim()) {
        return Err(wrong_token(&app));
    }
    let secret = new_secret("hfs", app.entropy.secret());
    app.sessions.add(&secret, Instant::now());
    let cookie = format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/");
    Ok(with_cookie(&cookie))
}

/// Has this browser signed in? Asked by the page, which would else have to ask for what it may not see.
pub(crate) async fn signed_in(State(app): State<App>, headers: HeaderMap) -> Response {
    let is_in = cookie(&headers).is_some_and(|secret| app.sessions.has(secret, Instant::now()));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, format!(r#"{{"signedIn":{is_in}}}"#)).into_response()
}

/// Signs out.
pub(crate) async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers) {
        app.sessions.end(secret);
    }
    with_cookie(&format!(
        "{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"
    ))
}

fn with_cookie(cookie: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let cookie = HeaderValue::try_from(cookie).expect("a secret is made of letters and digits");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_count() {
        for own in [
            "127.0.0.1:3334",
            "127.0.0.1",
            "localhost:80",
            "LocalHost",
            "[::1]:3334",
            "[::1]",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "",
            "evil.example:3334",
            "127.0.0.1.evil.example",
            "localhost.evil.example:3334",
            "127.0.0.2:3334",
            "10.0.0.5:3334",
            "[::2]:3334",
            "127.0.0.1:3334@evil.example",
            "localhost:evil",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
    }

    #[test]
    fn sessions_end_and_are_few() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        for number in 0..=SESSIONS {
            sessions.add(&number.to_string(), start);
        }
        assert!(!sessions.has("0", start), "the oldest made room");
        assert!(sessions.has("1", start));
        sessions.end("1");
        assert!(!sessions.has("1", start));
        assert!(!sessions.has("2", start + LASTS));
    }
}
