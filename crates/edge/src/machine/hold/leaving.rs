//! Leaving outputs: when the loop is stopped or paused, or the hub is lost, each output first comes to the end of what is
//! under way, then goes to its safe value if it has one to go to, and is left alone from then on. A stop is confirmed when
//! all of its outputs are left.
//!
//! What was left is not gone to again on account of the same stop, after a restart neither: of a stop that was confirmed
//! stands on the disk that it was.

use holdfast_domain::{
    PauseId, PointId, PointValue, SensorId,
    document::{
        hold::{HoldSettings, LoopState, Scope},
        setpoint::{Conformity, Hold},
    },
    hold::{
        Act, Control, HoldReason, HoldStatus, Interruption, Leaving, Situation, Stage, Track,
        leave, safe_value,
    },
};

use super::{
    Holding, Local, Machine, Now,
    point::{Ask, Busy, Doing, Next, Output, max_age_ms},
};
use crate::{machine::slot::Changed, status::HubAccess};

/// Where an output stands.
#[derive(Debug)]
pub(super) enum Place {
    /// It is held.
    Held,
    /// It is on its way to its safe value.
    Leaving(Box<Way>),
    /// It is left alone, for this reason.
    Left(Interruption),
}

/// The way to a safe value.
#[derive(Debug)]
pub(super) struct Way {
    to: PointValue,
    why: Interruption,
    pub(super) track: Track,
    since_ms: u64,
    writes: u32,
}

/// May an output be held?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) control: Control,
    off: Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Off {
    /// It may.
    No,
    /// It is left alone for this reason.
    Left(Interruption),
    /// Nothing may be written at all, to a safe value neither.
    Forbidden,
}

/// What outputs may be held by.
pub(super) struct Stops<'a> {
    pub(super) settings: &'a HoldSettings,
    pub(super) local: &'a Local,
    pub(super) access: HubAccess,
    pub(super) hub_silent_ms: u64,
}

impl Stops<'_> {
    /// May this output be held?
    pub(super) fn standing(
        &self,
        sensor: SensorId,
        point: PointId,
        lost_after_ms: Option<u64>,
    ) -> Standing {
        let paused = |why: String, off| Standing {
            control: Control::Paused(why),
            off,
        };
        let stopped = Off::Left(Interruption::Stopped);
        match self.access {
            HubAccess::Granted => {}
            HubAccess::Deleted => {
                let why = "the hub says that this device was deleted";
                return paused(why.into(), Off::Forbidden);
            }
            HubAccess::Revoked => {
                let why = "the hub says that this agent's access was revoked";
                return paused(why.into(), Off::Forbidden);
            }
        }
        if let Some(stop) = self.local.stop() {
            return paused(stop.why(), stopped);
        }
        let covers = |scope: &Scope| scope.covers(sensor, point);
        if let Some(pause) = self
            .settings
            .pauses
            .iter()
            .find(|pause| covers(&pause.scope))
        {
            let reason = pause.reason.as_deref().map(|reason| format!(": {reason}"));
            let why = format!("stopped by {}{}", pause.by, reason.unwrap_or_default());
            return paused(why, stopped);
        }
        if self.settings.shadow {
            return Standing {
                control: Control::Shadow,
                off: Off::No,
            };
        }
        match lost_after_ms.filter(|after| *after <= self.hub_silent_ms) {
            Some(after) => {
                let why = format!("the hub was not heard for {} s", after / 1_000);
                paused(why, Off::Left(Interruption::HubLost))
            }
            None => Standing {
                control: Control::Active,
                off: Off::No,
            },
        }
    }
}

