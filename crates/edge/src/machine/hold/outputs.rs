//! The outputs, and what is looked up of them at every turn: which are due, which are a sensor's, which have guards on a
//! point. A device may have ten thousand, so none of that may mean going through all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
};

use holdfast_domain::{Item, PointId, SensorId, TargetState, hold::Budget};

use super::point::Output;

/// The outputs of a device, by point.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    all: BTreeMap<PointId, Output>,
    /// When which of them is to be looked at, in ms: as each of them says itself.
    looks: BTreeSet<(u64, PointId)>,
    by_sensor: BTreeMap<SensorId, BTreeSet<PointId>>,
    /// The outputs that have guards on a point.
    by_guard: BTreeMap<PointId, BTreeSet<PointId>>,
}

impl Outputs {
    pub(super) fn insert(&mut self, point: PointId, output: Output) {
        self.remove(point);
        let of_sensor = self.by_sensor.entry(output.sensor()).or_default();
        of_sensor.insert(point);
        for guard in output.guards() {
            let guarded = self.by_guard.entry(guard.point_id).or_default();
            guarded.insert(point);
        }
        self.looks.extend(output.look_at().map(|at| (at, point)));
        self.all.insert(point, output);
    }

    pub(super) fn remove(&mut self, point: PointId) -> Option<Output> {
        let output = self.all.remove(&point)?;
        if let Some(at) = output.look_at() {
            self.looks.remove(&(at, point));
        }
        forget(&mut self.by_sensor, &output.sensor(), point);
        for guard in output.guards() {
            forget(&mut self.by_guard, &guard.point_id, point);
        }
        Some(output)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn contains_key(&self, point: &PointId) -> bool {
        self.all.contains_key(point)
    }

    pub(super) fn get(&self, point: &PointId) -> Option<&Output> {
        self.all.get(point)
    }

    /// To change one. When it is to be looked at is noted at the end of that.
    pub(super) fn get_mut(&mut self, point: &PointId) -> Option<Changing<'_>> {
        let output = self.all.get_mut(point)?;
        Some(Changing {
            look_at: output.look_at(),
            point: *point,
            output,
            looks: &mut self.looks,
        })
    }

    /// The account of its writes, to be changed: when it is to be looked at is not by that.
    pub(super) fn budget_mut(&mut self, point: PointId) -> Option<&mut Budget> {
        self.all.get_mut(&point).map(|output| &mut output.budget)
    }

    pub(super) fn into_all(self) -> BTreeMap<PointId, Output> {
        self.all
    }

    /// Changes one, if it is there.
    pub(super) fn change<T>(
        &mut self,
        point: PointId,
        change: impl FnOnce(&mut Output) -> T,
    ) -> Option<T> {
        self.get_mut(&point).map(|mut output| change(&mut output))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PointId, &Output)> {
        self.all.iter()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Output> {
        self.all.values()
    }

    /// Changes all.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut Output)) {
        for (point, output) in &mut self.all {
            change(&mut Changing {
                look_at: output.look_at(),
                point: *point,
                output,
                looks: &mut self.looks,
            });
        }
    }

    /// Those of a sensor.
    pub(super) fn of_sensor(&self, sensor: SensorId) -> impl Iterator<Item = PointId> {
        self.by_sensor.get(&sensor).into_iter().flatten().copied()
    }

    /// The points that guards are on.
    pub(super) fn guards(&self) -> impl Iterator<Item = PointId> {
        self.by_guard.keys().copied()
    }

    /// Has it a guard on it?
    pub(super) fn is_guard(&self, point: PointId) -> bool {
        self.by_guard.contains_key(&point)
    }

    /// The outputs that have guards on one of these points and are none of them.
    pub(super) fn guarded_beside(&self, points: &[PointId]) -> BTreeSet<PointId> {
        if self.by_guard.is_empty() {
            return BTreeSet::new();
        }
        let guarded = points.iter().filter_map(|point| self.by_guard.get(point));
        let mut beside: BTreeSet<PointId> = guarded.flatten().copied().collect();
        for point in points {
            beside.remove(point);
        }
        beside
    }

    /// When the next one is to be looked at, in ms.
    pub(super) fn next_look(&self) -> Option<u64> {
        let next = self.looks.first().map(|(at, _)| *at);
        debug_assert_eq!(next, self.all.values().filter_map(Output::look_at).min());
        next
    }

    /// Those that are to be looked at by now.
    pub(super) fn due(&self, now_ms: u64) -> BTreeSet<PointId> {
        let due = self.looks.iter().take_while(|(at, _)| *at <= now_ms);
        due.map(|(_, point)| *point).collect()
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<PointId>>, key: &K, point: PointId) {
    if let Some(points) = index.get_mut(key) {
        points.remove(&point);
        if points.is_empty() {
            index.remove(key);
        }
    }
}

/// An output that is being changed. Neither its sensor nor its guards: those come with another wish, which is inserted.
pub(super) struct Changing<'a> {
    output: &'a mut Output,
    point: PointId,
    /// When it was to be looked at before.
    look_at: Option<u64>,
    looks: &'a mut BTreeSet<(u64, PointId)>,
}

impl Deref for Changing<'_> {
    type Target = Output;

    fn deref(&self) -> &Output {
        self.output
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Output {
        self.output
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let look_at = self.output.look_at();
        if look_at == self.look_at {
            return;
        }
        if let Some(before) = self.look_at {
            self.looks.remove(&(before, self.point));
        }
        self.looks.extend(look_at.map(|at| (at, self.point)));
    }
}

/// Of the points that something is set on, the sensor of each.
pub(super) fn places_of(target: &TargetState) -> BTreeMap<PointId, &Item> {
    let set: BTreeSet<PointId> = target
        .setpoints
        .items
        .iter()
        .map(|setpoint| setpoint.point_id)
        .collect();
    let mut places = BTreeMap::new();
    for item in target.items.iter().filter(|_| !set.is_empty()) {
        for (point, _) in item.sensor.content().binding.point_names() {
            if set.contains(&point) {
                places.entry(point).or_insert(item);
            }
        }
    }
    places
}
