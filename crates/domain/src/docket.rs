//! Which command may be begun: each at most once, never late, one at a time a point, in the order in which they were given.
//!
//! A docket is what an agent knows of commands: those that wait, those that were begun, and what became of them. It lives
//! from the ledger: what was begun there and has no result was interrupted, nobody knows when, and is never begun again.
//! What is under way at which instrument stands with the agent's loop.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    document::{
        command::{Command, CommandOutcome, CommandReport, Commands},
        point::PointKind,
    },
    hold::{Observed, PointRules, number, reaches},
    ids::{CommandId, PointId},
    limits,
    value::Quality,
};

/// What an agent knows of commands.
#[derive(Debug, Clone, Default)]
pub struct Docket {
    known: BTreeMap<CommandId, Stage>,
    /// Ids of what waits, in the order in which they were given.
    order: Vec<CommandId>,
    /// Ids of what has ended, the oldest first.
    ended: Vec<CommandId>,
    /// Ids of the commands of the document that is held.
    held: BTreeSet<CommandId>,
}

/// Where a command is.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Waiting(Waiting),
    /// Begun, on this point in this life of the agent, or (`None`) in one before.
    Begun(Option<PointId>),
    Ended(CommandReport),
}

/// A command that was not begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The command.
    pub command: Command,
    /// When its time is over, in ms of the agent's clock.
    pub expires_at_ms: u64,
}

/// How a document came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// From the hub, whose other documents this disk has seen.
    Live,
    /// Off the disk after a restart: how much time has gone by is not known.
    AfterRestart,
    /// As the first to a disk that is new, or was put back to an earlier state: what is in it may have been begun by
    /// another, or by this one's future.
    ToAnotherDisk,
}

/// A word on a command that was never begun, or was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The command.
    pub id: CommandId,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// Why.
    pub reason: &'static str,
}

impl Docket {
    /// What a ledger holds: ids that were begun, with what became of them where that is known; the oldest first.
    #[must_use]
    pub fn from_ledger(kept: &[(CommandId, Option<CommandReport>)]) -> Self {
        let mut docket = Self::default();
        for (id, report) in kept {
            let stage = match report {
                Some(report) => {
                    docket.ended.push(*id);
                    Stage::Ended(report.clone())
                }
                None => Stage::Begun(None),
            };
            docket.known.insert(*id, stage);
        }
        docket
    }

    /// Commands that were begun in an earlier life and have no result.
    #[must_use]
    pub fn interrupted(&self) -> Vec<Ending> {
        let old = self
            .known
            .iter()
            .filter(|(_, stage)| **stage == Stage::Begun(None));
        old.map(|(id, _)| Ending {
            id: *id,
            outcome: CommandOutcome::OutcomeUnknown,
            reason: "the agent ended while it was being carried out",
        })
        .collect()
    }

    /// Takes the commands of a document, which was true at `now_ms`. Gives those that can't be begun any more: each is to
    /// be [ended](Docket::end). What waits and is not in it is not wanted any more.
    pub fn offer(&mut self, commands: &Commands, now_ms: u64, came: Came) -> Vec<Ending> {
        self.held = commands.items.iter().map(|command| command.id).collect();
        let Self {
            known, order, held, ..
        } = self;
        known.retain(|id, stage| !matches!(stage, Stage::Waiting(_)) || held.contains(id));
        order.retain(|id| held.contains(id));
        let mut endings = Vec::new();
        for command in &commands.items {
            let id = command.id;
            match self.known.get(&id) {
                Some(Stage::Waiting(_)) if command.cancelled => {}
                Some(_) => continue,
                None => {}
            }
            let (outcome, reason) = match came {
                // Who knows what another did before it was cancelled.
                Came::Live | Came::AfterRestart if command.cancelled => (
                    CommandOutcome::Cancelled,
                    "it was cancelled before it was begun",
                ),
                Came::Live if command.valid_for_ms > 0 => {
                    let expires_at_ms = now_ms.saturating_add(command.valid_for_ms);
                    let command = command.clone();
                    let waiting = Waiting {
                        command,
                        expires_at_ms,
                    };
                    self.known.insert(id, Stage::Waiting(waiting));
                    self.order.push(id);
                    continue;
                }
                Came::Live => (
                    CommandOutcome::Expired,
                    "its time was over before the agent got it",
                ),
                Came::AfterRestart => (
                    CommandOutcome::Expired,
                    "the agent was restarted before it was begun",
                ),
                Came::ToAnotherDisk => (
                    CommandOutcome::OutcomeUnknown,
                    "it was given before this disk of the agent spoke with the hub: another may have begun it",
                ),
            };
            endings.push(Ending {
                id,
                outcome,
                reason,
            });
        }
        endings
    }

