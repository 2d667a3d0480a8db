//! What is asked for on demand: one value to write, or some points to read. How an errand is answered, and what it is
//! planned with.
//!
//! Which errand is next is `queue.rs`; what comes of its requests is `desk/errands.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{PointId, PointValue, Quality, Sensor};
use holdfast_ports::bus::Fresh;
use holdfast_ports::readings::Reading;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::Key;
use crate::data::{NO_SUCH_POINT, Place, PlannedPoint, Spec, Write, blocks_of};
use crate::poll::{Data, Reader, Request};
use crate::settings::Waits;

/// A value that waits to be written.
pub(crate) struct WriteErrand {
    pub(super) key: Key,
    /// Its place in the order of all calls.
    pub(super) call: u64,
    /// The last read of this unit that was called before and is about what is written: that goes first.
    pub(super) after: Option<u64>,
    pub(super) point: PointId,
    pub(super) value: PointValue,
    pub(super) write: Write,
    /// The function that the instrument said it does not know.
    pub(super) refused_function: Option<u8>,
    /// After that it is not begun any more.
    pub(super) begin_by: Option<Instant>,
    pub(super) answer: oneshot::Sender<WriteOutcome>,
}

impl WriteErrand {
    pub(super) fn finish(self, outcome: WriteOutcome) {
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(outcome);
    }

