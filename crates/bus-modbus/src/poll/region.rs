//! What is known of one planned block: which parts of it the instrument lets be read.
//!
//! A block that is refused for its addresses is halved until what is refused can't be halved: only the points that lie
//! there are bad, and they are not asked again at each poll. What could be read is put together again into as few
//! requests as it allows. Now and then, the whole is tried again, and then each bad place alone, so that a mended
//! instrument recovers.
//!
//! The search takes as many polls as its budget wants; points that it has not placed yet are bad meanwhile.

use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use super::Request;
use crate::data::{Block, Place, PlannedPoint};
use crate::settings::Waits;
use crate::words;

/// One block and what was learned about it.
#[derive(Debug)]
pub(crate) struct Region {
    block: Block,
    /// In order; together they hold every point of the block.
    parts: Vec<Part>,
    /// Where in `parts` the poll is.
    at: usize,
    /// The poll asks for the whole first.
    trial: bool,
    /// When the whole is tried again; none while nothing was ever refused.
    retry: Option<Retry>,
    /// May parts that could be read be asked for in one request? Not where the instrument's limit is in their number.
    joinable: bool,
}

#[derive(Debug, Clone)]
struct Part {
    block: Block,
    state: PartState,
}

#[derive(Debug, Clone)]
enum PartState {
    /// Readable, as far as is known.
    Good,
    /// Within something that was refused, and not asked alone yet.
    Suspect(Arc<str>),
    /// Refused, and too small to be halved.
    Bad(Arc<str>),
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    failures: u32,
}

/// Points that get no value in this poll, and why.
pub(crate) struct Unread {
    pub(crate) points: Range<usize>,
    pub(crate) reason: Arc<str>,
}

