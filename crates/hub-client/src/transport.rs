//! One request, one bounded answer: connections, deadlines, sizes, the token.
//!
//! Leaves to its users what an answer means. Never follows a redirect (a token is for the hub it was given for) and
//! never retries.

use std::{error::Error, fmt::Write as _, io, time::Duration};

use holdfast_domain::{Fingerprint, without_numbers};
use holdfast_wire::routes::CHANGES;
use reqwest::{
    Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::timeout;

use crate::address::HubAddress;

/// Preferences (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long making a connection may take: a round trip around the world, many times over.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an ordinary request may take, its answer read whole.
pub(crate) const REQUEST: Duration = Duration::from_secs(15);

/// Most bytes of an answer: a target document at its largest, its envelope, and room for lists.
pub(crate) const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// How to speak to a hub.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it is.
    pub address: HubAddress,
    /// An authority (PEM) that is trusted besides the system's, for a hub with a certificate of one's own.
    pub extra_authority_pem: Option<Vec<u8>>,
}

impl Connection {
    /// To the hub at `address`.
    #[must_use]
    pub const fn to(address: HubAddress) -> Self {
        Self {
            address,
            extra_authority_pem: None,
        }
    }

    /// Trusts this authority (PEM) too.
    ///
    /// # Errors
    /// [`ClientError::Authority`] or [`ClientError::NoAuthority`]: it is none.
    pub fn trusting(mut self, pem: Vec<u8>) -> Result<Self, ClientError> {
        authorities(&pem)?;
        self.extra_authority_pem = Some(pem);
        Ok(self)
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token can't stand in a header.
    #[error("expected a token of printable ASCII characters, found other characters in it")]
    Token,
    /// The extra authority is no certificate.
    #[error("expected a certificate in PEM as the extra authority")]
    Authority(#[source] reqwest::Error),
    /// There is no certificate in what was given as the extra authority.
    #[error("expected a certificate in PEM as the extra authority, found none")]
    NoAuthority,
    /// TLS could not be set up.
    #[error("could not set up the HTTP client")]
    Setup(#[source] reqwest::Error),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection came about.
    #[error("could not connect: {}", innermost(.0))]
    Connect(reqwest::Error),
    /// It was not answered, or not to the end, in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke: {}", innermost(.0))]
    Broken(reqwest::Error),
    /// The answer is larger than any that the hub gives.
    #[error("expected an answer of at most {ANSWER_BYTES} bytes, found a longer one")]
    TooLong,
}

/// The text at the end of a chain of errors: what happened, without the layers that passed it on. What TLS complains of is
/// said with what can be done.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    // An error of input and output gives the one within it by this alone.
    while let Some(within) = last
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        last = within;
    }
    match last.downcast_ref() {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "expected TLS, found a server that does not speak it: is the address https?".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "expected a certificate of an authority that is trusted here, found one of another: name the hub's own authority \
             (ca_file of an agent, HOLDFAST_CA of the commands)"
                .to_owned()
        }
        _ => without_numbers(&last.to_string()),
    }
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    deadline: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            deadline: REQUEST,
        }
    }

    /// Adds a query parameter.
    #[must_use]
    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    /// Adds a query parameter where there is a value.
    #[must_use]
    pub(crate) fn query_opt(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(key, &value.to_string()),
            None => self,
        }
    }

    /// Adds a header; a value that can't be one is left out (entity tags and numbers always can).
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Asks the hub to wait up to `wait` (RFC 7240), and waits a little longer itself.
    #[must_use]
    pub(crate) fn prefer_wait(mut self, wait: Duration) -> Self {
        self.deadline = REQUEST + wait;
        self.header(PREFER, &format!("wait={}", wait.as_secs()))
    }

    /// Says that the answer may leave out the configuration of this identity.
    #[must_use]
    pub(crate) fn prefer_changes(mut self, held: Fingerprint) -> Self {
        if let Ok(value) = HeaderValue::from_str(&format!("{CHANGES}=\"{held}\"")) {
            self.headers.append(PREFER, value);
        }
        self
    }

    /// Sends `body` as JSON.
    #[must_use]
    pub(crate) fn json(self, body: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("documents have text keys and finite numbers");
        Self {
            body: Some(bytes),
            ..self
        }
        .header(header::CONTENT_TYPE, "application/json")
    }

    /// `GET http://…`, without the query: for messages.
    pub(crate) fn named(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        format!("{} {url}", self.method)
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The media type, without parameters.
    pub(crate) fn media_type(&self) -> Option<&str> {
        media_type(&self.headers)
    }

    /// The entity tag.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.headers.get(header::ETAG)?.to_str().ok()
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim())
}

