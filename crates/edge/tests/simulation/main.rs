//! The whole configuration loop in virtual time: the machine, the hub's own decisions (the domain's), a disk and a bus,
//! with everything going wrong that can: requests and answers lost, repeated and late, a crash at any instant, writes
//! that fail, instruments that sleep, adapters that break, disks and hubs restored from a backup.
//!
//! Each run is a seed. While things go wrong, every report is checked against what really runs; when they stop going
//! wrong, everything must become as it was asked for, and then nothing more may happen.
//!
//! `HOLDFAST_SIM_SEEDS=FIRST..LAST` runs other seeds than the usual ones.

#[path = "../support/mod.rs"]
mod support;

mod delivery;
mod reached;
mod world;

use holdfast_domain::{plan::plan, row::DeploymentStatus};

use world::World;

/// Faults last this long, in ms of virtual time.
const STORM_MS: u64 = 300_000;
/// After this long without faults everything must be as wanted: the longest backoff, several times over.
const CALM_MS: u64 = 600_000;

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("HOLDFAST_SIM_SEEDS").ok();
    let range = given.as_deref().and_then(|text| text.split_once(".."));
    range.map_or(0..120, |(first, last)| {
        first.parse().expect("a number")..last.parse().expect("a number")
    })
}

#[test]
fn after_any_storm_everything_is_as_wanted_and_then_nothing_happens() {
    let mut reached = reached::Reached::default();
    for seed in seeds() {
        // Shown if the run fails.
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.run(STORM_MS);
        world.calm_down();
        world.run(CALM_MS);
        converged(&world);
        quiet(&mut world);
        reached.add(&world.reached);
    }
    println!("{reached:#?}");
    reached.check();
}

fn converged(world: &World) {
    let hub = &world.hub.state;
    let status = world.status();
    assert_eq!(status.held_version, hub.target.version, "held");
    assert_eq!(status.worked_version, hub.target.version, "worked through");
    assert_eq!(status.looked_revision, hub.target.look_revision, "looked");
    let running = status
        .sensors
        .iter()
        .filter_map(|sensor| Some((sensor.id, sensor.running.clone()?)))
        .collect();
    assert_eq!(
        plan(&hub.target.items, &running),
        [],
        "one more plan is empty"
    );
    assert!(
        status
            .sensors
            .iter()
            .all(|sensor| sensor.failure.is_none() && !sensor.in_progress),
        "{status:#?}"
    );
    world.check_truth();

    let reported = hub.reported.as_ref().expect("a report");
    assert_eq!(
        reported.running,
        running.into_values().collect::<Vec<_>>(),
        "the hub knows what runs"
    );
    assert_eq!(reported.worked_version, hub.target.version);
    assert_eq!(reported.failures, []);
    for (id, row) in &hub.rows {
        assert_eq!(row.status, DeploymentStatus::Deployed, "{id}");
    }
    for sensor in &status.sensors {
        let enabled = sensor
            .running
            .as_ref()
            .is_some_and(|item| item.sensor.enabled());
        if enabled {
            assert_eq!(
                reported.health.get(&sensor.id),
                sensor.health.as_ref(),
                "health of {}",
                sensor.id
            );
        }
    }
}

fn quiet(world: &mut World) {
    let before = (world.bus_calls, world.disk_writes, world.hub.state.revision);
    world.run(900_000);
    assert_eq!(
        (world.bus_calls, world.disk_writes, world.hub.state.revision),
        before,
        "nothing changed, nothing happens"
    );
}
