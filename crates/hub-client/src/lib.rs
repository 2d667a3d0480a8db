//! Typed HTTP client of the hub.
//!
//! [`AgentHub`] is the hub as an agent sees it: the port [`holdfast_ports::hub_link::HubLink`] over HTTP, with
//! [`register`] before it. [`Operator`] is the operators' side, for the command line; [`Follower`] follows the event log.
//!
//! Both speak through one transport: a connection with deadlines, bounded answers, no redirects and no retries. When to
//! try again is for the caller to say; only the follower reconnects by itself, because it can resume.

mod address;
mod agent;
mod follow;
mod operator;
mod problem;
mod register;
mod sse;
mod transport;

pub use address::{AddressError, HubAddress};
pub use agent::AgentHub;
pub use follow::{Followed, Follower};
pub use operator::{EventQuery, Operator, PointRef, SensorQuery, SensorsView, TargetAnswer};
pub use problem::CallError;
pub use register::{RegisterError, register};
pub use transport::{ClientError, Connection, NoAnswer};
