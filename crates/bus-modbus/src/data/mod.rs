//! Data: where points are, which requests fetch them, and what a unit is polled with. No I/O, no time but intervals.

mod place;
mod plan;
mod spec;

pub(crate) use place::Place;
pub(crate) use plan::{Block, PlannedPoint};
pub(crate) use spec::{Endpoint, Spec};
