//! The same instrument of three makes: our own simulator, pymodbus and libmodbus. All are looked at and turned by hand from
//! outside, with mbpoll, and each counts for itself what is written to it.
//!
//! What the peers can do is in `peers/README.md`; the simulator is made to do the same.

use std::{
    fmt::Debug,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use holdfast_device_sim::modbus::{Answering, Faults, ModbusInstrument, Unit, WriteRule};
use holdfast_testkit::peers::{Peer, mbpoll_read, mbpoll_write};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::wait::eventually;

/// Registers of each unit. All of unit 1, and every output, hold their own address at first.
const SIZE: u16 = 200;

/// What a unit makes of what is written to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Habit {
    Obeys,
    Ignores,
    RoundsTo(u16),
    LimitsTo(u16),
    /// It shows what was before for so many more reads.
    IsLate(u64),
    /// It can't be read any more.
    Hides,
    /// It ends after so many answers; see [`Made::ends`].
    EndsAfter(u64),
}

impl Habit {
    fn argument(self) -> String {
        match self {
            Self::Obeys => "obey".to_owned(),
            Self::Ignores => "ignore".to_owned(),
            Self::RoundsTo(step) => format!("round:{step}"),
            Self::LimitsTo(highest) => format!("limit:0:{highest}"),
            Self::IsLate(reads) => format!("late:{reads}"),
            Self::Hides => "hide".to_owned(),
            Self::EndsAfter(answers) => format!("dead:{answers}"),
        }
    }

    fn faults(self) -> Faults {
        match self {
            Self::Obeys | Self::EndsAfter(_) => Faults::default(),
            Self::Ignores => Faults::writing(WriteRule::Ignore),
            Self::RoundsTo(step) => Faults::writing(WriteRule::RoundDownTo(step)),
            Self::LimitsTo(highest) => Faults::writing(WriteRule::Limit(0..=highest)),
            Self::IsLate(reads) => Faults::writing(WriteRule::Late(reads)),
            Self::Hides => Faults::writing(WriteRule::Hide),
        }
    }
}

/// An instrument with the units 1, 2, … of the given habits.
pub(crate) struct Made {
    /// Who made it; also the name of the sensor that is its unit 1.
    pub(crate) name: &'static str,
    server: Server,
    port: u16,
    slow_ms: u64,
    /// Connections and writes that the tests themselves made.
    own: Own,
}

enum Server {
    Simulated(ModbusInstrument),
    Foreign {
        start: fn(&[String]) -> Peer,
        /// None while it has no power.
        peer: Option<Peer>,
        arguments: Vec<String>,
        journal: PathBuf,
        _folder: TempDir,
    },
}

#[derive(Default)]
struct Own {
    connections: AtomicU64,
    writes: AtomicU64,
}

/// One of each make, on ports of their own.
pub(crate) async fn one_of_each(habits: &[Habit], slow_ms: u64) -> [Made; 3] {
    [
        Made::simulated(habits, slow_ms).await,
        Made::foreign("pymodbus", Peer::pymodbus::<String>, habits, slow_ms),
        Made::foreign("libmodbus", Peer::libmodbus::<String>, habits, slow_ms),
    ]
}

impl Made {
    async fn simulated(habits: &[Habit], slow_ms: u64) -> Self {
        let registers: Vec<u16> = (0..SIZE).collect();
        let builder = (1..)
            .zip(habits)
            .fold(ModbusInstrument::builder(), |builder, (unit, _)| {
                builder.unit(unit, Unit::new().holding_registers(0, &registers))
            });
        let modbus = builder.bind("127.0.0.1:0").await.expect("a free port");
        for (unit, habit) in (1..).zip(habits) {
            modbus.set_unit_faults(unit, habit.faults());
        }
        let this = Self {
            name: "simulated",
            port: modbus.local_addr().port(),
            server: Server::Simulated(modbus),
            slow_ms,
            own: Own::default(),
        };
        this.thaw();
        this
    }

