//! Who is told of trouble: a webhook over a real socket, from the reconciler's own process, killed in between.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    hub::{Hub, Store},
    instrument::Instrument,
    tables::psql,
    wait::eventually,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver of webhooks.
struct Pager(TcpListener);

/// What it was sent.
struct Page {
    head: String,
    body: Value,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {}", self.head))
    }
}

impl Pager {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    fn url(&self) -> String {
        let addr = self.0.local_addr().expect("it is bound");
        format!("http://{addr}/alerts")
    }

    /// The reconciler's environment in which it tells this one.
    fn env(&self) -> [(&'static str, String); 3] {
        // As the configuration reads lists from the environment.
        let text = format!(
            r#"[{{name="pager",url="{}",secret="env:PAGER_SECRET"}}]"#,
            self.url()
        );
        [
            ("HOLDFAST_RECONCILER_NOTIFY__WEBHOOKS", text),
            (
                "HOLDFAST_RECONCILER_RECONCILE__TROUBLE_AFTER_S",
                "1".to_owned(),
            ),
            ("PAGER_SECRET", SECRET.to_owned()),
        ]
    }

    /// Takes the next call, and answers it so.
    async fn call(&self, answer: &str) -> Page {
        let (mut stream, _) = self.0.accept().await.expect("somebody calls");
        let mut text = String::new();
        let mut bytes = [0; 4096];
        loop {
            let count = stream.read(&mut bytes).await.expect("it is read");
            assert!(count > 0, "closed after {text:?}");
            text += std::str::from_utf8(&bytes[..count]).expect("UTF-8");
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() < length.expect("a length").parse().expect("a number") {
                continue;
            }
            let page = Page {
                head: head.to_owned(),
                body: serde_json::from_str(body).expect("JSON"),
            };
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("it waits");
            return page;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instrument_that_stays_away_is_told_of_once_and_so_is_that_it_is_back() {
    let mut hub = Hub::patient(90).await;
    let pager = Pager::start().await;
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    hub.reconciler_anew(&pager.env()).await;
    // Its place in the log is noted: what comes from here on is told, whoever is killed.
    eventually("the way is open", async || {
        let places = psql(
            hub.database().expect("PostgreSQL"),
            "SELECT count(*) FROM notices WHERE told IS NOT NULL",
        );
        if places.trim() == "1" {
            Ok(())
        } else {
            Err(places)
        }
    })
    .await;
    boiler.unplug().await.expect("its port is kept");
    let refused = pager.call("503 Later").await;
    assert_eq!(refused.body["type"], "trouble.began");
    let trouble = &refused.body["data"]["trouble"];
    assert_eq!(
        (&trouble["kind"], &trouble["name"]),
        (&json!("sensorOffline"), &json!("boiler"))
    );
    assert_eq!(trouble["device"], "plant");
    assert!(refused.header("webhook-signature: ").starts_with("v1,"));
    // Not taken, and the reconciler is killed: the next one tells it.
    hub.reconciler_anew(&pager.env()).await;
    let told = pager.call("204 No Content").await;
    assert_eq!(
        told.header("webhook-id: "),
        refused.header("webhook-id: "),
        "the same notice"
    );
    boiler.plug().await.expect("its port is kept");
    let over = pager.call("204 No Content").await;
    assert_eq!(over.body["type"], "trouble.ended", "it was told of once");
    assert!(
        over.body["data"]["trouble"]["lastedMs"]
            .as_u64()
            .expect("a time")
            >= 1_000
    );
    assert_eq!(device.events_of("trouble.began").await.len(), 1);
    assert_eq!(device.events_of("trouble.ended").await.len(), 1);
}

/// `up` tells too, as its folder says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_tells_of_trouble_once_and_once_that_it_is_over() {
    let mut hub = Hub::start(Store::Sqlite).await;
    hub.stop().await;
    let pager = Pager::start().await;
    let secret = hub.folder().join("pager.secret");
    std::fs::write(&secret, SECRET).expect("written");
    let text = format!(
        "[reconcile]\ntrouble_after_s = 1\n[[notify.webhooks]]\nname = \"pager\"\nurl = {:?}\nsecret = {:?}\n",
        pager.url(),
        format!("file:{}", secret.display()),
    );
    std::fs::write(hub.data().join("up.toml"), text).expect("written");
    hub.bring_up().await;
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    for _ in 0..2 {
        boiler.unplug().await.expect("its port is kept");
        let began = pager.call("204 No Content").await;
        assert_eq!(began.body["type"], "trouble.began");
        assert_eq!(began.body["data"]["trouble"]["name"], "boiler");
        assert!(began.header("webhook-signature: ").starts_with("v1,"));
        boiler.plug().await.expect("its port is kept");
        // Whatever else had come in between would be found here.
        let over = pager.call("204 No Content").await;
        assert_eq!(over.body["type"], "trouble.ended");
        assert_ne!(over.header("webhook-id: "), began.header("webhook-id: "));
    }
    assert_eq!(device.events_of("trouble.began").await.len(), 2);
    assert_eq!(device.events_of("trouble.ended").await.len(), 2);
}
