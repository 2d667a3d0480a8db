//! The thin shell around the machine: it owns the ports and what runs, turns effects into tasks and their ends into
//! events. It decides nothing.
//!
//! What a task does with a port stands in `calls.rs`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use holdfast_domain::{DeviceId, SensorId};
use holdfast_ports::{
    clock::{Clock, Entropy},
    hub_link::Polled,
    ledger::{Identity, TurnedAway},
    load::MachineLoad,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::{Calls, Done, Handle},
    local::Asked,
    machine::{CommandEffect, CommandEvent, Effect, Event, Machine, Now},
    status::AgentStatus,
};

/// How long commands that were begun may take to come to their end when the agent ends: a write, its settle time, the
/// read-back, and the report. Short of what supervisors wait before they kill.
const FINISH_LIMIT: Duration = Duration::from_secs(8);

/// An agent at work.
pub(crate) struct Shell {
    machine: Machine,
    calls: Calls,
    identity: Identity,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    began: Instant,
    /// Calls that may be dropped at the end: what they ask for is asked again at the next start.
    asking: JoinSet<Done>,
    /// Calls that must come to their end.
    acting: JoinSet<Done>,
    /// What adapters keep, with the number of its start. What is being stopped is with its call.
    running: BTreeMap<SensorId, (u64, Handle)>,
    /// What somebody on site asks.
    local: OwnedMutexGuard<mpsc::Receiver<Asked>>,
    /// Who waits for what came of an order, by its number.
    orders: BTreeMap<u64, oneshot::Sender<Result<(), String>>>,
    last_order: u64,
    /// How busy the machine is, and when that is asked next.
    load: Option<Arc<dyn MachineLoad>>,
    load_at: Instant,
}

/// How often the machine's load is looked at: what the system says of it is a mean of some seconds.
const LOAD_EACH: Duration = Duration::from_secs(10);

enum Input {
    Cancelled,
    Asked(Asked),
    Done(Done),
    Health,
    Load,
    Tick,
}

impl Shell {
    /// A shell that began to count its time at `began`, around a machine that was not told anything yet.
    pub(crate) fn new(
        machine: Machine,
        calls: Calls,
        identity: Identity,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        began: Instant,
        local: OwnedMutexGuard<mpsc::Receiver<Asked>>,
    ) -> Self {
        let (asking, acting) = (JoinSet::new(), JoinSet::new());
        Self {
            machine,
            calls,
            identity,
            clock,
            entropy,
            began,
            asking,
            acting,
            running: BTreeMap::new(),
            local,
            orders: BTreeMap::new(),
            last_order: 0,
            load: None,
            load_at: began,
        }
    }

    /// The same, which knows how busy the machine is.
    pub(crate) fn measuring(self, load: Option<Arc<dyn MachineLoad>>) -> Self {
        Self { load, ..self }
    }

    /// Runs until `cancel`, then stops what runs, within `stop_limit`.
    pub(crate) async fn run(
        mut self,
        cancel: &CancellationToken,
        status: &watch::Sender<Option<Arc<AgentStatus>>>,
        stop_limit: Duration,
    ) {
        let mut events = VecDeque::from([Event::Tick]);
        loop {
            if self.work_off(&mut events) {
                self.publish(status);
            }
            match self.next(cancel).await {
                Input::Cancelled => break,
                input => self.take(input, &mut events),
            }
        }
        self.finish_what_was_begun().await;
        self.shut_down(stop_limit).await;
    }

    /// Tells the machine what happened, and starts what it wants done. May what it knows of itself have changed? By what
    /// outputs show, and by writing to them, it does not: a value loop costs no comparison of all sensors.
    fn work_off(&mut self, events: &mut VecDeque<Event>) -> bool {
        let mut may_be_news = false;
        while let Some(event) = events.pop_front() {
            let (is_of_values, is_tick) = (event.is_of_values(), matches!(event, Event::Tick));
            let effects = self
                .machine
                .handle(event, self.now(), self.entropy.jitter());
            let leads_to_values = effects.iter().all(Effect::is_of_values);
            let only_looks = is_tick && !effects.is_empty();
            may_be_news |= !(leads_to_values && (is_of_values || only_looks));
            events.extend(
                effects
                    .into_iter()
                    .filter_map(|effect| self.carry_out(effect)),
            );
        }
        may_be_news
    }

