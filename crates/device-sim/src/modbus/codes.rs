//! The codes of functions and exceptions (Application Protocol §6 and §7).
//!
//! What goes with them in a request is `pdu.rs`.

/// The functions that an instrument carries out, with their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Function {
    /// Read Coils.
    ReadCoils = 1,
    /// Read Discrete Inputs.
    ReadDiscreteInputs = 2,
    /// Read Holding Registers.
    ReadHoldingRegisters = 3,
    /// Read Input Registers.
    ReadInputRegisters = 4,
    /// Write Single Coil.
    WriteSingleCoil = 5,
    /// Write Single Register.
    WriteSingleRegister = 6,
    /// Write Multiple Coils.
    WriteMultipleCoils = 15,
    /// Write Multiple Registers.
    WriteMultipleRegisters = 16,
    /// Mask Write Register.
    MaskWriteRegister = 22,
    /// Read/Write Multiple Registers.
    ReadWriteMultipleRegisters = 23,
}

impl Function {
    /// Every function, by code.
    pub const ALL: [Self; 10] = [
        Self::ReadCoils,
        Self::ReadDiscreteInputs,
        Self::ReadHoldingRegisters,
        Self::ReadInputRegisters,
        Self::WriteSingleCoil,
        Self::WriteSingleRegister,
        Self::WriteMultipleCoils,
        Self::WriteMultipleRegisters,
        Self::MaskWriteRegister,
        Self::ReadWriteMultipleRegisters,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The function of a code, if instruments carry it out.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|function| function.code() == code)
    }

    /// Whether it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        match self {
            Self::ReadCoils
            | Self::ReadDiscreteInputs
            | Self::ReadHoldingRegisters
            | Self::ReadInputRegisters => false,
            Self::WriteSingleCoil
            | Self::WriteSingleRegister
            | Self::WriteMultipleCoils
            | Self::WriteMultipleRegisters
            | Self::MaskWriteRegister
            | Self::ReadWriteMultipleRegisters => true,
        }
    }
}

/// Exception codes (Application Protocol §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exception {
    /// The function is not one that the instrument carries out.
    IllegalFunction = 1,
    /// An address is not mapped.
    IllegalDataAddress = 2,
    /// A quantity, byte count or coil value is not allowed.
    IllegalDataValue = 3,
    /// Something broke while the request was carried out.
    ServerDeviceFailure = 4,
    /// Accepted, will take long.
    Acknowledge = 5,
    /// Busy with a long command; ask again.
    ServerDeviceBusy = 6,
    /// A memory parity error in the extended file area.
    MemoryParityError = 8,
    /// A gateway has no path to the unit.
    GatewayPathUnavailable = 0x0A,
    /// A gateway got no answer from the unit.
    GatewayTargetDeviceFailedToRespond = 0x0B,
}

impl Exception {
    /// The answer PDU: the function with its top bit set, and the code.
    pub(crate) const fn answer(self, function: u8) -> [u8; 2] {
        [function | 0x80, self as u8]
    }
}
