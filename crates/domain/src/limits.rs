//! Every bound of the documents, by name and with its reason.
//!
//! Bounds of processes (queues, bodies, concurrency) stand where those are configured.

/// Characters of a name: fits a table column and a metric label.
pub const NAME_CHARS: usize = 128;

/// Sensors of one device: a document of this many still fits [`DOCUMENT_BYTES`] and plans in milliseconds.
pub const SENSORS_PER_DEVICE: usize = 2_000;

/// Points of one sensor: a Modbus unit has at most 65,536 registers a table; nobody declares them all by hand.
pub const POINTS_PER_SENSOR: usize = 10_000;

/// Bytes of one device's document: what PostgreSQL and an agent's memory take without trouble. A larger body is
/// refused before it is read to its end.
pub const DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of all sensors that are wanted of a device: half a document, so that a report has room to say of each that it
/// runs, how it fares and why it failed.
pub const TARGET_BYTES: usize = DOCUMENT_BYTES / 2;

/// Interval of the value loop in ms.
pub const HOLD_INTERVAL_MS: core::ops::RangeInclusive<i64> = 100..=3_600_000;

/// Interval of the value loop in ms where none is set.
pub const HOLD_INTERVAL_DEFAULT_MS: u32 = 5_000;

/// How often an hour a value that was changed by hand is put back, where nothing is set: nobody is fought for ever.
pub const RESTORES_PER_HOUR: u32 = 6;

/// Stops and pauses of one device at a time.
pub const PAUSES_PER_DEVICE: usize = 1_000;

/// Shortest time in ms without a word of the hub after which it counts as lost: below this a slow line would do.
pub const HUB_LOST_MIN_MS: i64 = 10_000;

/// Guards of one point: what people can still reason about.
pub const GUARDS_PER_POINT: usize = 16;

/// Setpoints of one device: one for each of very many outputs.
pub const SETPOINTS_PER_DEVICE: usize = 20_000;

/// Commands of one device that wait for their agent's word: each is told to the agent until it has given it.
pub const COMMANDS_WAITING: usize = 64;

/// Commands of one device that the hub keeps, those with a result included: what people still ask for. The event log keeps
/// them all.
pub const COMMANDS_KEPT: usize = 100;

/// Commands that an agent remembers with their results, so that none is carried out twice: more than can be given within
/// the longest validity without an answer, so that one that is forgotten is over by its time.
pub const COMMANDS_REMEMBERED: usize = 1_000;

/// For how long a command is valid, in ms: below a tenth of a second none gets through; beyond an hour nobody remembers.
pub const COMMAND_VALID_MS: core::ops::RangeInclusive<i64> = 100..=3_600_000;

/// For how long a command is valid where nothing is said, in ms.
pub const COMMAND_VALID_DEFAULT_MS: u64 = 3_000;

/// Longest duration after which something ends, in ms: ten years, about.
pub const DURATION_MAX_MS: u64 = 315_360_000_000;

/// Shortest poll interval in ms: below this a polled bus is the wrong tool.
pub const POLL_INTERVAL_MIN_MS: u32 = 10;

/// Longest poll interval in ms: a day.
pub const POLL_INTERVAL_MAX_MS: u32 = 86_400_000;

/// Poll interval in ms where none is declared.
pub const POLL_INTERVAL_DEFAULT_MS: u32 = 1_000;

/// Time-out range of one request in ms. Below 10 ms no gateway answers; above a minute nobody waits.
pub const TIMEOUT_MS: core::ops::RangeInclusive<i64> = 10..=60_000;

/// Time-out of one request in ms where none is declared.
pub const TIMEOUT_DEFAULT_MS: u32 = 1_000;

/// Characters of any other text in a document (hosts, topics, node ids, units).
pub const TEXT_CHARS: usize = 1_024;

/// Bytes of a sensor's metadata as JSON: labels for people, not a data store.
pub const METADATA_BYTES: usize = 16 * 1024;

/// Problems listed for one document: enough to mend it, bounded in size.
pub const PROBLEMS: usize = 50;

/// Characters of an error text that an agent reports: one line of a log.
pub const ERROR_CHARS: usize = 1_000;

/// Most failed attempts that are counted: the counter saturates here.
pub const ATTEMPTS: u32 = 1_000_000_000;

/// Highest target version that an agent may claim to hold: the hub must be able to go on above it, and whole numbers
/// stay exact in every JSON reader up to 2⁵³.
pub const HELD_VERSION: i64 = 1 << 52;
