//! What arrives: requests at the hub and their answers, writes at a disk, calls at adapters and instruments.

use holdfast_domain::{PointId, PointValue, Report, TargetDocument};
use holdfast_edge::{
    LocalOrder,
    machine::{Effect, Event},
};
use holdfast_hub::agents::{PolledTarget, ReportOutcome};
use holdfast_ports::{
    hub_link::{HeldTarget, HubError, Polled, ReportAnswer},
    wakeups::Wake,
};

use crate::{disk::DiskWrite, hub::AT_ONCE, instrument::Unit, line::Call, world::World};

/// Something that arrives later.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An event for one process of an agent.
    ToAgent {
        agent: usize,
        life: u64,
        event: Event,
    },
    /// A poll at a process of the hub.
    Poll {
        agent: usize,
        life: u64,
        process: usize,
        held: Option<HeldTarget>,
        /// When the agent asked, in ms.
        asked_at: u64,
        until: u64,
        answered: bool,
    },
    /// The hub has held a poll back for as long as it was asked to.
    PollEnds(u64),
    /// A report at a process of the hub; whether anybody hears the answer.
    Report {
        agent: usize,
        life: u64,
        process: usize,
        report: Box<Report>,
        answered: bool,
    },
    /// A request for a new incarnation at a process of the hub.
    Reincarnate {
        agent: usize,
        life: u64,
        process: usize,
        answered: bool,
    },
    /// A write that reaches a disk now, and the answer to it.
    Disk {
        agent: usize,
        life: u64,
        write: DiskWrite,
        answer: Option<Event>,
    },
    /// An adapter's call that ends now.
    Adapter {
        agent: usize,
        life: u64,
        effect: Effect,
    },
    /// A read that reaches an instrument now.
    Read {
        call: Call,
        points: Vec<PointId>,
        asked_at: u64,
    },
    /// A write that reaches an instrument now, unless it is `begin_by` already.
    Write {
        call: Call,
        point: PointId,
        value: PointValue,
        begin_by: u64,
    },
    /// Somebody on site wants something.
    Order { agent: usize, order: LocalOrder },
    /// An agent is killed, and started again a while later.
    Kill { agent: usize, life: u64 },
    /// An instrument is back.
    Back(Unit),
    /// A wake-up reaches a process of the hub.
    Wake { process: usize, wake: Wake },
}

/// A poll that a process of the hub holds back.
#[derive(Debug)]
pub(crate) struct WaitingPoll {
    pub(crate) agent: usize,
    life: u64,
    pub(crate) process: usize,
    held: Option<HeldTarget>,
    /// How long it took to the hub, in ms.
    on_the_way: u64,
    answered: bool,
}

impl Delivery {
    /// Is it of this agent?
    pub(crate) fn is_of(&self, which: usize) -> bool {
        match self {
            Self::ToAgent { agent, .. }
            | Self::Poll { agent, .. }
            | Self::Report { agent, .. }
            | Self::Reincarnate { agent, .. }
            | Self::Disk { agent, .. }
            | Self::Adapter { agent, .. } => *agent == which,
            Self::Read { call, .. } | Self::Write { call, .. } => call.agent == which,
            // Who comes to the place does not go away with the agent.
            Self::Order { .. } | Self::Kill { .. } => false,
            Self::PollEnds(_) | Self::Wake { .. } | Self::Back(_) => false,
        }
    }

    /// Is it lost when this agent is killed? What is on the network is not.
    pub(crate) fn dies_with(&self, agent: usize, life: u64) -> bool {
        debug_assert!(life > 0, "it has lived");
        let on_the_network = matches!(
            self,
            Self::Poll { .. } | Self::Report { .. } | Self::Reincarnate { .. }
        );
        self.is_of(agent) && !on_the_network
    }

