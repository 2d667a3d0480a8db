//! A stage for the desk, without sockets and without time passing: an instrument that takes so long for an answer, units
//! that are dead, functions that it does not know, answers as told; and the time of every request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::PointValue;
use holdfast_domain::hold::WriteOutcome;
use holdfast_ports::bus::{Fresh, StartError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::{Command, Desk, Key, Next};
use super::unit::NewUnit;
use super::wire::{Answer, Ask, Failure, What};
use crate::data::{Endpoint, Spec, Write};
use crate::fakes::{Document, NoJitter, SystemClock, Witness, point_id};
use crate::poll::Data;
use crate::settings::{Settings, Waits};
use crate::stats::{Counts, LinkStats};

pub(super) struct Stage {
    pub(super) desk: Desk,
    pub(super) counts: Counts,
    pub(super) witness: Arc<Witness>,
    pub(super) start: Instant,
    pub(super) now: Instant,
    /// How long the answering units take.
    pub(super) service: Duration,
    pub(super) dead: BTreeSet<u8>,
    /// Nobody listens.
    pub(super) refused: bool,
    /// When which unit was asked, in ms from the start.
    pub(super) asked: Vec<(u64, u8)>,
    pub(super) connects: Vec<u64>,
    /// Every request, such as "2 reads holding 0 to 4" or "1 writes holding 7 (6)".
    pub(super) log: Vec<String>,
    /// Functions that get exception 1.
    pub(super) unknown_functions: BTreeSet<u8>,
    /// Registers that can't be read: exception 2.
    pub(super) no_such: BTreeSet<u16>,
    /// How the next requests that write end, instead of well.
    pub(super) script: VecDeque<Result<Answer, Failure>>,
    /// How the next requests that read fail, instead of ending well.
    pub(super) read_script: VecDeque<Failure>,
    /// What was sent to be written with function 6, to whom.
    pub(super) words: Vec<(u8, u16)>,
    /// Holding registers that were written, and the coils as 0 and 1.
    pub(super) registers: BTreeMap<(u8, u16), u16>,
}

impl Stage {
    pub(super) fn new(service_ms: u64) -> Self {
        let endpoint = Endpoint::Tcp {
            host: "plc".into(),
            port: 502,
        };
        let waits = Waits {
            settings: Settings::default(),
            entropy: Arc::new(NoJitter),
        };
        let counts = Counts::default();
        let start = Instant::now();
        Self {
            desk: Desk::new(endpoint, Arc::new(SystemClock), waits, counts.clone()),
            counts,
            witness: Witness::new(),
            start,
            now: start,
            service: Duration::from_millis(service_ms),
            dead: BTreeSet::new(),
            refused: false,
            asked: Vec::new(),
            connects: Vec::new(),
            log: Vec::new(),
            unknown_functions: BTreeSet::new(),
            no_such: BTreeSet::new(),
            script: VecDeque::new(),
            read_script: VecDeque::new(),
            words: Vec::new(),
            registers: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, unit: u8, interval_ms: u32, timeout_ms: u32) {
        let document = Document::new(unit.into(), 502)
            .unit(unit)
            .interval_ms(interval_ms)
            .timeout_ms(timeout_ms)
            .holdings(0..1);
        let new = self.new_unit(&document, None);
        self.desk
            .obey(Command::Add(unit.into(), Box::new(new)), self.now);
    }

    pub(super) fn new_unit(
        &self,
        document: &Document,
        starting: Option<oneshot::Sender<Result<(), StartError>>>,
    ) -> NewUnit {
        let (_, spec) = Spec::of(&document.sensor()).expect("a Modbus sensor");
        let (readings, health) = (Arc::clone(&self.witness), Arc::clone(&self.witness));
        NewUnit {
            spec,
            readings,
            health,
            starting,
        }
    }

    pub(super) fn elapsed(&self) -> u64 {
        u64::try_from((self.now - self.start).as_millis()).expect("a short test")
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        let end = self.start + Duration::from_millis(end_ms);
        while self.now < end {
            let next = self.desk.next(self.now);
            self.carry_out(next, Some(end));
        }
    }

    /// Does what the desk said, waiting at most until `end`.
    fn carry_out(&mut self, next: Next, end: Option<Instant>) {
        match next {
            Next::Wait(until) => {
                let until = until.expect("units are polled for ever");
                assert!(until > self.now, "waits for what has come: this spins");
                self.now = end.map_or(until, |end| end.min(until));
            }
            Next::Connect => {
                self.connects.push(self.elapsed());
                let result = if self.refused {
                    Err("connection refused".to_owned())
                } else {
                    Ok(())
                };
                self.desk.connected(result, self.now);
            }
            Next::Ask(ask) => self.answer(&ask),
        }
    }

    pub(super) fn answer(&mut self, ask: &Ask) {
        self.asked.push((self.elapsed(), ask.unit_id));
        self.log.push(match &ask.what {
            What::Read(place) => format!("{} reads {place}", ask.unit_id),
            What::Write(write) => {
                format!("{} writes {write} ({})", ask.unit_id, write.function())
            }
        });
        if let What::Write(Write::Register { word, .. }) = ask.what {
            self.words.push((ask.unit_id, word));
        }
        let result = self.result(ask);
        self.now += if result == Err(Failure::TimedOut) {
            ask.deadline
        } else {
            self.service
        };
        let is_usable = result.is_ok();
        assert_eq!(self.desk.answered(result, self.now), is_usable);
    }

    fn result(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        if self.dead.contains(&ask.unit_id) {
            return Err(Failure::TimedOut);
        }
        match &ask.what {
            What::Read(_) if !self.read_script.is_empty() => {
                Err(self.read_script.pop_front().expect("one"))
            }
            What::Read(place) => {
                let addresses = place.first..place.first + place.count;
                if self.no_such.range(addresses.clone()).next().is_some() {
                    return Ok(Answer::Exception(2));
                }
                let register = |address| self.registers.get(&(ask.unit_id, address));
                let words = addresses.map(|address| register(address).copied().unwrap_or(7));
                Ok(Answer::Data(Data::Words(words.collect())))
            }
            What::Write(_) if !self.script.is_empty() => self.script.pop_front().expect("one"),
            What::Write(write) if self.unknown_functions.contains(&write.function()) => {
                Ok(Answer::Exception(1))
            }
            What::Write(write) => {
                let words: &[u16] = match write {
                    Write::Coil { on, .. } => &[u16::from(*on)],
                    Write::Register { word, .. } => &[*word],
                    Write::Registers { words, .. } => words,
                    Write::Bits { bits, .. } => &[*bits],
                };
                for (address, word) in (write.place().first..).zip(words) {
                    self.registers.insert((ask.unit_id, address), *word);
                }
                Ok(Answer::Written)
            }
        }
    }

    /// Asks to write a value to a point.
    pub(super) fn write(
        &mut self,
        key: Key,
        point: u64,
        value: i64,
    ) -> oneshot::Receiver<WriteOutcome> {
        let (answer, outcome) = oneshot::channel();
        let value = PointValue::Integer(value);
        let command = Command::Write(key, point_id(point), value, answer);
        self.desk.obey(command, self.now);
        outcome
    }

    /// Asks to write a value to a point within so many ms, or not at all.
    pub(super) fn write_within(
        &mut self,
        key: Key,
        point: u64,
        value: i64,
        ms: u64,
    ) -> oneshot::Receiver<WriteOutcome> {
        let (answer, outcome) = oneshot::channel();
        let by = self.now + Duration::from_millis(ms);
        let value = PointValue::Integer(value);
        let command = Command::WriteBy(by, key, point_id(point), value, answer);
        self.desk.obey(command, self.now);
        outcome
    }

    /// Asks to read points.
    pub(super) fn read(&mut self, key: Key, points: &[u64]) -> oneshot::Receiver<Vec<Fresh>> {
        let (answer, fresh) = oneshot::channel();
        let points = points.iter().copied().map(point_id).collect();
        self.desk.obey(Command::Read(key, points, answer), self.now);
        fresh
    }

    /// Goes on up to and with the next request.
    pub(super) fn step(&mut self) {
        let requests = self.asked.len();
        while self.asked.len() == requests {
            let next = self.desk.next(self.now);
            self.carry_out(next, None);
        }
    }

    /// Goes on for so many requests, and says which.
    pub(super) fn steps(&mut self, count: usize) -> Vec<String> {
        let from = self.log.len();
        (0..count).for_each(|_| self.step());
        self.log[from..].to_vec()
    }

    pub(super) fn times(&self, unit: u8) -> Vec<u64> {
        self.asked
            .iter()
            .filter(|(_, asked)| *asked == unit)
            .map(|(time, _)| *time)
            .collect()
    }

    pub(super) fn stats(&self) -> LinkStats {
        self.counts.link.snapshot()
    }
}
