//! The thread that owns the database: takes all writes that wait, commits them together, answers each.
//!
//! Order is kept. A write whose caller went away is carried out all the same. Bounded by the callers: each waits for its
//! answer, and the agent has at most a few writes for each of its sensors.
//!
//! After an error of the disk a database refuses everything until it is opened again. So it is closed at an error, and the
//! next write opens it anew, once: as often as somebody wants something of it, never in a loop. What was acknowledged is
//! in the file; what failed may be, as with any write whose answer was lost.

use std::{sync::mpsc, thread::JoinHandle};

use holdfast_domain::in_words;
use redb::{Database, Durability};
use tokio::sync::oneshot;

use crate::{
    open::OpenError,
    tables::{self, Raw, Write},
};

/// Most writes of one commit: bounds how long the first of them waits for the others.
const MOST_IN_A_COMMIT: usize = 256;

struct Job {
    write: Write,
    done: oneshot::Sender<Result<Raw, String>>,
}

/// A running writer. Dropping it waits until what was asked for is written and the file is closed.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, with the database open. `reopen` opens it again after an error.
    pub(crate) fn start(
        database: Database,
        reopen: impl Fn() -> Result<Database, OpenError> + Send + 'static,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || work(database, &reopen, &waiting));
        Self {
            jobs: Some(jobs),
            thread: Some(thread.expect("the system gives a thread")),
        }
    }

    /// Carries out one write; durable when this returns.
    pub(crate) async fn write(&self, write: Write) -> Result<Raw, String> {
        const GONE: &str =
            "the ledger's thread has ended: the file is damaged, or the database has a fault";
        let (done, answer) = oneshot::channel();
        let jobs = self
            .jobs
            .as_ref()
            .expect("there is a sender until the writer is dropped");
        jobs.send(Job { write, done })
            .map_err(|_| GONE.to_string())?;
        answer.await.map_err(|_| GONE.to_string())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was answered to whoever waited.
            let _ = thread.join();
        }
    }
}

fn work(
    database: Database,
    reopen: &dyn Fn() -> Result<Database, OpenError>,
    waiting: &mpsc::Receiver<Job>,
) {
    // `None`: closed after an error.
    let mut kept = Some(database);
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        jobs.extend(waiting.try_iter().take(MOST_IN_A_COMMIT - 1));
        let database = match kept.take() {
            Some(database) => Ok(database),
            None => reopen().map_err(|error| in_words(&error)),
        };
        let committed = database.and_then(|database| {
            let answers = commit(&database, &jobs).map_err(|error| error.to_string())?;
            kept = Some(database);
            Ok(answers)
        });
        match committed {
            Ok(answers) => {
                for (job, answer) in jobs.into_iter().zip(answers) {
                    let _ = job.done.send(Ok(answer));
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.done.send(Err(error.clone()));
                }
            }
        }
    }
}

fn commit(database: &Database, jobs: &[Job]) -> Result<Vec<Raw>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let answers: Result<Vec<Raw>, redb::Error> = jobs
        .iter()
        .map(|job| tables::apply(&transaction, &job.write))
        .collect();
    let answers = answers?;
    transaction.commit()?;
    Ok(answers)
}
