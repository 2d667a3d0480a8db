//! What an agent is configured with takes effect, by file and by environment; what cannot be used is named.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    agent::Agent,
    hub::{Hub, Store},
    instrument::Instrument,
    process::{Process, command, run},
    tls::TlsFront,
    wait::eventually,
};

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_with_a_certificate_of_its_own_is_trusted_by_its_authority_alone() {
    let hub = Hub::start(Store::Sqlite).await;
    let (front, other) = (
        TlsFront::of(hub.addr()).await,
        TlsFront::of(hub.addr()).await,
    );
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let file = |name: &str, content: &str| {
        let path = hub.folder().join(name);
        fs::write(&path, content).expect("it can be written");
        path.display().to_string()
    };
    let ca = file("ca.pem", front.authority());
    let foreign = file("foreign.pem", other.authority());

    // Without it, and with another one, the agent does not let its key go; it says why, and tries on.
    for settings in [None, Some(foreign.as_str())] {
        let mut agent = device.agent(&hub).through(front.url());
        if let Some(foreign) = settings {
            agent = agent.with("CA_FILE", foreign);
        }
        agent.start();
        let line = agent.logs("not registered yet").await;
        assert!(line.contains("certificate"), "{line}");
        agent.stop().await;
    }
    let mut agent = device
        .agent(&hub)
        .through(front.url())
        .with("CA_FILE", &ca)
        .started();
    device.settled_now().await;
    device
        .patch("boiler", &json!({ "pollInterval": 200 }))
        .await;
    device.settled_now().await;
    agent.stop().await;

    let none = file("none.pem", "no certificate\n");
    let missing = hub.folder().join("missing.pem").display().to_string();
    for unfit in [none, missing] {
        let agent = device.agent(&hub).through(front.url());
        let ended = run(agent.with("CA_FILE", &unfit).command(), &NOTHING).await;
        assert!(
            ended.code != 0 && ended.err.contains("ca_file") && ended.err.contains(&unfit),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_stand_in_the_file() {
    let hub = Hub::start(Store::Sqlite).await;
    let boiler = Instrument::start().await;
    let key = hub.unbound_key().await;
    let (disk, readings) = (
        hub.folder().join("disk"),
        hub.folder().join("readings.ndjson"),
    );
    let config = format!(
        "hub = {:?}\ndata_dir = {:?}\nprovisioning_key = {key:?}\nname = \"filed\"\nheartbeat_s = 1\n\
         readings_file = {:?}\nlabels = {{ hall = \"3\", line = \"north\" }}\n\n\
         [log]\nformat = \"json\"\nfilter = \"holdfast_edge=debug,warn\"\n",
        hub.url(),
        disk.display().to_string(),
        readings.display().to_string(),
    );
    let file = hub.folder().join("agent.toml");
    fs::write(&file, config).expect("it can be written");
    let start = |more: &[(&str, &str)]| {
        let mut agent = command("holdfast-agent");
        agent.arg("--config").arg(&file);
        agent.envs(more.iter().copied());
        Process::start("agent", agent)
    };
    let agent = start(&[]);
    let device = hub.device_called("filed").await;
    assert_eq!(
        device.get("").await["labels"],
        json!({ "hall": "3", "line": "north" })
    );
    device.add(&boiler.sensor("boiler")).await;
    device.settled_now().await;
    let lines = eventually("readings are lines of the file", async || {
        let text = fs::read_to_string(&readings).unwrap_or_default();
        let whole = text.lines().count() >= 4 && text.ends_with('\n');
        whole.then_some(text.clone()).ok_or(text)
    })
    .await;
    for line in lines.lines() {
        let reading: Value = serde_json::from_str(line).expect("a line is a document");
        assert_eq!(reading["quality"], "good", "{reading}");
    }
    let disabled = json!({ "connection": { "port": 1 } });
    device.patch("boiler", &disabled).await;
    let line = agent.logs("could not start a sensor").await;
    let said: Value = serde_json::from_str(&line).expect("a log line is a document");
    assert_eq!(said["level"], "INFO", "{said}");
    assert_eq!(said["target"], "holdfast_edge::shell", "{said}");
    assert!(
        !agent.said().contains("agent up"),
        "filtered: {}",
        agent.said()
    );
    agent.stop().await;

    // The environment overrides the file; colours are for terminals.
    let agent = start(&[
        ("HOLDFAST_AGENT_LOG__FORMAT", "text"),
        ("HOLDFAST_AGENT_LOG__FILTER", "info"),
    ]);
    let line = agent.logs("agent up").await;
    assert!(
        line.contains(" INFO ") && line.contains(&device.id),
        "{line}"
    );
    assert!(!agent.said().contains('\u{1b}'), "{:?}", agent.said());
    agent.stop().await;

    for (variable, value, named) in [
        ("HOLDFAST_AGENT_LOG__FORMAT", "xml", "log.format"),
        ("HOLDFAST_AGENT_LOG__FILTER", "holdfast=loud", "log.filter"),
        (
            "HOLDFAST_AGENT_READINGS_FILE",
            "/dev/null/x",
            "readings_file",
        ),
    ] {
        let mut agent = command("holdfast-agent");
        agent.arg("--config").arg(&file).env(variable, value);
        let ended = run(agent, &NOTHING).await;
        assert!(ended.code != 0 && ended.err.contains(named), "{ended:?}");
    }
}

/// Plain HTTP to another machine would show the key to everybody on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_to_elsewhere_must_be_allowed() {
    let hub = Hub::start(Store::Sqlite).await;
    let key = hub.unbound_key().await;
    // An address that is nobody's: it is enough that the agent tries.
    let elsewhere = "http://192.0.2.1:3002".to_owned();
    let agent = || Agent::newcomer(&hub, "far", &key).through(elsewhere.clone());
    let ended = run(agent().command(), &NOTHING).await;
    assert!(
        ended.code != 0 && ended.err.contains("allow_plain_http"),
        "{ended:?}"
    );
    let mut agent = agent().with("ALLOW_PLAIN_HTTP", "true").started();
    agent.logs("not registered yet").await;
    agent.stop().await;
}
