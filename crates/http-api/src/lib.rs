//! The hub's HTTP API, its OpenAPI description, and the pages.
//!
//! A thin layer: it finds out who asks and what for, calls a use case of the hub, and puts the answer into the forms of
//! `holdfast-wire`. It decides nothing about devices.
//!
//! Where to look: `auth` (who may), `extract` (reading requests strictly), `problem` and `finish` (what every
//! error looks like, request ids, panics); `agent` is the agent's side and hot; `devices`, `sensors`, `target`,
//! `rows`, `setpoints`, `budget`, `commands`, `reconciliation`, `observe`, `events`, `tokens` are the operators'; `system` is health, metrics and documentation;
//! `ui` the pages; `bounds` what is held back at once. Listening is left to `holdfast-runtime`.

mod agent;
mod auth;
mod bounds;
mod budget;
mod commands;
mod devices;
mod events;
mod extract;
mod finish;
mod fleet_loops;
mod observe;
mod paged;
mod problem;
mod reconciliation;
mod rows;
mod sensors;
mod setpoints;
mod start_plan;
mod system;
mod target;
mod tokens;
mod ui;

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::Router;
use holdfast_hub::Hub;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest body of a request, in bytes: one device's whole document.
pub const BODY_BYTES: usize = holdfast_domain::limits::DOCUMENT_BYTES;

/// The largest body of a request that carries no document (registrations, names, tokens, forms), in bytes: 64 labels of
/// full length fit. Whoever may send it need not be trusted with more.
pub const SMALL_BODY_BYTES: usize = 64 * 1024;

/// What can be set.
#[derive(Clone)]
pub struct ApiSettings {
    /// Gives all metrics in Prometheus' text format.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// May the pages' session cookie be sent over plain HTTP?
    pub secure_cookies: SecureCookies,
    /// Most long polls for targets at the same time. One more gets a target that is new to it; if there is none it is
    /// answered 503, and comes back.
    pub long_polls: usize,
    /// How long a body may take to come: the largest one over a slow mobile link, and no connection held for ever.
    pub body_patience: Duration,
    /// The process ends: what is held back is answered now.
    pub ending: CancellationToken,
}

/// May the pages' session cookie be sent over plain HTTP?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecureCookies {
    /// As the browser signed in: if its page came over HTTPS, the cookie is never sent over anything else.
    #[default]
    Auto,
    /// Never. Signing in over plain HTTP does not work then (but from the hub's own machine).
    Always,
    /// Yes.
    Never,
}

impl Default for ApiSettings {
    /// No metrics; bounds for some thousand devices.
    fn default() -> Self {
        Self {
            render_metrics: Arc::new(String::new),
            secure_cookies: SecureCookies::Auto,
            long_polls: 5_000,
            body_patience: Duration::from_secs(120),
            ending: CancellationToken::new(),
        }
    }
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
struct App(Arc<AppParts>);

struct AppParts {
    hub: Hub,
    settings: ApiSettings,
    feed: events::Feed,
    bounds: bounds::Bounds,
    fleet_loops: fleet_loops::FleetLoops,
    openapi: bytes::Bytes,
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// The whole of it as a service.
///
/// # Panics
/// If two routes contradict each other, which a test would show.
pub fn router(hub: Hub, settings: ApiSettings) -> Router {
    let (api, description) = api().split_for_parts();
    let openapi = description
        .to_pretty_json()
        .expect("the description is JSON")
        .into();
    let feed = events::Feed::new(hub.parts().events.clone());
    let bounds = bounds::Bounds::new(settings.long_polls);
    let app = App(Arc::new(AppParts {
        hub,
        bounds,
        settings,
        feed,
        fleet_loops: fleet_loops::FleetLoops::default(),
        openapi,
    }));
    let docs = system::docs();
    api.merge(ui::router())
        .merge(system::router())
        .merge(docs)
        .layer(axum::middleware::from_fn(finish::finish))
        .with_state(app)
}

/// The OpenAPI 3.1 description of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, description) = api().split_for_parts();
    description
}

fn api() -> OpenApiRouter<App> {
    let description = system::Description::openapi();
    let router = OpenApiRouter::with_openapi(description)
        .routes(routes!(agent::register))
        .routes(routes!(agent::poll))
        .routes(routes!(agent::report))
        .routes(routes!(agent::readings))
        .routes(routes!(agent::incarnation))
        .routes(routes!(devices::list, devices::create))
        .routes(routes!(devices::get, devices::update, devices::delete))
        .routes(routes!(devices::rekey))
        .routes(routes!(sensors::list, sensors::add))
        .routes(routes!(
            sensors::get,
            sensors::replace,
            sensors::patch,
            sensors::remove
        ))
        .routes(routes!(target::get, target::put))
        .routes(routes!(target::plan))
        .routes(routes!(target::history))
        .routes(routes!(target::rollback))
        .routes(routes!(observe::current))
        .routes(routes!(observe::points))
        .routes(routes!(observe::drift))
        .routes(routes!(observe::reconcile))
        .routes(routes!(observe::fleet_drift))
        .routes(routes!(observe::fleet_sensors))
        .routes(routes!(setpoints::list))
        .routes(routes!(setpoints::get, setpoints::set, setpoints::release))
        .routes(routes!(budget::last_reset, budget::reset))
        .routes(routes!(commands::list, commands::send))
        .routes(routes!(commands::get, commands::cancel))
        .routes(routes!(reconciliation::get, reconciliation::tune))
        .routes(routes!(reconciliation::start))
        .routes(routes!(reconciliation::stop))
        .routes(routes!(reconciliation::pauses, reconciliation::pause))
        .routes(routes!(reconciliation::lift))
        .routes(routes!(reconciliation::fleet, reconciliation::tune_fleet))
        .routes(routes!(reconciliation::start_fleet))
        .routes(routes!(start_plan::of_device))
        .routes(routes!(start_plan::of_fleet))
        .routes(routes!(reconciliation::stop_fleet))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::list_keys, tokens::create_key))
        .routes(routes!(tokens::revoke_key))
        .routes(routes!(system::metrics))
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz));
    system::with_problems(router)
}