impl Region {
    pub(crate) fn new(block: Block) -> Self {
        let parts = vec![Part {
            block: block.clone(),
            state: PartState::Good,
        }];
        Self {
            block,
            parts,
            at: 0,
            trial: false,
            retry: None,
            joinable: true,
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.at = 0;
        self.trial = self.retry.is_some_and(|retry| retry.at <= now);
    }

    /// The instrument may have changed: the next poll tries the whole.
    pub(crate) fn look_again(&mut self, now: Instant) {
        if let Some(retry) = &mut self.retry {
            *retry = Retry {
                at: now,
                failures: 0,
            };
        }
    }

    /// The next request of the poll; none: the region is done. `unread` is told what is passed over on the way.
    /// The search takes its requests out of `budget`.
    pub(crate) fn next(
        &mut self,
        budget: &mut u32,
        mut unread: impl FnMut(Unread),
    ) -> Option<Request> {
        if self.trial {
            return Some(Request::of(&self.block));
        }
        while let Some(part) = self.parts.get(self.at) {
            match &part.state {
                PartState::Good => return Some(Request::of(&part.block)),
                PartState::Suspect(_) if *budget > 0 => {
                    *budget -= 1;
                    return Some(Request::of(&part.block));
                }
                PartState::Suspect(reason) | PartState::Bad(reason) => {
                    unread(Unread {
                        points: part.block.points.clone(),
                        reason: Arc::clone(reason),
                    });
                    self.at += 1;
                }
            }
        }
        None
    }

    /// The first point that this poll has not dealt with.
    pub(crate) fn position(&self) -> usize {
        self.parts
            .get(self.at)
            .map_or(self.block.points.end, |part| part.block.points.start)
    }

    /// The point behind the last of this region.
    pub(crate) fn end(&self) -> usize {
        self.block.points.end
    }

    /// Are both points in one part that is readable, as far as is known?
    pub(crate) fn is_one_part(&self, one: usize, other: usize) -> bool {
        self.parts.iter().any(|part| {
            let points = &part.block.points;
            matches!(part.state, PartState::Good)
                && points.contains(&one)
                && points.contains(&other)
        })
    }

    /// The request was answered. Is that news?
    pub(crate) fn answered(&mut self) -> bool {
        let is_news = if self.trial {
            *self = Self::new(self.block.clone());
            true
        } else {
            let before = std::mem::replace(&mut self.parts[self.at].state, PartState::Good);
            !matches!(before, PartState::Good)
        };
        self.at += 1;
        is_news
    }

    /// The request was answered with an exception that is about addresses.
    pub(crate) fn refused(
        &mut self,
        points: &[PlannedPoint],
        exception: u8,
        now: Instant,
        waits: &Waits,
    ) -> Option<Unread> {
        let about_number = exception != words::code::ILLEGAL_DATA_ADDRESS;
        if self.trial {
            self.trial_failed(now, waits);
            self.joinable = !about_number;
            for part in &mut self.parts {
                if let PartState::Bad(reason) = &part.state {
                    part.state = PartState::Suspect(Arc::clone(reason));
                }
            }
            return None;
        }
        self.retry.get_or_insert_with(|| first_retry(now, waits));
        let part = &mut self.parts[self.at];
        let was_good = matches!(part.state, PartState::Good);
        // What was put together and is refused must stay apart.
        if about_number || (was_good && part.block != self.block) {
            self.joinable = false;
        }
        let reason: Arc<str> =
            format!("{} at {}", words::exception(exception), part.block.place).into();
        match halves(points, &part.block) {
            Some(halves) => {
                let suspect = |block| Part {
                    block,
                    state: PartState::Suspect(Arc::clone(&reason)),
                };
                self.parts.splice(self.at..=self.at, halves.map(suspect));
                None
            }
            None => {
                part.state = PartState::Bad(Arc::clone(&reason));
                let points = part.block.points.clone();
                self.at += 1;
                Some(Unread { points, reason })
            }
        }
    }

    /// The request was answered with another exception: no reason to search, none to think it readable.
    pub(crate) fn failed(
        &mut self,
        reason: &Arc<str>,
        now: Instant,
        waits: &Waits,
    ) -> Option<Unread> {
        if self.trial {
            self.trial_failed(now, waits);
            return None;
        }
        let points = self.parts[self.at].block.points.clone();
        self.at += 1;
        Some(Unread {
            points,
            reason: Arc::clone(reason),
        })
    }

    /// A poll has ended: what could be read next to each other is asked for together from now on. Is anything of it?
    pub(crate) fn settle(&mut self) -> bool {
        let searching = self
            .parts
            .iter()
            .any(|part| matches!(part.state, PartState::Suspect(_)));
        if self.parts.len() == 1 || searching || !self.joinable {
            return false;
        }
        let before = self.parts.len();
        let mut joined: Vec<Part> = Vec::with_capacity(self.parts.len());
        for part in self.parts.drain(..) {
            match joined
                .last_mut()
                .and_then(|last| Some((last.joined(&part)?, last)))
            {
                Some((block, last)) => last.block = block,
                None => joined.push(part),
            }
        }
        self.parts = joined;
        self.parts.len() != before
    }

    fn trial_failed(&mut self, now: Instant, waits: &Waits) {
        self.trial = false;
        let failures = self
            .retry
            .map_or(1, |retry| retry.failures.saturating_add(1));
        self.retry = Some(Retry {
            at: now + waits.after(waits.settings.refused, failures),
            failures,
        });
    }
}

fn first_retry(now: Instant, waits: &Waits) -> Retry {
    Retry {
        at: now + waits.after(waits.settings.refused, 1),
        failures: 1,
    }
}

impl Part {
    /// Both, if both are readable and nothing unwanted lies between them.
    fn joined(&self, next: &Self) -> Option<Block> {
        let (PartState::Good, PartState::Good) = (&self.state, &next.state) else {
            return None;
        };
        let touch = self.block.place.gap_to(next.block.place) == 0;
        let place = touch
            .then(|| self.block.place.with(next.block.place))
            .flatten()?;
        Some(Block {
            place,
            points: self.block.points.start..next.block.points.end,
        })
    }
}

/// The two halves of a block; none if all of its points lie at the same place.
fn halves(points: &[PlannedPoint], block: &Block) -> Option<[Block; 2]> {
    let Range { start, end } = block.points;
    let middle = usize::midpoint(start, end);
    let is_border = |at: &usize| points[at - 1].place != points[*at].place;
    let border = (middle.max(start + 1)..end)
        .find(is_border)
        .or_else(|| (start + 1..middle).rev().find(is_border))?;
    let half = |half: Range<usize>| Block {
        place: spanned(&points[half.clone()]),
        points: half,
    };
    Some([half(start..border), half(border..end)])
}

fn spanned(points: &[PlannedPoint]) -> Place {
    let places = points.iter().map(|point| point.place);
    places
        .reduce(|all, place| {
            all.with(place)
                .expect("part of a block that is within the limit")
        })
        .expect("a half has points")
}
