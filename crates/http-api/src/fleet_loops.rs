//! The fleet's value loops in figures. They are made by looking at every device, so it is bounded how often: one look at a
//! time, which serves all who asked before it began; pages, which ask every two seconds, take older ones besides.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_wire::FleetReconciliation;
use tokio::time::Instant;

use crate::problem::ApiResult;

/// The last figures, and whose turn it is to make new ones.
#[derive(Default)]
pub(crate) struct FleetLoops {
    last: Mutex<Last>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Last {
    figures: Option<Figures>,
    /// Older looks don't count.
    changed: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Figures {
    figures: FleetReconciliation,
    began: Instant,
    made: Instant,
}

impl Figures {
    /// Has so little time passed that looking again would take more than a small share of it?
    fn is_recent(&self) -> bool {
        /// They count this many times as long as it took to make them.
        const SHARE: u32 = 20;
        let good_for: Duration = (self.made - self.began) * SHARE;
        self.made.elapsed() < good_for
    }
}

impl FleetLoops {
    /// The figures as they are or were a little while ago.
    pub(crate) async fn recent(
        &self,
        look: impl Future<Output = ApiResult<FleetReconciliation>>,
    ) -> ApiResult<FleetReconciliation> {
        if let Some(last) = self.last_that(Figures::is_recent) {
            return Ok(last);
        }
        self.now(look).await
    }

    /// The figures, looked at from now on; by `look`, unless somebody else who waited begins with it.
    pub(crate) async fn now(
        &self,
        look: impl Future<Output = ApiResult<FleetReconciliation>>,
    ) -> ApiResult<FleetReconciliation> {
        let asked = Instant::now();
        let _turn = self.turn.lock().await;
        if let Some(last) = self.last_that(|last| last.began >= asked) {
            return Ok(last);
        }
        let began = Instant::now();
        let figures = look.await?;
        let made = Instant::now();
        self.last().figures = Some(Figures {
            figures,
            began,
            made,
        });
        Ok(figures)
    }

    /// Something was changed: what was looked at before it counts no more.
    pub(crate) fn forget(&self) {
        self.last().changed = Some(Instant::now());
    }

    fn last_that(&self, is_good: impl Fn(&Figures) -> bool) -> Option<FleetReconciliation> {
        let last = self.last();
        let figures = last.figures?;
        let is_current = last.changed.is_none_or(|changed| figures.began > changed);
        (is_current && is_good(&figures)).then_some(figures.figures)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::{
        sync::Semaphore,
        time::{advance, pause},
    };

    use super::*;

    fn figures(look: u32) -> FleetReconciliation {
        FleetReconciliation {
            failed: look,
            ..FleetReconciliation::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_share_a_look() {
        let (loops, looks, gate) = (FleetLoops::default(), AtomicU32::new(0), Semaphore::new(0));
        let look = async || {
            let look = looks.fetch_add(1, Ordering::SeqCst) + 1;
            gate.acquire().await.expect("it stays").forget();
            Ok(figures(look))
        };
        let others = async {
            advance(Duration::from_millis(1)).await;
            let mut asking = join_all((0..100).map(|_| loops.now(look())));
            assert!(futures::poll!(&mut asking).is_pending(), "one at a time");
            gate.add_permits(2);
            asking.await
        };
        let (first, others) = tokio::join!(loops.now(look()), others);
        assert_eq!(first.expect("looked").failed, 1);
        for other in others {
            // Not the one that had begun before they asked.
            assert_eq!(other.expect("looked").failed, 2);
        }
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn pages_take_figures_of_a_moment_ago_unless_something_was_changed() {
        const HALF: Duration = Duration::from_millis(50);
        pause();
        let loops = FleetLoops::default();
        let recent = async |look: u32, change: bool| {
            let look = async {
                advance(HALF).await;
                if change {
                    loops.forget();
                }
                advance(HALF).await;
                Ok(figures(look))
            };
            loops.recent(look).await.expect("looked").failed
        };
        assert_eq!((recent(1, false).await, recent(2, false).await), (1, 1));
        advance(38 * HALF).await;
        assert_eq!(recent(2, false).await, 1);
        advance(2 * HALF).await;
        assert_eq!(recent(2, false).await, 2);
        // Changed while somebody looks: what they see may be from before.
        advance(40 * HALF).await;
        assert_eq!(recent(3, true).await, 3);
        assert_eq!(recent(4, false).await, 4);
    }
}
