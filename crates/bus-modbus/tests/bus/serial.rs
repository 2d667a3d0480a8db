//! RTU, on a line and over TCP: values, functions, late answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_bus_modbus::ModbusBus;
use holdfast_device_sim::modbus::{
    Answering, Faults, Framing, Function, ModbusInstrument, Table, Unit, UnknownUnit,
};
use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue, SensorId};
use holdfast_ports::bus::{FieldBus, RunningSensor, StartRequest};
use holdfast_ports::readings::{Reading, ReadingSink};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::fakes::{Document, Witness, point_id, sensor_id};
use crate::support::{SOON, bus, quick, request, resume, start};

/// An instrument behind RTU frames, and how sensors reach it.
pub(crate) struct Rig {
    pub(crate) sim: ModbusInstrument,
    way: Way,
    /// Where the line's path is.
    _folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Line,
    OverTcp,
}

pub(crate) const WAYS: [Way; 2] = [Way::Line, Way::OverTcp];

/// Registers that hold their address, in all tables, and coils that are on at multiples of 3.
pub(crate) fn unit() -> Unit {
    let words: Vec<u16> = (0..200).collect();
    let bits: Vec<bool> = (0..200).map(|address| address % 3 == 0).collect();
    Unit::new()
        .holding_registers(0, &words)
        .input_registers(0, &words)
        .coils(0, &bits)
        .discrete_inputs(0, &bits)
}

impl Rig {
    /// Units 1 and 2.
    pub(crate) async fn new(way: Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let builder = ModbusInstrument::builder()
            .unit(1, unit())
            .unit(2, unit())
            .unknown_unit(UnknownUnit::Silent);
        let sim = match way {
            Way::Line => builder.on_line(folder.path().join("ttyUSB0")).await,
            Way::OverTcp => builder.framing(Framing::Rtu).bind("127.0.0.1:0").await,
        };
        Self {
            sim: sim.unwrap(),
            way,
            _folder: folder,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self._folder.path().join("ttyUSB0")
    }

    /// What the sensors' words for it are.
    pub(crate) fn place(&self) -> String {
        match self.way {
            Way::Line => self.path().display().to_string(),
            Way::OverTcp => self.sim.local_addr().to_string(),
        }
    }

    /// A sensor at `unit`, with that number.
    pub(crate) fn document(&self, unit: u8) -> Document {
        match self.way {
            Way::Line => Document::new(unit.into(), 502).on_line(&self.path()),
            Way::OverTcp => Document::new(unit.into(), self.sim.local_addr().port()).framed_rtu(),
        }
        .unit(unit)
    }
}

#[tokio::test]
async fn all_tables_are_read() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = rig
            .document(1)
            .point("holding", 7, "uint16")
            .point("input", 9, "uint32")
            .point("coil", 9, "bool")
            .point("discrete", 10, "bool")
            .holdings(0..130);
        let sensor = start(&bus, &document, &witness).await.unwrap();
        let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 3))
            .await
            .unwrap();
        let values: Vec<PointValue> = (0..4).map(|point| seen.value(point).unwrap()).collect();
        let (integer, flag) = (PointValue::Integer, PointValue::Bool);
        assert_eq!(
            values,
            [integer(7), integer((9 << 16) + 10), flag(true), flag(false)]
        );
        for (point, value) in (4..134).zip(0..) {
            assert_eq!(seen.value(point), Some(integer(value)));
        }
        assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
        let links = bus.links();
        assert_eq!((links.len(), &links[0].endpoint), (1, &rig.place()));
        sensor.stop().await;
        assert_eq!(rig.sim.totals().write_requests, 0);
    }
}

#[tokio::test]
async fn each_function_that_writes_writes() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = rig
            .document(1)
            .interval_ms(600_000)
            .output("coil", 1, "bool")
            .output("holding", 20, "int16")
            .output("holding", 30, "float32")
            .output("holding", 40, "bit(9)");
        let sensor = start(&bus, &document, &witness).await.unwrap();
        let writes = [
            (PointValue::Bool(true), Function::WriteSingleCoil),
            (PointValue::Integer(-2), Function::WriteSingleRegister),
            (PointValue::Number(72.5), Function::WriteMultipleRegisters),
            (PointValue::Bool(true), Function::MaskWriteRegister),
        ];
        for (point, (value, function)) in (0..).zip(&writes) {
            let outcome = timeout(SOON, sensor.write(point_id(point), value)).await;
            assert_eq!(outcome, Ok(WriteOutcome::Acknowledged), "{function:?}");
            assert_eq!(rig.sim.unit_counts(1).requests_of(*function), 1);
            let fresh = timeout(SOON, sensor.read(&[point_id(point)]))
                .await
                .unwrap();
            assert_eq!(fresh[0].value.as_ref(), Some(value), "{function:?}");
        }
        let registers = |at, count| rig.sim.registers(1, Table::Holding, at, count).unwrap();
        assert_eq!(registers(19, 3), [19, 0xFFFE, 21]);
        assert_eq!(registers(29, 4), [29, 0x4291, 0, 32]);
        assert_eq!(registers(40, 1), [40 | 1 << 9], "and no other bit");

        // An instrument that does not know function 6.
        rig.sim
            .set_faults(Faults::without(&[Function::WriteSingleRegister]));
        let seven = PointValue::Integer(7);
        let outcome = timeout(SOON, sensor.write(point_id(1), &seven)).await;
        assert_eq!(outcome, Ok(WriteOutcome::Acknowledged));
        assert_eq!(registers(20, 1), [7]);
        sensor.stop().await;
    }
}