    pub(crate) fn arrive(self, world: &mut World) {
        match self {
            Self::ToAgent { agent, life, event } => world.hear(agent, life, event),
            Self::Poll {
                agent,
                life,
                process,
                held,
                asked_at,
                until,
                answered,
            } => {
                let poll = WaitingPoll {
                    agent,
                    life,
                    process,
                    held,
                    on_the_way: world.now - asked_at,
                    answered,
                };
                world.poll_arrives(poll, until);
            }
            Self::PollEnds(number) => {
                if let Some(poll) = world.waiting.remove(&number) {
                    world.answer(
                        poll.agent,
                        poll.life,
                        poll.answered,
                        Event::Polled(Ok(Polled::Unchanged)),
                    );
                }
            }
            Self::Report {
                agent,
                life,
                process,
                report,
                answered,
            } => {
                world.report_arrives(agent, life, process, &report, answered);
            }
            Self::Reincarnate {
                agent,
                life,
                process,
                answered,
            } => {
                world.reincarnate(agent, life, process, answered);
            }
            Self::Disk {
                agent,
                life,
                write,
                answer,
            } => {
                write.apply(&mut world.agents[agent].disk);
                if let Some(event) = answer {
                    world.hear(agent, life, event);
                }
            }
            Self::Adapter {
                agent,
                life,
                effect,
            } => {
                if life == world.agents[agent].life {
                    world.adapter(agent, effect);
                }
            }
            Self::Read {
                call,
                points,
                asked_at,
            } => world.read_arrives(call, points, asked_at),
            Self::Write {
                call,
                point,
                value,
                begin_by,
            } => world.write_arrives(call, point, &value, begin_by),
            Self::Order { agent, order } => world.order(agent, order),
            Self::Kill { agent, life } => {
                if life == world.agents[agent].life {
                    world.dies(agent);
                }
            }
            Self::Back(unit) => world.say_health_of(&unit),
            Self::Wake { process, wake } => {
                world.hub.wake(process, wake);
                world.answer_polls(process);
            }
        }
    }
}

impl World {
    /// An event reaches a process of an agent, if that is still the one which waits for it.
    fn hear(&mut self, agent: usize, life: u64, event: Event) {
        if life == self.agents[agent].life && self.agents[agent].machine.is_some() {
            self.tell(agent, event);
        }
    }

    /// The hub answers: that takes a while, and gets lost on a line that is cut.
    fn answer(&mut self, agent: usize, life: u64, answered: bool, event: Event) {
        if !answered {
            return;
        }
        let delay = 1 + self.below(20);
        let event = match event {
            event if self.agents[agent].cut_until <= self.now => event,
            Event::Polled(_) => Event::Polled(Err(Self::away())),
            Event::Reported(_) => Event::Reported(Err(Self::away())),
            Event::Reincarnated(_) => Event::Reincarnated(Err(Self::away())),
            other => other,
        };
        self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
    }

    /// What the hub says to an agent that it does not want to hear of, for the time being.
    fn refusal(&mut self, agent: usize) -> Option<HubError> {
        let agent = &self.agents[agent];
        let refused = (agent.revoked_until > self.now).then_some(HubError::Revoked(agent.device));
        if refused.is_some() {
            self.reach("agents turned away");
        }
        refused
    }

    fn poll_arrives(&mut self, poll: WaitingPoll, until: u64) {
        if let Some(refused) = self.refusal(poll.agent) {
            self.answer(
                poll.agent,
                poll.life,
                poll.answered,
                Event::Polled(Err(refused)),
            );
            return;
        }
        if self.try_poll(&poll) {
            return;
        }
        let number = self.number();
        self.waiting.insert(number, poll);
        self.deliver_at(until, Delivery::PollEnds(number));
    }

    /// Answers a poll, if there is another target than the one held.
    fn try_poll(&mut self, poll: &WaitingPoll) -> bool {
        let (device, held) = (self.agents[poll.agent].device, poll.held.clone());
        let polled = self.hub.call(poll.process, |hub| async move {
            let (etag, config) = held.map(|held| (held.etag, held.config)).unzip();
            let etag = etag.as_deref();
            hub.poll_target(device, etag, config, AT_ONCE).await
        });
        match polled.expect("a store in memory") {
            PolledTarget::Unchanged { .. } => false,
            PolledTarget::Target { body, .. } | PolledTarget::Changes { body, .. } => {
                let (of, target) =
                    TargetDocument::from_slice(&body).expect("the hub gives a valid target");
                assert_eq!(of, device, "rule 14: a key opens its own device");
                self.give_target(poll, target);
                true
            }
        }
    }

