//! The page's buttons, in a browser: stopped from the page nothing is written, started it is put back; and who may press.

use serde_json::{Value, json};

use crate::{
    support::{agent::Agent, device::Device, hub::Hub, instrument::Instrument, page::Page},
    values::{boiler, set, stands},
};

on_both_stores!(
    stopped_from_the_page_nothing_is_written_and_started_it_is_put_back,
    a_viewer_sees_no_buttons_and_is_refused,
    a_pause_is_lifted_from_the_page,
);

/// A token of a role.
async fn token(hub: &Hub, name: &str, role: &str) -> String {
    let wanted = json!({ "name": name, "role": role });
    let made = hub.admin.done("POST", "/api/v1/tokens", &wanted).await;
    made["secret"].as_str().expect("a secret").to_owned()
}

/// A browser that has signed in and shows the fleet.
async fn signed_in(hub: &Hub, token: &str) -> Page {
    let mut page = Page::start().await;
    page.open(&hub.url()).await;
    page.fill("input[name=token]", token).await;
    page.click("main button[type=submit]").await;
    page.sees("Value loops").await;
    page
}

/// A boiler that holds 72.5 °C, and the agent that sees to it.
async fn holding(hub: &Hub) -> (Instrument, Device, Agent) {
    let (boiler, device) = boiler(hub).await;
    let agent = device.agent(hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    (boiler, device, agent)
}

async fn stopped_from_the_page_nothing_is_written_and_started_it_is_put_back(hub: Hub) {
    let (boiler, device, mut agent) = holding(&hub).await;
    let otto = token(&hub, "otto", "operator").await;
    let mut page = signed_in(&hub, &otto).await;
    page.sees("1 verified").await;
    let forms = "document.querySelectorAll('main form').length";
    assert_eq!(
        page.evaluate(forms).await,
        json!(0),
        "the fleet is an admin's"
    );
    page.click("a:text-is(\"plant\")").await;
    page.sees("● holding").await;
    page.sees("● verified").await;
    page.picture(&format!("values-held-{:?}", hub.store()))
        .await;

    // Without a reason the browser does not send the form.
    page.click("#stop button").await;
    page.sees("● holding").await;
    page.fill("#stop input[name=reason]", "belt <b>change")
        .await;
    page.evaluate("document.querySelector('#stop select').value = '7200000'")
        .await;
    page.click("#stop button").await;
    page.sees("Stopped by otto").await;
    page.sees("belt <b>change").await;
    page.sees("it ends in 2 h").await;
    page.sees("■ stopped").await;

    // Somebody turns the knob while somebody types: seen, nothing is written, and what was typed stays.
    page.evaluate("window.isTheSamePage = true").await;
    page.fill("#start input[name=reason]", "the belt is on")
        .await;
    boiler.turn(600);
    page.sees("◐ drifting").await;
    page.sees("A start writes boiler/target 60 → 72.5 °C").await;
    let typed = "document.querySelector('#start input[name=reason]').value";
    assert_eq!(page.evaluate(typed).await, json!("the belt is on"));
    let focused = "document.activeElement === document.querySelector('#start input[name=reason]')";
    assert_eq!(page.evaluate(focused).await, json!(true));
    page.picture(&format!("values-stopped-{:?}", hub.store()))
        .await;
    boiler.is_read(20).await;
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));
    assert_eq!(page.evaluate("window.isTheSamePage").await, json!(true));

    page.click("#start button").await;
    page.sees("● holding").await;
    page.sees("● held").await;
    page.sees("by hand 72.5 → 60").await;
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 2));
    let started = device.events_of("reconciliation.started").await;
    assert_eq!(
        (&started[0]["actor"], &started[0]["payload"]["reason"]),
        (&json!("otto"), &json!("the belt is on"))
    );
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    page.close().await;
    agent.stop().await;
}

async fn a_pause_is_lifted_from_the_page(hub: Hub) {
    let (boiler, device, mut agent) = holding(&hub).await;
    let point = device.get("/setpoints/boiler/target").await["pointId"].clone();
    let pause = json!({ "pointId": point, "reason": "calibration" });
    device.ask("POST", "/pauses", &pause).await.good("a pause");
    let otto = token(&hub, "otto", "operator").await;
    let mut page = signed_in(&hub, &otto).await;
    page.click("a:text-is(\"plant\")").await;
    page.sees("boiler/target paused").await;
    page.sees("calibration").await;
    page.sees("■ paused").await;
    page.picture(&format!("part-paused-{:?}", hub.store()))
        .await;
    boiler.turn(600);
    page.sees("◐ drifting").await;
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));
    // Without a reason the browser does not send the form.
    page.click("form.lift button").await;
    page.sees("boiler/target paused").await;
    page.fill("form.lift input[name=reason]", "it is calibrated")
        .await;
    page.click("form.lift button").await;
    page.sees("● held").await;
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 2));
    let lifted = device.events_of("reconciliation.resumed").await;
    assert_eq!(
        (&lifted[0]["actor"], &lifted[0]["payload"]["reason"]),
        (&json!("otto"), &json!("it is calibrated"))
    );
    let gone = page
        .evaluate("document.querySelectorAll('form.lift').length")
        .await;
    assert_eq!(gone, json!(0));
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    page.close().await;
    agent.stop().await;
}

async fn a_viewer_sees_no_buttons_and_is_refused(hub: Hub) {
    let (boiler, device, mut agent) = holding(&hub).await;
    let vera = token(&hub, "vera", "viewer").await;
    let mut page = signed_in(&hub, &vera).await;
    let buttons = "document.querySelectorAll('main button, main form').length";
    assert_eq!(page.evaluate(buttons).await, json!(0));
    page.click("a:text-is(\"plant\")").await;
    page.sees("● holding").await;
    page.sees("● verified").await;
    assert_eq!(page.evaluate(buttons).await, json!(0));

    // What the buttons would send is refused, and so is the API.
    let form = "new URLSearchParams({ reason: 'x' })";
    let json = "JSON.stringify({ reason: 'x' }), headers: { 'content-type': 'application/json' }";
    for (path, body) in [
        (format!("/devices/{}/stop", device.id), form),
        ("/stop".to_owned(), form),
        (device.path("/reconciliation/stop"), json),
        ("/api/v1/reconciliation/stop".to_owned(), json),
    ] {
        let sent = format!(
            "fetch('{path}', {{ method: 'POST', body: {body} }}).then((answer) => answer.status)"
        );
        assert_eq!(page.evaluate(&sent).await, json!(403), "{path}");
    }
    let view: Value = device.get("/reconciliation").await;
    assert_eq!(view["active"], true, "nothing was stopped");
    boiler.turn(600);
    stands(&device, "inSync", "active").await;
    page.close().await;

    // An admin stops the fleet.
    let mut page = signed_in(&hub, &hub.token).await;
    page.fill("#stop input[name=reason]", "fire").await;
    page.click("#stop button").await;
    page.sees("1 of 1 devices have stopped").await;
    page.sees("■ stopped").await;
    page.picture(&format!("fleet-stopped-{:?}", hub.store()))
        .await;
    page.click("#start button").await;
    page.sees("1 of 1 devices hold their values").await;
    page.close().await;
    agent.stop().await;
}
