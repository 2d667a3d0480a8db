//! From a value that is set at the hub to its being verified on the wire and shown by the read model: a `PUT` of a setpoint, the
//! hub on PostgreSQL, the agent's long poll, its disk, the write and the read-back on Modbus TCP, its report, and the
//! answer of `GET …/setpoints/…`, which is asked each millisecond. Once by an agent that has nothing else to do, once by one that reads 10,000 points a second,
//! a tenth of which move. And what `Prefer: wait` answers when. One at a time, over both cores.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_bench::{
    Effort,
    figures::{Pairs, Table, Target, share},
    http::{Connection, request},
    instruments::Instruments,
    outputs::Outputs,
    plant::{Plant, unit},
    postgres::fdatasyncs,
    rig::Hub,
};
use serde_json::{Value, json};

const UNITS: usize = 100;
const POLL_MS: u32 = 1_000;
const SETPOINT: &str = "/setpoints/boiler/r-0";

fn main() -> Result<()> {
    holdfast_bench::main_beside_one_worker(measure)
}

async fn measure(effort: Effort) -> Result<()> {
    let hub = Hub::start(None)?;
    println!(
        "pg_test_fsync: fdatasync {:.0}/s",
        fdatasyncs(&hub.cluster)?
    );
    let mut table = Table::new("on the wire");
    let times = effort.choose(1_000, 100);
    for (what, units) in [("idle", 0), ("10,000 points/s", UNITS)] {
        let instruments = Instruments::start(units, 1, 10).await?;
        let outputs = Outputs::start(1).await?;
        let mut way = Way::prepare(&hub, &outputs, &instruments).await?;
        for (how, waits) in [("read model", false), ("Prefer: wait", true)] {
            way.run(times / 10, waits).await?;
            let ran = way.run(times, waits).await?;
            let mut row = |quantile: &str, part: f64, most: f64| {
                let (shown, wire) = (share(&ran.shown, part), share(&ran.wire, part));
                let what = format!("{what}, {how}: {quantile}");
                table.pair(&what, "ms", &Pairs::one(shown, wire), Target::AtMost(most));
            };
            row("p50", 0.5, 20.0);
            row("p99", 0.99, 100.0);
        }
    }
    table.print();
    Ok(())
}

struct Way<'a> {
    hub: &'a Hub,
    outputs: &'a Outputs,
    plant: Plant,
    operator: Connection,
    reader: Connection,
    value: u16,
}

/// In ms from the sending of the request, of each wish.
#[derive(Default)]
struct Ran {
    /// Until it was read back.
    wire: Vec<f64>,
    /// Until the hub showed that.
    shown: Vec<f64>,
}

impl<'a> Way<'a> {
    async fn prepare(hub: &'a Hub, outputs: &'a Outputs, others: &Instruments) -> Result<Self> {
        let boiler = outputs.places().map(|addr| {
            let mut boiler = unit(0, addr, 1, POLL_MS, |address| address == 0);
            boiler["name"] = json!("boiler");
            boiler
        });
        let others = others
            .places()
            .zip(1..)
            .map(|((addr, id), number)| unit(number, addr, id, POLL_MS, |_| false));
        let sensors: Vec<Value> = boiler.chain(others).collect();
        let mut plant = Plant::prepare(hub, &sensors).await?;
        plant.start(hub, None)?;
        let mut operator = Connection::to(hub.addr()).await?;
        let all = |shown: &Value| {
            let rows = shown["items"].as_array();
            rows.is_some_and(|rows| rows.len() == sensors.len())
        };
        let pause = Duration::from_millis(50);
        plant
            .until(hub, &mut operator, "/sensors?limit=1000", pause, all)
            .await?;
        Ok(Self {
            hub,
            outputs,
            plant,
            operator,
            reader: Connection::to(hub.addr()).await?,
            value: 1_000,
        })
    }

    async fn run(&mut self, times: usize, waits: bool) -> Result<Ran> {
        /// Each wish comes when all is quiet after the one before, and at another moment of the second.
        const PAUSE: Duration = Duration::from_millis(23);
        let mut ran = Ran::default();
        for _ in 0..times {
            self.value = if self.value < 2_000 {
                self.value + 1
            } else {
                1_000
            };
            let (wire, shown) = self.once(waits).await?;
            ran.wire.push(wire);
            ran.shown.push(shown);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(ran)
    }

    async fn once(&mut self, waits: bool) -> Result<(f64, f64)> {
        let body = json!({ "value": self.value, "reason": "winter" }).to_string();
        let path = self.plant.path(SETPOINT);
        let wait = if waits { "prefer: wait=10\r\n" } else { "" };
        let put = request("PUT", &path, &self.hub.token, wait, &body);
        let began = Instant::now();
        let ms = |at: Instant| at.duration_since(began).as_secs_f64() * 1e3;
        let value = json!(self.value);
        let is_verified = |shown: &Value| {
            shown["conformity"] == "inSync"
                && (&shown["value"], &shown["shownValue"]) == (&value, &value)
        };
        let setting = async {
            let answer = self.operator.ask(&put).await?;
            let said: Value = serde_json::from_slice(answer.body)?;
            ensure!(answer.status == 200, "{} {said}", answer.status);
            if waits {
                ensure!(is_verified(&said), "not verified: {said}");
                return anyhow::Ok(Instant::now());
            }
            let pause = Duration::from_millis(1);
            let plant = &self.plant;
            plant
                .until(self.hub, &mut self.reader, SETPOINT, pause, is_verified)
                .await?;
            Ok(Instant::now())
        };
        let verified = async {
            self.outputs.verified(0).await;
            anyhow::Ok(Instant::now())
        };
        let (shown, wire) = tokio::try_join!(setting, verified)?;
        Ok((ms(wire), ms(shown)))
    }
}
