//! Modbus: the connection to a unit and the address of a point.
//!
//! Source: MODBUS Application Protocol Specification V1.1b3 (tables, addresses, function codes), MODBUS over Serial Line
//! V1.02 (line settings, unit ids 1 to 247, 0 is broadcast), MODBUS Messaging on TCP/IP Implementation Guide V1.0b.

mod raw;

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    document::point::PointAddress,
    fields::{Choice, Fields, Path, Problems, describe, words},
    hold::{NotRepresentable, Resolution},
    limits,
    value::PointValue,
};

pub use raw::{Raw, Scaling};

/// How a unit is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ModbusConnection))]
pub struct Connection {
    /// The link that the unit is behind; units with the same link share one connection.
    #[serde(flatten)]
    pub link: Link,
    /// Unit id: 0 to 255 on TCP, 1 to 247 on a serial line.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 255))]
    pub unit_id: u8,
    /// How long one request may take, in ms (10 to 60,000).
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 10, maximum = 60000, default = 1000)
    )]
    pub timeout_ms: u32,
    /// How many registers (or coils) that nobody asked for may be read along between two wanted ones, so that they go
    /// into one request: 0 to 124. Some registers clear when they are read, so none unless stated.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 124, default = 0))]
    pub max_gap: u16,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// The line that units share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ModbusLink))]
pub enum Link {
    /// Modbus TCP.
    Tcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, default = 502))]
        port: u16,
    },
    /// Modbus RTU frames over TCP (a transparent serial server).
    RtuOverTcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, default = 502))]
        port: u16,
    },
    /// Modbus RTU on a serial line.
    Rtu {
        /// The serial device, such as `/dev/ttyUSB0`.
        #[cfg_attr(feature = "openapi", schema(rename = "serialPort"))]
        serial_port: String,
        /// Speed and character format.
        #[serde(flatten)]
        line: SerialLine,
    },
}

/// Data bits of a character of RTU (Modbus over Serial Line V1.02, section 2.5.1).
const DATA_BITS: u8 = 8;

/// Speed and character format of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SerialLine {
    /// Bits a second, 300 to 4,000,000.
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 300, maximum = 4000000, default = 19200)
    )]
    pub baud_rate: u32,
    /// Data bits: 8, as RTU has it.
    #[cfg_attr(feature = "openapi", schema(minimum = 8, maximum = 8, default = 8))]
    pub data_bits: u8,
    /// Parity; even unless stated, as the standard asks.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 2, default = 1))]
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum Parity {
    /// Even.
    Even,
    /// Odd.
    Odd,
    /// None.
    None,
}
words!(Parity { Even => "even", Odd => "odd", None => "none" });

#[derive(Clone, Copy)]
enum LinkType {
    Tcp,
    Rtu,
    RtuOverTcp,
}

impl Choice for LinkType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("rtu", Self::Rtu),
        ("rtuOverTcp", Self::RtuOverTcp),
    ];
}

const HOST: &str = "a host name or address";

impl Connection {
    /// Reads a connection.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let kind = fields.choice::<LinkType>("type", None);
        let link = kind.and_then(|kind| match kind {
            LinkType::Tcp => tcp(&mut fields).map(|(host, port)| Link::Tcp { host, port }),
            LinkType::RtuOverTcp => {
                tcp(&mut fields).map(|(host, port)| Link::RtuOverTcp { host, port })
            }
            LinkType::Rtu => {
                let serial_port = fields.text("serialPort", "a serial device such as /dev/ttyUSB0");
                let line = SerialLine::read(&mut fields);
                Some(Link::Rtu {
                    serial_port: serial_port?,
                    line: line?,
                })
            }
        });
        let units = if matches!(kind, Some(LinkType::Tcp)) {
            0..=255
        } else {
            1..=247
        };
        let unit_id = fields.int("unitId", &units, None);
        let timeout_ms = fields.int(
            "timeoutMs",
            &limits::TIMEOUT_MS,
            Some(limits::TIMEOUT_DEFAULT_MS),
        );
        let max_gap = fields.int("maxGap", &(0..=124), Some(0));
        let extra = fields.rest();
        Some(Self {
            link: link?,
            unit_id: unit_id?,
            timeout_ms: timeout_ms?,
            max_gap: max_gap?,
            extra,
        })
    }
}

