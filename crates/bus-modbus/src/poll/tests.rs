//! One poll after the other against an instrument that is a function.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::backoff::Backoff;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::data::Spec;
use crate::fakes::{Document, NoJitter};
use crate::settings::Settings;

/// What refuses some addresses, or too many of them at once.
struct Instrument {
    bad: BTreeSet<u16>,
    most: u16,
    asked: Vec<Place>,
}

impl Instrument {
    fn read(&mut self, place: Place) -> Result<Data, u8> {
        self.asked.push(place);
        if place.count > self.most {
            return Err(words::code::ILLEGAL_DATA_VALUE);
        }
        let addresses = place.first..place.first + place.count;
        if addresses.clone().any(|address| self.bad.contains(&address)) {
            return Err(words::code::ILLEGAL_DATA_ADDRESS);
        }
        Ok(Data::Words(addresses.collect()))
    }
}

struct Bench {
    spec: Spec,
    reader: Reader,
    waits: Waits,
    now: Instant,
}

impl Bench {
    fn new(document: &Document) -> Self {
        let (_, spec) = Spec::of(&document.sensor()).unwrap();
        let reader = Reader::new(&spec.points, &spec.blocks, Timestamp::UNIX_EPOCH);
        let refused = Backoff {
            base_ms: 1_000,
            limit_ms: 8_000,
        };
        let settings = Settings {
            refused,
            ..Settings::default()
        };
        let waits = Waits {
            settings,
            entropy: Arc::new(NoJitter),
        };
        Self {
            spec,
            reader,
            waits,
            now: Instant::now(),
        }
    }

    fn poll(&mut self, instrument: &mut Instrument) {
        let at = Timestamp::UNIX_EPOCH;
        instrument.asked.clear();
        self.reader.begin(self.now, &self.waits);
        while let Some(request) = self.reader.next(at) {
            match instrument.read(request.place) {
                Ok(data) => self.reader.answered(&self.spec.points, &request, &data, at),
                Err(code) => {
                    self.reader.exception(
                        &self.spec.points,
                        &request,
                        code,
                        (self.now, at),
                        &self.waits,
                    );
                }
            }
        }
    }

    /// Polls until two polls in a row ask for the same: the search is over.
    fn poll_until_settled(&mut self, instrument: &mut Instrument) -> usize {
        let mut before = None;
        for polls in 1..200 {
            self.poll(instrument);
            if before.as_ref() == Some(&instrument.asked) {
                return polls;
            }
            before = Some(instrument.asked.clone());
        }
        panic!("still searching after 200 polls");
    }

    fn bad_addresses(&self) -> BTreeSet<u16> {
        let pairs = self.spec.points.iter().zip(self.reader.readings());
        pairs
            .filter(|(_, reading)| reading.value.is_none())
            .map(|(point, _)| point.place.first)
            .collect()
    }

    /// Checks what must hold of every reading, also in the midst of a search.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut bad = 0;
        for (point, reading) in self.spec.points.iter().zip(self.reader.readings()) {
            prop_assert_eq!(point.id, reading.point);
            match &reading.value {
                Some(value) => {
                    prop_assert_eq!(value, &PointValue::Integer(point.place.first.into()));
                    prop_assert_eq!((reading.quality, &reading.reason), (Quality::Good, &None));
                }
                None => {
                    bad += 1;
                    prop_assert_eq!(reading.quality, Quality::Bad);
                    prop_assert!(reading.reason.is_some());
                }
            }
        }
        prop_assert_eq!(self.reader.bad().map_or(0, |bad| bad.count), bad);
        Ok(())
    }
}

