//! The way of health from the adapters to the machine: the newest word on each sensor, never a queue.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdfast_domain::{HealthStatus, SensorId};
use holdfast_ports::bus::HealthListener;
use tokio::sync::Notify;

use crate::machine::Event;

/// What was said and not yet heard. Bounded by the number of sensors.
#[derive(Debug, Default)]
pub(crate) struct HealthBox {
    said: Mutex<BTreeMap<SensorId, Said>>,
    bell: Notify,
}

#[derive(Debug)]
struct Said {
    generation: u64,
    /// The newest word, if it was not heard yet.
    health: Option<(HealthStatus, Option<String>)>,
    /// The instrument ended its connection, or was out of reach for a moment that nobody heard of.
    broken_off: bool,
}

impl Said {
    /// What was said of another start of the sensor does not count any more.
    const fn nothing_of(generation: u64) -> Self {
        Self {
            generation,
            health: None,
            broken_off: false,
        }
    }

    fn into_events(self, sensor: SensorId) -> impl Iterator<Item = Event> {
        let Self {
            generation,
            health,
            broken_off,
        } = self;
        let broken_off = broken_off.then_some(Event::BrokenOff { sensor, generation });
        let health = health.map(|(status, reason)| Event::Health {
            sensor,
            generation,
            status,
            reason,
        });
        broken_off.into_iter().chain(health)
    }
}

impl HealthBox {
    /// A listener for one start of a sensor.
    pub(crate) fn listener(self: &Arc<Self>, generation: u64) -> Arc<dyn HealthListener> {
        Arc::new(Listener {
            generation,
            mailbox: self.clone(),
        })
    }

    /// Waits until something was said. May end without.
    pub(crate) async fn rings(&self) {
        self.bell.notified().await;
    }

    /// Takes all that was said.
    pub(crate) fn take(&self) -> impl Iterator<Item = Event> + use<> {
        let said = std::mem::take(&mut *self.lock());
        said.into_iter()
            .flat_map(|(sensor, said)| said.into_events(sensor))
    }

    /// The map is whole after any panic: every change of it is one insertion.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SensorId, Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener {
    generation: u64,
    mailbox: Arc<HealthBox>,
}

impl Listener {
    /// Notes something of this start of the sensor, unless a later one has spoken already.
    fn note(&self, sensor: SensorId, note: impl FnOnce(&mut Said)) {
        let mut all = self.mailbox.lock();
        let said = all
            .entry(sensor)
            .or_insert(Said::nothing_of(self.generation));
        if said.generation < self.generation {
            *said = Said::nothing_of(self.generation);
        }
        if said.generation == self.generation {
            note(said);
        }
        drop(all);
        self.mailbox.bell.notify_one();
    }
}

impl HealthListener for Listener {
    fn health(&self, sensor: SensorId, status: HealthStatus, reason: Option<String>) {
        self.note(sensor, |said| {
            let before = said.health.replace((status, reason));
            said.broken_off |= before.is_some_and(|(status, _)| status == HealthStatus::Offline);
        });
    }

    fn broken_off(&self, sensor: SensorId) {
        self.note(sensor, |said| said.broken_off = true);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::HealthStatus::{Offline, Online};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn that_it_was_out_of_reach_is_heard_though_it_is_back_already() {
        let mailbox = Arc::new(HealthBox::default());
        let sensor = SensorId(Uuid::from_u128(1));
        let heard = || -> Vec<&str> {
            let word = |event| match event {
                Event::BrokenOff { generation: 2, .. } => "broken off",
                Event::Health { status: Online, .. } => "online",
                Event::Health { .. } => "offline",
                other => panic!("{other:?}"),
            };
            mailbox.take().map(word).collect()
        };
        let of_before = mailbox.listener(1);
        let listener = mailbox.listener(2);
        of_before.broken_off(sensor);
        for status in [Online, Offline, Online] {
            listener.health(sensor, status, None);
        }
        of_before.health(sensor, Offline, None);
        assert_eq!(heard(), ["broken off", "online"]);
        listener.health(sensor, Offline, None);
        assert_eq!(heard(), ["offline"]);
        listener.broken_off(sensor);
        assert_eq!(heard(), ["broken off"]);
        assert_eq!(heard().len(), 0);
    }
}
