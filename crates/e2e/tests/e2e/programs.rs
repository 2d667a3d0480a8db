//! How the programs begin and end: what they need is said, nothing is migrated silently, and `up` is all of it in one.

use serde_json::Value;

use crate::support::{
    hub::Hub,
    hub::Store,
    process::{Process, command, run},
    wait::eventually,
};

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    for (program, key, value, expected) in [
        (
            "holdfast-api",
            "HOLDFAST_API_LISTEN",
            "everywhere",
            "listen",
        ),
        // Kubernetes writes a URL here, see below; people write this.
        ("holdfast-api", "HOLDFAST_API_PORT", "8080", "key port"),
        (
            "holdfast-api",
            "HOLDFAST_API_SECURE_COOKIES",
            "sometimes",
            "auto, always, never",
        ),
        (
            "holdfast-api",
            "HOLDFAST_API_LIMITS__CONNECTIONS",
            "1",
            "limits.connections",
        ),
        (
            "holdfast-api",
            "HOLDFAST_API_STORE__URL",
            "mysql://localhost/x",
            "store.url",
        ),
        (
            "holdfast-api",
            "HOLDFAST_API_STORE__CONNECTIONS",
            "3",
            "connections",
        ),
        (
            "holdfast-reconciler",
            "HOLDFAST_RECONCILER_RECONCILE__INTERVAL_S",
            "soon",
            "reconcile.interval_s",
        ),
        (
            "holdfast-agent",
            "HOLDFAST_AGENT_HEARTBEAT_S",
            "-1",
            "heartbeat_s",
        ),
        (
            "holdfast-agent",
            "HOLDFAST_AGENT_HUB",
            "http://hub.example.com:3002",
            "configuration key hub",
        ),
    ] {
        let mut started = command(program);
        started
            .env(key, value)
            .env("HOLDFAST_AGENT_DATA_DIR", folder.path());
        let ended = run(started, &NOTHING).await;
        assert_ne!(ended.code, 0, "{program} with {key}={value}");
        assert!(
            ended.err.contains(expected),
            "{program} with {key}={value} says {}",
            ended.err
        );
        assert!(ended.err.lines().count() < 10, "{}", ended.err);
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "[store]\nconections = 9\n").expect("it can be written");
    let mut started = command("holdfast-api");
    started.arg("--config").arg(file.path());
    let ended = run(started, &NOTHING).await;
    let path = file.path().display().to_string();
    assert!(
        ended.code != 0 && ended.err.contains("conections") && ended.err.contains(&path),
        "{ended:?}"
    );
}

/// A container in a Kubernetes namespace with services that are called like our programs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubernetes_puts_into_the_environment_is_no_configuration() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    for (program, name) in [
        ("holdfast-api", "HOLDFAST_API"),
        ("holdfast-reconciler", "HOLDFAST_RECONCILER"),
        ("holdfast-agent", "HOLDFAST_AGENT"),
    ] {
        let mut started = command(program);
        for (rest, value) in [
            ("SERVICE_HOST", "10.96.0.7"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT", "tcp://10.96.0.7:80"),
            ("PORT_80_TCP", "tcp://10.96.0.7:80"),
            ("PORT_80_TCP_PROTO", "tcp"),
            ("PORT_80_TCP_PORT", "80"),
            ("PORT_80_TCP_ADDR", "10.96.0.7"),
            ("METRICS_PORT", "tcp://10.96.0.8:9090"),
        ] {
            started.env(format!("{name}_{rest}"), value);
        }
        // What ends it is what people have written, and that alone.
        started
            .env(format!("{name}_LOG__FILTER"), "=")
            .env("HOLDFAST_AGENT_DATA_DIR", folder.path());
        let ended = run(started, &NOTHING).await;
        assert!(
            ended.code == 1 && ended.err.contains("key log.filter"),
            "{program}: {ended:?}"
        );
    }
}

