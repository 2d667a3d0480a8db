//! Stops and pauses: recorded with who and why, confirmed by agents, and lifted; of a device, of its parts, of the fleet.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{Server, assert_names, problem},
    values::{POINT, events, said, say, set},
};

#[tokio::test]
async fn a_stop_is_recorded_with_who_and_why_and_confirmed_by_the_agent() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let stop = server.of_a("/reconciliation/stop");
    let nameless = server.send(Method::POST, &stop, &json!({})).await;
    assert_names(
        &problem(nameless, StatusCode::UNPROCESSABLE_ENTITY).await,
        "reason",
    );
    let body = json!({ "reason": "belt change" });
    let view: Value = server
        .send(Method::POST, &stop, &body)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (
            &view["active"],
            &view["requested"],
            &view["confirmed"],
            &view["isConfirmed"]
        ),
        (
            &json!(false),
            &json!("stopped"),
            &Value::Null,
            &json!(false)
        )
    );
    let one = &view["pauses"][0];
    assert_eq!(
        (&one["reason"], &one["by"]),
        (&json!("belt change"), &json!("a Admin"))
    );
    // The same again changes nothing.
    let again: Value = server
        .send(Method::POST, &stop, &body)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(again, view);

    let set = set(&server, json!(72.5)).await;
    assert_eq!(
        (&set["hold"], &set["conformity"]),
        (&json!("paused"), &json!("unknown"))
    );
    assert_eq!(set["why"], "recorded; stopped by a Admin: belt change");

    let hold = json!({ "heldRevision": 1, "state": "stopped", "intervalMs": 5_000, "overruns": 2 });
    say(
        &server,
        1,
        &said(&set["pointId"], 1, "drifting", "paused"),
        Some(&hold),
    )
    .await;
    let view = server.json(&server.of_a("/reconciliation")).await;
    assert_eq!(
        (&view["confirmed"], &view["isConfirmed"], &view["overruns"]),
        (&json!("stopped"), &json!(true), &json!(2))
    );
    let drifts = server.json(&server.of_a(POINT)).await;
    assert_eq!(
        (&drifts["hold"], &drifts["conformity"]),
        (&json!("paused"), &json!("drifting"))
    );

    let start = server.of_a("/reconciliation/start?reason=done");
    for _ in 0..2 {
        let answer = server.request(Method::POST, &start, Some(&server.operator));
        let answer = answer.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let view: Value = answer.json().await.expect("JSON");
        assert_eq!(
            (&view["active"], &view["isConfirmed"]),
            (&json!(true), &json!(false))
        );
    }
    assert_eq!(events(&server, "reconciliation.stopped").await.len(), 1);
    assert_eq!(events(&server, "reconciliation.started").await.len(), 1);
}

