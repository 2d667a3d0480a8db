//! Done means read back: instruments that acknowledge and do something else, each in its own way.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Plant;
use crate::support::makes::{Habit, each_is};

/// Units of each make: what it does, how its setpoint stands then, why, and how often it is written in all, if that ends soon.
const UNITS: [(Habit, &str, &str, &str, Option<u64>); 6] = [
    (
        Habit::Ignores,
        "deviates",
        "active",
        "the instrument acknowledged 72.5 and shows 9.1",
        None,
    ),
    (
        Habit::RoundsTo(10),
        "deviates",
        "active",
        "the instrument rounded 72.5 to 72",
        Some(2),
    ),
    (
        Habit::LimitsTo(600),
        "deviates",
        "active",
        "the instrument limited 72.5 to 60",
        Some(2),
    ),
    (Habit::IsLate(40), "inSync", "active", "", Some(1)),
    (
        Habit::Hides,
        "acknowledgedUnverified",
        "unreachable",
        "it acknowledged 72.5, and can't be read back",
        Some(1),
    ),
    (Habit::Obeys, "inSync", "active", "", Some(1)),
];

/// The unit that is late, as its point declares.
const LATE: u8 = 4;

/// The unit whose output is a float of two registers, which never equals what is wanted.
const FLOAT: u8 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_read_back_is_in_sync_whatever_an_instrument_says() {
    let plant = Plant::with(&UNITS.map(|unit| unit.0), 0, |unit, sensor| {
        let target = &mut sensor["dataPoints"][1];
        if unit == LATE {
            target["settleMs"] = json!(4_000);
        }
        if unit == FLOAT {
            (target["dataType"], target["address"]) = (json!("float32"), json!(192));
            target["scale"] = json!(1);
        }
    })
    .await;
    for made in &plant.makes {
        for (unit, _) in (1..).zip(UNITS) {
            let value = if unit == FLOAT { 72.3 } else { 72.5 };
            plant.wish(made, unit, &json!({ "value": value })).await;
        }
    }
    let mut verified = BTreeSet::new();
    for made in &plant.makes {
        for (unit, (habit, conformity, hold, why, _)) in (1..).zip(UNITS) {
            let shown = plant.stands(made, unit, conformity, hold).await;
            let said = shown["why"].as_str().unwrap_or_default();
            let (said, again) = said
                .split_once("; it is asked again at ")
                .unwrap_or((said, ""));
            assert_eq!(said, why, "{} {unit}", made.name);
            assert!(
                again.is_empty() || matches!(habit, Habit::Ignores),
                "{again}"
            );
            if conformity == "inSync" {
                verified.insert(shown["pointId"].to_string());
            }
        }
    }
    // What is ignored is tried again; what an instrument made of a value is what it makes of it a second time, and stays.
    for made in &plant.makes {
        for (unit, (_, _, _, _, writes)) in (1..).zip(UNITS) {
            let least = writes.unwrap_or(3);
            made.until("it is tried again", || made.writes_to(unit) >= least)
                .await;
        }
    }
    plant.passes(10).await;
    for (unit, (_, _, _, _, writes)) in (1..).zip(UNITS) {
        if let Some(writes) = writes {
            each_is(&plant.makes, |made| made.writes_to(unit), &writes);
        }
    }
    for (unit, expected) in [(1, 91), (2, 720), (3, 600), (4, 725)] {
        each_is(&plant.makes, |made| made.shows(unit), &expected);
    }
    let float = |made: &crate::support::makes::Made| {
        let high = u32::from(made.register(FLOAT, 192)) << 16;
        f32::from_bits(high | u32::from(made.register(FLOAT, 193)))
    };
    each_is(&plant.makes, float, &72.3_f32);
    let told: Vec<Value> = plant.device.events_of("setpoint.verified").await;
    let told: BTreeSet<String> = told
        .iter()
        .map(|event| event["payload"]["pointId"].to_string())
        .collect();
    assert_eq!(told, verified);
}
