//! How often a loop looks: what the last passes took, what the machine carries, and what is told of both.
//!
//! Agents report transitions. A duration differs each time, so it is told as a [`Figure`]: in steps, with hysteresis, so
//! that a loop that goes on as it was says nothing.

/// Share of the time in which work waits for the processor, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pressure(pub u16);

/// An interval is lengthened to this much more than a pass takes, in hundredths.
const HEADROOM: u64 = 125;

/// An interval in ms that passes which take so long, in ms, keep up with.
#[must_use]
pub const fn with_headroom(took_ms: u64) -> u64 {
    took_ms.saturating_mul(HEADROOM).div_ceil(100)
}

/// How much a loaded machine stretches intervals. It changes in steps, and back only when the pressure is clearly lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stretch {
    /// Which of the steps.
    step: usize,
}

impl Stretch {
    /// From which pressure on, and how much, in hundredths.
    const STEPS: [(u16, u64); 4] = [(0, 100), (250, 150), (500, 200), (750, 400)];

    /// How much lower the pressure must be than where a step begins, to leave it, in thousandths.
    const CLEARLY: u16 = 100;

    /// Takes a measurement; `None`: not known, nothing is stretched. Has it changed?
    pub fn note(&mut self, pressure: Option<Pressure>) -> bool {
        let Pressure(found) = pressure.unwrap_or(Pressure(0));
        let of = |found: u16| Self::STEPS.iter().rposition(|(from, _)| *from <= found);
        let up = of(found).unwrap_or(0);
        let down = of(found.saturating_add(Self::CLEARLY)).unwrap_or(0);
        let before = self.step;
        if pressure.is_none() {
            self.step = 0;
        } else if up > self.step {
            self.step = up;
        } else if down < self.step {
            self.step = down;
        }
        self.step != before
    }

    /// The interval under it.
    #[must_use]
    pub const fn of(&self, interval_ms: u64) -> u64 {
        interval_ms.saturating_mul(Self::STEPS[self.step].1) / 100
    }
}

/// How often a loop looks, in ms, if its last pass took so long: as it was asked to, or where it may lengthen that, no more
/// often than the bus carries, and less on a loaded machine.
#[must_use]
pub const fn kept_interval_ms(
    asked_ms: u64,
    took_ms: Option<u64>,
    stretch: &Stretch,
    may_lengthen: bool,
) -> u64 {
    if !may_lengthen {
        return asked_ms;
    }
    let carried = match took_ms {
        Some(took) if took > asked_ms => with_headroom(took),
        Some(_) | None => asked_ms,
    };
    stretch.of(carried)
}

/// A duration as it is told: in steps of 1, 2 and 5, the next above what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figure {
    told: Option<u64>,
    /// How many in a row did not fit it, and the longest of them: above, and clearly below.
    above: (u8, u64),
    below: (u8, u64),
}

impl Figure {
    /// So many in a row that are longer change it: one slow pass is none.
    const UP: u8 = 3;

    /// So many in a row that are clearly shorter change it.
    const DOWN: u8 = 30;

    /// Clearly shorter is what would fit a lower step with so much to spare, in hundredths.
    const SPARE: u64 = 140;

    /// Takes a measurement, in ms. Has the figure changed?
    pub fn note(&mut self, ms: u64) -> bool {
        let Some(told) = self.told else {
            self.told = Some(step_above(ms));
            return true;
        };
        let count = |(times, longest): (u8, u64)| (times + 1, longest.max(ms));
        self.above = if ms > told { count(self.above) } else { (0, 0) };
        let is_below = step_above(ms.saturating_mul(Self::SPARE) / 100) < told;
        self.below = if is_below { count(self.below) } else { (0, 0) };
        let longest = match (self.above, self.below) {
            ((Self::UP.., longest), _) | (_, (Self::DOWN.., longest)) => longest,
            _ => return false,
        };
        *self = Self {
            told: Some(step_above(longest)),
            ..Self::default()
        };
        true
    }

    /// What is told, in ms; `None`: nothing was measured.
    #[must_use]
    pub const fn told(&self) -> Option<u64> {
        self.told
    }
}

/// Do passes take longer than the interval that was asked for? That is told with the hysteresis of a [`Figure`], apart from
/// it: the step above what passes take may be longer than an interval that they fit into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slowed {
    told: Option<bool>,
    /// How many in a row were otherwise.
    against: u8,
}

