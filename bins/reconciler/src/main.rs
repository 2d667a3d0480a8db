//! The `reconciler` process: see [`holdfast_compose::reconciler`].

use std::process::ExitCode;

use holdfast_compose::{process, reconciler};

fn main() -> ExitCode {
    process::main::<reconciler::ReconcilerConfig>(async |config, cancel| {
        reconciler::run(config, cancel).await
    })
}
