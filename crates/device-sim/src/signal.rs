//! Values that move: what a point of a simulated instrument measures at a given time.
//!
//! Every signal is a pure function of the elapsed time, so that a run can be repeated and that no work is
//! done for values that nobody reads. How a value becomes registers is `modbus/encoding.rs`.

use std::f64::consts::TAU;
use std::time::Duration;

/// Octaves of a random walk: its slowest movement takes `2^(OCTAVES - 1)` steps.
const OCTAVES: u32 = 8;

/// A value over time, in the unit of what is measured (°C, bar, %).
///
/// A period, ramp time or step of zero makes the signal stand still at its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// Always this value.
    Constant(f64),
    /// `mean + amplitude · sin(2π · (t + shift) / period)`.
    Sine {
        /// The middle.
        mean: f64,
        /// The greatest distance from the middle.
        amplitude: f64,
        /// The time of one wave.
        period: Duration,
        /// How far into its wave the signal starts.
        shift: Duration,
    },
    /// Goes evenly from `from` to `to` in `period`, then starts again at `from`.
    Ramp {
        /// The first value.
        from: f64,
        /// The value approached at the end of each period.
        to: f64,
        /// The time of one climb.
        period: Duration,
    },
    /// Counts whole steps: `start + floor(t · per_second)`, and starts again at zero at `wraps_at`.
    Counter {
        /// The first value.
        start: f64,
        /// Counts in a second.
        per_second: f64,
        /// The first value that is not shown (65536 for a 16-bit counter); zero or less: never wraps.
        wraps_at: f64,
    },
    /// Wanders without leaving `mean ± amplitude`, with the spectrum of a random walk. The path depends on
    /// the seed alone.
    RandomWalk {
        /// Chooses the path.
        seed: u64,
        /// The middle.
        mean: f64,
        /// The greatest distance from the middle.
        amplitude: f64,
        /// The time of the fastest movement; the slowest takes 128 of it.
        step: Duration,
    },
}

impl Signal {
    /// The value after `elapsed`.
    #[must_use]
    pub fn value_at(&self, elapsed: Duration) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Sine {
                mean,
                amplitude,
                period,
                shift,
            } => mean + amplitude * (TAU * turns(elapsed + shift, period)).sin(),
            Self::Ramp { from, to, period } => from + (to - from) * turns(elapsed, period).fract(),
            Self::Counter {
                start,
                per_second,
                wraps_at,
            } => {
                let count = start + (elapsed.as_secs_f64() * per_second).floor();
                if wraps_at > 0.0 {
                    count.rem_euclid(wraps_at)
                } else {
                    count
                }
            }
            Self::RandomWalk {
                seed,
                mean,
                amplitude,
                step,
            } => mean + amplitude * walk(seed, turns(elapsed, step)),
        }
    }
}

/// How many periods have passed; 0 for a period of zero.
fn turns(elapsed: Duration, period: Duration) -> f64 {
    if period.is_zero() {
        0.0
    } else {
        elapsed.as_secs_f64() / period.as_secs_f64()
    }
}

/// A wandering value between -1 and 1 after `steps` steps: a sum of octaves of value noise, each half as
/// fast and √2 as strong as the one before, which is how the power of a random walk is spread.
fn walk(seed: u64, steps: f64) -> f64 {
    let (mut sum, mut weights, mut weight, mut position) = (0.0, 0.0, 1.0, steps);
    for octave in 0..OCTAVES {
        let index = position.floor();
        let (left, right) = (noise(seed, octave, index), noise(seed, octave, index + 1.0));
        sum += weight * (left + (right - left) * (position - index));
        weights += weight;
        weight *= std::f64::consts::SQRT_2;
        position /= 2.0;
    }
    sum / weights
}

/// A fixed pseudo-random number in [-1, 1) for each (seed, octave, index): the finaliser of SplitMix64.
fn noise(seed: u64, octave: u32, index: f64) -> f64 {
    let mut bits = seed
        ^ u64::from(octave).wrapping_mul(0xA24B_AED4_963E_E407)
        ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn periodic_signals_come_back_and_counters_wrap() {
        let sine = Signal::Sine {
            mean: 60.0,
            amplitude: 5.0,
            period: SECOND * 4,
            shift: Duration::ZERO,
        };
        assert!((sine.value_at(SECOND) - 65.0).abs() < 1e-9);
        assert!((sine.value_at(SECOND * 3) - 55.0).abs() < 1e-9);
        let ramp = Signal::Ramp {
            from: 10.0,
            to: 20.0,
            period: SECOND * 10,
        };
        assert!((ramp.value_at(SECOND * 25) - 15.0).abs() < 1e-9);
        let counter = Signal::Counter {
            start: 65_534.0,
            per_second: 1.0,
            wraps_at: 65_536.0,
        };
        let shown: Vec<f64> = (0..4).map(|s| counter.value_at(SECOND * s)).collect();
        assert_eq!(shown, [65_534.0, 65_535.0, 0.0, 1.0]);
    }

    #[test]
    fn a_zero_period_stands_still_instead_of_dividing_by_zero() {
        let signals = [
            Signal::Sine {
                mean: 1.0,
                amplitude: 1.0,
                period: Duration::ZERO,
                shift: Duration::ZERO,
            },
            Signal::Ramp {
                from: 1.0,
                to: 2.0,
                period: Duration::ZERO,
            },
            Signal::RandomWalk {
                seed: 1,
                mean: 1.0,
                amplitude: 1.0,
                step: Duration::ZERO,
            },
        ];
        for signal in signals {
            assert_eq!(
                signal.value_at(SECOND).to_bits(),
                signal.value_at(SECOND * 99).to_bits(),
                "{signal:?}"
            );
        }
    }

    #[test]
    fn a_walk_is_repeatable_bounded_and_moves_without_jumps() {
        let walk = |seed| Signal::RandomWalk {
            seed,
            mean: 20.0,
            amplitude: 2.0,
            step: SECOND,
        };
        let path = |seed: u64| -> Vec<f64> {
            (0..5_000)
                .map(|i| walk(seed).value_at(SECOND * i / 10))
                .collect()
        };
        let one = path(1);
        assert_eq!(one, path(1));
        assert_ne!(one, path(2));
        assert!(one.iter().all(|v| (18.0..=22.0).contains(v)));
        assert!(
            one.windows(2).all(|w| (w[1] - w[0]).abs() < 0.1),
            "a tenth of a step moves a little"
        );
        let (low, high) = one
            .iter()
            .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(high - low > 0.5, "it does wander: {low} to {high}");
    }
}
