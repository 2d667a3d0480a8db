//! What every process needs around its role: configuration, logs, metrics, the real clock, and an orderly end.
//!
//! Where to look: [`config`] (one typed configuration from defaults, a file and the environment), [`logs`], [`metrics`],
//! [`serve`] (HTTP, with bounds), [`health`] (a small port for daemons), [`clock`], [`files`], [`load`], [`memory`],
//! [`shutdown`].

pub mod clock;
pub mod config;
pub mod files;
pub mod health;
pub mod load;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod serve;
pub mod shutdown;
