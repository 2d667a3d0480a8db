//! How what an agent asks for gets under way: requests that may get lost or come twice, writes to a disk that may be full,
//! calls of adapters that take their time. One place for each effect.

use holdfast_domain::{CommandId, PointId, PointValue, SensorId, hold::LoopMemory, row::Actor};
use holdfast_edge::{
    LocalOrder,
    machine::{CommandEffect, CommandEvent, Effect, Event},
};

use crate::{arrivals::Delivery, disk::DiskWrite, line::Call, world::World};

const FULL: &str = "no space left on device";

impl World {
    /// Sends an effect of an agent on its way.
    pub(crate) fn send(&mut self, agent: usize, effect: Effect) {
        self.counts(&effect);
        self.may_kill_at(agent, &effect);
        let life = self.agents[agent].life;
        let asked_at = self.now;
        match effect {
            Effect::Poll { held, wait_ms } => {
                self.request(
                    agent,
                    Event::Polled(Err(Self::away())),
                    |delay, answered, world| {
                        let process = world.random.below(crate::hub::PROCESSES);
                        let until = world.now + delay + wait_ms;
                        Delivery::Poll {
                            agent,
                            life,
                            process,
                            held: held.clone(),
                            asked_at,
                            until,
                            answered,
                        }
                    },
                );
            }
            Effect::Report(report) => {
                self.request(
                    agent,
                    Event::Reported(Err(Self::away())),
                    |_, answered, world| {
                        let process = world.random.below(crate::hub::PROCESSES);
                        Delivery::Report {
                            agent,
                            life,
                            process,
                            report: report.clone(),
                            answered,
                        }
                    },
                );
            }
            Effect::Reincarnate => {
                let failed = Event::Reincarnated(Err(Self::away()));
                self.request(agent, failed, |_, answered, world| {
                    let process = world.random.below(crate::hub::PROCESSES);
                    Delivery::Reincarnate {
                        agent,
                        life,
                        process,
                        answered,
                    }
                });
            }
            Effect::Hold(target) => {
                let write = DiskWrite::Hold(Box::new((*target).clone()));
                self.write(agent, write, &Event::Held);
            }
            Effect::NoteWorked(version) => {
                let noted = |result| Event::WorkNoted { version, result };
                self.write(agent, DiskWrite::Worked(version), &noted);
            }
            Effect::NoteTurnedAway(how) => {
                self.write(agent, DiskWrite::TurnedAway(how), &Event::TurnedAwayNoted);
            }
            Effect::BookWrites { point, booked } => {
                let account = booked.clone();
                let booked_as = move |result| Event::Booked {
                    point,
                    booked: account.clone(),
                    result,
                };
                self.write(agent, DiskWrite::Book(point, booked), &booked_as);
            }
            Effect::Remember(memory) => {
                let kept = &self.agents[agent].disk.0.memory;
                let days = kept.days.clone();
                let is_new = *kept
                    != (LoopMemory {
                        days,
                        ..(*memory).clone()
                    });
                self.observer.disk_writes += u64::from(is_new);
                self.write(agent, DiskWrite::Remember(memory), &Event::Remembered);
            }
            Effect::Answer { .. } => {}
            Effect::Command(effect) => self.send_for_command(agent, effect),
            Effect::KeepEstablished(keep) => {
                let write = DiskWrite::Keep(keep);
                self.deliver_in(
                    1,
                    Delivery::Disk {
                        agent,
                        life,
                        write,
                        answer: None,
                    },
                );
            }
            Effect::Forget(_) => {}
            Effect::Verify => {
                let bus = &self.agents[agent].bus;
                let alive = bus
                    .iter()
                    .map(|(id, (generation, _))| (*id, *generation))
                    .collect();
                let event = Event::Verified(alive);
                self.deliver_in(0, Delivery::ToAgent { agent, life, event });
            }
            Effect::Start { .. } | Effect::Update { .. } => {
                let delay = if self.goes_wrong(10) {
                    self.below(10_000)
                } else {
                    1 + self.below(50)
                };
                self.deliver_in(
                    delay,
                    Delivery::Adapter {
                        agent,
                        life,
                        effect,
                    },
                );
            }
            Effect::Stop { sensor, .. } => {
                // Whoever stops a sensor waits for those who use it.
                let free = self.line(agent, sensor, 50);
                self.deliver_at(
                    free,
                    Delivery::Adapter {
                        agent,
                        life,
                        effect,
                    },
                );
            }
            Effect::ReadPoints {
                sensor,
                generation,
                points,
                asked_at,
            } => {
                let call = self.call(agent, (sensor, generation), None);
                self.send_read(call, points, asked_at);
            }
            Effect::WritePoint {
                sensor,
                generation,
                point,
                value,
            } => {
                let call = self.call(agent, (sensor, generation), None);
                self.send_write(call, point, value, u64::MAX);
            }
        }
    }

    fn send_for_command(&mut self, agent: usize, effect: CommandEffect) {
        match effect {
            CommandEffect::Begin { id, booking } => {
                let begun = |result| Event::Command(CommandEvent::Begun { id, result });
                self.write(agent, DiskWrite::Begin(id, booking), &begun);
            }
            CommandEffect::End(report) => {
                let id = report.id;
                let ended = |result| Event::Command(CommandEvent::Ended { id, result });
                self.write(agent, DiskWrite::End(Box::new(report)), &ended);
            }
            CommandEffect::Read {
                id,
                sensor,
                generation,
                points,
                asked_at,
            } => {
                let call = self.call(agent, (sensor, generation), Some(id));
                self.send_read(call, points, asked_at);
            }
            CommandEffect::Write {
                id,
                sensor,
                generation,
                point,
                value,
                begin_within_ms,
            } => {
                let call = self.call(agent, (sensor, generation), Some(id));
                self.send_write(call, point, value, self.now + begin_within_ms);
            }
        }
    }

