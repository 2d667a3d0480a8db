//! How often a link's units can be polled: measured, not assumed. Pure: durations in, durations out.
//!
//! Each unit's declared interval takes a share of the line: its pass, divided by the interval. While the shares add up to
//! more than the whole line, passes overrun whatever anybody declares; so the link gets a floor: the shortest time between
//! two polls of a unit that the line carries with some room to spare ([`HEADROOM`]). Units that declare a longer interval
//! keep theirs, those that declare a shorter one are polled at the floor, all alike. The floor moves only where the
//! measure has moved for good, so that it is told once and not with each pass.

use std::time::Duration;

/// The floor leaves this much room: what retries, probes of silent units and, later, writes need beside the polls.
const HEADROOM: f64 = 1.2;

/// Below this share of the line the declared intervals are kept again: less than `1 / HEADROOM`, so that the floor does not
/// come and go at one and the same load.
const RELEASE: f64 = 0.8;

/// A floor that could be lower by less than this share stays.
const STEP: f64 = 0.25;

/// How many passes the measure remembers.
const REMEMBERED: usize = 5;

/// The passes of one unit: as many as are remembered, and their median, which one slow pass (a lost packet, a search for
/// addresses) does not move.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passes {
    last: [Duration; REMEMBERED],
    /// How many were measured, up to as many as are remembered.
    known: usize,
    next: usize,
}

impl Passes {
    /// One more was measured.
    pub(crate) fn add(&mut self, pass: Duration) {
        self.last[self.next] = pass;
        self.next = (self.next + 1) % REMEMBERED;
        self.known = (self.known + 1).min(REMEMBERED);
    }

    /// The median; none before enough were measured to have one.
    pub(crate) fn usual(&self) -> Option<Duration> {
        if self.known < REMEMBERED {
            return None;
        }
        let mut sorted = self.last;
        sorted.sort_unstable();
        Some(sorted[REMEMBERED / 2])
    }
}

/// What one unit asks of the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Demand {
    /// How long a poll of it usually takes.
    pub(crate) pass: Duration,
    /// How often it shall be polled.
    pub(crate) interval: Duration,
}

/// The floor from now on, given the one up to now; none: all declared intervals are kept.
pub(crate) fn paced(floor: Option<Duration>, demands: &mut [Demand]) -> Option<Duration> {
    let declared = load(demands, Duration::ZERO);
    let Some(floor) = floor else {
        return (declared > 1.0).then(|| carried(demands));
    };
    if declared < RELEASE {
        return None;
    }
    let carried = carried(demands);
    let is_overrun = load(demands, floor) > 1.0;
    let is_much_lower = carried.as_secs_f64() < floor.as_secs_f64() * (1.0 - STEP);
    Some(if is_overrun || is_much_lower {
        carried
    } else {
        floor
    })
}

/// The share of the line that polls take if none comes more often than each `floor`.
fn load(demands: &[Demand], floor: Duration) -> f64 {
    let share =
        |demand: &Demand| demand.pass.as_secs_f64() / demand.interval.max(floor).as_secs_f64();
    demands.iter().map(share).sum()
}

/// The shortest floor with which the polls leave the headroom, rounded up to two digits.
fn carried(demands: &mut [Demand]) -> Duration {
    demands.sort_unstable_by_key(|demand| demand.interval);
    let mut at_floor = 0.0;
    let mut left: f64 = demands
        .iter()
        .map(|demand| demand.pass.as_secs_f64() / demand.interval.as_secs_f64())
        .sum();
    let mut floor = 0.0;
    for (index, demand) in demands.iter().enumerate() {
        at_floor += demand.pass.as_secs_f64();
        left -= demand.pass.as_secs_f64() / demand.interval.as_secs_f64();
        let room = 1.0 / HEADROOM - left;
        let next = demands
            .get(index + 1)
            .map(|next| next.interval.as_secs_f64());
        floor = at_floor / room;
        // Fits, if those at the floor leave it to those with longer intervals to keep theirs.
        if room > 0.0 && next.is_none_or(|next| floor <= next) {
            break;
        }
    }
    rounded_up(floor)
}

/// Up to two digits, in whole milliseconds: 2.4 s, 310 ms.
fn rounded_up(seconds: f64) -> Duration {
    let ms = (seconds * 1_000.0).ceil().clamp(1.0, 1e12) as u64;
    let mut step = 1;
    while ms / step >= 100 {
        step *= 10;
    }
    Duration::from_millis(ms.div_ceil(step) * step)
}

