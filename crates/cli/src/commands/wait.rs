//! `apply --wait`: watches sensors until each has come to rest.
//!
//! The read model is what counts, and is read again whenever an event says that something happened, and every now and then
//! anyway. [`judge`] says of one row whether it has come to rest; the rest is waiting and showing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_domain::{DeviceId, Name, SensorId, row::DeploymentStatus};
use holdfast_hub_client::{EventQuery, Follower, Operator};
use holdfast_wire::SensorView;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{
    CliError, Exit,
    output::{Out, harmless},
    render::lists::times,
};

use super::resolve::rows;

/// How often the rows are read if no event comes.
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// How often at most, however many events come.
const AT_MOST_EVERY: Duration = Duration::from_millis(150);

/// One sensor that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) device: DeviceId,
    pub(super) device_name: Name,
    pub(super) sensor: SensorId,
    pub(super) name: Name,
    /// Shall it run, or be gone?
    pub(super) wanted: bool,
}

/// Where a sensor stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "camelCase")]
pub(super) enum State {
    /// Still on its way: how far it is.
    Waiting(String),
    /// It runs, or is gone, as wanted.
    Done,
    /// Its agent could not do it: why.
    Failed(String),
}

/// Where a sensor stands, by its row.
pub(super) fn judge(goal: &Goal, row: Option<&SensorView>) -> State {
    match (goal.wanted, row) {
        (false, None) => State::Done,
        (true, None) => {
            State::Failed("someone else removed it from the target meanwhile".to_owned())
        }
        (false, Some(row)) if row.stale => {
            State::Waiting("still runs, and the agent is silent".to_owned())
        }
        (false, Some(row)) => State::Waiting(match &row.deployment_error {
            Some(error) => format!("still runs: {}", harmless(error)),
            None => "still runs".to_owned(),
        }),
        (true, Some(row)) => match row.deployment_status {
            DeploymentStatus::Deployed => State::Done,
            DeploymentStatus::Failed => {
                let error = row
                    .deployment_error
                    .as_deref()
                    .unwrap_or("no reason was given");
                State::Failed(format!(
                    "{} ({})",
                    harmless(error),
                    times(row.deployment_attempts)
                ))
            }
            DeploymentStatus::PendingDeletion => {
                State::Failed("someone else removed it from the target meanwhile".to_owned())
            }
            status if row.stale => State::Waiting(format!("{status}, and the agent is silent")),
            status => State::Waiting(status.to_string()),
        },
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    result: OutcomeResult,
    sensors: Vec<Settled>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum OutcomeResult {
    Deployed,
    Failed,
    TimedOut,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Settled {
    device: Name,
    sensor: Name,
    #[serde(flatten)]
    state: State,
}

impl Outcome {
    fn of(goals: &[Goal], states: &[State]) -> Self {
        let any = |wanted: fn(&State) -> bool| states.iter().any(wanted);
        let result = if any(|state| matches!(state, State::Waiting(_))) {
            OutcomeResult::TimedOut
        } else if any(|state| matches!(state, State::Failed(_))) {
            OutcomeResult::Failed
        } else {
            OutcomeResult::Deployed
        };
        let settled = |(goal, state): (&Goal, &State)| Settled {
            device: goal.device_name.clone(),
            sensor: goal.name.clone(),
            state: state.clone(),
        };
        Self {
            result,
            sensors: goals.iter().zip(states).map(settled).collect(),
        }
    }

    /// The exit status that says so.
    pub(super) const fn exit(&self) -> Exit {
        match self.result {
            OutcomeResult::Deployed => Exit::Good,
            OutcomeResult::Failed => Exit::NotAsWanted,
            OutcomeResult::TimedOut => Exit::TimedOut,
        }
    }

    fn said(&self, timeout: Duration) -> String {
        let count = |wanted: fn(&State) -> bool| {
            self.sensors
                .iter()
                .filter(|sensor| wanted(&sensor.state))
                .count()
        };
        let (done, all) = (count(|state| *state == State::Done), self.sensors.len());
        let failed = count(|state| matches!(state, State::Failed(_)));
        match self.result {
            OutcomeResult::Deployed => format!("all of it is as wanted ({all} sensors)"),
            OutcomeResult::Failed => {
                format!("{failed} of {all} sensors failed; {done} are as wanted")
            }
            OutcomeResult::TimedOut => format!(
                "after {} s {} of {all} sensors are not settled; {done} are as wanted, {failed} failed",
                timeout.as_secs(),
                all - done - failed,
            ),
        }
    }
}

/// Waits until every goal has come to rest, or for `timeout`.
pub(super) async fn until_settled(
    hub: &Operator,
    out: &mut Out<'_>,
    goals: Vec<Goal>,
    timeout: Duration,
) -> Result<Outcome, CliError> {
    let begun = Instant::now();
    let deadline = begun + timeout;
    let mut news = News {
        follower: Some(hub.follow(&EventQuery::default(), None)),
    };
    let mut view = View::new(out, goals.len());
    let mut states = vec![State::Waiting(String::new()); goals.len()];
    loop {
        let read_at = Instant::now();
        match look(hub, &goals, &states).await {
            Ok(found) => {
                for (goal, (old, new)) in goals.iter().zip(states.iter_mut().zip(found)) {
                    if *old != new {
                        view.changed(goal, &new, begun.elapsed())?;
                        *old = new;
                    }
                }
                view.settled(states.iter().filter(|state| **state == State::Done).count());
            }
            // The hub may be restarting: what was applied stays applied, and the deadline is there.
            Err(CliError::Call { error }) if !error.is_final() => view.note(&format!("{error}"))?,
            Err(error) => return Err(error),
        }
        let outcome = Outcome::of(&goals, &states);
        if outcome.result != OutcomeResult::TimedOut || Instant::now() >= deadline {
            view.end(&outcome.said(timeout))?;
            return Ok(outcome);
        }
        news.wait(read_at, deadline).await;
    }
}

/// Reads the rows of every device with a goal that has not come to rest. A failed sensor may still recover.
async fn look(hub: &Operator, goals: &[Goal], states: &[State]) -> Result<Vec<State>, CliError> {
    let open = goals
        .iter()
        .zip(states)
        .filter(|(_, state)| **state != State::Done);
    let devices: BTreeSet<DeviceId> = open.map(|(goal, _)| goal.device).collect();
    let mut found: BTreeMap<DeviceId, BTreeMap<SensorId, SensorView>> = BTreeMap::new();
    for device in devices {
        let rows = rows(hub, device).await?;
        found.insert(device, rows.into_iter().map(|row| (row.id, row)).collect());
    }
    let state = |(goal, old): (&Goal, &State)| match found.get(&goal.device) {
        Some(rows) => judge(goal, rows.get(&goal.sensor)),
        None => old.clone(),
    };
    Ok(goals.iter().zip(states).map(state).collect())
}

/// What says that it is time to look again.
struct News {
    follower: Option<Follower>,
}

impl News {
    /// Waits for an event, or for the time to look anyway, or for the deadline; not shorter than [`AT_MOST_EVERY`].
    async fn wait(&mut self, read_at: Instant, deadline: Instant) {
        let anyway = deadline.min(read_at + AT_LEAST_EVERY);
        let refused = match &mut self.follower {
            None => {
                sleep_until(anyway).await;
                false
            }
            Some(follower) => tokio::select! {
                next = follower.next() => next.is_err(),
                () = sleep_until(anyway) => false,
            },
        };
        if refused {
            self.follower = None;
        }
        sleep_until((read_at + AT_MOST_EVERY).min(deadline)).await;
    }
}

/// Shows what happens: lines, and for a person who watches a moving one below them.
struct View<'a, 'o> {
    out: &'a mut Out<'o>,
    bar: Option<ProgressBar>,
}

impl<'a, 'o> View<'a, 'o> {
    fn new(out: &'a mut Out<'o>, goals: usize) -> Self {
        const TEMPLATE: &str = "{spinner} {pos} of {len} as wanted  {wide_msg}";
        let bar = out.is_live.then(|| {
            let bar = ProgressBar::new(goals as u64);
            bar.set_style(
                ProgressStyle::with_template(TEMPLATE).expect("a template of known parts"),
            );
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { out, bar }
    }

    fn line(&mut self, text: &str) -> Result<(), CliError> {
        let out = &mut *self.out;
        match &self.bar {
            Some(bar) => bar.suspend(|| out.progress(text)),
            None => out.progress(text),
        }?;
        Ok(())
    }

    fn changed(&mut self, goal: &Goal, state: &State, after: Duration) -> Result<(), CliError> {
        let who = format!("{}/{}", goal.device_name, goal.name);
        let after = after.as_secs_f64();
        match state {
            State::Waiting(how) => match &self.bar {
                Some(bar) => {
                    bar.set_message(format!("{who}: {how}"));
                    Ok(())
                }
                None => self.line(&format!("{who}: {how}")),
            },
            State::Done => {
                let word = if goal.wanted { "deployed" } else { "gone" };
                self.line(&format!("{who}: {word} ({after:.1} s)"))
            }
            State::Failed(why) => self.line(&format!("{who}: failed ({after:.1} s): {why}")),
        }
    }

    fn settled(&self, count: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(count as u64);
        }
    }

    fn note(&mut self, text: &str) -> Result<(), CliError> {
        self.line(text)
    }

    fn end(&mut self, text: &str) -> Result<(), CliError> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.line(text)
    }
}
