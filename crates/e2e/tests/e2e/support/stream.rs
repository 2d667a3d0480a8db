//! The event log followed live, as server-sent events. When the stream ends it is resumed where it was.

use serde_json::Value;

use super::{
    client::Client,
    wait::{eventually, in_time},
};

/// A reader of the event log that misses nothing.
pub(crate) struct Watch {
    client: Client,
    path: String,
    last: Option<String>,
    response: Option<reqwest::Response>,
    buffer: Vec<u8>,
    /// Every event that was read, in order.
    pub(crate) seen: Vec<Value>,
}

impl Watch {
    /// Follows the events of a device from now on: what was committed before this returns is not seen.
    pub(crate) async fn from_now(client: &Client, device: &str) -> Self {
        let mut past = Vec::new();
        let mut after = String::new();
        loop {
            let page = client
                .get(&format!("/api/v1/events?device={device}&limit=1000{after}"))
                .await;
            let items = page["items"].as_array().expect("a list has items");
            let next = page["next"].as_str().expect("a log has no end").to_owned();
            if items.is_empty() {
                return Self::at(
                    client,
                    format!("/api/v1/events/stream?device={device}"),
                    Some(next),
                );
            }
            past.extend(items.clone());
            after = format!("&after={next}");
        }
    }

    fn at(client: &Client, path: String, last: Option<String>) -> Self {
        Self {
            client: client.clone(),
            path,
            last,
            response: None,
            buffer: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Reads on until an event `is_it`, and gives that.
    pub(crate) async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let read = async {
            loop {
                let event = self.next().await;
                if is_it(&event) {
                    return event;
                }
            }
        };
        in_time(what, read).await
    }

    /// Reads on until an event of this type.
    pub(crate) async fn until_type(&mut self, kind: &str) -> Value {
        self.until(kind, |event| event["type"] == kind).await
    }

    /// Reads on until an event of this type that concerns a sensor.
    pub(crate) async fn until_sensor(&mut self, kind: &str, sensor: &str) -> Value {
        let is_it = |event: &Value| event["type"] == kind && event["payload"]["sensorId"] == sensor;
        self.until(&format!("{kind} of {sensor}"), is_it).await
    }

    /// The deployment statuses that were seen of a sensor, in order; the same twice in a row counts once.
    pub(crate) fn statuses_of(&self, sensor: &str) -> Vec<String> {
        let mut statuses: Vec<String> = self
            .rows_of(sensor)
            .map(|row| word(row, "deploymentStatus"))
            .collect();
        statuses.dedup();
        statuses
    }

    /// The rows that were seen of a sensor, in order.
    pub(crate) fn rows_of(&self, sensor: &str) -> impl Iterator<Item = &Value> {
        let of_sensor = self
            .seen
            .iter()
            .filter(move |event| event["payload"]["sensorId"] == sensor);
        of_sensor
            .map(|event| &event["payload"]["row"])
            .filter(|row| !row.is_null())
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(event) = self.take_message() {
                self.seen.push(event.clone());
                return event;
            }
            let chunk = match &mut self.response {
                Some(response) => response.chunk().await.ok().flatten(),
                None => {
                    self.connect().await;
                    continue;
                }
            };
            match chunk {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.response = None,
            }
        }
    }

    async fn connect(&mut self) {
        self.buffer.clear();
        let mut request = self.client.request("GET", &self.path);
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        // While the hub is being restarted nothing answers.
        let response = eventually("the event stream answers", async || {
            let response = request.try_clone().expect("it has no body").send().await;
            let response = response.map_err(|error| error.to_string())?;
            if response.status().is_server_error() {
                Err(response.status().to_string())
            } else {
                Ok(response)
            }
        });
        let response = response.await;
        assert_eq!(response.status(), 200, "{}", self.path);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        self.response = Some(response);
    }

    /// Takes a whole message out of the buffer; comments and empty ones are passed over.
    fn take_message(&mut self) -> Option<Value> {
        loop {
            let end = self.buffer.windows(2).position(|two| two == b"\n\n")?;
            let message: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let message = String::from_utf8(message).expect("messages are text");
            let field = |name: &str| {
                message
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let Some(data) = field("data:") else { continue };
            assert_eq!(field("event:"), Some("event"), "{message}");
            self.last = Some(field("id:").expect("every event has a cursor").to_owned());
            return Some(serde_json::from_str(data).expect("an event is JSON"));
        }
    }
}

fn word(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}
