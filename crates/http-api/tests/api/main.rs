//! The API over a real listener, with the store in memory: what callers see, in every role.

mod agents;
mod bounds;
mod budgets;
mod buttons;
mod commands;
mod edits;
mod lists;
mod openapi;
mod pages;
mod roles;
mod stops;
mod stream;
mod strict;
mod support;
mod values;
