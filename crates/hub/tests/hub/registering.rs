//! Agents register with keys: once and again, new or in place of another, as often as the key allows.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdfast_domain::{DeviceId, Name, event::EventKind};
use holdfast_hub::{
    AuthError, HubError,
    agents::ReportOutcome,
    registering::{RegisterRequest, Registered},
};
use holdfast_ports::{
    page::Page,
    store::{DeviceFilter, DeviceStore as _},
    tokens::SecretHash,
};
use jiff::SignedDuration;

use crate::support::{Fleet, Process, anna, secret_of, settle};

fn asking(token: &str, name: Option<&str>) -> RegisterRequest {
    RegisterRequest {
        token_hash: SecretHash::of(&secret_of(token)),
        name: name.map(|name| Name::new(name).expect("a name")),
        labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
        device: None,
    }
}

async fn key(process: &Process, device: Option<DeviceId>, uses: Option<u32>) -> String {
    process
        .hub
        .create_key("key", device, uses, None, &anna())
        .await
        .expect("a key")
        .0
}

fn refusal(result: Result<Registered, HubError>) -> String {
    match result {
        Err(HubError::KeyNotAccepted(why)) => why,
        other => panic!("expected a key that is not accepted, found {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_again_gets_the_same_answer() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let key = key(&process, None, Some(1)).await;
    let first = process
        .hub
        .register(&key, &asking("t", Some("gateway-1")), None)
        .await
        .expect("a use is left");
    for _ in 0..3 {
        let again = process
            .hub
            .register(&key, &asking("t", Some("gateway-1")), None)
            .await;
        assert_eq!(again.expect("the answer may have been lost"), first);
    }
    let state = fleet.stored(first.device).await;
    assert_eq!(state.record.incarnation, Some(first.incarnation));
    assert_eq!(state.record.labels["site"], "north");
    assert_eq!(
        fleet.kinds(first.device).await,
        [EventKind::DeviceCreated, EventKind::DeviceRegistered]
    );
    assert_eq!(
        refusal(
            process
                .hub
                .register(&key, &asking("other", None), None)
                .await
        ),
        "the provisioning key has no use left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_used_as_often_as_it_may_be() {
    let fleet = Fleet::new();
    let processes = [fleet.process().await, fleet.process().await];
    let key = key(&processes[0], None, Some(3)).await;
    let tries = (0..10).map(|index| {
        let process = &processes[index % 2];
        let request = asking(&format!("t{index}"), None);
        let key = &key;
        async move { process.hub.register(key, &request, None).await }
    });
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    let devices = fleet
        .store
        .devices(&DeviceFilter::default(), &Page::first(100))
        .await
        .expect("a list");
    assert_eq!(devices.items.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_in_force_opens_nothing() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let tell = |why: &str| format!("the provisioning key {why}");
    let unknown = process
        .hub
        .register("hfp_unknown", &asking("t", None), None)
        .await;
    assert_eq!(refusal(unknown), tell("is not known"));

    let (secret, record) = process
        .hub
        .create_key("k", None, None, None, &anna())
        .await
        .expect("a key");
    process
        .hub
        .revoke_key(record.id, &anna())
        .await
        .expect("it was in force");
    assert_eq!(
        refusal(
            process
                .hub
                .register(&secret, &asking("t", None), None)
                .await
        ),
        tell("was revoked")
    );

    let end = fleet.now() + SignedDuration::from_secs(60);
    let (secret, _) = process
        .hub
        .create_key("k", None, None, Some(end), &anna())
        .await
        .expect("a key");
    fleet.later(60);
    assert_eq!(
        refusal(
            process
                .hub
                .register(&secret, &asking("t", None), None)
                .await
        ),
        tell("has expired")
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_gateway_gets_the_device_and_the_old_one_loses_it() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut old = here.established("gateway-1", &["a"]).await;
    there.hub.authenticate(&old.secret).await.expect("in force");
    let key = key(&here, Some(old.device), None).await;
    let new = here
        .hub
        .register(&key, &asking("new", Some("ignored")), None)
        .await
        .expect("bound to it");
    assert_eq!(new.device, old.device);
    assert_ne!(new.incarnation, old.says.incarnation);
    settle().await;
    for process in [&here, &there] {
        let ended = process.hub.authenticate(&old.secret).await;
        assert!(
            matches!(ended, Err(AuthError::Revoked { device: Some(device) }) if device == old.device)
        );
        process
            .hub
            .authenticate(&secret_of("new"))
            .await
            .expect("in force");
        let late = process.report(old.device, &old.says.full_report()).await;
        assert_eq!(late.expect("answered"), ReportOutcome::OtherIncarnation);
    }
    assert_eq!(
        refusal(here.hub.register(&key, &asking("third", None), None).await),
        "the provisioning key has no use left"
    );

    let mut says = old.says.clone();
    (says.incarnation, says.sequence) = (new.incarnation, 0);
    let full = says.full_report();
    assert_eq!(
        there.report(old.device, &full).await.expect("valid"),
        ReportOutcome::Taken
    );
    let record = fleet.stored(old.device).await.record;
    assert_eq!(
        record.name.as_str(),
        "gateway-1",
        "a bound key names nothing anew"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_incarnation_begins_with_a_full_report() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    let incarnation = process
        .hub
        .new_incarnation(agent.device, None)
        .await
        .expect("it is there");
    assert_eq!(
        fleet.kinds(agent.device).await.last(),
        Some(&EventKind::DeviceIncarnation)
    );
    let old = process
        .report(agent.device, &agent.says.heartbeat())
        .await
        .expect("answered");
    assert_eq!(old, ReportOutcome::OtherIncarnation);
    (agent.says.incarnation, agent.says.sequence) = (incarnation, 0);
    let partial = process
        .report(agent.device, &agent.says.heartbeat())
        .await
        .expect("answered");
    assert_eq!(partial, ReportOutcome::FullWanted);
    let full = process
        .report(agent.device, &agent.says.full_report())
        .await
        .expect("answered");
    assert_eq!(full, ReportOutcome::Taken);
}

#[tokio::test(start_paused = true)]
async fn names_of_devices_are_unique_and_may_be_left_to_the_hub() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let key = key(&process, None, None).await;
    process
        .hub
        .register(&key, &asking("t1", Some("gateway-1")), None)
        .await
        .expect("a new name");
    let taken = process
        .hub
        .register(&key, &asking("t2", Some("gateway-1")), None)
        .await;
    assert!(matches!(taken, Err(HubError::NameTaken(_))), "{taken:?}");
    let [one, two] = [asking("t3", None), asking("t4", None)];
    let one = process
        .hub
        .register(&key, &one, None)
        .await
        .expect("it gets a name");
    let two = process
        .hub
        .register(&key, &two, None)
        .await
        .expect("it gets another");
    assert_ne!(one.device, two.device);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_ended_or_is_an_operators_does_not_register() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let key = key(&process, None, None).await;
    let role = holdfast_ports::tokens::Role::Admin;
    let (operators, _) = process
        .hub
        .create_token("bea", role, None, &anna())
        .await
        .expect("a token");
    let asked = RegisterRequest {
        token_hash: SecretHash::of(&operators),
        ..asking("t", None)
    };
    assert!(matches!(
        process.hub.register(&key, &asked, None).await,
        Err(HubError::Refused(_))
    ));

    let gone = process
        .hub
        .register(&key, &asking("t", None), None)
        .await
        .expect("new")
        .device;
    process
        .hub
        .delete_device(gone, true, &anna(), None)
        .await
        .expect("forced");
    let again = process.hub.register(&key, &asking("t", None), None).await;
    assert!(
        matches!(again, Err(HubError::DeviceGone(device)) if device == gone),
        "{again:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_one_already_is_made_no_new_device_by_a_key_for_any() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let own = process
        .hub
        .create_device(
            Name::new("gateway-1").expect("a name"),
            BTreeMap::new(),
            &anna(),
            None,
        )
        .await
        .expect("a new name")
        .record
        .id;
    let (unbound, bound) = (
        key(&process, None, None).await,
        key(&process, Some(own), None).await,
    );
    let again = RegisterRequest {
        device: Some(own),
        ..asking("t", None)
    };
    let refused = process.hub.register(&unbound, &again, None).await;
    assert!(
        matches!(&refused, Err(HubError::Refused(why)) if why.contains("device rekey")),
        "{refused:?}"
    );
    let registered = process.hub.register(&bound, &again, None).await;
    assert_eq!(registered.expect("a bound key").device, own);
}
