//! Events of the log.

use holdfast_domain::event::Event;
use serde::{Deserialize, Serialize};

/// One event, with the place behind it in the log of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventView {
    /// Where to go on behind it (`after`, `Last-Event-ID`); null in answers that go backwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}
