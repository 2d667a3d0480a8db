//! Registration: a device, its agent's token and one use of a key, together or not at all.

use holdfast_domain::{
    Incarnation,
    event::EventKind,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    clock::Entropy,
    store::{CommitError, RegisteredDevice, Registration},
    tokens::{ProvisioningKey, Revocation, RevocationKind, TokenRecord},
    wakeups::Wake,
};

use super::{Fixture, Scene, wakes::PATIENCE};
use crate::builders::{agent_token, hash_of, provisioning_key};

impl Scene {
    async fn key(&self, name: &str, uses: Option<u32>) -> ProvisioningKey {
        let key = provisioning_key(name, uses, self.world.context("anna").now);
        self.store.add_key(&key).await.expect("it is new");
        key
    }

    async fn uses_left(&self, key: &ProvisioningKey) -> Option<u32> {
        self.other
            .find_key(&key.hash)
            .await
            .expect("works")
            .expect("it exists")
            .uses_left
    }

    fn registration(&self, key: &ProvisioningKey, state: &DeviceState) -> Registration {
        let event = self.world.event(state, EventKind::DeviceRegistered);
        Registration {
            key: key.id,
            token: agent_token(
                &format!("agent of {}", state.record.name),
                state.record.id,
                event.at,
            ),
            device: RegisteredDevice::New(Box::new(state.clone()), vec![event]),
        }
    }

    async fn token(&self, token: &TokenRecord) -> Option<TokenRecord> {
        self.other.find_token(&token.hash).await.expect("works")
    }
}

/// A new device is there with its token, and the key has a use less.
pub async fn a_new_device_registers(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", Some(2)).await;
    let state = scene.world.device("gateway-1");
    let registration = scene.registration(&key, &state);
    scene
        .store
        .register(&registration)
        .await
        .expect("all is in order");
    let stored = scene.load(state.record.id).await;
    assert_eq!(
        stored,
        DeviceState {
            revision: 1,
            last_event: 1,
            ..state
        }
    );
    assert_eq!(
        scene.token(&registration.token).await.as_ref(),
        Some(&registration.token)
    );
    assert_eq!(scene.uses_left(&key).await, Some(1));
    assert_eq!(scene.events(stored.record.id).await.len(), 1);
}

/// Another agent takes over a device: it gets a new incarnation, and the old token ends.
pub async fn an_existing_device_gets_another_agent(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", None).await;
    let state = scene.device_with("gateway-1", 1).await;
    let neighbour = scene.device("gateway-2").await;
    let now = scene.world.context("anna").now;
    let old = agent_token("old agent", state.record.id, now);
    let others = agent_token("another device's agent", neighbour.record.id, now);
    for token in [&old, &others] {
        scene.store.add_token(token).await.expect("it is new");
    }
    let mut change = Change::of(&state);
    let mut record = state.record.clone();
    record.incarnation = Some(Incarnation(scene.world.entropy.uuid()));
    change.record = Some(record);
    let context = scene.world.context("key");
    change.event(
        &state,
        &context,
        EventKind::DeviceRegistered,
        None,
        serde_json::json!({}),
    );
    let token = agent_token("new agent", state.record.id, context.now);
    let device = RegisteredDevice::Existing(Box::new(change.clone()));
    let registration = Registration {
        key: key.id,
        device,
        token: token.clone(),
    };
    scene
        .store
        .register(&registration)
        .await
        .expect("all is in order");

    assert_eq!(scene.load(state.record.id).await, state.after(change));
    assert_eq!(scene.token(&token).await, Some(token.clone()));
    let ended = Some(Revocation {
        at: context.now,
        kind: RevocationKind::Revoked,
    });
    assert_eq!(
        scene.token(&old).await.expect("it is still found").revoked,
        ended
    );
    assert_eq!(scene.token(&others).await, Some(others.clone()));
    assert_eq!(scene.uses_left(&key).await, None);

    let again = Registration {
        token: agent_token("late agent", state.record.id, context.now),
        ..registration
    };
    let refused = scene.store.register(&again).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.token(&again.token).await, None);
    assert_eq!(scene.token(&token).await, Some(token));
}

