//! Who is it? A token that was ended opens nothing, here at once and in every other process as soon as it hears of it.

use holdfast_domain::{TokenId, event::EventKind};
use holdfast_hub::{AuthError, HubError};
use holdfast_ports::{
    events::{EventFilter, EventStore as _},
    tokens::{Grant, Role, SecretHash, TokenStore as _},
};
use holdfast_testkit::builders::uuid_of;
use jiff::SignedDuration;

use crate::support::{Fleet, anna, settle};

#[tokio::test(start_paused = true)]
async fn a_token_opens_what_it_was_made_for() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    assert!(matches!(
        process.hub.authenticate("hft_unknown").await,
        Err(AuthError::Unknown)
    ));
    let (secret, record) = process
        .hub
        .create_token("bea", Role::Operator, None, &anna())
        .await
        .expect("a token");
    assert!(
        secret.starts_with("hft_") && secret.len() == 4 + 64,
        "256 random bits behind a prefix"
    );
    let session = process.hub.authenticate(&secret).await.expect("in force");
    assert_eq!(
        (session.actor.as_str(), session.grant),
        ("bea", Grant::Operator(Role::Operator))
    );
    assert_eq!(session.token, record.id);

    let agent = process.register("gateway-1").await;
    let session = process
        .hub
        .authenticate(&agent.secret)
        .await
        .expect("in force");
    assert_eq!(
        (session.actor.as_str(), session.grant),
        ("agent", Grant::Agent(agent.device))
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_in_force_at_once() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let (secret, record) = here
        .hub
        .create_token("bea", Role::Admin, None, &anna())
        .await
        .expect("a token");
    for process in [&here, &there] {
        process
            .hub
            .authenticate(&secret)
            .await
            .expect("in force, and remembered");
    }
    here.hub
        .revoke_token(record.id, &anna())
        .await
        .expect("it was in force");
    let revoked = here.hub.authenticate(&secret).await;
    assert!(
        matches!(revoked, Err(AuthError::Revoked { device: None })),
        "{revoked:?}"
    );
    settle().await;
    let revoked = there.hub.authenticate(&secret).await;
    assert!(
        matches!(revoked, Err(AuthError::Revoked { .. })),
        "the other process was told: {revoked:?}"
    );

    for id in [record.id, TokenId(uuid_of("nobody"))] {
        assert!(matches!(
            here.hub.revoke_token(id, &anna()).await,
            Err(HubError::NotFound(_))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_at_its_time_although_it_is_remembered() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let end = fleet.now() + SignedDuration::from_secs(10);
    let made = process
        .hub
        .create_token("bea", Role::Viewer, Some(end), &anna())
        .await;
    let (secret, _) = made.expect("a token");
    fleet.later(9);
    process.hub.authenticate(&secret).await.expect("in force");
    fleet.later(1);
    assert!(matches!(
        process.hub.authenticate(&secret).await,
        Err(AuthError::Expired)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_devices_token_says_so() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.register("gateway-1").await;
    there
        .hub
        .authenticate(&agent.secret)
        .await
        .expect("in force");
    here.hub
        .delete_device(agent.device, false, &anna(), None)
        .await
        .expect("nothing runs on it");
    settle().await;
    for process in [&here, &there] {
        let ended = process.hub.authenticate(&agent.secret).await;
        assert!(
            matches!(ended, Err(AuthError::DeviceDeleted { device }) if device == agent.device),
            "only this makes an agent stop writing: {ended:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_agent_is_in_the_log_with_who_did_it() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.register("gateway-1").await;
    for process in [&here, &there] {
        let session = process.hub.authenticate(&agent.secret).await;
        session.expect("in force, and remembered");
    }
    let hash = SecretHash::of(&agent.secret);
    let token = fleet.store.find_token(&hash).await.expect("memory works");
    let id = token.expect("it is there").id;
    here.hub.revoke_token(id, &anna()).await.expect("in force");
    settle().await;
    for process in [&here, &there] {
        let refused = process.hub.authenticate(&agent.secret).await;
        assert!(
            matches!(refused, Err(AuthError::Revoked { device: Some(device) }) if device == agent.device),
            "{refused:?}"
        );
    }
    let filter = EventFilter {
        device: Some(agent.device),
        kinds: vec![EventKind::DeviceRevoked],
    };
    let told = fleet.store.latest(&filter, 10).await.expect("memory works");
    let told: Vec<_> = told.iter().map(|event| event.actor.as_str()).collect();
    assert_eq!(told, ["anna"]);
    let again = here.hub.revoke_token(id, &anna()).await;
    assert!(matches!(again, Err(HubError::NotFound(_))), "{again:?}");
}