    /// A call by an agent as it lives now, of this start of a sensor.
    fn call(
        &self,
        agent: usize,
        (sensor, generation): (SensorId, u64),
        command: Option<CommandId>,
    ) -> Call {
        Call {
            agent,
            life: self.agents[agent].life,
            sensor,
            generation,
            command,
        }
    }

    fn send_read(&mut self, call: Call, points: Vec<PointId>, asked_at: u64) {
        let at = self.line(call.agent, call.sensor, 20);
        self.deliver_at(
            at,
            Delivery::Read {
                call,
                points,
                asked_at,
            },
        );
    }

    fn send_write(&mut self, call: Call, point: PointId, value: PointValue, begin_by: u64) {
        let slow = if self.goes_wrong(20) { 2_000 } else { 20 };
        let at = self.line(call.agent, call.sensor, slow);
        self.deliver_at(
            at,
            Delivery::Write {
                call,
                point,
                value,
                begin_by,
            },
        );
    }

    /// An agent may be killed at any effect: before it is done, while it is, and after.
    fn may_kill_at(&mut self, agent: usize, effect: &Effect) {
        let percent = match effect {
            Effect::Command(_) => 5,
            Effect::WritePoint { .. }
            | Effect::BookWrites { .. }
            | Effect::Remember(_)
            | Effect::Hold(_) => 1,
            _ => return,
        };
        // Somebody stops it on site in that very moment.
        if matches!(effect, Effect::Command(CommandEffect::Write { .. })) && self.goes_wrong(15) {
            let delay = self.below(30);
            let (by, reason) = (Actor::named("technician"), "now".to_owned());
            let for_ms = Some(1_000 + self.below(10_000));
            let order = LocalOrder::Stop { by, reason, for_ms };
            self.deliver_in(delay, Delivery::Order { agent, order });
        }
        if self.goes_wrong(percent) {
            let (delay, life) = (self.below(30), self.agents[agent].life);
            self.deliver_in(delay, Delivery::Kill { agent, life });
        }
    }

    /// When a call on a sensor's line is carried out, in ms: one after the other, in the order of the calls.
    fn line(&mut self, agent: usize, sensor: holdfast_domain::SensorId, most: u64) -> u64 {
        // When nothing is wrong a line takes about as long each time: that passes get longer is news.
        let delay = match (self.storm, self.goes_wrong(5)) {
            (_, true) => 1 + self.below(3_000),
            (true, false) => 1 + self.below(most),
            (false, false) => 1 + most / 2 + self.below(1 + most / 20),
        };
        let free = self.agents[agent].line_free.entry(sensor).or_default();
        *free = (*free).max(self.now) + delay;
        *free
    }

    /// A request: it may be lost on the way there or back, arrive twice, or after the agent has given up.
    fn request(
        &mut self,
        agent: usize,
        failed: Event,
        arrival: impl Fn(u64, bool, &mut Self) -> Delivery,
    ) {
        let life = self.agents[agent].life;
        let delay = 1 + self.below(20);
        let is_cut = self.agents[agent].cut_until > self.now;
        let luck = match (self.storm, is_cut) {
            (_, true) => 85,
            (true, false) => self.below(100),
            (false, false) => 0,
        };
        let arrive = |world: &mut Self, delay: u64, answered: bool| {
            let delivery = arrival(delay, answered, world);
            world.deliver_in(delay, delivery);
        };
        let fails_in = delay + self.below(5_000);
        let gives_up = Delivery::ToAgent {
            agent,
            life,
            event: failed,
        };
        match luck {
            85..90 => {
                self.reach("requests lost");
                self.deliver_in(fails_in, gives_up);
            }
            90..94 => {
                self.reach("requests late");
                let late = self.below(30_000);
                arrive(self, late, false);
                self.deliver_in(fails_in, gives_up);
            }
            94..97 => {
                // Something on the way repeats it, and passes on the first answer.
                self.reach("requests repeated");
                arrive(self, delay, true);
                let later = delay + self.below(2_000);
                arrive(self, later, false);
            }
            97..100 => {
                // The same, and the second answer is the one that comes back.
                self.reach("requests repeated");
                arrive(self, delay, false);
                arrive(self, delay + 1, true);
            }
            _ => arrive(self, delay, true),
        }
    }

    /// A write to the disk, which may be full.
    fn write(
        &mut self,
        agent: usize,
        write: DiskWrite,
        said: &dyn Fn(Result<(), String>) -> Event,
    ) {
        let life = self.agents[agent].life;
        let delay = if self.goes_wrong(5) {
            self.below(3_000)
        } else {
            1 + self.below(10)
        };
        if self.goes_wrong(5) {
            self.reach("disks full");
            let event = said(Err(FULL.into()));
            if matches!(
                write,
                DiskWrite::Begin(..) | DiskWrite::End(_) | DiskWrite::Book(..)
            ) && self.random.chance(50)
            {
                // It says that it failed, and all is there.
                let answer = Some(event);
                self.deliver_in(
                    delay,
                    Delivery::Disk {
                        agent,
                        life,
                        write,
                        answer,
                    },
                );
                return;
            }
            self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
        } else {
            let answer = Some(said(Ok(())));
            self.deliver_in(
                delay,
                Delivery::Disk {
                    agent,
                    life,
                    write,
                    answer,
                },
            );
        }
    }
}
