//! What outputs shall hold and how the loops that hold them run, in words and signs.

use holdfast_domain::{
    PointValue,
    document::{
        hold::{LoopState, Scope},
        setpoint::{Conformity, Hold, Policy},
    },
    resume::{self, StartEffect},
    shown,
    state::DeviceState,
    values::Interruption,
};
use holdfast_wire::{
    FleetReconciliation, LoopCounts, ReconciliationView, SetpointView, said::short_value,
};
use jiff::Timestamp;

use crate::ui::view::{Chip, Stamp, interval};

/// How the value loop of a device runs.
pub(super) struct LoopPanel {
    pub(super) id: String,
    pub(super) state: Chip,
    pub(super) is_stopped: bool,
    pub(super) on_site: Option<OnSiteLine>,
    pub(super) stops: Vec<StopLine>,
    pub(super) counts: Vec<Chip>,
    pub(super) asked: String,
    pub(super) confirmed: Option<String>,
    pub(super) interval: String,
    pub(super) wanted_interval: Option<String>,
    /// How long the last passes took.
    pub(super) pass: Option<String>,
    /// The interval that they would keep up with.
    pub(super) recommended: Option<String>,
    pub(super) overruns: Option<u64>,
    pub(super) errors: Vec<ErrorLine>,
    pub(super) moves: Vec<MoveLine>,
    /// Moves that are not shown.
    pub(super) more_moves: usize,
    /// May the reader press its buttons?
    pub(super) may_act: bool,
}

/// Something that went wrong with an output.
pub(super) struct ErrorLine {
    pub(super) name: String,
    pub(super) since: Stamp,
    pub(super) error: String,
}

/// A stop made at the agent itself.
pub(super) struct OnSiteLine {
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) until: Option<Stamp>,
}

/// A stop or pause: what it is on, who, why, until when.
pub(super) struct StopLine {
    pub(super) what: String,
    /// The pause that the reader may lift here; a stop of the device is ended by a start.
    pub(super) lifts: Option<String>,
    pub(super) by: String,
    pub(super) since: Stamp,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Stamp>,
}

/// What a start would do to one output.
pub(super) struct MoveLine {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) unit: String,
}

impl LoopPanel {
    pub(super) fn of(state: &DeviceState, now: Timestamp, may_act: bool) -> Self {
        /// What a start would move is shown of so many outputs: the command line shows all.
        const MOVES: usize = 6;
        /// And so many errors, the newest.
        const ERRORS: usize = 5;
        let view = ReconciliationView::new(state);
        let name_of = |one: &Interruption| part(state, one);
        let mut moves: Vec<MoveLine> = resume::of_start(state, now)
            .into_iter()
            .filter(|one| one.effect == StartEffect::Write)
            .map(|one| {
                let place = one.shown.place.as_ref();
                let real = one.shown.said.as_ref().and_then(|said| said.value.as_ref());
                MoveLine {
                    name: place.map_or_else(String::new, |place| {
                        format!("{}/{}", place.sensor_name, place.point_name)
                    }),
                    from: text(real),
                    to: text(Some(&one.shown.wish.setpoint.value)),
                    unit: place
                        .and_then(|place| place.unit.clone())
                        .unwrap_or_default(),
                }
            })
            .collect();
        moves.sort_by(|left, right| left.name.cmp(&right.name));
        let more_moves = moves.len().saturating_sub(MOVES);
        moves.truncate(MOVES);
        let actual = view.actual_interval_ms;
        Self {
            id: state.record.id.to_string(),
            is_stopped: view.requested == LoopState::Stopped,
            on_site: view.local.as_ref().map(|stop| OnSiteLine {
                by: stop.by.to_string(),
                reason: stop.reason.clone(),
                until: stop.until.map(Stamp),
            }),
            stops: view
                .pauses
                .iter()
                .map(|one| StopLine {
                    what: name_of(one),
                    lifts: (may_act && one.scope != Scope::Device).then(|| one.id.to_string()),
                    by: one.by.to_string(),
                    since: Stamp(one.since),
                    reason: one.reason.clone(),
                    until: one.until.map(Stamp),
                })
                .collect(),
            counts: value_chips(state, now),
            asked: word(view.requested).to_owned(),
            confirmed: view.confirmed.map(|state| word(state).to_owned()),
            interval: interval(actual.unwrap_or(view.interval_ms)),
            wanted_interval: actual
                .filter(|actual| *actual != view.interval_ms)
                .map(|_| interval(view.interval_ms)),
            pass: view.pass_ms.map(interval),
            recommended: view.recommended_interval_ms.map(interval),
            errors: view
                .last_errors
                .iter()
                .take(ERRORS)
                .map(|one| ErrorLine {
                    name: match (&one.sensor, &one.point) {
                        (Some(sensor), Some(point)) => format!("{sensor}/{point}"),
                        _ => one.point_id.to_string(),
                    },
                    since: Stamp(one.since),
                    error: one.error.clone(),
                })
                .collect(),
            overruns: view.overruns.filter(|overruns| *overruns > 0),
            state: loop_chip(&view),
            moves,
            more_moves,
            may_act,
        }
    }
}

