//! A technician at the agent itself: stops the value loop with no hub in reach, and starts it again.

use serde_json::{Value, json};

use crate::{
    support::{
        agent::Agent,
        client::Client,
        hub::{Hub, Store},
        page::Page,
        wait::eventually,
    },
    values::{boiler, set, stands},
};

on_both_stores!(a_technician_stops_the_loop_with_no_hub_in_reach);

const LOOP: &str = "/api/v1/reconciliation";

async fn view(site: &Client) -> Value {
    site.get(LOOP).await
}

/// Waits until the loop has completed so many more passes.
async fn passes(site: &Client, more: u64) -> Value {
    let of = |view: &Value| view["passes"].as_u64().expect("they are counted");
    let wanted = of(&view(site).await) + more;
    eventually("the loop goes on looking", async || {
        let view = view(site).await;
        if of(&view) >= wanted {
            Ok(view)
        } else {
            Err(view.to_string())
        }
    })
    .await
}

async fn a_technician_stops_the_loop_with_no_hub_in_reach(mut hub: Hub) {
    let (boiler, mut device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    assert_eq!(boiler.writes(), 1);

    hub.kill_server().await;
    let site = agent.on_site().await;
    let stop = json!({ "by": "ute", "reason": "belt change" });
    let stopped = site
        .ask("POST", &format!("{LOOP}/stop"), &stop)
        .await
        .good("a stop");
    assert_eq!(stopped["state"], "stopped");
    boiler.turn(600);
    let shown = passes(&site, 20).await;
    let point = &shown["points"][0];
    assert_eq!(
        (
            &point["sensor"],
            &point["name"],
            &point["wanted"],
            &point["real"]
        ),
        (
            &json!("boiler"),
            &json!("target"),
            &json!(72.5),
            &json!(60.0)
        ),
        "{shown}"
    );
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));

    // It was written down before it was answered.
    agent.kill().await;
    agent.start();
    let site = agent.on_site().await;
    let shown = passes(&site, 20).await;
    assert_eq!(
        (&shown["state"], &shown["local"]["by"]),
        (&json!("stopped"), &json!("ute"))
    );
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));

    hub.bring_up().await;
    device.moved_to(&hub);
    let seen = eventually("the hub shows the stop on site", async || {
        let seen = device.get("/reconciliation").await;
        if seen["local"]["by"] == "ute" {
            Ok(seen)
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    assert_eq!(
        (
            &seen["requested"],
            &seen["confirmed"],
            &seen["local"]["reason"]
        ),
        (&json!("active"), &json!("stopped"), &json!("belt change"))
    );
    let told = device.events_of("reconciliation.stopped").await;
    assert_eq!(told[0]["actor"], "ute (on site)");
    // The hub does not lift it.
    device
        .ask("POST", "/reconciliation/start", &json!({}))
        .await
        .good("a start");
    set(&device, 80.0).await;
    stands(&device, "drifting", "paused").await;
    passes(&site, 20).await;
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));

    let start = json!({ "by": "ute", "reason": "done" });
    site.ask("POST", &format!("{LOOP}/start"), &start)
        .await
        .good("a start");
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (800, 2));
    let told = eventually("its end is told", async || {
        let told = device.events_of("reconciliation.started").await;
        told.into_iter()
            .find(|event| event["payload"]["local"] == true)
            .ok_or_else(|| "no event".to_owned())
    })
    .await;
    assert_eq!(
        (&told["payload"]["ended"], &told["payload"]["by"]),
        (&json!("lifted"), &json!("ute"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_own_page_stops_and_starts() {
    let hub = Hub::start(Store::Sqlite).await;
    let (boiler, device) = boiler(&hub).await;
    let agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    let site = agent.on_site().await;

    let mut page = Page::start().await;
    let own = format!("http://{}/", site.addr());
    page.open(&own).await;
    page.fill("#token", &agent.local_token()).await;
    page.click("#sign-in button").await;
    page.sees("Outputs are held").await;
    page.fill("#by", "ute").await;
    page.fill("#reason", "belt change <b>").await;
    page.click("#do-stop").await;
    page.sees("Outputs are not held: stopped").await;
    page.sees("Stopped here by ute: belt change <b>").await;
    boiler.turn(600);
    page.sees("boiler/target").await;
    page.picture("on-site-stopped").await;
    passes(&site, 20).await;
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));
    page.click("#do-start").await;
    page.sees("Outputs are held").await;
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 2));

    let requests = page.requests().await;
    assert!(
        requests
            .iter()
            .all(|url| url.starts_with(&own) || url.starts_with("data:")),
        "{requests:?}"
    );
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_or_a_page_that_is_switched_off_stops_no_agent() {
    let hub = Hub::start(Store::Sqlite).await;
    let (boiler, device) = boiler(&hub).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it is bound").to_string();
    let mut agent: Agent = device.agent(&hub).with("LOCAL__LISTEN", &addr).started();
    let said = agent.logs("can't be served").await;
    assert!(
        said.contains(&addr) && said.contains("HOLDFAST_AGENT_LOCAL__LISTEN"),
        "{said}"
    );
    device.settled(1).await;
    // It is there once the port is free.
    drop(taken);
    let site = agent.on_site().await;
    assert_eq!(view(&site).await["outputs"], 0);
    agent.stop().await;
    let mut agent = device.agent(&hub).with("LOCAL__ENABLED", "false").started();
    boiler.is_read(5).await;
    agent.stop().await;
    let abroad = device.agent(&hub).with("LOCAL__LISTEN", "0.0.0.0:0");
    let ended = crate::support::process::run(abroad.command(), &[] as &[&str]).await;
    assert!(
        ended.code != 0 && ended.err.contains("local.listen"),
        "{ended:?}"
    );
}
