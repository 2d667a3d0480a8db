//! The hub of one device, over HTTP: the agent's side of the API behind the port [`HubLink`].
//!
//! Only a problem document of the type `device-deleted` or `device-revoked` that names this very device ends the agent's
//! right to act. Whatever else comes back, a proxy's page or a restored hub's "unknown token", is a hub out of reach.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use holdfast_domain::{DeviceId, Incarnation, Report, TargetDocument};
use holdfast_ports::{
    hub_link::{HeldTarget, HubError, HubLink, Polled, ReportAnswer},
    store::PointRecord,
};
use holdfast_wire::{
    IncarnationAnswer, IncarnationRequest, Reading, Readings, ReportResult,
    agent::ReportAnswer as Answered,
    problem::types,
    routes::{HELD_MS, MAX_WAIT_S},
};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, header};
use serde_json::value::RawValue;

use crate::{
    problem,
    transport::{Answer, Call, ClientError, Connection, NoAnswer, Transport},
};

/// The hub of one device.
pub struct AgentHub {
    transport: Transport,
    device: DeviceId,
    calls: AtomicU64,
}

impl AgentHub {
    /// The hub behind `connection`, as `device` with its agent's `token`.
    ///
    /// # Errors
    /// [`ClientError`] if no client can be made of that; nothing is sent yet.
    pub fn new(
        connection: &Connection,
        device: DeviceId,
        token: &str,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(connection, token)?,
            device,
            calls: AtomicU64::new(0),
        })
    }

    /// How many requests were sent since the start; for the agent's metrics and for tests.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn send(&self, call: Call) -> Result<(String, Answer), HubError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let named = call.named();
        match self.transport.send(call).await {
            Ok(answer)
                if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED =>
            {
                Ok((named, answer))
            }
            Ok(answer) => Err(self.refusal(named, &answer)),
            Err(error @ NoAnswer::Broken(_)) => Err(HubError::Cut(format!("{named}: {error}"))),
            Err(error) => Err(HubError::Unreachable(format!("{named}: {error}"))),
        }
    }

    fn refusal(&self, call: String, answer: &Answer) -> HubError {
        let Some(problem) = problem::of(answer) else {
            let said = problem::refusal(call, answer).to_string();
            return match answer.status {
                // A proxy that waited for the hub and gave up.
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT => HubError::Cut(said),
                _ => HubError::Unreachable(said),
            };
        };
        if problem.deleted_device() == Some(self.device) {
            return HubError::Deleted(self.device);
        }
        if problem.revoked_device() == Some(self.device) {
            return HubError::Revoked(self.device);
        }
        let said = format!("{call}: {}: {}", answer.status, problem::describe(&problem));
        if problem.kind == types::TOKEN_UNKNOWN {
            return HubError::Unknown(said);
        }
        HubError::Unreachable(said)
    }

    fn read_target(&self, call: &str, answer: &Answer) -> Result<TargetDocument, HubError> {
        let not = |why: &dyn std::fmt::Display| {
            HubError::Unreachable(format!(
                "{call}: expected the target of device {}, found {why}",
                self.device
            ))
        };
        let document: &RawValue = problem::read(call.to_owned(), answer, "a target state")
            .map_err(|error| not(&error))?;
        match TargetDocument::from_slice(document.get().as_bytes()) {
            Ok((device, target)) if device == self.device => Ok(target),
            Ok((other, _)) => Err(not(&format_args!("that of device {other}"))),
            Err(problems) => Err(not(&problems)),
        }
    }
}

