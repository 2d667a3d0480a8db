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
    status: HealthStatus,
    reason: Option<String>,
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
        said.into_iter().map(
            |(
                sensor,
                Said {
                    generation,
                    status,
                    reason,
                },
            )| Event::Health {
                sensor,
                generation,
                status,
                reason,
            },
        )
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

impl HealthListener for Listener {
    fn health(&self, sensor: SensorId, status: HealthStatus, reason: Option<String>) {
        let mut said = self.mailbox.lock();
        if said
            .get(&sensor)
            .is_none_or(|before| before.generation <= self.generation)
        {
            said.insert(
                sensor,
                Said {
                    generation: self.generation,
                    status,
                    reason,
                },
            );
        }
        drop(said);
        self.mailbox.bell.notify_one();
    }
}