fn tcp(fields: &mut Fields<'_>) -> Option<(String, u16)> {
    let host = fields.text("host", HOST);
    let port = fields.int("port", &(1..=65_535), Some(502));
    Some((host?, port?))
}

impl SerialLine {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let baud_rate = fields.int("baudRate", &(300..=4_000_000), Some(19_200));
        let data_bits = fields.int("dataBits", &(7..=8), Some(DATA_BITS));
        if data_bits == Some(7) {
            let expected = "8: characters of Modbus RTU have 8 data bits (Modbus over Serial Line V1.02, 2.5.1; 7 are for ASCII \
                            framing); set the instruments of the line to RTU with 8 data bits";
            fields.problem("dataBits", expected, 7);
            return None;
        }
        let parity = fields.choice("parity", Some(Parity::Even));
        let stop_bits = fields.int("stopBits", &(1..=2), Some(1));
        Some(Self {
            baud_rate: baud_rate?,
            data_bits: data_bits?,
            parity: parity?,
            stop_bits: stop_bits?,
        })
    }
}

/// The four tables of the Modbus data model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ModbusTable, rename_all = "lowercase"))]
pub enum Table {
    /// Coils: bits, readable and writable.
    Coil,
    /// Discrete inputs: bits, read only.
    Discrete,
    /// Input registers: 16 bits, read only.
    Input,
    /// Holding registers: 16 bits, readable and writable.
    Holding,
}
words!(Table { Coil => "coil", Discrete => "discrete", Input => "input", Holding => "holding" });

impl Table {
    /// Is this a table of single bits?
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Can a master write to it?
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Coil | Self::Holding)
    }

    /// The most items that one read request may ask for (V1.1b3, sections 6.1 to 6.4).
    #[must_use]
    pub const fn max_read(self) -> u16 {
        if self.is_bits() { 2_000 } else { 125 }
    }
}

/// How the registers of a point make a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// One bit of a coil or a discrete input, or a register that is not 0.
    Bool,
    /// Signed, 1 register.
    Int16,
    /// Unsigned, 1 register.
    Uint16,
    /// Signed, 2 registers.
    Int32,
    /// Unsigned, 2 registers.
    Uint32,
    /// Signed, 4 registers.
    Int64,
    /// Unsigned, 4 registers.
    Uint64,
    /// IEEE 754 single, 2 registers.
    Float32,
    /// IEEE 754 double, 4 registers.
    Float64,
    /// Text of so many bytes (1 to 250), two in each register, ended by a zero byte if shorter.
    Text(u8),
    /// One bit (0 is the lowest, to 15) of a register.
    Bit(u8),
}

impl DataType {
    const EXPECTED: &'static str = "one of bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string(1) to string(250), bit(0) to bit(15)";

    /// Registers that a value takes (bits of a bit table: 1).
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::Int16 | Self::Uint16 | Self::Bit(_) => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
            Self::Text(bytes) => (bytes as u16).div_ceil(2),
        }
    }

    const fn is_scalable(self) -> bool {
        !matches!(self, Self::Bool | Self::Text(_) | Self::Bit(_))
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int16 => f.write_str("int16"),
            Self::Uint16 => f.write_str("uint16"),
            Self::Int32 => f.write_str("int32"),
            Self::Uint32 => f.write_str("uint32"),
            Self::Int64 => f.write_str("int64"),
            Self::Uint64 => f.write_str("uint64"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Text(bytes) => write!(f, "string({bytes})"),
            Self::Bit(bit) => write!(f, "bit({bit})"),
        }
    }
}