impl Holding {
    /// What outputs may be held by, with such a hub.
    pub(super) const fn stops(&self, access: HubAccess, hub_silent_ms: u64) -> Stops<'_> {
        Stops {
            settings: &self.settings,
            local: &self.local,
            access,
            hub_silent_ms,
        }
    }

    /// How it runs.
    pub(super) fn state(&self) -> LoopState {
        let mut stops = self
            .settings
            .pauses
            .iter()
            .filter(|pause| pause.scope == Scope::Device)
            .peekable();
        let on_site = self.local.stop().is_some();
        if on_site || stops.peek().is_some() {
            // Said when it stands on the disk: after a restart nothing is gone to again that was said to be left.
            let kept = self.notes.kept();
            let is_settled = (!on_site || self.local_settled && kept.local_settled)
                && stops.all(|pause| {
                    self.settled.contains(&pause.id) && kept.settled.contains(&pause.id)
                });
            return if is_settled {
                LoopState::Stopped
            } else {
                LoopState::Stopping
            };
        }
        if self.settings.shadow {
            LoopState::Shadow
        } else {
            LoopState::Active
        }
    }

    /// The shortest time in ms without the hub that means something to an output.
    pub(super) fn soonest_lost(&self) -> u64 {
        self.hub_limits.first().copied().unwrap_or(u64::MAX)
    }

    /// Are these outputs left? Not while a write by a wish that was released is under way, to whichever point.
    fn are_left(&self, covers: impl Fn(SensorId, PointId, &Output) -> bool) -> bool {
        let is_ours = |point: &PointId| self.outputs.contains_key(point);
        let mut meant = self
            .outputs
            .iter()
            .filter(|(point, output)| covers(output.sensor(), **point, output));
        self.writing.iter().all(is_ours) && meant.all(|(_, output)| output.is_left())
    }
}

impl Machine {
    /// An output that nobody knew before is not left: it was never gone to. Nor is, after a restart, one that was left.
    pub(super) fn place_new(&mut self, point: PointId, is_boot: bool, now: Now) {
        let silent = self.hub.silent_ms(now.ms);
        // Whom the hub has turned away writes nothing; what was left is left all the same.
        let access = HubAccess::Granted;
        let holding = &mut self.holding;
        let Some(output) = holding.outputs.get(&point) else {
            return;
        };
        let sensor = output.sensor();
        let stops = holding.stops(access, silent);
        let standing = stops.standing(sensor, point, output.lost_after_ms());
        let Off::Left(why) = standing.off else { return };
        let was_left = match why {
            Interruption::HubLost => holding.hub_lost_settled,
            Interruption::Stopped => {
                let kept = holding.notes.kept();
                let of_a_pause = holding.settings.pauses.iter().any(|pause| {
                    pause.scope.covers(sensor, point) && kept.settled.contains(&pause.id)
                });
                of_a_pause || (holding.local.stop().is_some() && kept.local_settled)
            }
        };
        if (!is_boot || was_left)
            && let Some(mut output) = holding.outputs.get_mut(&point)
        {
            output.place = Place::Left(why);
        }
    }

    /// Notes which stops and pauses are carried out, and says so.
    pub(super) fn settle_stops(&mut self, now: Now) {
        let silent = self.hub.silent_ms(now.ms);
        let holding = &mut self.holding;
        let settings = &holding.settings;
        let unsettled: Vec<(PauseId, Scope)> = settings
            .pauses
            .iter()
            .filter(|pause| !holding.settled.contains(&pause.id))
            .map(|pause| (pause.id, pause.scope))
            .collect();
        for (id, scope) in unsettled {
            if holding.are_left(|sensor, point, _| scope.covers(sensor, point)) {
                holding.settled.insert(id);
                holding.notes.dirty();
            }
        }
        let on_site = holding.local.stop().is_some();
        let is_settled = on_site && (holding.local_settled || holding.are_left(|_, _, _| true));
        if is_settled != holding.local_settled {
            holding.local_settled = is_settled;
            holding.notes.dirty();
        }
        let is_lost = silent >= holding.soonest_lost();
        let lost = |output: &Output| output.lost_after_ms().is_some_and(|after| after <= silent);
        let is_settled =
            is_lost && (holding.hub_lost_settled || holding.are_left(|_, _, output| lost(output)));
        if is_settled != holding.hub_lost_settled {
            holding.hub_lost_settled = is_settled;
            holding.notes.dirty();
        }
        let state = holding.state();
        if state != holding.said_state {
            holding.said_state = state;
            self.reporting.header_changed();
        }
    }

