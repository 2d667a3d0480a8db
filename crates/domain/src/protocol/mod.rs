//! What each fieldbus needs: how to reach an instrument, and where in it a value is.
//!
//! One module a protocol, all alike: a connection and an address of a point, each with its reader, which checks every
//! range. What points have in common whatever the protocol is in [`crate::document::point`].

pub mod can;
pub mod modbus;
pub mod mqtt;
pub mod opcua;
pub mod secret;

use crate::fields::words;

/// The protocols that sensors speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum Protocol {
    /// Modbus over TCP, a serial line, or a serial line behind TCP.
    Modbus,
    /// Controller Area Network.
    Can,
    /// OPC Unified Architecture.
    Opcua,
    /// MQTT 3.1.1 or 5.
    Mqtt,
}
words!(Protocol { Modbus => "modbus", Can => "can", Opcua => "opcua", Mqtt => "mqtt" });
