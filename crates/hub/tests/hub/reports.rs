//! Reports: what says nothing new costs the store nothing, and what other processes took is honoured.

use std::{sync::atomic::Ordering, time::Duration};

use holdfast_domain::{
    event::{Context, EventKind},
    row::{Actor, DeploymentStatus},
    trouble::Tolerated,
    watch::{Patience, watch},
};
use holdfast_hub::{HubError, agents::ReportOutcome};
use holdfast_ports::{fleet::FleetStore as _, store::DeviceStore as _};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Agent, Fleet, Process, settle};

async fn heartbeat(process: &Process, agent: &mut Agent) -> ReportOutcome {
    let report = agent.says.heartbeat();
    process
        .report(agent.device, &report)
        .await
        .expect("a valid report")
}

#[tokio::test(start_paused = true)]
async fn a_thousand_identical_reports_cost_nothing_but_seen() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a", "b"]).await;
    assert_eq!(
        heartbeat(&process, &mut agent).await,
        ReportOutcome::Unchanged
    );
    let before = fleet.stored(agent.device).await;
    let (counts, events) = (process.store.counts(), fleet.kinds(agent.device).await);
    for _ in 0..1_000 {
        assert_eq!(
            heartbeat(&process, &mut agent).await,
            ReportOutcome::Unchanged
        );
    }
    for _ in 0..100 {
        let full = agent.says.full_report();
        assert_eq!(
            process.report(agent.device, &full).await.expect("valid"),
            ReportOutcome::Unchanged
        );
    }
    assert_eq!(process.store.counts(), counts, "no load, no commit");
    assert_eq!(fleet.kinds(agent.device).await, events);
    let device = agent.device;
    process.end().await;
    let after = fleet.stored(device).await;
    assert_eq!(
        (after.revision, &after.rows),
        (before.revision, &before.rows)
    );
}

