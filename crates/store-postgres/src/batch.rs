//! Commits of many devices in one statement. Whoever finds a lane free is committed at once; who comes while all are busy
//! waits, and goes with all others that wait when one is free. So nothing is held back to fill a batch, and under load
//! the cost of a statement and of a durable commit is shared: starting a statement over these tables costs the server
//! more than what it does for one device.
//!
//! A batch that the server refuses is committed change by change, so that a bad one fails alone.

use std::{collections::BTreeSet, sync::Arc};

use holdfast_domain::{DeviceId, state::Change};
use sqlx::PgPool;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use crate::{
    commit::{CommitFault, apply},
    parts::Parts,
};

/// So many statements are under way at once: while one waits for the disk, others are worked on. Each has a connection,
/// and no more: a server's process that has just run this statement runs it again several times faster than one that
/// must fetch all it needs into the processor's cache.
pub(crate) const LANES: u32 = 3;

/// The most changes of one statement. More would save little and hold rows longer.
const MOST: usize = 32;

/// The most rows and events of a statement that takes more than one change.
const MOST_LINES: usize = 512;

/// The most changes that wait; who comes then waits to get in.
const QUEUE: usize = 1_024;

/// The way in.
#[derive(Debug)]
pub(crate) struct Batches {
    queue: mpsc::Sender<Job>,
    lanes: PgPool,
}

#[derive(Debug)]
struct Job {
    device: DeviceId,
    /// Boxed: it is large, and is moved around here.
    parts: Box<Parts>,
    answer: oneshot::Sender<Result<(), CommitFault>>,
}

impl Job {
    fn lines(&self) -> usize {
        self.parts.rows.device_uuid.len() + self.parts.events.device_uuid.len()
    }
}

impl Batches {
    /// Opens the lanes over connections of their own; they end with the last way in.
    pub(crate) fn over(lanes: PgPool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..LANES {
            tokio::spawn(lane(lanes.clone(), jobs.clone()));
        }
        Self { queue, lanes }
    }

    /// Waits for what is under way; later commits fail.
    pub(crate) async fn close(&self) {
        self.lanes.close().await;
    }

    /// Commits a change that has neither target nor record. Dropping this leaves all or nothing of it.
    pub(crate) async fn commit(&self, change: &Change) -> Result<(), CommitFault> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            device: change.device,
            parts: Box::new(Parts::of(change)?),
            answer,
        };
        let closed = || CommitFault::Other("the store is closed".into());
        self.queue.send(job).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn lane(pool: PgPool, jobs: Arc<Mutex<mpsc::Receiver<Job>>>) {
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        if waiting.is_empty() && jobs.lock().await.recv_many(&mut waiting, MOST).await == 0 {
            return;
        }
        commit_together(&pool, next_batch(&mut waiting)).await;
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

async fn commit_together(pool: &PgPool, batch: Vec<Job>) {
    let mut all = Parts::default();
    let mut waiting = Vec::with_capacity(batch.len());
    for Job {
        device,
        parts,
        answer,
    } in batch
    {
        all.append(*parts);
        waiting.push((device, answer));
    }
    // Who has gone needs no answer: that it can't be sent is no error.
    match apply(pool, &all).await {
        Ok(won) => {
            for (device, answer) in waiting {
                let _ = answer.send(outcome(device, &won));
            }
        }
        Err(sqlx::Error::Database(refused)) => {
            let mut refused = (waiting.len() == 1).then_some(refused);
            for (device, answer) in waiting {
                let alone = match refused.take() {
                    Some(refused) => Err(sqlx::Error::Database(refused)),
                    None => apply(pool, &all.of_device(device)).await,
                };
                let _ = answer.send(match alone {
                    Ok(won) => outcome(device, &won),
                    Err(error) => Err(CommitFault::Other(error.into())),
                });
            }
        }
        // The server can't be reached: trying once more for each would only take longer.
        Err(error) => {
            let error = Arc::new(error);
            for (_, answer) in waiting {
                let _ = answer.send(Err(CommitFault::Other(Box::new(error.clone()))));
            }
        }
    }
}

fn outcome(device: DeviceId, won: &[Uuid]) -> Result<(), CommitFault> {
    if won.contains(&device.uuid()) {
        Ok(())
    } else {
        Err(CommitFault::Conflict)
    }
}
