//! What stands in tables: the API's documents in columns and words. Pure.

pub mod access;
pub mod commands;
pub mod control;
pub mod events;
pub mod lists;
pub mod plan;
pub mod setpoints;
pub mod time;
pub mod why;
pub mod why_held;