/// How long ago the hub gave an answer at the most, in ms: all the time since it was asked, but for what it says that it
/// held the answer back. A hub that does not say so held nothing back.
fn on_the_way(answer: &Answer, elapsed: Duration) -> u64 {
    let held = answer.headers.get(HELD_MS);
    let held: u64 = held
        .and_then(|text| text.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // What was rounded down is counted.
    elapsed.saturating_add(1).saturating_sub(held)
}

fn unreadable(error: &crate::CallError) -> HubError {
    HubError::Unreachable(error.to_string())
}

#[async_trait]
impl HubLink for AgentHub {
    async fn poll(&self, held: Option<&HeldTarget>, wait: Duration) -> Result<Polled, HubError> {
        let device = self.device.to_string();
        let mut call = self
            .transport
            .call(Method::GET, &["device", &device, "state"]);
        if let Some(held) = held {
            call = call.header(header::IF_NONE_MATCH, &held.etag);
            let wait = wait.min(Duration::from_secs(u64::from(MAX_WAIT_S)));
            if wait >= Duration::from_secs(1) {
                call = call.prefer_wait(wait);
            }
            call = call.prefer_changes(held.config);
        }
        let asked = Instant::now();
        let (named, answer) = self.send(call).await?;
        match (answer.status, held) {
            (StatusCode::OK, _) => {
                let mut target = self.read_target(&named, &answer)?;
                target.age(on_the_way(&answer, asked.elapsed()));
                match target {
                    TargetDocument::Whole(target) => Ok(Polled::Target(Box::new(target))),
                    TargetDocument::Changes(changes) if held.is_some() => {
                        Ok(Polled::Changes(Box::new(changes)))
                    }
                    TargetDocument::Changes(_) => Err(HubError::Unreachable(format!(
                        "{named}: expected a whole target, as none is held, found one without its configuration"
                    ))),
                }
            }
            (StatusCode::NOT_MODIFIED, Some(_)) => Ok(Polled::Unchanged),
            (status, _) => Err(HubError::Unreachable(format!(
                "{named}: expected a target, found {status}"
            ))),
        }
    }

    async fn report(&self, report: &Report) -> Result<ReportAnswer, HubError> {
        let call = self
            .transport
            .call(Method::PATCH, &["device", "state"])
            .json(&report.document(self.device));
        let (named, answer) = self.send(call).await?;
        let answered: Answered = problem::read(named.clone(), &answer, "what came of the report")
            .map_err(|error| unreadable(&error))?;
        Ok(match answered.result {
            ReportResult::Taken | ReportResult::Unchanged => ReportAnswer::Taken,
            ReportResult::FullWanted => ReportAnswer::FullWanted,
            ReportResult::OtherIncarnation => ReportAnswer::OtherIncarnation,
            ReportResult::Late => {
                let boot = answered.boot.ok_or_else(|| {
                    HubError::Unreachable(format!(
                        "{named}: expected the highest boot with a late report, found none"
                    ))
                })?;
                ReportAnswer::Late { boot }
            }
        })
    }

    async fn readings(&self, readings: &[PointRecord]) -> Result<(), HubError> {
        for batch in readings.chunks(Readings::MOST) {
            let body = Readings {
                device: self.device,
                sent_at: Some(Timestamp::now()),
                readings: batch.iter().map(reading).collect(),
            };
            self.send(
                self.transport
                    .call(Method::POST, &["device", "readings"])
                    .json(&body),
            )
            .await?;
        }
        Ok(())
    }

    async fn new_incarnation(&self) -> Result<Incarnation, HubError> {
        let body = IncarnationRequest {
            device: self.device,
        };
        let (named, answer) = self
            .send(
                self.transport
                    .call(Method::POST, &["device", "incarnation"])
                    .json(&body),
            )
            .await?;
        let answered: IncarnationAnswer = problem::read(named, &answer, "a new incarnation")
            .map_err(|error| unreadable(&error))?;
        Ok(answered.incarnation)
    }
}

fn reading(record: &PointRecord) -> Reading {
    let PointRecord {
        point,
        sensor,
        value,
        quality,
        at,
        reason,
    } = record.clone();
    Reading {
        sensor,
        point,
        value,
        quality,
        at,
        reason,
    }
}
