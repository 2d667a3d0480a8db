//! A hub behind a listener on a free port, with tokens for every role and two devices with agents.

use std::sync::Arc;

use holdfast_domain::{DeviceId, Name};
use holdfast_http_api::{ApiSettings, router};
use holdfast_hub::{Hub, HubParts, HubSettings};
use holdfast_ports::tokens::{Role, SecretHash};
use holdfast_testkit::{
    memory::MemoryStore,
    world::{ManualClock, SeededEntropy},
};
use holdfast_wire::{RegisterRequest, problem::ProblemDetails};
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server that ends with its test.
pub(crate) struct Server {
    pub(crate) admin: String,
    pub(crate) operator: String,
    pub(crate) viewer: String,
    pub(crate) a: FakeDevice,
    pub(crate) b: FakeDevice,
    url: String,
    client: reqwest::Client,
    _stop: DropGuard,
}

/// A device whose agent has registered.
pub(crate) struct FakeDevice {
    pub(crate) id: DeviceId,
    pub(crate) incarnation: Value,
    pub(crate) token: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(ApiSettings::default()).await
    }

    pub(crate) async fn with(settings: ApiSettings) -> Self {
        let store = Arc::new(MemoryStore::new());
        let parts = HubParts {
            devices: store.clone(),
            tokens: store.clone(),
            events: store.clone(),
            fleet: store.clone(),
            wakeups: store,
            clock: Arc::new(ManualClock::new(Timestamp::now())),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let hub = Hub::new(parts, HubSettings::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stop = CancellationToken::new();
        let (background, cancel) = (hub.clone(), stop.clone());
        tokio::spawn(async move { background.run(cancel).await });
        let service = router(hub.clone(), settings);
        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, service) => served.expect("serving"),
                () = cancel.cancelled() => {}
            }
        });
        let by = holdfast_domain::row::Actor::named("test");
        let token = async |role| {
            let name = format!("a {role:?}");
            hub.create_token(&name, role, None, &by)
                .await
                .expect("a token")
                .0
        };
        let (admin, operator, viewer) = (
            token(Role::Admin).await,
            token(Role::Operator).await,
            token(Role::Viewer).await,
        );
        let (key, _) = hub
            .create_key("plant", None, None, None, &by)
            .await
            .expect("a key");
        let client = client();
        let (a, b) = (
            register(&client, &url, &key, "a").await,
            register(&client, &url, &key, "b").await,
        );
        Self {
            admin,
            operator,
            viewer,
            a,
            b,
            url,
            client,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, Some(&self.admin))
            .send()
            .await
            .expect("an answer")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.expect("JSON")
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        self.request(method, path, Some(&self.admin))
            .json(body)
            .send()
            .await
            .expect("an answer")
    }

    /// The path of something of device A.
    pub(crate) fn of_a(&self, rest: &str) -> String {
        format!("/api/v1/devices/{}{rest}", self.a.id)
    }

    /// Adds a sensor to device A and gives its id.
    pub(crate) async fn add_sensor(&self, name: &str) -> String {
        let answer = self
            .send(Method::POST, &self.of_a("/sensors"), &sensor(name))
            .await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let body: Value = answer.json().await.expect("JSON");
        body["sensor"]["id"].as_str().expect("an id").to_owned()
    }

    /// Everything that an edit could have changed.
    pub(crate) async fn everything(&self) -> (Value, Value) {
        (
            self.json(&self.of_a("/target-state")).await,
            self.json("/api/v1/events?limit=1000").await,
        )
    }
}

fn client() -> reqwest::Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nowhere = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .redirect(nowhere)
        .no_proxy()
        .build()
        .expect("a client")
}

async fn register(client: &reqwest::Client, url: &str, key: &str, name: &str) -> FakeDevice {
    let token = format!("hfd_{name}");
    let request = RegisterRequest {
        name: Some(Name::new(name).expect("a name")),
        token_hash: RegisterRequest::hash_text(&SecretHash::of(&token).0),
        labels: std::collections::BTreeMap::from([("site".to_owned(), "north".to_owned())]),
        device: None,
    };
    let sent = client
        .post(format!("{url}/api/v1/device/register"))
        .bearer_auth(key)
        .json(&request)
        .send();
    let answer = sent.await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.expect("JSON");
    let id = answer["device"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("a UUID");
    FakeDevice {
        id,
        incarnation: answer["incarnation"].clone(),
        token,
    }
}

/// A Modbus sensor as people write it.
pub(crate) fn sensor(name: &str) -> Value {
    holdfast_testkit::builders::modbus_document(name, "10.0.0.5", 502)
}

/// A full report of a device that runs `items` of `version`.
pub(crate) fn report(device: &FakeDevice, sequence: u64, version: u64, items: &[Value]) -> Value {
    let parsed = items
        .iter()
        .map(|item| serde_json::from_value(item.clone()).expect("an item"));
    let running: Vec<holdfast_domain::Item> = parsed.collect();
    let fingerprint = holdfast_domain::document::report::running_fingerprint(&running);
    json!({ device.id.to_string(): {
        "incarnation": device.incarnation, "boot": 1, "sequence": sequence, "heldVersion": version,
        "runningFingerprint": fingerprint, "version": version,
        "config": { "protocolAdapterDevices": items }, "failures": [], "health": {},
    } })
}

/// The problem of an answer, which must be one.
pub(crate) async fn problem(answer: Response, status: StatusCode) -> ProblemDetails {
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let id = answer.headers().contains_key("x-request-id");
    let (found, text) = (answer.status(), answer.text().await.expect("a body"));
    assert_eq!(found, status, "{text}");
    assert_eq!(
        kind.as_ref().map(|kind| kind.as_bytes()),
        Some(&b"application/problem+json"[..]),
        "{text}"
    );
    assert!(id, "every answer has a request id");
    let problem: ProblemDetails = serde_json::from_str(&text).expect("a problem");
    assert_eq!(problem.status, status.as_u16());
    assert!(problem.instance.is_some());
    problem
}

/// The problem names `field`.
pub(crate) fn assert_names(problem: &ProblemDetails, field: &str) {
    assert!(
        problem.errors.iter().any(|error| error.field == field),
        "expected {field}, found {problem:?}"
    );
}
