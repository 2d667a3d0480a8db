//! The `holdfast` program: the operators' commands, and with `up` all roles in one process. Hands the one to the other.

use std::process::ExitCode;

use holdfast_cli::{
    args::{StoreArgs, UpArgs},
    credentials_path,
    roles::{RoleError, Roles},
    save_token,
};
use holdfast_compose::{
    Role, api,
    up::{self, UpOptions, commands},
};

fn main() -> ExitCode {
    let roles = Roles {
        up,
        migrate: |StoreArgs { store, data }| Ok(commands::migrate(store, data)?),
        bootstrap_token: |StoreArgs { store, data }, name, role| {
            let role = match role {
                holdfast_cli::Role::Viewer => Role::Viewer,
                holdfast_cli::Role::Operator => Role::Operator,
                holdfast_cli::Role::Admin => Role::Admin,
            };
            Ok(commands::bootstrap_token(store, data, name.as_str(), role)?)
        },
        openapi: api::openapi,
    };
    holdfast_cli::run(std::env::args_os(), &roles)
}

fn up(
    UpArgs {
        demo,
        no_agent,
        data,
        listen,
    }: UpArgs,
) -> Result<ExitCode, RoleError> {
    up::main(&UpOptions {
        demo,
        no_agent,
        data: commands::data_folder(data, demo),
        listen: listen.unwrap_or_else(commands::default_listen),
        ready: keep_token,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// So that the other commands find it. Not being able to is no reason to end.
fn keep_token(hub: &str, token: &str) {
    if let Some(path) = credentials_path()
        && let Err(error) = save_token(&path, hub, token)
    {
        eprintln!(
            "the token could not be kept in {}: {error}; give it with --token",
            path.display()
        );
    }
}
