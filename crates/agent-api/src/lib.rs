//! The agent's local API and page: how a technician on site sees the value loop and stops it, with no hub in reach.
//!
//! It speaks to people and programs of the agent's own machine, and to nobody else: it is served on loopback, asks for the
//! token that lies in the agent's data folder, and takes no request that a page of another origin makes, whatever name that
//! page gives this machine (DNS rebinding). What an order means is the business of `holdfast-edge`; listening is left to the
//! caller.
//!
//! Where to look: `door` (who may), `api` (the routes), `body` (reading requests), `view` (what is shown), `problem` (what
//! every error looks like), `page` (the page), [`LocalToken`] (the token's file).

mod api;
mod body;
mod door;
mod page;
mod problem;
mod token;
mod view;

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use holdfast_edge::LocalLoop;
use holdfast_ports::clock::Entropy;

pub use token::{LocalToken, TokenError};
pub use view::{ErrorView, HubView, PointView, ReconciliationView, StopView};

/// The largest body of a request, in bytes: a reason and a name, with room.
pub const BODY_BYTES: usize = 16 * 1024;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSettings {
    /// How long an order is waited for until it is answered that it is not carried out yet. It stands all the same.
    pub patience: Duration,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
        }
    }
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
struct App(Arc<AppParts>);

struct AppParts {
    local: LocalLoop,
    token: LocalToken,
    sessions: door::Sessions,
    entropy: Arc<dyn Entropy>,
    settings: LocalSettings,
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// The whole of it as a service, around the value loop of the agent that runs in this process.
pub fn router(
    local: LocalLoop,
    token: LocalToken,
    entropy: Arc<dyn Entropy>,
    settings: LocalSettings,
) -> Router {
    let app = App(Arc::new(AppParts {
        local,
        token,
        sessions: door::Sessions::default(),
        entropy,
        settings,
    }));
    let inside = Router::new()
        .route("/api/v1/reconciliation", get(api::show).patch(api::tune))
        .route("/api/v1/reconciliation/start", post(api::start))
        .route("/api/v1/reconciliation/stop", post(api::stop))
        .route_layer(from_fn_with_state(app.clone(), door::with_token));
    Router::new()
        .route("/", get(page::index))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .route(
            "/session",
            get(door::signed_in)
                .post(door::sign_in)
                .delete(door::sign_out),
        )
        .merge(inside)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn(door::of_this_machine))
        .with_state(app)
}
