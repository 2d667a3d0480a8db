//! The ways of readings: to the hub ([`HubReadings`]), to a file or the terminal ([`NdjsonSink`]), to several at once
//! ([`fan_out`]).

mod ndjson;
mod to_hub;

use std::sync::Arc;

use holdfast_domain::SensorId;
use holdfast_ports::readings::{Reading, ReadingSink};

pub use ndjson::NdjsonSink;
pub use to_hub::{HubReadings, HubReadingsSettings};

/// A sink that gives everything to all of `sinks`.
#[must_use]
pub fn fan_out(mut sinks: Vec<Arc<dyn ReadingSink>>) -> Arc<dyn ReadingSink> {
    match (sinks.len(), sinks.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            sinks.extend(last);
            Arc::new(FanOut(sinks))
        }
    }
}

struct FanOut(Vec<Arc<dyn ReadingSink>>);

impl ReadingSink for FanOut {
    fn accept(&self, sensor: SensorId, readings: &[Reading]) {
        for sink in &self.0 {
            sink.accept(sensor, readings);
        }
    }

    fn forget(&self, sensor: SensorId) {
        for sink in &self.0 {
            sink.forget(sensor);
        }
    }
}
