//! The operators' command line: what is typed, what the hub is asked, and what is shown.
//!
//! Decides nothing about devices: the hub does. What needs a store or a server (`up`, `migrate`, the first token) is handed
//! in by the program as [`roles::Roles`], so that this crate carries none.
//!
//! Where to look: [`args`] is the grammar; `commands` what each command does; [`manifest`] reads what people write down;
//! [`render`] turns the API's documents into words and tables, [`output`] writes them.

pub mod args;
mod commands;
mod credentials;
mod error;
mod exit;
pub mod manifest;
pub mod output;
pub mod render;
pub mod roles;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Format, TokenCommand};
pub use credentials::{credentials_path, kept_token, save_token};
pub use error::CliError;
pub use exit::Exit;
pub use holdfast_wire::Role;
use output::Out;
use roles::Roles;

/// Runs the program with these arguments (the first is its own name), and says how it ended.
///
/// Must not be called from within an async runtime.
pub fn run<I, T>(args: I, roles: &Roles) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Error.into()
            } else {
                Exit::Good.into()
            };
        }
    };
    if let Command::Up(up) = cli.command {
        return (roles.up)(up).unwrap_or_else(|error| report(&CliError::Role(error)));
    }
    // Not locked: what shows progress writes from a thread of its own.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let is_terminal = stdout.is_terminal();
    let is_live = is_terminal && stderr.is_terminal() && cli.global.output == Format::Table;
    let mut out = Out {
        results: &mut stdout,
        notes: &mut stderr,
        format: cli.global.output,
        colours: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        is_live,
        now: jiff::Timestamp::now,
    };
    match execute(cli, roles, &mut out) {
        Ok(exit) => exit.into(),
        Err(error) => report(&error),
    }
}

fn report(error: &CliError) -> ExitCode {
    if error.is_broken_pipe() {
        return Exit::Good.into();
    }
    let _ = writeln!(io::stderr(), "{}", error.chain());
    Exit::Error.into()
}

/// Carries out any command but `up`, writing to `out`.
///
/// # Errors
/// Why it could not be carried out.
///
/// # Panics
/// With `up`, which runs until it is ended and has no output of this kind.
pub fn execute(cli: Cli, roles: &Roles, out: &mut Out<'_>) -> Result<Exit, CliError> {
    match cli.command {
        Command::Up(_) => unreachable!("`up` is carried out by the program"),
        Command::Migrate(store) => {
            let done = (roles.migrate)(store).map_err(CliError::Role)?;
            out.line(&done)?;
        }
        Command::Token(TokenCommand::Create {
            name,
            role,
            bootstrap: true,
            save,
            store,
            expires_in: _,
        }) => {
            let secret = (roles.bootstrap_token)(store, name, role).map_err(CliError::Role)?;
            out.line(&secret)?;
            if save {
                commands::keep(out, &cli.global.hub, &secret)?;
            }
        }
        Command::Openapi => out.line(&(roles.openapi)())?,
        Command::Schema => {
            let schema = manifest::schema::schema();
            out.document(&schema)?;
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
            out.results.write_all(&script)?;
        }
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            return runtime.block_on(commands::run(command, &cli.global, out));
        }
    }
    Ok(Exit::Good)
}