/// A key is used up after its last use.
pub async fn a_key_has_so_many_uses(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", Some(1)).await;
    let first = scene.registration(&key, &scene.world.device("gateway-1"));
    scene
        .store
        .register(&first)
        .await
        .expect("it has a use left");
    assert_eq!(scene.uses_left(&key).await, Some(0));
    let late = scene.world.device("gateway-2");
    let refused = scene.store.register(&scene.registration(&key, &late)).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.store.load(late.record.id).await.expect("works"), None);
}

/// A key that was revoked, or never was, registers nothing.
pub async fn a_revoked_key_registers_nothing(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", Some(5)).await;
    scene
        .store
        .revoke_key(key.id, scene.world.context("anna").now)
        .await
        .expect("works");
    let unknown = provisioning_key("never added", None, key.created_at);
    for key in [&key, &unknown] {
        let state = scene.world.device("gateway-1");
        let refused = scene.store.register(&scene.registration(key, &state)).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
        assert_eq!(
            scene.store.load(state.record.id).await.expect("works"),
            None
        );
    }
    assert_eq!(scene.uses_left(&key).await, Some(5));
}

/// A registration whose last part can't be stored costs no use of the key.
pub async fn a_registration_that_fails_leaves_nothing(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", Some(5)).await;
    let taken = scene.device("gateway-1").await;
    let old = agent_token("old agent", taken.record.id, taken.record.audit.created_at);
    scene.store.add_token(&old).await.expect("it is new");

    let same_name = scene.world.device("gateway-1");
    let refused = scene
        .store
        .register(&scene.registration(&key, &same_name))
        .await;
    assert!(
        matches!(refused, Err(CommitError::NameTaken(_))),
        "{refused:?}"
    );

    let state = scene.world.device("gateway-2");
    let mut same_hash = scene.registration(&key, &state);
    same_hash.token.hash = hash_of("old agent");
    let refused = scene.store.register(&same_hash).await;
    assert!(matches!(refused, Err(CommitError::Store(_))), "{refused:?}");

    for id in [same_name.record.id, state.record.id] {
        assert_eq!(scene.store.load(id).await.expect("works"), None);
        assert_eq!(scene.events(id).await, []);
    }
    assert_eq!(scene.uses_left(&key).await, Some(5));
    assert_eq!(scene.token(&old).await, Some(old));
    scene
        .store
        .register(&scene.registration(&key, &state))
        .await
        .expect("all is in order");
}

/// Of many who want the last use of a key at once, one gets it.
pub async fn the_last_use_of_a_key_is_given_once(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let key = scene.key("key", Some(3)).await;
    let mut agents = tokio::task::JoinSet::new();
    for index in 0..10 {
        let store = if index % 2 == 0 {
            scene.store.clone()
        } else {
            scene.other.clone()
        };
        let registration =
            scene.registration(&key, &scene.world.device(&format!("gateway-{index}")));
        agents.spawn(async move { store.register(&registration).await });
    }
    let results = agents.join_all().await;
    let (taken, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(taken.len(), 3);
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(CommitError::Conflict))),
        "{refused:?}"
    );
    assert_eq!(scene.uses_left(&key).await, Some(0));
}

/// A device's agent is revoked with the event that says so, or not at all.
pub async fn an_agent_is_revoked_with_its_event(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let token = agent_token("agent", state.record.id, state.record.audit.created_at);
    scene.store.add_token(&token).await.expect("it is new");
    let mut change = Change::of(&state);
    let context = scene.world.context("anna");
    let kind = EventKind::DeviceRevoked;
    change.event(&state, &context, kind, None, serde_json::json!({}));
    let mut stale = change.clone();
    stale.base_revision -= 1;
    let told = if fixture.wakes_others() {
        &scene.other
    } else {
        &scene.store
    };
    let mut wakes = told.subscribe();

    let refused = scene.store.revoke(&stale, context.now).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.token(&token).await, Some(token.clone()));

    let revoked = scene.store.revoke(&change, context.now).await;
    revoked.expect("nobody else changes it");
    let ended = scene.token(&token).await.expect("it is still found");
    let expected = Revocation {
        at: context.now,
        kind: RevocationKind::Revoked,
    };
    assert_eq!(ended.revoked, Some(expected));
    assert_eq!(scene.load(state.record.id).await, state.after(change));
    let last = scene.events(state.record.id).await.pop();
    assert_eq!(last.map(|event| event.kind), Some(kind));
    let told = async { while wakes.recv().await.expect("it does not lag") != Wake::Tokens {} };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("a wake-up comes");
}