proptest! {
    #[test]
    fn exactly_the_points_at_bad_addresses_are_bad(
        wanted in prop::collection::btree_set(0_u16..400, 1..150),
        bad in prop::collection::btree_set(0_u16..400, 0..12),
        max_gap in prop::sample::select(vec![0_u16, 0, 3, 20]),
        most in prop::sample::select(vec![125_u16, 125, 16, 1]),
    ) {
        let document = wanted.iter().fold(Document::new(1, 502), |document, address| {
            document.point("holding", *address, "uint16")
        });
        let mut bench = Bench::new(&document.connection("maxGap", max_gap.into()));
        let mut instrument = Instrument { bad, most, asked: Vec::new() };
        for _ in 0..3 {
            bench.poll(&mut instrument);
            bench.check()?;
            let searching = instrument.asked.len();
            let budget = usize::try_from(bench.waits.settings.search_requests).expect("small");
            prop_assert!(searching <= wanted.len() + budget, "{searching} requests in one poll");
        }
        bench.poll_until_settled(&mut instrument);
        bench.check()?;
        let expected: BTreeSet<u16> = wanted.intersection(&instrument.bad).copied().collect();
        prop_assert_eq!(bench.bad_addresses(), expected);
        for place in &instrument.asked {
            let refused = instrument.bad.range(place.first..place.first + place.count).next();
            prop_assert!(refused.is_none() && place.count <= most, "still asks for {}", place);
        }

        // Mended, all comes back with the next trial and is fetched as planned.
        instrument.bad.clear();
        instrument.most = 125;
        bench.now += Duration::from_secs(8);
        bench.poll(&mut instrument);
        prop_assert_eq!(bench.bad_addresses(), BTreeSet::new());
        bench.poll(&mut instrument);
        let planned: Vec<Place> = bench.spec.blocks.iter().map(|block| block.place).collect();
        prop_assert_eq!(&instrument.asked, &planned);
    }
}

#[test]
fn one_bad_address_costs_one_request_more() {
    let mut bench = Bench::new(&Document::new(1, 502).holdings(0..100));
    let mut instrument = Instrument {
        bad: [37].into(),
        most: 125,
        asked: Vec::new(),
    };
    bench.poll(&mut instrument);
    assert_eq!(bench.bad_addresses(), [37].into());
    assert!(instrument.asked.len() <= 17, "{}", instrument.asked.len());
    bench.poll(&mut instrument);
    let counts: Vec<_> = instrument
        .asked
        .iter()
        .map(|place| (place.first, place.count))
        .collect();
    assert_eq!(counts, [(0, 37), (38, 62)]);
}

#[test]
fn the_whole_is_tried_again_with_growing_waits() {
    let mut bench = Bench::new(&Document::new(1, 502).holdings(0..10));
    let mut instrument = Instrument {
        bad: [3].into(),
        most: 125,
        asked: Vec::new(),
    };
    bench.poll_until_settled(&mut instrument);
    let mut trials = Vec::new();
    for second in 1..=40 {
        bench.now += Duration::from_secs(1);
        bench.poll(&mut instrument);
        if instrument.asked[0].count == 10 {
            trials.push(second);
        }
    }
    assert_eq!(trials, [1, 3, 7, 15, 23, 31, 39]);
}

#[test]
fn sixteen_bits_of_a_bad_register_are_one_search() {
    let document = (0..16).fold(Document::new(1, 502).holdings(0..8), |document, bit| {
        document.point("holding", 8, &format!("bit({bit})"))
    });
    let mut bench = Bench::new(&document);
    let mut instrument = Instrument {
        bad: [8].into(),
        most: 125,
        asked: Vec::new(),
    };
    bench.poll(&mut instrument);
    assert_eq!(bench.reader.bad().map(|bad| bad.count), Some(16));
    let singles = instrument
        .asked
        .iter()
        .filter(|place| (place.first, place.count) == (8, 1))
        .count();
    assert_eq!(singles, 1);
}

#[test]
fn what_a_failure_interrupts_keeps_what_was_read() {
    let mut bench = Bench::new(&Document::new(1, 502).holdings(0..2).holdings(10..12));
    let at = Timestamp::UNIX_EPOCH;
    bench.reader.begin(bench.now, &bench.waits);
    let request = bench.reader.next(at).unwrap();
    bench
        .reader
        .answered(&bench.spec.points, &request, &Data::Words(vec![0, 1]), at);
    assert!(bench.reader.next(at).is_some());
    bench.reader.fail_rest(&"no answer".into(), at);
    assert_eq!(bench.bad_addresses(), [10, 11].into());
    assert_eq!(bench.reader.bad(), Some(Bad { first: 2, count: 2 }));
}