/// What a stop or pause is on.
fn part(state: &DeviceState, one: &Interruption) -> String {
    let mut sensors = state.target.items.iter().map(|item| &item.sensor);
    let found = match one.scope {
        Scope::Device => return "Stopped".to_owned(),
        Scope::Sensor(id) => sensors
            .find(|sensor| sensor.id() == id)
            .map(|sensor| sensor.name().to_string()),
        Scope::Point(id) => sensors.find_map(|sensor| {
            let points = sensor.content().binding.point_names();
            let (_, name) = points.into_iter().find(|(point, _)| *point == id)?;
            Some(format!("{}/{name}", sensor.name()))
        }),
    };
    format!(
        "{} paused",
        found.as_deref().unwrap_or("A part that is gone")
    )
}

const fn word(state: LoopState) -> &'static str {
    match state {
        LoopState::Active => "hold",
        LoopState::Stopping => "stopping",
        LoopState::Stopped => "stopped",
        LoopState::Shadow => "shadow",
    }
}

/// How a loop runs, in one word: what was asked for, unless the agent says otherwise.
pub(super) fn loop_chip(view: &ReconciliationView) -> Chip {
    if view.stale {
        let word = view.confirmed.map_or("not known", word);
        return Chip::new("quiet", "?", format!("{word}, agent silent"));
    }
    if view.is_idle() {
        return Chip::new("quiet", "○", "nothing to hold");
    }
    if view.local.is_some() {
        return match view.confirmed {
            Some(LoopState::Stopped) => Chip::new("warn", "■", "stopped on site"),
            _ => Chip::new("busy", "◐", "stopping on site"),
        };
    }
    match (view.requested, view.confirmed) {
        (LoopState::Active, _) if view.is_as_requested() => Chip::new("good", "●", "holding"),
        (LoopState::Stopped, _) if view.is_as_requested() => Chip::new("warn", "■", "stopped"),
        (LoopState::Shadow, _) if view.is_as_requested() => Chip::new("busy", "◌", "shadow"),
        (LoopState::Stopped | LoopState::Stopping, _) => Chip::new("busy", "◐", "stopping"),
        (LoopState::Active | LoopState::Shadow, _) => Chip::new("busy", "◐", "starting"),
    }
}

/// How many setpoints stand how.
pub(super) fn value_chips(state: &DeviceState, now: Timestamp) -> Vec<Chip> {
    let mut counts: [usize; 5] = [0; 5];
    for shown in shown::of_device(state, now) {
        let kind = match (shown.hold, shown.conformity) {
            (Hold::Blocked | Hold::Refused | Hold::Unreachable | Hold::Overridden, _)
            | (_, Conformity::Deviates) => 0,
            (_, Conformity::Drifting) => 1,
            (Hold::Writing, _) | (_, Conformity::AcknowledgedUnverified) => 2,
            (_, Conformity::Unknown) => 3,
            (_, Conformity::InSync) => 4,
        };
        counts[kind] += 1;
    }
    [
        ("bad", "✕", "in trouble"),
        ("warn", "◐", "drifting"),
        ("busy", "◐", "being written"),
        ("quiet", "○", "not known yet"),
        ("good", "●", "verified"),
    ]
    .into_iter()
    .zip(counts)
    .filter(|(_, count)| *count > 0)
    .map(|((tone, sign, word), count)| Chip::new(tone, sign, format!("{count} {word}")))
    .collect()
}

/// One setpoint.
pub(super) struct SetpointLine {
    pub(super) id: String,
    pub(super) sensor: String,
    pub(super) point: String,
    pub(super) unit: String,
    pub(super) wanted: String,
    pub(super) real: String,
    /// Class of the real value.
    pub(super) tone: &'static str,
    pub(super) conformity: Chip,
    pub(super) took_ms: Option<u64>,
    pub(super) hold: Chip,
    pub(super) why: Option<String>,
    pub(super) since: Option<Stamp>,
    pub(super) policy: Option<&'static str>,
    pub(super) by: String,
    pub(super) set_at: Stamp,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Stamp>,
    pub(super) changed: Option<(String, String, Stamp)>,
    pub(super) writes: Option<u64>,
    pub(super) budget_left: Option<u64>,
    is_fine: bool,
}

