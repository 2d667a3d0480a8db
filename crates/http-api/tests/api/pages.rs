//! The pages: signing in, what they show, and that nothing in them is anybody else's.

use reqwest::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::support::{Server, problem, report, sensor};

impl Server {
    async fn sign_in(&self, token: &str, next: &str) -> Response {
        let form = [("token", token), ("next", next)];
        let body = form
            .map(|(key, value)| format!("{key}={}", value.replace('/', "%2F")))
            .join("&");
        let request = self.request(Method::POST, "/sign-in", None);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("an answer")
    }

    pub(crate) async fn cookie(&self, token: &str) -> String {
        let answer = self.sign_in(token, "/").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE]
            .to_str()
            .expect("ASCII")
            .to_owned();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        cookie.split(';').next().expect("a pair").to_owned()
    }

    pub(crate) async fn page(&self, path: &str, cookie: &str) -> String {
        let request = self
            .request(Method::GET, path, None)
            .header(header::COOKIE, cookie);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("ASCII")
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        answer.text().await.expect("a page")
    }
}

#[tokio::test]
async fn a_person_signs_in_sees_the_fleet_and_signs_out() {
    let server = Server::start().await;
    let cookie = server.cookie(&server.viewer).await;
    let page = server.page("/", &cookie).await;
    assert!(page.contains(&format!("/devices/{}", server.a.id)) && page.contains("a Viewer"));
    assert!(page.contains("site=north"));
    for outside in ["http://", "https://", "//cdn"] {
        let own = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(outside), "nothing is fetched from elsewhere");
    }
    let events = server
        .request(Method::GET, "/api/v1/events/stream", None)
        .header(header::COOKIE, &cookie);
    assert_eq!(
        events.send().await.expect("an answer").status(),
        StatusCode::OK
    );
    let out = server
        .request(Method::POST, "/sign-out", None)
        .send()
        .await
        .expect("an answer");
    assert!(
        out.headers()[header::SET_COOKIE]
            .to_str()
            .expect("ASCII")
            .contains("Max-Age=0")
    );
}

#[tokio::test]
async fn only_an_operators_token_signs_in_and_only_to_a_page_of_this_server() {
    let server = Server::start().await;
    let wrong = server.sign_in("nonsense<script>", "/").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key(header::SET_COOKIE));
    assert!(wrong.text().await.expect("a page").contains("not known"));
    assert_eq!(
        server.sign_in(&server.a.token, "/").await.status(),
        StatusCode::FORBIDDEN
    );
    let elsewhere = server.sign_in(&server.viewer, "//elsewhere.example").await;
    assert_eq!(elsewhere.headers()[header::LOCATION], "/");
    let wanted = server
        .request(Method::GET, "/events", None)
        .send()
        .await
        .expect("an answer");
    assert_eq!(wanted.headers()[header::LOCATION], "/sign-in?next=/events");
}

#[tokio::test]
async fn a_device_shows_what_runs_what_does_not_and_why() {
    let server = Server::start().await;
    let good = server.add_sensor("boiler-1").await;
    let bad = server
        .add_sensor("<script>alert(1)</script>".replace('/', "-").as_str())
        .await;
    let row = server.json(&server.of_a(&format!("/sensors/{good}"))).await;
    let target = server.json(&server.of_a("/target-state")).await;
    let items = target["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("a list")
        .clone();
    let (runs, fails): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item["id"] == good);
    let mut body = report(&server.a, 1, 2, &runs);
    let failing: holdfast_domain::Item = serde_json::from_value(fails[0].clone()).expect("an item");
    let device = server.a.id.to_string();
    body[&device]["failures"] = json!([{ "id": bad, "fingerprint": failing.sensor.fingerprint(),
        "error": "connect 10.0.0.7:502: connection refused", "attempts": 3 }]);
    body[&device]["health"][&good] = json!({ "status": "offline", "since": "2026-11-22T12:00:00Z", "reason": "no answer for 5 s" });
    let patch = server.request(Method::PATCH, "/api/v1/device/state", Some(&server.a.token));
    assert_eq!(
        patch.json(&body).send().await.expect("an answer").status(),
        StatusCode::OK
    );
    let reading = json!({ "sensor": good, "point": row["dataPoints"][0]["id"], "value": 21.299_999_237_060_547,
        "quality": "good", "at": "2026-11-22T12:00:00Z" });
    let readings = server.request(
        Method::POST,
        "/api/v1/device/readings",
        Some(&server.a.token),
    );
    readings
        .json(&json!({ "device": server.a.id, "readings": [reading] }))
        .send()
        .await
        .expect("an answer");

    let cookie = server.cookie(&server.viewer).await;
    let page = server
        .page(&format!("/devices/{}", server.a.id), &cookie)
        .await;
    for shown in [
        "boiler-1",
        "deployed",
        "failed",
        "connection refused (tried 3 times)",
        "offline",
        "no answer for 5 s",
        "10.0.0.5:502 unit 1",
        "21.3",
        "°C",
        "drift: missing",
        "sensor.failed",
    ] {
        assert!(page.contains(shown), "{shown} is missing in {page}");
    }
    assert!(!page.contains("<script>alert"), "names are escaped");
    assert!(page.contains("script&#62;alert"), "and shown");
    let request = server.request(Method::GET, &format!("/devices/{}", server.a.id), None);
    let part = request
        .header(header::COOKIE, &cookie)
        .header("x-fragment", "1")
        .send()
        .await
        .expect("an answer");
    let part = part.text().await.expect("a part");
    assert!(
        page.contains(&part) && !part.contains("<html"),
        "the script gets the content alone"
    );
    assert!(
        server
            .page("/events", &cookie)
            .await
            .contains("sensor.failed")
    );
    let missing = server
        .request(Method::GET, "/devices/nonsense", None)
        .header(header::COOKIE, &cookie);
    let missing = missing.send().await.expect("an answer");
    assert_eq!(missing.status(), StatusCode::BAD_REQUEST);
    assert!(
        missing
            .text()
            .await
            .expect("a page")
            .contains("expected a device")
    );
}

#[tokio::test]
async fn a_cookie_changes_things_from_the_same_origin_only() {
    let server = Server::start().await;
    let cookie = server.cookie(&server.operator).await;
    let add = |name: &str| {
        let request = server.request(Method::POST, &server.of_a("/sensors"), None);
        request.header(header::COOKIE, &cookie).json(&sensor(name))
    };
    for strange in [
        add("s1"),
        add("s1").header("sec-fetch-site", "cross-site"),
        add("s1").header(header::ORIGIN, "http://elsewhere.example"),
    ] {
        problem(
            strange.send().await.expect("an answer"),
            StatusCode::FORBIDDEN,
        )
        .await;
    }
    let own = add("s1")
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .expect("an answer");
    assert_eq!(own.status(), StatusCode::CREATED);
    let forged = server
        .request(Method::POST, "/sign-in", None)
        .header("sec-fetch-site", "cross-site");
    let forged = forged
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("token=x");
    problem(
        forged.send().await.expect("an answer"),
        StatusCode::FORBIDDEN,
    )
    .await;
}
