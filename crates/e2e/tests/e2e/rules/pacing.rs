//! Slow instruments are not hurried, and dead ones delay nobody.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Plant;
use crate::support::{
    makes::{Habit, Made, each_is},
    wait::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_outlasts_the_interval_runs_to_its_end_and_all_converges() {
    let plant = Plant::with(&[Habit::Obeys], 250, |_, sensor| {
        sensor["pollInterval"] = json!(1_000);
    })
    .await;
    // What comes during a pass is not lost.
    for value in [70.0, 71.0, 72.5] {
        plant.set_each(value).await;
    }
    plant.each_stands("inSync", "active").await;
    each_is(&plant.makes, |made| made.shows(1), &725);
    for made in &plant.makes {
        made.turn(1, 600);
        made.until("it is put back", || made.shows(1) == 725).await;
    }
    plant.each_stands("inSync", "active").await;
    eventually("the overruns are told", async || {
        let shown = plant.device.get("/reconciliation").await;
        if shown["overruns"].as_u64() > Some(0) {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    let view = plant.site.get("/api/v1/reconciliation").await;
    let recommended = view["recommendedIntervalMs"].as_u64();
    assert!(recommended > Some(250), "{view:#}");
    let writes: Vec<u64> = plant.makes.iter().map(Made::writes).collect();
    plant.passes(3).await;
    let after: Vec<u64> = plant.makes.iter().map(Made::writes).collect();
    assert_eq!(writes, after);
    each_is(&plant.makes, Made::connections, &1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_instrument_delays_no_other() {
    const TIMEOUT_MS: u64 = 20_000;
    let plant = Plant::with(&[Habit::Obeys], 0, |_, sensor| {
        sensor["connection"]["timeoutMs"] = json!(TIMEOUT_MS);
    })
    .await;
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    for (dead, value) in plant.makes.iter().zip([50.0, 60.0, 70.0]) {
        dead.freeze();
        let began = Instant::now();
        let wish = json!({ "value": value });
        plant.wish(dead, 1, &wish).await;
        for made in plant.makes.iter().filter(|made| made.name != dead.name) {
            plant.wish(made, 1, &wish).await;
            plant.stands(made, 1, "inSync", "active").await;
        }
        let took = began.elapsed();
        assert!(
            took < Duration::from_millis(TIMEOUT_MS / 2),
            "while {} was dead it took {took:?}",
            dead.name
        );
        let shown = plant.device.get(&super::setpoint(dead, 1)).await;
        assert_ne!(shown["conformity"], "inSync", "{shown}");
        dead.thaw();
        plant.stands(dead, 1, "inSync", "active").await;
    }
    each_is(&plant.makes, |made| made.shows(1), &700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_units_among_a_hundred_are_probed_now_and_then_and_delay_none() {
    // On each of the three lines.
    const UNITS: u8 = 34;
    const DEAD: u8 = 17;
    const ANSWERS: u64 = 3;
    let mut habits = [Habit::Obeys; UNITS as usize];
    habits[usize::from(DEAD) - 1] = Habit::EndsAfter(ANSWERS);
    let plant = Plant::with(&habits, 0, |_, sensor| {
        sensor["pollInterval"] = json!(1_000);
        sensor["connection"]["timeoutMs"] = json!(200);
    })
    .await;
    plant.tune(&json!({ "intervalMs": 1_000 })).await;
    for made in &plant.makes {
        made.ends(DEAD, ANSWERS).await;
        plant
            .device
            .health(&made.sensor_name(DEAD), "offline")
            .await;
    }
    // The dead one, its neighbours, and some more.
    let set = || (1..=UNITS).filter(|unit| unit % 4 == 0 || unit.abs_diff(DEAD) <= 1);
    let living = || set().filter(|unit| *unit != DEAD);
    let wish = json!({ "value": 72.5 });
    for made in &plant.makes {
        for unit in set() {
            plant.wish(made, unit, &wish).await;
        }
    }
    let all_but_dead = async || {
        let shown = plant
            .device
            .operator
            .all(&plant.device.path("/setpoints"))
            .await;
        let held = |is: bool| {
            let of = |shown: &&serde_json::Value| (shown["conformity"] == "inSync") == is;
            shown.iter().filter(of).count()
        };
        if (held(true), held(false)) == (3 * living().count(), 3) {
            Ok(())
        } else {
            Err(format!("{} in sync, {} not", held(true), held(false)))
        }
    };
    eventually("all that live are in sync", all_but_dead).await;
    for made in &plant.makes {
        for unit in living() {
            assert_eq!(made.writes_to(unit), 1, "{} {unit}", made.name);
        }
        assert_eq!(made.writes_to(DEAD), 0, "{}", made.name);
        made.turn(DEAD - 1, 600);
        made.turn(DEAD + 1, 600);
    }
    for made in &plant.makes {
        for neighbour in [DEAD - 1, DEAD + 1] {
            made.until("it is put back", || made.shows(neighbour) == 725)
                .await;
        }
        plant.stands(made, DEAD, "unknown", "unreachable").await;
        let (probes, asked) = (made.requests_to(DEAD) - ANSWERS, made.requests_to(DEAD + 1));
        assert!(
            probes > 0 && probes * 2 < asked,
            "{}: the dead one was asked {probes} times, its neighbour {asked} times",
            made.name
        );
    }
    eventually("all that live are in sync again", all_but_dead).await;
}
