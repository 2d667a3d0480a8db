//! Telling somebody outside: notices of trouble, and how far each way of telling has come.

use async_trait::async_trait;
use holdfast_domain::event::Event;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{StoreError, events::Cursor};

/// A way to tell somebody.
///
/// # Contract
/// - `Ok` means that the other side has taken the notice; after an error it may have it all the same. The same event may come
///   again, and is recognisable as the same.
/// - It is bounded in time by the implementation. Dropping the call gives it up.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Its name, unique among those of an installation: its place in the log is kept under it.
    fn name(&self) -> &str;

    /// Tells of an event.
    async fn notify(&self, event: &Event) -> Result<(), NotTold>;
}

/// Why a notice was not taken, for the person who runs the other side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTold(pub String);

/// How far each way of telling has come in the event log.
///
/// # Contract
/// - Of all who share the store, one at a time has a way: who [claims](Self::claim_notices) it has it until `lease` is over, and
///   can claim it again before. Who was killed loses it by time.
/// - A place only goes from the one that it was at to the next ([`note_told`](Self::note_told)): somebody who lost the way
///   without knowing it sets nothing back.
#[async_trait]
pub trait NoticeStore: Send + Sync {
    /// Has the way `name` for `lease`, unless another holder has it (`None`).
    async fn claim_notices(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Told>, StoreError>;

    /// Everything up to `to` was told. `false`: the place is not `from` any more, and stays.
    async fn note_told(&self, name: &str, from: &Told, to: &Cursor) -> Result<bool, StoreError>;
}

/// How far a way has come: everything before was told; `None`: it is new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told(pub Option<Cursor>);
