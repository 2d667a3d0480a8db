//! One task for each link: carries out what the desk decides, and lets commands in while it waits or asks.
//!
//! Read next: `desk.rs` (the decisions; whose turn it is stands in `order.rs` and `queue.rs`, how often
//! in `pace.rs`), `wire.rs` (the connection), `registry.rs` (which links there are).

mod desk;
#[cfg(test)]
mod desk_tests;
mod errand;
#[cfg(test)]
mod errand_tests;
mod order;
mod pace;
mod queue;
mod registry;
#[cfg(test)]
mod stage;
mod unit;
mod wire;

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures::FutureExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use self::desk::{Command, Key, TASK_FAILED};
pub(crate) use self::errand::unread;
pub(crate) use self::registry::{Link, Registry};
pub(crate) use self::unit::NewUnit;

use self::desk::{Desk, Next};
use self::wire::Connection;
use crate::settings::Settings;

/// Runs a link until the last of its handles is gone. If that panics, in a sink perhaps, its units are offline and say so.
async fn run(mut desk: Desk, commands: UnboundedReceiver<Command>, settings: Settings) {
    if AssertUnwindSafe(work(&mut desk, commands, settings))
        .catch_unwind()
        .await
        .is_err()
    {
        desk.task_failed();
    }
}

async fn work(desk: &mut Desk, mut commands: UnboundedReceiver<Command>, settings: Settings) {
    let endpoint = desk.endpoint().clone();
    let mut connection: Option<Connection> = None;
    loop {
        let ended = match desk.next(Instant::now()) {
            Next::Wait(until) => meanwhile(wait(until), true, desk, &mut commands)
                .await
                .map(|()| {}),
            Next::Connect => {
                connection = None;
                let opening = Connection::open(&endpoint, settings.connect_deadline);
                meanwhile(opening, false, desk, &mut commands)
                    .await
                    .map(|opened| {
                        let opened = opened.map(|opened| connection = Some(opened));
                        desk.connected(opened, Instant::now());
                    })
            }
            Next::Ask(ask) => {
                let open = connection
                    .as_mut()
                    .expect("the desk asks only on a connection that was made");
                meanwhile(open.ask(&ask), false, desk, &mut commands)
                    .await
                    .map(|result| {
                        if !desk.answered(result, Instant::now()) {
                            connection = None;
                        }
                    })
            }
        };
        match ended {
            Ended::Done(()) | Ended::Interrupted => {}
            Ended::Deserted(done) => {
                connection = None;
                desk.closed();
                acknowledge(done);
            }
            Ended::Over => return,
        }
    }
}

/// How something that the task waited for ended.
enum Ended<T> {
    Done(T),
    /// A command came that may change what comes next.
    Interrupted,
    /// The last unit was removed; the answer is due when the connection is closed.
    Deserted(Option<oneshot::Sender<()>>),
    /// The last handle is gone.
    Over,
}

impl<T> Ended<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(done) => Ended::Done(f(done)),
            Self::Interrupted => Ended::Interrupted,
            Self::Deserted(done) => Ended::Deserted(done),
            Self::Over => Ended::Over,
        }
    }
}

/// Waits for `work`, and carries out the commands that come meanwhile. `yields`: a command ends the waiting. If nobody
/// is left, the work is dropped.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    yields: bool,
    desk: &mut Desk,
    commands: &mut UnboundedReceiver<Command>,
) -> Ended<T> {
    enum First<T> {
        Work(T),
        Command(Option<Command>),
    }
    let mut work = pin!(work);
    loop {
        let first = tokio::select! {
            biased;
            done = &mut work => First::Work(done),
            command = commands.recv() => First::Command(command),
        };
        match first {
            First::Work(done) => return Ended::Done(done),
            First::Command(None) => return Ended::Over,
            First::Command(Some(command)) => {
                let done = desk.obey(command, Instant::now());
                if desk.is_empty() {
                    return Ended::Deserted(done);
                }
                acknowledge(done);
                if yields {
                    return Ended::Interrupted;
                }
            }
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn acknowledge(done: Option<oneshot::Sender<()>>) {
    if let Some(done) = done {
        // Whoever asked may have stopped waiting.
        let _ = done.send(());
    }
}
