//! Data: where points are, which requests fetch and write them, and what a unit is polled with. No I/O, no time but
//! intervals.

mod endpoint;
mod place;
mod plan;
mod spec;
mod write;

pub(crate) use endpoint::Endpoint;
pub(crate) use place::Place;
pub(crate) use plan::{Block, PlannedPoint, blocks_of};
pub(crate) use spec::{NO_SUCH_POINT, Spec};
pub(crate) use write::Write;
