//! The rules of the core, as properties and as tables: one program, so that it is linked once.
//!
//! [`documents`] reading and writing, [`ranges`] every bound, [`refusals`] what is said of bad input, [`planning`],
//! [`editing`], [`reporting`], [`projecting`] the status table and the read model, [`watching`] what time brings about,
//! [`checking`] what is doubtful, [`holding`] the value loop in a closed loop with instruments, [`deviating`] those that take other values,
//! [`adopting`] changes at the hardware as wishes,
//! [`commanding`] what happens once, [`wishes`] what is wanted of outputs, [`held`] what an agent holds of it, [`budgets`] how often they may be written, [`on_site`] what is stopped at the agent,
//! [`resuming`] what starting a stopped loop would move. What they share is in [`support`].

mod adopting;
mod budgets;
mod cancelling;
mod checking;
mod commanding;
mod deviating;
mod documents;
mod editing;
mod held;
mod holding;
mod on_site;
mod planning;
mod projecting;
mod ranges;
mod refusals;
mod reporting;
mod resuming;
mod support;
mod telling;
mod troubles;
mod watching;
mod wishes;
