//! Write budgets over kills of the agent, reset by an operator; and the figures that operators see of the value loop.

use std::time::Duration;

use holdfast_device_sim::modbus::{Faults, Function};
use serde_json::{Value, json};

use crate::{
    support::{
        hub::{Hub, Store},
        process::run,
        wait::eventually,
    },
    values::{boiler, set, stands},
};

on_both_stores!(
    a_budget_outlives_kills_and_is_reset_once,
    operators_see_how_the_loop_runs,
    a_write_that_is_refused_is_counted,
);

const SETPOINT: &str = "/setpoints/boiler/target";
const RESET: &str = "/points/boiler/target/write-budget/reset";

/// Waits until the agent says that so many writes count as made.
async fn writes(device: &crate::support::device::Device, wanted: u64) {
    eventually(&format!("{wanted} writes count"), async || {
        let shown = device.get(SETPOINT).await;
        if shown["writes"] == wanted {
            assert_eq!(shown["budgetLeft"], 50_000 - wanted);
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
}

async fn a_budget_outlives_kills_and_is_reset_once(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    writes(&device, 1).await;

    // What was booked ahead counts as made after a kill: a tenth of a day's writes.
    agent.kill().await;
    let mut agent = agent.started();
    writes(&device, 10).await;
    let point = eventually("the point is read", async || {
        let points = device.get("/points").await;
        let mut points = points["items"].as_array().expect("a list").iter();
        let target = points.find(|point| point["name"] == "target" && point["quality"] == "good");
        target.cloned().ok_or_else(|| "no reading".to_owned())
    })
    .await;
    assert_eq!(
        (
            &point["desired"],
            &point["conformity"],
            &point["hold"],
            &point["writes"],
            &point["budgetLeft"]
        ),
        (
            &json!(72.5),
            &json!("inSync"),
            &json!("active"),
            &json!(10),
            &json!(49_990)
        )
    );
    assert!(point["since"].is_string() && point["quality"] == "good" && point["value"] == 72.5);

    // The agent is away when the instrument is replaced, and hears of it when it is back.
    agent.kill().await;
    let ran = run(
        hub.holdfast_command(),
        &[
            "budget",
            "reset",
            "plant/boiler/target",
            "--reason",
            "new valve",
            "--wait",
            "0s",
        ],
    )
    .await;
    assert_eq!(
        (ran.code, ran.out.contains("recorded")),
        (0, true),
        "{} {}",
        ran.out,
        ran.err
    );
    assert_eq!(device.get(RESET).await["isConfirmed"], false);
    let mut agent = agent.started();
    writes(&device, 0).await;
    eventually("the reset is confirmed", async || {
        let reset = device.get(RESET).await;
        if reset["isConfirmed"] == true {
            Ok(())
        } else {
            Err(reset.to_string())
        }
    })
    .await;
    boiler.turn(600);
    writes(&device, 1).await;
    // Heard twice, it acts once.
    agent.kill().await;
    let mut agent = agent.started();
    writes(&device, 10).await;
    assert_eq!(device.events_of("write_budget.reset").await.len(), 1);
    assert_eq!(device.events_of("write_budget.renewed").await.len(), 1);
    let reset = &device.events_of("write_budget.reset").await[0];
    assert_eq!(reset["payload"]["reason"], "new valve");
    agent.stop().await;
}

async fn operators_see_how_the_loop_runs(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    let view = eventually("the length of passes is told", async || {
        let view = device.get("/reconciliation").await;
        if view["passMs"].is_u64() && view["recommendedIntervalMs"].is_u64() {
            Ok(view)
        } else {
            Err(view.to_string())
        }
    })
    .await;
    assert!(view["actualIntervalMs"].as_u64() >= Some(100), "{view}");
    assert_eq!(view["lastErrors"], json!([]));
    let ran = run(
        hub.holdfast_command(),
        &["reconcile", "status", "--device", "plant"],
    )
    .await;
    assert!(ran.out.contains("a pass takes up to"), "{}", ran.out);

    boiler.turn(600);
    stands(&device, "inSync", "active").await;
    let wanted = [
        "holdfast_setpoint_writes_total ",
        "holdfast_setpoint_to_verified_seconds_count ",
        "holdfast_between_reports_seconds_count",
        "holdfast_report_seconds_count",
        "holdfast_reports_total{",
        "holdfast_pass_overruns_total{loop=\"values\"}",
        "holdfast_seen_waiting",
        "holdfast_answers_held{",
    ];
    let of_the_reconciler = [
        "holdfast_write_budget_left ",
        "holdfast_devices_due",
        "holdfast_devices_drifting{",
        "holdfast_oldest_drift_seconds",
        "holdfast_sensors{",
        "holdfast_pass_seconds_count{loop=\"values\"}",
        "holdfast_commands_waiting 0",
    ];
    // With SQLite both are in one process.
    let is_one = hub.store() == Store::Sqlite;
    let wanted: Vec<&str> = wanted
        .into_iter()
        .chain(of_the_reconciler.into_iter().filter(|_| is_one))
        .collect();
    eventually("every metric has been there", async || {
        let metrics = hub.admin.get("/metrics").await;
        let metrics = metrics.as_str().unwrap_or_default().to_owned();
        let lacks = wanted
            .iter()
            .find(|name| !metrics.lines().any(|line| line.starts_with(**name)));
        lacks.map_or(Ok(()), |name| Err(format!("no {name} in\n{metrics}")))
    })
    .await;
    agent.stop().await;
}

async fn a_write_that_is_refused_is_counted(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let writing = [
        Function::WriteSingleRegister,
        Function::WriteMultipleRegisters,
    ];
    boiler.set_faults(Faults::without(&writing));
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    let shown = stands(&device, "drifting", "refused").await;
    let why = shown["why"].as_str().unwrap_or_default();
    assert!(why.contains("illegal function"), "{why}");
    let refusals = async || {
        let metrics = hub.admin.get("/metrics").await;
        let metrics = metrics.as_str().unwrap_or_default().to_owned();
        let begins = "holdfast_setpoint_refusals_total{hold=\"refused\"} ";
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix(begins));
        count.map(|count| count.parse::<u64>().expect("a count"))
    };
    assert_eq!(refusals().await, Some(1));
    boiler.clear_faults();
    set(&device, 73.5).await;
    stands(&device, "inSync", "active").await;
    assert_eq!(refusals().await, Some(1), "what is held is no refusal");
}

/// `up` tells of trouble as a reconciler of its own does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_configured_in_its_folder() {
    let mut hub = Hub::start(Store::Sqlite).await;
    hub.stop().await;
    let file = hub.data().join("up.toml");
    let wrong =
        "[[notify.webhooks]]\nname = \"pager\"\nurl = \"http://127.0.0.1:1/\"\nsecret = \"none\"\n";
    std::fs::write(&file, wrong).expect("written");
    let mut up = hub.holdfast_command();
    up.env("HOLDFAST_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_DATA", hub.data());
    let ran = tokio::time::timeout(Duration::from_secs(60), run(up, &["up", "--no-agent"]))
        .await
        .expect("it refuses to start");
    assert_ne!(ran.code, 0);
    assert!(
        ran.err.contains("the secret of webhook \"pager\""),
        "{}",
        ran.err
    );
    std::fs::write(&file, "[reconcile]\ndrift_after_s = 0\n").expect("written");
    let mut up = hub.holdfast_command();
    up.env("HOLDFAST_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_DATA", hub.data());
    let ran = run(up, &["up", "--no-agent"]).await;
    assert!(ran.err.contains("reconcile.drift_after_s"), "{}", ran.err);
    std::fs::remove_file(&file).expect("removed");
    hub.bring_up().await;
    let _: Value = hub.admin.get("/healthz").await;
}
