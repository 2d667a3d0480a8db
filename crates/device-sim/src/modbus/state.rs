//! What all connections of an instrument share: units, faults, counters, and how one request goes through
//! them.
//!
//! One lock, never held across an await. Whoever waits for something watches [`Shared::totals`] or
//! [`Shared::faults_changed`]; both are sent after the change they tell of is in place.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::codes::Exception;
use super::counts::{Counts, RequestRecord, Totals};
use super::faults::{Answering, Faults, FaultsInForce};
use super::frame::Frame;
use super::pdu;
use super::unit::Unit;
use crate::clock::Clock;

/// What becomes of a request to a unit that isn't there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownUnit {
    /// Exception 0x0B, as gateways do.
    #[default]
    GatewayException,
    /// No answer, as instruments on a line do.
    Silent,
}

/// The shared part of an instrument.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Follows the counters.
    pub(super) totals: watch::Sender<Totals>,
    /// Says that faults were set or lifted.
    pub(super) faults_changed: watch::Sender<()>,
    /// More connections than this are turned away.
    pub(super) max_connections: u64,
}

/// Behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) units: BTreeMap<u8, Unit>,
    pub(super) unknown_unit: UnknownUnit,
    pub(super) whole_faults: Faults,
    pub(super) unit_faults: BTreeMap<u8, Faults>,
    pub(super) counts: Counts,
}

/// What the wire has to do about one request.
#[derive(Debug)]
pub(super) struct Reply {
    /// The answer PDU; none if there is none, by fault or because the unit isn't there.
    pub(super) pdu: Option<Vec<u8>>,
    pub(super) answering: Answering,
    pub(super) delay: Duration,
    /// The connection ends after this.
    pub(super) last: bool,
}

impl Shared {
    pub(super) fn new(state: State, max_connections: u64) -> Self {
        Self {
            state: Mutex::new(state),
            totals: watch::Sender::new(Totals::default()),
            faults_changed: watch::Sender::new(()),
            max_connections,
        }
    }

    /// The state. A panic of another holder leaves nothing half done that a simulator would mind.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the totals and tells it.
    pub(super) fn count<R>(&self, change: impl FnOnce(&mut Totals) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.counts.totals);
        self.totals.send_replace(state.counts.totals);
        result
    }

    /// Counts a request and carries it out. `served`: which request of its connection it is, from 1.
    pub(super) fn handle(&self, frame: &Frame, connection: u64, served: u64) -> Reply {
        let mut state = self.lock();
        let reply = state.handle(frame, connection, served);
        self.totals.send_replace(state.counts.totals);
        reply
    }

    /// What becomes of the answers of `unit` now.
    pub(super) fn answering(&self, unit: u8) -> Answering {
        self.lock().faults_of(unit).answering()
    }
}

impl State {
    fn faults_of(&self, unit: u8) -> FaultsInForce<'_> {
        FaultsInForce::new(&self.whole_faults, self.unit_faults.get(&unit))
    }

    fn handle(&mut self, frame: &Frame, connection: u64, served: u64) -> Reply {
        let at = self.clock.elapsed();
        self.counts.arrived(RequestRecord {
            at,
            connection,
            unit: frame.unit,
            pdu: frame.pdu.to_vec(),
        });
        let faults = self.faults_of(frame.unit);
        let (answering, delay, last) =
            (faults.answering(), faults.delay(), faults.ends_with(served));
        let function = frame.pdu[0];
        let outcome = match answering {
            Answering::Silent => None,
            Answering::Exception(exception) => Some(Err(exception)),
            _ => self.carry_out(frame.unit, &frame.pdu, at),
        };
        let pdu = outcome.map(|result| match result {
            Ok(answer) => answer,
            Err(exception) => {
                self.counts.earned_exception(frame.unit);
                exception.answer(function).to_vec()
            }
        });
        Reply {
            pdu,
            answering,
            delay,
            last,
        }
    }

    /// None: there is no such unit and nobody says so.
    fn carry_out(
        &mut self,
        unit: u8,
        pdu: &[u8],
        elapsed: Duration,
    ) -> Option<Result<Vec<u8>, Exception>> {
        let Self {
            units,
            unknown_unit,
            whole_faults,
            unit_faults,
            ..
        } = self;
        let faults = FaultsInForce::new(whole_faults, unit_faults.get(&unit));
        let Some(unit) = units.get_mut(&unit) else {
            return match unknown_unit {
                UnknownUnit::GatewayException => {
                    Some(Err(Exception::GatewayTargetDeviceFailedToRespond))
                }
                UnknownUnit::Silent => None,
            };
        };
        let mut carry_out = || {
            if !faults.knows(pdu[0]) {
                return Err(Exception::IllegalFunction);
            }
            let request = pdu::parse(pdu)?;
            faults.check(&request)?;
            let mut answer = vec![pdu[0]];
            unit.carry_out(
                request,
                &pdu[1..],
                faults.write_rule(),
                elapsed,
                &mut answer,
            )?;
            Ok(answer)
        };
        Some(carry_out())
    }
}
