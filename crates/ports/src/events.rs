//! The event log: append-only, written with the changes that it tells of, read here.

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId,
    event::{Event, EventKind},
};
use jiff::Timestamp;

use crate::StoreError;

/// A place in the log of the whole fleet; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of these kinds; empty: of all.
    pub kinds: Vec<EventKind>,
}

/// Some events in the order of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events, each with the place behind it.
    pub events: Vec<(Cursor, Event)>,
    /// Where to go on: behind the last event looked at, or where the reading began if there was none.
    pub next: Cursor,
}

/// The event log.
///
/// # Contract
/// - Events of a device come in the order of their sequences, without gaps.
/// - **A cursor skips nothing**: an event that was not yet visible when a page was read comes after that page's cursor,
///   although transactions commit out of order. It may be held back for as long as an older transaction is open.
/// - The log begins before its first event: [`EventStore::read`] after `None` reads from there.
/// - A cursor that is not of this log is [`ReadError::NoSuchCursor`].
#[async_trait]
pub trait EventStore: Send + Sync {
    /// At most `limit` events behind `after`.
    async fn read(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<EventPage, ReadError>;

    /// The place behind the last event that can be read now: where a reader that wants only news begins.
    async fn end(&self) -> Result<Cursor, StoreError>;

    /// The last events that match, newest first: what a person wants to see.
    async fn latest(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Removes at most `limit` events before `before` and gives how many; a device's events from its newest snapshot (or
    /// its deletion) on are kept, so that the read model can still be rebuilt. They go from the front of a device's
    /// events only, so that no gap comes about.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The cursor is not of this log.
    #[error("expected a cursor that an earlier answer gave, found {0:?}")]
    NoSuchCursor(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
