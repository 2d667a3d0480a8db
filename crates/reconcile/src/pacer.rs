//! When is the next pass? A tick never cancels work: a pass that outlasts the interval runs to its end; what wakes the
//! loop meanwhile is merged into one more pass, and none is lost.

use std::time::Duration;

use tokio::time::Instant;

/// Paces passes. Synchronous: time is a parameter.
#[derive(Debug)]
pub struct Pacer {
    interval: Duration,
    tick_at: Instant,
    started_at: Option<Instant>,
    woken: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Start a pass.
    StartPass,
}

impl Pacer {
    /// The first pass is due at once.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            tick_at: now,
            started_at: None,
            woken: false,
        }
    }

    /// Something may have changed: one more pass, at once or after the one under way.
    pub const fn wake(&mut self) {
        self.woken = true;
    }

    /// When the next pass is due if nothing wakes the loop.
    #[must_use]
    pub const fn tick_at(&self) -> Instant {
        self.tick_at
    }

    /// Is a pass under way?
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.started_at.is_some()
    }

    /// What to do now, if anything.
    pub fn next(&mut self, now: Instant) -> Option<Command> {
        if self.is_running() || !(self.woken || now >= self.tick_at) {
            return None;
        }
        self.woken = false;
        self.started_at = Some(now);
        self.tick_at = now + self.interval;
        Some(Command::StartPass)
    }

    /// The pass under way has ended. Did it outlast the interval?
    pub fn finished(&mut self, now: Instant) -> bool {
        let started = self.started_at.take();
        started.is_some_and(|started| now.duration_since(started) > self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wake_up_during_a_pass_leads_to_one_more() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10 * SECOND, start);
        assert_eq!(pacer.next(start), Some(Command::StartPass));
        pacer.wake();
        pacer.wake();
        assert_eq!(pacer.next(start + SECOND), None, "a pass is under way");
        assert!(!pacer.finished(start + SECOND));
        assert_eq!(
            pacer.next(start + SECOND),
            Some(Command::StartPass),
            "the wake-ups were merged into one pass"
        );
        assert!(!pacer.finished(start + 2 * SECOND));
        assert_eq!(pacer.next(start + 2 * SECOND), None, "and into one only");
    }

    #[test]
    fn an_overrun_is_counted_and_the_next_tick_is_not_lost() {
        let start = Instant::now();
        let mut pacer = Pacer::new(SECOND, start);
        assert_eq!(pacer.next(start), Some(Command::StartPass));
        assert_eq!(
            pacer.next(start + 5 * SECOND),
            None,
            "the pass under way is left alone"
        );
        assert!(pacer.finished(start + 5 * SECOND), "it overran");
        assert_eq!(pacer.next(start + 5 * SECOND), Some(Command::StartPass));
    }

    #[test]
    fn without_a_wake_up_a_pass_comes_each_interval() {
        let start = Instant::now();
        let mut pacer = Pacer::new(SECOND, start);
        for tick in 0..3 {
            let now = start + tick * SECOND;
            assert_eq!(pacer.next(now), Some(Command::StartPass));
            assert!(!pacer.finished(now));
            assert_eq!(pacer.next(now + SECOND / 2), None);
        }
    }
}