#[tokio::test(start_paused = true)]
async fn seen_is_written_in_batches_and_at_the_end() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agents = Vec::new();
    for index in 0..20 {
        agents.push(
            process
                .established(&format!("gateway-{index}"), &["a"])
                .await,
        );
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    settle().await;
    process.store.touches.lock().expect("no panics").clear();
    fleet.later(60);
    for _ in 0..50 {
        for agent in &mut agents {
            heartbeat(&process, agent).await;
        }
    }
    assert!(
        process.store.touches.lock().expect("no panics").is_empty(),
        "not one by one"
    );
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    assert_eq!(*process.store.touches.lock().expect("no panics"), [20]);
    for agent in &agents {
        assert_eq!(
            fleet.stored(agent.device).await.presence.last_seen_at,
            Some(fleet.now())
        );
    }

    // What can't be written is kept; what was seen when the process ends is written.
    process.store.touches_fail.store(true, Ordering::SeqCst);
    fleet.later(60);
    let seen_at = fleet.now();
    heartbeat(&process, &mut agents[0]).await;
    assert!(!process.hub.is_unwritable());
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    assert!(process.hub.is_unwritable(), "the process is not ready then");
    let hub = process.hub.clone();
    process.store.touches_fail.store(false, Ordering::SeqCst);
    process.end().await;
    assert!(!hub.is_unwritable());
    assert_eq!(
        fleet.stored(agents[0].device).await.presence.last_seen_at,
        Some(seen_at)
    );
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_numbers_forces_a_look_at_the_store() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    heartbeat(&process, &mut agent).await;
    let (loads, _) = process.store.counts();
    heartbeat(&process, &mut agent).await;
    assert_eq!(process.store.counts().0, loads);
    agent.says.sequence += 1;
    assert_eq!(
        heartbeat(&process, &mut agent).await,
        ReportOutcome::Unchanged
    );
    assert_eq!(
        process.store.counts().0,
        loads + 1,
        "another process may have taken the one between"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_process_took_is_honoured() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut agent = here.established("gateway-1", &["a", "b"]).await;
    heartbeat(&here, &mut agent).await;
    let all = agent.says.running.clone();
    agent.says.running.pop();
    let fewer = agent.says.full_report();
    assert_eq!(
        there.report(agent.device, &fewer).await.expect("valid"),
        ReportOutcome::Taken
    );

    // What is left out now is unchanged since what the other process acknowledged.
    assert_eq!(heartbeat(&here, &mut agent).await, ReportOutcome::Unchanged);
    assert_eq!(
        fleet
            .stored(agent.device)
            .await
            .reported
            .expect("reported")
            .running
            .len(),
        1
    );

    // The very bytes that this process took for nothing new are something new since.
    agent.says.running = all;
    let back = agent.says.heartbeat();
    assert_eq!(
        here.report(agent.device, &back).await.expect("valid"),
        ReportOutcome::FullWanted
    );
    let full = agent.says.full_report();
    assert_eq!(
        here.report(agent.device, &full).await.expect("valid"),
        ReportOutcome::Taken
    );
    assert_eq!(
        fleet
            .stored(agent.device)
            .await
            .reported
            .expect("reported")
            .running
            .len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn late_reports_are_answered_and_dropped() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut agent = here.established("gateway-1", &["a"]).await;
    let mut old = agent.says.clone();
    agent.says.reboot();
    here.work(&mut agent).await;
    let full = agent.says.full_report();
    assert_eq!(
        here.report(agent.device, &full).await.expect("valid"),
        ReportOutcome::Taken
    );
    old.running.clear();
    let late = old.full_report();
    let before = fleet.stored(agent.device).await;
    for process in [&here, &there] {
        let outcome = process.report(agent.device, &late).await.expect("answered");
        assert_eq!(outcome, ReportOutcome::Late { boot: 2 });
        assert_eq!(
            process.report(agent.device, &full).await.expect("answered"),
            ReportOutcome::Late { boot: 2 }
        );
    }
    assert_eq!(fleet.stored(agent.device).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_report_speaks_for_its_own_device_only() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut own = process.established("gateway-1", &["a"]).await;
    let mut other = process.established("gateway-2", &["a"]).await;
    heartbeat(&process, &mut other).await;
    let before = fleet.stored(other.device).await;
    let body = other.says.heartbeat().to_json(other.device).to_string();
    let refused = process.hub.report(own.device, body.as_bytes(), None).await;
    assert!(
        matches!(refused, Err(HubError::OtherDevice { own: mine, found }) if mine == own.device && found == other.device)
    );
    let forged = own.says.full_report().to_json(other.device).to_string();
    assert!(matches!(
        process
            .hub
            .report(own.device, forged.as_bytes(), None)
            .await,
        Err(HubError::OtherDevice { .. })
    ));
    assert_eq!(fleet.stored(other.device).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_report_is_taken_whole_or_not_at_all() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a", "b"]).await;
    let before = fleet.stored(agent.device).await;
    agent.says.running.pop();
    let mut document = agent.says.full_report().to_json(agent.device);
    document[agent.device.to_string()]["config"]["protocolAdapterDevices"][0]["pollInterval"] =
        json!(-5);
    let bad = process
        .hub
        .report(agent.device, document.to_string().as_bytes(), None)
        .await;
    let Err(HubError::Invalid(problems)) = bad else {
        panic!("expected a refusal, found {bad:?}")
    };
    let field = format!(
        "{}.config.protocolAdapterDevices[0].pollInterval",
        agent.device
    );
    assert_eq!(problems.list()[0].field, field);
    for body in ["", "{", "[]", "null", "\u{0}"] {
        assert!(
            matches!(
                process
                    .hub
                    .report(agent.device, body.as_bytes(), None)
                    .await,
                Err(HubError::Invalid(_))
            ),
            "{body:?}"
        );
    }
    assert_eq!(fleet.stored(agent.device).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sensor_is_shown_with_its_reason_while_the_others_run() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.register("gateway-1").await;
    for name in ["a", "b", "c"] {
        process.add(agent.device, name).await;
    }
    let state = fleet.stored(agent.device).await;
    let third = state.target.items[2].sensor.id();
    agent.says.establish_but(&state, &[third], fleet.now());
    let report = agent.says.full_report();
    assert_eq!(
        process.report(agent.device, &report).await.expect("valid"),
        ReportOutcome::Taken
    );
    let state = fleet.stored(agent.device).await;
    assert_eq!((state.target.items.len(), state.rows.len()), (3, 3));
    let failed = &state.rows[&third];
    assert_eq!(
        (failed.status, failed.attempts, failed.running_since),
        (DeploymentStatus::Failed, 3, None)
    );
    assert!(
        failed
            .error
            .as_ref()
            .is_some_and(|error| error.contains("connection refused"))
    );
    assert!(state.needs_deployment());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_was_found_silent_is_back_with_the_same_bytes() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    heartbeat(&process, &mut agent).await;
    heartbeat(&process, &mut agent).await;

    // A reconciler, anywhere, finds that nothing was heard for long: the machine slept, and no number was used up.
    fleet.later(3_600);
    let patience = Patience {
        silent_after: SignedDuration::from_secs(90),
        drift_after: SignedDuration::from_secs(10),
        tolerated: Tolerated::USUAL,
        at_least_every: SignedDuration::from_secs(300),
    };
    let state = fleet.stored(agent.device).await;
    let context = Context::new(fleet.now(), Actor::reconciler());
    let silent = watch(
        &state,
        &patience,
        Some(state.record.audit.created_at),
        &context,
    )
    .change
    .expect("silent");
    fleet.store.commit(&silent).await.expect("committed");
    settle().await;

    assert_eq!(heartbeat(&process, &mut agent).await, ReportOutcome::Taken);
    assert!(!fleet.stored(agent.device).await.presence.silent);
    let kinds = fleet.kinds(agent.device).await;
    assert_eq!(
        kinds[kinds.len() - 3..],
        [
            EventKind::DeviceOffline,
            EventKind::TroubleBegan,
            EventKind::DeviceOnline
        ]
    );
    assert_eq!(
        heartbeat(&process, &mut agent).await,
        ReportOutcome::Unchanged
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_overtaken_by_a_report_that_said_nothing_new_is_late_everywhere() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut agent = here.established("gateway-1", &["a", "b"]).await;
    let device = agent.device;
    heartbeat(&here, &mut agent).await;
    heartbeat(&there, &mut agent).await;
    let all = agent.says.running.clone();
    agent.says.running.pop();
    let lost = agent.says.full_report();
    agent.says.running = all;
    let next = agent.says.full_report();
    assert_eq!(
        here.report(device, &next).await.expect("valid"),
        ReportOutcome::Unchanged
    );
    let before = fleet.stored(device).await;
    let young = fleet.process().await;
    for process in [&there, &young, &here] {
        let outcome = process.report(device, &lost).await.expect("answered");
        assert!(matches!(outcome, ReportOutcome::Late { .. }), "{outcome:?}");
    }
    assert_eq!(fleet.stored(device).await, before);
}

#[tokio::test(start_paused = true)]
async fn the_hub_counts_as_up_only_while_it_can_write_what_it_sees() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let up_since = async || {
        let since = fleet.store.hub_up_since(fleet.now()).await;
        since.expect("memory works")
    };
    let tick = Duration::from_secs(2);
    tokio::time::advance(tick).await;
    settle().await;
    let start = up_since().await;
    assert!(start.is_some());
    let mut agent = process.established("gateway-1", &["a"]).await;
    process.store.touches_fail.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        fleet.later(1);
        heartbeat(&process, &mut agent).await;
        tokio::time::advance(tick).await;
        settle().await;
    }
    assert_eq!(up_since().await, None);
    process.store.touches_fail.store(false, Ordering::SeqCst);
    tokio::time::advance(tick).await;
    settle().await;
    assert_eq!(up_since().await, Some(fleet.now()));
}
