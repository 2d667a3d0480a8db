//! Serial ports that vanish, are held by others, are none, or are wanted with two settings; serial servers that go.

use holdfast_domain::HealthStatus;
use holdfast_ports::bus::StartError;
use serde_json::json;
use tokio::time::timeout;

use crate::serial::{Rig, WAYS, Way};
use crate::support::fakes::{Document, Witness, sensor_id};
use crate::support::{SOON, bus, quick, resume, start};

#[tokio::test]
async fn a_port_or_server_that_vanishes_is_offline_with_the_systems_words_and_comes_back() {
    for way in WAYS {
        let rig = Rig::new(way).await;
        let (bus, witness) = (bus(quick()), Witness::new());
        let mut sensors = Vec::new();
        for unit in [1, 2] {
            let document = rig.document(unit).holdings(0..5);
            sensors.push(resume(&bus, &document, &witness).await);
        }
        for _ in 0..3 {
            for unit in [1, 2] {
                timeout(SOON, witness.health(sensor_id(unit), HealthStatus::Online))
                    .await
                    .unwrap();
            }
            rig.sim.unplug().await.unwrap();
            let expected = match way {
                Way::Line => format!(
                    "open {}: No such file or directory; is the adapter plugged in?",
                    rig.place()
                ),
                Way::OverTcp => format!("connect {}: connection refused", rig.place()),
            };
            for unit in [1, 2] {
                let known = |seen: &crate::support::fakes::Seen| {
                    seen.health.last().is_some_and(|(status, reason)| {
                        *status == HealthStatus::Offline && reason.as_ref() == Some(&expected)
                    })
                };
                let seen = timeout(SOON, witness.wait(sensor_id(unit), known)).await;
                assert!(
                    seen.is_ok(),
                    "{way:?}: {:?}",
                    witness.of(sensor_id(unit)).health
                );
            }
            // One attempt a period for all units, and none in between: the next is waited for.
            let attempts = bus.stats().connect_failures;
            assert!(attempts > 0);
            rig.sim.plug().await.unwrap();
        }
        for unit in [1, 2] {
            timeout(SOON, witness.health(sensor_id(unit), HealthStatus::Online))
                .await
                .unwrap();
        }
        for sensor in sensors {
            sensor.stop().await;
        }
    }
}

#[tokio::test]
async fn a_port_is_held_for_one_and_given_back() {
    let rig = Rig::new(Way::Line).await;
    let (ours, others, witness) = (bus(quick()), bus(quick()), Witness::new());
    let document = rig.document(1).holdings(0..1);
    let theirs = start(&others, &document, &witness).await.unwrap();
    let error = start(&ours, &document, &witness).await.err().unwrap();
    assert!(
        matches!(&error, StartError::Unreachable(text) if text.starts_with(&format!("open {}: ", rig.place()))
            && text.ends_with("does another program hold it, or another sensor under another name?")),
        "{error}"
    );
    theirs.stop().await;
    let running = start(&ours, &document, &witness).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_port_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let document = Document::new(1, 502).on_line(file.path()).holdings(0..1);
    let error = start(&bus(quick()), &document, &Witness::new())
        .await
        .err()
        .unwrap();
    let place = file.path().display();
    assert_eq!(
        error.to_string(),
        format!("open {place}: Not a typewriter; it is no serial port")
    );
}

#[tokio::test]
async fn sensors_that_share_a_line_have_the_same_settings_or_the_second_says_so() {
    let rig = Rig::new(Way::Line).await;
    let (bus, witness) = (bus(quick()), Witness::new());
    let first = start(&bus, &rig.document(1).holdings(0..1), &witness)
        .await
        .unwrap();
    let slower = rig
        .document(2)
        .connection("baudRate", json!(9600))
        .holdings(0..1);
    let error = start(&bus, &slower, &witness).await.err().unwrap();
    let place = rig.place();
    assert_eq!(
        error,
        StartError::Unsupported(format!(
            "{place} (9600 baud, 8 data bits, parity even, 1 stop bits): other sensors use {place} (19200 baud, 8 data bits, \
             parity even, 1 stop bits); sensors that share a line must have the same settings"
        ))
    );
    // The first is not disturbed, and once it is gone the second has the line.
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    first.stop().await;
    let second = start(&bus, &slower, &witness).await.unwrap();
    // A sensor whose line is set otherwise is started anew, not updated.
    let error = second
        .update(rig.document(2).holdings(0..1).sensor())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("needs a restart"), "{error}");
    second.stop().await;
}

#[tokio::test]
async fn one_address_speaks_one_protocol() {
    let rig = Rig::new(Way::OverTcp).await;
    let (bus, witness) = (bus(quick()), Witness::new());
    let first = start(&bus, &rig.document(1).holdings(0..1), &witness)
        .await
        .unwrap();
    let other = Document::new(2, rig.sim.local_addr().port()).holdings(0..1);
    let error = start(&bus, &other, &witness).await.err().unwrap();
    assert!(
        matches!(&error, StartError::Unsupported(text) if text.contains("(Modbus TCP)") && text.contains("(RTU over TCP)")),
        "{error}"
    );
    first.stop().await;
}
