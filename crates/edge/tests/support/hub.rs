//! A hub in memory: the domain's own decisions over one device's state, without a store or a network.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use holdfast_domain::{
    Incarnation, PointId, Report, ReportOrder, TargetDocument,
    edit::{Edit, edit},
    event::Context,
    receive::{Received, receive},
    row::Actor,
    state::DeviceState,
};
use holdfast_ports::{
    hub_link::{HeldTarget, HubError, HubLink, Polled, ReportAnswer},
    store::PointRecord,
};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

/// A hub's state and what it decides.
#[derive(Debug, Clone)]
pub(crate) struct HubModel {
    pub(crate) state: DeviceState,
    pub(crate) seen: Option<ReportOrder>,
    /// Reports that changed something.
    pub(crate) changes: u64,
    ids: u128,
}

impl HubModel {
    pub(crate) fn new() -> Self {
        Self {
            state: super::device(),
            seen: None,
            changes: 0,
            ids: 0,
        }
    }

    pub(crate) fn edit(&mut self, asked: Edit, now: Timestamp) {
        let context = Context::new(now, Actor::named("anna"));
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            Uuid::from_u128(0xe000_0000 + *ids)
        };
        let edition = edit(&self.state, asked, None, &mut new_id, &context).expect("a valid edit");
        if let Some(change) = edition.change {
            self.state = self.state.after(change);
        }
    }

    pub(crate) fn poll(&self, held: Option<&HeldTarget>) -> Polled {
        if held.is_some_and(|held| held.etag == self.state.target.etag()) {
            return Polled::Unchanged;
        }
        let target = self.state.target_state(super::start_of_time());
        let is_configured = held.is_some_and(|held| held.config == target.config_fingerprint());
        // Over the wire and back: what can't be read on the other side must not pass here.
        let text = if is_configured {
            serde_json::to_vec(&target.changes(super::DEVICE))
        } else {
            serde_json::to_vec(&target.document(super::DEVICE))
        };
        let read = TargetDocument::from_slice(&text.expect("JSON")).expect("a target");
        match read.1 {
            TargetDocument::Whole(target) => Polled::Target(Box::new(target)),
            TargetDocument::Changes(changes) => Polled::Changes(Box::new(changes)),
        }
    }

    pub(crate) fn report(&mut self, report: &Report, now: Timestamp) -> ReportAnswer {
        let (device, report) =
            Report::from_json(report.to_json(super::DEVICE)).expect("a report that can be read");
        assert_eq!(device, super::DEVICE);
        let order = report.order;
        match receive(
            &self.state,
            report,
            self.seen,
            &Context::new(now, Actor::agent()),
        ) {
            Received::Late { boot } => ReportAnswer::Late { boot },
            Received::OtherIncarnation { .. } => ReportAnswer::OtherIncarnation,
            Received::FullWanted => ReportAnswer::FullWanted,
            Received::Contradictory(problems) => panic!("the agent contradicts itself: {problems}"),
            Received::Unchanged => {
                self.seen = Some(order);
                ReportAnswer::Taken
            }
            Received::Changed(change) => {
                self.changes += 1;
                self.state = self.state.after(*change);
                ReportAnswer::Taken
            }
        }
    }

    pub(crate) fn new_incarnation(&mut self) -> Incarnation {
        self.ids += 1;
        let incarnation = Incarnation(Uuid::from_u128(0xf000_0000 + self.ids));
        self.state.record.incarnation = Some(incarnation);
        incarnation
    }
}

/// The port over a [`HubModel`].
pub(crate) struct FakeHub {
    model: Mutex<HubModel>,
    changed: watch::Sender<u64>,
    /// What every call answers while set.
    down: Mutex<Option<HubError>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) readings: Mutex<Vec<Vec<PointRecord>>>,
    /// A point whose readings it never takes.
    pub(crate) unwanted: Mutex<Option<PointId>>,
    pub(crate) polls: Mutex<u64>,
    /// Targets that were given: all of one, and without its configuration.
    pub(crate) given: Mutex<(u64, u64)>,
}

impl FakeHub {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            model: Mutex::new(HubModel::new()),
            changed: watch::Sender::new(0),
            down: Mutex::new(None),
            reports: Mutex::default(),
            readings: Mutex::default(),
            unwanted: Mutex::default(),
            polls: Mutex::default(),
            given: Mutex::default(),
        })
    }

    /// Changes the model; whoever waits looks again.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut HubModel) -> T) -> T {
        let result = act(&mut self.model.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn edit(&self, asked: Edit) {
        self.with(|model| model.edit(asked, super::start_of_time()));
    }

    pub(crate) fn goes_down(&self, error: Option<HubError>) {
        *self.down.lock().unwrap() = error;
        self.changed.send_modify(|count| *count += 1);
    }

    /// Waits until the hub's state is as `wanted` says.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(&DeviceState) -> bool) {
        let mut changed = self.changed.subscribe();
        while !wanted(&self.model.lock().unwrap().state) {
            changed.changed().await.expect("the hub is there");
        }
    }

    /// Waits until `wanted` holds; it is asked again after each call.
    pub(crate) async fn until_called(&self, mut wanted: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !wanted(self) {
            changed.changed().await.expect("the hub is there");
        }
    }

    fn answers(&self) -> Result<(), HubError> {
        self.changed.send_modify(|count| *count += 1);
        self.down.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl HubLink for FakeHub {
    async fn poll(&self, held: Option<&HeldTarget>, wait: Duration) -> Result<Polled, HubError> {
        *self.polls.lock().unwrap() += 1;
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            if let Some(error) = self.down.lock().unwrap().clone() {
                return Err(error);
            }
            let answer = self.model.lock().unwrap().poll(held);
            let (whole, changes) = match answer {
                Polled::Unchanged => (0, 0),
                Polled::Target(_) => (1, 0),
                Polled::Changes(_) => (0, 1),
            };
            if answer != Polled::Unchanged {
                let mut given = self.given.lock().unwrap();
                *given = (given.0 + whole, given.1 + changes);
                return Ok(answer);
            }
            if tokio::time::timeout_at(deadline, changed.changed())
                .await
                .is_err()
            {
                return Ok(Polled::Unchanged);
            }
        }
    }

    async fn report(&self, report: &Report) -> Result<ReportAnswer, HubError> {
        self.answers()?;
        self.reports.lock().unwrap().push(report.clone());
        Ok(self.with(|model| model.report(report, super::start_of_time())))
    }

    async fn readings(&self, readings: &[PointRecord]) -> Result<(), HubError> {
        self.answers()?;
        let unwanted = *self.unwanted.lock().unwrap();
        if readings.iter().any(|record| Some(record.point) == unwanted) {
            return Err(HubError::Unreachable("422 Unprocessable".into()));
        }
        self.readings.lock().unwrap().push(readings.to_vec());
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn new_incarnation(&self) -> Result<Incarnation, HubError> {
        self.answers()?;
        Ok(self.with(HubModel::new_incarnation))
    }
}
