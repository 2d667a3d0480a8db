//! The operators' side of the API, call by call. No call retries.
//!
//! Here: the client and how its calls are made. [`devices`] are devices and what is true of them, [`target`] what they
//! should run, [`values`] the values that outputs shall hold, [`budget`] how often they may be written, [`reconciliation`] the loops that hold them, [`commands`] what happens
//! once, [`log`] the event log (following it is [`crate::follow`]),
//! [`access`] tokens and keys.

mod access;
mod budget;
mod commands;
mod devices;
mod log;
mod reconciliation;
mod target;
mod values;

use holdfast_wire::{Listed, page::MOST};
use reqwest::Method;
use serde::de::DeserializeOwned;

pub use devices::{SensorQuery, SensorsView};
pub use log::EventQuery;
pub use target::TargetAnswer;
pub use values::PointRef;

use crate::{
    problem::{self, CallError},
    transport::{Answer, Call, ClientError, Connection, Transport},
};

/// The hub, for an operator.
#[derive(Clone)]
pub struct Operator {
    transport: Transport,
    reason: Option<String>,
}

impl Operator {
    /// The hub behind `connection`, with an operator's `token`.
    ///
    /// # Errors
    /// [`ClientError`] if no client can be made of that; nothing is sent yet.
    pub fn new(connection: &Connection, token: &str) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(connection, token)?,
            reason: None,
        })
    }

    /// The same, with the reason that is given for every edit of a target and every look.
    #[must_use]
    pub fn because(self, reason: Option<&str>) -> Self {
        Self {
            reason: reason.map(str::to_owned),
            ..self
        }
    }

    /// Where the hub is.
    #[must_use]
    pub fn address(&self) -> String {
        self.transport.address().to_string()
    }

    fn get(&self, segments: &[&str]) -> Call {
        self.transport.call(Method::GET, segments)
    }

    fn post(&self, segments: &[&str]) -> Call {
        self.transport.call(Method::POST, segments)
    }

    fn delete(&self, segments: &[&str]) -> Call {
        self.transport.call(Method::DELETE, segments)
    }

    /// A call that goes into the history or the events with a reason.
    fn reasoned(&self, call: Call) -> Call {
        call.query_opt("reason", self.reason.as_deref())
    }

    async fn send(&self, call: Call) -> Result<Answer, CallError> {
        let named = call.named();
        match self.transport.send(call).await {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            Ok(answer) => Err(problem::refusal(named, &answer)),
            Err(error) => Err(CallError::NoAnswer { call: named, error }),
        }
    }

    async fn fetch<T: DeserializeOwned>(
        &self,
        call: Call,
        expected: &'static str,
    ) -> Result<T, CallError> {
        let named = call.named();
        let answer = self.send(call).await?;
        problem::read(named, &answer, expected)
    }

    async fn all<T: DeserializeOwned>(
        &self,
        call: Call,
        expected: &'static str,
    ) -> Result<Vec<T>, CallError> {
        self.some(call, expected, usize::MAX).await
    }

    /// Pages until there are `most` or no more.
    async fn some<T: DeserializeOwned>(
        &self,
        call: Call,
        expected: &'static str,
        most: usize,
    ) -> Result<Vec<T>, CallError> {
        let limit = u32::try_from(most).unwrap_or(MOST).min(MOST);
        let call = call.query("limit", &limit.to_string());
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = call.clone().query_opt("after", after.as_deref());
            let listed: Listed<T> = self.fetch(page, expected).await?;
            let is_stuck = listed.next.is_some() && listed.next == after;
            items.extend(listed.items);
            after = listed.next;
            if after.is_none() || is_stuck || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }
}