    fn foreign(
        name: &'static str,
        start: fn(&[String]) -> Peer,
        habits: &[Habit],
        slow_ms: u64,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the journal");
        let journal = folder.path().join("journal");
        let mut arguments = vec!["--journal".to_owned(), journal.display().to_string()];
        arguments.extend(["--delay-ms".to_owned(), slow_ms.to_string()]);
        for (unit, habit) in (1..=habits.len()).zip(habits) {
            arguments.push("--habit".to_owned());
            arguments.push(format!("{unit}:{}", habit.argument()));
        }
        if name == "pymodbus" {
            let units: Vec<String> = (1..=habits.len()).map(|unit| unit.to_string()).collect();
            arguments.extend(["--units".to_owned(), units.join(",")]);
            let outputs = (1..).zip(habits).map(|(unit, _)| {
                json!({ "unit": unit, "address": register(unit), "type": "int16", "value": register(unit) })
            });
            let outputs: Vec<Value> = outputs.collect();
            arguments.extend(["--set".to_owned(), Value::Array(outputs).to_string()]);
        }
        let peer = start(&arguments);
        Self {
            name,
            port: peer.port(),
            server: Server::Foreign {
                start,
                peer: Some(peer),
                arguments,
                journal,
                _folder: folder,
            },
            slow_ms,
            own: Own::default(),
        }
    }

    /// The name of the sensor that is one of its units.
    pub(crate) fn sensor_name(&self, unit: u8) -> String {
        match unit {
            1 => self.name.to_owned(),
            _ => format!("{}-{unit}", self.name),
        }
    }

    /// A sensor that is one of its units, as an operator declares it.
    pub(crate) fn sensor(&self, unit: u8) -> Value {
        json!({
            "name": self.sensor_name(unit), "protocol": "modbus", "pollInterval": 100,
            "connection": { "type": "tcp", "host": "127.0.0.1", "port": self.port, "unitId": unit, "timeoutMs": 2_000 },
            "dataPoints": [
                { "name": "temperature", "table": "holding", "address": 0, "dataType": "int16", "scale": 0.1 },
                { "name": "target", "table": "holding", "address": register(unit), "dataType": "int16", "scale": 0.1,
                  "writable": true, "limits": { "min": 0, "max": 90 } },
            ],
        })
    }

    /// What the output of a unit holds, seen from outside.
    pub(crate) fn shows(&self, unit: u8) -> u16 {
        self.register(unit, register(unit))
    }

    /// What a register holds, seen from outside.
    pub(crate) fn register(&self, unit: u8, address: u16) -> u16 {
        self.own.connections.fetch_add(1, Ordering::SeqCst);
        mbpoll_read(self.port, unit, address, 1)[0]
    }

    /// All that a unit holds, seen from outside.
    pub(crate) fn map(&self, unit: u8) -> Vec<u16> {
        let half = |first| {
            self.own.connections.fetch_add(1, Ordering::SeqCst);
            mbpoll_read(self.port, unit, first, SIZE / 2)
        };
        [0, SIZE / 2].into_iter().flat_map(half).collect()
    }

    /// Somebody else writes to a unit's output.
    pub(crate) fn turn(&self, unit: u8, value: u16) {
        self.put(unit, register(unit), value);
    }

    /// Somebody else writes to a register.
    pub(crate) fn put(&self, unit: u8, address: u16, value: u16) {
        self.own.connections.fetch_add(1, Ordering::SeqCst);
        self.own.writes.fetch_add(1, Ordering::SeqCst);
        mbpoll_write(self.port, unit, address, &[value]);
    }

    /// Requests to write that came in from us, of whatever kind and for whatever unit; answered or not.
    pub(crate) fn writes(&self) -> u64 {
        let all = match &self.server {
            Server::Simulated(modbus) => modbus.totals().write_requests,
            Server::Foreign { .. } => self.count("W "),
        };
        all - self.own.writes.load(Ordering::SeqCst)
    }

    /// The same to one unit that nobody else wrote to.
    pub(crate) fn writes_to(&self, unit: u8) -> u64 {
        match &self.server {
            Server::Simulated(modbus) => modbus.unit_counts(unit).write_requests(),
            Server::Foreign { .. } => self.count(&format!("W {unit} ")),
        }
    }

