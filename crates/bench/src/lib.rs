//! Benchmarks over the built programs, each beside its limit in the same run: what the thing underneath (PostgreSQL, a bare
//! HTTP handler, a bare Modbus loop) does on this machine in this minute. `cargo xtask bench` runs them; what was measured
//! is in `docs/benchmarks.md`. They say whether a target is reached and never fail for being slow.
//!
//! Here is what the benchmarks share: [`rig`] (a hub and its devices), [`lone_hub`], [`plant`] (a device whose agent runs), [`process`] (programs, cores, CPU time, memory),
//! [`http`] and [`load`] (a client so lean that it is not what is measured), [`postgres`](mod@postgres) and [`bare`] (the limits),
//! [`instruments`] and [`outputs`], [`figures`] (the tables). The measurements are `benches/*.rs`.

// The testkit's, by its file as in xtask: the rest of the testkit is for tests.
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../testkit/src/postgres.rs"]
pub mod cluster;

pub mod bare;
pub mod figures;
pub mod http;
pub mod instruments;
pub mod load;
pub mod lone_hub;
pub mod outputs;
pub mod plant;
pub mod postgres;
pub mod process;
pub mod restoring;
pub mod rig;

use anyhow::{Result, bail};

/// How thorough a run is.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// `--quick`: only to see that it works; the figures say little.
    pub quick: bool,
}

impl Effort {
    /// One of two.
    pub fn choose<T>(self, thorough: T, quick: T) -> T {
        if self.quick { quick } else { thorough }
    }
}

/// What a benchmark's program begins with: plays the part that its arguments name, if they name one, or runs the
/// measurement.
///
/// # Errors
/// What the part or the measurement says.
pub fn main(measure: impl FnOnce(Effort) -> Result<()>) -> Result<()> {
    let mut quick = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            // Cargo says so to everything that it benches.
            "--bench" => {}
            bare::PART => return bare::play(arguments),
            restoring::PART => return restoring::play(arguments),
            other => bail!("expected --quick, found {other}"),
        }
    }
    if cfg!(debug_assertions) {
        println!("not measured: this build is not optimised (cargo bench is)");
        return Ok(());
    }
    measure(Effort { quick })
}

/// As [`main`], for a measurement that this thread alone drives.
///
/// # Errors
/// As [`main`].
pub fn main_on_one_thread<F>(measure: impl FnOnce(Effort) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    main(|effort| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(measure(effort))
    })
}

/// The same on a worker thread of its own, beside this one.
///
/// # Errors
/// An argument that is none, or what the measurement ends with.
pub fn main_beside_one_worker<F>(measure: impl FnOnce(Effort) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    main(|effort| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?
            .block_on(measure(effort))
    })
}
