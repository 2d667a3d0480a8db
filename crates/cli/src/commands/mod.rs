//! What the commands do, one module a group; each speaks to the hub through [`Session`] and writes through its output.

mod access;
mod apply;
mod budget;
mod command;
mod control;
mod device;
mod diff;
mod events;
mod get;
mod merge;
mod plan;
mod reconcile;
mod resolve;
mod values;
mod versions;
mod wait;
mod why;

pub(crate) use access::keep;
use holdfast_hub_client::{Connection, HubAddress, Operator};

use crate::{
    CliError, Exit,
    args::{Command, GetCommand, Global, LookArgs},
    credentials::{credentials_path, kept_token},
    output::Out,
};

/// A hub to speak to and a place to write to.
pub(crate) struct Session<'a, 'o> {
    pub(crate) hub: Operator,
    pub(crate) out: &'a mut Out<'o>,
}

/// The connection that the arguments name.
fn connection(global: &Global) -> Result<Connection, CliError> {
    let mut connection = Connection::to(HubAddress::new(&global.hub, global.allow_plain_http)?);
    if let Some(path) = &global.ca {
        let pem = std::fs::read(path).map_err(|source| CliError::Authority {
            path: path.clone(),
            source,
        })?;
        connection.extra_authority_pem = Some(pem);
    }
    Ok(connection)
}

/// The token that the arguments or the kept tokens give for the hub.
fn token(global: &Global) -> Result<String, CliError> {
    if let Some(token) = global
        .token
        .as_deref()
        .map(str::trim)
        .filter(|token| !token.is_empty())
    {
        return Ok(token.to_owned());
    }
    let kept = match credentials_path() {
        None => None,
        Some(path) => kept_token(&path, &global.hub)
            .map_err(|source| CliError::Credentials { path, source })?,
    };
    kept.ok_or_else(|| CliError::NoToken {
        hub: global.hub.clone(),
    })
}

/// Carries out a command that speaks to a hub.
///
/// # Panics
/// If the command is one that doesn't: those are carried out before.
pub(crate) async fn run(
    command: Command,
    global: &Global,
    out: &mut Out<'_>,
) -> Result<Exit, CliError> {
    let hub = Operator::new(&connection(global)?, &token(global)?)?;
    let session = Session { hub, out };
    match command {
        Command::Plan(args) => plan::plan(session, args).await,
        Command::Apply(args) => apply::apply(session, args).await,
        Command::Diff(args) => diff::diff(session, args).await,
        Command::Get(GetCommand::Devices(filter)) => get::devices(session, filter).await,
        Command::Get(GetCommand::Sensors(filter)) => get::sensors(session, filter).await,
        Command::Get(GetCommand::Points { device, sensor }) => {
            get::points(session, &device, sensor.as_deref()).await
        }
        Command::Get(GetCommand::Drift { device }) => get::drift(session, device.as_deref()).await,
        Command::Get(GetCommand::Setpoints { device }) => {
            values::list(session, device.as_deref()).await
        }
        Command::Get(GetCommand::Events(filter)) => events::latest(session, filter).await,
        Command::Why(args) => why::why(session, args).await,
        Command::Set(args) => values::set(session, args).await,
        Command::Command(args) => command::command(session, args).await,
        Command::Cancel(args) => command::cancel(session, args).await,
        Command::Get(GetCommand::Commands { device }) => {
            command::list(session, device.as_deref()).await
        }
        Command::Release(args) => values::release(session, args).await,
        Command::Reconcile(args) => match args.command {
            Some(command) => control::control(session, command).await,
            None => {
                let device = args.device.unwrap_or_default();
                let (wait, reason) = (args.wait, args.reason);
                let args = LookArgs {
                    device,
                    wait,
                    reason,
                };
                reconcile::reconcile(session, args).await
            }
        },
        Command::Budget(command) => budget::budget(session, command).await,
        Command::Device(command) => device::device(session, command).await,
        Command::Token(command) => access::token(session, global, command).await,
        Command::Key(command) => access::key(session, command).await,
        Command::Events(args) => events::events(session, args).await,
        Command::Rollback(args) => versions::rollback(session, args).await,
        Command::History(args) => versions::history(session, args).await,
        Command::Up(_)
        | Command::Migrate(_)
        | Command::Openapi
        | Command::Schema
        | Command::Completions { .. } => {
            unreachable!("commands without a hub are carried out before")
        }
    }
}