/// A folder in the environment, as the operator of an `up` has it, does not stand against a store that is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_that_is_typed_goes_before_the_environment() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let here = |name: &str| folder.path().join(name);
    let store = |name: &str| format!("sqlite:{}", here(name).display());
    for data in ["in-env", "typed"] {
        std::fs::create_dir(here(data)).expect("a folder can be made");
    }
    let migrate = async |environment: &[(&str, String)], arguments: &[&str]| {
        let mut migrate = command("holdfast");
        migrate
            .arg("migrate")
            .envs(environment.iter().map(|(key, value)| (key, value)));
        let ended = run(migrate, arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    let data = ("HOLDFAST_DATA", here("in-env").display().to_string());
    let url = ("HOLDFAST_STORE", store("in-env.sqlite"));
    let typed = here("typed").display().to_string();
    for (environment, arguments, made) in [
        (
            vec![data.clone()],
            vec!["--store", &store("one.sqlite")],
            "one.sqlite",
        ),
        (vec![data.clone()], vec![], "in-env/hub.sqlite"),
        (
            vec![url.clone(), data.clone()],
            vec!["--data", &typed],
            "typed/hub.sqlite",
        ),
        (vec![url, data], vec![], "in-env.sqlite"),
    ] {
        assert!(!here(made).exists(), "{made}");
        migrate(&environment, &arguments).await;
        assert!(here(made).exists(), "{made}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_migrated_silently() {
    let database = holdfast_testkit::postgres::fresh_database();
    for (program, prefix) in [
        ("holdfast-api", "HOLDFAST_API"),
        ("holdfast-reconciler", "HOLDFAST_RECONCILER"),
    ] {
        let mut started = command(program);
        started
            .env(format!("{prefix}_LISTEN"), "127.0.0.1:0")
            .env(format!("{prefix}_STORE__URL"), &database);
        let ended = run(started, &NOTHING).await;
        assert_ne!(
            ended.code, 0,
            "{program} starts on a database without tables"
        );
        assert!(ended.err.contains("holdfast migrate"), "{}", ended.err);
    }
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(crate::support::tables::psql(&database, tables).trim(), "0");
    for _ in 0..2 {
        let migrated = run(command("holdfast"), &["migrate", "--store", &database]).await;
        assert_eq!(migrated.code, 0, "{}", migrated.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_tells_its_story_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let up = || {
        let mut up = command("holdfast");
        up.args(["up", "--demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"));
        up.env("HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path().join("config"));
        Process::start("up --demo", up)
    };
    let demo = up();
    for part in [
        "listening on http://127.0.0.1:",
        "an operator's",
        "boiler-1 deployed (",
        "boiler-3 deployed (",
        "setting boiler-1/target-temperature to 60 °C; the instrument shows 65 °C",
        "boiler-1/target-temperature is 60 °C: written and read back in ",
        "somebody turns the knob of boiler-1: it shows 45 °C",
        "the loop found it changed by hand from 60 to 45 °C, 60 °C is wanted: put back",
        "boiler-1/target-temperature is 60 °C again, verified ",
        "boiler-2 is offline (",
        "boiler-4 failed: connect 127.0.0.1:",
        "boiler-4 deployed (recovered by itself)",
        "boiler-2 is online again",
        "all that is wanted runs and is held",
    ] {
        demo.says(part).await;
    }
    let story: Vec<String> = demo.stdout();
    assert!(
        story
            .iter()
            .any(|line| line.contains(" ms after it was declared")),
        "{story:#?}"
    );
    // Restored within the first minute: each line begins with the seconds since the start.
    let restored = story
        .iter()
        .find(|line| line.contains("60 °C again, verified"))
        .and_then(|line| line.trim_start().split(' ').next()?.parse::<f64>().ok());
    assert!(
        restored.is_some_and(|seconds| seconds < 60.0),
        "{restored:?} in {story:#?}"
    );

    // The folder is held by one process at a time.
    let mut second = command("holdfast");
    second
        .env("HOME", folder.path())
        .arg("up")
        .arg("--data")
        .arg(folder.path().join("data"));
    let refused = run(second, &["--listen", "127.0.0.1:0"]).await;
    assert!(
        refused.code == 1 && refused.err.contains("in use"),
        "{refused:?}"
    );

    demo.interrupt().await;
    let again = up();
    again.says("boiler-4 is deployed and online").await;
    again
        .says("60 °C is wanted, the instrument shows 60 °C; inSync, active")
        .await;
    assert!(!again.said().contains("failed"), "{}", again.said());
    again.interrupt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_says_of_itself() {
    let hub = Hub::start(Store::Sqlite).await;
    let anyone = hub.admin.with(None);
    for path in ["/healthz", "/readyz"] {
        anyone.ask("GET", path, &Value::Null).await.good(path);
    }
    // The description of the API that it serves is the one that the program prints, and the committed one.
    let served = anyone.get("/openapi.json").await;
    let printed = run(command("holdfast"), &["openapi"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&printed.out).ok(),
        Some(served.clone())
    );
    assert_eq!(served["openapi"], "3.1.0");
    hub.device("plant").await;
    let metrics = hub.admin.get("/metrics").await;
    let metrics = metrics.as_str().expect("metrics are a text");
    for name in [
        "holdfast_devices",
        "holdfast_devices_silent",
        "holdfast_oldest_drift_seconds",
        "holdfast_sensors{",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(name)),
            "no {name} in\n{metrics}"
        );
    }
    eventually("a pass is measured", async || {
        let passes = hub.reconciler_metric("holdfast_pass_seconds_count").await;
        if passes > 0.0 {
            Ok(())
        } else {
            Err(format!("{passes}"))
        }
    })
    .await;
}