/// Speaks to one hub, with one token.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Client,
    address: HubAddress,
    bearer: HeaderValue,
}

impl Transport {
    pub(crate) fn new(connection: &Connection, token: &str) -> Result<Self, ClientError> {
        // The process has one provider of cryptography; whoever installs it first, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        bearer.set_sensitive(true);
        let address = &connection.address;
        let mut builder = Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(30));
        if !address.is_encrypted() {
            // No TLS will be spoken: a machine without the system's certificates must not matter.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = &connection.extra_authority_pem {
            builder = builder.tls_certs_merge(authorities(pem)?);
        }
        if address.is_loopback() || !address.is_encrypted() {
            // A proxy would see what must stay on this machine, or is in the clear.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(ClientError::Setup)?;
        Ok(Self {
            client,
            address: address.clone(),
            bearer,
        })
    }

    /// A call of `/api/v1/` and `segments`.
    pub(crate) fn call(&self, method: Method, segments: &[&str]) -> Call {
        Call::new(method, self.address.api(segments))
    }

    pub(crate) const fn address(&self) -> &HubAddress {
        &self.address
    }

    fn request(&self, call: Call) -> RequestBuilder {
        let mut request = self
            .client
            .request(call.method, call.url)
            .headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        request.header(header::AUTHORIZATION, self.bearer.clone())
    }

    /// Sends `call` and reads its answer whole.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, NoAnswer> {
        let deadline = call.deadline;
        let exchange = async {
            let response = self.request(call).send().await.map_err(of_reqwest)?;
            read(response).await
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(deadline)))
    }

    /// Sends `call` and gives its answer as soon as it begins: for streams.
    pub(crate) async fn open(&self, call: Call) -> Result<Opened, NoAnswer> {
        let deadline = call.deadline;
        let exchange = async {
            let response = self.request(call).send().await.map_err(of_reqwest)?;
            let is_stream = media_type(response.headers()) == Some("text/event-stream");
            if response.status() == StatusCode::OK && is_stream {
                return Ok(Opened::Stream(response));
            }
            read(response).await.map(Opened::Other)
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(deadline)))
    }
}

/// The beginning of an answer to a call for a stream.
pub(crate) enum Opened {
    /// The stream.
    Stream(Response),
    /// Something else, whole.
    Other(Answer),
}

async fn read(mut response: Response) -> Result<Answer, NoAnswer> {
    let length = response.content_length().unwrap_or_default();
    let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(ANSWER_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(NoAnswer::Broken)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(NoAnswer::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    let authorities = Certificate::from_pem_bundle(pem).map_err(ClientError::Authority)?;
    if authorities.is_empty() {
        return Err(ClientError::NoAuthority);
    }
    Ok(authorities)
}

fn of_reqwest(error: reqwest::Error) -> NoAnswer {
    if error.is_connect() {
        // "could not connect" is said already; the address stands in the call's name.
        return if error.is_timeout() {
            NoAnswer::TimedOut(CONNECT)
        } else {
            NoAnswer::Connect(error)
        };
    }
    NoAnswer::Broken(error)
}

/// Adds `: text` where there is text.
pub(crate) fn append(message: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = write!(message, ": {text}");
    }
}
