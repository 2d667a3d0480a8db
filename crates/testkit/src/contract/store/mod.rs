//! The contract of the hub's stores.
//!
//! ```text
//! struct Mine { first: Arc<MyStore>, second: Arc<MyStore> }
//!
//! #[async_trait]
//! impl Fixture for Mine {
//!     fn store(&self) -> Arc<dyn Store> { self.first.clone() }
//!     fn other(&self) -> Arc<dyn Store> { self.second.clone() }
//! }
//!
//! async fn open() -> Mine { … }
//! holdfast_testkit::store_contract!(open);
//! ```
//!
//! Each test gets a fixture of its own, with an empty store. Times of a test begin at the real time, so that stores may
//! read the clock of their database; what a test says about the future is hours away.

pub mod commit;
mod compare;
pub mod events;
pub mod exact;
pub mod fleet;
pub mod kept;
pub mod lists;
pub mod notices;
pub mod presence;
pub mod races;
mod random;
pub mod register;
pub mod tokens;
pub mod wakes;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId,
    event::{Event, EventKind},
    state::{Change, DeviceState},
};
use holdfast_ports::{
    events::{EventFilter, EventStore},
    fleet::FleetStore,
    notices::NoticeStore,
    page::Page,
    store::{CommitError, DeviceStore},
    tokens::TokenStore,
    wakeups::Wakeups,
};

use crate::{builders::modbus_document, world::World};

/// All that a hub wants of its store.
pub trait Store:
    DeviceStore + TokenStore + EventStore + FleetStore + NoticeStore + Wakeups
{
}
impl<T: DeviceStore + TokenStore + EventStore + FleetStore + NoticeStore + Wakeups> Store for T {}

/// An empty store, for one test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle to the same data: what another process of the hub has.
    fn other(&self) -> Arc<dyn Store>;

    /// Do wake-ups reach the other handle? Not where the store is for one process.
    fn wakes_others(&self) -> bool {
        true
    }

    /// Appends an event in a transaction of its own that stays open, after it has taken its place in the log; `None`
    /// where an open transaction keeps every other one from committing, so that none can commit out of order.
    async fn append_uncommitted(&self, _event: &Event) -> Option<Box<dyn Uncommitted>> {
        None
    }
}

/// An open transaction.
#[async_trait]
pub trait Uncommitted: Send {
    /// Commits it.
    async fn commit(self: Box<Self>);
}

/// A store and what happens around it.
pub(crate) struct Scene {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) other: Arc<dyn Store>,
    pub(crate) world: World,
}

impl Scene {
    pub(crate) fn of(fixture: &dyn Fixture) -> Self {
        Self {
            store: fixture.store(),
            other: fixture.other(),
            world: World::new(7),
        }
    }

    /// Creates a device and gives it as it is stored.
    pub(crate) async fn device(&self, name: &str) -> DeviceState {
        let state = self.world.device(name);
        self.create(&state).await.expect("the device is new");
        self.load(state.record.id).await
    }

    pub(crate) async fn create(&self, state: &DeviceState) -> Result<(), CommitError> {
        let event = self.world.event(state, EventKind::DeviceCreated);
        self.store.create(state, &[event]).await
    }

    /// A device with that many sensors, `s-0` and so on, none of which runs.
    pub(crate) async fn device_with(&self, name: &str, sensors: usize) -> DeviceState {
        let mut state = self.device(name).await;
        for index in 0..sensors {
            state = self.add(&state, &format!("s-{index}")).await;
        }
        state
    }

    /// Adds a Modbus sensor.
    pub(crate) async fn add(&self, state: &DeviceState, name: &str) -> DeviceState {
        let change = self
            .world
            .add(state, modbus_document(name, "10.0.0.5", 502));
        self.commit(state, change).await
    }

    /// Commits a change that must succeed, and gives the state that it leads to, which is the one stored.
    pub(crate) async fn commit(&self, state: &DeviceState, change: Change) -> DeviceState {
        self.store
            .commit(&change)
            .await
            .expect("nobody else changes the device");
        let after = state.after(change);
        assert_eq!(
            self.load(state.record.id).await,
            after,
            "what is loaded is what was committed"
        );
        after
    }

    pub(crate) async fn load(&self, device: DeviceId) -> DeviceState {
        self.store
            .load(device)
            .await
            .expect("the store works")
            .expect("the device exists")
    }

    /// All events of a device, in order.
    pub(crate) async fn events(&self, device: DeviceId) -> Vec<Event> {
        let filter = EventFilter {
            device: Some(device),
            kinds: Vec::new(),
        };
        let page = self
            .other
            .read(&filter, None, Page::MOST)
            .await
            .expect("the log can be read");
        page.events.into_iter().map(|(_, event)| event).collect()
    }
}

/// Makes a test of every function of the suite, over the fixture that `$open` (an async function) gives.
#[macro_export]
macro_rules! store_contract {
    ($open:path) => {
        $crate::store_contract! { $open;
            commit: a_new_device_is_stored, an_id_or_a_name_that_exists_is_refused, a_change_is_committed_whole,
                a_commit_that_fails_at_its_end_leaves_nothing, a_stale_change_is_a_conflict,
                a_thousand_sensors_are_one_commit;
            races: of_many_committers_one_wins_each_revision, concurrent_edits_are_all_kept,
                an_interrupted_commit_leaves_all_or_nothing;
            presence: a_deleted_device_leaves_its_events, touch_notes_the_latest_time, a_silent_device_makes_its_rows_stale,
                a_report_that_was_overtaken_is_a_conflict, a_glance_tells_which_state_is_the_newest;
            exact: every_field_comes_back, setpoints_come_back, nothing_optional_comes_back_as_nothing, odd_texts_come_back,
                random_histories_match_the_model;
            register: a_new_device_registers, an_existing_device_gets_another_agent, a_key_has_so_many_uses,
                a_revoked_key_registers_nothing, a_registration_that_fails_leaves_nothing,
                the_last_use_of_a_key_is_given_once, an_agent_is_revoked_with_its_event;
            lists: devices_are_listed_by_name, devices_are_filtered, sensors_are_listed_and_filtered,
                the_same_sensor_on_two_devices_is_two_rows;
            kept: history_is_newest_first, points_keep_the_latest_value, points_are_forgotten, old_versions_go, of_nothing_there_are_empty_pages;
            events: the_log_has_an_order_per_device, a_filtered_reading_moves_on, the_end_is_behind_all,
                a_foreign_cursor_is_refused, a_cursor_skips_nothing_under_load, a_cursor_waits_for_an_open_transaction,
                the_latest_come_first, pruning_keeps_what_a_rebuild_needs;
            tokens: tokens_are_found_by_hash, tokens_are_unique, tokens_are_listed_by_id, tokens_are_revoked_once,
                keys_are_kept_alike, what_ended_long_ago_goes;
            fleet: a_changed_device_is_due_at_once, a_device_is_claimed_once, the_longest_due_come_first,
                a_lease_runs_out, a_device_that_changes_while_claimed_stays_due, the_fleet_in_figures,
                the_hub_is_up_while_it_beats;
            notices: one_at_a_time_has_a_way, a_place_is_never_set_back;
            wakes: a_wake_comes_after_what_it_tells_of, what_wakes_nobody, deletion_and_revocation_wake;
        }
    };
    ($open:path; $($module:ident: $($test:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = $open().await;
                $crate::contract::store::$module::$test(&fixture).await;
            }
        )+)+
    };
}