impl FromStr for DataType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let argument = |name: &str| -> Option<u8> {
            text.strip_prefix(name)?
                .strip_prefix('(')?
                .strip_suffix(')')?
                .parse()
                .ok()
        };
        Ok(match text {
            "bool" => Self::Bool,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "uint64" => Self::Uint64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            _ => match (argument("string"), argument("bit")) {
                (Some(bytes @ 1..=250), _) => Self::Text(bytes),
                (_, Some(bit @ 0..=15)) => Self::Bit(bit),
                _ => return Err(format!("expected {}, found {text:?}", Self::EXPECTED)),
            },
        })
    }
}

impl Serialize for DataType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which end comes first: of the two bytes of a register, or of the registers of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum Order {
    /// The most significant first (what the standard says of bytes).
    Big,
    /// The least significant first.
    Little,
}
words!(Order { Big => "big", Little => "little" });

/// Where in a unit a point is, and how its registers make a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ModbusAddress))]
pub struct Address {
    /// The table.
    pub table: Table,
    /// Address of the first register, counted from 0 as on the wire.
    pub address: u16,
    /// How the registers make a value.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = r"^(bool|u?int(16|32|64)|float(32|64)|string\(([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|250)\)|bit\(([0-9]|1[0-5])\))$"))]
    pub data_type: DataType,
    /// Order of the two bytes of a register.
    pub byte_order: Order,
    /// Order of the registers of a value.
    pub word_order: Order,
    /// The value is `raw × scale + offset`; not 0.
    pub scale: f64,
    /// The value is `raw × scale + offset`.
    pub offset: f64,
}

impl PointAddress for Address {
    const WHERE: &'static str = "table, address and dataType";

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let table = fields.choice("table", None);
        let address = fields.int("address", &(0..=65_535), None);
        let data_type = fields.required("dataType", data_type, DataType::EXPECTED);
        let byte_order = fields.choice("byteOrder", Some(Order::Big));
        let word_order = fields.choice("wordOrder", Some(Order::Big));
        let scale = fields.number("scale", 1.0);
        let offset = fields.number("offset", 0.0);
        let this = Self {
            table: table?,
            address: address?,
            data_type: data_type?,
            byte_order: byte_order?,
            word_order: word_order?,
            scale: scale?,
            offset: offset?,
        };
        this.check(fields).then_some(this)
    }

    fn is_writable(&self) -> bool {
        self.table.is_writable()
    }

    fn resolution(&self) -> Resolution {
        self.resolution_of()
    }

    fn check_value(&self, value: &PointValue) -> Result<(), NotRepresentable> {
        self.to_raw(value).map(drop)
    }
}

impl Address {
    fn check(&self, fields: &mut Fields<'_>) -> bool {
        let mut fits = true;
        if self.table.is_bits() && self.data_type != DataType::Bool {
            fields.problem(
                "dataType",
                format_args!("bool in table {}", self.table),
                self.data_type,
            );
            fits = false;
        }
        if u32::from(self.address) + u32::from(self.data_type.registers()) > 65_536 {
            let last = 65_536 - u32::from(self.data_type.registers());
            fields.problem(
                "address",
                format_args!("at most {last} for {}", self.data_type),
                self.address,
            );
            fits = false;
        }
        if self.scale == 0.0 {
            fields.problem("scale", "a number other than 0", "0");
            fits = false;
        }
        #[allow(clippy::float_cmp, reason = "the defaults, exactly")]
        if !self.data_type.is_scalable() && (self.scale != 1.0 || self.offset != 0.0) {
            fields.problem(
                "scale",
                format_args!("no scale or offset for {}", self.data_type),
                self.scale,
            );
            fits = false;
        }
        fits
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn data_type(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<DataType> {
    let data_type = value.as_str().and_then(|text| text.parse().ok());
    if data_type.is_none() {
        problems.add(path, DataType::EXPECTED, describe(&value));
    }
    data_type
}
