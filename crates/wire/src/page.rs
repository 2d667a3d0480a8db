//! Pages of lists.

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; null: this was the last. In the event log there is always a next page:
    /// it holds what happens after this one.
    pub next: Option<String>,
}

/// Items of a page where the request does not say.
pub const DEFAULT_LIMIT: u32 = 100;

/// The most items of one page.
pub const MOST: u32 = 1_000;
