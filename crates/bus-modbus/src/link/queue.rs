//! The errands that wait for a link: bounded, units taking turns.
//!
//! A unit's writes go in the order of their calls, and so do its reads. Writes come before reads, but for this: a write
//! waits for the reads of its unit that were called before and are about the same addresses, so that no answer shows
//! what stood there before a write that has ended.

use std::collections::{BTreeMap, VecDeque};

use super::desk::Key;
use super::errand::{ReadErrand, WriteErrand};
use super::order::Rank;

/// So many errands wait for a link before units are held to their part of it. A line that needs 10 ms for a request takes
/// 5 s for as many: more than that is not worth waiting for, and whoever asks comes again.
const MOST_FREELY: usize = 512;

/// The errands of one link.
#[derive(Default)]
pub(super) struct Queue {
    lanes: BTreeMap<Key, Lane>,
    count: usize,
    calls: u64,
    turns: u64,
}

/// The errands of one unit.
struct Lane {
    writes: VecDeque<WriteErrand>,
    reads: VecDeque<ReadErrand>,
    /// When it had its last turn, or came.
    turn: u64,
}

/// What a unit's turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Write(Key),
    Read(Key),
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Is there room for one more of this unit, one of so many? In a queue that is half full there is for those that
    /// have less than their part of the other half: nobody fills it for all.
    pub(super) fn has_room(&self, key: Key, units: usize) -> bool {
        let own = self
            .lanes
            .get(&key)
            .map_or(0, |lane| lane.writes.len() + lane.reads.len());
        self.count < MOST_FREELY || own < MOST_FREELY / units.max(1)
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn push_write(&mut self, mut errand: WriteErrand, under_way: Option<&ReadErrand>) {
        self.calls += 1;
        errand.call = self.calls;
        let place = errand.write.place();
        let lane = self.lane(errand.key);
        let waiting = lane.reads.iter().chain(under_way);
        errand.after = waiting
            .filter(|read| read.key == errand.key && read.is_about(place))
            .map(|read| read.call)
            .max();
        lane.writes.push_back(errand);
        self.count += 1;
    }

    pub(super) fn push_read(&mut self, mut errand: ReadErrand) {
        self.calls += 1;
        errand.call = self.calls;
        self.lane(errand.key).reads.push_back(errand);
        self.count += 1;
    }

    /// Puts back what was taken and is not done.
    pub(super) fn put_back_write(&mut self, errand: WriteErrand) {
        self.lane(errand.key).writes.push_front(errand);
        self.count += 1;
    }

    /// The same.
    pub(super) fn put_back_read(&mut self, errand: ReadErrand) {
        self.lane(errand.key).reads.push_front(errand);
        self.count += 1;
    }

    /// Whose turn it is within a rank; none if nothing of it waits.
    pub(super) fn turn(&self, rank: Rank) -> Option<Turn> {
        let lanes = self.lanes.iter();
        match rank {
            Rank::Write => lanes
                .filter(|(_, lane)| !lane.writes.is_empty())
                .min_by_key(|(_, lane)| lane.turn)
                .map(|(key, lane)| lane.write_turn(*key)),
            Rank::Read => lanes
                .filter(|(_, lane)| lane.may_read())
                .min_by_key(|(_, lane)| lane.turn)
                .map(|(key, _)| Turn::Read(*key)),
            Rank::Poll => None,
        }
    }

    pub(super) fn take_write(&mut self, key: Key) -> WriteErrand {
        let errand = self.took(key).writes.pop_front();
        errand.expect("it was this unit's turn to write")
    }

    pub(super) fn take_read(&mut self, key: Key) -> ReadErrand {
        let errand = self.took(key).reads.pop_front();
        errand.expect("it was this unit's turn to read")
    }

    /// Takes out all of a unit.
    pub(super) fn clear(&mut self, key: Key) -> (VecDeque<WriteErrand>, VecDeque<ReadErrand>) {
        let Some(lane) = self.lanes.remove(&key) else {
            return Default::default();
        };
        self.count -= lane.writes.len() + lane.reads.len();
        (lane.writes, lane.reads)
    }

    /// The reads of a unit that wait.
    pub(super) fn reads_of(&mut self, key: Key) -> impl Iterator<Item = &mut ReadErrand> {
        let lane = self.lanes.get_mut(&key).into_iter();
        lane.flat_map(|lane| lane.reads.iter_mut())
    }

    /// Takes out the writes of a unit, to be given back in their order.
    pub(super) fn take_writes_of(&mut self, key: Key) -> VecDeque<WriteErrand> {
        let lane = self.lanes.get_mut(&key);
        let writes = lane.map(|lane| std::mem::take(&mut lane.writes));
        let writes = writes.unwrap_or_default();
        self.count -= writes.len();
        writes
    }

    /// Gives back one of them.
    pub(super) fn give_back_write(&mut self, errand: WriteErrand) {
        self.lane(errand.key).writes.push_back(errand);
        self.count += 1;
    }

    /// The units that wait.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.lanes.keys().copied().collect()
    }

    fn lane(&mut self, key: Key) -> &mut Lane {
        let turn = self.turns;
        self.lanes.entry(key).or_insert_with(|| Lane {
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            turn,
        })
    }

    fn took(&mut self, key: Key) -> &mut Lane {
        self.turns += 1;
        self.count -= 1;
        let turn = self.turns;
        let lane = self.lane(key);
        lane.turn = turn;
        lane
    }
}

impl Lane {
    /// The first write, or the read that it waits for.
    fn write_turn(&self, key: Key) -> Turn {
        let after = self.writes.front().and_then(|write| write.after);
        match self.reads.front() {
            Some(read) if Some(read.call) <= after => Turn::Read(key),
            Some(_) | None => Turn::Write(key),
        }
    }

    /// Is there a read that was called before all writes that wait? Others are about what stands there after them.
    fn may_read(&self) -> bool {
        let first_write = self.writes.front().map_or(u64::MAX, |write| write.call);
        self.reads
            .front()
            .is_some_and(|read| read.call < first_write)
    }
}