    fn take(&mut self, input: Input, events: &mut VecDeque<Event>) {
        match input {
            Input::Cancelled => {}
            Input::Done(done) => self.take_done(done, events),
            Input::Asked(asked) => events.extend(self.take_asked(asked)),
            Input::Health => events.extend(self.calls.health.take()),
            Input::Load => {
                self.load_at = Instant::now() + LOAD_EACH;
                let pressure = self.load.as_ref().and_then(|load| load.pressure());
                events.push_back(Event::Pressure(pressure));
            }
            Input::Tick => events.push_back(Event::Tick),
        }
    }

    /// Commands that were begun are carried through and told: an orderly end leaves nobody in doubt.
    async fn finish_what_was_begun(&mut self) {
        self.machine.wind_down();
        let never = CancellationToken::new();
        let finished = async {
            let mut events = VecDeque::from([Event::Tick]);
            loop {
                self.work_off(&mut events);
                if self.machine.is_at_rest() {
                    return;
                }
                let input = self.next(&never).await;
                self.take(input, &mut events);
            }
        };
        if tokio::time::timeout(FINISH_LIMIT, finished).await.is_err() {
            tracing::warn!(
                limit_s = FINISH_LIMIT.as_secs(),
                "a command that was begun did not come to its end in time: it is told as unknown after the next start"
            );
        }
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Input {
        let wake = self
            .machine
            .next_wake()
            .map(|ms| self.began + Duration::from_millis(ms));
        let tick = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let load = async {
            match &self.load {
                Some(_) => tokio::time::sleep_until(self.load_at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Input::Cancelled,
            Some(done) = self.acting.join_next() => of_task(done),
            Some(done) = self.asking.join_next() => of_task(done),
            () = self.calls.health.rings() => Input::Health,
            Some(asked) = self.local.recv() => Input::Asked(asked),
            () = tick => Input::Tick,
            () = load => Input::Load,
        }
    }

    /// Answers what can be answered at once; an order becomes an event.
    fn take_asked(&mut self, asked: Asked) -> Option<Event> {
        match asked {
            Asked::Look(answer) => {
                // Who does not wait any more needs no answer.
                let _ = answer.send(self.machine.loop_view(self.now()));
                None
            }
            Asked::Order(order, answer) => {
                tracing::warn!(?order, "ordered on site");
                self.orders.retain(|_, answer| !answer.is_closed());
                self.last_order += 1;
                self.orders.insert(self.last_order, answer);
                let number = self.last_order;
                Some(Event::Ordered { number, order })
            }
        }
    }

    /// Takes the end of a call, and of all others that have ended by now. What adapters said before comes first.
    fn take_done(&mut self, first: Done, events: &mut VecDeque<Event>) {
        let mut ended = vec![first];
        ended.extend(std::iter::from_fn(|| self.acting.try_join_next()).filter_map(Result::ok));
        ended.extend(std::iter::from_fn(|| self.asking.try_join_next()).filter_map(Result::ok));
        events.extend(self.calls.health.take());
        for done in ended {
            events.extend(self.event_of(done));
        }
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.began.elapsed().as_millis())
            .expect("an agent runs for less than 500 million years");
        Now {
            ms,
            wall: self.clock.now(),
        }
    }

    /// Starts what an effect asks for; gives the answer to what can be answered at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let calls = self.calls.clone();
        match effect {
            Effect::Poll { held, wait_ms } => drop(self.asking.spawn(calls.poll(held, wait_ms))),
            Effect::Report(report) => drop(self.asking.spawn(calls.report(*report))),
            Effect::Start {
                item,
                generation,
                was_established,
            } => {
                drop(
                    self.asking
                        .spawn(calls.start(item, generation, was_established)),
                );
            }
            Effect::Update { item, generation } => {
                let sensor = item.sensor.id();
                let Some((_, handle)) = self.running.get(&sensor).cloned() else {
                    let error = "the adapter does not keep this sensor".to_string();
                    let result = Err(crate::machine::UpdateFailure { error, lost: true });
                    return Some(Event::Updated {
                        sensor,
                        generation,
                        result,
                    });
                };
                drop(self.asking.spawn(calls.update(handle, item, generation)));
            }
            Effect::Stop { sensor, generation } => {
                let handle = self.running.remove(&sensor).map(|(_, handle)| handle);
                drop(self.acting.spawn(calls.stop(handle, sensor, generation)));
            }
            Effect::Hold(target) => drop(self.acting.spawn(calls.hold(target))),
            Effect::NoteWorked(version) => drop(self.acting.spawn(calls.note_worked(version))),
            Effect::KeepEstablished(keep) => drop(self.acting.spawn(calls.keep_established(keep))),
            Effect::NoteTurnedAway(how) => {
                say_turned_away(self.identity.device, how);
                drop(self.acting.spawn(calls.note_turned_away(how)));
            }
            Effect::ReadPoints {
                sensor,
                generation,
                points,
                asked_at,
            } => {
                let handle = self.handle(sensor, generation);
                let read = calls.read(handle, sensor, points, asked_at);
                drop(self.asking.spawn(read));
            }
            Effect::WritePoint {
                sensor,
                generation,
                point,
                value,
            } => {
                let handle = self.handle(sensor, generation);
                drop(self.acting.spawn(calls.write(handle, point, value)));
            }
            Effect::Answer { number, result } => {
                let result = logged("an order on site was not carried out", result);
                if let Some(answer) = self.orders.remove(&number) {
                    let _ = answer.send(result);
                }
            }
            Effect::Remember(memory) => drop(self.acting.spawn(calls.remember(memory))),
            Effect::BookWrites { point, booked } => {
                drop(self.acting.spawn(calls.book_writes(point, booked)));
            }
            Effect::Command(effect) => self.carry_out_of_command(effect),
            Effect::Reincarnate => {
                drop(self.acting.spawn(calls.reincarnate(self.identity.clone())));
            }
            Effect::Forget(sensor) => calls.readings.forget(sensor),
            Effect::Verify => {
                let alive = self
                    .running
                    .iter()
                    .map(|(id, (generation, _))| (*id, *generation))
                    .collect();
                return Some(Event::Verified(alive));
            }
        }
        None
    }

    fn carry_out_of_command(&mut self, effect: CommandEffect) {
        let calls = self.calls.clone();
        match effect {
            CommandEffect::Begin { id, booking } => {
                drop(self.acting.spawn(calls.begin_command(id, booking)));
            }
            CommandEffect::Read {
                id,
                sensor,
                generation,
                points,
                asked_at,
            } => {
                let handle = self.handle(sensor, generation);
                let read = calls.read_for_command(id, handle, sensor, points, asked_at);
                drop(self.asking.spawn(read));
            }
            CommandEffect::Write {
                id,
                sensor,
                generation,
                point,
                value,
                begin_within_ms,
            } => {
                let handle = self.handle(sensor, generation);
                let begin_by = Instant::now() + Duration::from_millis(begin_within_ms);
                let write = calls.write_for_command(id, handle, point, value, begin_by);
                drop(self.acting.spawn(write));
            }
            CommandEffect::End(report) => drop(self.acting.spawn(calls.end_command(report))),
        }
    }

    /// What an adapter keeps of this very start of a sensor.
    fn handle(&self, sensor: SensorId, generation: u64) -> Option<Handle> {
        let (started, handle) = self.running.get(&sensor)?;
        (*started == generation).then(|| handle.clone())
    }

    /// Keeps what a call brought and says what it means. Here, once, is said to the log what went wrong.
    fn event_of(&mut self, done: Done) -> Option<Event> {
        Some(match done {
            Done::Polled(mut result, at) => {
                let _ = result.as_ref().inspect_err(|error| tracing::debug!(%error, "no target from the hub"));
                let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
                match &mut result {
                    Ok(Polled::Target(target)) => target.age(since),
                    Ok(Polled::Changes(changes)) => changes.age(since),
                    Ok(Polled::Unchanged) | Err(_) => {}
                }
                Event::Polled(result)
            }
            Done::Command(event) => Event::Command(told_of_command(event)),
            Done::Reported(result) => {
                let _ = result.as_ref().inspect_err(|error| tracing::debug!(%error, "the report was not answered"));
                Event::Reported(result)
            }
            Done::Held(result) => Event::Held(logged("could not keep the new target", result)),
            Done::WorkNoted { version, result } => {
                let result = logged("could not note the version worked through", result);
                Event::WorkNoted { version, result }
            }
            Done::EstablishedKept(result) => {
                let _ = logged("could not forget sensors that are gone", result);
                return None;
            }
            Done::TurnedAwayNoted(result) => {
                Event::TurnedAwayNoted(logged("could not note what the hub says of this device", result))
            }
            Done::Started { sensor, generation, result } => {
                let result = result.map(|(handle, noted)| {
                    self.running.insert(sensor, (generation, handle));
                    noted
                });
                let _ = result.as_ref().inspect_err(|error| tracing::info!(%sensor, error, "could not start a sensor"));
                Event::Started { sensor, generation, result }
            }
            Done::Updated { sensor, generation, result } => {
                if result.as_ref().is_err_and(|failure| failure.lost) {
                    self.running.remove(&sensor);
                }
                let _ = result.as_ref().inspect_err(|failure| {
                    tracing::info!(%sensor, error = failure.error, "could not update a sensor");
                });
                Event::Updated { sensor, generation, result }
            }
            Done::Stopped { sensor, generation, result } => {
                let _ = logged("could not stop a sensor cleanly", result);
                Event::Stopped { sensor, generation }
            }
            Done::Read(read) => Event::Read(read),
            Done::Wrote { point, outcome } => {
                tracing::info!(%point, ?outcome, "wrote to a point");
                Event::Wrote { point, outcome }
            }
            Done::Booked { point, booked, result } => {
                let result = logged("could not book writes of a point", result);
                Event::Booked { point, booked, result }
            }
            Done::Remembered(result) => {
                Event::Remembered(logged("could not note how the value loop stands", result))
            }
            Done::Reincarnated(result) => Event::Reincarnated(result.map(|(identity, boot)| {
                let incarnation = identity.incarnation;
                tracing::warn!(%incarnation, "the hub knows a later life of this disk: going on as a new one");
                self.identity = identity;
                (incarnation, boot)
            })),
        })
    }

    fn publish(&self, status: &watch::Sender<Option<Arc<AgentStatus>>>) {
        status.send_if_modified(|before| {
            let is_known = |before: &AgentStatus| self.machine.is_as(before);
            let is_new = !before.as_deref().is_some_and(is_known);
            if is_new {
                *before = Some(Arc::new(self.machine.status()));
            }
            is_new
        });
    }

    /// Drops what only asks, lets what acts come to its end, and stops every sensor.
    async fn shut_down(mut self, limit: Duration) {
        self.asking.shutdown().await;
        for (sensor, (generation, handle)) in std::mem::take(&mut self.running) {
            drop(
                self.acting
                    .spawn(self.calls.clone().stop(Some(handle), sensor, generation)),
            );
        }
        let ended = async { while self.acting.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!(
                limit_s = limit.as_secs(),
                "some sensors did not stop in time: they are dropped"
            );
        }
    }
}

fn of_task(done: Result<Done, tokio::task::JoinError>) -> Input {
    Input::Done(done.expect("a call catches its panics, and none is aborted while the agent runs"))
}

fn say_turned_away(device: DeviceId, how: Option<TurnedAway>) {
    const SO: &str = "nothing may be written to instruments any more; reading goes on";
    match how {
        Some(TurnedAway::Deleted) => {
            tracing::warn!(%device, "the hub says that this device was deleted: {SO}");
        }
        Some(TurnedAway::Revoked) => {
            tracing::warn!(%device, "the hub says that the access of this device's agent was revoked: {SO}");
        }
        None => tracing::info!(%device, "the hub knows this device again"),
    }
}

fn told_of_command(event: CommandEvent) -> CommandEvent {
    match event {
        CommandEvent::Begun { id, result } => {
            let result = result.inspect_err(
                |error| tracing::error!(%id, error, "could not note that a command is begun"),
            );
            CommandEvent::Begun { id, result }
        }
        CommandEvent::Ended { id, result } => {
            let result = result.inspect_err(
                |error| tracing::error!(%id, error, "could not note what became of a command"),
            );
            CommandEvent::Ended { id, result }
        }
        CommandEvent::Wrote { id, outcome } => {
            tracing::info!(%id, ?outcome, "wrote for a command");
            CommandEvent::Wrote { id, outcome }
        }
        read @ CommandEvent::Read { .. } => read,
    }
}

fn logged(what: &str, result: Result<(), String>) -> Result<(), String> {
    result.inspect_err(|error| tracing::error!(error, "{what}"))
}
