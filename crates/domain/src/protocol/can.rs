//! CAN: the interface and where in a frame a signal is.
//!
//! Source: ISO 11898-1 (11-bit and 29-bit identifiers, up to 8 bytes, up to 64 with CAN FD); signal layout as in DBC files.

use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    document::point::PointAddress,
    fields::{Fields, Path, Problems},
    hold::Resolution,
    protocol::modbus::Order,
};

/// How a CAN node is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanConnection))]
pub struct Connection {
    /// Always `socketcan`.
    #[serde(rename = "type")]
    pub kind: LinkKind,
    /// Network interface, such as `can0`.
    pub interface: String,
    /// Name of a DBC file on the agent that names messages and signals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbc: Option<String>,
    /// May frames be CAN FD frames?
    pub fd: bool,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// Ways to a CAN bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanLinkKind, rename_all = "lowercase"))]
pub enum LinkKind {
    /// Linux SocketCAN.
    Socketcan,
}
crate::fields::words!(LinkKind { Socketcan => "socketcan" });

impl Connection {
    /// Reads a connection.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        /// Linux: IFNAMSIZ is 16 with the closing zero.
        const INTERFACE_CHARS: usize = 15;
        const INTERFACE: &str = "a network interface such as can0 (at most 15 characters)";
        let mut fields = Fields::open(value, path, problems)?;
        let kind = fields.choice("type", None);
        let interface = fields.text("interface", INTERFACE);
        if let Some(name) = interface
            .as_ref()
            .filter(|name| name.len() > INTERFACE_CHARS || name.contains('/'))
        {
            fields.problem(
                "interface",
                INTERFACE,
                format_args!("{:?}", crate::ids::shorten(name)),
            );
            return None;
        }
        let dbc = fields.text_opt("dbc", "the name of a DBC file on the agent");
        let fd = fields.flag("fd", false);
        let extra = fields.rest();
        Some(Self {
            kind: kind?,
            interface: interface?,
            dbc: dbc?,
            fd: fd?,
            extra,
        })
    }
}

/// Where a signal is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanAddress))]
pub struct Address {
    /// The frame and the bits in it, or a name of the DBC file.
    #[serde(flatten)]
    pub signal: Signal,
    /// After so many ms without a frame the value is stale; 0: never.
    pub timeout_ms: u32,
    /// For writing: send each so many ms; 0: on change.
    pub cycle_ms: u32,
}

/// A signal, by its bits or by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanSignal))]
pub enum Signal {
    /// Message and signal of the connection's DBC file.
    Named {
        /// Message name.
        message: String,
        /// Signal name.
        signal: String,
    },
    /// The bits.
    Bits(BitSignal),
}

/// The bits of a signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanBitSignal))]
pub struct BitSignal {
    /// Identifier of the frame: 0 to 2047, or to 536,870,911 where extended.
    pub frame_id: u32,
    /// Is it a 29-bit identifier?
    pub extended: bool,
    /// First bit, 0 to 511, counted as in DBC files.
    pub start_bit: u16,
    /// Number of bits, 1 to 64.
    pub length: u8,
    /// Byte order of the signal (Intel is little, Motorola is big).
    pub byte_order: Order,
    /// Two's complement?
    pub signed: bool,
    /// The value is `raw × scale + offset`; not 0.
    pub scale: f64,
    /// The value is `raw × scale + offset`.
    pub offset: f64,
    /// Only frames whose multiplexer signal holds this value carry the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplexer: Option<Multiplexer>,
}

/// Which frames carry a multiplexed signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CanMultiplexer))]
pub struct Multiplexer {
    /// First bit of the multiplexer signal.
    pub start_bit: u16,
    /// Its number of bits, 1 to 32.
    pub length: u8,
    /// The value that it must hold.
    pub value: u32,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl PointAddress for Address {
    const WHERE: &'static str =
        "frameId, startBit and length (or message and signal of the DBC file)";

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let signal = if fields.has("message") || fields.has("signal") {
            let message = fields.text("message", "a message of the DBC file");
            let signal = fields.text("signal", "a signal of that message");
            message
                .zip(signal)
                .map(|(message, signal)| Signal::Named { message, signal })
        } else {
            BitSignal::read(fields).map(Signal::Bits)
        };
        let day = 0..=86_400_000;
        let timeout_ms = fields.int("timeoutMs", &day, Some(0));
        let cycle_ms = fields.int("cycleMs", &day, Some(0));
        Some(Self {
            signal: signal?,
            timeout_ms: timeout_ms?,
            cycle_ms: cycle_ms?,
        })
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn resolution(&self) -> Resolution {
        match &self.signal {
            Signal::Bits(signal) => Resolution::Step(signal.scale.abs()),
            Signal::Named { .. } => Resolution::Double,
        }
    }
}

impl BitSignal {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let extended = fields.flag("extended", false);
        let highest = if extended == Some(true) {
            0x1FFF_FFFF
        } else {
            0x7FF
        };
        let frame_id = fields.int("frameId", &(0..=highest), None);
        let start_bit = fields.int("startBit", &(0..=511), None);
        let length = fields.int("length", &(1..=64), None);
        let byte_order = fields.choice("byteOrder", Some(Order::Little));
        let signed = fields.flag("signed", false);
        let scale = fields.number("scale", 1.0);
        if scale == Some(0.0) {
            fields.problem("scale", "a number other than 0", "0");
            return None;
        }
        let offset = fields.number("offset", 0.0);
        let multiplexer = fields.optional("multiplexer", Multiplexer::read);
        if let (Some(start), Some(length), Some(order)) = (start_bit, length, byte_order) {
            let room = bits_from(start, order);
            if u16::from(length) > room {
                fields.problem(
                    "length",
                    format_args!("at most {room} from startBit {start} on"),
                    length,
                );
                return None;
            }
        }
        Some(Self {
            frame_id: frame_id?,
            extended: extended?,
            start_bit: start_bit?,
            length: length?,
            byte_order: byte_order?,
            signed: signed?,
            scale: scale?,
            offset: offset?,
            multiplexer: multiplexer?,
        })
    }
}

/// How many bits there are from `start` to the end of the longest frame, 64 bytes. A signal in Intel order goes up from
/// its lowest bit; one in Motorola order starts with its highest, and goes down in each byte, from byte to byte.
fn bits_from(start: u16, order: Order) -> u16 {
    const BITS: u16 = 512;
    match order {
        Order::Little => BITS - start,
        Order::Big => BITS - (start / 8 * 8 + (7 - start % 8)),
    }
}

impl Multiplexer {
    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let start_bit = fields.int("startBit", &(0..=511), None);
        let length = fields.int("length", &(1..=32), None);
        let value = fields.int("value", &(0..=i64::from(u32::MAX)), None);
        let extra = fields.rest();
        Some(Self {
            start_bit: start_bit?,
            length: length?,
            value: value?,
            extra,
        })
    }
}
