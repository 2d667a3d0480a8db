//! Devices in a store, for tests of one store alone.

use holdfast_domain::{event::EventKind, state::DeviceState};
use holdfast_ports::store::DeviceStore;

use crate::world::World;

/// Creates a device and gives it as the store has it.
///
/// # Panics
/// If the store fails, or has one of this name.
pub async fn device(store: &impl DeviceStore, world: &World, name: &str) -> DeviceState {
    let state = world.device(name);
    let event = world.event(&state, EventKind::DeviceCreated);
    store.create(&state, &[event]).await.expect("it is new");
    load(store, &state).await
}

/// The device as the store has it now.
///
/// # Panics
/// If the store fails, or has it no more.
pub async fn load(store: &impl DeviceStore, state: &DeviceState) -> DeviceState {
    store
        .load(state.record.id)
        .await
        .expect("works")
        .expect("it exists")
}
