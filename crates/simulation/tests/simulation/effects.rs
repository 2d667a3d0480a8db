//! How what an agent asks for gets under way: requests that may get lost or come twice, writes to a disk that may be full,
//! calls of adapters that take their time. One place for each effect.

use holdfast_edge::machine::{Effect, Event};

use crate::{arrivals::Delivery, disk::DiskWrite, world::World};

const FULL: &str = "no space left on device";

impl World {
    /// Sends an effect of an agent on its way.
    pub(crate) fn send(&mut self, agent: usize, effect: Effect) {
        self.counts(&effect);
        let life = self.agents[agent].life;
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
                self.write(agent, DiskWrite::Remember(memory), &Event::Remembered);
            }
            Effect::Answer { .. } => {}
            Effect::Command(_) => unreachable!("nobody gives commands in this world"),
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
                let at = self.line(agent, sensor, 20);
                let read = Delivery::Read {
                    agent,
                    life,
                    sensor,
                    generation,
                    points,
                    asked_at,
                };
                self.deliver_at(at, read);
            }
            Effect::WritePoint {
                sensor,
                generation,
                point,
                value,
            } => {
                let slow = if self.goes_wrong(20) { 2_000 } else { 20 };
                let at = self.line(agent, sensor, slow);
                let write = Delivery::Write {
                    agent,
                    life,
                    sensor,
                    generation,
                    point,
                    value,
                };
                self.deliver_at(at, write);
            }
        }
    }

    /// When a call on a sensor's line is carried out, in ms: one after the other, in the order of the calls.
    fn line(&mut self, agent: usize, sensor: holdfast_domain::SensorId, most: u64) -> u64 {
        let slow = if self.goes_wrong(5) { 3_000 } else { most };
        let delay = 1 + self.below(slow);
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