/// Such as "2.4 s" or "310 ms".
pub(crate) fn in_words(interval: Duration) -> String {
    match interval.as_millis() {
        ms if ms < 1_000 => format!("{ms} ms"),
        _ => format!("{} s", interval.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn demand(pass: u64, interval: u64) -> Demand {
        Demand {
            pass: ms(pass),
            interval: ms(interval),
        }
    }

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let one =
            (0_u64..2_000, 10_u64..20_000).prop_map(|(pass, interval)| demand(pass, interval));
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn a_floor_is_carried_with_room_and_no_longer_than_it_must_be(mut demands in demands()) {
            let declared = load(&demands, Duration::ZERO);
            match paced(None, &mut demands) {
                None => prop_assert!(declared <= 1.0),
                Some(floor) => {
                    prop_assert!(declared > 1.0);
                    prop_assert!(load(&demands, floor) <= 1.0 / HEADROOM + 1e-6, "{floor:?}");
                    // Two digits are a tenth at most; a little more for whole milliseconds.
                    let shorter = floor.mul_f64(0.89).saturating_sub(ms(1));
                    prop_assert!(load(&demands, shorter) > 1.0 / HEADROOM - 1e-6, "{floor:?} is too long");
                }
            }
        }

        #[test]
        fn the_same_measure_again_changes_nothing(mut demands in demands(), before in prop::option::of(1_u64..60_000)) {
            let once = paced(before.map(ms), &mut demands);
            prop_assert_eq!(paced(once, &mut demands), once);
        }

        #[test]
        fn small_changes_of_the_measure_move_no_floor(
            passes in prop::collection::vec(1_u64..2_000, 1..40), interval in 10_u64..2_000,
            wobble in prop::collection::vec(0.86..1.15, 40),
        ) {
            let mut demands: Vec<Demand> = passes.iter().map(|pass| demand(*pass, interval)).collect();
            let Some(floor) = paced(None, &mut demands) else { return Ok(()) };
            for (demand, factor) in demands.iter_mut().zip(wobble) {
                demand.pass = demand.pass.mul_f64(factor);
            }
            prop_assert_eq!(paced(Some(floor), &mut demands), Some(floor));
        }

        #[test]
        fn passes_that_are_fast_again_give_the_declared_intervals_back(mut demands in demands(), floor in 1_u64..60_000) {
            for demand in &mut demands {
                demand.pass = demand.interval / 60;
            }
            prop_assert_eq!(paced(Some(ms(floor)), &mut demands), None);
        }

        #[test]
        fn two_slow_passes_of_five_move_nothing(mut fast in prop::collection::vec(0_u64..50, 5), slow in prop::collection::vec(60_u64..90_000, 2)) {
            let mut passes = Passes::default();
            fast.truncate(3);
            fast.extend(&slow);
            fast.iter().for_each(|pass| passes.add(ms(*pass)));
            prop_assert!(passes.usual() < Some(ms(50)));
        }
    }

    #[test]
    fn those_who_ask_for_little_keep_what_they_asked_for() {
        let mut demands = [
            demand(1_000, 1_000),
            demand(1_000, 1_000),
            demand(100, 60_000),
        ];
        let floor = paced(None, &mut demands);
        assert_eq!(floor, Some(ms(2_500)), "and not 1.2 times all three");
    }

    #[test]
    fn what_just_fits_is_kept_as_declared() {
        assert_eq!(paced(None, &mut [demand(99, 100)]), None);
        assert_eq!(paced(None, &mut [demand(101, 100)]), Some(ms(130)));
        // And back again not at the first pass that fits.
        assert_eq!(paced(Some(ms(130)), &mut [demand(99, 100)]), Some(ms(130)));
        assert_eq!(paced(Some(ms(130)), &mut [demand(79, 100)]), None);
        // Slower still: at once. Faster, but not fast: to what it carries then.
        assert_eq!(paced(Some(ms(130)), &mut [demand(200, 100)]), Some(ms(240)));
        assert_eq!(paced(Some(ms(240)), &mut [demand(140, 100)]), Some(ms(170)));
    }

    #[test]
    fn intervals_are_told_in_words() {
        let words = [ms(310), ms(1_000), ms(2_400), ms(61_000)].map(in_words);
        assert_eq!(words, ["310 ms", "1 s", "2.4 s", "61 s"]);
        assert_eq!(rounded_up(1.234), ms(1_300));
        assert_eq!(rounded_up(0.000_1), ms(1));
    }
}
