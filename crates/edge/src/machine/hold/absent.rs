//! Why a point can't be looked at: for good, or only for a moment, which says nothing of its instrument.

use holdfast_domain::{Item, PointId, SensorId};

use super::Machine;

/// Why a point can't be read.
#[derive(Debug)]
pub(super) enum Absent {
    /// Its sensor is being started or changed: that passes by itself, and says nothing of the instrument.
    NotYet,
    Because(String),
}

impl Machine {
    /// Does the target have this point?
    pub(super) fn is_wanted(&self, point: PointId) -> bool {
        let has = |item: &Item| {
            let names = item.sensor.content().binding.point_names();
            names.iter().any(|(id, _)| *id == point)
        };
        self.wanted.values().any(has)
    }

    /// Why this point can't be read or written, if it can't: its sensor does not run, or what runs of it still is another
    /// point than the one wanted.
    pub(super) fn why_not_readable(&self, sensor: SensorId, point: PointId) -> Option<Absent> {
        let (Some(slot), Some(wanted)) = (self.slots.get(&sensor), self.wanted.get(&sensor)) else {
            return Some(Absent::Because(
                "its sensor is not wanted any more".to_owned(),
            ));
        };
        if let Some(why) = slot.why_not_readable() {
            return Some(if slot.is_coming() {
                Absent::NotYet
            } else {
                Absent::Because(why)
            });
        }
        let identity = |item: &Item| {
            let rules = item.sensor.content().binding.point_rules(point);
            rules.map(|rules| rules.identity)
        };
        let is_another = |item: &Item| {
            item.sensor.fingerprint() != wanted.sensor.fingerprint()
                && identity(item) != identity(wanted)
        };
        let mut there = slot.with_adapter();
        there.any(is_another).then_some(Absent::NotYet)
    }
}
