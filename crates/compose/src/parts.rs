//! The parts of a process that belong together: if one ends by itself, all end, and the error says which.

use std::{collections::HashMap, pin::pin, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long the others may take to end once one has died: longer than any of them needs for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Parts that run until they are asked to end.
pub(crate) struct Parts {
    cancel: CancellationToken,
    /// How long they may take to end once they are asked to; `None`: as long as they need.
    ending: Option<Duration>,
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    /// None yet. `cancel` asks all of them to end.
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self {
            cancel,
            ending: None,
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Those that have not ended so long after they were asked to are given up: for parts whose work is safe to break off
    /// at any moment, and may stand in a store that does not answer.
    #[must_use]
    pub(crate) fn that_end_within(self, longest: Duration) -> Self {
        Self {
            ending: Some(longest),
            ..self
        }
    }

    /// Starts a part; `name` goes on with "ended".
    pub(crate) fn spawn<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let task = self.tasks.spawn(part(self.cancel.clone()));
        self.names.insert(task.id(), name);
    }

    /// Until all have ended.
    ///
    /// # Errors
    /// Names the first part that failed, or that ended without being asked; the others were asked to end then.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut first: Option<anyhow::Error> = None;
        let (cancel, ending) = (self.cancel.clone(), self.ending);
        let mut given_up = pin!(async move {
            cancel.cancelled().await;
            match ending {
                Some(longest) => tokio::time::sleep(longest).await,
                None => std::future::pending().await,
            }
        });
        loop {
            let next = self.tasks.join_next_with_id();
            let ended = tokio::select! {
                biased;
                ended = next => ended,
                // What does not end is dropped with this.
                () = &mut given_up => {
                    tracing::warn!(parts = self.tasks.len(), "what is still under way is given up");
                    break;
                }
                () = tokio::time::sleep(PATIENCE), if first.is_some() => break,
            };
            let Some(ended) = ended else { break };
            if let Err(error) = self.outcome(ended) {
                self.cancel.cancel();
                if first.is_none() {
                    first = Some(error);
                } else {
                    tracing::error!(error = format!("{error:#}"), "another part failed");
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn outcome(&self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> anyhow::Result<()> {
        let name = |id: Id| self.names.get(&id).copied().unwrap_or("a part");
        match ended {
            Ok((_, Ok(()))) if self.cancel.is_cancelled() => Ok(()),
            Ok((id, Ok(()))) => Err(anyhow!("{} ended without being asked to", name(id))),
            Ok((id, Err(error))) => Err(error).with_context(|| format!("{} ended", name(id))),
            Err(died) => {
                let name = name(died.id());
                Err(anyhow!(died).context(format!("{name} ended in a panic, which is a bug")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part that ends when it is asked to, and one more that `does` something else.
    async fn with(
        does: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Result<(), String> {
        let cancel = CancellationToken::new();
        let mut parts = Parts::new(cancel);
        parts.spawn("the good one", |cancel| async move {
            cancel.cancelled().await;
            Ok(())
        });
        parts.spawn("the agent", |_| does);
        parts.run().await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn whatever_ends_by_itself_ends_all_and_is_named() {
        let failed = with(async { Err(anyhow!("the disk is full")) }).await;
        assert_eq!(failed, Err("the agent ended: the disk is full".to_owned()));
        let stopped = with(async { Ok(()) }).await;
        assert_eq!(
            stopped,
            Err("the agent ended without being asked to".to_owned())
        );
        let died = with(async { panic!("by the test") }).await;
        let died = died.expect_err("a panic");
        assert!(died.starts_with("the agent ended in a panic"), "{died}");
    }

    #[tokio::test]
    async fn what_ends_when_asked_ends_well() {
        let cancel = CancellationToken::new();
        let mut parts = Parts::new(cancel.clone());
        for name in ["one", "two"] {
            parts.spawn(name, |cancel| async move {
                cancel.cancelled().await;
                Ok(())
            });
        }
        cancel.cancel();
        parts.run().await.expect("all ended when asked");
    }

    #[tokio::test]
    async fn a_part_that_fails_while_it_ends_is_told_of() {
        let cancel = CancellationToken::new();
        let mut parts = Parts::new(cancel.clone());
        parts.spawn("the agent", |cancel| async move {
            cancel.cancelled().await;
            Err(anyhow!("the disk is gone"))
        });
        cancel.cancel();
        let error = parts.run().await.expect_err("it failed");
        assert_eq!(format!("{error:#}"), "the agent ended: the disk is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_is_not_waited_for_for_ever() {
        let mut parts = Parts::new(CancellationToken::new());
        parts.spawn("the deaf one", |_| std::future::pending());
        parts.spawn("the agent", |_| async { Err(anyhow!("the disk is full")) });
        let error = parts.run().await.expect_err("one failed");
        assert_eq!(format!("{error:#}"), "the agent ended: the disk is full");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_is_given_up_in_the_end() {
        let cancel = CancellationToken::new();
        let longest = Duration::from_secs(2);
        let mut parts = Parts::new(cancel.clone()).that_end_within(longest);
        parts.spawn("the deaf one", |_| std::future::pending());
        let asked = tokio::time::Instant::now();
        cancel.cancel();
        parts.run().await.expect("it was asked to end");
        assert!(asked.elapsed() < longest + Duration::from_millis(100));
    }
}
