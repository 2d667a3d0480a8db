//! What can go wrong with an instrument, as data: set while it runs, for the whole or for one unit.
//!
//! A pulled cable is not here but at [`super::ModbusInstrument::unplug`]. How the faults go over the wire
//! is `server.rs`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::bank::{Table, Taken};
use super::codes::{Exception, Function};
use super::pdu::{Request, Span};

/// Everything that is wrong at the moment. The default is a healthy instrument.
///
/// Faults of the whole instrument and of a unit apply together: delays and refusals of both, the lower of
/// two limits; of [`Answering`] and [`WriteRule`] the whole instrument's, unless that is the healthy one.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// What becomes of the answers.
    pub answering: Answering,
    /// How long the answer to each request takes; the request is carried out first. As on a shared line, what comes after it on the same connection waits.
    pub delay: Duration,
    /// Addresses that answer with an exception.
    pub refusals: Vec<Refusal>,
    /// Functions that it does not know: they get exception 1.
    pub unknown_functions: Vec<Function>,
    /// Reads of more registers than this get exception 3 (some instruments take far fewer than 125).
    pub max_read_registers: Option<u16>,
    /// Each connection is closed right after its so-many-th request, counted from its start, was answered.
    pub close_after: Option<u64>,
    /// What becomes of the values that clients write.
    pub write_rule: WriteRule,
}

impl Faults {
    /// A healthy instrument.
    const NONE: Self = Self {
        answering: Answering::Healthy,
        delay: Duration::ZERO,
        refusals: Vec::new(),
        unknown_functions: Vec::new(),
        max_read_registers: None,
        close_after: None,
        write_rule: WriteRule::Obey,
    };

    /// Takes requests, carries nothing out, never answers.
    #[must_use]
    pub fn silent() -> Self {
        Self::answering(Answering::Silent)
    }

    /// Takes `delay` for each request.
    #[must_use]
    pub fn slow(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::NONE
        }
    }

    /// Healthy apart from its answers.
    #[must_use]
    pub fn answering(answering: Answering) -> Self {
        Self {
            answering,
            ..Self::NONE
        }
    }

    /// Answers reads and writes that touch `addresses` of `table` with `exception`.
    #[must_use]
    pub fn refusing(table: Table, addresses: RangeInclusive<u16>, exception: Exception) -> Self {
        let refusal = Refusal {
            access: Access::Any,
            table,
            addresses,
            exception,
        };
        Self {
            refusals: vec![refusal],
            ..Self::NONE
        }
    }

    /// Knows all functions but these.
    #[must_use]
    pub fn without(functions: &[Function]) -> Self {
        Self {
            unknown_functions: functions.to_vec(),
            ..Self::NONE
        }
    }

    /// Acknowledges writes according to `write_rule`.
    #[must_use]
    pub fn writing(write_rule: WriteRule) -> Self {
        Self {
            write_rule,
            ..Self::NONE
        }
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// It is sent.
    #[default]
    Healthy,
    /// The request is counted and not carried out; there is no answer.
    Silent,
    /// The request is carried out; the answer is lost.
    Lost,
    /// The request is carried out; the answer waits until this fault is lifted and then comes late, on the
    /// same connection. At most 64 wait on one connection; what is more is lost.
    Withheld,
    /// The first half of the answer is sent and the rest never; the connection stays open and goes on.
    HalfFrame,
    /// The first half of the answer is sent, then the connection is closed.
    HalfFrameThenClose,
    /// The request is carried out and the connection closed without an answer.
    Close,
    /// 16 bytes that are no Modbus frame come instead of the answer. Read as a header they announce a long
    /// frame, so a client that doesn't look at the protocol id first waits for more.
    Garbage,
    /// The answer carries the transaction id before the request's, as a stale answer would. RTU has none: a healthy answer.
    WrongTransactionId,
    /// RTU: one bit behind the head of the answer is wrong, and so is its checksum. Modbus TCP has none: a healthy answer.
    WrongChecksum,
    /// RTU: seven bytes that nobody sent stand before the answer, the last three like an answer's first. Modbus TCP: a
    /// healthy answer, because a socket carries no noise.
    NoiseBefore,
    /// The answer names the next unit.
    WrongUnit,
    /// A well-formed answer to a read that lacks its last register (for bits: its last byte).
    TooFewValues,
    /// A write is carried out; its answer names the next address. Reads are answered well.
    OtherEcho,
    /// Each request is answered with this exception and not carried out.
    Exception(Exception),
}

/// What a [`Refusal`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both.
    Any,
}

/// Addresses that answer with an exception, and nothing is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reads, writes or both.
    pub access: Access,
    /// The table.
    pub table: Table,
    /// A request that touches one of these is refused as a whole.
    pub addresses: RangeInclusive<u16>,
    /// The answer.
    pub exception: Exception,
}

