//! Requests and answers of the hub's HTTP API: what stands around the domain's documents.
//!
//! One place for the server ([`routes`] and these types in `http-api`) and for every client. Requests from people are read
//! by [`Request::from_json`], which names every field that is wrong or unknown; answers are plain serde types, and a client
//! ignores fields that it does not know.
//!
//! Where to look: [`agent`] is the agent's side; [`device`], [`sensor`], [`target`], [`drift`], [`point`],
//! [`setpoint`], [`budget`], [`command`], [`reconciliation`], [`start_plan`], [`event`], [`token`] the operators'; [`problem`] is what every
//! error looks like, and [`said`] puts an event into one line.

pub mod agent;
pub mod budget;
pub mod command;
pub mod device;
pub mod drift;
pub mod event;
pub mod page;
pub mod point;
pub mod problem;
pub mod reconciliation;
pub mod request;
pub mod routes;
pub mod said;
pub mod sensor;
pub mod setpoint;
pub mod start_plan;
pub mod target;
pub mod token;

pub use agent::{
    IncarnationAnswer, IncarnationRequest, Reading, Readings, RegisterAnswer, RegisterRequest,
    ReportAnswer, ReportResult,
};
pub use budget::{BudgetResetCreate, BudgetResetView};
pub use command::{CommandSend, CommandView};
pub use device::{Device, DeviceCreate, DeviceCreated, DeviceStatus, DeviceUpdate};
pub use drift::{DeviceDrift, FleetDrift, ReconcileAnswer, ReconcileResult};
pub use event::EventView;
pub use page::Listed;
pub use point::{PointQuality, PointView};
pub use problem::ProblemDetails;
pub use reconciliation::{
    FleetReconciliation, LoopCounts, PauseCreate, ReconciliationUpdate, ReconciliationView, Stop,
};
pub use request::{Request, Why};
pub use sensor::{EditAnswer, Running, SensorView};
pub use setpoint::{SetpointSet, SetpointView};
pub use start_plan::{StartMove, StartPlan};
pub use target::{
    CurrentStateView, HistoryEntry, PlanAction, PlanView, PlannedSensor, Rollback, TargetStateView,
};
pub use token::{
    ProvisioningKeyCreate, ProvisioningKeyCreated, ProvisioningKeyView, Role, TokenCreate,
    TokenCreated, TokenView,
};