    /// Is nothing waiting? Then there is nothing to be begun, or to run out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.order.is_empty()
    }

    /// What may be begun next: of each point on which nothing is under way the first that waits, in order.
    #[must_use]
    pub fn turns(&self) -> Vec<&Waiting> {
        let busy = self.known.values().filter_map(|stage| match stage {
            Stage::Begun(point) => *point,
            Stage::Waiting(_) | Stage::Ended(_) => None,
        });
        let mut taken: BTreeSet<PointId> = busy.collect();
        let waiting = self.waiting();
        waiting
            .filter(|one| taken.insert(one.command.point_id))
            .collect()
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.order.iter().filter_map(|id| match self.known.get(id) {
            Some(Stage::Waiting(waiting)) => Some(waiting),
            Some(Stage::Begun(_) | Stage::Ended(_)) | None => None,
        })
    }

    /// When the next of those that wait runs out, in ms.
    #[must_use]
    pub fn next_end(&self) -> Option<u64> {
        self.waiting().map(|waiting| waiting.expires_at_ms).min()
    }

    /// Those that wait and whose time is over.
    #[must_use]
    pub fn lapsed(&self, now_ms: u64) -> Vec<CommandId> {
        let over = self
            .waiting()
            .filter(|waiting| waiting.expires_at_ms <= now_ms);
        over.map(|waiting| waiting.command.id).collect()
    }

    /// Begins a command: gives it, once, if it waits and its time is not over. From now on it is never given again, in
    /// this life; what the ledger is told makes that true of all lives.
    pub fn begin(&mut self, id: CommandId, now_ms: u64) -> Option<Waiting> {
        let stage = self.known.get_mut(&id)?;
        let Stage::Waiting(waiting) = stage else {
            return None;
        };
        if waiting.expires_at_ms <= now_ms {
            return None;
        }
        let waiting = waiting.clone();
        *stage = Stage::Begun(Some(waiting.command.point_id));
        self.order.retain(|other| *other != id);
        Some(waiting)
    }

    /// Keeps the word on a command; the first one stands. Is it that?
    pub fn end(&mut self, report: CommandReport) -> bool {
        let id = report.id;
        if matches!(self.known.get(&id), Some(Stage::Ended(_))) {
            return false;
        }
        self.order.retain(|other| *other != id);
        self.known.insert(id, Stage::Ended(report));
        self.ended.push(id);
        let excess = self.ended.len().saturating_sub(limits::COMMANDS_REMEMBERED);
        for old in self.ended.drain(..excess) {
            self.known.remove(&old);
        }
        true
    }

    /// Puts another word in the place of one that nobody has heard.
    pub fn amend(&mut self, report: CommandReport) {
        if let Some(stage @ Stage::Ended(_)) = self.known.get_mut(&report.id) {
            *stage = Stage::Ended(report);
        }
    }

    /// The word on a command.
    #[must_use]
    pub fn word(&self, id: CommandId) -> Option<&CommandReport> {
        match self.known.get(&id) {
            Some(Stage::Ended(report)) => Some(report),
            Some(Stage::Waiting(_) | Stage::Begun(_)) | None => None,
        }
    }

    /// The words on the commands of the document that is held: the hub asks for them as long as it tells of them.
    pub fn words_on_held(&self) -> impl Iterator<Item = &CommandReport> {
        self.held.iter().filter_map(|id| self.word(*id))
    }
}

/// Why a point's rules forbid a command, if they do. Guards, stops and the budget are looked at apart.
#[must_use]
pub fn forbids(rules: &PointRules, command: &Command) -> Option<String> {
    if rules.identity != command.bound_to {
        let why = "the point's connection, address, type or scale was changed since it was given (pointRedefined)";
        return Some(why.to_string());
    }
    if rules.kind == PointKind::Level {
        return Some("the point is a level now: its value is set, and held".to_string());
    }
    if !rules.writable {
        return Some("the point is read-only now".to_string());
    }
    if !command.extra.is_empty() {
        let fields: Vec<&str> = command.extra.keys().map(String::as_str).collect();
        return Some(alloc::format!(
            "this agent does not know the command's field {}: use a later version of it",
            fields.join(", ")
        ));
    }
    crate::wish::outside(&command.value, rules.limits.as_ref()).map(|problems| problems.to_string())
}

/// Must be known what the point shows before this is written? Where a largest step is declared, and a number is written.
#[must_use]
pub fn needs_shown(rules: &PointRules, command: &Command) -> bool {
    let step = rules.limits.as_ref().and_then(|limits| limits.max_step);
    step.is_some() && number(&command.value).is_some()
}

/// Why a command is further than the point's largest step from what the point shows, if it is, or that is not known. What is
/// written once can't go there in steps.
#[must_use]
pub fn too_far(rules: &PointRules, command: &Command, shown: Option<&Observed>) -> Option<String> {
    if !needs_shown(rules, command) {
        return None;
    }
    let limits = rules.limits.as_ref();
    let step = limits.and_then(|limits| limits.max_step)?;
    let value = &command.value;
    let good = shown
        .filter(|shown| shown.quality == Quality::Good)
        .and_then(|shown| shown.value.as_ref());
    match good {
        Some(shown) if number(shown).is_none() => Some(alloc::format!(
            "{value} can be at most {step} from what the point shows (maxStep), and it shows {shown}"
        )),
        Some(shown) if reaches(limits, shown, value) => None,
        Some(shown) => Some(alloc::format!(
            "{value} is further than {step} (maxStep) from {shown}, which the point shows: give it in steps"
        )),
        None => {
            let why = shown.and_then(|shown| shown.reason.as_deref());
            Some(alloc::format!(
                "{value} can be at most {step} from what the point shows (maxStep), and it can't be read: {}",
                why.unwrap_or("no good reading")
            ))
        }
    }
}