#[tokio::test]
async fn sensors_and_points_are_paused_one_by_one() {
    let server = Server::start().await;
    let sensor = server.add_sensor("boiler-1").await;
    let point = set(&server, json!(72.5)).await["pointId"].clone();
    let path = server.of_a("/pauses");
    for (field, body) in [
        ("pointId", json!({ "reason": "x" })),
        (
            "pointId",
            json!({ "reason": "x", "sensorId": sensor, "pointId": point }),
        ),
        ("reason", json!({ "pointId": point })),
        (
            "forMs",
            json!({ "pointId": point, "reason": "x", "forMs": "long" }),
        ),
        (
            "until",
            json!({ "pointId": point, "reason": "x", "until": "tomorrow" }),
        ),
    ] {
        let answer = server.send(Method::POST, &path, &body).await;
        assert_names(
            &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
            field,
        );
    }
    let body = json!({ "pointId": point, "reason": "valve", "forMs": 60_000 });
    let made = server.send(Method::POST, &path, &body).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.expect("JSON");
    assert_eq!(made["scope"], json!({ "pointId": point }));
    assert_eq!(server.json(&path).await["items"], json!([made]));
    let view = server.json(&server.of_a("/reconciliation")).await;
    assert_eq!(view["active"], true, "a pause is no stop");
    let lift = format!("{path}/{}", made["id"].as_str().expect("an id"));
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        let answer = server.request(Method::DELETE, &lift, Some(&server.operator));
        assert_eq!(answer.send().await.expect("an answer").status(), status);
    }
    let unknown = json!({ "sensorId": server.a.id, "reason": "x" });
    let answer = server.send(Method::POST, &path, &unknown).await;
    problem(answer, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn the_loop_is_tuned_within_its_bounds() {
    let server = Server::start().await;
    let path = server.of_a("/reconciliation");
    for (field, body) in [
        ("intervalMs", json!({ "intervalMs": 99 })),
        ("restoresPerHour", json!({ "restoresPerHour": 3_601 })),
        ("shadow", json!({ "shadow": "yes" })),
        ("active", json!({ "active": false })),
    ] {
        let answer = server.send(Method::PATCH, &path, &body).await;
        assert_names(
            &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
            field,
        );
    }
    let body = json!({ "intervalMs": 1_000, "shadow": true, "reason": "trial" });
    for _ in 0..2 {
        let view: Value = server
            .send(Method::PATCH, &path, &body)
            .await
            .json()
            .await
            .expect("JSON");
        assert_eq!(
            (
                &view["intervalMs"],
                &view["requested"],
                &view["dynamic"],
                &view["revision"]
            ),
            (&json!(1_000), &json!("shadow"), &json!(true), &json!(1))
        );
    }
}

#[tokio::test]
async fn the_fleet_is_stopped_device_by_device() {
    let server = Server::start().await;
    let before = server.json("/api/v1/reconciliation").await;
    assert_eq!(
        (&before["devices"], &before["requested"]["active"]),
        (&json!(2), &json!(2))
    );
    let refused = server
        .request(
            Method::POST,
            "/api/v1/reconciliation/stop",
            Some(&server.operator),
        )
        .json(&json!({ "reason": "fire" }));
    problem(
        refused.send().await.expect("an answer"),
        StatusCode::FORBIDDEN,
    )
    .await;
    let body = json!({ "reason": "fire" });
    let stopped = server
        .send(Method::POST, "/api/v1/reconciliation/stop", &body)
        .await;
    let figures: Value = stopped.json().await.expect("JSON");
    assert_eq!(
        figures["requested"],
        json!({ "active": 0, "stopping": 0, "stopped": 2, "shadow": 0 })
    );
    let hold = json!({ "heldRevision": 1, "state": "stopped", "intervalMs": 5_000 });
    say(
        &server,
        1,
        &json!({ "heldRevision": 0, "items": {} }),
        Some(&hold),
    )
    .await;
    let figures = server.json("/api/v1/reconciliation").await;
    assert_eq!(
        (&figures["confirmed"]["stopped"], &figures["unconfirmed"]),
        (&json!(1), &json!(1))
    );
    // "1 of 2 devices have stopped."
    assert_eq!(
        (
            &figures["asRequested"]["stopped"],
            &figures["requested"]["stopped"]
        ),
        (&json!(1), &json!(2))
    );
    let started = server
        .request(
            Method::POST,
            "/api/v1/reconciliation/start",
            Some(&server.admin),
        )
        .send()
        .await
        .expect("an answer");
    let figures: Value = started.json().await.expect("JSON");
    assert_eq!(
        (&figures["requested"]["active"], &figures["failed"]),
        (&json!(2), &json!(0))
    );
    let none = json!({ "active": 0, "stopping": 0, "stopped": 0, "shadow": 0 });
    assert_eq!(figures["asRequested"], none);
    // Stopped again: what the agent said of the stop before says nothing of this one, for it may have started in between.
    let stopped = server
        .send(Method::POST, "/api/v1/reconciliation/stop", &body)
        .await;
    let figures: Value = stopped.json().await.expect("JSON");
    assert_eq!(
        (&figures["confirmed"]["stopped"], &figures["asRequested"]),
        (&json!(1), &none)
    );
}

#[tokio::test]
async fn what_a_start_would_move_is_shown_and_nothing_is_changed() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let set = set(&server, json!(70.0)).await;
    let plan = server.of_a("/reconciliation/plan");
    let fleet = "/api/v1/reconciliation/plan";
    for path in [plan.as_str(), fleet] {
        let listed = server.json(path).await;
        assert_eq!(listed["items"], json!([]), "nothing is stopped");
    }
    let stop = server.of_a("/reconciliation/stop");
    server
        .send(Method::POST, &stop, &json!({ "reason": "belt change" }))
        .await;
    // The instrument shows 72.5.
    let hold = json!({ "heldRevision": 1, "state": "stopped", "intervalMs": 5_000 });
    let said = said(&set["pointId"], 1, "drifting", "paused");
    say(&server, 1, &said, Some(&hold)).await;
    let log = server.json("/api/v1/events?limit=1000").await;
    let listed = server.json(&plan).await;
    let one = &listed["items"][0];
    assert_eq!(
        (
            &one["wanted"],
            &one["real"],
            &one["effect"],
            &one["sensor"],
            &one["point"]
        ),
        (
            &json!(70.0),
            &json!(72.5),
            &json!("write"),
            &json!("boiler-1"),
            &json!("target-temperature")
        )
    );
    let figures = server.json(fleet).await;
    let items = figures["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "only what is stopped: {figures}");
    assert_eq!(
        (
            &items[0]["write"],
            &items[0]["nothing"],
            &items[0]["device"]
        ),
        (&json!(1), &json!(0), &json!(server.a.id))
    );
    assert_eq!(server.json("/api/v1/events?limit=1000").await, log);
    let view = server.json(&server.of_a("/reconciliation")).await;
    assert_eq!(
        (&view["active"], &view["revision"]),
        (&json!(false), &json!(1))
    );
}
