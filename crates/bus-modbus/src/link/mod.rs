//! One task for each link: carries out what the desk decides, and lets commands in while it waits or asks.
//!
//! Read next: `desk.rs` (the decisions; whose turn it is stands in `order.rs` and `queue.rs`, how often
//! in `pace.rs`), `wire/mod.rs` (the connection), `registry.rs` (which links there are).

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
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use self::desk::{Command, Key, TASK_FAILED};
pub(crate) use self::errand::unread;
pub(crate) use self::registry::{Link, Registry};
pub(crate) use self::unit::NewUnit;

use self::desk::{Desk, Next};
use self::wire::Wire;

/// Runs a link until the last of its handles is gone. If that panics, in a sink perhaps, its units are offline and say so.
async fn run(mut desk: Desk, wire: Wire, commands: UnboundedReceiver<Command>) {
    if AssertUnwindSafe(work(&mut desk, wire, commands))
        .catch_unwind()
        .await
        .is_err()
    {
        desk.task_failed();
    }
}

async fn work(desk: &mut Desk, mut wire: Wire, mut commands: UnboundedReceiver<Command>) {
    let in_flight = if wire.outlives_its_asker() {
        Work::ComesToItsEnd
    } else {
        Work::IsDropped
    };
    loop {
        let ended = match desk.next(Instant::now()) {
            Next::Wait(until) => meanwhile(wait(until), Work::EndsWithCommand, desk, &mut commands)
                .await
                .map(|()| {}),
            Next::Connect => meanwhile(wire.open(), Work::IsDropped, desk, &mut commands)
                .await
                .map(|opened| desk.connected(opened, Instant::now())),
            Next::Ask(ask) => meanwhile(wire.ask(&ask), in_flight, desk, &mut commands)
                .await
                .map(|result| {
                    if !desk.answered(result, Instant::now()) {
                        wire.close();
                    }
                }),
        };
        match ended {
            Ended::Done(()) | Ended::Interrupted => {}
            Ended::Deserted(done) => {
                wire.close();
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

/// What becomes of what the task waits for.
#[derive(Clone, Copy)]
enum Work {
    /// A command ends it.
    EndsWithCommand,
    /// If nobody is left it is dropped.
    IsDropped,
    /// If nobody is left it may still go on for [`AFTERLIFE`].
    ComesToItsEnd,
}

/// How long a request may be under way when nobody waits for it any more: most instruments answer in far less, and whoever
/// stops a sensor waits for this.
const AFTERLIFE: Duration = Duration::from_millis(500);

/// Waits for `work`, and carries out the commands that come meanwhile.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    fate: Work,
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
                    if matches!(fate, Work::ComesToItsEnd) {
                        // What comes of it matters to nobody.
                        let _ = tokio::time::timeout(AFTERLIFE, work).await;
                    }
                    return Ended::Deserted(done);
                }
                acknowledge(done);
                if matches!(fate, Work::EndsWithCommand) {
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