    /// How long the hub may hold a poll, in ms: where its silence means something, it is heard well before that.
    pub(in crate::machine) fn poll_wait_ms(&self) -> u64 {
        /// Polls in the shortest time after which the hub counts as lost.
        const POLLS: u64 = 3;
        let soonest = self.holding.soonest_lost();
        self.settings.poll_wait_ms.min(soonest / POLLS)
    }

    /// When the hub counts as lost for the next output, in ms, if it is not heard until then.
    pub(in crate::machine) fn next_hub_lost_at(&self) -> Option<u64> {
        let next = self
            .holding
            .hub_limits
            .iter()
            .nth(self.holding.lost_level)?;
        Some(self.hub.silent_until(*next))
    }

    /// Looks at outputs for which the hub has just been lost, or found again.
    pub(super) fn note_hub_lost(&mut self, now: Now) {
        let silent = self.hub.silent_ms(now.ms);
        let holding = &mut self.holding;
        let level = holding.hub_limits.range(..=silent).count();
        if level == holding.lost_level {
            return;
        }
        if level > holding.lost_level && holding.hub_lost_settled {
            holding.hub_lost_settled = false;
        }
        holding.lost_level = level;
        holding.notes.dirty();
        holding.outputs.change_all(|output| {
            if output.lost_after_ms().is_some() {
                output.look_now();
            }
        });
    }
}

impl Output {
    /// After how long without the hub it goes to its safe value, in ms.
    pub(super) fn lost_after_ms(&self) -> Option<u64> {
        self.rules.on_hub_lost.as_ref().map(|(after, _)| *after)
    }

    /// Is it left alone, with nothing under way?
    fn is_left(&self) -> bool {
        matches!(self.place, Place::Left(_)) && self.is_quiet()
    }

    /// Is nothing under way for its wish?
    fn is_quiet(&self) -> bool {
        self.doing == Doing::Nothing && self.track.stage == Stage::Watching
    }

    /// Takes where it stands, by whether it may be held. Is the way to its safe value what is to be done now?
    pub(super) fn moves(&mut self, standing: &Standing, stays: bool, now: Now) -> bool {
        let why = match standing.off {
            Off::Forbidden => return false,
            Off::No => None,
            Off::Left(why) => Some(why),
        };
        if let (Place::Left(Interruption::Stopped), Some(Interruption::HubLost)) =
            (&self.place, why)
        {
            self.place = Place::Held;
        }
        let is_quiet = self.is_quiet();
        match (&mut self.place, why) {
            (Place::Held, None) => false,
            (Place::Left(_), None) => {
                self.place = Place::Held;
                self.left_badly = None;
                false
            }
            (Place::Left(of), Some(why)) => {
                *of = why;
                false
            }
            (Place::Leaving(way), _) => {
                let is_under_way =
                    self.doing != Doing::Nothing || way.track.stage != Stage::Watching;
                if is_under_way || self.still_goes(standing, stays) {
                    return true;
                }
                // What is asked for now may be another way, or none.
                self.is_moved(Place::Held);
                why.is_some() && self.moves(standing, stays, now)
            }
            (Place::Held, Some(_)) if !is_quiet => false,
            (Place::Held, Some(why)) => {
                let is_over = self.said.hold == Hold::Expired
                    || self.expires_at.is_some_and(|end| end <= now.ms);
                let to = safe_value(&self.setpoint, &self.rules, why)
                    .filter(|_| !stays && !is_over)
                    .cloned();
                let Some(to) = to else {
                    self.place = Place::Left(why);
                    return false;
                };
                self.place = Place::Leaving(Box::new(Way {
                    to,
                    why,
                    track: Track::default(),
                    since_ms: now.ms,
                    writes: 0,
                }));
                true
            }
        }
    }

