//! Tokens and provisioning keys.

use holdfast_domain::TokenId;
use holdfast_ports::{
    page::Page,
    tokens::{Grant, Revocation, RevocationKind, Role},
};
use jiff::SignedDuration;

use super::{Fixture, Scene};

use crate::builders::{agent_token, hash_of, operator_token, provisioning_key, uuid_of};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What was added is found by its hash, through every handle, exactly.
pub async fn tokens_are_found_by_hash(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let device = scene.device("gateway-1").await.record.id;
    let mut tokens: Vec<_> = Role::ALL
        .map(|role| operator_token(role.as_str(), role, now))
        .into();
    tokens.push(agent_token("agent \"1\"", device, now));
    tokens[0].expires_at = Some(now + SignedDuration::from_hours(1));
    for token in &tokens {
        scene.store.add_token(token).await.expect("it is new");
    }
    for token in &tokens {
        assert_eq!(
            scene
                .other
                .find_token(&token.hash)
                .await
                .expect("works")
                .as_ref(),
            Some(token)
        );
    }
    assert_eq!(
        scene
            .store
            .find_token(&hash_of("nobody's"))
            .await
            .expect("works"),
        None
    );
}

/// An id or hash that exists is refused, and what was there stays.
pub async fn tokens_are_unique(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let token = operator_token("anna", Role::Viewer, now);
    scene.store.add_token(&token).await.expect("it is new");
    let mut same_hash = operator_token("ben", Role::Admin, now);
    same_hash.hash = token.hash;
    let mut same_id = operator_token("ben", Role::Admin, now);
    same_id.id = token.id;
    for other in [&same_hash, &same_id] {
        scene
            .other
            .add_token(other)
            .await
            .expect_err("it is not unique");
    }
    assert_eq!(
        scene.store.find_token(&token.hash).await.expect("works"),
        Some(token)
    );
    let key = provisioning_key("key", Some(1), now);
    scene.store.add_key(&key).await.expect("it is new");
    let mut same_hash = provisioning_key("another", None, now);
    same_hash.hash = key.hash;
    scene
        .store
        .add_key(&same_hash)
        .await
        .expect_err("it is not unique");
    assert_eq!(
        scene.store.find_key(&key.hash).await.expect("works"),
        Some(key)
    );
}

/// Pages of tokens, by id.
pub async fn tokens_are_listed_by_id(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let mut ids: Vec<TokenId> = (0..5)
        .map(|index| TokenId(uuid_of(&format!("t-{index}"))))
        .collect();
    for index in 0..5 {
        let token = operator_token(&format!("t-{index}"), Role::Operator, now);
        scene.store.add_token(&token).await.expect("it is new");
        scene
            .store
            .add_key(&provisioning_key(&format!("t-{index}"), None, now))
            .await
            .expect("it is new");
    }
    scene.store.revoke_token(ids[3], now).await.expect("works");
    scene.store.revoke_key(ids[3], now).await.expect("works");
    ids.sort_unstable();
    let (mut tokens, mut keys) = (Vec::new(), Vec::new());
    let mut page = Page::first(2);
    for _ in 0..3 {
        let listed = scene.other.tokens(&page).await.expect("works");
        tokens.extend(listed.items.iter().map(|token| token.id));
        let listed_keys = scene.other.keys(&page).await.expect("works");
        keys.extend(listed_keys.items.iter().map(|key| key.id));
        assert_eq!(listed.next, listed_keys.next);
        page.after = listed.next;
    }
    assert_eq!(page.after, None);
    assert_eq!(tokens, ids);
    assert_eq!(keys, ids);
    for id in ids {
        let token = scene.store.token(id).await.expect("works");
        assert_eq!(token.map(|token| token.id), Some(id));
    }
    let unknown = scene.store.token(TokenId(uuid_of("nobody's"))).await;
    assert_eq!(unknown.expect("works"), None);
}

/// A token ends once; it is found afterwards, with when and why.
pub async fn tokens_are_revoked_once(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let token = operator_token("anna", Role::Admin, now);
    scene.store.add_token(&token).await.expect("it is new");
    let late = now + SignedDuration::from_secs(1);
    assert!(
        scene
            .store
            .revoke_token(token.id, now)
            .await
            .expect("works")
    );
    assert!(
        !scene
            .other
            .revoke_token(token.id, late)
            .await
            .expect("works")
    );
    let unknown = TokenId(uuid_of("nobody's"));
    assert!(!scene.store.revoke_token(unknown, now).await.expect("works"));
    let found = scene
        .other
        .find_token(&token.hash)
        .await
        .expect("works")
        .expect("it is found");
    assert_eq!(
        found.revoked,
        Some(Revocation {
            at: now,
            kind: RevocationKind::Revoked
        })
    );
    assert_eq!(found.grant, Grant::Operator(Role::Admin));
}

/// Provisioning keys are kept in the same way.
pub async fn keys_are_kept_alike(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let device = scene.device("gateway-1").await.record.id;
    let mut bound = provisioning_key("bound", Some(1), now);
    bound.device = Some(device);
    bound.expires_at = Some(now);
    let free = provisioning_key("free", None, now);
    for key in [&bound, &free] {
        scene.store.add_key(key).await.expect("it is new");
        assert_eq!(
            scene
                .other
                .find_key(&key.hash)
                .await
                .expect("works")
                .as_ref(),
            Some(key)
        );
    }
    assert_eq!(
        scene
            .store
            .find_key(&hash_of("nobody's"))
            .await
            .expect("works"),
        None
    );
    assert!(scene.store.revoke_key(free.id, now).await.expect("works"));
    assert!(!scene.store.revoke_key(free.id, now).await.expect("works"));
    assert!(
        !scene
            .store
            .revoke_key(TokenId(uuid_of("nobody's")), now)
            .await
            .expect("works")
    );
    let found = scene
        .store
        .find_key(&free.hash)
        .await
        .expect("works")
        .expect("it is found");
    assert_eq!(found.revoked_at, Some(now));
}

/// What ended long ago goes; what is in force stays, and so does every token of an agent.
pub async fn what_ended_long_ago_goes(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("anna").now;
    let (early, late) = (now + HOUR, now + HOUR + HOUR);
    let mut tokens = ["in force", "expires early", "expires late", "revoked"]
        .map(|name| operator_token(name, Role::Viewer, now));
    tokens[1].expires_at = Some(early);
    tokens[2].expires_at = Some(late);
    let agent = agent_token("agent", scene.device("gateway-1").await.record.id, now);
    let mut keys = ["in force", "used up", "revoked"].map(|name| provisioning_key(name, None, now));
    keys[1].uses_left = Some(0);
    for token in tokens.iter().chain([&agent]) {
        scene.store.add_token(token).await.expect("it is new");
    }
    for key in &keys {
        scene.store.add_key(key).await.expect("it is new");
    }
    for id in [tokens[3].id, agent.id] {
        scene.store.revoke_token(id, early).await.expect("works");
    }
    scene
        .store
        .revoke_key(keys[2].id, early)
        .await
        .expect("works");
    let prune = async |before| scene.store.prune_access(before).await.expect("works");
    assert_eq!(prune(now).await, 0);
    assert_eq!(prune(late).await, 4);
    assert_eq!(prune(late).await, 0);
    let page = Page::first(10);
    let mut left: Vec<String> = scene
        .other
        .tokens(&page)
        .await
        .expect("works")
        .items
        .into_iter()
        .map(|token| token.name)
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["agent", "expires late", "in force"]);
    let keys_left = scene.other.keys(&page).await.expect("works").items;
    assert_eq!(keys_left, keys[..1]);
}
