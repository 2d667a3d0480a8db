//! What is under way: requests to the hub, writes to the disk, calls of adapters, and their answers.

use holdfast_domain::{Fingerprint, Report, SensorId, TargetState};
use holdfast_edge::machine::{Effect, Established, Event, UpdateFailure};
use holdfast_ports::{
    hub_link::{HubError, Polled, ReportAnswer},
    ledger::{Identity, TurnedAway},
};

use crate::{
    support::{DEVICE, ledger::Disk},
    world::World,
};

/// Something that arrives later.
pub(crate) enum Delivery {
    /// An event for one process of the agent.
    ToAgent { life: u64, event: Event },
    /// A poll at the hub, which waits until `deadline`.
    Poll {
        life: u64,
        held: Option<String>,
        deadline: u64,
        answered: bool,
    },
    /// A report at the hub; whether anybody hears the answer.
    Report {
        life: u64,
        report: Box<Report>,
        answered: bool,
    },
    /// A request for a new incarnation at the hub.
    Reincarnate { life: u64, answered: bool },
    /// A write that reaches the disk now, and the answer to it.
    Disk {
        life: u64,
        write: DiskWrite,
        answer: Option<Event>,
    },
    /// An adapter's call that ends now.
    Adapter { life: u64, effect: Effect },
}

/// A write to the ledger.
pub(crate) enum DiskWrite {
    Hold(TargetState),
    Worked(u64),
    Keep(Vec<SensorId>),
    Established(SensorId, Fingerprint),
    TurnedAway(Option<TurnedAway>),
}

impl DiskWrite {
    pub(crate) fn apply(self, disk: &mut Disk) {
        match self {
            Self::Hold(target) => disk.0.target = Some(target),
            Self::Worked(version) => disk.0.worked_version = version,
            Self::Keep(keep) => disk.keep_established(&keep),
            Self::TurnedAway(how) => disk.0.turned_away = how,
            Self::Established(sensor, fingerprint) => {
                disk.0.established.insert(sensor, fingerprint);
            }
        }
    }
}

fn away() -> HubError {
    HubError::Unreachable("connection refused".into())
}

/// Sends an effect on its way.
pub(crate) fn send(world: &mut World, effect: Effect) {
    let life = world.life;
    match effect {
        Effect::Poll { held, wait_ms } => request(
            world,
            Event::Polled(Err(away())),
            |world, delay, answered| {
                let deadline = world.now + delay + wait_ms;
                world.deliver_in(
                    delay,
                    Delivery::Poll {
                        life,
                        held: held.clone(),
                        deadline,
                        answered,
                    },
                );
            },
        ),
        Effect::Report(report) => request(
            world,
            Event::Reported(Err(away())),
            |world, delay, answered| {
                world.deliver_in(
                    delay,
                    Delivery::Report {
                        life,
                        report: report.clone(),
                        answered,
                    },
                );
            },
        ),
        Effect::Reincarnate => request(
            world,
            Event::Reincarnated(Err(away())),
            |world, delay, answered| {
                world.deliver_in(delay, Delivery::Reincarnate { life, answered });
            },
        ),
        Effect::Hold(target) => {
            let failed = Event::Held(Err("no space left on device".into()));
            write(
                world,
                DiskWrite::Hold(TargetState::clone(&target)),
                Event::Held(Ok(())),
                failed,
            );
        }
        Effect::NoteWorked(version) => {
            let noted = |result| Event::WorkNoted { version, result };
            write(
                world,
                DiskWrite::Worked(version),
                noted(Ok(())),
                noted(Err("no space left on device".into())),
            );
        }
        Effect::ReadPoints { .. }
        | Effect::WritePoint { .. }
        | Effect::BookWrites { .. }
        | Effect::Remember(_)
        | Effect::Answer { .. } => {
            unreachable!(
                "nothing is set in this world, and what is not set is never read or written"
            )
        }
        Effect::KeepEstablished(keep) => {
            world.deliver_in(
                1,
                Delivery::Disk {
                    life,
                    write: DiskWrite::Keep(keep),
                    answer: None,
                },
            );
        }
        Effect::NoteTurnedAway(how) => {
            let noted = Event::TurnedAwayNoted;
            let failed = noted(Err("no space left on device".into()));
            write(world, DiskWrite::TurnedAway(how), noted(Ok(())), failed);
        }
        Effect::Forget(_) => {}
        Effect::Verify => {
            let alive = world
                .bus
                .iter()
                .map(|(id, (generation, _))| (*id, *generation))
                .collect();
            world.deliver_in(
                0,
                Delivery::ToAgent {
                    life,
                    event: Event::Verified(alive),
                },
            );
        }
        Effect::Start { .. } | Effect::Update { .. } | Effect::Stop { .. } => {
            world.bus_calls += 1;
            let delay = if world.goes_wrong(10) {
                world.random.below(10_000)
            } else {
                1 + world.random.below(50)
            };
            world.deliver_in(delay, Delivery::Adapter { life, effect });
        }
    }
}

