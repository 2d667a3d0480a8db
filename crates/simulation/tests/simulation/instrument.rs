//! Instruments: registers, and how they take what is written to them.

use std::collections::BTreeMap;

use holdfast_domain::{
    Fingerprint, PointId, PointValue, Sensor,
    document::sensor::Binding,
    hold::WriteOutcome,
    protocol::modbus::{Address, DataType, Link, Raw, Scaling},
};

/// Which register of which unit at which agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) unit: Unit,
    pub(crate) register: u16,
}

/// An instrument: the agent whose line it is on, its host and its unit.
pub(crate) type Unit = (usize, String, u8);

/// How an instrument takes what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes it.
    Honest,
    /// It takes the next lower ten.
    Rounds,
    /// It takes at most this.
    Limits(i64),
    /// It says yes and does nothing.
    Ignores,
    /// It says no.
    Refuses,
    /// It takes it after so long, in ms, and shows the old value until then.
    ShowsLate(u64),
    /// It takes it, and the answer gets lost.
    LosesAnswers,
    /// The request gets lost, and nobody knows.
    LosesRequests,
}

/// An instrument.
#[derive(Debug, Clone)]
pub(crate) struct Instrument {
    pub(crate) manner: Manner,
    /// It does not answer until then, in ms.
    pub(crate) away_until: u64,
    /// Another master writes its registers every second until then, in ms.
    pub(crate) fought_until: u64,
    registers: BTreeMap<u16, Register>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Register {
    raw: i64,
    /// What it shows from then on, in ms.
    next: Option<(u64, i64)>,
}

impl Default for Instrument {
    fn default() -> Self {
        Self {
            manner: Manner::Honest,
            away_until: 0,
            fought_until: 0,
            registers: BTreeMap::new(),
        }
    }
}

impl Instrument {
    /// What a register shows.
    pub(crate) fn raw(&mut self, register: u16, now: u64) -> i64 {
        let register = self.registers.entry(register).or_default();
        if let Some((at, raw)) = register.next
            && at <= now
        {
            *register = Register { raw, next: None };
        }
        register.raw
    }

    /// What it shows when it has taken what was written last.
    pub(crate) fn will_show(&mut self, register: u16, now: u64) -> i64 {
        let shown = self.raw(register, now);
        let next = self
            .registers
            .get(&register)
            .and_then(|register| register.next);
        next.map_or(shown, |(_, raw)| raw)
    }

    /// Somebody turns the knob.
    pub(crate) fn turn(&mut self, register: u16, raw: i64) {
        self.registers
            .insert(register, Register { raw, next: None });
    }

    /// It loses its power: what it held is lost with it.
    pub(crate) fn power_cycle(&mut self) {
        self.registers.clear();
    }

    /// Nothing is wrong with it any more.
    pub(crate) fn calm_down(&mut self) {
        self.away_until = 0;
        self.fought_until = 0;
        self.manner = Manner::Honest;
    }

    /// The registers that were ever touched.
    pub(crate) fn registers(&self) -> Vec<u16> {
        self.registers.keys().copied().collect()
    }

    /// Takes what is written to it, by its manner. Did it take another value than the one written?
    pub(crate) fn write(&mut self, register: u16, wanted: i64, now: u64) -> (WriteOutcome, bool) {
        let before = self.raw(register, now);
        let (raw, next, outcome) = match self.manner {
            Manner::Honest => (wanted, None, WriteOutcome::Acknowledged),
            Manner::Rounds => (
                wanted - wanted.rem_euclid(10),
                None,
                WriteOutcome::Acknowledged,
            ),
            Manner::Limits(most) => (wanted.min(most), None, WriteOutcome::Acknowledged),
            Manner::Ignores => (before, None, WriteOutcome::Acknowledged),
            Manner::Refuses => (
                before,
                None,
                WriteOutcome::Refused("illegal data value".into()),
            ),
            Manner::ShowsLate(by) => (before, Some((now + by, wanted)), WriteOutcome::Acknowledged),
            Manner::LosesAnswers => (wanted, None, WriteOutcome::Unknown("no answer".into())),
            Manner::LosesRequests => (before, None, WriteOutcome::Unknown("no answer".into())),
        };
        self.registers.insert(register, Register { raw, next });
        (outcome, raw != wanted && next.is_none())
    }
}

/// Where a point is, and how its register makes a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Where {
    pub(crate) place: Place,
    pub(crate) identity: Fingerprint,
    address: Address,
}

impl Where {
    /// Where `point` of `sensor` is at this agent; `None`: the sensor has no such point.
    pub(crate) fn of(agent: usize, sensor: &Sensor, point: PointId) -> Option<Self> {
        let Binding::Modbus { connection, points } = &sensor.content().binding else {
            return None;
        };
        let found = points.iter().find(|candidate| candidate.id == point)?;
        let host = match &connection.link {
            Link::Tcp { host, .. } | Link::RtuOverTcp { host, .. } => host.clone(),
            Link::Rtu { serial_port, .. } => serial_port.clone(),
        };
        Some(Self {
            place: Place {
                unit: (agent, host, connection.unit_id),
                register: found.address.address,
            },
            identity: sensor.content().binding.point_rules(point)?.identity,
            address: found.address.clone(),
        })
    }

    /// The unit of a sensor.
    pub(crate) fn unit(agent: usize, sensor: &Sensor) -> Option<Unit> {
        let (point, _) = *sensor.content().binding.point_names().first()?;
        Some(Self::of(agent, sensor, point)?.place.unit)
    }

    /// The value that a register stands for.
    pub(crate) fn value(&self, raw: i64) -> PointValue {
        match Scaling::of(&self.address) {
            Some(scaling) => PointValue::Number(scaling.apply(raw as f64)),
            None => PointValue::Integer(raw),
        }
    }

    /// What must stand in the register for a value.
    pub(crate) fn raw(&self, value: &PointValue) -> i64 {
        match self.address.to_raw(value) {
            Ok(Raw::Bits(bits)) if self.address.data_type == DataType::Int16 => {
                i64::from(bits as u16 as i16)
            }
            Ok(Raw::Bits(bits)) => bits as i64,
            other => panic!("a value for a register was expected, found {value} ({other:?})"),
        }
    }

    /// The step between two values.
    pub(crate) fn step(&self) -> f64 {
        self.address.scale.abs()
    }
}
