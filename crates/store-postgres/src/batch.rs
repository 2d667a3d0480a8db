//! Commits of many devices in one statement. Whoever finds the lane free is committed at once; who comes while it is busy
//! waits, and goes with all others that wait when it is free. So nothing is held back to fill a batch, and under load the
//! cost of a statement and of a durable commit is shared: starting a statement over these tables costs the server more
//! than what it does for one device. For the same reason there is one lane: two make the batches smaller.
//!
//! Nobody suffers for another: where the server refuses a batch (one change is bad, or it takes longer than
//! [`STATEMENT_TIMEOUT`]), or some row is held by someone else for longer than [`LOCK_TIMEOUT`], each change goes on alone,
//! on a connection of the common pool.
//!
//! Nor for a server that stands still: a batch without an answer for [`ANSWER_TIMEOUT`] fails, and the next one goes over
//! another connection.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use holdfast_domain::{DeviceId, state::Change};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    PostgresOptions,
    bounds::{come_back, within},
    commit::{CommitFault, apply},
    connect::milliseconds,
    parts::Parts,
    pool::{Pool, TRY_AFTER_IDLE},
    wakeups::Life,
};

/// The longest wait for a row within a batch: longer than any edit holds one, and short enough for all who wait with it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest that a batch may take before the server ends it: all others wait behind it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest wait for the answer to a batch (the store's own, where that is shorter): somewhat longer than the server's
/// bound.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The lane's connection is made anew after so long, as those of a pool are: what the server keeps for one only grows.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

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
    is_open: watch::Sender<bool>,
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
    /// Opens the lane, which ends with the last way in. Changes that go alone are given up after `answer_timeout`.
    pub(crate) fn over(lane: Lane, common: Pool, answer_timeout: Duration) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (is_open, opened) = watch::channel(true);
        let alone = Alone {
            pool: common,
            answer_timeout,
        };
        tokio::spawn(run(lane, alone, jobs, opened));
        Self { queue, is_open }
    }

    /// Waits for what is under way; later commits fail.
    pub(crate) async fn close(&self) {
        self.is_open.send_replace(false);
        self.queue.closed().await;
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

/// The lane's connection, which is opened when there is something to do.
pub(crate) struct Lane {
    server: PgConnectOptions,
    connect_timeout: Duration,
    answer_timeout: Duration,
    /// Does the server give signs of life at all?
    life: Arc<Life>,
    open: Option<Open>,
}

struct Open {
    connection: PgConnection,
    since: Instant,
    used: Instant,
}

impl Lane {
    pub(crate) fn new(
        server: PgConnectOptions,
        options: &PostgresOptions,
        life: Arc<Life>,
    ) -> Self {
        let server = server.options([
            // Of settings given twice the later one counts.
            ("lock_timeout", milliseconds(LOCK_TIMEOUT)),
            ("statement_timeout", milliseconds(STATEMENT_TIMEOUT)),
        ]);
        Self {
            server,
            connect_timeout: options.acquire_timeout,
            answer_timeout: options.answer_timeout.min(ANSWER_TIMEOUT),
            life,
            open: None,
        }
    }

    /// Applies a batch. Whatever fails but by the server's word ends the connection, so that the next batch has another.
    async fn apply(&mut self, parts: &Parts) -> Result<Vec<Uuid>, sqlx::Error> {
        // Taken out: dropping this must not leave one that stands in the middle of something.
        let mut open = match self.open.take() {
            Some(open) => match self.still_good(open).await {
                Some(open) => open,
                None => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let applied = within(self.answer_timeout, apply(&mut open.connection, parts)).await;
        if matches!(applied, Ok(_) | Err(sqlx::Error::Database(_))) {
            open.used = Instant::now();
            self.open = Some(open);
        }
        applied
    }

    async fn still_good(&self, mut open: Open) -> Option<Open> {
        if open.since.elapsed() >= LIFETIME {
            return None;
        }
        if open.used.elapsed() >= TRY_AFTER_IDLE || !self.life.is_alive() {
            come_back(&mut open.connection).await.ok()?;
        }
        Some(open)
    }

    async fn connect(&self) -> Result<Open, sqlx::Error> {
        let connection = within(self.connect_timeout, self.server.connect()).await?;
        let now = Instant::now();
        Ok(Open {
            connection,
            since: now,
            used: now,
        })
    }
}

/// How changes go that do not go with others.
#[derive(Clone)]
struct Alone {
    pool: Pool,
    answer_timeout: Duration,
}

async fn run(
    mut lane: Lane,
    alone: Alone,
    mut jobs: mpsc::Receiver<Job>,
    mut is_open: watch::Receiver<bool>,
) {
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        if waiting.is_empty() {
            let came = tokio::select! {
                biased;
                _ = is_open.wait_for(|is_open| !*is_open) => 0,
                came = jobs.recv_many(&mut waiting, MOST) => came,
            };
            if came == 0 {
                return;
            }
        }
        let batch = next_batch(&mut waiting);
        if !batch.is_empty() {
            commit_together(&mut lane, &alone, batch).await;
        }
        if !*is_open.borrow() {
            return;
        }
    }
}

/// Takes those that fit into one statement, in the order of devices, and leaves the others. Whoever does not wait any more
/// is passed over.
fn next_batch(waiting: &mut Vec<Job>) -> Vec<Job> {
    waiting.retain(|job| !job.answer.is_closed());
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

async fn commit_together(lane: &mut Lane, alone: &Alone, batch: Vec<Job>) {
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
    match lane.apply(&all).await {
        Ok(won) => {
            for (device, answer) in answers {
                let _ = answer.send(outcome(device, &won));
            }
        }
        Err(sqlx::Error::Database(_)) => {
            for (device, answer) in answers {
                tokio::spawn(commit_alone(
                    alone.clone(),
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

async fn commit_alone(alone: Alone, device: DeviceId, parts: Parts, answer: Answer) {
    let applied = within(alone.answer_timeout, async {
        apply(&mut *alone.pool.lend().await?, &parts).await
    })
    .await;
    let _ = answer.send(match applied {
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