/// A request: it may be lost on the way there or back, arrive twice, or after the agent has given up.
fn request(world: &mut World, failed: Event, arrive: impl Fn(&mut World, u64, bool)) {
    let life = world.life;
    let delay = 1 + world.random.below(20);
    match world.random.below(if world.storm { 100 } else { 1 }) {
        85..90 => {
            world.reached.lost += 1;
            world.deliver_in(
                delay + world.random.below(5_000),
                Delivery::ToAgent {
                    life,
                    event: failed,
                },
            );
        }
        90..94 => {
            world.reached.lost += 1;
            let late = world.random.below(30_000);
            arrive(world, late, false);
            world.deliver_in(
                delay + world.random.below(5_000),
                Delivery::ToAgent {
                    life,
                    event: failed,
                },
            );
        }
        94..97 => {
            // Something on the way repeats it, and passes on the first answer.
            world.reached.repeated += 1;
            arrive(world, delay, true);
            arrive(world, delay + world.random.below(2_000), false);
        }
        97..100 => {
            // The same, and the second answer is the one that comes back.
            world.reached.repeated += 1;
            arrive(world, delay, false);
            arrive(world, delay + 1, true);
        }
        _ => arrive(world, delay, true),
    }
}

fn write(world: &mut World, write: DiskWrite, done: Event, failed: Event) {
    let life = world.life;
    let delay = 1 + world.random.below(10);
    if world.goes_wrong(5) {
        world.deliver_in(
            delay,
            Delivery::ToAgent {
                life,
                event: failed,
            },
        );
    } else {
        world.deliver_in(
            delay,
            Delivery::Disk {
                life,
                write,
                answer: Some(done),
            },
        );
    }
}

impl Delivery {
    /// Is it still under way when the agent is killed?
    pub(crate) fn outlives_agent(&self) -> bool {
        matches!(
            self,
            Self::Poll { .. } | Self::Report { .. } | Self::Reincarnate { .. }
        )
    }

    /// What a hub answers that does not want to hear of this device, for the time being.
    fn refusal(&self) -> Option<(u64, Event)> {
        let refused = HubError::Revoked(DEVICE);
        match self {
            Self::Poll { life, .. } => Some((*life, Event::Polled(Err(refused)))),
            Self::Report { life, .. } => Some((*life, Event::Reported(Err(refused)))),
            Self::Reincarnate { life, .. } => Some((*life, Event::Reincarnated(Err(refused)))),
            Self::ToAgent { .. } | Self::Disk { .. } | Self::Adapter { .. } => None,
        }
    }

    fn is_answered(&self) -> bool {
        match self {
            Self::Poll { answered, .. }
            | Self::Report { answered, .. }
            | Self::Reincarnate { answered, .. } => *answered,
            Self::ToAgent { .. } | Self::Disk { .. } | Self::Adapter { .. } => true,
        }
    }

