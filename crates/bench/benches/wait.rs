//! From an edit to the agent that waits for it: an operator changes a sensor's poll interval, and the agent's long poll is
//! answered with the new target; measured from the sending of the edit, so that its saving is within. Once with both at
//! the same replica of the API, once with the agent at another. Beside it a round trip through PostgreSQL: an upsert of a
//! document of 2 kB with a NOTIFY in its transaction, until a listening connection has it. One at a time, in turns, all
//! over both cores.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_bench::{
    Effort,
    figures::{Pairs, Table, Target, share},
    http::{Connection, request},
    rig::{Device, Hub, SENSORS, small_sensor},
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection, postgres::PgListener};

fn main() -> Result<()> {
    holdfast_bench::main_beside_one_worker(measure)
}

async fn measure(effort: Effort) -> Result<()> {
    let mut hub = Hub::start(None)?;
    let other = hub.another(None)?;
    let mut bare = RoundTrip::prepare(&hub).await?;
    let mut table = Table::new("upsert + NOTIFY → LISTEN");
    let (turns, edits) = effort.choose((5, 1_000), (2, 100));
    for (what, agent_at) in [("same replica", hub.addr()), ("another replica", other)] {
        let mut way = Way::prepare(&hub, what, agent_at).await?;
        let (mut p50, mut p99) = (Pairs::default(), Pairs::default());
        // What is cold is not what is measured.
        way.run(edits / 10).await?;
        bare.run(edits / 10).await?;
        for _ in 0..turns {
            let (ours, limit) = (way.run(edits).await?, bare.run(edits).await?);
            p50.push(share(&ours, 0.5), share(&limit, 0.5));
            p99.push(share(&ours, 0.99), share(&limit, 0.99));
        }
        table.pair(&format!("{what}: p50"), "µs", &p50, Target::None);
        table.pair(
            &format!("{what}: p99"),
            "µs",
            &p99,
            Target::RatioAtMost(20.0),
        );
    }
    table.print();
    Ok(())
}

/// An operator and an agent.
struct Way {
    operator: Connection,
    token: String,
    /// Path of the sensor that is changed.
    sensor: String,
    agent: Connection,
    device: Device,
    interval_ms: u32,
}

impl Way {
    async fn prepare(hub: &Hub, name: &str, agent_at: std::net::SocketAddr) -> Result<Self> {
        let mut operator = Connection::to(hub.addr()).await?;
        let sensors = (0..SENSORS).map(small_sensor).collect();
        let device = hub
            .running_device(&mut operator, &name.replace(' ', "-"), sensors)
            .await?;
        let sensor = format!(
            "/api/v1/devices/{}/sensors/{}",
            device.id,
            device.items[0].sensor.id()
        );
        Ok(Self {
            operator,
            token: hub.token.clone(),
            sensor,
            agent: Connection::to(agent_at).await?,
            device,
            interval_ms: 1_000,
        })
    }

    /// So many edits, and for each the µs until the agent had it.
    async fn run(&mut self, edits: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(edits);
        for _ in 0..edits {
            self.interval_ms = if self.interval_ms < 2_000 {
                self.interval_ms + 1
            } else {
                1_000
            };
            let interval = format!("\"pollInterval\":{}", self.interval_ms);
            let poll = format!("/api/v1/device/{}/state", self.device.id);
            let held = format!("if-none-match: {}\r\nprefer: wait=30\r\n", self.device.etag);
            let poll = request("GET", &poll, &self.device.secret, &held, "");
            let edit = json!({ "pollInterval": self.interval_ms }).to_string();
            let edit = request("PATCH", &self.sensor, &self.token, "", &edit);
            let (operator, agent) = (&mut self.operator, &mut self.agent);
            let waiting = async {
                let answer = agent.ask(&poll).await?;
                let has_it = Instant::now();
                let etag = answer.header("etag").context("no tag")?.to_owned();
                let document = String::from_utf8_lossy(answer.body);
                ensure!(
                    answer.status == 200 && document.contains(&interval),
                    "{} {document}",
                    answer.status
                );
                Ok((has_it, etag))
            };
            let editing = async {
                // The poll must wait before there is something to tell.
                tokio::time::sleep(Duration::from_millis(3)).await;
                let began = Instant::now();
                let answer = operator.ask(&edit).await?;
                ensure!(
                    answer.status == 200,
                    "{} {}",
                    answer.status,
                    String::from_utf8_lossy(answer.body)
                );
                Ok(began)
            };
            let ((has_it, etag), began) = tokio::try_join!(waiting, editing)?;
            self.device.etag = etag;
            times.push(has_it.duration_since(began).as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

/// The least that it takes with PostgreSQL between the two.
struct RoundTrip {
    writer: PgConnection,
    listener: PgListener,
    document: String,
}

impl RoundTrip {
    async fn prepare(hub: &Hub) -> Result<Self> {
        let url = hub.cluster.fresh_database()?;
        let mut writer = PgConnection::connect(&url).await?;
        let table = "CREATE TABLE bench (id integer PRIMARY KEY, turn integer, document jsonb)";
        sqlx::query(table).execute(&mut writer).await?;
        let mut listener = PgListener::connect(&url).await?;
        listener.listen("bench").await?;
        let members: Vec<String> = (0..55)
            .map(|n| format!(r#""key-{n}": "value-{:016x}""#, n * 0x9E37_79B9_u64 * 7919))
            .collect();
        let document = format!("{{{}}}", members.join(", "));
        Ok(Self {
            writer,
            listener,
            document,
        })
    }

    async fn run(&mut self, times: usize) -> Result<Vec<f64>> {
        const UPSERT: &str = "WITH saved AS (
                INSERT INTO bench VALUES (1, $1, $2::text::jsonb)
                ON CONFLICT (id) DO UPDATE SET turn = excluded.turn, document = excluded.document RETURNING turn
            ) SELECT pg_notify('bench', turn::text) FROM saved";
        let mut took = Vec::with_capacity(times);
        for turn in 0..times {
            // As far apart as the edits.
            tokio::time::sleep(Duration::from_millis(3)).await;
            let began = Instant::now();
            let upsert = sqlx::query(UPSERT)
                .bind(i32::try_from(turn)?)
                .bind(&self.document);
            let (saved, told) = tokio::join!(upsert.execute(&mut self.writer), async {
                let told = self.listener.recv().await;
                (told, Instant::now())
            });
            saved?;
            ensure!(
                told.0?.payload() == turn.to_string(),
                "another notification"
            );
            took.push((told.1 - began).as_secs_f64() * 1e6);
        }
        Ok(took)
    }
}
