//! The chapter about values: one is set, verified, changed by hand at the instrument, and put back by the loop.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use holdfast_device_sim::modbus::Table;
use holdfast_domain::{
    PointId, PointValue,
    document::setpoint::{Conformity, Hold, Policy},
    row::Actor,
    shown::{Shown, of_point},
    state::DeviceState,
};
use holdfast_hub::values::{Asked, SetpointEdit};
use tokio::time::Instant;

use super::Tour;

/// The boiler whose set temperature is held.
const HELD: &str = "boiler-1";
const POINT: &str = "target-temperature";
/// Where the instrument keeps it, in tenths of a degree.
const REGISTER: u16 = 200;

/// The value that is set.
const WANTED: f64 = 60.0;
/// What somebody turns it to, as the instrument keeps it: 45 °C.
const TURNED_TO: u16 = 450;

/// How often it is looked again where the agent has spoken, and more is to come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long one wait for the agent's word lasts; then it is waited for again.
const PATIENCE: Duration = Duration::from_secs(10);

impl Tour {
    /// Sets a value, turns the knob, and tells what the loop makes of it.
    pub(super) async fn show_values(&self) -> anyhow::Result<()> {
        let point = self.held_point().await?;
        self.say(&format!(
            "setting {HELD}/{POINT} to {WANTED} °C; the instrument shows {} °C",
            self.register()
        ));
        let edit = SetpointEdit {
            value: PointValue::Number(WANTED),
            tolerance: None,
            policy: Policy::Enforce,
            valid_for_ms: None,
            key: None,
            only_if: None,
            if_revision: None,
        };
        let actor = Actor::named("demo");
        let asked = Asked {
            actor: &actor,
            reason: Some("demo"),
            correlation: None,
        };
        self.hub
            .set_setpoint(self.device, point, &edit, asked)
            .await?;
        let shown = self.verified(point, 0).await?;
        self.say(&format!(
            "{HELD}/{POINT} is {} °C: written and read back{}, verified; from now on it is held",
            self.register(),
            took(&shown)
        ));
        self.pause().await;

        let changes = shown.said.map_or(0, |said| said.changes);
        let turned = Instant::now();
        self.instruments[HELD].set_registers(1, Table::Holding, REGISTER, &[TURNED_TO])?;
        self.say(&format!(
            "somebody turns the knob of {HELD}: it shows {} °C",
            self.register()
        ));
        let shown = self.verified(point, changes + 1).await?;
        let change = shown
            .said
            .as_ref()
            .and_then(|said| said.last_change.as_ref());
        if let Some(change) = change {
            self.say(&format!(
                "the loop found it changed by hand from {} to {} °C, {WANTED} °C is wanted: put back",
                change.before, change.after
            ));
        }
        self.say(&format!(
            "{HELD}/{POINT} is {} °C again, verified {:.1} s after it was turned",
            self.register(),
            turned.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Tells how the value stands that an earlier tour set, if it is still wanted.
    pub(super) async fn show_held(&self) -> anyhow::Result<()> {
        let point = self.held_point().await?;
        let state = self.hub.state(self.device).await?;
        if of_point(&state, point, self.hub.now()).is_none() {
            return Ok(());
        }
        let shown = loop {
            let shown = self.settled(point).await?;
            if shown.hold != Hold::Unreachable {
                break shown;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let why = shown.why.map(|why| format!(" ({why})")).unwrap_or_default();
        self.say(&format!(
            "{HELD}/{POINT}: {} °C is wanted, the instrument shows {} °C; {}, {}{why}",
            shown.wish.setpoint.value,
            self.register(),
            shown.conformity,
            shown.hold,
        ));
        Ok(())
    }

    async fn held_point(&self) -> anyhow::Result<PointId> {
        let state = self.hub.state(self.device).await?;
        let sensor = state.wanted_by_name(HELD);
        let points = sensor.map(|sensor| sensor.content().binding.point_names());
        let found = points
            .unwrap_or_default()
            .into_iter()
            .find(|(_, name)| name.as_str() == POINT);
        let (point, _) = found.with_context(|| format!("{HELD} has no point {POINT} any more"))?;
        Ok(point)
    }

    /// What the instrument itself shows, in °C.
    fn register(&self) -> f64 {
        let registers = self.instruments[HELD].registers(1, Table::Holding, REGISTER, 1);
        registers.map_or(f64::NAN, |registers| f64::from(registers[0]) / 10.0)
    }

    /// The setpoint as soon as it was verified and at least so many changes by hand were found.
    async fn verified(&self, point: PointId, changes: u64) -> anyhow::Result<Shown> {
        loop {
            let shown = self.settled(point).await?;
            let found = shown.said.as_ref().map_or(0, |said| said.changes);
            let is_verified = shown.conformity == Conformity::InSync && shown.hold == Hold::Active;
            if is_verified && found >= changes {
                return Ok(shown);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The setpoint as soon as it is clear what became of it.
    async fn settled(&self, point: PointId) -> anyhow::Result<Shown> {
        loop {
            let state: Arc<DeviceState> = self.hub.settled(self.device, point, PATIENCE).await?;
            let shown = of_point(&state, point, self.hub.now())
                .with_context(|| format!("{HELD}/{POINT} was released"))?;
            if shown.is_settled() {
                return Ok(shown);
            }
        }
    }
}

fn took(shown: &Shown) -> String {
    let ms = shown.said.as_ref().and_then(|said| said.verified_in_ms);
    ms.map_or_else(String::new, |ms| format!(" in {ms} ms"))
}
