//! The `api` process: see [`holdfast_compose::api`].

use std::process::ExitCode;

use holdfast_compose::{api, process};

/// A report is read, compared and written on different threads, as many small pieces of memory: a fifth of the time went into
/// the standard allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main::<api::ApiConfig>(async |config, cancel| api::run(config, cancel).await)
}
