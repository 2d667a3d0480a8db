//! The agent's configuration loop: it makes what runs be what is wanted, also when the hub is out of reach, and says
//! what is true.
//!
//! Two halves. [`machine`] owns every decision: a synchronous state machine, events and the time in, effects out, that
//! runs unchanged in a simulation. [`Agent`] is the thin shell around it: it turns effects into calls of the ports and
//! their results into events.
//!
//! On the side: [`readings`], the way of what was read to the hub and elsewhere; [`AgentStatus`], what the agent knows
//! of itself, for those who want to look.
//!
//! Left to others: how an instrument is spoken to (the bus adapters), how the hub is reached (the hub's client), what is
//! a step from here to there ([`holdfast_domain::plan`]).

mod agent;
mod calls;
mod health;
mod local;
pub mod machine;
pub mod readings;
mod shell;
mod status;

pub use agent::{Agent, AgentError, AgentParts, AgentSettings};
pub use local::{LocalError, LocalLoop, LocalOrder, LoopError, LoopView, OutputView};
pub use status::{AgentStatus, HubAccess, HubStatus, SensorStatus};
