//! The hub's use cases over the store in memory: [`tokens`], [`registering`], [`polling`], [`reports`], [`edits`],
//! [`devices`], [`values`]. What they share is in [`support`].

mod commands;
mod devices;
mod edits;
mod polling;
mod readings;
mod registering;
mod reports;
mod support;
mod tokens;
mod values;
