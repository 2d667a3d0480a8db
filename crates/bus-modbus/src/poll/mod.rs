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
    /// Points that were written after this poll had read them: what it read is not what stands there.
    overwritten: Vec<usize>,
    /// How often something new was found out about what can be read.
    findings: u64,
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
            overwritten: Vec::new(),
            findings: 0,
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&mut self, now: Instant, waits: &Waits) {
        self.begin_with(now, waits.settings.search_requests);
    }

    /// A poll begins that may make so many requests to find out which addresses are refused.
    pub(crate) fn begin_with(&mut self, now: Instant, search_requests: u32) {
        self.at = 0;
        self.budget = search_requests;
        self.overwritten.clear();
        self.regions.iter_mut().for_each(|region| region.begin(now));
    }

    /// The next request of the poll; none: all is read. The same until it is answered.
    pub(crate) fn next(&mut self, at: Timestamp) -> Option<Request> {
        while let Some(region) = self.regions.get_mut(self.at) {
            let readings = &mut self.readings;
            let request = region.next(&mut self.budget, |unread| mark(readings, unread, at));
            if request.is_some() {
                return request;
            }
            self.findings += u64::from(region.settle());
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
        self.findings += u64::from(self.regions[self.at].answered());
        let range = request.points.clone();
        for (point, reading) in points[range.clone()].iter().zip(&mut self.readings[range]) {
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
                }
            }
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
            self.findings += 1;
            region.refused(points, exception, now, waits)
        } else {
            let reason = format!("{} at {}", words::exception(exception), request.place).into();
            region.failed(&reason, now, waits)
        };
        if let Some(unread) = unread {
            mark(&mut self.readings, unread, at);
        }
    }

    /// Nothing more can be read in this poll.
    pub(crate) fn fail_rest(&mut self, reason: &Arc<str>, at: Timestamp) {
        let unread = Unread {
            points: self.position()..self.readings.len(),
            reason: Arc::clone(reason),
        };
        mark(&mut self.readings, unread, at);
        self.at = self.regions.len();
    }

    /// Nothing can be read.
    pub(crate) fn fail_all(&mut self, reason: &Arc<str>, at: Timestamp) {
        self.overwritten.clear();
        let unread = Unread {
            points: 0..self.readings.len(),
            reason: Arc::clone(reason),
        };
        mark(&mut self.readings, unread, at);
        self.at = self.regions.len();
    }

    /// The instrument may have changed: what it refused is tried again in the next poll.
    pub(crate) fn look_again(&mut self, now: Instant) {
        self.regions
            .iter_mut()
            .for_each(|region| region.look_again(now));
    }

    /// The first point that the poll has not dealt with.
    fn position(&self) -> usize {
        self.regions
            .get(self.at)
            .map_or(self.readings.len(), Region::position)
    }

    /// How often something new was found out about what can be read: while that stays, so does [`Self::is_one_part`].
    pub(crate) const fn findings(&self) -> u64 {
        self.findings
    }

    /// Are these two, next to each other in the plan, known to be readable in one request?
    pub(crate) fn is_one_part(&self, one: usize, other: usize) -> bool {
        let region = self.regions.partition_point(|region| region.end() <= one);
        self.regions
            .get(region)
            .is_some_and(|region| region.is_one_part(one, other))
    }

    /// `place` was written, or may have been: what this poll has read there before is not told any more.
    pub(crate) fn written(&mut self, points: &[PlannedPoint], place: Place) {
        let position = self.position();
        let read = points[..position].iter().enumerate();
        self.overwritten.extend(
            read.filter(|(_, point)| point.place.overlaps(place))
                .map(|(index, _)| index),
        );
    }

    /// A point was read outside of the poll; answers whether that says something new. What was read later than that
    /// stays.
    pub(crate) fn note(&mut self, index: usize, reading: &Reading) -> bool {
        let known = &mut self.readings[index];
        if reading.at < known.at {
            return false;
        }
        self.overwritten.retain(|other| *other != index);
        let Reading {
            point: _,
            value,
            quality,
            at: _,
            reason,
        } = reading;
        let is_new = (value, quality, reason) != (&known.value, &known.quality, &known.reason);
        known.clone_from(reading);
        is_new
    }

    /// Points whose readings are not to be told.
    pub(crate) fn overwritten(&self) -> &[usize] {
        &self.overwritten
    }

    /// What the last poll gave, in the order of the plan.
    pub(crate) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Which of them are bad.
    pub(crate) fn bad(&self) -> Option<Bad> {
        let is_bad = |reading: &&Reading| reading.value.is_none();
        let first = self.readings.iter().position(|reading| is_bad(&reading))?;
        let count = self.readings[first..].iter().filter(is_bad).count();
        Some(Bad { first, count })
    }
}

fn mark(readings: &mut [Reading], unread: Unread, at: Timestamp) {
    let Unread { points, reason } = unread;
    for reading in &mut readings[points] {
        reading.value = None;
        reading.quality = Quality::Bad;
        reading.at = at;
        reading.reason = Some(Arc::clone(&reason));
    }
}
