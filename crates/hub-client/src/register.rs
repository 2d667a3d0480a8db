//! An agent's first contact: with a provisioning key it becomes a device.
//!
//! Leaves to the agent: making its token, keeping it, and asking again with the very same request until it is answered
//! (the hub answers the same request the same way).

use holdfast_wire::{RegisterAnswer, RegisterRequest};
use reqwest::Method;

use crate::{
    problem::{self, CallError},
    transport::{ClientError, Connection, Transport},
};

/// Why an agent could not register.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No client can be made with this connection and key.
    #[error("can't speak to the hub with this connection and key")]
    Client(#[from] ClientError),
    /// The hub refused, or gave no answer that counts.
    #[error("the hub did not register this agent")]
    Call(#[from] CallError),
}

impl RegisterError {
    /// Is trying again pointless until somebody gives another key or changes something on the hub?
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Call(error) => error.is_final(),
        }
    }
}

/// Registers with the provisioning key `key`. Does not retry.
///
/// # Errors
/// [`RegisterError`]; unless it [is final](RegisterError::is_final), the same request may be sent again.
pub async fn register(
    connection: &Connection,
    key: &str,
    request: &RegisterRequest,
) -> Result<RegisterAnswer, RegisterError> {
    let transport = Transport::new(connection, key)?;
    let call = transport
        .call(Method::POST, &["device", "register"])
        .json(request);
    let named = call.named();
    let answer = match transport.send(call).await {
        Ok(answer) => answer,
        Err(error) => return Err(CallError::NoAnswer { call: named, error }.into()),
    };
    if !answer.status.is_success() {
        return Err(problem::refusal(named, &answer).into());
    }
    Ok(problem::read(
        named,
        &answer,
        "a device and its incarnation",
    )?)
}
