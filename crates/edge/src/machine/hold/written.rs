//! What writes, and bookings of writes, came to.

use holdfast_domain::{
    PointId,
    hold::{Account, WriteOutcome},
};

use super::{Effect, Machine, Now, point::Output};

impl Machine {
    /// What a write came to.
    pub(in crate::machine) fn on_wrote(
        &mut self,
        point: PointId,
        outcome: WriteOutcome,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let holding = &mut self.holding;
        holding.writing.remove(&point);
        holding.awaited.remove(&point);
        if holding.come_into_force() {
            self.reporting.header_changed();
        }
        let wrote = |output: &mut Output| output.wrote(outcome, now, random);
        if self.holding.outputs.change(point, wrote).is_some() {
            self.look_at_output(point, now, random, effects);
        }
    }

    /// A block of writes is booked in the ledger, or could not be.
    pub(in crate::machine) fn on_booked(
        &mut self,
        point: PointId,
        booked: &Account,
        result: &Result<(), String>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        if result.is_ok() {
            self.holding.note_booked(point, booked, now);
        }
        self.reset_noted(point, result, now, random);
        let took = |output: &mut Output| output.booked(result, now, random);
        if self.holding.outputs.change(point, took).is_some() {
            self.look_at_output(point, now, random, effects);
        }
    }
}
