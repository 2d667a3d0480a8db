//! The pages' buttons: who sees them, who may press them, and what comes of it.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    support::{Server, sensor},
    values::{events, said, say, set},
};

impl Server {
    /// Presses a button: a form sent by a page of this server.
    async fn press(&self, cookie: &str, path: &str, form: &str) -> (StatusCode, String) {
        let request = self
            .request(Method::POST, path, None)
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", "same-origin");
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request
            .body(form.to_owned())
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        let to = answer.headers().get(header::LOCATION).cloned();
        let body = answer.text().await.expect("a page");
        (
            status,
            to.map_or(body, |to| to.to_str().expect("ASCII").to_owned()),
        )
    }

    fn page_of_a(&self) -> String {
        format!("/devices/{}", self.a.id)
    }
}

#[tokio::test]
async fn each_role_sees_the_buttons_that_it_may_press() {
    let server = Server::start().await;
    let device = server.page_of_a();
    for (token, fleet, one) in [
        (&server.viewer, false, false),
        (&server.operator, false, true),
        (&server.admin, true, true),
    ] {
        let cookie = server.cookie(token).await;
        for (path, wanted) in [("/", fleet), (device.as_str(), one)] {
            let page = server.page(path, &cookie).await;
            // One button signs out.
            let (_, main) = page.split_once("<main").expect("a page");
            let found = main.contains("<button") || main.contains("<form");
            assert_eq!(found, wanted, "{path}: {main}");
        }
    }
}

#[tokio::test]
async fn only_who_may_can_press_and_only_from_a_page_of_this_server() {
    let server = Server::start().await;
    let stop = format!("{}/stop", server.page_of_a());
    let start = format!("{}/start", server.page_of_a());
    let viewer = server.cookie(&server.viewer).await;
    let operator = server.cookie(&server.operator).await;
    let form = "reason=belt+change&for=";
    for (cookie, path) in [
        (&viewer, stop.as_str()),
        (&viewer, &start),
        (&viewer, "/stop"),
        (&viewer, "/start"),
        (&operator, "/stop"),
        (&operator, "/start"),
    ] {
        let (status, page) = server.press(cookie, path, form).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {page}");
        assert!(page.contains("this needs the role"), "{page}");
    }
    for strange in [
        None,
        Some(("sec-fetch-site", "cross-site")),
        Some(("origin", "http://elsewhere.example")),
    ] {
        let request = server
            .request(Method::POST, &stop, None)
            .header(header::COOKIE, &operator)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = match strange {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let answer = request.body(form).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{strange:?}");
    }
    let (status, to) = server.press("holdfast_session=none", &stop, form).await;
    assert_eq!(
        (status, to),
        (
            StatusCode::SEE_OTHER,
            format!("/sign-in?next={}", server.page_of_a())
        )
    );
    let view = server.json(&server.of_a("/reconciliation")).await;
    assert_eq!(
        (&view["active"], &view["revision"]),
        (&json!(true), &json!(0))
    );
}

#[tokio::test]
async fn a_device_is_stopped_and_started_from_its_page() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let set = set(&server, json!(70.0)).await;
    let (page, stop) = (server.page_of_a(), format!("{}/stop", server.page_of_a()));
    let cookie = server.cookie(&server.operator).await;
    for (form, field) in [
        ("reason=+&for=", "reason"),
        ("reason=x&for=soon", "forMs"),
        ("reason=x&for=0", "forMs"),
    ] {
        let (status, shown) = server.press(&cookie, &stop, form).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        assert!(shown.contains(field) && shown.contains(&page), "{shown}");
    }
    let pressed = server
        .press(&cookie, &stop, "reason=belt+%3Cb%3E&for=7200000")
        .await;
    assert_eq!(pressed, (StatusCode::SEE_OTHER, page.clone()));
    let view = server.json(&server.of_a("/reconciliation")).await;
    let stopped = &view["pauses"][0];
    assert_eq!(
        (&view["active"], &stopped["reason"], &stopped["by"]),
        (&json!(false), &json!("belt <b>"), &json!("a Operator"))
    );
    assert!(stopped["until"].is_string());
    let shown = server.page(&page, &cookie).await;
    for part in [
        "stopping",
        "<b>Stopped</b> by a Operator",
        "belt &#60;b&#62;",
        "it ends",
        "nothing yet",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }

    // The agent confirms it, and the instrument shows 72.5: wanted beside real, and what a start would move.
    let hold = json!({ "heldRevision": 1, "state": "stopped", "intervalMs": 8_000, "overruns": 3 });
    let said = said(&set["pointId"], 1, "drifting", "paused");
    say(&server, 1, &said, Some(&hold)).await;
    let shown = server.page(&page, &cookie).await;
    for part in [
        "</i> stopped</span>",
        "<b>70</b> °C",
        "<b>72.5</b> °C",
        "drifting",
        "paused",
        "88 left",
        "A start writes",
        "<s>72.5</s> → <b>70</b>",
        "8 s",
        "(asked: 5 s)",
        "3 times",
        "1 drifting",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let fleet = server.page("/", &cookie).await;
    for part in [
        "<b>1 of 1</b> devices have stopped",
        "<b>1</b> with nothing to hold",
        "■</i> stopped",
        "1 drifting",
    ] {
        assert!(fleet.contains(part), "{part} is missing in {fleet}");
    }

    let start = format!("{page}/start");
    for _ in 0..2 {
        let pressed = server.press(&cookie, &start, "reason=").await;
        assert_eq!(pressed, (StatusCode::SEE_OTHER, page.clone()));
    }
    let shown = server.page(&page, &cookie).await;
    assert!(
        shown.contains("starting") && shown.contains("Stop</button>"),
        "{shown}"
    );
    assert_eq!(events(&server, "reconciliation.started").await.len(), 1);
}

#[tokio::test]
async fn a_pause_of_a_part_is_lifted_from_the_devices_page() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let set = set(&server, json!(70.0)).await;
    let pauses = server.of_a("/pauses");
    let body = json!({ "pointId": set["pointId"], "reason": "calibration" });
    let pause = server.send(Method::POST, &pauses, &body).await;
    let pause: Value = pause.json().await.expect("JSON");
    let page = server.page_of_a();
    let lift = format!(
        "{page}/pauses/{}/lift",
        pause["id"].as_str().expect("an id")
    );
    let viewer = server.cookie(&server.viewer).await;
    let shown = server.page(&page, &viewer).await;
    assert!(shown.contains("target-temperature paused"), "{shown}");
    assert!(!shown.contains(&lift), "a viewer has no button");
    let (status, _) = server.press(&viewer, &lift, "reason=done").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let cookie = server.cookie(&server.operator).await;
    assert!(server.page(&page, &cookie).await.contains(&lift));
    let (status, shown) = server.press(&cookie, &lift, "reason=+").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{shown}");
    for _ in 0..2 {
        let pressed = server.press(&cookie, &lift, "reason=done").await;
        assert_eq!(
            pressed,
            (StatusCode::SEE_OTHER, page.clone()),
            "also once it is over"
        );
    }
    let shown = server.page(&page, &cookie).await;
    assert!(!shown.contains("target-temperature paused"), "{shown}");
    let told = events(&server, "reconciliation.resumed").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["payload"]["reason"], "done");
    // A stop of the device is no pause: a start ends it.
    let stop = format!("{page}/stop");
    server.press(&cookie, &stop, "reason=fire&for=").await;
    let shown = server.page(&page, &cookie).await;
    assert!(!shown.contains("/lift"), "{shown}");
}

