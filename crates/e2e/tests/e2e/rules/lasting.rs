//! What lasts: wishes, through kills and power cuts, against other masters, and while points are edited under them.

use serde_json::json;

use super::Plant;
use crate::support::{
    device::number,
    makes::{Habit, Made, each_is, register},
    random::Random,
    wait::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_survive_killing_everything_at_any_moment() {
    const ROUNDS: u32 = 6;
    let mut random = Random::seeded(4_712);
    let mut plant = Plant::new().await;
    let mut wanted = 0.0;
    for round in 0..ROUNDS {
        wanted = 20.0 + f64::from(round);
        plant.set_each(wanted).await;
        // Anywhere in the work that follows.
        plant.makes[0].is_asked(random.below(6)).await;
        let which = random.below(3) as usize;
        match random.below(3) {
            0 => plant.kill_agent().await,
            1 => {
                plant.hub_anew().await;
                plant.kill_agent().await;
            }
            _ => {
                plant.kill_agent().await;
                plant.makes[which].power_off().await;
                plant.hub_anew().await;
                plant.makes[which].power_on().await;
            }
        }
        plant.start_agent().await;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let register = (wanted * 10.0) as u16;
    let is_there = |made: &Made| made.shows(1) == register;
    plant.each_stands("inSync", "active").await;
    each_is(&plant.makes, is_there, &true);

    // The agent alone, with no hub in reach, knows what to hold.
    plant.kill_agent().await;
    plant.hub.kill_server().await;
    for made in &plant.makes {
        made.turn(1, 0);
    }
    plant.start_agent().await;
    for made in &plant.makes {
        made.until("it is put back", || is_there(made)).await;
    }
    plant.hub.bring_up().await;
    plant.device.moved_to(&plant.hub);
    plant.each_stands("inSync", "active").await;
    let writes: Vec<u64> = plant.makes.iter().map(Made::writes).collect();
    plant.passes(10).await;
    let after: Vec<u64> = plant.makes.iter().map(Made::writes).collect();
    assert_eq!(after, writes);
    assert!(
        writes
            .iter()
            .all(|writes| *writes <= u64::from(2 * ROUNDS) + 1),
        "{writes:?}: at most one for each value, for each power cut, and for the hand"
    );
    each_is(&plant.makes, is_there, &true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_waits_for_its_instrument_and_what_that_starts_with_is_not_adopted() {
    let mut plant = Plant::new().await;
    for made in &mut plant.makes {
        made.power_off().await;
    }
    for made in &plant.makes {
        plant.device.health(made.name, "offline").await;
    }
    plant
        .wish_each(&json!({ "value": 72.5, "policy": "adopt" }))
        .await;
    for shown in plant.each_stands("unknown", "unreachable").await {
        assert_eq!(shown["value"], 72.5, "it is recorded as wished");
    }
    for made in &mut plant.makes {
        made.power_on().await;
    }
    plant.each_stands("inSync", "active").await;
    let found = |made: &Made| (made.writes(), made.shows(1));
    each_is(&plant.makes, found, &(1, 725));

    // Its power is cut: what it starts with is nobody's wish.
    for made in &mut plant.makes {
        made.power_off().await;
        made.power_on().await;
    }
    for made in &plant.makes {
        made.until("it is put back", || made.writes() == 2).await;
    }
    for shown in plant.each_stands("inSync", "active").await {
        assert_eq!(shown["value"], 72.5);
    }
    assert_eq!(plant.device.events_of("setpoint.adopted").await.len(), 0);
    each_is(&plant.makes, found, &(2, 725));

    // What somebody sets at the instrument is.
    for made in &plant.makes {
        made.turn(1, 650);
    }
    for made in &plant.makes {
        eventually(&format!("{}: it is adopted", made.name), async || {
            let shown = plant.device.get(&super::setpoint(made, 1)).await;
            if shown["value"] == 65.0 && shown["conformity"] == "inSync" {
                Ok(())
            } else {
                Err(shown.to_string())
            }
        })
        .await;
    }
    each_is(&plant.makes, found, &(2, 650));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_master_that_writes_on_and_on_is_not_fought_for_ever() {
    const RESTORES: u64 = 3;
    let plant = Plant::new().await;
    plant.tune(&json!({ "restoresPerHour": RESTORES })).await;
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    eventually("they are given up", async || {
        let mut given_up = 0;
        for made in &plant.makes {
            let shown = plant.device.get(&super::setpoint(made, 1)).await;
            if shown["hold"] == "overridden" {
                given_up += 1;
            } else if shown["conformity"] == "inSync" {
                made.turn(1, 600);
            }
        }
        if given_up == plant.makes.len() {
            Ok(())
        } else {
            Err(format!("{given_up} given up"))
        }
    })
    .await;
    plant.passes(10).await;
    let found = |made: &Made| (made.writes(), made.shows(1));
    each_is(&plant.makes, found, &(1 + RESTORES, 600));
    let told = plant.device.events_of("setpoint.overridden").await;
    assert_eq!(told.len(), plant.makes.len());
    // Who sets it again goes on.
    plant.set_each(72.4).await;
    plant.each_stands("inSync", "active").await;
    each_is(&plant.makes, found, &(2 + RESTORES, 724));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_edited_under_a_wish_and_a_configuration_rolled_back_move_nothing() {
    const ELSEWHERE: u16 = 150;
    let plant = Plant::with(&[Habit::Obeys], 0, |_, _| {}).await;
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    for made in &plant.makes {
        plant
            .device
            .patch(made.name, &json!({ "pollInterval": 150 }))
            .await;
    }
    plant.set_each(80.0).await;
    plant.each_stands("inSync", "active").await;
    let before = number(&plant.device.target().await, "version");
    let found = |made: &Made| (made.writes(), made.shows(1), made.register(1, ELSEWHERE));
    each_is(&plant.makes, found, &(2, 800, ELSEWHERE));

    for made in &plant.makes {
        let mut points = plant.device.row(made.name).await["dataPoints"].clone();
        assert_eq!(points[1]["address"], register(1));
        points[1]["address"] = json!(ELSEWHERE);
        plant
            .device
            .patch(made.name, &json!({ "dataPoints": points }))
            .await;
    }
    plant.device.settled_now().await;
    for shown in plant.each_stands("drifting", "blocked").await {
        let why = shown["why"].as_str().unwrap_or_default();
        assert!(why.contains("pointRedefined"), "{why}");
    }
    plant.passes(10).await;
    each_is(&plant.makes, found, &(2, 800, ELSEWHERE));

    // Back to before the edit, and then to the very first: the values stay those that were set last.
    for version in [before, 1] {
        let back = json!({ "version": version, "reason": "not so" });
        plant
            .device
            .ask("POST", "/target-state/rollback", &back)
            .await
            .good("going back");
        plant.device.settled_now().await;
        for shown in plant.each_stands("inSync", "active").await {
            assert_eq!(shown["value"], 80.0);
        }
        plant.passes(10).await;
        each_is(&plant.makes, found, &(2, 800, ELSEWHERE));
    }
}
