//! What a decision is made from, and what comes of it.

use alloc::{string::String, vec::Vec};

use super::{
    band::{Band, Resolution},
    budget::{BudgetView, WriteBudget},
    guard::{Guard, GuardFailure},
    track::Track,
};
use crate::{
    canonical::Fingerprint,
    document::{
        point::{Limits, PointKind},
        setpoint::{Conformity, Hold, Setpoint},
    },
    value::{PointValue, Quality},
};

/// What was last read of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The value; `None`: it could not be read.
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// When the instrument was asked, in ms of the loop's clock: what it shows is not older.
    pub at_ms: u64,
    /// Why it is not good.
    pub reason: Option<String>,
}

/// What a point's document says of writing it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRules {
    /// Its write identity: connection, address, type and scale.
    pub identity: Fingerprint,
    /// Only a level is ever held.
    pub kind: PointKind,
    /// May it be written at all?
    pub writable: bool,
    /// How finely it takes values.
    pub resolution: Resolution,
    /// What may be written.
    pub limits: Option<Limits>,
    /// How long after a write a read shows it, in ms.
    pub settle_ms: u32,
    /// What must hold before it is written.
    pub guards: Vec<Guard>,
    /// How often it may be written.
    pub budget: WriteBudget,
    /// Where it goes when the loop is stopped or paused; `None`: it keeps what it has.
    pub on_stop: Option<PointValue>,
    /// Where it goes when the hub was not heard for so long, in ms; `None`: it is held on.
    pub on_hub_lost: Option<(u64, PointValue)>,
}

/// May the loop act?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Yes.
    Active,
    /// It computes and reports what it would do, and writes nothing.
    Shadow,
    /// No, for this reason.
    Paused(String),
}

/// All that a decision is made from.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The wish.
    pub setpoint: &'a Setpoint,
    /// When it ends, in ms of the loop's clock.
    pub expires_at_ms: Option<u64>,
    /// The point's rules.
    pub rules: &'a PointRules,
    /// The values that count as the wanted one.
    pub band: &'a Band,
    /// May the loop act?
    pub control: &'a Control,
    /// What was last read.
    pub reading: Option<&'a Observed>,
    /// Do all guards hold?
    pub guards: &'a Result<(), GuardFailure>,
    /// What is left of the budget.
    pub budget: BudgetView,
    /// A reading older than this, in ms, says nothing any more.
    pub max_age_ms: u64,
    /// Values are put back at most so many times an hour.
    pub restores_per_hour: u32,
    /// Now, in ms of the loop's clock.
    pub now_ms: u64,
    /// Uniform and fresh; for jitter.
    pub random: u32,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Read the point now.
    Read,
    /// Write this value; then tell [`Track::written`].
    Write(PointValue),
    /// Ask the hub to take this value as the new wish.
    Adopt(PointValue),
}

/// How a setpoint stands.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldStatus {
    /// Does the instrument show it?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// Why not, in words for the person who can act.
    pub reason: Option<HoldReason>,
}