#[tokio::test]
async fn the_fleet_is_stopped_and_started_from_its_page() {
    let server = Server::start().await;
    let cookie = server.cookie(&server.admin).await;
    let pressed = server.press(&cookie, "/stop", "reason=fire&for=").await;
    assert_eq!(pressed, (StatusCode::SEE_OTHER, "/".to_owned()));
    let figures: Value = server.json("/api/v1/reconciliation").await;
    assert_eq!(figures["requested"]["stopped"], 2);
    let page = server.page("/", &cookie).await;
    assert!(
        page.contains("<b>0 of 2</b> devices have stopped"),
        "{page}"
    );
    assert!(page.contains("Not confirmed by the agent yet: 2"), "{page}");
    let pressed = server.press(&cookie, "/start", "").await;
    assert_eq!(pressed.0, StatusCode::SEE_OTHER);
    let page = server.page("/", &cookie).await;
    assert!(page.contains("<b>0 of 2</b> devices hold"), "{page}");
    assert!(!page.contains("have stopped"), "{page}");
}

#[tokio::test]
async fn many_setpoints_are_shown_in_part_and_those_in_trouble_first() {
    const POINTS: usize = 501;
    let server = Server::start().await;
    let points: Vec<Value> = (0..POINTS)
        .map(|n| json!({ "name": format!("p{n:03}"), "table": "holding", "address": n, "dataType": "int16", "writable": true }))
        .collect();
    let mut wanted = sensor("boiler-1");
    wanted["dataPoints"] = json!(points);
    let made = server
        .send(Method::POST, &server.of_a("/sensors"), &wanted)
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let mut last = Value::Null;
    for n in 0..POINTS {
        let path = server.of_a(&format!("/setpoints/boiler-1/p{n:03}"));
        let set = server
            .send(Method::PUT, &path, &json!({ "value": 1 }))
            .await;
        last = set.json().await.expect("JSON");
        if n == 499 {
            let cookie = server.cookie(&server.viewer).await;
            let fleet = server.page("/", &cookie).await;
            assert!(fleet.contains("500 not known yet"), "{fleet}");
        }
    }
    // All are verified but the last.
    let mut said = said(&last["pointId"], 501, "drifting", "active");
    let listed = server.json(&server.of_a("/setpoints?limit=1000")).await;
    let items = listed["items"].as_array().expect("a list");
    let one = said["items"][last["pointId"].as_str().expect("an id")].clone();
    for item in items
        .iter()
        .filter(|item| item["pointId"] != last["pointId"])
    {
        let mut one = one.clone();
        one["conformity"] = json!("inSync");
        said["items"][item["pointId"].as_str().expect("an id")] = one;
    }
    say(&server, 1, &said, None).await;
    let cookie = server.cookie(&server.viewer).await;
    let fleet = server.page("/", &cookie).await;
    assert!(
        fleet.contains("501 set") && !fleet.contains("500 verified"),
        "{fleet}"
    );
    let page = server.page(&server.page_of_a(), &cookie).await;
    assert!(page.contains("200 of 501 are shown"), "it says so");
    assert!(page.contains("1 drifting") && page.contains("500 verified"));
    let place = |name: &str| page.find(&format!("<th scope=\"row\">{name}<"));
    assert!(place("p500") < place("p000") && place("p000").is_some());
    assert!(place("p400").is_none());
}
