//! What this crate can't do itself because it needs a store or a server: handed in by the program.

use std::{error::Error, process::ExitCode};

use holdfast_domain::Name;
use holdfast_wire::Role;

use crate::args::{StoreArgs, UpArgs};

/// Why a role ended badly: told to the user with its whole chain of sources.
pub type RoleError = Box<dyn Error + Send + Sync>;

/// The roles of the program.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// Runs hub, reconciler and agent in this process until it is told to end. Called outside of any async runtime.
    pub up: fn(UpArgs) -> Result<ExitCode, RoleError>,
    /// Brings the store's tables to this version; gives what was done, in words.
    pub migrate: fn(StoreArgs) -> Result<String, RoleError>,
    /// Makes a token on the store itself; gives its secret.
    pub bootstrap_token: fn(StoreArgs, Name, Role) -> Result<String, RoleError>,
    /// The OpenAPI description of the hub's API, as JSON.
    pub openapi: fn() -> String,
}
