//! What of the value loop is written down, and when: at once what was ordered or has ended, and each minute how far things
//! have run down. Nothing is written that stands there already.

use holdfast_domain::hold::{Left, LoopMemory};

use super::{Effect, Holding, Machine, Now, local::Site};

/// How often what runs down is written, in ms: a restart sets it back by so much at most, and a disk takes it for decades.
const EACH_MS: u64 = 60_000;

/// The way of the loop's memory to the disk.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What stands there.
    kept: LoopMemory,
    /// What is being written, and which order on site is the last in it.
    writing: Option<(LoopMemory, Site, u64)>,
    is_dirty: bool,
    last_at: u64,
    failures: u32,
    not_before: u64,
    /// Does something run down besides a stop on site?
    pub(super) runs_down: bool,
}

impl Notes {
    pub(super) fn from_ledger(kept: LoopMemory, now_ms: u64) -> Self {
        Self {
            kept,
            last_at: now_ms,
            ..Self::default()
        }
    }

    /// Something must be written at once.
    pub(super) const fn dirty(&mut self) {
        self.is_dirty = true;
    }

    /// What stands on the disk.
    pub(super) const fn kept(&self) -> &LoopMemory {
        &self.kept
    }

    /// When something is to be written, in ms.
    fn next_at(&self, runs_down: bool) -> Option<u64> {
        let at = if self.is_dirty {
            0
        } else if runs_down {
            self.last_at + EACH_MS
        } else {
            return None;
        };
        self.writing.is_none().then_some(at.max(self.not_before))
    }
}

impl Holding {
    /// When something is to be written, in ms.
    pub(super) fn next_note_at(&self) -> Option<u64> {
        let runs_down =
            self.notes.runs_down || self.accounts.days_run || self.local.ends_at().is_some();
        self.notes.next_at(runs_down)
    }
}

impl Machine {
    /// Writes what is due.
    pub(super) fn write_notes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.holding.next_note_at().is_none_or(|at| at > now.ms) {
            return;
        }
        let memory = self.memory(now);
        self.holding.accounts.days_run = memory.days.values().any(|left| left.ms > 0);
        let local = &self.holding.local;
        let (site, serial) = (local.wanted.clone(), local.serial);
        let notes = &mut self.holding.notes;
        notes.is_dirty = false;
        notes.last_at = now.ms;
        // An end that was ordered twice is no news, but somebody waits for the second order too.
        if notes.kept == memory {
            self.local_kept(site, serial, &Ok(()), effects);
            return;
        }
        notes.writing = Some((memory.clone(), site, serial));
        effects.push(Effect::Remember(Box::new(memory)));
    }

    pub(in crate::machine) fn on_remembered(
        &mut self,
        result: &Result<(), String>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let notes = &mut self.holding.notes;
        let Some((memory, site, serial)) = notes.writing.take() else {
            return;
        };
        match result {
            Ok(()) => {
                notes.kept = memory;
                notes.failures = 0;
                notes.not_before = 0;
            }
            Err(_) => {
                notes.is_dirty = true;
                notes.failures = notes.failures.saturating_add(1);
                let delay = self
                    .settings
                    .item_backoff
                    .delay_ms(notes.failures, random)
                    .max(1);
                notes.not_before = now.ms + delay;
            }
        }
        self.local_kept(site, serial, result, effects);
    }

    /// All that must be known after a restart, as it is now.
    fn memory(&self, now: Now) -> LoopMemory {
        let holding = &self.holding;
        let target = self.target.held();
        let pauses = target
            .iter()
            .flat_map(|target| &target.hold.pauses)
            .filter(|pause| pause.remaining_ms.is_some())
            .map(|pause| {
                let end = holding.ends.get(&pause.id);
                (pause.id, end.map_or(0, |end| end.saturating_sub(now.ms)))
            });
        let setpoints = holding.outputs.iter().filter_map(|(point, output)| {
            let (revision, end) = output.ends()?;
            let ms = end.saturating_sub(now.ms);
            Some((*point, Left { revision, ms }))
        });
        let learned = holding
            .outputs
            .iter()
            .filter_map(|(point, output)| Some((*point, output.learned()?)));
        let silent = self.hub.silent_ms(now.ms);
        let counts =
            !holding.hub_limits.is_empty() && silent >= EACH_MS.min(holding.soonest_lost());
        LoopMemory {
            local: holding
                .local
                .wanted
                .stop
                .as_ref()
                .map(|stop| stop.told(now.ms)),
            local_ended: holding.local.wanted.ended.clone(),
            interval_ms: holding.local.wanted.interval_ms,
            setpoints: setpoints.collect(),
            learned: learned.collect(),
            pauses: pauses.collect(),
            hub_silent_ms: if counts { silent } else { 0 },
            settled: holding.settled.clone(),
            local_settled: holding.local_settled,
            hub_lost_settled: holding.hub_lost_settled,
            days: holding.days(now),
        }
    }
}
