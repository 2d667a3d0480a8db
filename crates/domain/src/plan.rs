//! What an agent must do so that what runs is what is wanted: only what changed is touched.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    document::sensor::{Binding, Item, Sensor},
    ids::SensorId,
};

/// What runs, by sensor.
pub type Running = BTreeMap<SensorId, Item>;

/// One step of a plan; each concerns one sensor, and none depends on another's success.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is not wanted any more.
    Stop(SensorId),
    /// It must be stopped and started with other content.
    Restart(Item),
    /// It takes the change while it runs.
    Update(Item),
    /// It runs with the wanted content already; only the version that is said to have changed it last is another.
    Relabel(Item),
    /// Nothing of it runs.
    Start(Item),
}

impl Step {
    /// The sensor it concerns.
    #[must_use]
    pub fn sensor(&self) -> SensorId {
        match self {
            Self::Stop(id) => *id,
            Self::Restart(item) | Self::Update(item) | Self::Relabel(item) | Self::Start(item) => {
                item.sensor.id()
            }
        }
    }
}

/// The steps from `running` to `target`: what goes first, so that a link or an address is free for what comes.
#[must_use]
pub fn plan(target: &[Item], running: &Running) -> Vec<Step> {
    let wanted: BTreeMap<SensorId, &Item> =
        target.iter().map(|item| (item.sensor.id(), item)).collect();
    let stops = running
        .keys()
        .filter(|id| !wanted.contains_key(id))
        .map(|id| Step::Stop(*id));
    let mut steps: Vec<Step> = stops.collect();
    let mut starts = Vec::new();
    for (id, item) in wanted {
        match running.get(&id) {
            None => starts.push(Step::Start(item.clone())),
            Some(current) => match difference(&current.sensor, &item.sensor) {
                Difference::None if current.config_version == item.config_version => {}
                Difference::None => steps.push(Step::Relabel(item.clone())),
                Difference::TakenRunning => steps.push(Step::Update(item.clone())),
                Difference::NeedsRestart => steps.push(Step::Restart(item.clone())),
            },
        }
    }
    steps.append(&mut starts);
    steps
}

/// What runs when every step has succeeded.
#[must_use]
pub fn apply(steps: &[Step], mut running: Running) -> Running {
    for step in steps {
        match step {
            Step::Stop(id) => {
                running.remove(id);
            }
            Step::Restart(item) | Step::Update(item) | Step::Relabel(item) | Step::Start(item) => {
                running.insert(item.sensor.id(), item.clone());
            }
        }
    }
    running
}

/// How two contents of the same sensor differ, as its adapter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// In what an adapter takes while it runs: name, poll interval, points, metadata.
    TakenRunning,
    /// In how the instrument is reached, or whether it shall run at all.
    NeedsRestart,
}

/// How `new` differs from `old`.
#[must_use]
pub fn difference(old: &Sensor, new: &Sensor) -> Difference {
    if old.fingerprint() == new.fingerprint() {
        return Difference::None;
    }
    let (old, new) = (old.content(), new.content());
    if old.enabled != new.enabled
        || old.extra != new.extra
        || !same_connection(&old.binding, &new.binding)
    {
        return Difference::NeedsRestart;
    }
    Difference::TakenRunning
}

fn same_connection(old: &Binding, new: &Binding) -> bool {
    match (old, new) {
        (
            Binding::Modbus {
                connection: old, ..
            },
            Binding::Modbus {
                connection: new, ..
            },
        ) => old == new,
        (
            Binding::Can {
                connection: old, ..
            },
            Binding::Can {
                connection: new, ..
            },
        ) => old == new,
        (
            Binding::Opcua {
                connection: old, ..
            },
            Binding::Opcua {
                connection: new, ..
            },
        ) => old == new,
        (
            Binding::Mqtt {
                connection: old, ..
            },
            Binding::Mqtt {
                connection: new, ..
            },
        ) => old == new,
        (
            Binding::Modbus { .. }
            | Binding::Can { .. }
            | Binding::Opcua { .. }
            | Binding::Mqtt { .. },
            _,
        ) => false,
    }
}
