//! RTU on lines that are bad: noise, damage, halves, answers of others.

use holdfast_device_sim::modbus::{Answering, Faults, Function, Table};
use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue};
use tokio::time::timeout;

use crate::serial::{Rig, WAYS};
use crate::support::fakes::{Witness, point_id, sensor_id};
use crate::support::{SOON, bus, quick, resume, start};

#[tokio::test]
async fn noise_before_a_frame_is_passed_over() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        rig.sim
            .set_faults(Faults::answering(Answering::NoiseBefore));
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = rig
            .document(1)
            .holdings(0..20)
            .output("holding", 30, "uint16");
        let sensor = start(&bus, &document, &witness).await.unwrap();
        let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 10))
            .await
            .unwrap();
        assert!((0..20).all(|point| seen.value(point) == Some(PointValue::Integer(point as i64))));
        let nine = PointValue::Integer(9);
        let outcome = timeout(SOON, sensor.write(point_id(20), &nine)).await;
        assert_eq!(outcome, Ok(WriteOutcome::Acknowledged));
        let seen = witness.of(sensor_id(1));
        assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
        let stats = bus.stats();
        assert_eq!((stats.timeouts, stats.damaged, stats.drops), (0, 0, 0));
        sensor.stop().await;
    }
}

#[tokio::test]
async fn each_fault_is_said_as_what_it_is_and_costs_only_its_unit() {
    let cases = [
        (
            Answering::WrongChecksum,
            "came damaged, with a wrong checksum, when it was asked for holding 0 to 4",
        ),
        (Answering::HalfFrame, "no whole answer from unit 2 at "),
        (
            Answering::WrongUnit,
            "was asked for holding 0 to 4 and sent an answer of unit 3",
        ),
        (
            Answering::TooFewValues,
            "was asked for holding 0 to 4 and sent 4 registers where 5 were asked for",
        ),
        (Answering::Garbage, "no whole answer from unit 2 at "),
        (Answering::Lost, "no answer from unit 2 at "),
    ];
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let mut sensors = Vec::new();
        // The one that answers has time to, on a machine that is busy.
        for (unit, timeout_ms) in [(1, 5_000), (2, 80)] {
            let document = rig.document(unit).timeout_ms(timeout_ms).holdings(0..5);
            sensors.push(resume(&bus, &document, &witness).await);
        }
        for (answering, expected) in cases {
            timeout(SOON, witness.health(sensor_id(2), HealthStatus::Online))
                .await
                .unwrap();
            rig.sim.set_unit_faults(2, Faults::answering(answering));
            let reason = timeout(SOON, witness.health(sensor_id(2), HealthStatus::Offline))
                .await
                .unwrap();
            assert!(
                reason.contains(expected) && reason.contains(&rig.place()),
                "{way:?}, {answering:?}: {reason}"
            );
            rig.sim.clear_faults();
        }
        let seen = timeout(SOON, witness.fresh_poll(sensor_id(1)))
            .await
            .unwrap();
        let health = seen.health_at_any_pace();
        assert_eq!(health, [(HealthStatus::Online, None)], "{way:?}");
        assert!((0..5).all(|point| seen.value(point) == Some(PointValue::Integer(point as i64))));
        for sensor in sensors {
            sensor.stop().await;
        }
    }
}

#[tokio::test]
async fn a_read_whose_answer_came_damaged_is_made_once_more_and_a_write_is_not() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = rig
            .document(1)
            .interval_ms(600_000)
            .output("holding", 30, "uint16");
        let sensor = start(&bus, &document, &witness).await.unwrap();
        rig.sim
            .set_faults(Faults::answering(Answering::WrongChecksum));
        let before = rig.sim.unit_counts(1);
        let nine = PointValue::Integer(9);
        let outcome = timeout(SOON, sensor.write(point_id(0), &nine)).await;
        assert!(
            matches!(&outcome, Ok(WriteOutcome::Unknown(text)) if text.contains("damaged")),
            "{outcome:?}"
        );
        let fresh = timeout(SOON, sensor.read(&[point_id(0)])).await.unwrap();
        assert_eq!(fresh[0].value, None);
        let after = rig.sim.unit_counts(1);
        let more = |function| after.requests_of(function) - before.requests_of(function);
        assert_eq!(
            (
                more(Function::WriteSingleRegister),
                more(Function::ReadHoldingRegisters)
            ),
            (1, 2)
        );
        assert_eq!(rig.sim.registers(1, Table::Holding, 30, 1), Ok(vec![9]));
        assert_eq!(bus.stats().damaged, 3);
        // The connection is the same one all the time: the line was bad, not the socket.
        assert_eq!(bus.stats().connects, 1, "{way:?}");
        sensor.stop().await;
    }
}

#[tokio::test]
async fn the_echo_of_another_write_is_no_acknowledgement() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = rig
            .document(1)
            .interval_ms(600_000)
            .timeout_ms(50)
            .output("holding", 30, "uint16");
        let sensor = start(&bus, &document, &witness).await.unwrap();
        rig.sim.set_faults(Faults::answering(Answering::OtherEcho));
        let nine = PointValue::Integer(9);
        let outcome = timeout(SOON, sensor.write(point_id(0), &nine)).await;
        assert!(
            matches!(&outcome, Ok(WriteOutcome::Unknown(text)) if text.contains("the answer to another write")),
            "{outcome:?}"
        );
        sensor.stop().await;
    }
}