    /// Does nobody wait for it any more?
    pub(super) fn is_deserted(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Points that wait to be read, or are being read.
pub(crate) struct ReadErrand {
    pub(super) key: Key,
    /// Its place in the order of all calls.
    pub(super) call: u64,
    pub(super) answer: oneshot::Sender<Vec<Fresh>>,
    plan: Box<Plan>,
    /// Its last answer came damaged.
    was_damaged: bool,
}

/// Which requests fetch the points, and what came of them so far. Who looks at the same points again and again needs the
/// same plan each time; so a unit keeps the last one.
pub(crate) struct Plan {
    /// What is asked for, in the order of the answer.
    wanted: Vec<PointId>,
    /// Where each of them stands in `points`; none: the sensor has no such point.
    places: Vec<Option<usize>>,
    /// In the order of their addresses.
    points: Vec<PlannedPoint>,
    /// Where each stands in the plan of the unit.
    indexes: Vec<usize>,
    reader: Reader,
    has_begun: bool,
    /// What it was made from: the content, and what the poll had found out by then.
    sensor: Arc<Sensor>,
    findings: u64,
}

impl ReadErrand {
    pub(super) fn new(key: Key, answer: oneshot::Sender<Vec<Fresh>>, plan: Box<Plan>) -> Self {
        Self {
            key,
            call: 0,
            answer,
            plan,
            was_damaged: false,
        }
    }

    /// An answer came damaged: may the request be made once more?
    pub(super) const fn may_ask_again(&mut self) -> bool {
        !std::mem::replace(&mut self.was_damaged, true)
    }

    /// The unit has other content now: what was read so far may have been something else.
    pub(super) fn plan_again(&mut self, spec: &Spec, known: &Reader, at: Timestamp) {
        let wanted = std::mem::take(&mut self.plan.wanted);
        self.plan = Plan::new(wanted, spec, known, at);
    }

    /// The next request; none: all is read. The same until it is answered.
    pub(super) fn next(&mut self, now: Instant, at: Timestamp) -> Option<Request> {
        let Plan {
            points,
            reader,
            has_begun,
            ..
        } = &mut *self.plan;
        if !*has_begun {
            *has_begun = true;
            // Halving asks for fewer than two requests a point, and these points are all wanted.
            let search = u32::try_from(points.len() * 2).unwrap_or(u32::MAX);
            reader.begin_with(now, search);
        }
        reader.next(at)
    }

    pub(super) fn answered(&mut self, request: &Request, data: &Data, at: Timestamp) {
        self.was_damaged = false;
        let Plan { points, reader, .. } = &mut *self.plan;
        reader.answered(points, request, data, at);
    }

    pub(super) fn exception(
        &mut self,
        request: &Request,
        code: u8,
        now: (Instant, Timestamp),
        waits: &Waits,
    ) {
        let Plan { points, reader, .. } = &mut *self.plan;
        reader.exception(points, request, code, now, waits);
    }

    /// Nothing more can be read.
    pub(super) fn fail(&mut self, reason: &Arc<str>, at: Timestamp) {
        self.plan.reader.fail_rest(reason, at);
    }

    /// What was read, each with the point's order in the plan of the unit.
    pub(super) fn readings(&self) -> impl Iterator<Item = (usize, &Reading)> {
        self.plan
            .indexes
            .iter()
            .copied()
            .zip(self.plan.reader.readings())
    }

    /// Is one of the points there?
    pub(super) fn is_about(&self, place: Place) -> bool {
        let mut points = self.plan.points.iter();
        points.any(|point| point.place.overlaps(place))
    }

    /// Answers with what was read; gives the plan, for the next errand of the same points.
    pub(super) fn finish(self) -> Box<Plan> {
        let Self { answer, plan, .. } = self;
        let readings = plan.reader.readings();
        let fresh = plan.places.iter().map(|place| match place {
            Some(place) => {
                let reading = &readings[*place];
                Fresh {
                    value: reading.value.clone(),
                    quality: reading.quality,
                    reason: reading.reason.as_deref().map(str::to_owned),
                }
            }
            None => bad(NO_SUCH_POINT),
        });
        // Whoever asked may have stopped waiting.
        let _ = answer.send(fresh.collect());
        plan
    }

    /// Answers that nothing could be read.
    pub(super) fn finish_unread(self, reason: &str) {
        let _ = self.answer.send(unread(self.plan.wanted.len(), reason));
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Plan {
    /// As few requests as the poll would make for these points, and none over what it has found to be refused.
    pub(super) fn new(
        wanted: Vec<PointId>,
        spec: &Spec,
        known: &Reader,
        at: Timestamp,
    ) -> Box<Self> {
        let is_wanted: BTreeSet<PointId> = wanted.iter().copied().collect();
        let found = spec.points.iter().enumerate();
        let (indexes, points): (Vec<usize>, Vec<PlannedPoint>) = found
            .filter(|(_, point)| is_wanted.contains(&point.id))
            .map(|(index, point)| (index, point.clone()))
            .unzip();
        let found = points.iter().enumerate();
        let places: BTreeMap<PointId, usize> =
            found.map(|(place, point)| (point.id, place)).collect();
        let places = wanted.iter().map(|point| places.get(point).copied());
        let blocks = blocks_of(&points, spec.max_gap, |one, other| {
            known.is_one_part(indexes[one], indexes[other])
        });
        Box::new(Self {
            places: places.collect(),
            reader: Reader::new(&points, &blocks, at),
            points,
            indexes,
            has_begun: false,
            sensor: Arc::clone(&spec.sensor),
            findings: known.findings(),
            wanted,
        })
    }

    /// Is it the plan for these points, as the unit is now? It is not any more if the sensor was edited, or if the poll has
    /// found out since what is refused.
    pub(super) fn is_for(&self, wanted: &[PointId], spec: &Spec, known: &Reader) -> bool {
        Arc::ptr_eq(&self.sensor, &spec.sensor)
            && self.findings == known.findings()
            && self.wanted == wanted
    }

    /// The same for the next time; none if it has found out for itself what is refused: that is asked for again.
    pub(super) fn anew(mut self: Box<Self>) -> Option<Box<Self>> {
        self.has_begun = false;
        (self.reader.findings() == 0).then_some(self)
    }
}

/// A point that could not be read.
pub(crate) fn bad(reason: &str) -> Fresh {
    Fresh {
        value: None,
        quality: Quality::Bad,
        reason: Some(reason.to_owned()),
    }
}

/// So many points that could not be read.
pub(crate) fn unread(count: usize, reason: &str) -> Vec<Fresh> {
    vec![bad(reason); count]
}
