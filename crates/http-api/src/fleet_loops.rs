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

    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    /// A look that takes a while, and says which one it was.
    async fn look(looks: &AtomicU32) -> ApiResult<FleetReconciliation> {
        let failed = looks.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(LOOK).await;
        Ok(FleetReconciliation {
            failed,
            ..FleetReconciliation::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_share_a_look() {
        let (loops, looks) = (FleetLoops::default(), AtomicU32::new(0));
        let first = async { loops.now(look(&looks)).await };
        let others = async {
            tokio::time::sleep(LOOK / 2).await;
            join_all((0..100).map(|_| loops.now(look(&looks)))).await
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first.expect("looked").failed, 1);
        for other in others {
            // Not the one that had begun before they asked.
            assert_eq!(other.expect("looked").failed, 2);
        }
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_take_figures_of_a_moment_ago_unless_something_was_changed() {
        let (loops, looks) = (FleetLoops::default(), AtomicU32::new(0));
        let recent = async || loops.recent(look(&looks)).await.expect("looked").failed;
        assert_eq!((recent().await, recent().await), (1, 1));
        tokio::time::sleep(19 * LOOK).await;
        assert_eq!(recent().await, 1);
        tokio::time::sleep(LOOK).await;
        assert_eq!(recent().await, 2);
        // Changed while somebody looks: what they see may be from before.
        tokio::time::sleep(20 * LOOK).await;
        let change = async {
            tokio::time::sleep(LOOK / 2).await;
            loops.forget();
        };
        assert_eq!(tokio::join!(recent(), change).0, 3);
        assert_eq!(recent().await, 4);
    }
}