/// Keeps every value that a point ever had.
#[derive(Default)]
struct Every(Mutex<BTreeSet<(u128, i64)>>);

impl ReadingSink for Every {
    fn accept(&self, _: SensorId, readings: &[Reading]) {
        let values = readings.iter().filter_map(|reading| match reading.value {
            Some(PointValue::Integer(value)) => Some((reading.point.uuid().as_u128(), value)),
            Some(_) | None => None,
        });
        self.0.lock().unwrap().extend(values);
    }
}

impl Every {
    /// Points whose value is not ten times their number.
    fn wrong(&self) -> Vec<(u128, i64)> {
        let seen = self.0.lock().unwrap();
        let wrong = seen
            .iter()
            .filter(|(point, value)| i128::from(*value) != 10 * i128::try_from(*point).unwrap());
        wrong.copied().collect()
    }
}

/// Points 0 to 5 at holding 0, 10, 20 …: all alike but for the address.
fn look_alikes(document: &Document) -> Document {
    (0..6).fold(document.clone(), |document, point| {
        document.point("holding", point * 10, "uint16")
    })
}

async fn start_into(
    bus: &ModbusBus,
    document: &Document,
    witness: &Arc<Witness>,
    every: &Arc<Every>,
) -> Box<dyn RunningSensor> {
    let request = StartRequest {
        readings: Arc::<Every>::clone(every),
        ..request(document, witness, true)
    };
    bus.start(request).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_comes_late_is_never_the_answer_to_the_next_request() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness, every) = (bus(quick()), Witness::new(), Arc::default());
        let document = look_alikes(&rig.document(1).timeout_ms(40));
        let sensor = start_into(&bus, &document, &witness, &every).await;
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        // Late by a little, by as much as its time, by as much as is still hoped for; and all at once.
        for late_ms in [50, 70, 110] {
            rig.sim
                .set_faults(Faults::slow(Duration::from_millis(late_ms)));
            timeout(SOON, rig.sim.wait_for_more_requests(1, 6))
                .await
                .unwrap();
        }
        for _ in 0..5 {
            rig.sim.set_faults(Faults::answering(Answering::Withheld));
            timeout(SOON, rig.sim.wait_for_more_requests(1, 1))
                .await
                .unwrap();
            timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
                .await
                .unwrap();
            rig.sim.clear_faults();
            timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
                .await
                .unwrap();
        }
        sensor.stop().await;
        assert!(bus.stats().timeouts >= 10, "{way:?}: {:?}", bus.stats());
        assert_eq!(every.wrong(), [], "{way:?}");
    }
}

#[tokio::test]
async fn a_sensor_that_is_started_anew_does_not_take_what_was_asked_before() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        rig.sim.set_faults(Faults::slow(Duration::from_millis(60)));
        let (bus, witness, every) = (bus(quick()), Witness::new(), Arc::default());
        let document = look_alikes(&rig.document(1).timeout_ms(2_000));
        for _ in 0..8 {
            let sensor = start_into(&bus, &document, &witness, &every).await;
            // It has come, and its answer has not.
            timeout(SOON, rig.sim.wait_for_more_requests(1, 2))
                .await
                .unwrap();
            sensor.stop().await;
        }
        let sensor = start_into(&bus, &document, &witness, &every).await;
        timeout(
            SOON,
            witness.wait(sensor_id(1), |seen| {
                seen.status() == Some(HealthStatus::Online)
            }),
        )
        .await
        .unwrap();
        sensor.stop().await;
        assert_eq!(every.wrong(), [], "{way:?}");
        assert_eq!(bus.stats().timeouts, 0, "{way:?}: {:?}", bus.stats());
    }
}

#[tokio::test]
async fn a_unit_that_never_answers_keeps_no_other_from_its_polls() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        rig.sim.set_unit_faults(2, Faults::silent());
        let (bus, witness) = (bus(quick()), Witness::new());
        let mut sensors = Vec::new();
        // The one that answers has time to, on a machine that is busy.
        for (unit, timeout_ms) in [(1, 5_000), (2, 50)] {
            let document = rig.document(unit).timeout_ms(timeout_ms).interval_ms(25);
            sensors.push(resume(&bus, &document.holdings(0..5), &witness).await);
        }
        timeout(SOON, witness.health(sensor_id(2), HealthStatus::Offline))
            .await
            .unwrap();
        let (dead, begun) = (
            rig.sim.unit_counts(2).requests(),
            tokio::time::Instant::now(),
        );
        timeout(SOON, rig.sim.wait_for_more_requests(1, 60))
            .await
            .unwrap();
        let probes = u128::from(rig.sim.unit_counts(2).requests() - dead);
        // One each ten time-outs at most, because others use the line.
        let periods = begun.elapsed().as_millis() / 500;
        assert!(
            probes >= 1 && probes <= periods + 1,
            "{way:?}: {probes} probes in {periods} periods"
        );
        let health = witness.of(sensor_id(1)).health_at_any_pace();
        assert_eq!(health, [(HealthStatus::Online, None)], "{way:?}");
        // A socket may be what is dead; a serial port is opened once, because that may reset what hangs on it.
        let connects = bus.stats().connects;
        match way {
            Way::Line => assert_eq!(connects, 1),
            Way::OverTcp => assert!(connects > 1),
        }
        rig.sim.clear_faults();
        timeout(SOON, witness.health(sensor_id(2), HealthStatus::Online))
            .await
            .unwrap();
        for sensor in sensors {
            sensor.stop().await;
        }
    }
}
