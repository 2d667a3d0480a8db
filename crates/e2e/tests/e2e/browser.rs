//! The page, in a browser: what it shows is live, what people wrote is text, and it needs nothing from elsewhere.

use serde_json::json;

use crate::support::{hub::Hub, instrument::Instrument, page::Page};

on_both_stores!(the_page_shows_what_happens);

async fn the_page_shows_what_happens(hub: Hub) {
    const SCRIPT: &str = "<img src=x onerror=alert(1)><script>alert(1)";
    let (boiler, pump) = (Instrument::start().await, Instrument::start().await);
    let device = hub.device("plant").await;
    let mut agent = device.agent(&hub).started();
    device.add(&boiler.sensor("boiler")).await;
    device.add(&pump.sensor(SCRIPT)).await;
    device.settled(2).await;

    let mut page = Page::start().await;
    page.open(&hub.url()).await;
    page.sees("Sign in").await;
    page.fill("input[name=token]", "hft_wrong").await;
    page.click("main button[type=submit]").await;
    page.sees("the token is not known").await;
    page.fill("input[name=token]", &hub.token).await;
    page.click("main button[type=submit]").await;
    page.sees("plant").await;
    page.picture(&format!("fleet-{:?}", hub.store())).await;

    page.click("a:text-is(\"plant\")").await;
    page.sees("boiler").await;
    page.sees(SCRIPT).await;
    page.sees("deployed").await;
    page.sees("online").await;
    assert_eq!(
        page.evaluate("document.querySelectorAll('main script, main img').length")
            .await,
        json!(0)
    );

    // Unplugged, plugged in, added: seen without loading the page again.
    page.evaluate("window.isTheSamePage = true").await;
    boiler.unplug().await.expect("its port is kept");
    let row = device.health("boiler", "offline").await;
    page.sees("offline").await;
    page.sees(row["health"]["reason"].as_str().expect("a reason"))
        .await;
    page.picture(&format!("device-offline-{:?}", hub.store()))
        .await;
    let missing = Instrument::unplugged().await;
    device.add(&missing.sensor("missing")).await;
    let row = device.row_in("missing", "failed").await;
    page.sees("missing").await;
    page.sees("failed").await;
    page.sees(row["deploymentError"].as_str().expect("an error"))
        .await;
    page.picture(&format!("device-failed-{:?}", hub.store()))
        .await;
    boiler.plug().await.expect("its port is kept");
    device.health("boiler", "online").await;
    device.remove("missing").await;
    device.settled_now().await;
    let gone = "new Promise((gone) => { const look = () => document.querySelector('.sensors').innerText.match(/missing|offline/) \
                ? requestAnimationFrame(look) : gone(true); look(); })";
    assert_eq!(page.evaluate(gone).await, json!(true));
    assert_eq!(page.evaluate("window.isTheSamePage").await, json!(true));

    // The documentation of the API works offline too.
    page.open(&format!("{}/docs/", hub.url())).await;
    page.sees("/api/v1/devices").await;

    let own = hub.url();
    for url in page.requests().await {
        let is_own = url
            .strip_prefix(&own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        assert!(
            is_own || url.starts_with("data:"),
            "the browser asked elsewhere: {url}"
        );
    }
    let cookies = page.evaluate("document.cookie").await;
    assert_eq!(
        cookies,
        json!(""),
        "the session's cookie is not for scripts"
    );
    // The browser itself notes that the wrong token was refused.
    let complaints = page.complaints().await;
    let unexpected: Vec<_> = complaints
        .iter()
        .filter(|text| !text.as_str().is_some_and(|text| text.contains("401")))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    page.close().await;
    agent.stop().await;
}