impl Refusal {
    fn concerns(&self, access: Access, table: Table, span: Span) -> bool {
        (self.access == Access::Any || self.access == access)
            && self.table == table
            && *self.addresses.start() <= span.last()
            && span.first() <= *self.addresses.end()
    }
}

/// What an instrument makes of a value that it acknowledged. Registers are seen one by one, as unsigned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteRule {
    /// It takes it.
    #[default]
    Obey,
    /// It drops it and keeps what it had.
    Ignore,
    /// It takes the multiple of this step that is next below. A step of 0 or 1 changes nothing.
    RoundDownTo(u16),
    /// It takes the nearest value in this range.
    Limit(RangeInclusive<u16>),
    /// It takes it after so many more reads, which show what was before. A coil takes it at once.
    Late(u64),
    /// It takes it, and reading it earns exception 4 from then on. A coil takes it and shows it.
    Hide,
}

impl WriteRule {
    /// What becomes of a register.
    pub(super) fn register(&self, written: u16) -> Taken<u16> {
        match self {
            Self::Obey => Taken::Now(written),
            Self::Ignore => Taken::Not,
            Self::RoundDownTo(step) => Taken::Now(written - written % (*step).max(1)),
            Self::Limit(range) => Taken::Now(written.min(*range.end()).max(*range.start())),
            Self::Late(reads) => Taken::After(written, *reads),
            Self::Hide => Taken::Hidden(written),
        }
    }

    /// What becomes of a coil.
    pub(super) fn bit(&self, written: bool) -> Taken<bool> {
        match self {
            Self::Obey | Self::RoundDownTo(_) | Self::Limit(_) | Self::Late(_) | Self::Hide => {
                Taken::Now(written)
            }
            Self::Ignore => Taken::Not,
        }
    }
}

/// The faults that apply to one request: the whole instrument's and its unit's.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultsInForce<'a> {
    whole: &'a Faults,
    unit: &'a Faults,
}

/// What applies to a unit that no faults were set for.
static HEALTHY: Faults = Faults::NONE;

impl<'a> FaultsInForce<'a> {
    pub(super) fn new(whole: &'a Faults, unit: Option<&'a Faults>) -> Self {
        Self {
            whole,
            unit: unit.unwrap_or(&HEALTHY),
        }
    }

    pub(super) fn answering(self) -> Answering {
        match self.whole.answering {
            Answering::Healthy => self.unit.answering,
            of_the_whole => of_the_whole,
        }
    }

    pub(super) fn delay(self) -> Duration {
        self.whole.delay + self.unit.delay
    }

    pub(super) fn write_rule(self) -> &'a WriteRule {
        match &self.whole.write_rule {
            WriteRule::Obey => &self.unit.write_rule,
            of_the_whole => of_the_whole,
        }
    }

    /// Whether a connection ends with its `served`th request (1 is the first).
    pub(super) fn ends_with(self, served: u64) -> bool {
        [self.whole, self.unit]
            .iter()
            .any(|faults| faults.close_after.is_some_and(|limit| served >= limit))
    }

    /// Whether the instrument knows a function.
    pub(super) fn knows(self, code: u8) -> bool {
        let mut unknown = self.whole.unknown_functions.iter();
        let mut of_unit = self.unit.unknown_functions.iter();
        unknown.all(|function| function.code() != code)
            && of_unit.all(|function| function.code() != code)
    }

    /// Refuses what these faults don't let through.
    pub(super) fn check(self, request: &Request<'_>) -> Result<(), Exception> {
        match *request {
            Request::Read { table, span } => self.check_read(table, span),
            Request::WriteCoils { span, .. } => self.check_span(Access::Write, Table::Coil, span),
            Request::WriteRegisters { span, .. } => {
                self.check_span(Access::Write, Table::Holding, span)
            }
            Request::MaskWrite { address, .. } => {
                let span = Span::new(address, 1).expect("one address is always a span");
                self.check_span(Access::Write, Table::Holding, span)
            }
            Request::ReadWrite { read, write, .. } => {
                self.check_read(Table::Holding, read)?;
                self.check_span(Access::Write, Table::Holding, write)
            }
        }
    }

    fn check_read(self, table: Table, span: Span) -> Result<(), Exception> {
        let too_many = |faults: &Faults| {
            faults
                .max_read_registers
                .is_some_and(|limit| span.quantity() > limit)
        };
        if !table.holds_bits() && (too_many(self.whole) || too_many(self.unit)) {
            return Err(Exception::IllegalDataValue);
        }
        self.check_span(Access::Read, table, span)
    }

    fn check_span(self, access: Access, table: Table, span: Span) -> Result<(), Exception> {
        let mut refusals = self.whole.refusals.iter().chain(&self.unit.refusals);
        match refusals.find(|refusal| refusal.concerns(access, table, span)) {
            Some(refusal) => Err(refusal.exception),
            None => Ok(()),
        }
    }
}
