//! HTTP as a stranger speaks it: paths, headers and JSON values.

use std::{net::SocketAddr, sync::Once};

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// Somebody who talks to a hub.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body: as JSON if it is that, else as a text, else null.
    pub(crate) body: Value,
}

impl Client {
    /// Talks to the hub at `base` with `token`, or with none.
    pub(crate) fn new(base: &str, token: Option<&str>) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let installed = rustls::crypto::ring::default_provider().install_default();
            installed.expect("nobody else installs one in a test");
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client without special wishes");
        Self {
            http,
            base: base.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// The same with another token, and connections of its own.
    pub(crate) fn with(&self, token: Option<&str>) -> Self {
        Self::new(&self.base, token)
    }

    /// The same at another hub.
    pub(crate) fn at(&self, other: &Self) -> Self {
        Self::new(&other.base, self.token.as_deref())
    }

    /// Where the hub listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.base
            .trim_start_matches("http://")
            .parse()
            .expect("hubs of tests are reached by their address")
    }

    /// The same, with a new connection for each request.
    pub(crate) fn reconnecting(&self) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build();
        Self {
            http: http.expect("a client without special wishes"),
            ..self.clone()
        }
    }

    /// A request with the token, to be completed and [sent](send).
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The answer to a request with a JSON body, whatever it is.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path);
        send(if body.is_null() {
            request
        } else {
            request.json(body)
        })
        .await
    }

    /// The body of a good answer to `GET`.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).await.good(path)
    }

    /// The body of a good answer.
    pub(crate) async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).await.good(path)
    }

    /// Every item of a list, page after page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mut page = self.get(&format!("{path}{sign}limit=1000{after}")).await;
            let taken = page["items"]
                .as_array_mut()
                .map(std::mem::take)
                .expect("a list has items");
            let is_last = taken.is_empty();
            items.extend(taken);
            match page["next"].as_str() {
                Some(next) if !is_last => after = format!("&after={next}"),
                _ => return items,
            }
        }
    }
}

/// Sends a request, whatever is answered.
///
/// # Panics
/// If nothing is answered.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("the hub answers")
}

/// Sends a request; an error if nothing is answered.
pub(crate) async fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = match serde_json::from_str(&text) {
        Ok(body) => body,
        Err(_) if text.is_empty() => Value::Null,
        Err(_) => Value::String(text),
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}

impl Answer {
    /// The body, if the answer is a good one.
    pub(crate) fn good(self, what: &str) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{what}: {} {:#}",
            self.status,
            self.body
        );
        self.body
    }

    /// A header's text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Checks that this is a problem with `status` that names `field`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, field: &str) {
        assert_eq!(self.status, status, "{:#}", self.body);
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{:#}",
            self.body
        );
        assert_eq!(self.body["status"], status, "{:#}", self.body);
        let errors = self.body["errors"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let named = errors.iter().find(|error| error["field"] == field);
        let named = named.unwrap_or_else(|| panic!("no error names {field:?}: {:#}", self.body));
        let says = |key: &str| named[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(says("expected") && says("found"), "{named:#}");
    }

    /// Checks the status; an error must be a problem.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) {
        assert_eq!(self.status, status, "{:#}", self.body);
        if status >= 400 {
            assert_eq!(
                self.header("content-type"),
                "application/problem+json",
                "{:#}",
                self.body
            );
        }
    }
}
