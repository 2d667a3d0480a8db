//! The core of Holdfast: what operators ask for, what agents say is true, and every decision between the two.
//!
//! Nothing here reads a clock, makes a random number or does I/O: time, ids and randomness are parameters. What is
//! decided here is the same on the hub, on the agent and in a simulation.
//!
//! Where to look:
//! - [`document`]: the target state, the report, and the sensors in them; [`protocol`]: what each fieldbus needs;
//! - [`canonical`]: when two contents are the same;
//! - [`plan`]: what an agent must start, stop, restart or update; [`backoff`]: when it tries again;
//! - [`state`]: all that the hub knows of a device; [`edit`], [`wish`], [`receive`], [`watch`]: how operators, a report and
//!   time change it; [`values`]: what is wanted of its outputs; [`shown`]: how screens show that;
//!   [`resume`]: what starting a stopped loop would move; [`project`]: the one function behind the read model and the events;
//! - [`docket`]: which command may be begun, once;
//! - [`hold`]: the value loop: what to do about a point that is to hold a value, and why;
//! - [`check`]: what is doubtful in a target.

// What derives the OpenAPI schemas writes code that needs std; nothing else does.
#![cfg_attr(not(feature = "openapi"), no_std)]

extern crate alloc;

pub mod backoff;
pub mod canonical;
pub mod check;
pub mod docket;
pub mod document;
pub mod drift;
pub mod edit;
pub mod event;
mod fields;
pub mod hold;
pub mod ids;
pub mod limits;
mod not_json;
pub mod pace;
pub mod plan;
pub mod project;
pub mod protocol;
pub mod rebuild;
pub mod receive;
pub mod resume;
pub mod row;
pub mod shown;
pub mod state;
pub mod trouble;
pub mod value;
pub mod values;
pub mod watch;
pub mod wish;
mod words;

pub use canonical::Fingerprint;
pub use document::{
    changes::{TargetChanges, TargetDocument},
    report::{Failure, Health, HealthStatus, Outcome, Report, ReportOrder},
    sensor::{Binding, Content, Item, Sensor},
    target::TargetState,
};
pub use fields::{Choice, Fields, Path, Problem, Problems};
pub use ids::{
    CommandId, DeviceId, EventId, Incarnation, Name, PauseId, PointId, ResetId, SensorId, TokenId,
};
pub use not_json::not_json;
pub use protocol::Protocol;
pub use value::{PointValue, Quality};
pub use words::{in_words, without_numbers};
