//! The value loop's decisions: what to do about one point that is to hold a value, and why.
//!
//! Observe, compare, write only if outside the tolerance, wait until the instrument has settled, read back: verified, or
//! tried again within limits, or said what is wrong. One function decides ([`decide()`]), from the setpoint, the point's
//! rules, the last reading, what the loop remembers ([`Track`]) and the time. It is pure and total: it reads no clock, does
//! no I/O and has an answer for everything.
//!
//! - `band`: when a reading is the wanted value;
//! - `guard`: conditions on other points;
//! - `budget`: how often a point may be written;
//! - `leave`: going to the safe value; `memory`: what the loop must know after a restart;
//! - `situation`: what is decided from and what comes of it; `decide`: the decision; `settle`: what a read-back means;
//! - `instead`: what an instrument makes of a value; `step`: limits, and the largest step;
//! - `track`: what the loop remembers, and what became of writes.

mod band;
mod budget;
mod decide;
mod guard;
mod instead;
mod leave;
mod memory;
mod settle;
mod situation;
mod step;
mod track;

pub(crate) use band::number;
pub use band::{Band, NotRepresentable, Resolution};
pub use budget::{Account, Budget, BudgetView, DayLeft, WriteBudget};
pub use decide::decide;
pub use guard::{Guard, GuardFailure, check_guards};
pub use instead::{How, Instead};
pub use leave::{Interruption, Leaving, leave, safe_value};
pub use memory::{Learned, Left, LoopMemory};
pub use situation::{
    Act, Control, Decision, HoldReason, HoldStatus, Observed, PointRules, Situation, Told,
};
pub use step::reaches;
pub use track::{Asked, Stage, Track, WriteOutcome};
