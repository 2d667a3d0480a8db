//! What starting stopped value loops would move: output by output of a device, and in figures for the fleet.

use holdfast_domain::{
    DeviceId, Name, PointId, PointValue, SensorId,
    resume::{Forecast, StartEffect, of_start},
    state::DeviceState,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What starting a stopped value loop would do to one output, as far as the agent has said how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StartMove {
    /// The device.
    pub device: DeviceId,
    /// The point.
    pub point_id: PointId,
    /// Its sensor.
    pub sensor_id: Option<SensorId>,
    /// The sensor's name.
    pub sensor: Option<Name>,
    /// The point's name.
    pub point: Option<Name>,
    /// Unit of the values.
    pub unit: Option<String>,
    /// The value that it shall hold.
    pub wanted: PointValue,
    /// What the instrument showed last; null: not known.
    pub real: Option<PointValue>,
    /// What a start would do.
    pub effect: StartEffect,
    /// Why.
    pub why: Option<String>,
}

impl StartMove {
    /// That of one output.
    #[must_use]
    pub fn new(device: DeviceId, forecast: Forecast) -> Self {
        let Forecast { shown, effect, why } = forecast;
        let place = shown.place.as_ref();
        Self {
            device,
            point_id: shown.wish.setpoint.point_id,
            sensor_id: place.map(|place| place.sensor),
            sensor: place.map(|place| place.sensor_name.clone()),
            point: place.map(|place| place.point_name.clone()),
            unit: place.and_then(|place| place.unit.clone()),
            real: shown.said.and_then(|said| said.value),
            wanted: shown.wish.setpoint.value,
            effect,
            why,
        }
    }
}

/// What starting one stopped device would move, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StartPlan {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: Name,
    /// Has its agent gone silent? Then this is made from what was.
    pub stale: bool,
    /// Outputs that would be written.
    pub write: u32,
    /// Outputs whose value at the hardware would become the new wish.
    pub adopt: u32,
    /// Outputs that show what is wanted, or are only observed.
    pub nothing: u32,
    /// Outputs that something else holds back.
    pub held: u32,
    /// Outputs of which the agent has not said what they show.
    pub unknown: u32,
}

impl StartPlan {
    /// That of a device; `None`: it is not stopped.
    #[must_use]
    pub fn new(state: &DeviceState, now: Timestamp) -> Option<Self> {
        state.target.values.hold.stops().next()?;
        let mut plan = Self {
            device: state.record.id,
            name: state.record.name.clone(),
            stale: state.presence.silent,
            write: 0,
            adopt: 0,
            nothing: 0,
            held: 0,
            unknown: 0,
        };
        for forecast in of_start(state, now) {
            *plan.count(forecast.effect) += 1;
        }
        Some(plan)
    }

    const fn count(&mut self, effect: StartEffect) -> &mut u32 {
        match effect {
            StartEffect::Write => &mut self.write,
            StartEffect::Adopt => &mut self.adopt,
            StartEffect::Nothing => &mut self.nothing,
            StartEffect::Held => &mut self.held,
            StartEffect::Unknown => &mut self.unknown,
        }
    }
}
