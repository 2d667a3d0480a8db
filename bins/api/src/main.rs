//! The `api` process: see [`holdfast_compose::api`].

use std::process::ExitCode;

use holdfast_compose::{api, process};

fn main() -> ExitCode {
    process::main::<api::ApiConfig>(async |config, cancel| api::run(config, cancel).await)
}