    /// The hub gives a target. What ends by itself does so sooner by the time that the request and the answer took.
    fn give_target(&mut self, poll: &WaitingPoll, mut target: TargetDocument) {
        let delay = 1 + self.below(20);
        if !poll.answered {
            return;
        }
        target.age(poll.on_the_way + delay + 1);
        let event = if self.agents[poll.agent].cut_until <= self.now {
            Event::Polled(Ok(match target {
                TargetDocument::Whole(target) => Polled::Target(Box::new(target)),
                TargetDocument::Changes(changes) => Polled::Changes(Box::new(changes)),
            }))
        } else {
            Event::Polled(Err(Self::away()))
        };
        let (agent, life) = (poll.agent, poll.life);
        self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
    }

    /// Answers the polls that a process holds back, as far as there is something new.
    pub(crate) fn answer_polls(&mut self, process: usize) {
        let of_process = |(_, poll): &(&u64, &WaitingPoll)| poll.process == process;
        let numbers: Vec<u64> = self
            .waiting
            .iter()
            .filter(of_process)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let poll = self.waiting.remove(&number).expect("listed");
            if !self.try_poll(&poll) {
                self.waiting.insert(number, poll);
            }
        }
    }

    /// A process of the hub ends: who waits there hears so.
    pub(crate) fn cut_polls(&mut self, process: usize) {
        let waiting = std::mem::take(&mut self.waiting);
        for (number, poll) in waiting {
            if poll.process == process {
                let event = Event::Polled(Err(HubError::Cut("connection reset".into())));
                self.answer(poll.agent, poll.life, poll.answered, event);
            } else {
                self.waiting.insert(number, poll);
            }
        }
    }

    fn report_arrives(
        &mut self,
        agent: usize,
        life: u64,
        process: usize,
        report: &Report,
        answered: bool,
    ) {
        if let Some(refused) = self.refusal(agent) {
            self.answer(agent, life, answered, Event::Reported(Err(refused)));
            return;
        }
        let device = self.agents[agent].device;
        let body = report.to_json(device).to_string();
        let outcome = self.hub.call(process, |hub| async move {
            hub.report(device, body.as_bytes(), None).await
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => self.broken(
                "8 reality",
                format_args!("the hub refuses a report: {error}"),
            ),
        };
        self.say(format_args!(
            "hub {process}: report {:?} of agent {agent} is {outcome:?}",
            report.order
        ));
        self.check_order_at_hub(agent, report.order, outcome);
        let said = match outcome {
            ReportOutcome::Taken | ReportOutcome::Unchanged => ReportAnswer::Taken,
            ReportOutcome::Late { boot } => {
                self.reach("reports late");
                ReportAnswer::Late { boot }
            }
            ReportOutcome::FullWanted => {
                self.reach("full reports wanted");
                ReportAnswer::FullWanted
            }
            ReportOutcome::OtherIncarnation => ReportAnswer::OtherIncarnation,
        };
        if report.refused_version().is_some() {
            self.reach("targets refused");
        }
        self.after_hub();
        self.answer(agent, life, answered, Event::Reported(Ok(said)));
    }

    fn reincarnate(&mut self, agent: usize, life: u64, process: usize, answered: bool) {
        if let Some(refused) = self.refusal(agent) {
            self.answer(agent, life, answered, Event::Reincarnated(Err(refused)));
            return;
        }
        let device = self.agents[agent].device;
        let given = self.hub.call(process, |hub| async move {
            hub.new_incarnation(device, None).await
        });
        let incarnation = given.expect("a store in memory");
        self.after_hub();
        let is_heard =
            answered && life == self.agents[agent].life && self.agents[agent].machine.is_some();
        if is_heard && self.agents[agent].cut_until <= self.now {
            self.reach("new lives");
            let boot = self.agents[agent].disk.begin_life(incarnation);
            self.hear(agent, life, Event::Reincarnated(Ok((incarnation, boot))));
        } else {
            self.answer(
                agent,
                life,
                answered,
                Event::Reincarnated(Err(Self::away())),
            );
        }
    }
}