impl Slowed {
    /// Takes a pass: was it longer? Has the answer changed?
    pub fn note(&mut self, was_longer: bool) -> bool {
        let Some(told) = self.told else {
            self.told = Some(was_longer);
            return true;
        };
        if was_longer == told {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let enough = if was_longer { Figure::UP } else { Figure::DOWN };
        if self.against < enough {
            return false;
        }
        *self = Self {
            told: Some(was_longer),
            against: 0,
        };
        true
    }

    /// What is told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.unwrap_or(false)
    }
}

/// The first of 1, 2, 5, 10, 20, … that is `ms` or more.
fn step_above(ms: u64) -> u64 {
    let mut ten = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let step = ten.saturating_mul(step);
            if step >= ms {
                return step;
            }
        }
        ten = ten.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What was settled says nothing new, however the lengths wobble about their mean.
        #[test]
        fn a_loop_that_goes_on_as_it_was_is_no_news(
            mean in 1u64..1_000_000,
            wobbles in proptest::collection::vec(-15i64..=15, 1_100),
        ) {
            let mut figure = Figure::default();
            let mut changes = 0;
            for (index, wobble) in wobbles.iter().enumerate() {
                let ms = mean.saturating_add_signed(mean.cast_signed() * wobble / 100);
                let changed = figure.note(ms);
                changes += u32::from(changed);
                prop_assert!(index == 0 || !changed || changes <= 2, "{ms}");
            }
            let told = figure.told().expect("a figure");
            prop_assert!(told * 100 >= mean * 85 && told <= mean * 5, "{told} of {mean}");
        }

        /// What lasts is told.
        #[test]
        fn what_lasts_is_told(before in 1u64..100_000, after in 1u64..100_000) {
            let mut figure = Figure::default();
            for _ in 0..10 {
                figure.note(before);
            }
            for _ in 0..40 {
                figure.note(after);
            }
            let told = figure.told().expect("a figure");
            prop_assert!(told >= after);
            prop_assert!(told <= step_above(after * 3), "{told} of {after}");
        }

        /// Never shorter than what was asked for, nor than what the bus carries.
        #[test]
        fn a_lengthened_interval_is_never_too_short(
            asked in 100u64..3_600_000,
            took in proptest::option::of(0u64..10_000_000),
            pressures in proptest::collection::vec(proptest::option::of(0u16..=1_000), 0..20),
        ) {
            let mut stretch = Stretch::default();
            for pressure in pressures {
                stretch.note(pressure.map(Pressure));
            }
            let kept = kept_interval_ms(asked, took, &stretch, true);
            prop_assert!(kept >= asked);
            prop_assert!(took.is_none_or(|took| kept >= took));
            prop_assert!(kept <= asked.max(with_headroom(took.unwrap_or(0))) * 4);
            prop_assert_eq!(kept_interval_ms(asked, took, &stretch, false), asked);
        }

        /// A machine whose load wobbles about a step does not go to and fro.
        #[test]
        fn a_load_that_wobbles_is_no_news(mean in 50u16..950, wobbles in proptest::collection::vec(-49i16..=49, 1_000)) {
            let mut stretch = Stretch::default();
            let changes = wobbles
                .iter()
                .filter(|wobble| stretch.note(Some(Pressure(mean.saturating_add_signed(**wobble)))))
                .count();
            prop_assert!(changes <= 2);
        }
    }

    #[test]
    fn a_loaded_machine_stretches_and_an_idle_one_does_not() {
        let mut stretch = Stretch::default();
        for (pressure, wanted) in [
            (Some(0), 100),
            (Some(300), 150),
            (Some(160), 150),
            (Some(149), 100),
            (Some(1_000), 400),
            (None, 100),
        ] {
            stretch.note(pressure.map(Pressure));
            assert_eq!(stretch.of(100), wanted, "{pressure:?}");
        }
    }

    #[test]
    fn one_slow_pass_is_no_news() {
        let mut figure = Figure::default();
        assert!(figure.note(40));
        assert!(
            !figure.note(4_000) && !figure.note(40) && !figure.note(4_000) && !figure.note(4_000)
        );
        assert!(figure.note(3_000));
        assert_eq!(figure.told(), Some(5_000));
    }
}