    pub(crate) fn arrive(self, world: &mut World) {
        if let Some((life, refused)) = self.refusal().filter(|_| world.refuses()) {
            world.reached.turned_away += 1;
            if self.is_answered() {
                answer(world, life, refused);
            }
            return;
        }
        match self {
            Self::ToAgent { life, event } => answer(world, life, event),
            Self::Poll {
                life,
                held,
                deadline,
                answered,
            } => match world.hub.poll(held.as_deref()) {
                Polled::Unchanged if world.now < deadline && life == world.life => {
                    world.deliver_in(
                        100,
                        Self::Poll {
                            life,
                            held,
                            deadline,
                            answered,
                        },
                    );
                }
                polled if answered => answer(world, life, Event::Polled(Ok(polled))),
                _ => {}
            },
            Self::Report {
                life,
                report,
                answered,
            } => {
                let now = world.wall().wall;
                let said = world.hub.report(&report, now);
                match said {
                    ReportAnswer::Late { .. } => world.reached.late += 1,
                    ReportAnswer::FullWanted => world.reached.full_wanted += 1,
                    ReportAnswer::Taken | ReportAnswer::OtherIncarnation => {}
                }
                if report.extra.contains_key("refusedVersion") {
                    world.reached.refusals += 1;
                }
                if answered {
                    answer(world, life, Event::Reported(Ok(said)));
                }
            }
            Self::Reincarnate { life, answered } => {
                let incarnation = world.hub.new_incarnation();
                if life == world.life && answered {
                    world.reached.new_lives += 1;
                    let identity = world.disk.0.identity.clone().expect("an identity");
                    world.disk.set_identity(&Identity {
                        incarnation,
                        ..identity
                    });
                    let boot = world.disk.begin_boot().boot;
                    answer(world, life, Event::Reincarnated(Ok((incarnation, boot))));
                }
            }
            Self::Disk {
                life,
                write,
                answer: said,
            } => {
                world.disk_writes += 1;
                write.apply(&mut world.disk);
                if let Some(event) = said {
                    answer(world, life, event);
                }
            }
            Self::Adapter { life, effect } => {
                if life == world.life {
                    adapter(world, effect);
                }
            }
        }
    }
}

fn answer(world: &mut World, life: u64, event: Event) {
    if life == world.life {
        world.tell(event);
    }
}

/// An adapter's call ends.
fn adapter(world: &mut World, effect: Effect) {
    match effect {
        Effect::Start {
            item,
            generation,
            was_established,
        } => {
            let sensor = item.sensor.id();
            let broken =
                world.goes_wrong(5) || (world.asleep.contains(&sensor) && !was_established);
            let result = if broken {
                world.reached.failed_starts += 1;
                Err("connect 10.0.0.5:502: connection refused".to_string())
            } else {
                world.bus.insert(sensor, (generation, item.sensor.clone()));
                world.say_health(sensor);
                if was_established {
                    Ok(Established::Noted)
                } else {
                    Ok(note(world, &item))
                }
            };
            world.tell(Event::Started {
                sensor,
                generation,
                result,
            });
        }
        Effect::Update { item, generation } => {
            let sensor = item.sensor.id();
            let result = if world.goes_wrong(10) {
                let lost = world.random.chance(50);
                if lost {
                    world.bus.remove(&sensor);
                }
                Err(UpdateFailure {
                    error: "the adapter has a fault".into(),
                    lost,
                })
            } else {
                world.bus.insert(sensor, (generation, item.sensor.clone()));
                Ok(note(world, &item))
            };
            world.tell(Event::Updated {
                sensor,
                generation,
                result,
            });
        }
        Effect::Stop { sensor, generation } => {
            world.bus.remove(&sensor);
            world.tell(Event::Stopped { sensor, generation });
        }
        other => unreachable!("{other:?} is not for an adapter"),
    }
}

fn note(world: &mut World, item: &holdfast_domain::Item) -> Established {
    if world.goes_wrong(5) {
        return Established::NotNoted;
    }
    world.disk_writes += 1;
    DiskWrite::Established(item.sensor.id(), item.sensor.fingerprint()).apply(&mut world.disk);
    Established::Noted
}
