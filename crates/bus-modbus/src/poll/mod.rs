//! One poll of one unit: which requests it takes, and what each answer makes of the points. Synchronous; who sends the
//! requests and when is `link/`.
//!
//! The readings are written in place, poll after poll: nothing is allocated for a point that is well.

mod region;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use holdfast_domain::{PointValue, Quality};
use holdfast_ports::readings::Reading;
use jiff::Timestamp;
use tokio::time::Instant;

use self::region::{Region, Unread};
use crate::data::{Block, Place, PlannedPoint};
use crate::settings::Waits;
use crate::words;

/// A read request, and the points (by their order in the plan) that its answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) place: Place,
    points: Range<usize>,
}

impl Request {
    fn of(block: &Block) -> Self {
        Self {
            place: block.place,
            points: block.points.clone(),
        }
    }
}

/// What an answer holds, as many items as were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Words(Vec<u16>),
    Bits(Vec<bool>),
}

/// Polls the points of one unit.
#[derive(Debug)]
pub(crate) struct Reader {
    regions: Vec<Region>,
    /// Where in `regions` the poll is.
    at: usize,
    /// Requests that the search may still make in this poll.
    budget: u32,
    /// One for each point, in the order of the plan.
    readings: Vec<Reading>,
    /// Points that are bad so far in this poll, and the first of them.
    bad: Option<Bad>,
}

/// The bad points of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The first, by its order in the plan.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Reader {
    pub(crate) fn new(points: &[PlannedPoint], blocks: &[Block], at: Timestamp) -> Self {
        let unread = |point: &PlannedPoint| Reading {
            point: point.id,
            value: None,
            quality: Quality::Bad,
            at,
            reason: None,
        };
        Self {
            regions: blocks.iter().cloned().map(Region::new).collect(),
            at: 0,
            budget: 0,
            readings: points.iter().map(unread).collect(),
            bad: None,
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&mut self, now: Instant, waits: &Waits) {
        self.at = 0;
        self.budget = waits.settings.search_requests;
        self.bad = None;
        self.regions.iter_mut().for_each(|region| region.begin(now));
    }

    /// The next request of the poll; none: all is read. The same until it is answered.
    pub(crate) fn next(&mut self, at: Timestamp) -> Option<Request> {
        while let Some(region) = self.regions.get_mut(self.at) {
            let (readings, bad) = (&mut self.readings, &mut self.bad);
            let request = region.next(&mut self.budget, |unread| mark(readings, bad, unread, at));
            if request.is_some() {
                return request;
            }
            region.settle();
            self.at += 1;
        }
        None
    }

    /// The answer to `request`.
    pub(crate) fn answered(
        &mut self,
        points: &[PlannedPoint],
        request: &Request,
        data: &Data,
        at: Timestamp,
    ) {
        self.regions[self.at].answered();
        let range = request.points.clone();
        let mut bad = 0;
        let mut first_bad = None;
        for (offset, (point, reading)) in points[range.clone()]
            .iter()
            .zip(&mut self.readings[range.clone()])
            .enumerate()
        {
            let from = usize::from(point.place.first - request.place.first);
            let value = match data {
                Data::Words(words) => point
                    .decoder
                    .value(&words[from..from + usize::from(point.place.count)]),
                Data::Bits(bits) => Ok(PointValue::Bool(bits[from])),
            };
            reading.at = at;
            match value {
                Ok(value) => {
                    reading.value = Some(value);
                    reading.quality = Quality::Good;
                    reading.reason = None;
                }
                Err(no_value) => {
                    reading.value = None;
                    reading.quality = Quality::Bad;
                    reading.reason = Some(no_value.reason());
                    bad += 1;
                    first_bad.get_or_insert(range.start + offset);
                }
            }
        }
        if let Some(first) = first_bad {
            count(&mut self.bad, first, bad);
        }
    }

    /// The request was answered with an exception, by the unit itself.
    pub(crate) fn exception(
        &mut self,
        points: &[PlannedPoint],
        request: &Request,
        exception: u8,
        (now, at): (Instant, Timestamp),
        waits: &Waits,
    ) {
        let region = &mut self.regions[self.at];
        let unread = if words::is_about_addresses(exception) {
            region.refused(points, exception, now, waits)
        } else {
            let reason = format!("{} at {}", words::exception(exception), request.place).into();
            region.failed(&reason, now, waits)
        };
        if let Some(unread) = unread {
            mark(&mut self.readings, &mut self.bad, unread, at);
        }
    }

    /// Nothing more can be read in this poll.
    pub(crate) fn fail_rest(&mut self, reason: &Arc<str>, at: Timestamp) {
        let first = self
            .regions
            .get(self.at)
            .map_or(self.readings.len(), Region::position);
        let unread = Unread {
            points: first..self.readings.len(),
            reason: Arc::clone(reason),
        };
        mark(&mut self.readings, &mut self.bad, unread, at);
        self.at = self.regions.len();
    }

    /// Nothing can be read.
    pub(crate) fn fail_all(&mut self, reason: &Arc<str>, at: Timestamp) {
        self.bad = None;
        let unread = Unread {
            points: 0..self.readings.len(),
            reason: Arc::clone(reason),
        };
        mark(&mut self.readings, &mut self.bad, unread, at);
        self.at = self.regions.len();
    }

    /// The instrument may have changed: what it refused is tried again in the next poll.
    pub(crate) fn look_again(&mut self, now: Instant) {
        self.regions
            .iter_mut()
            .for_each(|region| region.look_again(now));
    }

    /// What the last poll gave, in the order of the plan.
    pub(crate) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Which of them are bad.
    pub(crate) fn bad(&self) -> Option<Bad> {
        self.bad
    }
}

fn mark(readings: &mut [Reading], bad: &mut Option<Bad>, unread: Unread, at: Timestamp) {
    let Unread { points, reason } = unread;
    if points.is_empty() {
        return;
    }
    count(bad, points.start, points.len());
    for reading in &mut readings[points] {
        reading.value = None;
        reading.quality = Quality::Bad;
        reading.at = at;
        reading.reason = Some(Arc::clone(&reason));
    }
}

fn count(bad: &mut Option<Bad>, first: usize, more: usize) {
    match bad {
        Some(bad) => {
            bad.first = bad.first.min(first);
            bad.count += more;
        }
        None => *bad = Some(Bad { first, count: more }),
    }
}
