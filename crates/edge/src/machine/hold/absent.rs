//! Why a point can't be looked at: for good, or only for a moment, which says nothing of its instrument.

use holdfast_domain::{Item, PointId, SensorId};

use super::Machine;

/// Why a point can't be read.
#[derive(Debug, Clone)]
pub(super) enum Absent {
    /// Its sensor is being started or changed: that passes by itself, and says nothing of the instrument.
    NotYet,
    Because(String),
}

/// Which points of a sensor can be read and written.
#[derive(Debug)]
pub(super) enum Reach {
    All,
    /// Those that its change leaves as they are ([`Machine::is_being_changed`]).
    WhatStays,
    None(Absent),
}

impl Machine {
    /// Which points of this sensor can be read and written: none if it does not run, and while what runs of it still has
    /// other content than the one wanted, not those that are another point there.
    pub(super) fn reach(&self, sensor: SensorId) -> Reach {
        let (Some(slot), Some(wanted)) = (self.slots.get(&sensor), self.wanted.get(&sensor)) else {
            let why = "its sensor is not wanted any more".to_owned();
            return Reach::None(Absent::Because(why));
        };
        if let Some(why) = slot.why_not_readable() {
            return Reach::None(if slot.is_coming() {
                Absent::NotYet
            } else {
                Absent::Because(why)
            });
        }
        let mut there = slot.with_adapter();
        if there.all(|item| item.sensor.fingerprint() == wanted.sensor.fingerprint()) {
            Reach::All
        } else {
            Reach::WhatStays
        }
    }

    /// Is what runs of this point, or is being taken, another point than the one wanted?
    pub(super) fn is_being_changed(&self, sensor: SensorId, point: PointId) -> bool {
        let (Some(slot), Some(wanted)) = (self.slots.get(&sensor), self.wanted.get(&sensor)) else {
            return true;
        };
        let identity = |item: &Item| {
            let rules = item.sensor.content().binding.point_rules(point);
            rules.map(|rules| rules.identity)
        };
        let mut there = slot.with_adapter();
        there.any(|item| {
            item.sensor.fingerprint() != wanted.sensor.fingerprint()
                && identity(item) != identity(wanted)
        })
    }
}