    /// Is where it is on its way to still where it is to go? A wish, or a rule of the point, may have changed meanwhile.
    fn still_goes(&self, standing: &Standing, stays: bool) -> bool {
        match (&self.place, standing.off) {
            (Place::Leaving(way), Off::Left(why)) => {
                !stays && safe_value(&self.setpoint, &self.rules, why) == Some(&way.to)
            }
            _ => false,
        }
    }

    fn is_moved(&mut self, place: Place) {
        self.place = place;
        self.track.moved();
    }

    /// The next step to its safe value; `None`: the way is over, and it is looked at as ever.
    pub(super) fn leave(&mut self, ask: &Ask<'_>) -> Option<Next> {
        let Ask { standing, now, .. } = *ask;
        let may_begin = self.still_goes(standing, ask.stays);
        let Place::Leaving(way) = &self.place else {
            return None;
        };
        let step = self.next_step(way, ask);
        if matches!(step.act, Act::Write(_)) && !may_begin {
            self.is_moved(Place::Held);
            return None;
        }
        let (to, why) = (way.to.clone(), way.why);
        let is_settling = step.track.stage != Stage::Watching;
        if let Place::Leaving(way) = &mut self.place {
            way.track = step.track;
        }
        if step.is_over {
            self.left_badly = step.trouble.map(|trouble| {
                format!("it could not be brought to its safe value {to}: {trouble}")
            });
            self.is_moved(Place::Left(why));
            return None;
        }
        self.look_at = step.look_at_ms.map(|at| at.max(now.ms + 1));
        let changed = self.say_leaving(standing, &to, step.trouble.as_ref(), is_settling, now);
        let busy = match step.act {
            Act::Nothing | Act::Adopt(_) => None,
            Act::Read => Some(Busy::Reading),
            Act::Write(value) => {
                let busy = self.begin_write(value, now);
                if let (Doing::Writing, Place::Leaving(way)) = (&self.doing, &mut self.place) {
                    way.writes += 1;
                }
                Some(busy)
            }
        };
        Some(Next { changed, busy })
    }

    fn next_step(&self, way: &Way, ask: &Ask<'_>) -> Leaving {
        let situation = Situation {
            setpoint: &self.setpoint,
            expires_at_ms: None,
            rules: &self.rules,
            band: &self.band,
            control: &ask.standing.control,
            reading: self.reading.as_ref(),
            guards: ask.guards,
            budget: self.budget_left(ask.now),
            max_age_ms: max_age_ms(ask.interval_ms),
            restores_per_hour: ask.restores_per_hour,
            now_ms: ask.now.ms,
            random: ask.random,
        };
        leave(
            &way.to,
            &situation,
            way.track.clone(),
            way.since_ms,
            way.writes,
        )
    }

    fn say_leaving(
        &mut self,
        standing: &Standing,
        to: &PointValue,
        trouble: Option<&HoldReason>,
        is_settling: bool,
        now: Now,
    ) -> Changed {
        let shown = self
            .reading
            .as_ref()
            .and_then(|reading| reading.value.as_ref());
        let conformity = match shown.and_then(|shown| self.band.holds(shown)) {
            // What it showed before it was written to says nothing.
            Some(true) if !is_settling => Conformity::InSync,
            Some(true) => Conformity::Unknown,
            Some(false) => Conformity::Drifting,
            None => Conformity::Unknown,
        };
        let because = match &standing.control {
            Control::Paused(why) => why.as_str(),
            Control::Active | Control::Shadow => "it was started again",
        };
        let trouble = trouble.map(|trouble| format!(": {trouble}"));
        let why = format!(
            "{because}; it goes to its safe value {to}{}",
            trouble.unwrap_or_default()
        );
        let status = HoldStatus {
            conformity,
            hold: Hold::Paused,
            reason: Some(HoldReason::Paused(why)),
        };
        self.say(status, Vec::new(), None, now)
    }
}