/// Why a value is not held, or not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HoldReason {
    /// It was not read yet.
    #[error("it was not read yet")]
    NotRead,
    /// The last reading is too old.
    #[error("its last reading is too old")]
    Old(u64),
    /// The last reading is not good.
    #[error("it can't be read: {0}")]
    Bad(String),
    /// What was read is of another kind than what is wanted.
    #[error("expected a value like {wanted}, the instrument shows {found}")]
    OtherKind {
        /// The wanted value.
        wanted: PointValue,
        /// What was read.
        found: PointValue,
    },
    /// The point is not the one that the setpoint was made for.
    #[error(
        "the point's connection, address, type or scale was changed since: set the value again to arm it (pointRedefined)"
    )]
    PointRedefined,
    /// The point may not be held.
    #[error("the point is not a writable level")]
    NotALevel,
    /// The value is outside the point's limits.
    #[error("{value} is outside the point's limits, {limits}")]
    Limit {
        /// The value.
        value: PointValue,
        /// The limits, in words.
        limits: String,
    },
    /// The next step on the way to the value is outside the point's limits.
    #[error(
        "the next step towards the value, {value}, is outside the point's limits, {limits}: bring the instrument inside them by hand"
    )]
    StepOutside {
        /// The step.
        value: PointValue,
        /// The limits, in words.
        limits: String,
    },
    /// The point's largest step is less than what it can tell apart.
    #[error(
        "the point's largest step, {0}, is less than the smallest by which it can be moved: make maxStep larger"
    )]
    StepTooSmall(f64),
    /// A guard does not hold.
    #[error("a guard on point {} does not hold: {}", .0.point, .0.why)]
    Guard(GuardFailure),
    /// No write is left.
    #[error(
        "the write budget is used up: {today} writes left today, {lifetime} at all, of which {reserve} are kept for the safe value"
    )]
    Budget {
        /// Left today.
        today: u32,
        /// Left at all.
        lifetime: u64,
        /// Kept of that.
        reserve: u64,
    },
    /// Somebody stopped or paused it.
    #[error("{0}")]
    Paused(String),
    /// Shadow mode: what would be written.
    #[error("shadow mode: {0} would be written")]
    Shadow(PointValue),
    /// The instrument said no.
    #[error("the instrument refused {value}: {why}")]
    Refused {
        /// What was written.
        value: PointValue,
        /// Its words.
        why: String,
    },
    /// It can't be reached.
    #[error("it can't be written: {0}")]
    Unreachable(String),
    /// It acknowledged, and could not be read back.
    #[error("it acknowledged {0}, and can't be read back")]
    NotReadBack(PointValue),
    /// It took another value, near the one written.
    #[error("the instrument rounded {wrote} to {found}")]
    Rounded {
        /// What was written.
        wrote: PointValue,
        /// What it shows.
        found: PointValue,
    },
    /// It went only part of the way.
    #[error("the instrument limited {wrote} to {found}")]
    Limited {
        /// What was written.
        wrote: PointValue,
        /// What it shows.
        found: PointValue,
    },
    /// It kept, or took, a value of its own.
    #[error("the instrument acknowledged {wrote} and shows {found}")]
    KeptItsOwn {
        /// What was written.
        wrote: PointValue,
        /// What it shows.
        found: PointValue,
    },
    /// It was changed at the hardware.
    #[error("changed at the hardware from {before} to {after}")]
    ChangedByHand {
        /// What it showed before.
        before: PointValue,
        /// What it shows.
        after: PointValue,
    },
    /// It was changed at the hardware too often.
    #[error(
        "changed at the hardware and put back {0} times within an hour: set the value again to go on"
    )]
    FoughtEnough(u32),
    /// The setpoint's time is over.
    #[error("the setpoint's time is over")]
    Expired,
}

/// Something that happened, for the event log: once each.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// It left the wanted value, which it had shown, and nobody here wrote it.
    Drifted {
        /// What it showed.
        before: PointValue,
        /// What it shows.
        after: PointValue,
    },
    /// A written value was read back.
    Verified {
        /// What the instrument shows.
        value: PointValue,
        /// From the write to the read-back, in ms.
        took_ms: u64,
    },
    /// A write came to nothing.
    Failed(HoldReason),
    /// It is not fought for any more.
    Overridden(HoldReason),
    /// It is the wanted value again, although nobody here wrote it.
    BackInSync(PointValue),
}

/// What comes of looking at a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the loop remembers.
    pub track: Track,
    /// How the setpoint stands.
    pub status: HoldStatus,
    /// What is to be done.
    pub act: Act,
    /// When to look again at the latest, in ms of the loop's clock; `None`: with the next reading.
    pub look_at_ms: Option<u64>,
    /// What happened.
    pub told: Vec<Told>,
}
