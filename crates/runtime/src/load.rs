//! How busy this machine is, as Linux tells it: its pressure stall information, or where the kernel has none, the load
//! average against the number of processors. Elsewhere it is not known.

use std::{fs, num::NonZero, thread};

use holdfast_domain::pace::Pressure;
use holdfast_ports::load::MachineLoad;

/// Reads `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcLoad;

impl MachineLoad for ProcLoad {
    fn pressure(&self) -> Option<Pressure> {
        let stall = fs::read_to_string("/proc/pressure/cpu").ok();
        stall.as_deref().and_then(of_stall).or_else(|| {
            let load = fs::read_to_string("/proc/loadavg").ok()?;
            let processors = thread::available_parallelism().map_or(1, NonZero::get);
            of_load(&load, processors)
        })
    }
}

/// `some avg10=1.53 avg60=0.87 avg300=0.73 total=22639`: the share of the last 10 s in which some task waited, in percent.
fn of_stall(text: &str) -> Option<Pressure> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let share = line
        .split(' ')
        .find_map(|word| word.strip_prefix("avg10="))?;
    in_thousandths(share.parse::<f64>().ok()? / 100.0)
}

/// `1.51 1.11 1.42 2/310 4242`: tasks that ran or waited, on average over the last minute. Of more than there are processors
/// the rest waited.
fn of_load(text: &str, processors: usize) -> Option<Pressure> {
    let tasks: f64 = text.split(' ').next()?.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "no machine has 2^52 of them")]
    let processors = processors as f64;
    let waiting = (tasks - processors).max(0.0);
    in_thousandths(if tasks > 0.0 { waiting / tasks } else { 0.0 })
}

fn in_thousandths(share: f64) -> Option<Pressure> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1,000"
    )]
    let thousandths = (share.clamp(0.0, 1.0) * 1_000.0).round() as u16;
    share.is_finite().then_some(Pressure(thousandths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stall = "some avg10=31.53 avg60=0.87 avg300=0.73 total=22639\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(of_stall(stall), Some(Pressure(315)));
        assert_eq!(of_load("1.51 1.11 1.42 2/310 4242\n", 2), Some(Pressure(0)));
        assert_eq!(
            of_load("8.00 1.11 1.42 2/310 4242\n", 2),
            Some(Pressure(750))
        );
        for nonsense in ["", "some", "some avg10=NaN x", "full avg10=1.0"] {
            assert_eq!(of_stall(nonsense), None, "{nonsense}");
        }
        assert_eq!(of_load("", 2), None);
    }

    #[test]
    fn this_machine_is_asked() {
        if cfg!(target_os = "linux") {
            assert!(ProcLoad.pressure().is_some());
        }
    }
}
