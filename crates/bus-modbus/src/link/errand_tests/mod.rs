//! What is written and read on demand, on a stage.

mod always;
mod outcomes;
mod reads;
mod turns;

use holdfast_domain::PointValue;
use holdfast_domain::hold::WriteOutcome;
use holdfast_ports::bus::Fresh;
use tokio::sync::oneshot::error::TryRecvError;

use crate::fakes::Document;
use crate::link::desk::Command;
use crate::link::stage::Stage;

/// A unit that is polled each second, with points in the registers 0, 10, 20 and so on: each takes a request.
pub(super) fn document(unit: u8, points: u16) -> Document {
    Document::new(unit.into(), 502)
        .unit(unit)
        .interval_ms(1_000)
        .outputs((0..points).map(|point| point * 10))
}

/// Units that have just been polled.
pub(super) fn polled(units: u8, points: u16) -> Stage {
    let mut stage = Stage::new(1);
    for unit in 1..=units {
        add(&mut stage, &document(unit, points), unit);
    }
    stage.run_until(500);
    stage.log.clear();
    stage
}

pub(super) fn add(stage: &mut Stage, document: &Document, unit: u8) {
    let new = stage.new_unit(document, None);
    stage
        .desk
        .obey(Command::Add(unit.into(), Box::new(new)), stage.now);
}

pub(super) fn values(fresh: &[Fresh]) -> Vec<Option<PointValue>> {
    fresh.iter().map(|fresh| fresh.value.clone()).collect()
}

pub(super) fn not_sent(outcome: Result<WriteOutcome, TryRecvError>) -> String {
    match outcome {
        Ok(WriteOutcome::NotSent(reason)) => reason,
        other => panic!("{other:?}"),
    }
}
