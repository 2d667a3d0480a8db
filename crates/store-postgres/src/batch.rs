//! Commits of many devices in one statement. Whoever finds the lane free is committed at once; who comes while it is busy
//! waits, and goes with all others that wait when it is free. So nothing is held back to fill a batch, and under load the
//! cost of a statement and of a durable commit is shared: starting a statement over these tables costs the server more
//! than what it does for one device. For the same reason there is one lane: two make the batches smaller.
//!
//! Nobody suffers for another: where the server refuses a batch (one change is bad), or some row is held by someone else
//! for longer than [`LOCK_TIMEOUT`], each change goes on alone, on a connection of the common pool.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use holdfast_domain::{DeviceId, state::Change};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    commit::{CommitFault, apply},
    parts::Parts,
};

/// The longest wait for a row within a batch: longer than any edit holds one, and short enough for all who wait with it.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// The most changes of one statement. More would save little and hold rows longer.
const MOST: usize = 64;

/// The most rows and events of a statement that takes more than one change.
const MOST_LINES: usize = 1_024;

/// The most changes that wait; who comes then waits to get in.
const QUEUE: usize = 1_024;

/// The way in.
#[derive(Debug)]
pub(crate) struct Batches {
    queue: mpsc::Sender<Job>,
    lane: PgPool,
}

#[derive(Debug)]
struct Job {
    device: DeviceId,
    /// Boxed: it is large, and is moved around here.
    parts: Box<Parts>,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<(), CommitFault>>;

impl Job {
    fn lines(&self) -> usize {
        self.parts.rows.device_uuid.len() + self.parts.events.device_uuid.len()
    }
}

impl Batches {
    /// Opens the lane, which has a connection of its own (`lane` is a pool of one) and ends with the last way in.
    pub(crate) fn over(lane: PgPool, common: PgPool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(run(
            Pools {
                lane: lane.clone(),
                common,
            },
            jobs,
        ));
        Self { queue, lane }
    }

    /// Waits for what is under way; later commits fail.
    pub(crate) async fn close(&self) {
        self.lane.close().await;
    }

    /// Commits a change that has neither target nor record. Dropping this leaves all or nothing of it.
    pub(crate) async fn commit(&self, change: &Change) -> Result<(), CommitFault> {
        let (answer, answered) = oneshot::channel();
        let parts = Box::new(Parts::of(change)?);
        let job = Job {
            device: change.device,
            parts,
            answer,
        };
        let closed = || CommitFault::Other("the store is closed".into());
        self.queue.send(job).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

struct Pools {
    lane: PgPool,
    common: PgPool,
}

async fn run(pools: Pools, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        if waiting.is_empty() && jobs.recv_many(&mut waiting, MOST).await == 0 {
            return;
        }
        let batch = next_batch(&mut waiting);
        commit_together(&pools, batch).await;
    }
}

/// Takes those that fit into one statement, in the order of devices, and leaves the others.
fn next_batch(waiting: &mut Vec<Job>) -> Vec<Job> {
    let mut devices = BTreeSet::new();
    let mut lines = 0;
    let (mut batch, left): (Vec<Job>, Vec<Job>) = waiting.drain(..).partition(|job| {
        let is_first = devices.is_empty();
        lines += job.lines();
        (is_first || lines <= MOST_LINES) && devices.insert(job.device)
    });
    *waiting = left;
    batch.sort_by_key(|job| job.device);
    batch
}

async fn commit_together(pools: &Pools, batch: Vec<Job>) {
    let mut all = Parts::default();
    let mut answers = Vec::with_capacity(batch.len());
    for Job {
        device,
        parts,
        answer,
    } in batch
    {
        all.append(*parts);
        answers.push((device, answer));
    }
    // Who has gone needs no answer: that it can't be sent is no error.
    match apply(&pools.lane, &all).await {
        Ok(won) => {
            for (device, answer) in answers {
                let _ = answer.send(outcome(device, &won));
            }
        }
        Err(sqlx::Error::Database(_)) => {
            for (device, answer) in answers {
                tokio::spawn(commit_alone(
                    pools.common.clone(),
                    device,
                    all.of_device(device),
                    answer,
                ));
            }
        }
        // The server can't be reached: trying once more for each would only take longer.
        Err(error) => {
            let error = Arc::new(error);
            for (_, answer) in answers {
                let _ = answer.send(Err(CommitFault::Other(Box::new(error.clone()))));
            }
        }
    }
}

async fn commit_alone(common: PgPool, device: DeviceId, parts: Parts, answer: Answer) {
    let _ = answer.send(match apply(&common, &parts).await {
        Ok(won) => outcome(device, &won),
        Err(error) => Err(error.into()),
    });
}

fn outcome(device: DeviceId, won: &[Uuid]) -> Result<(), CommitFault> {
    if won.contains(&device.uuid()) {
        Ok(())
    } else {
        Err(CommitFault::Conflict)
    }
}