    /// Connections that we made.
    pub(crate) fn connections(&self) -> u64 {
        let all = match &self.server {
            Server::Simulated(modbus) => modbus.totals().connections_accepted,
            Server::Foreign { .. } => self.count("C"),
        };
        all - self.own.connections.load(Ordering::SeqCst)
    }

    /// Requests to one unit.
    pub(crate) fn requests_to(&self, unit: u8) -> u64 {
        match &self.server {
            Server::Simulated(modbus) => modbus.unit_counts(unit).requests(),
            Server::Foreign { .. } => {
                self.count(&format!("R {unit} ")) + self.count(&format!("W {unit} "))
            }
        }
    }

    fn requests(&self) -> u64 {
        match &self.server {
            Server::Simulated(modbus) => modbus.totals().requests,
            Server::Foreign { .. } => self.count("R ") + self.count("W "),
        }
    }

    /// Lines of a peer's journal that begin so.
    fn count(&self, beginning: &str) -> u64 {
        let Server::Foreign { journal, .. } = &self.server else {
            return 0;
        };
        let text = std::fs::read_to_string(journal).expect("the peer writes a journal");
        text.lines()
            .filter(|line| line.starts_with(beginning))
            .count() as u64
    }

    /// Waits until it was asked so many times more.
    pub(crate) async fn is_asked(&self, times: u64) {
        let wanted = self.requests() + times;
        self.until("it is asked", || self.requests() >= wanted)
            .await;
    }

    /// Waits until something holds of it.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        eventually(&format!("{}: {what}", self.name), async || {
            if holds() {
                Ok(())
            } else {
                Err(format!(
                    "{} requests, {} writes, {} connections",
                    self.requests(),
                    self.writes(),
                    self.connections()
                ))
            }
        })
        .await;
    }

    /// Waits until a unit that ends after so many answers has ended.
    pub(crate) async fn ends(&self, unit: u8, answers: u64) {
        self.until("a unit ends", || self.requests_to(unit) > answers)
            .await;
        if let Server::Simulated(modbus) = &self.server {
            modbus.set_unit_faults(unit, Faults::silent());
        }
    }

    /// It loses its power.
    pub(crate) async fn power_off(&mut self) {
        match &mut self.server {
            Server::Simulated(modbus) => modbus.unplug().await.expect("it can be unplugged"),
            Server::Foreign { peer, .. } => *peer = None,
        }
    }

    /// It has power again, and starts with what it left the factory with.
    pub(crate) async fn power_on(&mut self) {
        match &mut self.server {
            Server::Simulated(modbus) => {
                modbus.restore_factory_values();
                modbus.plug().await.expect("its port is free");
            }
            Server::Foreign {
                start,
                peer,
                arguments,
                ..
            } => {
                let port = ["--port".to_owned(), self.port.to_string()];
                *peer = Some(start(&[&arguments[..], &port].concat()));
            }
        }
    }

    /// It takes connections, and answers nothing.
    pub(crate) fn freeze(&self) {
        match &self.server {
            Server::Simulated(modbus) => modbus.set_faults(Faults::answering(Answering::Withheld)),
            Server::Foreign { peer, .. } => peer.as_ref().expect("it has power").freeze(),
        }
    }

    /// It goes on.
    pub(crate) fn thaw(&self) {
        match &self.server {
            Server::Simulated(modbus) => {
                modbus.set_faults(Faults::slow(std::time::Duration::from_millis(self.slow_ms)));
            }
            Server::Foreign { peer, .. } => peer.as_ref().expect("it has power").thaw(),
        }
    }
}

/// The register of a unit's output: another one for each, because one of the makes has one map for all units.
pub(crate) const fn register(unit: u8) -> u16 {
    90 + unit as u16
}

/// Checks one thing of all makes at once, so that a failure tells of each.
#[track_caller]
pub(crate) fn each_is<T: PartialEq + Debug + Clone>(
    makes: &[Made],
    look: impl Fn(&Made) -> T,
    expected: &T,
) {
    let found: Vec<(&str, T)> = makes.iter().map(|made| (made.name, look(made))).collect();
    let expected: Vec<(&str, T)> = makes
        .iter()
        .map(|made| (made.name, expected.clone()))
        .collect();
    assert_eq!(found, expected);
}
