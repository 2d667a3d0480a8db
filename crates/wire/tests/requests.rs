//! Requests name what is wrong with them; answers survive the way through JSON.

use holdfast_domain::Problems;
use holdfast_wire::{
    DeviceCreate, ProblemDetails, ProvisioningKeyCreate, Readings, RegisterRequest, ReportAnswer,
    Request, Rollback, TokenCreate,
};
use serde_json::{Value, json};

fn fields<T>(read: Result<T, Problems>) -> Vec<String> {
    let problems = read.err().expect("refused");
    problems
        .list()
        .iter()
        .map(|problem| problem.field.clone())
        .collect()
}

#[test]
fn every_wrong_field_of_a_request_is_named_at_once() {
    let document = json!({ "name": "", "role": "root", "expiresAt": "soon", "colour": 1 });
    assert_eq!(
        fields(TokenCreate::from_json(document)),
        ["name", "role", "expiresAt", "colour"]
    );
    assert_eq!(fields(DeviceCreate::from_json(json!([]))), [""]);
    assert_eq!(
        fields(DeviceCreate::from_json(
            json!({ "name": "a", "labels": { "x": 1 } })
        )),
        ["labels.x"]
    );
    assert_eq!(
        fields(Rollback::from_json(json!({ "version": 0 }))),
        ["version"]
    );
    let document = json!({ "name": "k", "device": "x", "uses": -1 });
    assert_eq!(
        fields(ProvisioningKeyCreate::from_json(document)),
        ["device", "uses"]
    );
}

#[test]
fn what_may_be_left_out_may_be_null() {
    let document = json!({ "name": "k", "device": null, "uses": null, "expiresAt": null });
    let key = ProvisioningKeyCreate::from_json(document).expect("valid");
    assert_eq!((key.device, key.uses, key.expires_at), (None, None, None));
}

#[test]
fn an_agent_may_be_newer_than_its_hub() {
    let hash = "0f".repeat(32);
    let read =
        RegisterRequest::from_json(json!({ "tokenHash": hash, "colour": "green" })).expect("valid");
    assert_eq!(read.hash_bytes(), [0x0f; 32]);
    assert_eq!(RegisterRequest::hash_text(&read.hash_bytes()), hash);
    for wrong in ["", "0f", &"zz".repeat(32), &"é".repeat(32)] {
        assert_eq!(
            fields(RegisterRequest::from_json(json!({ "tokenHash": wrong }))),
            ["tokenHash"]
        );
    }
}

#[test]
fn a_wrong_reading_is_named_with_its_place() {
    let id = "0192b3a4-0000-7000-8000-000000000001";
    let good = json!({ "sensor": id, "point": id, "value": 1.5, "quality": "good", "at": "2026-11-22T12:00:00Z" });
    let of = |reading: &Value| {
        let body = json!({ "device": id, "readings": [good, reading] }).to_string();
        Readings::from_slice(body.as_bytes())
    };
    assert_eq!(of(&good).expect("valid").readings.len(), 2);
    for (field, value) in [
        ("sensor", json!("x")),
        ("value", json!([1])),
        ("at", json!(5)),
        ("quality", json!(null)),
    ] {
        let mut reading = good.clone();
        reading[field] = value;
        assert_eq!(fields(of(&reading)), [format!("readings[1].{field}")]);
    }
    assert_eq!(fields(Readings::from_slice(b"{\"device\":")), [""]);
    let many = json!({ "device": id, "readings": vec![good; Readings::MOST + 1] }).to_string();
    assert_eq!(fields(Readings::from_slice(many.as_bytes())), ["readings"]);
}

#[test]
fn a_problem_says_which_device_is_gone_only_if_it_is_of_that_kind() {
    let of = |kind: &str| -> ProblemDetails {
        let problem = json!({ "type": kind, "title": "t", "status": 410, "device": "0192b3a4-0000-7000-8000-000000000001" });
        serde_json::from_value(problem).expect("valid")
    };
    assert!(
        of("urn:holdfast:problem:device-deleted")
            .deleted_device()
            .is_some()
    );
    assert!(
        of("urn:holdfast:problem:device-deleted")
            .revoked_device()
            .is_none()
    );
    assert!(of("about:blank").deleted_device().is_none());
}

#[test]
fn a_report_answer_carries_a_boot_only_if_it_is_late() {
    let late: ReportAnswer =
        serde_json::from_value(json!({ "result": "late", "boot": 4 })).expect("valid");
    assert_eq!(late.boot, Some(4));
    let taken: ReportAnswer = serde_json::from_value(json!({ "result": "taken" })).expect("valid");
    assert_eq!(
        serde_json::to_value(taken).expect("JSON"),
        json!({ "result": "taken" })
    );
}
