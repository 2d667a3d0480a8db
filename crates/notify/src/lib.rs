//! Webhooks: an HTTP request for each notice, signed so that the receiver knows who sent it.
//!
//! The form is that of Standard Webhooks 1.0.0 (standardwebhooks.com): an id that stays the same when a notice is sent again, a
//! time, and HMAC-SHA256 over both and the body. When to send, and again, is not decided here: see the reconciler.

mod signature;

use std::time::Duration;

use async_trait::async_trait;
use holdfast_domain::{event::Event, in_words};
use holdfast_ports::{
    clock::Clock,
    notices::{NotTold, Notifier},
};
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::json;
use std::sync::Arc;

pub use signature::{Secret, SecretError};

/// The longest that a receiver may take to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where notices go.
pub struct WebhookOptions {
    /// Its name: how far it has come is kept under it.
    pub name: String,
    /// `https://…`; `http://…` only where the path to the receiver is trusted.
    pub url: String,
    /// What requests are signed with.
    pub secret: Secret,
}

/// A receiver of notices.
pub struct Webhook {
    name: String,
    url: Url,
    secret: Secret,
    client: Client,
    clock: Arc<dyn Clock>,
}

/// Why there can be no such webhook.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The address is not one.
    #[error("webhook {name}: expected an http or https address, found {found:?}")]
    Address {
        /// Which webhook.
        name: String,
        /// What was found.
        found: String,
    },
    /// The client could not be made.
    #[error("webhook {name}: the HTTP client can't be made")]
    Client {
        /// Which webhook.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
}

impl Webhook {
    /// A webhook; nothing is sent yet.
    ///
    /// # Errors
    /// If the address is none, or the system's certificates can't be read.
    pub fn new(options: WebhookOptions, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        let WebhookOptions { name, url, secret } = options;
        let parsed = Url::parse(&url).ok();
        let Some(url) = parsed.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            return Err(WebhookError::Address { name, found: url });
        };
        // The process has one provider of cryptography; whoever installs it first, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            // Who was configured is told, and nobody else.
            .redirect(redirect::Policy::none())
            .timeout(ANSWER_WITHIN)
            .build();
        match client {
            Ok(client) => Ok(Self {
                name,
                url,
                secret,
                client,
                clock,
            }),
            Err(source) => Err(WebhookError::Client { name, source }),
        }
    }
}

/// The same for each sending of an event.
fn id(event: &Event) -> String {
    format!("{}-{}", event.device, event.sequence)
}

#[async_trait]
impl Notifier for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, event: &Event) -> Result<(), NotTold> {
        let body = json!({
            "type": event.kind,
            "timestamp": event.at,
            "data": { "deviceId": event.device, "sequence": event.sequence, "trouble": event.payload },
        });
        let body = serde_json::to_vec(&body).map_err(|error| NotTold(error.to_string()))?;
        let id = id(event);
        let at = self.clock.now().as_second();
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", self.secret.sign(&id, at, &body))
            .body(body);
        // The address may hold a secret of the receiver's.
        let answer = request.send().await.map_err(|error| {
            let error = error.without_url();
            NotTold(format!(
                "the receiver can't be reached: {}",
                in_words(&error)
            ))
        })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(NotTold(
                "expected a success, found 410 Gone: the receiver wants no more; take the webhook out of the configuration"
                    .to_owned(),
            )),
            status => Err(NotTold(format!("expected a success, found {status}"))),
        }
    }
}