impl SetpointLine {
    fn of(view: SetpointView) -> Self {
        let is_fine = view.is_verified();
        let conformity = conformity_chip(view.conformity);
        let name = |name: Option<holdfast_domain::Name>| name.map(|name| name.to_string());
        Self {
            id: view.point_id.to_string(),
            sensor: name(view.sensor).unwrap_or_default(),
            point: name(view.point).unwrap_or_else(|| view.point_id.to_string()),
            unit: view.unit.unwrap_or_default(),
            wanted: text(Some(&view.value)),
            real: text(view.shown_value.as_ref()),
            tone: conformity.tone,
            took_ms: view.verified_in_ms.filter(|_| is_fine),
            hold: hold_chip(view.hold),
            why: view.why,
            since: view.since.map(Stamp),
            policy: match view.policy {
                Policy::Enforce => None,
                Policy::Observe => Some("only observed"),
                Policy::Adopt => Some("changes are adopted"),
            },
            by: view.set_by.to_string(),
            set_at: Stamp(view.set_at),
            reason: view.reason,
            until: view.until.map(Stamp),
            changed: view.last_change.map(|change| {
                (
                    text(Some(&change.before)),
                    text(Some(&change.after)),
                    Stamp(change.at),
                )
            }),
            writes: view.writes,
            budget_left: view.budget_left,
            conformity,
            is_fine,
        }
    }

    /// A device's setpoints by sensor and point, `most` at most: those that are not fine come first then. Gives how many
    /// there are.
    pub(super) fn all(state: &DeviceState, now: Timestamp, most: usize) -> (Vec<Self>, usize) {
        let stale = state.presence.silent;
        let mut lines: Vec<Self> = shown::of_device(state, now)
            .into_iter()
            .map(|shown| Self::of(SetpointView::new(state.record.id, shown, stale)))
            .collect();
        let total = lines.len();
        let is_cut = total > most;
        lines.sort_by(|left, right| {
            let key = |line: &Self| {
                (
                    is_cut && line.is_fine,
                    line.sensor.clone(),
                    line.point.clone(),
                )
            };
            key(left).cmp(&key(right))
        });
        lines.truncate(most);
        (lines, total)
    }
}

fn conformity_chip(conformity: Conformity) -> Chip {
    match conformity {
        Conformity::InSync => Chip::new("good", "●", "verified"),
        Conformity::Drifting => Chip::new("warn", "◐", "drifting"),
        Conformity::Deviates => Chip::new("bad", "≠", "deviates"),
        Conformity::AcknowledgedUnverified => Chip::new("warn", "?", "not read back"),
        Conformity::Unknown => Chip::new("quiet", "○", "not known"),
    }
}

fn hold_chip(hold: Hold) -> Chip {
    match hold {
        Hold::Active => Chip::new("good", "●", "held"),
        Hold::Pending => Chip::new("quiet", "○", "pending"),
        Hold::Writing => Chip::new("busy", "◐", "writing"),
        Hold::Paused => Chip::new("warn", "■", "paused"),
        Hold::Blocked => Chip::new("bad", "⊘", "blocked"),
        Hold::Refused => Chip::new("bad", "✕", "refused"),
        Hold::Unreachable => Chip::new("bad", "✕", "unreachable"),
        Hold::Overridden => Chip::new("warn", "⚑", "overridden"),
        Hold::Expired => Chip::new("quiet", "–", "expired"),
    }
}

fn text(value: Option<&PointValue>) -> String {
    value.map_or_else(|| "—".to_owned(), short_value)
}

/// How the value loops of the fleet run, in figures.
pub(super) struct FleetPanel {
    pub(super) asked: Vec<AskedLine>,
    pub(super) unconfirmed: u32,
    /// Devices of which nothing was ever asked.
    pub(super) idle: u32,
    pub(super) is_any_stopped: bool,
    pub(super) is_any_active: bool,
    /// May the reader press its buttons?
    pub(super) may_act: bool,
}

/// `47 of 50 devices have stopped`.
pub(super) struct AskedLine {
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    pub(super) done: u32,
    pub(super) of: u32,
    pub(super) what: &'static str,
}

impl FleetPanel {
    pub(super) fn of(fleet: &FleetReconciliation, may_act: bool) -> Self {
        let LoopCounts {
            active,
            // Nobody asks for that.
            stopping: _,
            stopped,
            shadow,
        } = fleet.requested;
        let done = fleet.as_requested;
        let asked = [
            (
                "good",
                "●",
                done.active,
                active.saturating_sub(fleet.idle),
                "hold their values",
            ),
            ("warn", "■", done.stopped, stopped, "have stopped"),
            ("busy", "◌", done.shadow, shadow, "only compute (shadow)"),
            (
                "warn",
                "■",
                fleet.stopped_on_site,
                fleet.stopped_on_site,
                "were stopped on site",
            ),
        ];
        Self {
            asked: asked
                .into_iter()
                .filter(|(.., of, _)| *of > 0)
                .map(|(tone, sign, done, of, what)| AskedLine {
                    tone,
                    sign,
                    done,
                    of,
                    what,
                })
                .collect(),
            unconfirmed: fleet.unconfirmed,
            idle: fleet.idle,
            is_any_stopped: stopped > 0,
            is_any_active: active + shadow > 0,
            may_act,
        }
    }
}
