//! `kill -9` at any moment, of any part: what was acknowledged is there, and everything goes on by itself.

use std::collections::BTreeSet;

use holdfast_testkit::postgres::TestCluster;
use serde_json::{Value, json};

use crate::support::{
    client::try_send,
    device::number,
    gate::Gate,
    hub::{Hub, Store},
    instrument::{Instrument, made_up_sensor},
    process::Process,
    random::Random,
    wait::eventually,
};

on_both_stores!(an_agent_that_is_killed, a_hub_that_is_killed);

async fn an_agent_that_is_killed(mut hub: Hub) {
    const KILLS: u64 = 8;
    let mut random = Random::seeded(4_711);
    let instruments = [
        Instrument::start().await,
        Instrument::start().await,
        Instrument::start().await,
    ];
    let mut device = hub.device("plant").await;
    let mut agent = device.agent(&hub);
    let mut watch = device.watch().await;
    for round in 0..KILLS {
        agent.start();
        // Edits stream in while the agent is anywhere in its work.
        for edit in 0..=random.below(5) {
            let which = random.below(3) as usize;
            let name = format!("sensor-{which}");
            let wanted = device
                .wanted()
                .await
                .iter()
                .any(|sensor| sensor["name"] == json!(name));
            match random.below(4) {
                0 if wanted => {
                    device.remove(&name).await;
                }
                _ if wanted => {
                    let fields = json!({ "pollInterval": 100 + round * 10 + edit });
                    device.patch(&name, &fields).await;
                }
                _ => {
                    device.add(&instruments[which].sensor(&name)).await;
                }
            }
        }
        if random.below(2) == 0 {
            watch
                .until("something is deployed", |event| {
                    event["type"] == "sensor.deployed" || event["type"] == "target_state.updated"
                })
                .await;
        }
        agent.kill().await;
    }
    for (which, instrument) in instruments.iter().enumerate() {
        let name = format!("sensor-{which}");
        if device
            .ask("GET", &format!("/sensors/{name}"), &Value::Null)
            .await
            .status
            == 404
        {
            device.add(&instrument.sensor(&name)).await;
        }
    }
    agent.start();
    eventually(
        "the last sensors to be removed are gone, and all three are there",
        async || {
            let wanted = device.wanted().await.len();
            if wanted == 3 {
                Ok(())
            } else {
                Err(format!("{wanted} wanted"))
            }
        },
    )
    .await;
    device.settled_now().await;
    device.is_told_by_its_events().await;

    // With no hub in reach it starts from its disk, and reads on.
    agent.kill().await;
    hub.stop().await;
    agent.start();
    for instrument in &instruments {
        instrument.is_read(5).await;
    }
    // And when the hub comes back, nothing has changed.
    hub.bring_up().await;
    device.moved_to(&hub);
    device.settled_now().await;
    device
        .patch("sensor-0", &json!({ "pollInterval": 333 }))
        .await;
    device.settled_now().await;
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn a_hub_that_is_killed(mut hub: Hub) {
    const KILLS: u64 = 3;
    let mut random = Random::seeded(815);
    let mut device = hub.device("plant").await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..KILLS {
        // Six operators add sensors as fast as they can, until nobody answers any more.
        let operators = (0..6).map(|operator| {
            let (client, path) = (device.operator.clone(), device.path("/sensors"));
            tokio::spawn(async move {
                let mut done = Vec::new();
                for edit in 0.. {
                    let name = format!("r{round}-o{operator}-n{edit}");
                    match try_send(client.request("POST", &path).json(&made_up_sensor(&name))).await
                    {
                        Ok(answer) if answer.status == 201 => {
                            done.push((name, number(&answer.body, "version")));
                        }
                        Ok(answer) => panic!("{} {:#}", answer.status, answer.body),
                        Err(_) => break,
                    }
                }
                done
            })
        });
        let operators: Vec<_> = operators.collect();
        let enough = number(&device.target().await, "version") + 5 + random.below(25);
        eventually("edits are under way", async || {
            let version = number(&device.target().await, "version");
            if version >= enough {
                Ok(())
            } else {
                Err(format!("version {version}"))
            }
        })
        .await;
        hub.kill_server().await;
        for operator in operators {
            for (name, version) in operator.await.expect("an operator's edits") {
                assert!(
                    acknowledged.insert((version, name)),
                    "a version is given once"
                );
            }
        }
        hub.bring_up().await;
        device.moved_to(&hub);
    }
    assert!(
        acknowledged.len() >= 15,
        "{} edits were acknowledged",
        acknowledged.len()
    );
    let wanted: BTreeSet<(u64, String)> = device
        .wanted()
        .await
        .iter()
        .map(|sensor| {
            (
                number(sensor, "configVersion"),
                sensor["name"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let lost: Vec<_> = acknowledged.difference(&wanted).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // What was committed but not acknowledged has its events too: they commit together.
    assert_eq!(device.events_of("sensor.added").await.len(), wanted.len());
    let history = device
        .operator
        .all(&device.path("/target-state/history"))
        .await;
    assert_eq!(
        history.len(),
        wanted.len(),
        "every version is in the history"
    );
    device.is_told_by_its_events().await;
}

/// The API and an agent go on when the database server is restarted under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_restarted() {
    let durable = [("fsync", "on"), ("synchronous_commit", "on")];
    let cluster = TestCluster::start_with(&durable).unwrap_or_else(|error| panic!("{error}"));
    let direct = cluster
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error}"));
    let hub = Hub::start_on(direct.clone()).await;
    assert_eq!(hub.store(), Store::Postgres);
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    let mut agent = device.agent(&hub).started();
    device.add(&boiler.sensor("boiler")).await;
    device.settled(1).await;
    let (mut watch, connections) = (device.watch().await, boiler.connections());

    let server = crate::support::database::Restartable::of(&direct);
    server.crash().await;
    let without = device
        .ask("PATCH", "/sensors/boiler", &json!({ "pollInterval": 500 }))
        .await;
    assert_eq!(without.status, 503, "{:#}", without.body);
    assert_eq!(without.header("content-type"), "application/problem+json");
    let ready = hub.admin.ask("GET", "/readyz", &Value::Null).await;
    assert_eq!(ready.status, 503, "{:#}", ready.body);
    hub.reconciler_is_ready(false).await;
    let _server: Process = server.start_again().await;

    let version = eventually("the hub goes on", async || {
        let answer = device
            .ask("PATCH", "/sensors/boiler", &json!({ "pollInterval": 500 }))
            .await;
        if answer.status == 200 {
            Ok(number(&answer.body, "version"))
        } else {
            Err(format!("{} {:#}", answer.status, answer.body))
        }
    })
    .await;
    hub.reconciler_is_ready(true).await;
    device.settled(version).await;
    watch.until_type("target_state.updated").await;
    assert_eq!(
        boiler.connections(),
        connections,
        "an agent's work does not depend on its hub's"
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

/// A hub whose connections to the database are all cut, again and again, goes on each time; also with what it hears from
/// others through the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_database_that_are_cut() {
    let direct = holdfast_testkit::postgres::fresh_database();
    let (before, database) = direct
        .rsplit_once('/')
        .expect("a URL ends with the database's name");
    let (user, addr) = before.rsplit_once('@').expect("a URL has a user");
    let addr = addr.parse().expect("the cluster is reached by its address");
    let gate = Gate::to(addr).await;
    let hub = Hub::start_on(format!("{user}@{}/{database}", gate.addr())).await;
    let device = hub.device("plant").await;
    let mut agent = crate::support::hand_made::HandMade::register(&device).await;
    device.add(&made_up_sensor("boiler")).await;
    for round in 2..=6 {
        gate.close();
        gate.open(addr);
        let version = eventually("an edit goes through", async || {
            let answer = device
                .ask(
                    "PATCH",
                    "/sensors/boiler",
                    &json!({ "pollInterval": 100 * round }),
                )
                .await;
            if answer.status == 200 {
                Ok(number(&answer.body, "version"))
            } else {
                Err(format!("{}", answer.status))
            }
        })
        .await;
        assert_eq!(version, round);
        assert_eq!(agent.run_all().await, "taken");
        device.settled(version).await;
    }
    device.is_told_by_its_events().await;
}
