//! Writing to instruments that do not answer, or not as they should: what is unknown, what was not sent, and that nothing
//! is sent twice.

use std::sync::Arc;
use std::time::Duration;

use holdfast_bus_modbus::Settings;
use holdfast_device_sim::modbus::{Answering, Faults, ModbusInstrument, UnknownUnit};
use holdfast_domain::HealthStatus;
use holdfast_domain::hold::WriteOutcome;
use holdfast_ports::bus::{FieldBus, RunningSensor};
use tokio::time::timeout;

use crate::support::fakes::{Witness, point_id, sensor_id};
use crate::support::{SOON, at, bus, quick, request, resume, start};
use crate::writing::{instrument, integer, outputs, read, unit, write};

fn unknown(outcome: WriteOutcome) -> String {
    match outcome {
        WriteOutcome::Unknown(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn not_sent(outcome: WriteOutcome) -> String {
    match outcome {
        WriteOutcome::NotSent(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_only_the_read_back_tells() {
    let cases = [
        (Answering::Lost, "no answer from unit 1 at ", true),
        (Answering::Silent, "no answer from unit 1 at ", false),
        (Answering::Close, "the connection to ", true),
        (Answering::HalfFrame, "no answer from unit 1 at ", true),
        (Answering::HalfFrameThenClose, "the connection to ", true),
        (Answering::Garbage, "no answer from unit 1 at ", true),
        (Answering::WrongTransactionId, "unit 1 at ", true),
        (Answering::WrongUnit, "unit 1 at ", true),
        (Answering::OtherEcho, "unit 1 at ", true),
        (Answering::Withheld, "no answer from unit 1 at ", true),
    ];
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    let mut stands = 10;
    for (point, writes_before) in [(1_u64, 0_u64), (1, cases.len() as u64)] {
        for (number, (answering, begin, is_carried_out)) in (1..).zip(cases) {
            let value = i64::try_from(writes_before + number).unwrap() + 500;
            sim.set_faults(Faults::answering(answering));
            let reason = unknown(write(&*sensor, point, integer(value)).await);
            assert!(reason.starts_with(begin), "{answering:?}: {reason}");
            assert!(
                reason.contains("write holding 10"),
                "{answering:?}: {reason}"
            );
            sim.clear_faults();
            if is_carried_out {
                stands = value;
            }
            assert_eq!(
                read(&*sensor, &[1]).await,
                [Some(integer(stands))],
                "{answering:?}"
            );
            assert_eq!(
                sim.totals().write_requests,
                writes_before + number,
                "sent once"
            );
            // Who was silent is polled again at once.
            timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
                .await
                .unwrap();
        }
    }
    sensor.stop().await;
    assert_eq!(sim.totals().write_requests, 2 * cases.len() as u64);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = outputs(&sim).timeout_ms(5_000);
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    sim.set_faults(Faults::slow(Duration::from_millis(300)));
    assert_eq!(
        write(&*sensor, 1, integer(9)).await,
        WriteOutcome::Acknowledged
    );
    assert_eq!(
        (
            sim.totals().write_requests,
            sim.totals().connections_accepted
        ),
        (1, 1)
    );
    sensor.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_write() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    for value in 1..=10 {
        sim.cut_connections().await;
        assert_eq!(
            write(&*sensor, 1, integer(value)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(sim.totals().write_requests, value.unsigned_abs());
    }
    // One that closes after each answer.
    sim.set_faults(Faults {
        close_after: Some(1),
        ..Faults::default()
    });
    sim.cut_connections().await;
    assert_eq!(
        write(&*sensor, 1, integer(11)).await,
        WriteOutcome::Acknowledged
    );
    assert_eq!(read(&*sensor, &[1, 2]).await[0], Some(integer(11)));
    sensor.stop().await;
}

#[tokio::test]
async fn nobody_there_is_not_sent_and_one_that_is_back_is_written_at_once() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    for value in 1..=3 {
        sim.unplug().await.unwrap();
        let reason = not_sent(write(&*sensor, 1, integer(50)).await);
        let expected = format!(
            "connect {}: connection refused; nothing was sent",
            sim.local_addr()
        );
        assert_eq!(reason, expected);
        let fresh = sensor.read(&[point_id(1)]).await;
        assert_eq!(
            (fresh[0].value.clone(), fresh[0].reason.clone()),
            (None, Some(expected))
        );
        sim.plug().await.unwrap();
        assert_eq!(
            write(&*sensor, 1, integer(value)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(read(&*sensor, &[1]).await, [Some(integer(value))]);
        assert_eq!(sim.totals().write_requests, value.unsigned_abs());
    }
    sensor.stop().await;
}

#[tokio::test]
async fn a_dead_unit_on_a_shared_line_costs_the_others_no_time_out_for_its_writes() {
    let sim = ModbusInstrument::builder()
        .unit(1, unit())
        .unknown_unit(UnknownUnit::Silent)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (bus, witness) = (bus(Settings::default()), Witness::new());
    let well = start(&bus, &outputs(&sim), &witness).await.unwrap();
    let dead = at(2, sim.local_addr())
        .unit(2)
        .interval_ms(600_000)
        .timeout_ms(100)
        .outputs(0..1);
    let dead = resume(&bus, &dead, &witness).await;
    timeout(SOON, witness.health(sensor_id(2), HealthStatus::Offline))
        .await
        .unwrap();
    let asked = sim.unit_counts(2).requests();
    for value in 0..20 {
        let reason = not_sent(write(&*dead, 0, integer(value)).await);
        assert!(
            reason.starts_with("no answer from unit 2 at ") && reason.contains("asked again in"),
            "{reason}"
        );
        assert_eq!(read(&*dead, &[0]).await, [None]);
        assert_eq!(
            write(&*well, 1, integer(value)).await,
            WriteOutcome::Acknowledged
        );
    }
    assert!(
        sim.unit_counts(2).requests() <= asked + 1,
        "one probe of it, at most"
    );
    assert_eq!(sim.unit_counts(2).write_requests(), 0);
    dead.stop().await;
    well.stop().await;
}

#[tokio::test]
async fn after_a_stop_nothing_is_sent_and_who_gives_up_before_its_turn_sends_nothing() {
    let sim = instrument().await;
    let (bus, witness) = (bus(quick()), Witness::new());
    let kept = start(&bus, &outputs(&sim), &witness).await.unwrap();
    let second = outputs(&sim)
        .unit(2)
        .with("id", serde_json::json!(sensor_id(2)));
    let sensor: Arc<dyn RunningSensor> = bus
        .start(request(&second, &witness, false))
        .await
        .unwrap()
        .into();
    for number in [1, 2] {
        timeout(
            SOON,
            witness.health(sensor_id(number), HealthStatus::Online),
        )
        .await
        .unwrap();
    }
    sim.set_faults(Faults::answering(Answering::Withheld));
    let held = tokio::spawn({
        let kept = Arc::<dyn RunningSensor>::from(kept);
        async move { kept.write(point_id(1), &integer(1)).await }
    });
    timeout(SOON, sim.wait_until(|sim| sim.totals().write_requests == 1))
        .await
        .unwrap();
    // Its turn comes after the one that is under way; it does not wait so long.
    let value = integer(2);
    let second_point = point_id(1);
    let outcome = timeout(
        Duration::from_millis(20),
        sensor.write(second_point, &value),
    )
    .await;
    assert!(outcome.is_err());
    drop(sensor);
    unknown(held.await.unwrap());
    sim.clear_faults();
    timeout(
        SOON,
        sim.wait_until(|sim| sim.totals().connections_open == 0),
    )
    .await
    .unwrap();
    assert_eq!(sim.totals().write_requests, 1);
    assert!(bus.links().is_empty());
}
